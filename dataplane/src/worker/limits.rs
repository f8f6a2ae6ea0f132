//! What a worker takes memory for at start.

use crate::lb;
use crate::stack::fragment;

/// Sizes of one worker's tables. None of them grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// IPv4 sessions.
    pub sessions_v4: usize,
    /// IPv6 sessions.
    pub sessions_v6: usize,
    /// Tuples of sessions on other workers whose packets come to this one.
    pub registrations: usize,
    /// Tuples of sessions of which only the owner is known; of none unless one node has the copy of each
    /// session (see [`HaParts::backup`](super::HaParts::backup)).
    pub pointers: usize,
    /// Next hops together with what is accounted to them; at most 65,535.
    pub paths: usize,
    /// Neighbours; at most 65,535.
    pub neighbours: usize,
    /// Connections of the host's kernel, of each family.
    pub host_connections: usize,
    /// Packets that wait for neighbours to answer.
    pub held: usize,
    /// Datagrams in pieces.
    pub fragments: fragment::Limits,
    /// Endpoint-independent mappings.
    pub mappings: usize,
    /// Remote addresses remembered for mappings whose filter depends on them.
    pub contacts: usize,
    /// Control connections that are watched, and as many sessions that they expect, all workers' together.
    pub alg_controls: usize,
    /// Sessions that control connections announced.
    pub alg_related: usize,
    /// Load balancing.
    pub balancer: lb::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_v4: 262_144,
            sessions_v6: 16_384,
            registrations: 262_144,
            pointers: 262_144,
            paths: 16_384,
            neighbours: 8192,
            host_connections: 32_768,
            held: 256,
            fragments: fragment::Limits::default(),
            mappings: 65_536,
            contacts: 131_072,
            alg_controls: 4096,
            alg_related: 16_384,
            balancer: lb::Limits::default(),
        }
    }
}
