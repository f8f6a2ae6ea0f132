//! A device that has been found, not yet started.

use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::path::Path;
use std::ptr;

use sluice_wire::MacAddr;

use crate::Eal;
use crate::log;
use crate::spec::DeviceSpec;

/// Every IPv4 link takes packets of so many bytes (RFC 791).
const LEAST_MTU: u16 = 68;
/// What DPDK adds to an MTU where the driver does not say, in bytes.
const HEADER_AND_FCS: u32 = 18;

/// What a device says of itself.
#[derive(Debug, Clone)]
pub struct DeviceInfo {
    /// DPDK's name for it: the PCI address, or the virtual device's name.
    pub name: String,
    /// The driver.
    pub driver: String,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Most receive queues.
    pub max_rx_queues: u16,
    /// Most transmit queues.
    pub max_tx_queues: u16,
    /// Smallest and largest MTU, in bytes.
    pub mtu: (u16, u16),
    /// It can place frames by a hash, of some kind.
    pub rss: bool,
    /// It checks IPv4 header checksums.
    pub ip_checksum: bool,
    /// It can take VLAN tags out of received frames.
    pub vlan_strip: bool,
    /// The NUMA node that it is attached to, where it is to one.
    pub numa_node: Option<u32>,
}

/// A device that was found; [`start`](Self::start) makes a port of it.
#[derive(Debug)]
pub struct Device {
    pub(crate) attached: Attached,
    pub(crate) info: DeviceInfo,
}

/// There is no such device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// Not on the bus.
    #[error("there is no PCI device {0}; `lspci -D` lists those that there are")]
    NoPci(String),
    /// On the bus, but not DPDK's.
    #[error(
        "PCI device {name} is not usable by DPDK (its driver is {driver}): bind it to vfio-pci, and \
         name it before DPDK is started"
    )]
    NotBound {
        /// Its address.
        name: String,
        /// The kernel's driver for it, or `none`.
        driver: String,
    },
    /// The kernel refused something.
    #[error("not enough rights for device {spec}: {reason}")]
    Rights {
        /// The device.
        spec: String,
        /// DPDK's word.
        reason: String,
    },
    /// The same again.
    #[error("device {0} is there already; each may be given once")]
    Twice(String),
    /// DPDK does not know it or cannot start it.
    #[error("device {spec} cannot be opened: {reason}")]
    Failed {
        /// The device.
        spec: String,
        /// DPDK's word.
        reason: String,
    },
}

impl Device {
    /// Finds a PCI device that [`EalConfig::pci`](crate::EalConfig::pci) named, or makes a virtual
    /// device.
    ///
    /// # Errors
    /// If it is not there, is not DPDK's, or is taken.
    pub fn probe(_: Eal, spec: &DeviceSpec) -> Result<Self, DeviceError> {
        let bus = Path::new("/sys/bus/pci/devices");
        if spec.is_pci() && !bus.join(spec.name()).exists() {
            return Err(DeviceError::NoPci(spec.name().to_owned()));
        }
        if !spec.is_pci() && port_by_name(spec.name()).is_some() {
            return Err(DeviceError::Twice(spec.name().to_owned()));
        }
        log::forget_errors();
        let failed = |reason: String| DeviceError::Failed {
            spec: spec.to_string(),
            reason,
        };
        let text = CString::new(spec.to_string()).map_err(|_| failed("a zero byte".to_owned()))?;
        // SAFETY: the environment is initialised, and `text` is terminated and copied.
        let result = unsafe { dpdk_sys::rte_dev_probe(text.as_ptr()) };
        if result < 0 && result != -libc::EEXIST {
            if log::speaks_of_rights() {
                return Err(DeviceError::Rights {
                    spec: spec.to_string(),
                    reason: log::explain(-result),
                });
            }
            if spec.is_pci() {
                return Err(not_bound(bus, spec.name()));
            }
            return Err(failed(log::explain(-result)));
        }
        let Some(port) = port_by_name(spec.name()).or_else(|| port_by_device(spec.name())) else {
            return Err(match spec.is_pci() {
                true => not_bound(bus, spec.name()),
                false => failed("DPDK made no port of it".to_owned()),
            });
        };
        let attached = Attached {
            port,
            is_virtual: !spec.is_pci(),
        };
        let info = attached
            .info()
            .map_err(|code| failed(log::explain(code)))?
            .describe(spec.name(), attached.mac(), attached.numa_node());
        Ok(Self { attached, info })
    }

    /// What it says of itself.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }
}

fn not_bound(bus: &Path, name: &str) -> DeviceError {
    let driver = std::fs::read_link(bus.join(name).join("driver"))
        .ok()
        .and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned()));
    DeviceError::NotBound {
        name: name.to_owned(),
        driver: driver.unwrap_or_else(|| "none".to_owned()),
    }
}

fn port_by_name(name: &str) -> Option<u16> {
    let name = CString::new(name).ok()?;
    let mut port = 0;
    // SAFETY: `name` is terminated; writes to `port` only.
    (unsafe { dpdk_sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &mut port) } == 0)
        .then_some(port)
}

/// The first port of a device whose ports have names of their own.
fn port_by_device(name: &str) -> Option<u16> {
    let mut next = 0;
    loop {
        // SAFETY: takes and returns numbers.
        let port = unsafe { dpdk_sys::rte_eth_find_next(next) };
        if u32::from(port) >= dpdk_sys::RTE_MAX_ETHPORTS {
            return None;
        }
        let attached = std::mem::ManuallyDrop::new(Attached {
            port,
            is_virtual: false,
        });
        if attached.info().is_ok_and(|info| info.device_name() == name) {
            return Some(port);
        }
        next = port + 1;
    }
}

/// A port of DPDK's that is ours; closed, and the virtual device unmade, when dropped. It must be
/// stopped by then.
#[derive(Debug)]
pub(crate) struct Attached {
    port: u16,
    is_virtual: bool,
}

impl Attached {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Asks the device; an errno if it does not answer.
    pub(crate) fn info(&self) -> Result<RawInfo, i32> {
        let mut info = MaybeUninit::zeroed();
        // SAFETY: writes a whole rte_eth_dev_info where there is room for one.
        let result = unsafe { dpdk_sys::rte_eth_dev_info_get(self.port, info.as_mut_ptr()) };
        if result != 0 {
            return Err(-result);
        }
        // SAFETY: made of integers and pointers, for which zeros are values, and filled by now.
        Ok(RawInfo(unsafe { info.assume_init() }))
    }

    pub(crate) fn mac(&self) -> MacAddr {
        let mut mac = dpdk_sys::rte_ether_addr { addr_bytes: [0; 6] };
        // SAFETY: writes to `mac` only; on failure that stays zero.
        unsafe { dpdk_sys::rte_eth_macaddr_get(self.port, &mut mac) };
        MacAddr(mac.addr_bytes)
    }

    pub(crate) fn numa_node(&self) -> Option<u32> {
        // SAFETY: takes and returns numbers.
        u32::try_from(unsafe { dpdk_sys::rte_eth_dev_socket_id(self.port) }).ok()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let device = self.info().map_or(ptr::null_mut(), |info| info.0.device);
        // SAFETY: the port is stopped and has no queue that anybody polls: those hold a `Running`,
        // which holds this.
        unsafe { dpdk_sys::rte_eth_dev_close(self.port) };
        if self.is_virtual && !device.is_null() {
            // SAFETY: the virtual device was made by `probe` and is removed once, here.
            unsafe { dpdk_sys::rte_dev_remove(device) };
        }
    }
}

/// What DPDK tells of a device.
pub(crate) struct RawInfo(pub(crate) dpdk_sys::rte_eth_dev_info);

impl RawInfo {
    fn device_name(&self) -> String {
        if self.0.device.is_null() {
            return String::new();
        }
        // SAFETY: the device is there as long as its port.
        c_text(unsafe { dpdk_sys::rte_dev_name(self.0.device) })
    }

    pub(crate) fn driver(&self) -> String {
        c_text(self.0.driver_name)
    }

    /// The largest MTU that DPDK may be told for this device.
    pub(crate) fn largest_told_mtu(&self) -> u16 {
        let raw = &self.0;
        let by_frame = raw.max_rx_pktlen.saturating_sub(HEADER_AND_FCS);
        raw.max_mtu.min(u16::try_from(by_frame).unwrap_or(u16::MAX))
    }

    /// The largest MTU that works.
    fn largest_mtu(&self) -> u16 {
        match self.driver().as_str() {
            // It says 1500 but carries whatever buffers hold, over as many of the ring's as needed.
            "net_memif" => u16::MAX,
            _ => self.largest_told_mtu(),
        }
    }

    fn describe(&self, name: &str, mac: MacAddr, numa_node: Option<u32>) -> DeviceInfo {
        let raw = &self.0;
        DeviceInfo {
            name: name.to_owned(),
            driver: self.driver(),
            mac,
            max_rx_queues: raw.max_rx_queues,
            max_tx_queues: raw.max_tx_queues,
            mtu: (raw.min_mtu.max(LEAST_MTU), self.largest_mtu()),
            rss: raw.flow_type_rss_offloads != 0,
            ip_checksum: raw.rx_offload_capa & dpdk_sys::SLUICE_OFFLOAD_RX_IPV4_CKSUM != 0,
            vlan_strip: raw.rx_offload_capa & dpdk_sys::SLUICE_OFFLOAD_RX_VLAN_STRIP != 0,
            numa_node,
        }
    }
}

/// A string of DPDK's, or none.
fn c_text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: names in DPDK's structures are terminated and static or live as long as the device.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}
