//! What is behind an address and port.

/// What a destination stands for; the numbers are indexes into the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `Snapshot::virtual_servers`
    VirtualServer(u16),
    /// `Nat::forwards`
    Forward(u16),
    /// `Nat::statics`
    Static(u16),
}

/// Finds the [`Target`] of a destination: exact port before range before any port before address.
#[derive(Debug, Default, Clone)]
pub struct ServiceMap {}
