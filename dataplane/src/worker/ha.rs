//! Another appliance, which shares the sessions of this one.
//!
//! Every session has one owner, the node that opened it; the other node has a copy, a *replica*,
//! which it was told of by records. A replica is not checked under any snapshot
//! ([`UNCHECKED`](crate::session::flow::UNCHECKED)), so packets that meet one leave the hit path by a
//! comparison that is made anyway, and a node without a peer pays nothing.
//!
//! - `clients`: which real servers clients had
//! - `inline`: packets that travel with their session's record
//! - `correct`: packets of the peer's sessions that came here, and of ours that came there
//! - `link`: frames of the HA link: lanes of records, and what they say
//! - `mapped`: endpoint-independent mappings
//! - `pulse`: meeting the peer, heartbeats by two ways
//! - `probe`: routers that are watched
//! - `roles`: groups of addresses that one of the two holds
//! - `passed`: what it tells, on its way between workers
//! - `tell`: what the peer is told of our sessions
//! - `replica`: what the peer tells of its own
//! - `digest`: proof that the peer's copies are what this node has, and repair of what is not
//! - `takeover`: replicas of a peer that is dead
//!
//! A node that lives and has told everything it has since its start is *present*; before that it is
//! *joining*, and this worker gives it what it does not know.

use sluice_ha::correct::Codec;
use sluice_ha::hello::SessionId;
use sluice_ha::{Lane, LaneConfig, Session};
use sluice_wire::MacAddr;

use super::Worker;
use crate::groups::GroupSet;
use crate::io::{DeviceId, Io};
use crate::published::WorkerCounter;

mod clients;
mod correct;
mod digest;
mod inline;
mod link;
mod mapped;
mod origin;
mod passed;
mod probe;
mod pulse;
mod replica;
mod roles;
mod takeover;
mod tell;

pub(super) use correct::Correction;
use digest::{Heard, Sums};
use inline::Returns;
use origin::Origin;
pub(super) use origin::is_mapped;
use pulse::Speaker;
pub(super) use roles::differ as groups_differ;
pub(super) use takeover::Met;
use tell::Telling;
pub(super) use tell::Told;

/// How long a node may be told what its peer has before it opens sessions by itself, milliseconds.
const JOIN_MS: u32 = 10_000;
/// How long a node that did nothing for so long that it counts as dead hears what happened meanwhile
/// before it opens sessions again, milliseconds. What waits in its queues was repeated elsewhere.
const WAKE_MS: u32 = 100;
/// How long a node that starts waits for its peer before it opens sessions alone, milliseconds:
/// several greetings.
const WAIT_MS: u32 = 1000;
/// Bytes of the Ethernet header of HA datagrams.
const ETHERNET: usize = 14;
/// Bytes of an HA datagram that a hello may have at most.
const HELLO: usize = 512;
/// The round that is told on a lane on which there is nothing to tell.
const SILENT: u16 = 0;

/// What a worker is told of the other appliance when it is made.
#[derive(Clone)]
pub struct HaParts {
    /// This node's number.
    pub node: u8,
    /// The other node's.
    pub peer: u8,
    /// The device of the HA link.
    pub device: DeviceId,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Largest payload of its frames, bytes.
    pub mtu: u16,
    /// What both nodes know, and nobody else.
    pub key: [u8; 32],
    /// The key that is to follow, or that this one followed: the peer may use it as well.
    pub next_key: Option<[u8; 32]>,
    /// Random, the same for all workers, another one at each start of the process.
    pub boot: u64,
    /// Random, another one at each start of the process.
    pub seed: [u8; 32],
    /// Workers that the other node has at most.
    pub peer_workers: u16,
    /// Whether sessions are told of.
    pub sync: bool,
    /// Milliseconds between two heartbeats.
    pub heartbeat_ms: u32,
    /// Heartbeats missed in a row before the peer counts as dead.
    pub dead_after: u32,
}

/// A peer that lives.
struct Peer {
    session: Session,
    mac: MacAddr,
}

/// A worker's part in the work of two appliances.
pub(super) struct Ha {
    parts: HaParts,
    workers: u16,
    /// The peer, while it lives.
    peer: Option<Peer>,
    /// It lives, though it may be out of reach.
    lives: bool,
    /// Groups that this node holds, and those that it takes frames for.
    held: GroupSet,
    taken: GroupSet,
    /// Marks packets that are handed to the peer, and knows those that it hands to us.
    codec: Codec,
    /// Where it was heard last.
    last_mac: Option<MacAddr>,
    /// The session that lanes speak under. They must not be told of one twice: a key is good for one
    /// count of datagrams.
    session: Option<SessionId>,
    /// What was agreed on last, whether the peer can be reached now or not.
    agreed: Option<Session>,
    /// Boot id of the peer that was met last.
    boot: Option<u64>,
    /// How many boots of the peer were met. A replica belongs to the peer while it is as old.
    meeting: u32,
    /// When it was met.
    met: u32,
    /// When this node began to wait for its peer, at start or when it lost it; `None` once that is
    /// long enough ago.
    waiting: Option<u32>,
    /// When this worker last did something.
    polled: u32,
    /// When it last began to again after a long while, unless that is long enough ago.
    woke: Option<u32>,
    /// Bit l: the peer has told on lane l everything that it had when it was met, and all workers
    /// have applied it.
    told: u64,
    /// Bit l: this worker has applied all that was told on lane l, and not all others know that.
    applied: u64,
    /// By lane: bit w: worker w has applied all that was told on it.
    applied_by: Vec<u64>,
    /// This node knows what there was before it: it was told, or waited for its peer in vain. A peer
    /// that starts later knows less.
    settled: bool,
    /// This worker's lanes, its own first. One is taken out while it is listened to.
    lanes: Vec<Option<Box<Lane>>>,
    /// What was heard on each of them.
    heard: Vec<Heard>,
    /// Something was put in a lane, or came by one, since they were flushed.
    busy: bool,
    telling: Telling,
    sums: Sums,
    /// Sessions told of that the peer may not have yet.
    unsure: u64,
    replicas: u64,
    returns: Returns,
    speaker: Option<Box<Speaker>>,
}

impl<I: Io> Worker<I> {
    /// Whether the other node's ports may be leased: it is dead, and was not just not found yet.
    pub(super) fn inherits_ports(&self) -> bool {
        self.ha
            .as_ref()
            .is_some_and(|ha| ha.peer.is_none() && !ha.lives)
    }

    /// Sets the counters that say how the peer is.
    pub(super) fn count_ha(&mut self) {
        let untold = self.untold();
        self.count_roles();
        self.tell_peer_state();
        let Some(ha) = &self.ha else { return };
        let lanes = ha.lanes.iter().flatten();
        let lag = lanes.map(|lane| u64::from(lane.lag())).sum();
        let age = ha.digest_age(self.now);
        self.counters.set(WorkerCounter::PeerState, ha.state());
        self.counters.set(WorkerCounter::HaLag, lag);
        self.counters.set(WorkerCounter::HaDigestAge, age);
        self.counters
            .set(WorkerCounter::SessionsReplica, ha.replicas);
        self.counters.set(WorkerCounter::SessionsUntold, untold);
    }
}

fn lane_config(parts: &HaParts) -> LaneConfig {
    LaneConfig {
        mtu: parts.mtu,
        ..LaneConfig::default()
    }
}

impl Ha {
    /// For worker `id` of `workers`. `zones`: hashes of the names of our zones.
    pub(super) fn new(parts: HaParts, id: u16, workers: u16, zones: &[u32], now: u32) -> Self {
        let config = lane_config(&parts);
        let lanes = workers.max(parts.peer_workers);
        let numbers = (id..lanes).step_by(usize::from(workers));
        let own = numbers.map(|lane| Some(Box::new(Lane::new(lane as u8, &config))));
        let own: Vec<_> = own.collect();
        let speaker =
            (id == 0).then(|| Box::new(Speaker::new(&parts, workers, zones, &config, now)));
        Self {
            heard: own.iter().map(|_| Heard::new(now)).collect(),
            lanes: own,
            workers,
            peer: None,
            lives: false,
            held: GroupSet::default(),
            taken: GroupSet::default(),
            codec: Codec::default(),
            last_mac: None,
            session: None,
            agreed: None,
            boot: None,
            meeting: 0,
            met: now,
            polled: now,
            waiting: Some(now),
            woke: None,
            told: 0,
            settled: false,
            applied: 0,
            applied_by: vec![0; usize::from(lanes)],
            busy: false,
            telling: Telling::default(),
            sums: Sums::new(lanes, now),
            unsure: 0,
            replicas: 0,
            returns: Returns::default(),
            speaker,
            parts,
        }
    }

    fn lane_config(&self) -> LaneConfig {
        lane_config(&self.parts)
    }

    pub(super) fn device(&self) -> DeviceId {
        self.parts.device
    }

    /// Forgets times that are long enough ago: the clock comes round to them again.
    fn forget_times(&mut self, now: u32) {
        let over = |then: &mut u32, ms| now.wrapping_sub(*then) >= ms;
        self.waiting.take_if(|then| over(then, WAIT_MS));
        self.woke.take_if(|then| over(then, WAKE_MS));
        self.settled |= self.peer.is_some() && now.wrapping_sub(self.met) >= JOIN_MS;
    }

    /// Whether this worker did nothing for so long that its peer may count it as dead.
    fn is_stale(&self, now: u32) -> bool {
        now.wrapping_sub(self.polled) >= self.parts.heartbeat_ms * self.parts.dead_after
    }

    /// Whether this node was told all that its peer had, or the peer has had long enough for it: one that cannot must
    /// not keep this node from its work.
    fn has_joined(&self, now: u32) -> bool {
        self.settled || now.wrapping_sub(self.met) >= JOIN_MS
    }

    /// Whether the peer has told all that it has.
    fn is_joined(&self) -> bool {
        let lanes = self.peer.as_ref().map_or(64, |peer| peer.session.lanes);
        let all = u64::MAX >> (64 - lanes.clamp(1, 64));
        self.told & all == all
    }

    /// 1 the peer is dead, 2 it has not told all that it knows, 3 present, 4 it lives out of reach.
    fn state(&self) -> u64 {
        match (&self.peer, self.is_joined()) {
            (None, _) if self.lives => 4,
            (None, _) => 1,
            (Some(_), false) => 2,
            (Some(_), true) => 3,
        }
    }

    /// Whether a replica from there belongs to a peer that lives.
    fn is_owned(&self, origin: Origin) -> bool {
        self.peer.is_some() && origin.meeting == Origin::meeting(self.meeting)
    }

    /// Milliseconds since the peer's sessions on the lanes of this worker were last found to be what
    /// is known here, by the one of which that is longest ago.
    fn digest_age(&self, now: u32) -> u64 {
        let lanes = self.peer.as_ref().map_or(0, |peer| peer.session.lanes);
        let heard = self.lanes.iter().flatten().zip(&self.heard);
        let spoken = heard.filter(|(lane, heard)| lane.id() < lanes && !heard.is_silent);
        let ages = spoken.map(|(_, heard)| u64::from(heard.age(now)));
        ages.max().unwrap_or(0)
    }
}
