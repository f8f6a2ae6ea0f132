//! The profile: a TOML file that says what to send, where, and what to measure.

use std::net::Ipv4Addr;

use serde::Deserialize;

mod checked;

pub(crate) use checked::mtu;

/// A profile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProfileError {
    /// Not the TOML that is expected; the text has line and column.
    #[error("{0}")]
    Toml(String),
    /// A value that makes no sense.
    #[error("{at}: {what}")]
    Value {
        /// Where: the table and its name, and the key.
        at: String,
        /// What is wrong, and what would do.
        what: String,
    },
}

/// A profile as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// Core of the generating thread.
    pub(crate) core: Option<usize>,
    /// MiB of huge pages.
    #[serde(default = "memory_mb")]
    pub(crate) memory_mb: u32,
    /// Packet buffers.
    #[serde(default = "buffers")]
    pub(crate) buffers: u32,
    /// Frames in a device's queue.
    #[serde(default = "descriptors")]
    pub(crate) descriptors: u16,
    /// When to measure.
    #[serde(default)]
    pub(crate) measure: Measure,
    /// Before measuring.
    pub(crate) warm_up: Option<WarmUp>,
    /// RFC 2544's search for the throughput.
    pub(crate) search: Option<Search>,
    /// Ports.
    #[serde(rename = "port")]
    pub(crate) ports: Vec<Port>,
    /// Stateless traffic.
    #[serde(default, rename = "stream")]
    pub(crate) streams: Vec<RawStream>,
    /// TCP connections, instead of streams.
    pub(crate) tcp: Option<RawTcp>,
}

fn memory_mb() -> u32 {
    128
}

fn buffers() -> u32 {
    16_384
}

fn descriptors() -> u16 {
    1024
}

/// Windows of time.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Measure {
    /// How many.
    pub(crate) windows: u32,
    /// How long each is, in milliseconds.
    pub(crate) window_ms: u32,
    /// Traffic before the first, in milliseconds.
    pub(crate) settle_ms: u32,
    /// Longest wait for packets under way, after the last.
    pub(crate) drain_ms: u32,
}

impl Default for Measure {
    fn default() -> Self {
        Self {
            windows: 10,
            window_ms: 300,
            settle_ms: 100,
            drain_ms: 500,
        }
    }
}

/// One packet of every flow, so that every session is there when measuring begins.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WarmUp {
    /// Packets per second of each stream.
    pub(crate) rate: f64,
    /// Most passes; another one is made while packets are missing.
    pub(crate) passes: u32,
    /// Packets that may be missing in the last pass.
    pub(crate) may_miss: u64,
}

impl Default for WarmUp {
    fn default() -> Self {
        Self {
            rate: 500_000.0,
            passes: 5,
            may_miss: 0,
        }
    }
}

/// The highest rate without more loss than allowed (RFC 2544 section 26.1).
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Search {
    /// Lowest rate to look at, packets per second of each stream.
    #[serde(default = "search_from")]
    pub(crate) from: f64,
    /// Highest.
    pub(crate) to: f64,
    /// Share of packets that may be lost.
    #[serde(default)]
    pub(crate) loss: f64,
    /// When to stop: width of what is left, as a share of it.
    #[serde(default = "search_resolution")]
    pub(crate) resolution: f64,
    /// Length of a trial in milliseconds.
    #[serde(default = "search_trial_ms")]
    pub(crate) trial_ms: u32,
}

fn search_from() -> f64 {
    10_000.0
}

fn search_resolution() -> f64 {
    0.01
}

fn search_trial_ms() -> u32 {
    1000
}

/// A port.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Port {
    /// What streams call it.
    pub(crate) name: String,
    /// PCI address or virtual device, as DPDK has it.
    pub(crate) device: String,
    /// The address that ARP asks from.
    address: Option<Ipv4Addr>,
    /// The appliance's address, whose MAC address ARP finds.
    gateway: Option<Ipv4Addr>,
    /// The MAC address that frames go to, without asking.
    gateway_mac: Option<String>,
    /// Addresses that are answered for.
    #[serde(default)]
    answers: Vec<String>,
    /// Each of these has a MAC address of its own.
    #[serde(default)]
    mac_per_address: bool,
}

/// TCP connections as they are written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTcp {
    client: String,
    server: String,
    replies_via: Option<String>,
    source: Vec<String>,
    #[serde(default = "source_ports")]
    source_ports: String,
    destination: Vec<String>,
    #[serde(default = "http")]
    destination_ports: String,
    /// Combinations of addresses and ports to use.
    pub(crate) flows: Option<u32>,
    /// Connections opened per second.
    pub(crate) rate: Option<f64>,
    #[serde(default = "concurrent")]
    concurrent: u32,
    #[serde(default)]
    request: u32,
    #[serde(default)]
    response: u32,
    #[serde(default)]
    hold_ms: u32,
    #[serde(default = "retransmit_ms")]
    retransmit_ms: u32,
    #[serde(default = "retries")]
    retries: u8,
}

fn http() -> String {
    "80".into()
}

fn concurrent() -> u32 {
    1024
}

fn retransmit_ms() -> u32 {
    200
}

fn retries() -> u8 {
    5
}

/// A stream as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStream {
    /// Its name.
    pub(crate) name: Option<String>,
    from: String,
    to: String,
    #[serde(default)]
    reflect: bool,
    reflect_via: Option<String>,
    #[serde(default)]
    protocol: RawProtocol,
    #[serde(default)]
    tcp_flags: Option<Vec<RawFlag>>,
    source: Vec<String>,
    #[serde(default = "source_ports")]
    source_ports: String,
    destination: Vec<String>,
    #[serde(default = "destination_ports")]
    destination_ports: String,
    /// Number of flows.
    pub(crate) flows: Option<u32>,
    /// Their order.
    #[serde(default)]
    pub(crate) order: RawOrder,
    #[serde(default)]
    size: RawSize,
    /// Packets per second.
    pub(crate) rate: Option<f64>,
    #[serde(default)]
    check: RawCheck,
    #[serde(default)]
    sequence: RawScope,
    #[serde(default)]
    latency: bool,
}

fn source_ports() -> String {
    "1024-65535".into()
}

fn destination_ports() -> String {
    "9".into()
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawProtocol {
    #[default]
    Udp,
    Tcp,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawFlag {
    Fin,
    Syn,
    Rst,
    Psh,
    Ack,
}

/// `sequential` or `random`.
#[derive(Debug, Clone, Copy, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawOrder {
    /// By number.
    Sequential,
    /// At random.
    #[default]
    Random,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawCheck {
    #[default]
    Count,
    Stamp,
    Full,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawScope {
    #[default]
    Stream,
    Flow,
}

/// One size, `"imix"`, or sizes with weights.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "a size in bytes, \"imix\", or [[size, weight], ...]"
)]
enum RawSize {
    Fixed(u16),
    Named(Mix),
    Weighted(Vec<(u16, u16)>),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mix {
    Imix,
}

impl Default for RawSize {
    fn default() -> Self {
        Self::Fixed(64)
    }
}

#[cfg(test)]
mod tests;
