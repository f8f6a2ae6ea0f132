//! Health, as it is shown.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use utoipa::ToSchema;

use super::health::target;
use super::stats::Class;
use crate::clock;
use crate::health::{CLASSES_MS, Reason, Status, Verdict};

/// Real servers and their checks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Health {
    /// In the order of the configuration.
    pub servers: Vec<ServerHealth>,
    /// Each check, its servers together; of all servers, whatever was asked for.
    pub checks: Vec<CheckTotals>,
}

/// A real server.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ServerHealth {
    /// `pool/name`.
    pub name: String,
    /// Its address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// What the configuration says: `up`, `draining` or `down`.
    pub configured: &'static str,
    /// Configuration and health together: `up` takes new sessions, `draining` keeps those that it has,
    /// `down` is out. Where checks found it down it keeps those that it has as well, unless its pool says
    /// `on_down = "end"`.
    pub state: &'static str,
    /// What its checks say together; `unknown` where it has none, or none has ended yet.
    pub health: Verdict,
    /// What the data plane sees of its sessions, where its pool has `passive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passive: Option<Verdict>,
    /// What its connections show, where its pool has `passive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<Connections>,
    /// Of its share of new sessions it gets so many percent: less than 100 while it has a slow start.
    pub share_percent: u32,
    /// Its checks, by name.
    pub checks: Vec<CheckView>,
}

/// TCP connections of a real server within the window of its pool's `passive`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Connections {
    /// Those that it answered.
    pub answered: u64,
    /// Those that it did not answer, or refused.
    pub failed: u64,
    /// Until when it gets no new sessions for that (RFC 3339, UTC), if it is out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_until: Option<String>,
}

/// A check of a real server.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CheckView {
    /// Its name.
    pub name: String,
    /// `icmp`, `tcp`, ...
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where it goes: an address, with a port if it has one.
    pub target: String,
    /// What it says of the server.
    pub health: Verdict,
    /// Since when it says so (RFC 3339, UTC).
    pub since: String,
    /// When the last one ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// How long the last good one took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// Why the last one failed, if it did, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Checks that ended.
    pub done: u64,
    /// Those that failed.
    pub failed: u64,
}

/// A check, its servers together.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CheckTotals {
    /// Its name.
    pub name: String,
    /// Checks that failed, by reason.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub failures: BTreeMap<&'static str, u64>,
    /// Good ones by the milliseconds that they took.
    pub durations_ms: Vec<Class>,
    /// Milliseconds that the good ones took together.
    pub total_ms: f64,
}

impl CheckView {
    pub(super) fn new(name: String, status: &Status) -> Self {
        Self {
            name,
            kind: status.target.check.kind.name(),
            target: target(status),
            health: status.machine.verdict(),
            since: clock::text(status.since),
            last: status.last.map(clock::text),
            latency_ms: status.latency.map(|took| took.as_secs_f64() * 1000.0),
            reason: status.error.as_ref().map(|why| why.reason),
            error: status.error.as_ref().map(|why| why.detail.clone()),
            done: status.checks,
            failed: status.failures.values().sum(),
        }
    }
}

impl Health {
    /// Counts a check of a server.
    pub(super) fn count(&mut self, name: &str, status: &Status) {
        let known = self.checks.iter().position(|check| check.name == name);
        let at = known.unwrap_or_else(|| {
            let bounds = CLASSES_MS.iter().map(|&bound| Some(bound)).chain([None]);
            self.checks.push(CheckTotals {
                name: name.to_owned(),
                failures: Reason::ALL
                    .iter()
                    .map(|reason| (reason.name(), 0))
                    .collect(),
                durations_ms: bounds.map(|up_to| Class { up_to, count: 0 }).collect(),
                total_ms: 0.0,
            });
            self.checks.len() - 1
        });
        let totals = &mut self.checks[at];
        for (reason, count) in &status.failures {
            *totals.failures.entry(reason.name()).or_default() += count;
        }
        for (class, count) in totals.durations_ms.iter_mut().zip(status.durations) {
            class.count += count;
        }
        totals.total_ms += status.total.as_secs_f64() * 1000.0;
    }
}
