//! Where new sessions of virtual servers go now, since when, and why not to those before.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use sluice_dataplane::lb::{self, loads};
use sluice_dataplane::snapshot::{RealServer, ServerId, Snapshot, TierKind, VirtualServer};

use super::Controller;
use super::action::ActionError;
use super::health::shown;
use super::tiers_view::{Taker, TierServer, TierView, Tiers};
use crate::clock;
use crate::config::{self, PoolIndex};
use crate::events::Severity;

/// How often it is looked at who is full.
const INTERVAL: Duration = Duration::from_secs(1);
/// Servers that were full take sessions again when they had room for so long, each time that was looked at:
/// a server at its limit is full and not full many times a second.
const CALM: Duration = Duration::from_secs(5);

/// Where new sessions of a virtual server go.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Use {
    taker: Taker,
    /// Which of its tiers that is; beyond all if it is none.
    tier: usize,
    /// The priority groups in it.
    priorities: Vec<u8>,
    /// Servers before it take sessions, and are full.
    overflows: bool,
}

/// The same since when.
#[derive(Debug)]
struct Known {
    now: Use,
    since_ms: u64,
    /// Since when those that were full have room.
    calm: Option<Instant>,
}

/// What was seen last.
#[derive(Debug)]
pub(super) struct Seen {
    by_name: BTreeMap<String, Known>,
    snapshot: Option<Arc<Snapshot>>,
    looked: Instant,
}

impl Seen {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            by_name: BTreeMap::new(),
            snapshot: None,
            looked: now,
        }
    }
}

impl Controller {
    /// Reads sessions by real server as workers count them for limits.
    #[must_use]
    pub fn with_boards(mut self, boards: Vec<loads::Board>) -> Self {
        self.boards = boards;
        self
    }

    /// Looks where new sessions go, and tells of changes: at once when the state of servers has changed, and
    /// else now and then, for the sake of limits.
    pub(super) fn look_at_tiers(&mut self, now: Instant) {
        let before = self.tiers_seen.snapshot.as_ref();
        let changed = before.is_none_or(|before| !Arc::ptr_eq(before, &self.snapshot));
        if !changed && now.saturating_duration_since(self.tiers_seen.looked) < INTERVAL {
            return;
        }
        self.tiers_seen.looked = now;
        let snapshot = Arc::clone(&self.snapshot);
        for (vs, wanted) in snapshot
            .virtual_servers
            .iter()
            .zip(&self.config.virtual_servers)
        {
            if changed || self.has_limits(vs) {
                let views = self.tier_views(vs, wanted);
                let uses = uses(vs, &views);
                if let Some(known) = self.tiers_seen.by_name.get_mut(&vs.name) {
                    if known.follow(&uses, now) {
                        self.tell_of_tier(&uses, &vs.name, &views);
                    }
                } else {
                    let known = Known {
                        now: uses,
                        since_ms: clock::unix_ms(),
                        calm: None,
                    };
                    self.tiers_seen.by_name.insert(vs.name.clone(), known);
                }
            }
        }
        if changed {
            let there = |name: &String| snapshot.virtual_servers.iter().any(|vs| vs.name == *name);
            self.tiers_seen.by_name.retain(|name, _| there(name));
            self.tiers_seen.snapshot = Some(snapshot);
        }
    }

    /// Of all virtual servers, in the order of the configuration; or of one.
    pub(super) fn tiers(
        &mut self,
        only: Option<&str>,
        now: Instant,
    ) -> Result<Vec<Tiers>, ActionError> {
        let names = || {
            self.config
                .virtual_servers
                .iter()
                .map(|vs| vs.name.as_str())
        };
        if let Some(only) = only.filter(|only| !names().any(|name| name == *only)) {
            return Err(ActionError::Unknown {
                parameter: "virtual_server",
                kind: "virtual server",
                name: only.to_owned(),
                known: names().map(str::to_owned).collect(),
            });
        }
        self.look_at_tiers(now);
        let all = self.snapshot.virtual_servers.iter();
        let all = all.zip(&self.config.virtual_servers);
        let wanted = all.filter(|(vs, _)| only.is_none_or(|only| vs.name == only));
        Ok(wanted
            .map(|(vs, wanted)| self.tiers_of(vs, wanted))
            .collect())
    }

    fn tiers_of(&self, vs: &VirtualServer, wanted: &config::VirtualServer) -> Tiers {
        let mut tiers = self.tier_views(vs, wanted);
        let known = self.tiers_seen.by_name.get(&vs.name);
        let uses = known.map_or_else(|| uses(vs, &tiers), |known| known.now.clone());
        if let Some(tier) = tiers.get_mut(uses.tier) {
            tier.in_use = true;
        }
        Tiers {
            virtual_server: vs.name.clone(),
            taker: uses.taker,
            since: clock::text(known.map_or_else(clock::unix_ms, |known| known.since_ms)),
            why: why(&tiers, uses.tier),
            available: tiers.first().map_or(0, |tier| tier.available),
            min_up: self.config.pools[wanted.pool.0].min_up,
            tiers,
        }
    }

    fn tell_of_tier(&self, uses: &Use, name: &str, views: &[TierView]) {
        let why = why(views, uses.tier);
        let mut message = format!("{name}: {}", uses.taker.describe());
        let groups = views.get(uses.tier).map(groups);
        message += &groups.unwrap_or_default();
        if !why.is_empty() {
            let _ = write!(message, "; {why}");
        }
        let severity = match (uses.taker, uses.tier) {
            (Taker::Nobody, _) => Severity::Error,
            (_, 0) => Severity::Info,
            _ => Severity::Warning,
        };
        match severity {
            Severity::Info => tracing::info!("{message}"),
            Severity::Warning => tracing::warn!("{message}"),
            Severity::Error => tracing::error!("{message}"),
        }
        let details = json!({
            "virtual_server": name,
            "taker": uses.taker,
            "priorities": uses.priorities,
            "why": why,
        });
        let events = &self.ledger.events;
        events.publish("virtual_server.tier", severity, message, details);
    }

    fn has_limits(&self, vs: &VirtualServer) -> bool {
        let mut servers = vs.members().filter_map(|id| self.real_server(id));
        servers.any(|server| server.limits.open.is_some())
    }

    fn real_server(&self, id: ServerId) -> Option<&RealServer> {
        self.snapshot.servers.get(usize::from(id.0))?.as_ref()
    }

    fn tier_views(&self, vs: &VirtualServer, wanted: &config::VirtualServer) -> Vec<TierView> {
        let tiers = vs.tiers.iter().map(|tier| {
            let (taker, pool) = match tier.kind {
                TierKind::Pool => (Taker::Pool, Some(wanted.pool)),
                TierKind::Backup => (Taker::Backup, wanted.backup_pool),
                TierKind::Sorry => (Taker::Sorry, None),
            };
            self.tier_view(taker, pool, &tier.members)
        });
        tiers.collect()
    }

    fn tier_view(&self, kind: Taker, pool: Option<PoolIndex>, members: &[ServerId]) -> TierView {
        let pool = pool.and_then(|pool| self.config.pools.get(pool.0));
        let of_pool = pool
            .into_iter()
            .flat_map(|pool| self.registry.servers_of(pool));
        let all: BTreeMap<ServerId, u8> =
            of_pool.map(|(id, server)| (id, server.priority)).collect();
        let mut priorities: Vec<u8> = members
            .iter()
            .filter_map(|id| all.get(id).copied())
            .collect();
        priorities.sort_unstable_by_key(|&priority| std::cmp::Reverse(priority));
        priorities.dedup();
        let servers: Vec<TierServer> = members
            .iter()
            .filter_map(|&id| self.tier_server(id))
            .collect();
        let available = servers.iter().filter(|server| server.available);
        TierView {
            kind,
            pool: pool.map(|pool| pool.name.to_string()),
            priorities,
            in_use: false,
            available: available.clone().count(),
            full: available.filter(|server| server.is_full()).count(),
            servers,
        }
    }

    fn tier_server(&self, id: ServerId) -> Option<TierServer> {
        let server = self.real_server(id)?;
        Some(TierServer {
            name: server.name.clone(),
            state: shown(server.state, self.standings.get(id).active),
            available: lb::share(&self.snapshot.servers, id) > 0,
            sessions: self.open_sessions(id),
            max_sessions: server.limits.open.map(Into::into),
            max_sessions_per_second: server.limits.per_second.map(Into::into),
        })
    }

    /// Sessions of a real server as they count for its limit.
    fn open_sessions(&self, id: ServerId) -> u64 {
        match self.boards.is_empty() {
            true => self.published.sessions_of(id),
            false => self
                .boards
                .iter()
                .map(|board| u64::from(board.get(id).open))
                .sum(),
        }
    }
}

impl Known {
    /// Takes note of where sessions go at this moment. True if that is to be told.
    fn follow(&mut self, uses: &Use, now: Instant) -> bool {
        if self.now == *uses {
            self.calm = None;
            return false;
        }
        let relieved = self.now.overflows && !uses.overflows;
        let calm = *self.calm.get_or_insert(now);
        if relieved && now.saturating_duration_since(calm) < CALM {
            return false;
        }
        *self = Self {
            now: uses.clone(),
            since_ms: clock::unix_ms(),
            calm: None,
        };
        true
    }
}

/// Where sessions go, by what the tiers are now.
fn uses(vs: &VirtualServer, tiers: &[TierView]) -> Use {
    let place = tiers.iter().position(|tier| tier.full < tier.available);
    let tier = place.unwrap_or(tiers.len());
    let before = tiers.iter().take(tier);
    Use {
        taker: match (tiers.get(tier), &vs.redirect) {
            (Some(tier), _) => tier.kind,
            (None, Some(_)) => Taker::Redirect,
            (None, None) => Taker::Nobody,
        },
        tier,
        priorities: tiers
            .get(tier)
            .map(|tier| tier.priorities.clone())
            .unwrap_or_default(),
        overflows: before.into_iter().any(|tier| tier.full > 0),
    }
}

/// Why no tier before this one takes sessions.
fn why(tiers: &[TierView], at: usize) -> String {
    let before = tiers.iter().take(at).map(|tier| {
        let name = format!("{}{}", tier.kind.name(), groups(tier));
        match tier.available {
            0 => format!("{name}: none of {} takes sessions", tier.servers.len()),
            all => format!("{name}: {} of {all} that take sessions are full", tier.full),
        }
    });
    before.collect::<Vec<_>>().join("; ")
}

/// The priority groups of a tier, where they are more than the usual one.
fn groups(tier: &TierView) -> String {
    let several: Vec<String> = tier.priorities.iter().map(u8::to_string).collect();
    match several.as_slice() {
        [] => String::new(),
        [one] if one == "0" => String::new(),
        [one] => format!(", priority {one}"),
        _ => format!(", priorities {}", several.join(", ")),
    }
}
