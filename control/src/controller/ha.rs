//! The other appliance, and what would become of sessions if this one died.

use std::collections::BTreeMap;

use serde::Serialize;
use sluice_dataplane::groups::GroupSet;
use sluice_dataplane::published::{Published, Slot, WorkerCounter};

use super::roles::Duty;
use crate::config;

/// How the peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PeerState {
    /// It does not answer: this node goes on alone.
    Dead,
    /// It lives, and has not told all that it knows yet.
    Joining,
    /// It lives, and packets find their owner on either node.
    Present,
    /// It lives, but the HA link does not reach it, or it is about to stop.
    Unreachable,
}

/// A group of addresses, and who holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct HaGroupStatus {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: u8,
    /// Where its addresses are reached.
    pub virtual_mac: String,
    /// As configured, on this node.
    pub priority: u8,
    /// Whether this node holds it.
    pub held_here: bool,
    /// Whether the peer says that it does.
    pub held_by_peer: bool,
}

/// Something that makes this node less fit to hold groups if it is not well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Tracker {
    /// What is tracked.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What it costs of every group's priority if it is not.
    pub lower_by: u8,
}

/// Packets per second, over the last second or so.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
pub struct Rates {
    /// Handed to the peer, by reason.
    pub redirected: BTreeMap<&'static str, u64>,
    /// Handed to this node by the peer.
    pub corrected_received: u64,
}

impl Rates {
    /// The counters that rates are of, as they are now.
    pub(super) fn sample(published: &Published) -> Vec<u64> {
        let all = REASONS.iter().chain([&WorkerCounter::CorrectedReceived]);
        all.map(|&counter| published.sum(Slot::Worker(counter)))
            .collect()
    }

    /// Rates from two samples and the time between them.
    pub(super) fn between(before: &[u64], after: &[u64], passed: std::time::Duration) -> Self {
        let ms = (passed.as_millis() as u64).max(1);
        let rate = |at: usize| {
            let (old, new) = (before.get(at), after.get(at));
            let more = old
                .zip(new)
                .map_or(0, |(old, new)| new.saturating_sub(*old));
            more * 1000 / ms
        };
        let reasons = REASONS.iter().enumerate();
        Self {
            redirected: reasons
                .map(|(at, &reason)| (name_of(reason), rate(at)))
                .collect(),
            corrected_received: rate(REASONS.len()),
        }
    }
}

fn name_of(reason: WorkerCounter) -> &'static str {
    let name = reason.name();
    name.strip_prefix("redirected_").unwrap_or(name)
}

/// Of two appliances, as seen by this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Ha {
    /// This node's number.
    pub node: u8,
    /// The other node's number.
    pub peer: u8,
    /// How the other one is, as the worker sees it that sees the least of it.
    pub peer_state: PeerState,
    /// Heartbeats come and go by the HA link.
    pub ha_link: bool,
    /// The same by the data port that `witness` names; `null` where there is none.
    pub witness: Option<bool>,
    /// Whether this node is to take part.
    pub duty: Duty,
    /// Everything was given to the peer: this node can be stopped, and no packet is lost.
    pub away: bool,
    /// This node was told everything since it started, and may hold groups.
    pub joined: bool,
    /// Groups of addresses.
    pub groups: Vec<HaGroupStatus>,
    /// What is tracked.
    pub trackers: Vec<Tracker>,
    /// Packets per second.
    pub rates: Rates,
    /// Nothing would be lost if this node died now: the peer lives, and knows all of its sessions.
    pub ready: bool,
    /// Sessions that would be lost if this node died now, at most.
    pub sessions_untold: u64,
    /// Sessions that this node owns.
    pub sessions_own: u64,
    /// Copies of the peer's.
    pub sessions_replica: u64,
    /// Sessions taken over from a peer that died, since the start.
    pub sessions_taken_over: u64,
    /// Frames of records that the peer has not acknowledged.
    pub lag: u64,
    /// Records told since the start.
    pub records_sent: u64,
    /// Records heard since the start.
    pub records_received: u64,
    /// Records that found no room, here or there.
    pub records_lost: u64,
    /// Records that say other than what is known here.
    pub conflicts: u64,
    /// Milliseconds since everything that the peer tells was last proven to be what is known here:
    /// about a second while nothing is wrong.
    pub digest_age_ms: u64,
    /// Buckets, of 256, in which the peer's digest was another than here, since the start. What
    /// differs is told anew.
    pub digest_mismatches: u64,
    /// Buckets that the peer found to be different and was told anew, since the start.
    pub repairs: u64,
    /// Packets that the peer handed to this node.
    pub corrected_received: u64,
    /// Packets handed to the peer.
    pub redirected: u64,
    /// The same by reason.
    pub redirected_by_reason: BTreeMap<&'static str, u64>,
}

/// Reasons to hand a packet to the peer.
const REASONS: [WorkerCounter; 7] = [
    WorkerCounter::RedirectedReplica,
    WorkerCounter::RedirectedNoSession,
    WorkerCounter::RedirectedPort,
    WorkerCounter::RedirectedError,
    WorkerCounter::RedirectedRefused,
    WorkerCounter::RedirectedJoining,
    WorkerCounter::RedirectedInline,
];

impl Ha {
    pub(super) fn read(config: &config::Ha, published: &Published) -> Self {
        let sum = |counter| published.sum(Slot::Worker(counter));
        let workers = (0..published.workers()).map(|worker| published.worker(worker));
        let state = workers
            .clone()
            .map(|values| values.get(Slot::Worker(WorkerCounter::PeerState)));
        let states: Vec<u64> = state.collect();
        let paths = sum(WorkerCounter::HaPaths);
        let peer_state = match states.iter().min() {
            _ if states.contains(&1) => PeerState::Dead,
            _ if states.contains(&4) => PeerState::Unreachable,
            Some(&3) => PeerState::Present,
            Some(&2) => PeerState::Joining,
            _ => PeerState::Dead,
        };
        let sessions_untold = sum(WorkerCounter::SessionsUntold);
        let sessions_replica = sum(WorkerCounter::SessionsReplica);
        let sessions = sum(WorkerCounter::SessionsV4) + sum(WorkerCounter::SessionsV6);
        Self {
            node: config.node,
            peer: config.peer,
            peer_state,
            ha_link: paths & 1 != 0,
            witness: config.witness.map(|_| paths & 2 != 0),
            duty: Duty::Active,
            away: sum(WorkerCounter::HaAway) == 1,
            joined: sum(WorkerCounter::HaJoined) == 1,
            groups: Vec::new(),
            trackers: Vec::new(),
            rates: Rates::default(),
            ready: matches!(peer_state, PeerState::Joining | PeerState::Present)
                && sessions_untold == 0,
            sessions_untold,
            sessions_own: sessions.saturating_sub(sessions_replica),
            sessions_replica,
            sessions_taken_over: sum(WorkerCounter::SessionsTakenOver),
            lag: sum(WorkerCounter::HaLag),
            records_sent: sum(WorkerCounter::HaRecordsSent),
            records_received: sum(WorkerCounter::HaRecordsReceived),
            records_lost: sum(WorkerCounter::HaRecordsLost),
            conflicts: sum(WorkerCounter::HaConflicts),
            digest_age_ms: workers
                .map(|values| values.get(Slot::Worker(WorkerCounter::HaDigestAge)))
                .max()
                .unwrap_or(0),
            digest_mismatches: sum(WorkerCounter::HaDigestMismatches),
            repairs: sum(WorkerCounter::HaRepairs),
            corrected_received: sum(WorkerCounter::CorrectedReceived),
            redirected: sum(WorkerCounter::Redirected),
            redirected_by_reason: REASONS
                .iter()
                .map(|&reason| (name_of(reason), sum(reason)))
                .collect(),
        }
    }

    /// Who holds each group.
    pub(super) fn groups_of(
        &self,
        groups: &[config::HaGroup],
        config: &config::Ha,
        published: &Published,
    ) -> Vec<HaGroupStatus> {
        let set = |counter| {
            let bits = published.worker(0).get(Slot::Worker(counter));
            GroupSet(bits as u32)
        };
        let held = set(WorkerCounter::HaGroupsHeld);
        let peer = set(WorkerCounter::HaGroupsPeer);
        let status = |group: &config::HaGroup| HaGroupStatus {
            name: group.name.to_string(),
            number: group.id.0,
            virtual_mac: config.virtual_mac.of(group.id).to_string(),
            priority: group.priority,
            held_here: held.has(group.id),
            held_by_peer: peer.has(group.id),
        };
        groups.iter().map(status).collect()
    }
}
