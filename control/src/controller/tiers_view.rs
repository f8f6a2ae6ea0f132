//! Where new sessions of virtual servers go, as it is shown.

use serde::Serialize;
use utoipa::ToSchema;

/// A virtual server, and who takes its new sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = VirtualServerTiers)]
pub struct Tiers {
    /// Its name.
    pub virtual_server: String,
    /// Who takes new sessions now.
    pub taker: Taker,
    /// Since when that has been so, or which priority groups it is (RFC 3339, UTC). Servers that were full
    /// count again when they have had room for five seconds.
    pub since: String,
    /// Why nobody before takes them; empty if that is the first tier.
    pub why: String,
    /// Servers of the pool's priority groups in use that take sessions, limits apart.
    pub available: usize,
    /// How many there should be, by the pool's `min_up`.
    pub min_up: usize,
    /// In the order in which they are tried.
    pub tiers: Vec<TierView>,
}

/// Who takes sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Taker {
    /// Its pool.
    Pool,
    /// Its backup pool.
    Backup,
    /// Its sorry server.
    Sorry,
    /// Nobody; clients are redirected over HTTP.
    Redirect,
    /// Nobody.
    Nobody,
}

impl Taker {
    /// All of them, the best first.
    pub const ALL: [Self; 5] = [
        Self::Pool,
        Self::Backup,
        Self::Sorry,
        Self::Redirect,
        Self::Nobody,
    ];

    /// As the API has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Backup => "backup",
            Self::Sorry => "sorry",
            Self::Redirect => "redirect",
            Self::Nobody => "nobody",
        }
    }

    /// In a sentence.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Pool => "new sessions go to its pool",
            Self::Backup => "new sessions go to its backup pool",
            Self::Sorry => "new sessions go to its sorry server",
            Self::Redirect => "its clients are redirected",
            Self::Nobody => "nobody takes new sessions",
        }
    }
}

/// Real servers that are chosen among before the next ones are tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TierView {
    /// Where they are from: `pool`, `backup` or `sorry`.
    pub kind: Taker,
    /// The name of that pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Their priority groups, the highest first. The first tier of a pool has those in use.
    pub priorities: Vec<u8>,
    /// Whether new sessions go there.
    pub in_use: bool,
    /// Servers that take sessions: up, and of a weight above 0.
    pub available: usize,
    /// Of them those that have as many sessions as they may. Sessions per second are not looked at.
    pub full: usize,
    /// All, in the order of the configuration.
    pub servers: Vec<TierServer>,
}

/// A real server of a tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TierServer {
    /// `pool/name`, or `sorry:NAME` of the virtual server.
    pub name: String,
    /// Configuration and health together: `up`, `draining` or `down`.
    pub state: &'static str,
    /// Whether it takes sessions, limits apart.
    pub available: bool,
    /// Sessions now, of all virtual servers, as they count for its limit.
    pub sessions: u64,
    /// Sessions that it has at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// Sessions that it gets per second at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sessions_per_second: Option<u32>,
}

impl TierServer {
    /// Whether it has as many sessions as it may.
    pub(super) fn is_full(&self) -> bool {
        let most = self.max_sessions.map(u64::from);
        most.is_some_and(|most| self.sessions >= most)
    }
}
