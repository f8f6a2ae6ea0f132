//! The compiled rules of source and destination translation.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::snapshot::ServiceId;

/// All translation but virtual servers.
#[derive(Debug, Default, Clone)]
pub struct Nat {
    /// Source translation, first match first.
    pub rules: Vec<SnatRule>,
    /// SNAT pools.
    pub pools: Vec<SnatPool>,
    /// Port forwards.
    pub forwards: Vec<Forward>,
    /// Static 1:1 translations.
    pub statics: Vec<StaticNat>,
}

/// Sessions that match leave with another source. Empty lists and `None` match everything.
#[derive(Debug, Clone)]
pub struct SnatRule {
    /// For sessions and counters.
    pub service: ServiceId,
    /// Zone that the first packet comes in by.
    pub from: Option<u8>,
    /// Zone that it leaves by.
    pub to: Option<u8>,
    /// Networks of the source.
    pub source: Vec<IpNet>,
    /// Networks of the destination (after destination translation).
    pub destination: Vec<IpNet>,
    /// IP protocol.
    pub proto: Option<u8>,
    /// What the source becomes.
    pub to_source: SourceNat,
    /// Index into the snapshot's timeout sets.
    pub timeouts: u8,
    /// Clamp the MSS of its SYNs to this many bytes.
    pub clamp_mss: Option<u16>,
}

/// What a source becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceNat {
    /// Stays as it is.
    Keep,
    /// An address and port of [`Nat::pools`].
    Pool(u16),
    /// The egress port's own address and a free port.
    Masquerade,
}

/// Addresses and ports to translate sources to.
#[derive(Debug, Clone)]
pub struct SnatPool {
    /// Its name in the configuration.
    pub name: String,
    /// All of one family. Never empty.
    pub addresses: Vec<IpAddr>,
    /// First and last port, both included; also the range of ICMP identifiers.
    pub ports: (u16, u16),
    /// RFC 4787 section 4.1.
    pub mapping: Mapping,
    /// RFC 4787 section 5.
    pub filtering: Filtering,
    /// Keep even ports even and odd ports odd (RFC 4787 REQ-4).
    pub parity: bool,
}

/// Whether sessions of one internal endpoint share an external one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mapping {
    /// Address- and port-dependent: a port serves many destinations at once.
    #[default]
    EndpointDependent,
    /// One internal address and port is one external address and port, to whomever it speaks.
    EndpointIndependent,
}

/// Who may answer to an endpoint-independent mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filtering {
    /// Only endpoints that were spoken to.
    #[default]
    EndpointDependent,
    /// Any port of addresses that were spoken to.
    AddressDependent,
    /// Anybody.
    EndpointIndependent,
}

/// A port forward: what comes to `address:ports` goes to `to:to_port`.
#[derive(Debug, Clone)]
pub struct Forward {
    /// For sessions and counters.
    pub service: ServiceId,
    /// External address.
    pub address: IpAddr,
    /// IP protocol.
    pub proto: u8,
    /// First and last external port, both included.
    pub ports: (u16, u16),
    /// Internal address.
    pub to: IpAddr,
    /// Internal port of the first external one; the others follow in step.
    pub to_port: u16,
    /// Twice NAT: what the source becomes as well.
    pub source: SourceNat,
    /// Index into the snapshot's timeout sets.
    pub timeouts: u8,
}

/// One address for another, all protocols and ports, both ways.
#[derive(Debug, Clone)]
pub struct StaticNat {
    /// For sessions and counters.
    pub service: ServiceId,
    /// The address that the world sees.
    pub external: IpAddr,
    /// The address of the host.
    pub internal: IpAddr,
    /// Zones whose hosts may open sessions to `external`; empty: only where the firewall allows it.
    pub open_from: Vec<u8>,
}
