//! How long a session lives without packets, by protocol and state.

/// One set of lifetimes, all in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// By TCP state (`tcp::state::State as usize`).
    pub tcp: [u32; 8],
    /// UDP of which only one direction was seen.
    pub udp_new: u32,
    /// UDP that was answered.
    pub udp_replied: u32,
    /// ICMP echo.
    pub icmp: u32,
    /// Any other protocol.
    pub other: u32,
}
