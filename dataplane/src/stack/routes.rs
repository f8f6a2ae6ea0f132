//! Longest prefix match.

use std::net::IpAddr;

use crate::snapshot::PortId;

/// Where a packet goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The port it leaves by.
    pub port: PortId,
    /// The router to give it to; `None`: the destination itself is on that network.
    pub gateway: Option<IpAddr>,
}

/// The routes of both families.
#[derive(Debug, Default, Clone)]
pub struct Routes {}
