//! What is known of real servers' health: taken from the checks, brought to workers, told to whoever
//! asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use sluice_dataplane::mailbox::{EndRequest, Filter, RequestId, ToWorker};
use sluice_dataplane::snapshot::ServerState;

use super::action::{ActionError, HealthFilter};
use super::health_view::{CheckView, Health, ServerHealth};
use super::link::WorkerLink;
use super::{Controller, Host};
use crate::compile;
use crate::events::Severity;
use crate::health::{Checker, Key, STEPS, Standings, Status, Targets, Verdict};

/// A request of nobody: no answer is waited for.
const UNASKED: RequestId = RequestId(0);

impl Controller {
    /// What is known of real servers. What changes in it reaches workers with the next
    /// [`Controller::poll`].
    pub fn standings(&mut self) -> &mut Standings {
        &mut self.standings
    }

    /// Begins to check, once there is something to check and the host interface to speak by.
    pub(super) fn begin_checks(&mut self) {
        if self.checker.is_some() || Targets::of(&self.config).all.is_empty() {
            return;
        }
        self.start_checker();
    }

    /// Starts the thread that checks, where there is the host interface to speak by.
    pub(super) fn start_checker(&mut self) {
        let Host::On(interface) = &self.host else {
            return;
        };
        match Checker::start(Some(interface.path().to_owned()), self.scripts.as_ref()) {
            Ok(checker) => self.checker = Some(checker),
            Err(error) => {
                tracing::error!(%error, "there are no health checks; restart Sluice to try again");
            }
        }
        self.apply_checks();
    }

    /// Checks by this from now on.
    #[cfg(test)]
    pub(super) fn use_checker(&mut self, checker: Checker) {
        self.checker = Some(checker);
        self.apply_checks();
    }

    /// Has checked what the configuration says, once checks have begun.
    pub(super) fn apply_checks(&mut self) {
        let Some(checker) = &self.checker else {
            return;
        };
        checker.apply(Targets::of(&self.config));
        // What was found before holds where the server is the same; where there are no checks any
        // more, nothing is known.
        let board = Arc::clone(checker.board());
        for pool in &self.config.pools {
            for (id, server) in self.registry.servers_of(pool) {
                let verdict = board.verdict(&pool.full_name(server));
                self.standings.set_active(id, verdict);
            }
        }
    }

    /// Takes what the checks found since the last time.
    pub(super) fn take_checks(&mut self) {
        let Some(checker) = &self.checker else {
            return;
        };
        let board = Arc::clone(checker.board());
        for (key, status) in board.changes() {
            let verdict = board.verdict(&key.server);
            if let Some(id) = self.registry.server_by_name(&key.server) {
                self.standings.set_active(id, verdict);
            }
            self.tell_of_check(&key, &status, verdict);
        }
    }

    fn tell_of_check(&self, key: &Key, status: &Status, server: Verdict) {
        let verdict = status.machine.verdict();
        let (kind, severity) = match verdict {
            Verdict::Down => ("health.down", Severity::Warning),
            Verdict::Up | Verdict::Unknown => ("health.up", Severity::Info),
        };
        let name = &key.server;
        let check = format!("{} {:?}", status.target.check.kind.name(), key.check);
        let message = match (&status.error, verdict == server) {
            (Some(why), _) => format!("{name} is down: check {check}: {why}"),
            (None, true) => format!("{name} is up: check {check}"),
            (None, false) => format!("{name}: check {check} is up, and another one is not"),
        };
        match verdict {
            Verdict::Down => tracing::warn!("{message}"),
            Verdict::Up | Verdict::Unknown => tracing::info!("{message}"),
        }
        let details = json!({
            "server": name,
            "check": key.check,
            "type": status.target.check.kind.name(),
            "target": target(status),
            "health": verdict,
            "server_health": server,
            "reason": status.error.as_ref().map(|why| why.reason),
            "error": status.error.as_ref().map(|why| &why.detail),
        });
        self.ledger.events.publish(kind, severity, message, details);
    }

    /// Sends workers a snapshot with what has changed. While one is on its way nothing is sent: what
    /// changes meanwhile goes with the next, so that any number of servers that fall together are a
    /// few snapshots.
    pub(super) fn follow_health(&mut self, now: Instant) {
        let changed = self.standings.changed() || self.ramps.under_way();
        if !changed || self.workers.iter().any(WorkerLink::is_adopting) {
            return;
        }
        let Some(ends) = self.restate(now) else {
            return;
        };
        for worker in &mut self.workers {
            worker.swap(Arc::clone(&self.snapshot));
            if ends {
                // Behind the snapshot: by then nothing opens a session to these servers.
                let mut end = EndRequest::new(UNASKED, Filter::default());
                end.homeless = true;
                worker.send(ToWorker::EndSessions(Box::new(end)));
            }
        }
    }

    /// Brings standings into the snapshot in use; `None` if they are there. True: there are servers
    /// whose sessions have to end.
    pub(super) fn restate(&mut self, now: Instant) -> Option<bool> {
        self.look_at_starts(now);
        let known = (&self.standings, &self.ramps);
        let restated = compile::restate(&self.snapshot, &self.config, &self.registry, known);
        self.standings.taken_up();
        self.ramps.taken_up();
        let (snapshot, ends) = restated?;
        self.snapshot = snapshot;
        Some(ends)
    }

    /// Refuses a filter for a pool that there is not.
    pub(super) fn has_pool(&self, filter: &HealthFilter) -> Result<(), ActionError> {
        let names = || self.config.pools.iter().map(|pool| pool.name.as_str());
        match &filter.pool {
            Some(wanted) if !names().any(|name| name == wanted) => Err(ActionError::Unknown {
                parameter: "pool",
                kind: "pool",
                name: wanted.clone(),
                known: names().map(str::to_owned).collect(),
            }),
            _ => Ok(()),
        }
    }

    /// The health of the servers that match.
    pub(super) fn health(&self, filter: &HealthFilter, now: Instant) -> Health {
        let rows = self.checker.as_ref().map(|checker| checker.board().rows());
        let mut by_server: BTreeMap<String, Vec<(String, Status)>> = BTreeMap::new();
        for (key, status) in rows.into_iter().flatten() {
            by_server
                .entry(key.server)
                .or_default()
                .push((key.check, status));
        }
        let mut health = Health::default();
        for pool in &self.config.pools {
            for (id, server) in self.registry.servers_of(pool) {
                let name = pool.full_name(server);
                let checks = by_server.remove(&name).unwrap_or_default();
                for (check, status) in &checks {
                    health.count(check, status);
                }
                let standing = self.standings.get(id);
                let wanted_pool = filter
                    .pool
                    .as_deref()
                    .is_none_or(|its| its == pool.name.as_str());
                if !wanted_pool || filter.health.is_some_and(|its| its != standing.active) {
                    continue;
                }
                let known = self.snapshot.servers.get(usize::from(id.0));
                let state = known.and_then(Option::as_ref).map(|known| known.state);
                health.servers.push(ServerHealth {
                    name,
                    address: server.address,
                    configured: state_name(server.state),
                    state: shown(state.unwrap_or(server.state), standing.active),
                    health: standing.active,
                    passive: pool.passive.map(|_| standing.passive),
                    connections: self.connections(id, now),
                    share_percent: u32::from(self.ramps.step(id)) * 100 / u32::from(STEPS),
                    checks: checks
                        .into_iter()
                        .map(|(check, status)| CheckView::new(check, &status))
                        .collect(),
                });
            }
        }
        health
    }
}

/// The state of a server as it is shown: to workers one that is down and keeps its sessions is as one that
/// drains, and to people it is down.
pub(super) fn shown(state: ServerState, checks: Verdict) -> &'static str {
    match (state, checks) {
        (ServerState::Draining, Verdict::Down) => state_name(ServerState::Down),
        _ => state_name(state),
    }
}

/// As the API has it.
fn state_name(state: ServerState) -> &'static str {
    match state {
        ServerState::Up => "up",
        ServerState::Draining => "draining",
        ServerState::Down => "down",
    }
}

/// Where a check goes.
pub(super) fn target(status: &Status) -> String {
    let address = status.target.address;
    match address.port() {
        0 => address.ip().to_string(),
        _ => address.to_string(),
    }
}
