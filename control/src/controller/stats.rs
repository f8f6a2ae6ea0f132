//! All counters, by name.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use sluice_dataplane::counters::DropReason;
use sluice_dataplane::load;
use sluice_dataplane::published::{
    FlowCounter, PortCounter, Published, Slot, Values, WorkerCounter,
};
use sluice_dataplane::snapshot::{PortId, ServerId, ServiceId};

use super::devices::{DeviceCounters, Link};
use super::health::shown;
use crate::compile::Registry;
use crate::config::{Config, NewSource};
use crate::health::Verdict;
use crate::logs::SyslogState;

/// Counters by name.
pub type Counts = BTreeMap<&'static str, u64>;

/// All counters, since the start of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Stats {
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// All workers together.
    pub total: WorkerStats,
    /// In the order of `system.workers`.
    pub workers: Vec<WorkerStats>,
    /// In the order of the configuration.
    pub ports: Vec<PortStats>,
    /// What devices count by themselves, in the order in which ports name them.
    pub devices: Vec<DeviceStats>,
    /// Virtual servers, forwards, static translations, SNAT and firewall rules.
    pub services: Vec<ServiceStats>,
    /// Real servers.
    pub servers: Vec<ServerStats>,
    /// SNAT pools, in the order of the configuration.
    pub snat_pools: Vec<SnatPoolStats>,
    /// Syslog servers, in the order of the configuration.
    pub syslog: Vec<SyslogState>,
}

/// How many of something there were, of one class of sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Class {
    /// The largest size of the class; absent for the last, which has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_to: Option<u64>,
    /// How many there were, those of smaller classes not included.
    pub count: u64,
}

/// Counters of a worker. `received` and `injected` are the sum of `forwarded`, `redirected`, `punted`, `consumed`,
/// `held` and all of `dropped`; for one worker `held` may be negative, because a frame that it takes
/// over from another was received there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct WorkerStats {
    /// Frames that wait, those in rings between workers included.
    pub held: i64,
    /// Frames that wait for a neighbour or a fragment.
    pub waiting: u64,
    /// All others, see [`WorkerCounter`].
    #[serde(flatten)]
    #[schema(value_type = BTreeMap<String, u64>)]
    pub counts: Counts,
    /// Frames dropped by reason, see [`DropReason`].
    #[schema(value_type = BTreeMap<String, u64>)]
    pub dropped: Counts,
    /// Bursts that devices gave, by their size in frames.
    pub bursts: Vec<Class>,
    /// Rounds that found something, by the nanoseconds that they took.
    pub rounds_ns: Vec<Class>,
    /// Sessions that ended, by the milliseconds that they had lived.
    pub ages_ms: Vec<Class>,
}

impl WorkerStats {
    fn new(values: &Values) -> Self {
        let count = |counter| values.get(Slot::Worker(counter));
        let others = WorkerCounter::ALL
            .iter()
            .filter(|&&counter| counter != WorkerCounter::Held);
        let drops = DropReason::ALL.iter();
        let waiting = count(WorkerCounter::Held);
        let bursts = (0..load::BURST_CLASSES).map(|class| Class {
            up_to: Some(load::burst_bound(class)),
            count: values.get(Slot::Burst(class)),
        });
        let rounds = (0..load::ROUND_CLASSES).map(|class| Class {
            up_to: load::round_bound(class),
            count: values.get(Slot::Round(class)),
        });
        let ages = (0..load::AGE_CLASSES).map(|class| Class {
            up_to: load::AGES_MS.get(class).map(|&most| u64::from(most)),
            count: values.get(Slot::Age(class)),
        });
        let in_rings =
            count(WorkerCounter::HandedOver).wrapping_sub(count(WorkerCounter::TakenOver));
        Self {
            held: waiting.wrapping_add(in_rings).cast_signed(),
            waiting,
            counts: others
                .map(|&counter| (counter.name(), count(counter)))
                .collect(),
            dropped: drops
                .map(|&reason| (reason.name(), values.get(Slot::Drop(reason))))
                .collect(),
            bursts: bursts.collect(),
            rounds_ns: rounds.collect(),
            ages_ms: ages.collect(),
        }
    }
}

/// Counters of a logical port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PortStats {
    /// Its name.
    pub name: String,
    /// See [`PortCounter`].
    #[serde(flatten)]
    #[schema(value_type = BTreeMap<String, u64>)]
    pub counts: Counts,
}

/// What a device counts by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DeviceStats {
    /// Its name.
    pub name: String,
    /// State of its link.
    pub link: Link,
    /// Its counters.
    #[serde(flatten)]
    pub counters: DeviceCounters,
}

/// Counters of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ServiceStats {
    /// `virtual_server`, `forward`, `static`, `snat` or `firewall`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Sessions now.
    pub sessions: u64,
    /// See [`FlowCounter`].
    #[serde(flatten)]
    #[schema(value_type = BTreeMap<String, u64>)]
    pub counts: Counts,
}

/// Counters of a real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ServerStats {
    /// `pool/name`.
    pub name: String,
    /// `up`, `draining` or `down`: what the configuration says and what is known of its health, put
    /// together. `down` is also what checks found down, whatever becomes of its sessions.
    pub state: &'static str,
    /// What its checks say; `unknown` where it has none.
    pub health: Verdict,
    /// Its share.
    pub weight: u16,
    /// Sessions now.
    pub sessions: u64,
    /// See [`FlowCounter`].
    #[serde(flatten)]
    #[schema(value_type = BTreeMap<String, u64>)]
    pub counts: Counts,
}

/// Use of a SNAT pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SnatPoolStats {
    /// Its name.
    pub name: String,
    /// Its addresses times its ports: what there is towards one destination. A port serves many
    /// destinations at once, unless mappings are endpoint-independent.
    pub ports: u64,
    /// Sessions now of the rules, forwards and virtual servers that use it.
    pub sessions: u64,
    /// Packets of them that opened no session because no port was free.
    pub exhausted: u64,
}

impl SnatPoolStats {
    /// Of all pools. `services` are those of the same moment.
    pub(super) fn of(config: &Config, services: &[ServiceStats]) -> Vec<Self> {
        let mut pools: Vec<Self> = config
            .snat_pools
            .iter()
            .map(|pool| Self {
                name: pool.name.to_string(),
                ports: pool.addresses.len() as u64 * (u64::from(pool.ports.1 - pool.ports.0) + 1),
                sessions: 0,
                exhausted: 0,
            })
            .collect();
        let of_source = |source| match source {
            NewSource::Pool(pool) => Some(pool),
            NewSource::Keep | NewSource::Masquerade => None,
        };
        let rules = config.snat.iter();
        let rules = rules.map(|rule| ("snat", &rule.name, of_source(rule.new_source)));
        let forwards = config.forwards.iter();
        let forwards = forwards.map(|it| ("forward", &it.name, of_source(it.source)));
        let servers = config.virtual_servers.iter();
        let servers = servers.map(|it| ("virtual_server", &it.name, it.snat_pool));
        let exhausted = FlowCounter::NatExhausted.name();
        let sums: HashMap<(&str, &str), (u64, u64)> = services
            .iter()
            .map(|it| {
                let exhausted = it.counts.get(exhausted).copied().unwrap_or(0);
                ((it.kind, it.name.as_str()), (it.sessions, exhausted))
            })
            .collect();
        for (kind, name, pool) in rules.chain(forwards).chain(servers) {
            let Some(pool) = pool.and_then(|pool| pools.get_mut(pool.0)) else {
                continue;
            };
            let name = name.as_str();
            let (sessions, exhausted) = sums.get(&(kind, name)).copied().unwrap_or_default();
            pool.sessions += sessions;
            pool.exhausted += exhausted;
        }
        pools
    }
}

/// Counters of all workers, copied at one time.
pub(super) struct Reading {
    workers: Vec<Values>,
    total: Values,
}

impl Reading {
    pub(super) fn of(published: &Published) -> Self {
        let workers: Vec<Values> = (0..published.workers())
            .map(|worker| published.worker(worker))
            .collect();
        let mut total = Values::zero(published.layout());
        for worker in &workers {
            total.add(worker);
        }
        Self { workers, total }
    }

    pub(super) fn total(&self) -> WorkerStats {
        let mut total = WorkerStats::new(&self.total);
        // An epoch is not a count.
        total.counts.remove(WorkerCounter::Epoch.name());
        total
    }

    pub(super) fn workers(&self) -> Vec<WorkerStats> {
        self.workers.iter().map(WorkerStats::new).collect()
    }

    pub(super) fn port(&self, name: &str, port: PortId) -> PortStats {
        let counts = PortCounter::ALL
            .iter()
            .map(|&counter| (counter.name(), self.total.get(Slot::Port(port, counter))));
        PortStats {
            name: name.to_owned(),
            counts: counts.collect(),
        }
    }

    pub(super) fn service(&self, id: ServiceId, registry: &Registry) -> Option<ServiceStats> {
        let name = registry.service_name(id)?;
        let (counts, sessions) = self.flows(|counter| Slot::Service(id, counter));
        Some(ServiceStats {
            kind: name.kind,
            name: name.name.clone(),
            sessions,
            counts,
        })
    }

    pub(super) fn server(
        &self,
        id: ServerId,
        server: &sluice_dataplane::snapshot::RealServer,
        health: Verdict,
    ) -> ServerStats {
        let (counts, sessions) = self.flows(|counter| Slot::Server(id, counter));
        ServerStats {
            name: server.name.clone(),
            state: shown(server.state, health),
            health,
            weight: server.weight,
            sessions,
            counts,
        }
    }

    /// Sessions of all services and of none.
    pub(super) fn sessions(&self) -> u64 {
        let of = |counter| self.total.get(Slot::Worker(counter));
        of(WorkerCounter::SessionsV4) + of(WorkerCounter::SessionsV6)
    }

    fn flows(&self, slot: impl Fn(FlowCounter) -> Slot) -> (Counts, u64) {
        let count = |counter| self.total.get(slot(counter));
        let counts = FlowCounter::ALL
            .iter()
            .map(|&counter| (counter.name(), count(counter)));
        let now = count(FlowCounter::Opened).saturating_sub(count(FlowCounter::Ended));
        (counts.collect(), now)
    }
}
