//! Maglev consistent hashing (Eisenbud et al., NSDI 2016).

/// A lookup table from hash to the index of a pool member.
#[derive(Debug, Clone)]
pub struct MaglevTable {
    /// Indexes into `VirtualServer::members`; empty when no member may take sessions.
    pub slots: Box<[u16]>,
}
