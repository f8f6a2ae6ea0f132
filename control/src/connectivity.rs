//! The connectivity test: whether clients get to real servers, step by step.
//!
//! What leads to a real server is tried: routes and neighbours are looked up, and ping, connection and the
//! pool's health checks are made once, by the host interface, so through the data plane and from the
//! appliance's own addresses. What a client's first packet meets at the VIP is traced, by the workers and
//! on paper. Then the appliance itself is a client of the VIP, again by the host interface. A [`Plan`]
//! says what there is to do; `start` does it.

mod plan;
mod run;
mod through;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use plan::Ground;
pub use plan::Plan;
pub(crate) use run::start;

/// What is to be tested.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectivityQuery {
    /// This virtual server and its pools; without it and `pool`, everything.
    pub virtual_server: Option<String>,
    /// The real servers of this pool.
    pub pool: Option<String>,
    /// Clients of this zone; without it and `client`, one of each zone.
    pub zone: Option<String>,
    /// A client's address.
    #[schema(value_type = Option<String>)]
    pub client: Option<IpAddr>,
    /// How long a ping or a connection may take, in milliseconds; health checks have times of their own.
    #[schema(minimum = 10, maximum = 10000, default = 1000)]
    pub timeout_ms: u32,
}

impl Default for ConnectivityQuery {
    fn default() -> Self {
        Self {
            virtual_server: None,
            pool: None,
            zone: None,
            client: None,
            timeout_ms: 1000,
        }
    }
}

/// How a step went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConnectivityVerdict)]
pub enum Verdict {
    /// It could not be tried, or makes no sense here.
    #[default]
    Skipped,
    /// As it should be.
    Ok,
    /// Not as one might expect, and clients may well be served.
    Warning,
    /// Something does not work.
    Failed,
}

/// A step, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StepResult {
    /// The virtual server, of a step that a client's packet takes, and of `pool`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_server: Option<String>,
    /// The zone that the packet comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The real server, `pool/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Of a real server `state`, `route`, `neighbour`, `ping`, `connect` and `check`; of a virtual server
    /// `pool`, for each zone the stages of a trace that decide, and `client`, and at last `connect` and
    /// `check`, by which the appliance itself asks at the VIP. `host`: the host interface.
    pub step: &'static str,
    /// In one word.
    pub verdict: Verdict,
    /// What was found.
    pub text: String,
    /// How long it took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
}

impl StepResult {
    fn new(step: &'static str, verdict: Verdict, text: impl Into<String>) -> Self {
        Self {
            virtual_server: None,
            zone: None,
            server: None,
            step,
            verdict,
            text: text.into(),
            ms: None,
        }
    }
}

/// All steps together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct ConnectivitySummary {
    /// The worst of them.
    pub verdict: Verdict,
    /// Steps that are as they should be.
    pub ok: usize,
    /// Steps that are not as one might expect.
    pub warnings: usize,
    /// Steps that failed.
    pub failed: usize,
    /// Steps that were not tried.
    pub skipped: usize,
    /// How long all of it took, in milliseconds.
    pub ms: f64,
}

impl ConnectivitySummary {
    fn add(&mut self, verdict: Verdict) {
        self.verdict = self.verdict.max(verdict);
        *match verdict {
            Verdict::Ok => &mut self.ok,
            Verdict::Warning => &mut self.warnings,
            Verdict::Failed => &mut self.failed,
            Verdict::Skipped => &mut self.skipped,
        } += 1;
    }
}

/// A line of what a test says.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectivityLine {
    /// As they are done.
    Step(StepResult),
    /// The last line.
    Summary(ConnectivitySummary),
}

#[cfg(test)]
mod tests;
