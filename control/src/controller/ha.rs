//! The other appliance, and what would become of sessions if this one died.

use std::collections::BTreeMap;

use serde::Serialize;
use sluice_dataplane::published::{Published, Slot, WorkerCounter};

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
const REASONS: [WorkerCounter; 6] = [
    WorkerCounter::RedirectedReplica,
    WorkerCounter::RedirectedNoSession,
    WorkerCounter::RedirectedPort,
    WorkerCounter::RedirectedError,
    WorkerCounter::RedirectedRefused,
    WorkerCounter::RedirectedJoining,
];

impl Ha {
    pub(super) fn read(config: &config::Ha, published: &Published) -> Self {
        let sum = |counter| published.sum(Slot::Worker(counter));
        let workers = (0..published.workers()).map(|worker| published.worker(worker));
        let state = workers
            .clone()
            .map(|values| values.get(Slot::Worker(WorkerCounter::PeerState)));
        let peer_state = match state.min() {
            Some(3) => PeerState::Present,
            Some(2) => PeerState::Joining,
            _ => PeerState::Dead,
        };
        let sessions_untold = sum(WorkerCounter::SessionsUntold);
        let sessions_replica = sum(WorkerCounter::SessionsReplica);
        let sessions = sum(WorkerCounter::SessionsV4) + sum(WorkerCounter::SessionsV6);
        Self {
            node: config.node,
            peer: config.peer,
            peer_state,
            ready: peer_state != PeerState::Dead && sessions_untold == 0,
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
                .map(|&reason| {
                    let name = reason.name().strip_prefix("redirected_");
                    (name.unwrap_or_default(), sum(reason))
                })
                .collect(),
        }
    }
}
