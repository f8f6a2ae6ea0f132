//! The other appliances, and what would become of sessions if this one died.

use std::collections::BTreeMap;

use serde::Serialize;
use sluice_dataplane::groups::GroupSet;
use sluice_dataplane::published::{PeerCounter, Published, Slot, Values, WorkerCounter};

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

impl PeerState {
    /// From what each worker says: the worst of it.
    fn of(states: &[u64]) -> Self {
        match states.iter().min() {
            _ if states.contains(&1) => Self::Dead,
            _ if states.contains(&4) => Self::Unreachable,
            Some(&3) => Self::Present,
            Some(&2) => Self::Joining,
            _ => Self::Dead,
        }
    }
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
    /// Whether another node says that it does.
    pub held_by_peer: bool,
    /// The nodes that say so, this one included. One, but for moments, and after two failures.
    pub holders: Vec<u8>,
}

/// Another node, as seen by this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct HaPeer {
    /// Its number.
    pub node: u8,
    /// How it is, as the worker sees it that sees the least of it.
    pub state: PeerState,
    /// Heartbeats come and go by the HA link.
    pub ha_link: bool,
    /// The same by the data port that `witness` names; `null` where there is none.
    pub witness: Option<bool>,
    /// Frames of records that it has not acknowledged.
    pub lag: u64,
    /// Sessions of this node that it may not know.
    pub sessions_untold: u64,
    /// Milliseconds since everything that it tells was last proven to be what is known here.
    pub digest_age_ms: u64,
}

impl HaPeer {
    fn read(at: usize, node: u8, config: &config::Ha, workers: &[Values]) -> Self {
        let of = |counter| {
            let slot = Slot::Peer(at, counter);
            workers.iter().map(move |worker| worker.get(slot))
        };
        let states: Vec<u64> = of(PeerCounter::State).collect();
        let paths = of(PeerCounter::Paths).next().unwrap_or(0);
        Self {
            node,
            state: PeerState::of(&states),
            ha_link: paths & 1 != 0,
            witness: config.witness.map(|_| paths & 2 != 0),
            lag: of(PeerCounter::Lag).sum(),
            sessions_untold: of(PeerCounter::Untold).sum(),
            digest_age_ms: of(PeerCounter::DigestAge).max().unwrap_or(0),
        }
    }
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

/// Of several appliances, as seen by this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Ha {
    /// This node's number.
    pub node: u8,
    /// The other node's number; `null` where there are several.
    pub peer: Option<u8>,
    /// How the other one is, as the worker sees it that sees the least of it; of several, how the worst
    /// of them is: dead, unreachable, joining, present.
    pub peer_state: PeerState,
    /// Each of the other nodes.
    pub peers: Vec<HaPeer>,
    /// Heartbeats come and go by the HA link, to all others.
    pub ha_link: bool,
    /// The same by the data port that `witness` names; `null` where there is none.
    pub witness: Option<bool>,
    /// Whether this node is to take part.
    pub duty: Duty,
    /// Everything was given to other nodes: this one can be stopped, and no packet is lost.
    pub away: bool,
    /// This node was told everything since it started, and may hold groups.
    pub joined: bool,
    /// Groups of addresses.
    pub groups: Vec<HaGroupStatus>,
    /// What is tracked.
    pub trackers: Vec<Tracker>,
    /// Packets per second.
    pub rates: Rates,
    /// Nothing would be lost if this node died now: another node lives, and whoever takes over knows all
    /// of its sessions.
    pub ready: bool,
    /// Sessions that would be lost if this node died now, at most: of the nodes that would take over, the
    /// one counts that knows least.
    pub sessions_untold: u64,
    /// Sessions that this node owns.
    pub sessions_own: u64,
    /// Copies of other nodes'.
    pub sessions_replica: u64,
    /// Tuples, two for each session, of which only the owner is known: with `copies = "backup"`.
    pub pointers: u64,
    /// Sessions taken over from a peer that died, since the start.
    pub sessions_taken_over: u64,
    /// Frames of records that other nodes have not acknowledged.
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
    /// The same by reason; `inline`: packets that go by the peer with their session's record.
    pub redirected_by_reason: BTreeMap<&'static str, u64>,
    /// Of services with `sync = "inline"`: packets that were to go by the peer and left directly
    /// (`direct`) or after they had waited in vain (`recalled`); packets of the peer's that this node
    /// sent (`sent`) or gave back (`returned`); and those that found no way at all (`lost`).
    pub inline: BTreeMap<&'static str, u64>,
}

/// Reasons to hand a packet to the peer.
const REASONS: [WorkerCounter; 8] = [
    WorkerCounter::RedirectedReplica,
    WorkerCounter::RedirectedNoSession,
    WorkerCounter::RedirectedPort,
    WorkerCounter::RedirectedError,
    WorkerCounter::RedirectedRefused,
    WorkerCounter::RedirectedJoining,
    WorkerCounter::RedirectedLeaving,
    WorkerCounter::RedirectedInline,
];

/// What becomes of packets that travel with their session's record.
const INLINE: [(&str, WorkerCounter); 5] = [
    ("direct", WorkerCounter::InlineDirect),
    ("sent", WorkerCounter::InlineSent),
    ("returned", WorkerCounter::InlineReturned),
    ("recalled", WorkerCounter::InlineRecalled),
    ("lost", WorkerCounter::InlineLost),
];

impl Ha {
    pub(super) fn read(config: &config::Ha, published: &Published) -> Self {
        let sum = |counter| published.sum(Slot::Worker(counter));
        let workers = (0..published.workers()).map(|worker| published.worker(worker));
        let workers: Vec<_> = workers.collect();
        let of = |counter| {
            let values = workers.iter();
            values.map(move |worker| worker.get(Slot::Worker(counter)))
        };
        let states: Vec<u64> = of(WorkerCounter::PeerState).collect();
        let paths = sum(WorkerCounter::HaPaths);
        let peers = config.peers.iter().enumerate();
        let peers: Vec<_> = peers
            .map(|(at, &peer)| HaPeer::read(at, peer, config, &workers))
            .collect();
        let able = [PeerState::Joining, PeerState::Present];
        let ready = peers.iter().any(|peer| able.contains(&peer.state));
        let sessions_untold = sum(WorkerCounter::SessionsUntold);
        let sessions_replica = sum(WorkerCounter::SessionsReplica);
        let sessions = sum(WorkerCounter::SessionsV4) + sum(WorkerCounter::SessionsV6);
        Self {
            node: config.node,
            peer: Some(config.peers[0]).filter(|_| config.peers.len() == 1),
            peer_state: PeerState::of(&states),
            peers,
            ha_link: paths & 1 != 0,
            witness: config.witness.map(|_| paths & 2 != 0),
            duty: Duty::Active,
            away: sum(WorkerCounter::HaAway) == 1,
            joined: sum(WorkerCounter::HaJoined) == 1,
            groups: Vec::new(),
            trackers: Vec::new(),
            rates: Rates::default(),
            ready: ready && sessions_untold == 0,
            sessions_untold,
            sessions_own: sessions.saturating_sub(sessions_replica),
            sessions_replica,
            pointers: sum(WorkerCounter::HaPointers),
            sessions_taken_over: sum(WorkerCounter::SessionsTakenOver),
            lag: sum(WorkerCounter::HaLag),
            records_sent: sum(WorkerCounter::HaRecordsSent),
            records_received: sum(WorkerCounter::HaRecordsReceived),
            records_lost: sum(WorkerCounter::HaRecordsLost),
            conflicts: sum(WorkerCounter::HaConflicts),
            digest_age_ms: of(WorkerCounter::HaDigestAge).max().unwrap_or(0),
            digest_mismatches: sum(WorkerCounter::HaDigestMismatches),
            repairs: sum(WorkerCounter::HaRepairs),
            corrected_received: sum(WorkerCounter::CorrectedReceived),
            redirected: sum(WorkerCounter::Redirected),
            redirected_by_reason: REASONS
                .iter()
                .map(|&reason| (name_of(reason), sum(reason)))
                .collect(),
            inline: INLINE
                .iter()
                .map(|&(name, counter)| (name, sum(counter)))
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
        let speaker = published.worker(0);
        let held = speaker.get(Slot::Worker(WorkerCounter::HaGroupsHeld));
        let held = GroupSet(held as u32);
        let of_peer = |at| {
            let bits = speaker.get(Slot::Peer(at, PeerCounter::Groups));
            GroupSet(bits as u32)
        };
        let peers = config.peers.iter().enumerate();
        let status = |group: &config::HaGroup| {
            let others = peers.clone().filter(|(at, _)| of_peer(*at).has(group.id));
            let mut holders: Vec<u8> = others.map(|(_, &peer)| peer).collect();
            let held_by_peer = !holders.is_empty();
            let held_here = held.has(group.id);
            holders.extend(held_here.then_some(config.node));
            holders.sort_unstable();
            HaGroupStatus {
                name: group.name.to_string(),
                number: group.id.0,
                virtual_mac: config.virtual_mac.of(group.id).to_string(),
                priority: group.priority,
                held_here,
                held_by_peer,
                holders,
            }
        };
        groups.iter().map(status).collect()
    }
}
