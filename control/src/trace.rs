//! What would become of a packet: the question, and the answer in names and words.

mod packet;
mod steps;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use packet::frame;
pub(crate) use steps::Names;

/// A packet that comes in by a port: as a whole, or by its most important fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TraceQuery {
    /// The port that it comes in by.
    pub port: String,
    /// The Ethernet frame in hexadecimal; blanks and colons don't matter. In place of all fields below.
    pub frame: Option<String>,
    /// Source address.
    #[schema(value_type = Option<String>)]
    pub source: Option<IpAddr>,
    /// Destination address.
    #[schema(value_type = Option<String>)]
    pub destination: Option<IpAddr>,
    /// `tcp`, `udp`, `icmp`, ... or a number; `tcp` by default. ICMP is an echo request.
    pub protocol: Option<String>,
    /// Source port, or identifier of an echo request; 40000 by default.
    pub source_port: Option<u16>,
    /// Destination port.
    pub destination_port: Option<u16>,
    /// Flags of TCP, of `FSRPAUEC`; `S` by default.
    pub flags: Option<String>,
    /// TTL or hop limit; 64 by default.
    pub ttl: Option<u8>,
    /// Bytes of payload; none by default.
    pub payload: Option<u16>,
    /// The VLAN tag that it comes with, if not the port's.
    pub vlan: Option<u16>,
}

/// What is wrong with a question: JSON pointer, what was found, what would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceFault {
    /// The key.
    pub key: &'static str,
    /// What was found.
    pub found: String,
    /// What would do.
    pub remedy: &'static str,
}

/// What would become of the packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TraceView {
    /// `forwarded`, `dropped`, `consumed`, `punted`, `redirected`, or `fragment`.
    pub verdict: &'static str,
    /// The verdict in a sentence.
    pub text: String,
    /// Of a dropped packet: the name of the reason, as in counters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Of a forwarded packet: the port that it leaves by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Of a forwarded packet: what it leaves with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaves: Option<TupleView>,
    /// What was looked at, in order.
    pub steps: Vec<StepView>,
}

/// A step, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StepView {
    /// The worker that takes it.
    pub worker: usize,
    /// What is looked at: `port`, `headers`, `session`, `owner`, `host`, `peer`, `opening`, `service`,
    /// `mapping`, `server`, `last_resort`, `route`, `source_route`, `policy`, `source`, `tcp`, `neighbour`,
    /// `handover`.
    pub stage: &'static str,
    /// What was found.
    pub text: String,
    /// The name of what was found, where it has one: a port, a service or rule, a real server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Addresses and ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TupleView {
    /// Protocol by name, or its number.
    pub protocol: String,
    /// Source address.
    #[schema(value_type = String)]
    pub source: IpAddr,
    /// Source port; absent where one is still to be leased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Destination address.
    #[schema(value_type = String)]
    pub destination: IpAddr,
    /// Destination port.
    pub destination_port: u16,
}
