//! A started device: its control side, and its queues on the way to workers.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dpdk_sys as sys;
use sluice_wire::MacAddr;

use crate::device::{Attached, Device, DeviceInfo};
use crate::link::Link;
use crate::rss::{self, Rss, RssConfig, RssMode};
use crate::stats::{self, NicStats};
use crate::{Pool, RxQueue, TxQueue, log};

/// How to start a device.
#[derive(Debug, Clone)]
pub struct PortConfig {
    /// Receive queues, of which a device may give fewer or more, see [`Started::rx`].
    pub rx_queues: u16,
    /// Transmit queues, of which a device may give fewer.
    pub tx_queues: u16,
    /// Frames that a receive queue holds; the device rounds it to what it can.
    pub rx_descriptors: u16,
    /// Frames that a transmit queue holds; the device rounds it to what it can.
    pub tx_descriptors: u16,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// How to spread frames over receive queues, where there are several.
    pub rss: Option<RssConfig>,
    /// Receive frames to any address.
    pub promiscuous: bool,
    /// Receive all multicast; neighbour discovery needs it where the device filters.
    pub all_multicast: bool,
    /// Let the device check IPv4 header checksums, where it can.
    pub ip_checksum: bool,
    /// Let the device take VLAN tags out of received frames, where it can.
    pub vlan_strip: bool,
}

impl Default for PortConfig {
    fn default() -> Self {
        Self {
            rx_queues: 1,
            tx_queues: 1,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            mtu: 1500,
            rss: None,
            promiscuous: false,
            all_multicast: true,
            ip_checksum: true,
            vlan_strip: true,
        }
    }
}

/// A device does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// It has no such MTU.
    #[error("device {name} has no MTU of {mtu}: {least} to {most}")]
    Mtu {
        /// The device.
        name: String,
        /// What was asked for.
        mtu: u16,
        /// The smallest it has.
        least: u16,
        /// The largest it has.
        most: u16,
    },
    /// A frame would not fit into one buffer.
    #[error(
        "device {name}: frames of MTU {mtu} do not fit into packet buffers of {room} bytes; make \
         the pool for the largest MTU"
    )]
    BuffersTooSmall {
        /// The device.
        name: String,
        /// What was asked for.
        mtu: u16,
        /// The pool's.
        room: u32,
    },
    /// No queue.
    #[error("device {0} needs one receive and one transmit queue at least")]
    NoQueues(String),
    /// DPDK refused.
    #[error("device {name}: {step} failed: {reason}")]
    Failed {
        /// The device.
        name: String,
        /// What was being done.
        step: &'static str,
        /// DPDK's word.
        reason: String,
    },
}

/// A started port and its queues, each of which exists once.
#[derive(Debug)]
pub struct Started {
    /// For control.
    pub port: Port,
    /// All of them must be polled, as the device puts frames into each. There may be fewer than
    /// asked for, or more: `net_af_packet` always has as many as its `qpairs`.
    pub rx: Vec<RxQueue>,
    /// At least one.
    pub tx: Vec<TxQueue>,
}

/// The control side of a started device. The device is stopped and closed when this and all its
/// queues are gone.
#[derive(Debug, Clone)]
pub struct Port {
    running: Arc<Running>,
}

/// A device from its start to its stop.
#[derive(Debug)]
pub(crate) struct Running {
    attached: Attached,
    info: DeviceInfo,
    rss: Rss,
    mtu: u16,
    /// Index of the kernel's interface, or 0.
    interface: u32,
    /// DPDK's control functions of one port must not run at the same time.
    control: Mutex<()>,
}

impl Running {
    pub(crate) fn id(&self) -> u16 {
        self.attached.port()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SAFETY: queues hold an `Arc` of this, so that none is left that anybody could poll.
        unsafe { sys::rte_eth_dev_stop(self.id()) };
    }
}

impl Device {
    /// Configures the device, with buffers from `pool`, and starts it.
    ///
    /// # Errors
    /// If the device cannot do what is asked. What it may lack (queues, RSS, offloads) is no error
    /// but is reported.
    pub fn start(self, config: &PortConfig, pool: &Pool) -> Result<Started, PortError> {
        self.check(config, pool)?;
        let Self { attached, info } = self;
        let port = attached.port();
        let done = |step: &'static str, result: c_int| match result {
            0.. => Ok(()),
            code => Err(PortError::Failed {
                name: info.name.clone(),
                step,
                reason: log::explain(-code),
            }),
        };
        log::forget_errors();
        let raw = attached.info().map_err(|code| PortError::Failed {
            name: info.name.clone(),
            step: "asking for its abilities",
            reason: log::explain(code),
        })?;
        let told_mtu = config.mtu.min(raw.largest_told_mtu());
        let raw = raw.0;

        let rx_queues = rx_queue_count(&info, config.rx_queues);
        let tx_queues = config.tx_queues.min(info.max_tx_queues);
        let mode = config.rss.as_ref().map_or(RssMode::Tuple, |rss| rss.mode);
        let mut key = Vec::new();
        let mut hashed = 0;
        if let Some(rss) = &config.rss
            && rx_queues > 1
        {
            hashed = rss::request(rss.mode, raw.flow_type_rss_offloads);
            key = rss::key_for(rss, raw.hash_key_size);
        }

        // SAFETY: made of integers, pointers and unions of these, for which zeros are values, and
        // mean "nothing special" to DPDK.
        let mut settings: sys::rte_eth_conf = unsafe { MaybeUninit::zeroed().assume_init() };
        settings.rxmode.mtu = u32::from(told_mtu);
        settings.rxmode.offloads = offloads(config, hashed) & raw.rx_offload_capa;
        if hashed != 0 {
            settings.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
            settings.rx_adv_conf.rss_conf.rss_key = key.as_mut_ptr();
            // As long as the device said in a u8, or 40.
            settings.rx_adv_conf.rss_conf.rss_key_len = key.len() as u8;
            settings.rx_adv_conf.rss_conf.rss_hf = hashed;
        }
        // SAFETY: DPDK copies `settings`, and reads the key during the call.
        done("configuring", unsafe {
            sys::rte_eth_dev_configure(port, rx_queues, tx_queues, &settings)
        })?;
        // SAFETY: takes numbers only.
        match unsafe { sys::rte_eth_dev_set_mtu(port, told_mtu) } {
            // Devices without a limit of their own.
            code if code == -libc::ENOTSUP => {}
            result => done("setting its MTU", result)?,
        }

        let (mut rx_size, mut tx_size) = (config.rx_descriptors, config.tx_descriptors);
        // SAFETY: reads and writes the two numbers.
        done("choosing queue sizes", unsafe {
            sys::rte_eth_dev_adjust_nb_rx_tx_desc(port, &mut rx_size, &mut tx_size)
        })?;
        // Negative where the device is attached to no node, which means any.
        let node = attached.numa_node().unwrap_or(u32::MAX);
        let mut rx_settings = raw.default_rxconf;
        rx_settings.offloads = settings.rxmode.offloads;
        for queue in 0..rx_queues {
            // SAFETY: `rx_settings` is read, and the pool lives for ever.
            done("making a receive queue", unsafe {
                sys::rte_eth_rx_queue_setup(port, queue, rx_size, node, &rx_settings, pool.as_ptr())
            })?;
        }
        let mut tx_settings = raw.default_txconf;
        tx_settings.offloads = settings.txmode.offloads;
        for queue in 0..tx_queues {
            // SAFETY: `tx_settings` is read.
            done("making a transmit queue", unsafe {
                sys::rte_eth_tx_queue_setup(port, queue, tx_size, node, &tx_settings)
            })?;
        }
        // SAFETY: takes a number only; all queues are set up.
        done("starting", unsafe { sys::rte_eth_dev_start(port) })?;

        let rss = if hashed == 0 {
            Rss::none(mode)
        } else {
            let table = rss::fill_table(port, raw.reta_size, rx_queues);
            Rss::of(mode, hashed, key, table)
        };
        let running = Arc::new(Running {
            attached,
            info,
            rss,
            mtu: config.mtu,
            interface: raw.if_index,
            control: Mutex::new(()),
        });
        let port = Port { running };
        port.filter(config);
        Ok(Started {
            // SAFETY: the port was started with so many queues just now, and each number comes once.
            rx: (0..rx_queues)
                .map(|queue| unsafe { RxQueue::new(&port.running, queue) })
                .collect(),
            // SAFETY: as for the receive queues.
            tx: (0..tx_queues)
                .map(|queue| unsafe { TxQueue::new(&port.running, queue) })
                .collect(),
            port,
        })
    }

    fn check(&self, config: &PortConfig, pool: &Pool) -> Result<(), PortError> {
        let name = || self.info.name.clone();
        let (least, most) = self.info.mtu;
        if config.rx_queues == 0 || config.tx_queues == 0 {
            return Err(PortError::NoQueues(name()));
        }
        if !(least..=most).contains(&config.mtu) {
            return Err(PortError::Mtu {
                name: name(),
                mtu: config.mtu,
                least,
                most,
            });
        }
        if pool.room() < u32::from(config.mtu) + 22 {
            return Err(PortError::BuffersTooSmall {
                name: name(),
                mtu: config.mtu,
                room: pool.room(),
            });
        }
        Ok(())
    }
}

/// Receive queues that the device is to have when `asked` for so many.
fn rx_queue_count(info: &DeviceInfo, asked: u16) -> u16 {
    if info.driver == "net_af_packet" {
        // The kernel's fanout puts frames into each of its sockets, whether DPDK reads it or not.
        info.max_rx_queues
    } else {
        asked.min(info.max_rx_queues)
    }
}

/// What the device is to do to received frames, if it can.
fn offloads(config: &PortConfig, hashed: u64) -> u64 {
    let when = |on: bool, bits: u64| if on { bits } else { 0 };
    when(config.ip_checksum, sys::SLUICE_OFFLOAD_RX_IPV4_CKSUM)
        | when(config.vlan_strip, sys::SLUICE_OFFLOAD_RX_VLAN_STRIP)
        | when(hashed != 0, sys::SLUICE_OFFLOAD_RX_RSS_HASH)
}

impl Port {
    /// What the device says of itself.
    pub fn info(&self) -> &DeviceInfo {
        &self.running.info
    }

    /// Its MAC address.
    pub fn mac(&self) -> MacAddr {
        self.running.info.mac
    }

    /// Largest IP packet, in bytes.
    pub fn mtu(&self) -> u16 {
        self.running.mtu
    }

    /// How it spreads frames over its receive queues.
    pub fn rss(&self) -> &Rss {
        &self.running.rss
    }

    /// The link as it is now, without waiting for it.
    pub fn link(&self) -> Link {
        let _guard = self.control();
        Link::now(self.running.id(), self.running.interface)
    }

    /// What the device counted since its start.
    pub fn stats(&self) -> NicStats {
        let _guard = self.control();
        NicStats::read(self.running.id())
    }

    /// All that the device counted, by the driver's names.
    pub fn extended_stats(&self) -> Vec<(String, u64)> {
        let _guard = self.control();
        stats::extended(self.running.id())
    }

    /// Opens the receive filter as asked; devices that have none receive all anyway.
    fn filter(&self, config: &PortConfig) {
        let _guard = self.control();
        let port = self.running.id();
        // SAFETY: takes numbers only.
        unsafe {
            if config.promiscuous {
                sys::rte_eth_promiscuous_enable(port);
            }
            if config.all_multicast {
                sys::rte_eth_allmulticast_enable(port);
            }
        }
    }

    fn control(&self) -> MutexGuard<'_, ()> {
        // Nothing is left half done in there by a panic.
        self.running
            .control
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
