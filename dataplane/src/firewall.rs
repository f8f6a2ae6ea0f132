//! Policy between zones: who may open a session to whom.

use ipnet::IpNet;

use crate::snapshot::ServiceId;

/// The rules, first match first, and what holds where none matches.
#[derive(Debug, Default, Clone)]
pub struct Firewall {
    /// In the order of the configuration.
    pub rules: Vec<Rule>,
    /// Pairs of zones (from, to) between which any session may be opened.
    pub open: Vec<(u8, u8)>,
}

/// One rule. Empty lists and `None` match everything.
#[derive(Debug, Clone)]
pub struct Rule {
    /// For counters.
    pub service: ServiceId,
    /// Zone that the first packet comes in by.
    pub from: Option<u8>,
    /// Zone that it would leave by.
    pub to: Option<u8>,
    /// Networks of the source.
    pub source: Vec<IpNet>,
    /// Networks of the destination, before any translation.
    pub destination: Vec<IpNet>,
    /// IP protocol.
    pub proto: Option<u8>,
    /// Ranges of destination ports, first and last included.
    pub ports: Vec<(u16, u16)>,
    /// Let it through, or drop it.
    pub allow: bool,
    /// Index into the snapshot's timeout sets.
    pub timeouts: u8,
}
