//! Roles from control's side: what is tracked, and going away for a while.
//!
//! Workers decide with the other nodes who holds a group. Control tells worker 0 what makes this node
//! less fit (a link that is down, a router that does not answer, a worker that does not turn), and that
//! it is to give everything away.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;
use sluice_dataplane::groups::MAX_GROUPS;
use sluice_dataplane::io::DeviceId;
use sluice_dataplane::mailbox::{HaEvent, RoleOrders, ToWorker};
use sluice_dataplane::published::{Slot, WorkerCounter};

use super::ha::{Ha, PeerState, Rates, Tracker};
use super::{ActionError, Controller};
use crate::config::Tracked;
use crate::events::Severity;

/// A worker that did not look at its queues for so long is stuck.
const STUCK: Duration = Duration::from_millis(500);
/// What that costs of every group's priority.
const STUCK_COSTS: u8 = 100;
/// How often it is looked at what is tracked.
const INTERVAL: Duration = Duration::from_millis(100);
/// Over which time rates are taken.
const RATES: Duration = Duration::from_secs(1);

/// Whether this node is to take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Duty {
    /// It holds groups and sessions as far as its priorities have it.
    #[default]
    Active,
    /// It gives groups and sessions to its peer, and can be stopped once it is `away`.
    Maintenance,
}

/// What control knows of roles besides the configuration.
#[derive(Debug)]
pub(super) struct Roles {
    pub(super) duty: Duty,
    orders: RoleOrders,
    looked: Instant,
    /// Of each worker: its polls when they changed last, and when that was.
    polls: Vec<(u64, Instant)>,
    sampled: Instant,
    samples: Vec<u64>,
    pub(super) rates: Rates,
}

impl Roles {
    pub(super) fn new(workers: usize, now: Instant) -> Self {
        Self {
            duty: Duty::Active,
            orders: RoleOrders::default(),
            looked: now,
            polls: vec![(0, now); workers],
            sampled: now,
            samples: Vec::new(),
            rates: Rates::default(),
        }
    }

    /// Workers that do not turn.
    pub(super) fn stuck(&self, now: Instant) -> Vec<usize> {
        let all = self.polls.iter().enumerate();
        let stuck = all.filter(|(_, (_, since))| now.saturating_duration_since(*since) >= STUCK);
        stuck.map(|(worker, _)| worker).collect()
    }
}

impl Controller {
    /// Lets this node go away, or come back.
    pub(super) fn set_duty(&mut self, duty: Duty, now: Instant) -> Result<(), ActionError> {
        if self.config.ha.is_none() {
            return Err(ActionError::NoPeer);
        }
        if duty == Duty::Maintenance {
            let ready = self.ha(now).is_some_and(|ha| {
                let mut states = ha.peers.iter().map(|peer| peer.state);
                states.any(|state| state == PeerState::Present)
            });
            if !ready {
                return Err(ActionError::PeerNotReady);
            }
        }
        if std::mem::replace(&mut self.roles.duty, duty) != duty {
            let (kind, message) = match duty {
                Duty::Maintenance => ("ha.maintenance", "groups and sessions go to other nodes"),
                Duty::Active => ("ha.active", "this node takes part again"),
            };
            tracing::info!("{message}");
            let events = &self.ledger.events;
            events.publish(kind, Severity::Info, message, json!({}));
        }
        self.order(now);
        Ok(())
    }

    /// Looks at what is tracked, and tells worker 0 what has changed.
    pub(super) fn look_at_roles(&mut self, now: Instant) {
        if self.config.ha.is_none() {
            return;
        }
        let waits = self.roles.duty == Duty::Maintenance && !self.roles.orders.leaving;
        if !waits && now.saturating_duration_since(self.roles.looked) < INTERVAL {
            return;
        }
        if now.saturating_duration_since(self.roles.looked) >= INTERVAL {
            self.roles.looked = now;
            for worker in 0..self.roles.polls.len() {
                let polls = Slot::Worker(WorkerCounter::Polls);
                let polls = self.published.one(worker, polls);
                if self.roles.polls[worker].0 != polls {
                    self.roles.polls[worker] = (polls, now);
                }
            }
            self.sample(now);
        }
        self.order(now);
    }

    fn sample(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.roles.sampled);
        if passed < RATES {
            return;
        }
        let values = Rates::sample(&self.published);
        self.roles.rates = Rates::between(&self.roles.samples, &values, passed);
        (self.roles.sampled, self.roles.samples) = (now, values);
    }

    fn order(&mut self, now: Instant) {
        let trackers = self.trackers(now);
        let lost = trackers.iter().filter(|tracker| !tracker.ok);
        let penalty = lost.fold(0_u8, |all, tracker| all.saturating_add(tracker.lower_by));
        let draining = self.roles.duty == Duty::Maintenance;
        // Sessions follow the groups: what still comes here is worked on here.
        let ready = || {
            let passed = self.published.sum(Slot::Worker(WorkerCounter::HaPassed));
            // One that does not turn cannot say so, and is why others are to take over.
            let awaited = self.workers.len() - self.roles.stuck(now).len();
            let ha = self.ha(now).filter(|_| passed >= awaited as u64);
            ha.is_some_and(|ha| ha.groups.iter().all(|group| !group.held_here))
        };
        let orders = RoleOrders {
            draining,
            // Not at once: what is published is of an order before.
            leaving: draining
                && (self.roles.orders.leaving || self.roles.orders.draining && ready()),
            penalties: [penalty; MAX_GROUPS],
        };
        if orders != self.roles.orders
            && let Some(worker) = self.workers.first_mut()
        {
            self.roles.orders = orders;
            worker.send(ToWorker::Roles(orders));
        }
    }

    /// What is tracked, and whether it is as it should be.
    fn trackers(&self, now: Instant) -> Vec<Tracker> {
        let lost = self
            .published
            .sum(Slot::Worker(WorkerCounter::HaGatewaysLost));
        let mut gateway = 0;
        let tracked = self.config.ha_tracks.iter().map(|track| {
            let (name, ok) = match track.what {
                Tracked::Port(port) => {
                    let name = self.config.ports[port.0].name.as_str();
                    let known = self.snapshot.ports.iter().find(|port| port.name == name);
                    let device = known.map_or(DeviceId::default(), |port| port.device);
                    let link = self.links.get(usize::from(device.0));
                    let up = link.is_none_or(|link| link.up);
                    (format!("port {name}"), up)
                }
                Tracked::Gateway(address) => {
                    gateway += 1;
                    (format!("gateway {address}"), lost >> (gateway - 1) & 1 == 0)
                }
            };
            let lower_by = track.lower_by;
            Tracker { name, ok, lower_by }
        });
        let mut trackers: Vec<Tracker> = tracked.collect();
        let stuck = self.roles.stuck(now);
        trackers.push(Tracker {
            name: "workers".to_owned(),
            ok: stuck.is_empty(),
            lower_by: STUCK_COSTS,
        });
        trackers
    }

    /// How two appliances are, as seen by this one.
    pub(super) fn ha(&self, now: Instant) -> Option<Ha> {
        let config = self.config.ha.as_ref()?;
        let mut ha = Ha::read(config, &self.published);
        ha.duty = self.roles.duty;
        ha.groups = ha.groups_of(&self.config.ha_groups, config, &self.published);
        ha.trackers = self.trackers(now);
        ha.rates = self.roles.rates.clone();
        ha.away = self.roles.orders.leaving && ha.away;
        Some(ha)
    }

    /// Writes down what workers say of the other appliance.
    pub(super) fn log_ha(&self, event: HaEvent) {
        let groups = &self.config.ha_groups;
        let (kind, severity, message) = match event {
            HaEvent::Peer { state: 3, .. } => {
                ("ha.peer.present", Severity::Info, "it has told everything")
            }
            HaEvent::Peer { state: 2, .. } => {
                ("ha.peer.joining", Severity::Info, "it tells what it has")
            }
            HaEvent::Peer { state: 4, .. } => (
                "ha.peer.unreachable",
                Severity::Error,
                "it lives, but the HA link does not reach it, or it is about to stop",
            ),
            HaEvent::Peer { .. } => (
                "ha.peer.dead",
                Severity::Error,
                "it does not answer; its sessions are taken over",
            ),
            HaEvent::Differs { .. } => (
                "ha.peer.differs",
                Severity::Error,
                "it knows of other nodes, or has other `shares`: ports may be given away twice",
            ),
            HaEvent::Path { works: true, .. } => {
                ("ha.path.up", Severity::Info, "heartbeats go by it")
            }
            HaEvent::Path { .. } => (
                "ha.path.down",
                Severity::Warning,
                "no heartbeat comes by it",
            ),
            HaEvent::Group { holds: true, .. } => ("ha.group.taken", Severity::Info, "held here"),
            HaEvent::Group { .. } => ("ha.group.let_go", Severity::Info, "not held here any more"),
            HaEvent::Alone { alone: true, .. } => (
                "ha.alone",
                Severity::Warning,
                "the peer does not take what it is told; this node goes on alone",
            ),
            HaEvent::Alone { .. } => ("ha.resync", Severity::Info, "the peer is told everything"),
        };
        // Where there is one other node it is clear which.
        let several = self.config.ha.as_ref().is_some_and(|ha| ha.peers.len() > 1);
        let to = |node: u8| match several {
            true => format!(" to node {node}"),
            false => String::new(),
        };
        let (subject, details) = match event {
            HaEvent::Peer { node, state } => {
                let subject = match several {
                    true => format!("node {node}"),
                    false => "peer".to_owned(),
                };
                (subject, json!({ "node": node, "state": state }))
            }
            HaEvent::Differs { node } => (format!("node {node}"), json!({ "node": node })),
            HaEvent::Path { node, witness, .. } => {
                let path = if witness { "witness" } else { "HA link" };
                let details = json!({ "node": node, "path": path });
                (format!("{path}{}", to(node)), details)
            }
            HaEvent::Group { group, .. } => {
                let known = groups.iter().find(|known| known.id == group);
                let name = known.map_or("", |known| known.name.as_str());
                let details = json!({ "group": name, "number": group.0 });
                (format!("group {name:?}"), details)
            }
            HaEvent::Alone { node, worker, .. } => {
                let details = json!({ "node": node, "worker": worker });
                (format!("worker {worker}{}", to(node)), details)
            }
        };
        let message = format!("{subject}: {message}");
        match severity {
            Severity::Info => tracing::info!("{message}"),
            Severity::Warning | Severity::Error => tracing::warn!("{message}"),
        }
        self.ledger.events.publish(kind, severity, message, details);
    }
}
