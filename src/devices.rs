//! Devices: opened, started, and their queues dealt out to workers.

use sluice_control::compile::DeviceFacts;
use sluice_control::config::{Config, Device, Rss};
use sluice_control::controller;
use sluice_dataplane::io::DeviceId;
use sluice_dpdk::{
    Device as Found, DeviceError, DeviceSpec, Eal, Pool, Port, PortConfig, PortError, RssConfig,
    RssMode, SpecError, Started, WorkerIo,
};
use sluice_wire::toeplitz::SYMMETRIC_KEY;

/// Entries of a redirection table made here.
const TABLE: u16 = 128;
/// Least and most frames of a device's queue.
const QUEUE: std::ops::RangeInclusive<u32> = 256..=2048;

/// All devices, running.
pub(crate) struct Devices {
    /// The control sides, in the order of the configuration.
    pub(crate) ports: Vec<Port>,
    /// What the configuration is compiled with.
    pub(crate) facts: Vec<DeviceFacts>,
    /// The queues of each worker.
    pub(crate) ios: Vec<WorkerIo>,
}

/// A device cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("device {device}: {queues} queues are asked for, and it has {given}")]
    Queues {
        device: String,
        queues: u16,
        given: usize,
    },
    #[error("port {ports}: {error}")]
    Ports {
        ports: String,
        error: Box<OpenError>,
    },
    #[error(
        "port {ports}: not enough rights for {device}; run as root, or with CAP_NET_ADMIN and CAP_NET_RAW"
    )]
    Rights { ports: String, device: String },
}

/// Says which ports an error concerns, and whether it comes from missing rights: drivers tell one
/// failure from another badly.
fn of_ports(config: &Config, device: &Device, error: OpenError) -> OpenError {
    let ports = config
        .ports
        .iter()
        .filter(|port| port.device == device.name);
    let ports: Vec<&str> = ports.map(|port| port.name.as_str()).collect();
    let ports = ports.join(", ");
    if may_open_sockets() == Some(false) {
        return OpenError::Rights {
            ports,
            device: device.name.as_str().to_owned(),
        };
    }
    OpenError::Ports {
        ports,
        error: Box::new(error),
    }
}

/// Whether the process may open packet sockets and set up interfaces, where the kernel tells.
fn may_open_sockets() -> Option<bool> {
    const NET_ADMIN_AND_RAW: u64 = 1 << 12 | 1 << 13;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
    Some(effective & NET_ADMIN_AND_RAW == NET_ADMIN_AND_RAW)
}

/// The PCI devices of a configuration, as DPDK must be told of them before it starts.
pub(crate) fn pci(config: &Config) -> Result<Vec<String>, SpecError> {
    let devices = config.devices();
    let names = devices.iter().filter(|device| device.name.is_pci());
    names
        .map(|device| Ok(device.name.as_str().parse::<DeviceSpec>()?.to_string()))
        .collect()
}

impl Devices {
    /// Opens and starts every device of the configuration.
    pub(crate) fn open(eal: Eal, config: &Config, pool: &Pool) -> Result<Self, OpenError> {
        let workers = config.system.workers.len();
        let mut opened = Self {
            ports: Vec::new(),
            facts: Vec::new(),
            ios: (0..workers).map(|_| WorkerIo::new(*pool)).collect(),
        };
        let devices = config.devices();
        // Virtual MAC addresses are none that a device filters for, and come and go.
        let promiscuous = config.ha.is_some();
        // Buffers that lie in receive queues are not there for anything else: a quarter at most.
        let share = config.system.packet_buffers / 4 / (devices.len().max(1) * workers) as u32;
        let descriptors = share.next_power_of_two() / 2;
        let descriptors = descriptors.clamp(*QUEUE.start(), *QUEUE.end()) as u16;
        for (at, device) in devices.iter().enumerate() {
            let started = start(eal, device, workers as u16, descriptors, promiscuous, pool);
            let dealt = started.and_then(|started| opened.deal(at, device, started));
            dealt.map_err(|error| of_ports(config, device, error))?;
        }
        Ok(opened)
    }

    /// Gives each worker its queues of a device.
    fn deal(&mut self, at: usize, device: &Device, started: Started) -> Result<(), OpenError> {
        let Started { port, rx, tx } = started;
        let workers = self.ios.len();
        let given = rx.len();
        if device.queues_given && given < usize::from(device.queues) {
            let name = device.name.as_str().to_owned();
            return Err(OpenError::Queues {
                device: name,
                queues: device.queues,
                given,
            });
        }
        let id = DeviceId(at as u16);
        // A device with few queues begins at another worker than the one before it, so that one
        // worker does not poll them all.
        let polls = |queue: usize| {
            if given < workers {
                (at + queue) % workers
            } else {
                queue % workers
            }
        };
        for (queue, rx) in rx.into_iter().enumerate() {
            self.ios[polls(queue)].add_rx(id, [rx]);
        }
        let senders = tx.len().min(workers).max(1);
        for (worker, tx) in tx.into_iter().enumerate().take(workers) {
            self.ios[worker].set_tx(id, tx);
        }
        let rss = port.rss();
        let (key, table) = if rss.hardware {
            let worker = |&queue: &u16| polls(usize::from(queue)) as u16;
            (rss.key.clone(), rss.table.iter().map(worker).collect())
        } else {
            (
                key_of(device),
                (0..TABLE).map(|entry| entry % workers as u16).collect(),
            )
        };
        self.facts.push(DeviceFacts {
            mac: device.mac.unwrap_or(port.mac()),
            mtu: port.mtu(),
            rss_key: key,
            rss_table: table,
            rss_hardware: rss.hardware,
            tx_worker: (0..workers)
                .map(|worker| (worker % senders) as u16)
                .collect(),
        });
        self.ports.push(port);
        Ok(())
    }
}

fn start(
    eal: Eal,
    device: &Device,
    workers: u16,
    descriptors: u16,
    promiscuous: bool,
    pool: &Pool,
) -> Result<Started, OpenError> {
    let spec: DeviceSpec = device.name.as_str().parse()?;
    let mut key = SYMMETRIC_KEY;
    for (byte, &given) in key.iter_mut().zip(device.rss_key.iter().flatten()) {
        *byte = given;
    }
    let mode = match device.rss {
        Rss::Tuple => RssMode::Tuple,
        Rss::Source => RssMode::Source,
        Rss::Destination => RssMode::Destination,
    };
    let config = PortConfig {
        rx_queues: device.queues,
        tx_queues: workers,
        rx_descriptors: descriptors,
        tx_descriptors: descriptors,
        mtu: device.mtu,
        rss: Some(RssConfig { key, mode }),
        // A MAC address of our choice is none that the device filters for.
        promiscuous: promiscuous || device.mac.is_some(),
        ..PortConfig::default()
    };
    Ok(Found::probe(eal, &spec)?.start(&config, pool)?)
}

/// The key that software spreads by. With a symmetric one, both directions of a session that is not
/// translated come to one worker.
fn key_of(device: &Device) -> Vec<u8> {
    device
        .rss_key
        .clone()
        .unwrap_or_else(|| SYMMETRIC_KEY.to_vec())
}

/// What control asks of the running devices.
pub(crate) struct Running {
    pub(crate) ports: Vec<Port>,
    pub(crate) pool: Pool,
    /// Ticks per second of the workers' clock.
    pub(crate) tsc_hz: u64,
}

impl controller::Devices for Running {
    fn link(&mut self, device: DeviceId) -> controller::Link {
        let link = self.ports.get(usize::from(device.0)).map(Port::link);
        controller::Link {
            up: link.is_some_and(|link| link.up),
            speed_mbps: link.and_then(|link| link.mbps).unwrap_or(0),
        }
    }

    fn counters(&mut self, device: DeviceId) -> controller::DeviceCounters {
        let stats = self
            .ports
            .get(usize::from(device.0))
            .map(Port::stats)
            .unwrap_or_default();
        controller::DeviceCounters {
            rx_frames: stats.rx_packets,
            rx_bytes: stats.rx_bytes,
            tx_frames: stats.tx_packets,
            tx_bytes: stats.tx_bytes,
            rx_missed: stats.rx_missed,
            rx_errors: stats.rx_errors,
            rx_no_buffer: stats.rx_no_buffer,
            tx_errors: stats.tx_errors,
        }
    }

    fn extended(&mut self, device: DeviceId) -> Vec<(String, u64)> {
        let port = self.ports.get(usize::from(device.0));
        port.map(Port::extended_stats).unwrap_or_default()
    }

    fn buffers(&mut self) -> controller::Buffers {
        controller::Buffers {
            total: u64::from(self.pool.size()),
            free: u64::from(self.pool.available()),
        }
    }

    fn tsc_hz(&self) -> Option<u64> {
        Some(self.tsc_hz)
    }
}
