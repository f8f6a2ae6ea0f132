//! Which sessions are asked for, and how they are shown.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;
use sluice_dataplane::mailbox::{Cursor, Table, TupleFilter};

/// Sessions were ended, or are being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Ended {
    /// Names it, as long as it can be asked about.
    pub id: u64,
    /// How many, so far.
    pub ended: u64,
    /// More will be.
    pub going_on: bool,
}

/// Which sessions, by names; what is `None` matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// IP protocol.
    pub proto: Option<u8>,
    /// A TCP state's name, or `new` or `replied` for other protocols.
    pub state: Option<String>,
    /// A service's name: of a virtual server, or with its kind in front (`forward/ssh`).
    pub service: Option<String>,
    /// A real server, `pool/name`.
    pub server: Option<String>,
    /// A firewall rule that lets it through today.
    pub rule: Option<String>,
    /// The worker that has it.
    pub worker: Option<usize>,
    /// Whether the peer owns it, and this is a copy.
    pub replica: Option<bool>,
    /// Opened at least so many milliseconds ago.
    pub min_age_ms: Option<u32>,
    /// Opened at most so many milliseconds ago.
    pub max_age_ms: Option<u32>,
    /// Without a packet for at least so many milliseconds.
    pub min_idle_ms: Option<u32>,
    /// Any of the four addresses.
    pub address: Option<IpNet>,
    /// Any of the four ports.
    pub port: Option<u16>,
    /// The opener's tuple.
    pub original: TupleFilter,
    /// The tuple that answers it.
    pub reply: TupleFilter,
}

impl SessionFilter {
    /// Whether it matches all sessions.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A question for sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionQuery {
    /// Which.
    pub filter: SessionFilter,
    /// How many at most.
    pub limit: usize,
    /// Where to go on.
    pub from: SessionCursor,
}

/// Where a listing goes on: in a worker's tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionCursor {
    /// The worker.
    pub worker: usize,
    /// The entry.
    pub entry: Cursor,
}

impl std::fmt::Display for SessionCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = match self.entry.table {
            Table::V4 => 4,
            Table::V6 => 6,
        };
        write!(f, "{}.{family}.{}", self.worker, self.entry.index)
    }
}

impl std::str::FromStr for SessionCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.');
        let mut part = || parts.next().ok_or(());
        let worker = part()?.parse().map_err(drop)?;
        let table = match part()? {
            "4" => Table::V4,
            "6" => Table::V6,
            _ => return Err(()),
        };
        let index = part()?.parse().map_err(drop)?;
        match parts.next() {
            None => Ok(Self {
                worker,
                entry: Cursor { table, index },
            }),
            Some(_) => Err(()),
        }
    }
}

/// A page of sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SessionList {
    /// In no particular order; a session that lives is on exactly one page.
    pub sessions: Vec<SessionView>,
    /// `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A session, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SessionView {
    /// The worker that owns it.
    pub worker: usize,
    /// Protocol by name, or its number.
    pub protocol: String,
    /// TCP state, or `new` or `replied`.
    pub state: &'static str,
    /// The opener's packets.
    pub original: FlowView,
    /// The packets that answer.
    pub reply: FlowView,
    /// Kind and name of the service, `virtual_server/web`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The real server, `pool/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Milliseconds since it was opened.
    pub age_ms: u32,
    /// Milliseconds since its last packet.
    pub idle_ms: u32,
    /// Milliseconds until it ends, if no packet comes.
    pub expires_ms: u32,
    /// `this` node, or `peer`, and then it is a copy.
    pub owner: &'static str,
}

/// One direction of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FlowView {
    /// Zone that its packets come from.
    pub zone: String,
    /// Source address, as they arrive.
    #[schema(value_type = String)]
    pub source: IpAddr,
    /// Source port, or the identifier of an echo request.
    pub source_port: u16,
    /// Destination address, as they arrive.
    #[schema(value_type = String)]
    pub destination: IpAddr,
    /// Destination port, or the identifier of an echo reply.
    pub destination_port: u16,
    /// Packets, modulo 2^32.
    pub packets: u32,
    /// Bytes (IP length), modulo 2^40.
    pub bytes: u64,
}
