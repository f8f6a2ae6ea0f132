//! The controller: executes [`Action`]s, one at a time, and keeps workers supplied with snapshots.
//!
//! It owns the configuration in use. What takes an answer of workers is left pending and finished
//! when their messages come; nothing in here waits. [`Controller::submit`] and [`Controller::poll`]
//! can be called by anybody; [`Controller::run`] does it for requests that come over a channel.

mod action;
mod candidate;
mod capture;
mod change;
mod connectivity;
mod devices;
mod dispatch;
mod endings;
mod ha;
mod health;
mod health_view;
mod history;
mod ledger;
mod link;
mod next;
mod passive;
mod pending;
mod questions;
mod report;
mod roles;
mod session_query;
mod sessions;
mod state;
mod stats;
mod status;
mod survey;
mod tags;
mod tiers;
mod tiers_view;
mod touched;
mod trace;
mod transaction;
mod trial;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use sluice_dataplane::host::{self as queues, HostEnd};
use sluice_dataplane::io::DeviceId;
use sluice_dataplane::lb::loads;
use sluice_dataplane::mailbox::{Event, FromWorker, RequestId, WorkerEnd, mailbox};
use sluice_dataplane::published::{Published, Publisher};
use sluice_dataplane::snapshot::{PortId, Snapshot};
use tokio::sync::mpsc;

pub use action::{
    Action, ActionError, Answer, Ended, FlowView, Handle, HealthFilter, Neighbour, Outcome,
    Request, Route, SessionCursor, SessionFilter, SessionList, SessionQuery, SessionView,
};
pub use change::{
    CandidateView, Change, Committed, Confirmation, Expected, MAX_CONFIRM_SECONDS, PartOf,
    PartView, Revisions, Target, Terms, Touched, TouchedBy, Verdict, What, Which,
};
pub use devices::{Buffers, DeviceCounters, Devices, Link, NoDevices};
pub use ha::{Ha, HaGroupStatus, HaPeer, PeerState, Rates, Tracker};
pub use health_view::{CheckTotals, CheckView, Connections, Health, ServerHealth};
pub use roles::Duty;
pub use state::{DeviceState, DropState, PortState, WorkerState};
pub use stats::{
    Class, Counts, DeviceStats, PortStats, ServerStats, ServiceStats, SnatPoolStats, Stats,
    WorkerStats,
};
pub use status::{PortStatus, SessionStatus, Status, WorkerStatus};
pub use survey::{
    AddressUse, Group, GroupBy, Order, Question, SessionCount, SnatUse, Top, WorkerUse,
};
pub use tags::keep_tags;
pub(crate) use tags::tag;
pub use tiers_view::{Taker, TierServer, TierView, Tiers};
pub use trial::unconfirmed;

use crate::compile::{self, CompileError, DeviceFacts, Registry};
use crate::config::Config;
use crate::events::Severity;
use crate::health::{Board, Checker, Ramps, ScriptRunner, Standings};
use crate::host::{HostError, Interface};
use crate::logs::Logs;
use ledger::Ledger;
use link::WorkerLink;
use pending::{Pending, Work};

#[cfg(test)]
mod tests;

/// How long workers have to adopt a snapshot before the answer says that they have not.
const ADOPTION: Duration = Duration::from_secs(5);
/// How long a question to workers may take. Looking through ten million sessions takes seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often links are looked at.
const LINK_INTERVAL: Duration = Duration::from_secs(1);
/// The same where priorities depend on them.
const TRACKED_LINK_INTERVAL: Duration = Duration::from_millis(100);
/// Actions that wait for workers at most.
const MAX_PENDING: usize = 64;
/// How often mailboxes are looked at while something is expected, and otherwise.
const SOON: Duration = Duration::from_millis(1);
const LATER: Duration = Duration::from_millis(50);

/// What a worker needs of control.
#[derive(Debug)]
pub struct WorkerSide {
    /// The configuration to begin with.
    pub snapshot: Arc<Snapshot>,
    /// Its end of the mailbox.
    pub mailbox: WorkerEnd,
    /// Its end of the queues to and from the host's kernel.
    pub host: queues::WorkerSide,
    /// Its counters.
    pub publisher: Publisher,
}

/// The host interface, as far as it got.
#[derive(Debug)]
enum Host {
    /// Nobody allowed it.
    Absent(Vec<HostEnd>),
    /// Allowed, and not wanted yet.
    Off(Vec<HostEnd>),
    /// Running, to the end of the process.
    On(Interface),
}

impl Default for Host {
    fn default() -> Self {
        Self::Absent(Vec::new())
    }
}

/// See the module's docs.
pub struct Controller {
    version: String,
    started: Instant,
    config: Arc<Config>,
    ledger: Ledger,
    /// What the process was started with.
    facts: Vec<DeviceFacts>,
    registry: Registry,
    standings: Standings,
    checker: Option<Checker>,
    scripts: Option<ScriptRunner>,
    watches: passive::Watches,
    ramps: Ramps,
    tiers_seen: tiers::Seen,
    /// What workers count of sessions by real server; none where they don't run.
    boards: Vec<loads::Board>,
    snapshot: Arc<Snapshot>,
    workers: Vec<WorkerLink>,
    published: Arc<Published>,
    host: Host,
    devices: Box<dyn Devices>,
    links: Vec<Link>,
    links_seen: Instant,
    roles: roles::Roles,
    pending: HashMap<RequestId, Pending>,
    last_request: RequestId,
    logs: Logs,
    captures: Vec<capture::Kept>,
    last_capture: u64,
    endings: endings::Endings,
    /// How often mailboxes are looked at while nothing is expected.
    later: Duration,
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller")
            .field("epoch", &self.snapshot.epoch)
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}

impl Controller {
    /// A controller, and what the workers need, in the order of `system.workers`. `facts` are in the
    /// order of [`Config::devices`]. `version` is shown by the API.
    ///
    /// # Errors
    /// [`CompileError`] if the configuration does not fit these devices.
    pub fn new(
        config: Config,
        facts: Vec<DeviceFacts>,
        devices: Box<dyn Devices>,
        version: &str,
    ) -> Result<(Self, Vec<WorkerSide>), CompileError> {
        let layout = compile::layout(&config);
        let mut registry = Registry::new(layout);
        let mut snapshot = Arc::new(compile::compile(&config, &facts, &mut registry, (1, None))?);
        // Servers that are to wait for their first check.
        let nothing = Standings::default();
        let known = (&nothing, &Ramps::default());
        if let Some((waiting, _)) = compile::restate(&snapshot, &config, &registry, known) {
            snapshot = waiting;
        }
        let (published, publishers) = Published::new(config.system.workers.len(), layout);
        let mut links = Vec::new();
        let (mut sides, mut ends) = (Vec::new(), Vec::new());
        for publisher in publishers {
            let (control, worker) = mailbox();
            let (end, host) = queues::queues();
            ends.push(end);
            links.push(WorkerLink::new(control, snapshot.epoch));
            sides.push(WorkerSide {
                snapshot: Arc::clone(&snapshot),
                mailbox: worker,
                host,
                publisher,
            });
        }
        let now = Instant::now();
        let workers = links.len();
        let mut controller = Self {
            version: version.to_owned(),
            started: now,
            ledger: Ledger::new(&config),
            config: Arc::new(config),
            links: vec![Link::default(); facts.len()],
            links_seen: now,
            roles: roles::Roles::new(workers, now),
            facts,
            registry,
            standings: Standings::default(),
            checker: None,
            scripts: None,
            watches: passive::Watches::new(now),
            ramps: Ramps::default(),
            tiers_seen: tiers::Seen::new(now),
            boards: Vec::new(),
            snapshot,
            workers: links,
            published,
            host: Host::Absent(ends),
            devices,
            pending: HashMap::new(),
            last_request: RequestId(0),
            logs: Logs::default(),
            captures: Vec::new(),
            last_capture: 0,
            endings: endings::Endings::new(),
            later: LATER,
        };
        controller.look_at_links();
        controller.look_at_starts(now);
        Ok((controller, sides))
    }

    /// Sends log lines to the syslog servers of the configuration, now and of later ones.
    #[must_use]
    pub fn with_logs(mut self, logs: Logs) -> Self {
        self.logs = logs;
        self.follow_logs();
        self
    }

    /// Has scripts of health checks run by this process; without one there are none.
    #[must_use]
    pub fn with_scripts(mut self, runner: Option<ScriptRunner>) -> Self {
        self.scripts = runner;
        self
    }

    /// Where log lines go.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    fn follow_logs(&self) {
        let name = self.config.system.name.as_str();
        self.logs.apply(&self.config.log, name);
    }

    /// Lets the controller make the host interface, now if the configuration has one, or when a later
    /// one has. It is the machine's: without this call there is none.
    ///
    /// # Errors
    /// [`HostError`]: it is wanted now, and cannot be made.
    pub fn allow_host(&mut self) -> Result<(), HostError> {
        if let Host::Absent(ends) = std::mem::take(&mut self.host) {
            self.host = Host::Off(ends);
        }
        self.follow_host()
    }

    /// Makes the host interface what the configuration says.
    fn follow_host(&mut self) -> Result<(), HostError> {
        match (&mut self.host, &self.config.host) {
            (Host::On(interface), _) => interface.apply(&self.config, &self.snapshot),
            (Host::Off(ends), Some(host)) => {
                let ends = std::mem::take(ends);
                let largest = self.facts.iter().map(|facts| facts.mtu).max().unwrap_or(0);
                let (config, snapshot) = (&self.config, &self.snapshot);
                let interface = Interface::start(host, config, snapshot, largest, ends)?;
                self.host = Host::On(interface);
            }
            _ => {}
        }
        self.begin_checks();
        Ok(())
    }

    /// The counters of all workers.
    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// Executes requests until all handles are gone.
    pub async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        loop {
            let idle = self.pending.is_empty() && !self.standings.changed();
            let nap = if idle { self.later } else { SOON };
            let board = self
                .checker
                .as_ref()
                .map(|checker| Arc::clone(checker.board()));
            tokio::select! {
                () = change_of(board) => {}
                request = requests.recv() => match request {
                    Some(Request { action, answer }) => self.submit(action, answer, Instant::now()),
                    None => return,
                },
                () = tokio::time::sleep(nap) => {}
            }
            self.poll(Instant::now());
        }
    }

    /// Takes messages of workers, finishes what can be finished, gives up on what took too long.
    pub fn poll(&mut self, now: Instant) {
        for worker in 0..self.workers.len() {
            self.workers[worker].flush();
            while let Some(message) = self.workers[worker].receive() {
                self.take(worker, message);
            }
        }
        self.look_at_trial(now);
        self.look_at_captures();
        self.take_checks();
        self.look_at_connections(now);
        self.follow_health(now);
        self.look_at_tiers(now);
        self.finish_adoptions(now);
        self.give_up_on_late(now);
        self.look_at_roles(now);
        let interval = match self.config.ha_tracks.is_empty() {
            true => LINK_INTERVAL,
            false => TRACKED_LINK_INTERVAL,
        };
        if now.saturating_duration_since(self.links_seen) >= interval {
            self.links_seen = now;
            self.look_at_links();
        }
    }

    fn wait(&mut self, work: Work, answer: Answer, deadline: Instant) {
        self.wait_for(work, answer, deadline);
    }

    fn wait_for(&mut self, work: Work, answer: Answer, deadline: Instant) -> RequestId {
        self.last_request.0 += 1;
        let pending = Pending {
            answer,
            deadline,
            work,
        };
        self.pending.insert(self.last_request, pending);
        self.last_request
    }

    fn finish_adoptions(&mut self, now: Instant) {
        let in_force = self.epoch_in_force();
        let done = |(&request, pending): (&RequestId, &Pending)| match &pending.work {
            Work::Adopt(committed) if committed.epoch <= in_force || pending.deadline <= now => {
                Some(request)
            }
            _ => None,
        };
        let done: Vec<RequestId> = self.pending.iter().filter_map(done).collect();
        for request in done {
            let Some(Pending {
                answer,
                work: Work::Adopt(mut committed),
                ..
            }) = self.pending.remove(&request)
            else {
                continue;
            };
            committed.in_force = committed.epoch <= in_force;
            let _ = answer.send(Ok(Outcome::Committed(committed)));
        }
    }

    /// The epoch that every worker has reached.
    fn epoch_in_force(&self) -> u32 {
        let epochs = self.workers.iter().map(|worker| worker.epoch);
        epochs.min().unwrap_or(self.snapshot.epoch)
    }

    fn answer(&mut self, request: RequestId, outcome: Result<Outcome, ActionError>) {
        if let Some(pending) = self.pending.remove(&request) {
            let _ = pending.answer.send(outcome);
        }
    }

    fn take(&mut self, worker: usize, message: FromWorker) {
        match message {
            FromWorker::Retired(snapshot) => {
                tracing::debug!(worker, epoch = snapshot.epoch, "snapshot retired");
            }
            FromWorker::Sessions(page) => self.take_sessions(worker, page),
            FromWorker::Ended(end) => self.take_ended(worker, &end),
            FromWorker::Neighbours(page) => self.take_neighbours(&page),
            FromWorker::Traced(trace) => self.take_trace(worker, trace),
            FromWorker::CaptureEnded(tap) => {
                tracing::debug!(worker, capture = tap.id().0, "a tap came back");
            }
            FromWorker::Event(event) => self.log(event),
        }
    }

    fn log(&self, event: Event) {
        match event {
            Event::AddressConflict { port, address, mac } => {
                let port = self.port_name(port);
                tracing::warn!(port, %address, %mac, "another station has an address of ours");
                let message = format!("{mac} on {port} has our address {address}");
                let details = json!({ "port": port, "address": address, "mac": mac.to_string() });
                let events = &self.ledger.events;
                events.publish("address.conflict", Severity::Error, message, details);
            }
            Event::NeighbourLost { port, address } => {
                let port = self.port_name(port);
                tracing::warn!(port, %address, "next hop does not answer");
                let message = format!("{address} on {port} does not answer");
                let details = json!({ "port": port, "address": address });
                let events = &self.ledger.events;
                events.publish("neighbour.lost", Severity::Warning, message, details);
            }
            Event::Ha(event) => self.log_ha(event),
            Event::PeerVersion {
                node,
                oldest,
                newest,
            } => {
                let message = format!(
                    "node {node} speaks versions {oldest} to {newest} of the HA protocol, and none of ours"
                );
                tracing::error!("{message}");
                let details = json!({ "node": node, "oldest": oldest, "newest": newest });
                let events = &self.ledger.events;
                events.publish("ha.peer.version", Severity::Error, message, details);
            }
        }
    }

    fn port_name(&self, port: PortId) -> String {
        let port = self.registry.ports().get(usize::from(port.0));
        port.cloned().unwrap_or_default()
    }

    fn look_at_links(&mut self) {
        for (at, known) in (0..).zip(&mut self.links) {
            let link = self.devices.link(DeviceId(at));
            if link.up != known.up {
                let device = self.snapshot.devices.get(usize::from(at));
                let device = device.map_or("", |device| device.name.as_str());
                let (kind, severity) = match link.up {
                    true => ("link.up", Severity::Info),
                    false => ("link.down", Severity::Warning),
                };
                let message = format!(
                    "the link of {device} is {}",
                    if link.up { "up" } else { "down" }
                );
                let details = json!({ "device": device, "speed_mbps": link.speed_mbps });
                self.ledger.events.publish(kind, severity, message, details);
                if link.up {
                    tracing::info!(device, speed_mbps = link.speed_mbps, "link is up");
                } else {
                    tracing::warn!(device, "link is down");
                }
            }
            *known = link;
        }
    }
}

/// Waits until checks have found something new.
async fn change_of(board: Option<Arc<Board>>) {
    match board {
        Some(board) => board.wait().await,
        None => std::future::pending().await,
    }
}
