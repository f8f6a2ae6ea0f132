//! What runs, and how it is.

use ipnet::IpNet;
use serde::Serialize;

use super::change::Confirmation;
use super::devices::{Buffers, Link};
use crate::store::Revision;

/// Of the node as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Status {
    /// The node's name.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// The revision of the configuration that is in use.
    pub revision: u64,
    /// What waits to be confirmed, and is undone otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
    /// What waits for the next start; it gets its number then, and has 0 until it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Revision>,
    /// Epoch of the configuration by which all workers work.
    pub epoch: u32,
    /// Epoch of the latest configuration; more than `epoch` while workers have yet to take it.
    pub latest_epoch: u32,
    /// In the order of `system.workers`.
    pub workers: Vec<WorkerStatus>,
    /// In the order of the configuration.
    pub ports: Vec<PortStatus>,
    /// Sessions and room for them.
    pub sessions: SessionStatus,
    /// Packet buffers.
    pub buffers: Buffers,
}

/// Of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct WorkerStatus {
    /// Its core.
    pub core: u16,
    /// Epoch of the configuration by which it works.
    pub epoch: u32,
    /// Sessions that it owns.
    pub sessions: u64,
}

/// Of a logical port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PortStatus {
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// Its device.
    pub device: String,
    /// Its VLAN id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// Its MAC address.
    pub mac: String,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// Own addresses, link-local ones included.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpNet>,
    /// State of its link.
    pub link: Link,
}

/// Sessions and room for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SessionStatus {
    /// IPv4 sessions now.
    pub v4: u64,
    /// Room for IPv4 sessions.
    pub limit_v4: u32,
    /// IPv6 sessions now.
    pub v6: u64,
    /// Room for IPv6 sessions.
    pub limit_v6: u32,
}
