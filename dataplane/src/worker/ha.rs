//! Other appliances, which share the sessions of this one.
//!
//! Every session has one owner, the node that opened it; the other nodes have copies, *replicas*,
//! which they were told of by records. A replica is not checked under any snapshot
//! ([`UNCHECKED`](crate::session::flow::UNCHECKED)), so packets that meet one leave the hit path by a
//! comparison that is made anyway, and a node without a peer pays nothing.
//!
//! - `backup`: which node has the copy of a session, where one of more than two has it
//! - `pointers`: sessions of which only the owner is known
//! - `members`: which nodes there are, and whom the sessions of dead ones fall to
//! - `peer`: what is known of one of them, and shared with it
//! - `clients`: which real servers clients had
//! - `inline`: packets that travel with their session's record
//! - `correct`: packets of others' sessions that came here, and of ours that came there
//! - `corrected_burst`: the same for most of them, a burst at a time
//! - `link`: frames of the HA link: lanes of records, and what they say
//! - `mapped`: endpoint-independent mappings
//! - `pulse`: meeting the others, heartbeats by two ways; `voice`: what worker 0 knows for that
//! - `probe`: routers that are watched
//! - `roles`: groups of addresses that one of the nodes holds
//! - `passed`: what another node tells, on its way between workers
//! - `tell`: what the others are told of our sessions
//! - `replica`: what another node tells of its own
//! - `ready`: what would be lost if this node died
//! - `foresee`: the memory that it concerns
//! - `digest`: proof that the others' copies are what this node has, and repair of what is not
//! - `takeover`: replicas of a node that is dead
//! - `tunnel`: nodes that are not neighbours
//!
//! A node that lives and has told everything it has since its start is *present*; before that it is
//! *joining*, and this worker shows it what it does not know.

use sluice_ha::{Digest, LaneConfig, NodeSet};
use sluice_wire::MacAddr;

use super::Worker;
use super::tables::Shared;
use crate::groups::GroupSet;
use crate::handoff::LaneOf;
use crate::io::{DeviceId, Io};
use crate::published::{PeerCounter, Slot, WorkerCounter, Writer};

mod backup;
mod clients;
mod correct;
mod corrected_burst;
mod digest;
mod floors;
mod foresee;
mod inline;
mod leaving;
mod link;
mod mapped;
mod members;
mod origin;
mod passed;
mod peer;
mod pointers;
mod probe;
mod pulse;
mod ready;
mod replica;
mod roles;
mod takeover;
mod tell;
mod tunnel;
mod voice;

use backup::Refill;
pub(super) use correct::{Correction, Errand};
use digest::{Heard, Sweeping};
use origin::Origin;
pub(super) use origin::is_mapped;
pub(super) use passed::Passing;
use peer::{Link, Peer};
pub(super) use roles::differ as groups_differ;
pub use sluice_ha::tunnel::{End as TunnelEnd, Kind as TunnelKind};
pub(super) use takeover::{Met, Whose, opens};
pub(super) use tell::Told;
use tunnel::Tunnel;
pub use tunnel::TunnelParts;
use voice::Speaker;

/// How long a node may be told what another one has before it opens sessions by itself, milliseconds.
const JOIN_MS: u32 = 10_000;
/// How long a node that did nothing for so long that it counts as dead hears what happened meanwhile
/// before it opens sessions again, milliseconds. What waits in its queues was repeated elsewhere.
const WAKE_MS: u32 = 100;
/// How long a node that starts waits for the others before it opens sessions alone, milliseconds:
/// several greetings.
const WAIT_MS: u32 = 1000;
/// Bytes of the Ethernet header of HA datagrams.
const ETHERNET: usize = 14;
/// Bytes of an HA datagram that a hello may have at most.
const HELLO: usize = 512;
/// The round that is told on a lane on which there is nothing to tell.
const SILENT: u16 = 0;
/// Sweeps that can wait.
const SWEEPS: usize = 64;

/// What a worker is told of the other appliances when it is made.
#[derive(Clone)]
pub struct HaParts {
    /// This node's number.
    pub node: u8,
    /// The other nodes'; each once, and one at least.
    pub peers: Vec<u8>,
    /// Shares that NAT ports are divided into, the same on all nodes: one for each of them at least,
    /// in the order of their numbers.
    pub shares: u16,
    /// The device of the HA link.
    pub device: DeviceId,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Largest payload of its frames, bytes; of those within a tunnel where there are tunnels.
    pub mtu: u16,
    /// Ways to nodes that are not neighbours.
    pub tunnel: Option<TunnelParts>,
    /// What all nodes know, and nobody else.
    pub key: [u8; 32],
    /// The key that is to follow, or that this one followed: the others may use it as well.
    pub next_key: Option<[u8; 32]>,
    /// Random, the same for all workers, another one at each start of the process.
    pub boot: u64,
    /// Random, another one at each start of the process.
    pub seed: [u8; 32],
    /// Workers that another node has at most.
    pub peer_workers: u16,
    /// Whether sessions are told of.
    pub sync: bool,
    /// How long another node may take to acknowledge what it is told before first packets do not go by
    /// it, milliseconds.
    pub inline_budget_ms: u32,
    /// Of more than two nodes one has the copy of each session, and the others know whose it is. The
    /// same on all nodes.
    pub backup: bool,
    /// Milliseconds between two heartbeats.
    pub heartbeat_ms: u32,
    /// Heartbeats missed in a row before a node counts as dead.
    pub dead_after: u32,
}

/// A worker's part in the work of several appliances.
pub(super) struct Ha {
    parts: HaParts,
    workers: u16,
    /// The other nodes, as far as there is room for their numbers.
    peers: Vec<Peer>,
    /// All nodes, this one included.
    members: NodeSet,
    /// Those of the others that the HA link reaches.
    linked: NodeSet,
    /// Nodes that have been told everything and are not about to go, as far as they say so.
    ready: NodeSet,
    /// Whom the sessions of dead nodes fall to, and bit s: share s of the ports falls to this node.
    heirs: NodeSet,
    inherited: u16,
    /// Since when these are so.
    heirs_since: u32,
    /// Of the others, those that may have copies of our sessions where one has.
    keepers: NodeSet,
    refill: Refill,
    /// How far looking for pointers to dead nodes has come.
    aged: u32,
    /// Groups that this node holds, and those that it takes frames for.
    held: GroupSet,
    taken: GroupSet,
    /// Sessions that are about to open in place of others: what their versions begin behind.
    floors: floors::Floors,
    /// How far this worker has come with leaving what it has to the others.
    leaving: leaving::Leaving,
    /// How many boots of other nodes were met.
    meetings: u32,
    /// When this node began to wait for the others, at start or when it lost one; `None` once that is
    /// long enough ago.
    waiting: Option<u32>,
    /// When this worker last did something.
    polled: u32,
    /// When it last began to again after a long while, unless that is long enough ago.
    woke: Option<u32>,
    /// This node knows what there was before it: it was told, or waited for the others in vain. One
    /// that starts later knows less.
    settled: bool,
    /// Of our own sessions, as they were last told of.
    own: Digest,
    /// How many these are, where one node has the copy of each.
    told: u64,
    sweeps: arrayvec::ArrayVec<Sweeping, SWEEPS>,
    replicas: u64,
    /// Of these, those that nobody owns who was met since.
    strays: u64,
    speaker: Option<Box<Speaker>>,
    tunnel: Option<Box<Tunnel>>,
}

impl<I: Io> Worker<I> {
    /// Sets the counters that say how the other nodes are.
    pub(super) fn count_ha(&mut self) {
        let untold = self.untold();
        self.count_roles();
        self.follow_leaving();
        self.tell_peer_states();
        let Some(ha) = &self.ha else { return };
        let lag = ha.peers.iter().map(Peer::lag).sum();
        let ages = ha.peers.iter().map(|peer| peer.digest_age(self.now));
        self.counters
            .set(WorkerCounter::HaDigestAge, ages.max().unwrap_or(0));
        self.counters.set(WorkerCounter::PeerState, ha.state());
        self.counters.set(WorkerCounter::HaLag, lag);
        self.counters
            .set(WorkerCounter::SessionsReplica, ha.replicas);
        let pointers = self.tables.pointers.len() as u64;
        self.counters.set(WorkerCounter::HaPointers, pointers);
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
        let numbers = parts.peers.iter().copied();
        let numbers = numbers.filter(|&peer| peer < sluice_ha::frame::MAX_NODES);
        let peers: Vec<_> = numbers
            .map(|peer| Peer::new(peer, (id, workers), lanes, &config, now))
            .collect();
        let speaker =
            (id == 0).then(|| Box::new(Speaker::new(&parts, workers, zones, &config, now)));
        let tunnel = parts.tunnel.as_ref().map(|tunnel| {
            let nodes = peers.iter().map(|peer| peer.id);
            Box::new(Tunnel::new(tunnel, nodes))
        });
        let mut ha = Self {
            tunnel,
            members: peers
                .iter()
                .map(|peer| peer.id)
                .chain([parts.node])
                .collect(),
            peers,
            workers,
            linked: NodeSet::default(),
            ready: NodeSet::default(),
            heirs: NodeSet::default(),
            inherited: 0,
            heirs_since: now,
            keepers: NodeSet::default(),
            refill: Refill::default(),
            aged: 0,
            floors: floors::Floors::default(),
            leaving: leaving::Leaving::default(),
            held: GroupSet::default(),
            taken: GroupSet::default(),
            meetings: 0,
            polled: now,
            waiting: Some(now),
            woke: None,
            settled: false,
            own: Digest::default(),
            told: 0,
            sweeps: arrayvec::ArrayVec::new(),
            replicas: 0,
            strays: 0,
            speaker,
            parts,
        };
        ha.follow_members(now);
        ha
    }

    /// What copies there are of sessions.
    pub(super) fn shared(parts: Option<&HaParts>) -> Shared {
        match parts {
            None => Shared::No,
            Some(parts) if parts.backup && parts.peers.len() > 1 => Shared::Backup,
            Some(_) => Shared::Full,
        }
    }

    /// Whether one node has the copy of each session.
    fn backs_up(&self) -> bool {
        self.parts.backup && self.is_cluster()
    }

    fn lane_config(&self) -> LaneConfig {
        lane_config(&self.parts)
    }

    pub(super) fn device(&self) -> DeviceId {
        self.parts.device
    }

    /// The MAC address of this end of the link.
    pub(super) fn mac(&self) -> MacAddr {
        self.parts.mac
    }

    /// Forgets times that are long enough ago: the clock comes round to them again.
    fn forget_times(&mut self, now: u32) {
        let over = |then: &mut u32, ms| now.wrapping_sub(*then) >= ms;
        self.waiting.take_if(|then| over(then, WAIT_MS));
        self.woke.take_if(|then| over(then, WAKE_MS));
        if !self.settled {
            self.follow_joining(now);
        }
    }

    /// Whether this worker did nothing for so long that the others may count it as dead.
    fn is_stale(&self, now: u32) -> bool {
        now.wrapping_sub(self.polled) >= self.parts.heartbeat_ms * self.parts.dead_after
    }

    /// How the others are, the worst of them: see [`Peer::state`].
    fn state(&self) -> u64 {
        let states = self.peers.iter().map(Peer::state);
        states
            .min_by_key(|state| [0, 0, 2, 3, 1][*state as usize % 5])
            .unwrap_or(0)
    }

    /// Publishes how each of them is. `own`: sessions that this worker owns.
    pub(super) fn publish(&mut self, own: u64, now: u32, writer: &mut Writer<'_>) {
        let backs_up = self.backs_up();
        for (at, peer) in self.peers.iter_mut().enumerate() {
            let mut set = |counter, value| writer.set(Slot::Peer(at, counter), value);
            set(PeerCounter::State, peer.state());
            set(PeerCounter::Lag, peer.lag());
            set(PeerCounter::DigestAge, peer.digest_age(now));
            let known = if backs_up { peer.holds } else { own };
            set(PeerCounter::Untold, peer.untold(known));
            let voice = self.speaker.as_ref().and_then(|all| all.voices.get(at));
            if let Some(voice) = voice {
                set(PeerCounter::Paths, voice.paths());
                set(PeerCounter::Groups, u64::from(voice.holds.0));
            }
        }
    }

    /// There is one replica more from there, or one less.
    fn count_copy(&mut self, origin: Origin, change: i64) {
        let seat = self.teller_of(origin);
        let peer = seat.and_then(|seat| self.peers.get_mut(usize::from(seat.0)));
        let count = peer.map_or(&mut self.strays, |peer| &mut peer.copies);
        *count = count.saturating_add_signed(change);
        self.replicas = self.replicas.saturating_add_signed(change);
    }

    fn peer(&mut self, of: LaneOf) -> Option<&mut Peer> {
        self.peers.get_mut(usize::from(of.seat.0))
    }

    /// Where a lane that this worker hears is kept.
    fn place_of(&self, of: LaneOf) -> usize {
        usize::from(of.lane) / usize::from(self.workers.max(1))
    }

    /// What is known of a lane that this worker hears.
    fn heard(&mut self, of: LaneOf) -> Option<&mut Heard> {
        let at = self.place_of(of);
        self.peer(of)?.heard.get_mut(at)
    }

    fn take_lane(&mut self, of: LaneOf) -> Option<Box<sluice_ha::Lane>> {
        let at = self.place_of(of);
        self.peer(of)?.take_lane(at)
    }

    fn put_lane(&mut self, of: LaneOf, lane: Box<sluice_ha::Lane>) {
        let at = self.place_of(of);
        if let Some(peer) = self.peer(of) {
            peer.put_lane(at, lane);
        }
    }
}
