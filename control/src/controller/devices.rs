//! What the controller asks of devices. The binary implements it over DPDK.

use serde::Serialize;
use sluice_dataplane::io::DeviceId;

/// Link and counters of the devices, and the packet buffers; asked on the control core only.
pub trait Devices: Send {
    /// Whether the link is up.
    fn link(&mut self, device: DeviceId) -> Link;
    /// What the device itself counts.
    fn counters(&mut self, device: DeviceId) -> DeviceCounters;
    /// All that the device counts, by its driver's names.
    fn extended(&mut self, device: DeviceId) -> Vec<(String, u64)>;
    /// Packet buffers of all pools together.
    fn buffers(&mut self) -> Buffers;
    /// Cycles per second of the time stamp counter, by which workers tell how long they worked; `None`
    /// where nobody knows.
    fn tsc_hz(&self) -> Option<u64>;
}

/// State of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
pub struct Link {
    /// Whether it is up.
    pub up: bool,
    /// Megabits per second; 0 where the device does not tell.
    pub speed_mbps: u32,
}

/// What a device counts by itself, since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
pub struct DeviceCounters {
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames lost because the queues were full: workers were too slow.
    pub rx_missed: u64,
    /// Frames with errors on the wire.
    pub rx_errors: u64,
    /// Frames lost because there was no packet buffer.
    pub rx_no_buffer: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
}

/// Packet buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
pub struct Buffers {
    /// All there are.
    pub total: u64,
    /// Those that are neither in use nor waiting in a receive queue.
    pub free: u64,
}

/// For a controller without devices: links are up and nothing is counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDevices;

impl Devices for NoDevices {
    fn link(&mut self, _: DeviceId) -> Link {
        Link {
            up: true,
            speed_mbps: 0,
        }
    }

    fn counters(&mut self, _: DeviceId) -> DeviceCounters {
        DeviceCounters::default()
    }

    fn extended(&mut self, _: DeviceId) -> Vec<(String, u64)> {
        Vec::new()
    }

    fn buffers(&mut self) -> Buffers {
        Buffers::default()
    }

    fn tsc_hz(&self) -> Option<u64> {
        None
    }
}
