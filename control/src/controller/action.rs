//! What can be asked of the controller, and what it answers.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::change::{CandidateView, Change, Committed, PartOf, PartView, Revisions, Which};
use super::ha::Ha;
use super::health_view::Health;
use super::roles::Duty;
pub use super::session_query::{
    Ended, FlowView, SessionCursor, SessionFilter, SessionList, SessionQuery, SessionView,
};
use super::state::{DeviceState, DropState, PortState, WorkerState};
use super::stats::Stats;
use super::status::Status;
use super::survey::{Question, SessionCount, SnatUse, Top};
use super::tiers_view::Tiers;
use crate::capture::{Capture, CaptureView, NewCapture};
use crate::compile::CompileError;
use crate::config::diff::Difference;
use crate::config::{Config, ConfigError, Path};
use crate::connectivity::{ConnectivityQuery, Plan};
use crate::health::Verdict;
use crate::trace::{TraceQuery, TraceView};

/// Everything that can be asked. Each request of the API is one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The configuration in use.
    ReadConfig,
    /// Change the configuration.
    Change(Box<Change>),
    /// A part of a configuration.
    ReadPart(PartOf),
    /// An author's candidate.
    ReadCandidate(String),
    /// Forget an author's candidate.
    DropCandidate(String),
    /// What waits for the next start.
    ReadNext,
    /// Forget it.
    DropNext,
    /// What differs between two configurations.
    Compare {
        /// Before.
        from: Which,
        /// After.
        to: Which,
    },
    /// The history.
    ListRevisions,
    /// A configuration of the history.
    ReadRevision(u64),
    /// Keep the configuration on trial. Who says so.
    Confirm(String),
    /// Go back to the one before the trial. Who says so.
    Revert(String),
    /// What runs, and how it is.
    Status,
    /// All counters.
    Stats,
    /// The health of real servers.
    Health(HealthFilter),
    /// Tells how the other appliance is.
    Ha,
    /// Let this node go away, or come back.
    Handover(Duty),
    /// A page of sessions.
    ListSessions(SessionQuery),
    /// End the sessions that match.
    EndSessions {
        /// Which.
        filter: SessionFilter,
        /// Both ends of those that are TCP are told by a reset.
        reset: bool,
    },
    /// How far the ending of sessions of this number is.
    FindEnding(u64),
    /// Add up all sessions that match.
    Survey(SessionFilter, Question),
    /// How busy workers are.
    ListWorkers,
    /// Why frames were dropped.
    ListDrops,
    /// Ports, with what they and their devices count.
    ListPorts,
    /// All that a device counts, by its driver's names; of the device or of a port on it.
    ReadDevice(String),
    /// The neighbour tables.
    ListNeighbours,
    /// The routes.
    ListRoutes,
    /// Who takes new sessions of virtual servers; of this one only, if it is named.
    ListTiers(Option<String>),
    /// What would become of a packet.
    Trace(Box<TraceQuery>),
    /// Where programs speak by the data plane's ports.
    FindHost,
    /// What a connectivity test has to do.
    PlanConnectivity(Box<ConnectivityQuery>),
    /// Begin to capture packets.
    StartCapture(Box<NewCapture>),
    /// All captures.
    ListCaptures,
    /// The capture of this number.
    FindCapture(u64),
    /// End it, and keep what it has.
    StopCapture(u64),
    /// End it, and forget it.
    RemoveCapture(u64),
}

/// Which real servers; `None` matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthFilter {
    /// Those of this pool.
    pub pool: Option<String>,
    /// Those of which checks say so.
    pub health: Option<Verdict>,
}

/// What an action brought.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Of [`Action::ReadConfig`].
    Config {
        /// The configuration in use.
        config: Arc<Config>,
        /// Its epoch.
        epoch: u32,
        /// Its number.
        revision: u64,
        /// Changes with it.
        tag: String,
    },
    /// Of [`Action::Change`], [`Action::Confirm`] and [`Action::Revert`].
    Committed(Box<Committed>),
    /// Of [`Action::ReadPart`].
    Part(PartView),
    /// Of [`Action::ReadCandidate`] and [`Action::ReadRevision`].
    Candidate(Box<CandidateView>),
    /// Of [`Action::Compare`].
    Differences(Vec<Difference>),
    /// Of [`Action::ListRevisions`].
    Revisions(Revisions),
    /// Of [`Action::DropCandidate`] and [`Action::RemoveCapture`].
    Done,
    /// Of [`Action::FindHost`]: the path of a network namespace.
    HostNamespace(PathBuf),
    /// Of [`Action::PlanConnectivity`].
    Connectivity(Box<Plan>),
    /// Of [`Action::Status`].
    Status(Box<Status>),
    /// Of [`Action::Stats`].
    Stats(Box<Stats>),
    /// Of [`Action::Health`].
    Health(Box<Health>),
    /// Of [`Action::Ha`] and [`Action::Handover`]; `None` where there is no other appliance.
    Ha(Option<Box<Ha>>),
    /// Of [`Action::ListSessions`].
    Sessions(SessionList),
    /// Of [`Action::EndSessions`] and [`Action::FindEnding`].
    Ended(Ended),
    /// Of [`Question::Count`].
    Count(SessionCount),
    /// Of [`Question::Top`].
    Top(Top),
    /// Of [`Question::SnatPorts`].
    SnatPools(Vec<SnatUse>),
    /// Of [`Action::ListWorkers`].
    Workers(Vec<WorkerState>),
    /// Of [`Action::ListDrops`].
    Drops(Vec<DropState>),
    /// Of [`Action::ListPorts`].
    Ports(Vec<PortState>),
    /// Of [`Action::ReadDevice`].
    Device(Box<DeviceState>),
    /// Of [`Action::ListNeighbours`].
    Neighbours(Vec<Neighbour>),
    /// Of [`Action::ListRoutes`].
    Routes(Vec<Route>),
    /// Of [`Action::ListTiers`].
    Tiers(Vec<Tiers>),
    /// Of [`Action::Trace`].
    Trace(Box<TraceView>),
    /// Of [`Action::StartCapture`] and [`Action::StopCapture`].
    Capture(Box<CaptureView>),
    /// Of [`Action::FindCapture`].
    CaptureHandle(Capture),
    /// Of [`Action::ListCaptures`].
    Captures(Vec<CaptureView>),
}

/// Why an action was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(ConfigError),
    /// The configuration is right, and a running process cannot follow it.
    #[error("{why}")]
    NeedsRestart {
        /// What cannot be followed.
        why: ConfigError,
        /// Where in it what was sent is; `None` if nothing was.
        part: Option<Path>,
    },
    /// The configuration is right, and cannot be used.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The configuration is wrong since a part of it was changed.
    #[error("{why}")]
    Part {
        /// What is wrong.
        why: ConfigError,
        /// Where in it the part is, if it is still there.
        part: Option<Path>,
    },
    /// What was sent cannot be that part.
    #[error("{found}; {remedy}")]
    Body {
        /// JSON pointer (RFC 6901) into the body.
        pointer: String,
        /// What was found.
        found: String,
        /// What would do.
        remedy: String,
    },
    /// What is to be changed is not what was expected.
    #[error("it was changed in the meantime, or is not there; read it again")]
    Stale {
        /// Its `ETag` now, if it is there.
        current: Option<String>,
    },
    /// The configuration names no other appliance.
    #[error("the configuration names no other appliance")]
    NoPeer,
    /// There is nobody to hand over to.
    #[error("the other appliance is not there, or has not told everything yet")]
    PeerNotReady,
    /// The configuration has no such part.
    #[error("there is no {0}")]
    NoPart(String),
    /// There is no such device, and no port of that name.
    #[error("there is no device or port {name:?}; there are {known}")]
    NoDevice {
        /// What was asked for.
        name: String,
        /// Ports and devices that there are.
        known: String,
    },
    /// The history has no such revision.
    #[error("there is no revision {0}, or none any more")]
    NoRevision(u64),
    /// The author has no candidate.
    #[error("there is no candidate; PUT one, or change a part with candidate=true")]
    NoCandidate,
    /// The candidate began as a configuration that is not in use any more.
    #[error("the configuration in use was changed since the candidate was begun")]
    Outrun,
    /// A configuration waits for the next start, and would be without this change.
    #[error(
        "a configuration waits for the next start, and this change cannot be made in both; DELETE \
         /api/v1/next first, or make the change there, with at_restart=true"
    )]
    NextWaits,
    /// Nothing waits for the next start.
    #[error("nothing waits for the next start")]
    NothingWaits,
    /// Nothing outlives the process.
    #[error("there is no state directory, so a start goes by the file; change that")]
    NotLasting,
    /// Another commit waits to be confirmed.
    #[error("a commit waits to be confirmed; confirm it or revert it first")]
    Unconfirmed,
    /// No commit waits to be confirmed.
    #[error("no commit waits to be confirmed")]
    NothingToConfirm,
    /// The disk refuses.
    #[error("the state directory cannot be written: {0}")]
    NotStored(String),
    /// A filter names something that there is not.
    #[error("there is no {kind} {name:?}")]
    Unknown {
        /// The parameter of the query that names it.
        parameter: &'static str,
        /// What kind of thing.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A worker did not answer in time.
    #[error("worker {0} does not answer")]
    Silent(usize),
    /// There is no host interface.
    #[error("this takes the host interface; give the configuration a [host] section")]
    NoHost,
    /// No sessions are being ended by this number.
    #[error("nothing of the number {0} was being ended, or it is forgotten")]
    NoSuchEnding(u64),
    /// There is no such capture.
    #[error("there is no capture {0}, or none any more")]
    NoSuchCapture(u64),
    /// All captures that there may be are running.
    #[error("{0} captures are running; stop one first")]
    TooManyCaptures(usize),
    /// The machine cannot.
    #[error("cannot capture: {0}")]
    NoCapture(String),
    /// There are too many questions open.
    #[error("too many requests at once; try again")]
    Busy,
    /// The controller has stopped.
    #[error("Sluice is stopping")]
    Stopped,
}

/// A neighbour, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Neighbour {
    /// The port that it is behind.
    pub port: String,
    /// Its address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Its MAC address, if it has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// `reachable`, `stale`, `resolving`, `failed` or `static`.
    pub state: &'static str,
    /// Milliseconds since it was last heard of.
    pub age_ms: u32,
}

/// A route, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Route {
    /// The destination network.
    #[schema(value_type = String)]
    pub to: IpNet,
    /// The router; absent for connected networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub via: Option<IpAddr>,
    /// The port that it leaves by.
    pub port: String,
}

/// An action, and where its outcome goes.
#[derive(Debug)]
pub struct Request {
    /// What to do.
    pub action: Action,
    /// Where to say what came of it.
    pub answer: Answer,
}

/// Where the outcome of an action goes.
pub type Answer = oneshot::Sender<Result<Outcome, ActionError>>;

/// The way to a controller. Clones lead to the same one.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
}

/// Requests that wait for the controller at most.
const WAITING: usize = 64;

impl Handle {
    /// A way, and its other end.
    pub fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(WAITING);
        (Self { requests }, receiver)
    }

    /// Has the controller do something.
    ///
    /// # Errors
    /// [`ActionError`] says why it was not done.
    pub async fn call(&self, action: Action) -> Result<Outcome, ActionError> {
        let (answer, outcome) = oneshot::channel();
        let request = Request { action, answer };
        self.requests
            .send(request)
            .await
            .map_err(|_| ActionError::Stopped)?;
        outcome.await.unwrap_or(Err(ActionError::Stopped))
    }

    /// The same from a thread without a runtime.
    ///
    /// # Errors
    /// [`ActionError`] says why it was not done.
    pub fn call_blocking(&self, action: Action) -> Result<Outcome, ActionError> {
        let (answer, outcome) = oneshot::channel();
        let request = Request { action, answer };
        self.requests
            .blocking_send(request)
            .map_err(|_| ActionError::Stopped)?;
        outcome.blocking_recv().unwrap_or(Err(ActionError::Stopped))
    }
}
