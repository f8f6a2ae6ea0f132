//! What is only known once devices run.

use sluice_dataplane::steer::{Fields, Spread};
use sluice_wire::MacAddr;

use crate::config::Rss;

/// What a device turned out to be. They are given in the order of [`crate::config::Config::devices`]
/// and stay the same while the process lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Its MAC address, after the configured one (if any) was set.
    pub mac: MacAddr,
    /// The largest IP packet that its buffers and queues were set up for, in bytes.
    pub mtu: u16,
    /// Toeplitz key, 40 bytes or more.
    pub rss_key: Vec<u8>,
    /// Redirection table: workers by the low bits of the hash. Its length is a power of two.
    pub rss_table: Vec<u16>,
    /// The NIC spreads unfragmented TCP and UDP over queues by this key and table.
    pub rss_hardware: bool,
    /// For each worker: the worker whose transmit queue its frames leave by.
    pub tx_worker: Vec<u16>,
}

impl DeviceFacts {
    /// A device that every worker can send by and that software spreads over all of them, with a
    /// well-known key unless one is configured.
    pub fn software(mac: MacAddr, mtu: u16, workers: u16, device: &crate::config::Device) -> Self {
        Self {
            mac,
            mtu,
            rss_key: device.rss_key.clone().unwrap_or_else(|| KEY.to_vec()),
            rss_table: (0..TABLE).map(|entry| entry % workers.max(1)).collect(),
            rss_hardware: false,
            tx_worker: (0..workers).collect(),
        }
    }

    pub(super) fn spread(&self, rss: Rss) -> Spread {
        Spread {
            key: self.rss_key.clone(),
            fields: match rss {
                Rss::Tuple => Fields::Tuple,
                Rss::Source => Fields::Source,
                Rss::Destination => Fields::Destination,
            },
            table: self.rss_table.clone(),
        }
    }
}

/// Entries of a redirection table made here.
const TABLE: u16 = 128;

/// The key that drivers ship with (Microsoft's verification suite for RSS).
pub const KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];
