//! Passive checks and slow starts: what is looked at by the clock, and becomes states and shares of real
//! servers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use sluice_dataplane::lb;
use sluice_dataplane::published::{FlowCounter, Slot};
use sluice_dataplane::snapshot::{ServerId, ServerState};

use super::Controller;
use super::health_view::Connections;
use crate::clock;
use crate::config::{Pool, Server};
use crate::events::Severity;
use crate::health::{Seen, Verdict, Watch, effective};

/// How often connections are looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// What is known of servers by their connections, and when that was looked at.
#[derive(Debug)]
pub(super) struct Watches {
    by_server: BTreeMap<ServerId, (Server, Watch)>,
    looked: Instant,
}

impl Watches {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            by_server: BTreeMap::new(),
            looked: now,
        }
    }
}

impl Controller {
    /// Looks at what connections show of the servers of pools that have passive checks.
    pub(super) fn look_at_connections(&mut self, now: Instant) {
        if now.saturating_duration_since(self.watches.looked) < INTERVAL {
            return;
        }
        self.watches.looked = now;
        let config = Arc::clone(&self.config);
        let mut watched = BTreeSet::new();
        for pool in &config.pools {
            if pool.passive.is_some() {
                self.look_at_pool(pool, self.ms(now), &mut watched);
            }
        }
        let gone = |id: &ServerId| !watched.contains(id);
        let known = self.watches.by_server.keys().copied();
        for id in known.filter(gone).collect::<Vec<_>>() {
            self.watches.by_server.remove(&id);
            self.standings.set_passive(id, Verdict::Unknown);
        }
    }

    /// Milliseconds since the start.
    fn ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_millis() as u64
    }

    fn seen(&self, id: ServerId) -> Seen {
        let count = |counter| self.published.sum(Slot::Server(id, counter));
        Seen {
            answered: count(FlowCounter::Answered),
            failed: count(FlowCounter::Unanswered).wrapping_add(count(FlowCounter::Rejected)),
        }
    }

    fn look_at_pool(&mut self, pool: &Pool, now: u64, watched: &mut BTreeSet<ServerId>) {
        let Some(rules) = pool.passive else {
            return;
        };
        let mut failing = Vec::new();
        let (mut out, mut serving) = (0, 0);
        for (id, server) in self.registry.servers_of(pool) {
            let name = pool.full_name(server);
            watched.insert(id);
            let seen = self.seen(id);
            let new = || (server.clone(), Watch::new(now, seen));
            let (known, watch) = self.watches.by_server.entry(id).or_insert_with(new);
            if (known.address, known.port) != (server.address, server.port) {
                (*known, *watch) = new();
            }
            let fails = watch.look(now, seen, &rules);
            let is_out = watch.out_until().is_some();
            let back = !is_out && self.standings.get(id).passive == Verdict::Down;
            let verdict = match is_out {
                true => Verdict::Down,
                false => Verdict::Up,
            };
            self.standings.set_passive(id, verdict);
            out += usize::from(is_out);
            let serves = !is_out && lb::share(&self.snapshot.servers, id) > 0;
            serving += usize::from(serves);
            if fails && serves {
                failing.push((id, name));
            } else if back {
                let message = format!("{name} is tried again");
                tracing::info!("{message}");
                let details = json!({ "server": name });
                let events = &self.ledger.events;
                events.publish("health.passive.up", Severity::Info, message, details);
            }
        }
        for (id, name) in failing {
            // Whoever is left, one goes on to serve: what its connections show may be the clients' doing.
            if out >= rules.most(pool.servers.len()) || serving <= 1 {
                break;
            }
            let Some((_, watch)) = self.watches.by_server.get_mut(&id) else {
                continue;
            };
            let Seen { answered, failed } = watch.window();
            watch.take_out(now, &rules);
            let seconds = watch.out_until().map_or(0, |until| (until - now) / 1000);
            (out, serving) = (out + 1, serving - 1);
            self.standings.set_passive(id, Verdict::Down);
            let message = format!(
                "{name} is out for {seconds} s: of its last {} connections {failed} failed",
                failed + answered
            );
            tracing::warn!("{message}");
            let details = json!({
                "server": name,
                "failed": failed,
                "answered": answered,
                "seconds": seconds,
            });
            let events = &self.ledger.events;
            events.publish("health.passive.down", Severity::Warning, message, details);
        }
    }

    /// What a server's connections show, if somebody looks.
    pub(super) fn connections(&self, id: ServerId, now: Instant) -> Option<Connections> {
        let (_, watch) = self.watches.by_server.get(&id)?;
        let Seen { answered, failed } = watch.window();
        let left = watch
            .out_until()
            .map(|until| until.saturating_sub(self.ms(now)));
        Some(Connections {
            answered,
            failed,
            out_until: left.map(|left| clock::text(clock::unix_ms() + left)),
        })
    }

    /// Looks at which servers have begun to take sessions, and what share of them they get by now.
    pub(super) fn look_at_starts(&mut self, now: Instant) {
        let config = Arc::clone(&self.config);
        let mut slow = BTreeSet::new();
        for pool in config.pools.iter().filter(|pool| pool.slow_start_ms > 0) {
            for (id, server) in self.registry.servers_of(pool) {
                let rules = config.rules(pool, server);
                let state = effective(server.state, self.standings.get(id), rules);
                let takes = state == ServerState::Up && server.weight > 0;
                let time = Duration::from_millis(pool.slow_start_ms.into());
                self.ramps.look(id, takes, time, now);
                slow.insert(id);
            }
        }
        self.ramps.keep(|id| slow.contains(&id));
    }
}
