//! The digest in operation: proof that the other nodes' copies are what this one has, and repair of what
//! is not.
//!
//! Every worker keeps two kinds of sums: of its own sessions as they were last told of, and of the
//! replicas that it keeps, by the node and lane that they were told by. A worker puts the first into
//! its lanes once a second. At the other end the replicas of one lane lie on several workers; the one that
//! hears the lane asks all of them by the rings that took the records there, so each answers for the
//! same place in the stream.
//!
//! A session that was never told of has version 0 and is in no digest.

use sluice_ha::bulk::{Scope, Sweep};
use sluice_ha::digest::{BUCKETS, CHUNKS, Place};
use sluice_ha::record::{DIGEST_CHUNK, MAX_LEN, Record, Records, Stamp, encode};
use sluice_ha::{Digest, NodeSet, bulk};
use sluice_wire::{Family, V4, V6};

use super::super::Worker;
use super::super::tables::PerFamily;
use super::pointers::POINTED;
use super::{Ha, Origin};
use crate::handoff::{LaneOf, Message, Seat};
use crate::io::{Frame, Io};
use crate::published::WorkerCounter;
use crate::session::flow::{Flow, Session};
use crate::session::table::SessionId;

/// How often a digest is told, milliseconds.
const INTERVAL_MS: u32 = 1000;
/// How long at most a node waits with asking again for what repairs do not mend, milliseconds: there
/// may be no room for it here.
const PATIENCE_MS: u32 = 60_000;
/// Table entries that a sweep looks at per poll.
const SLICE: u32 = 256;

/// Workers that have not answered yet, and what is left of the sums after those that have.
#[derive(Clone, Copy, Default)]
struct Question {
    number: u8,
    waiting: u64,
    left: [u64; DIGEST_CHUNK],
}

/// What a worker knows of the stream that it hears on one lane.
pub(super) struct Heard {
    pub(super) rounds: bulk::Receiver,
    /// The peer has no worker that speaks on it.
    pub(super) is_silent: bool,
    questions: Box<[Question; CHUNKS]>,
    /// Bit c: chunk c was last found equal.
    equal: u16,
    /// When all were.
    equal_at: u32,
    /// Buckets that differ, one bit each, and are not asked for yet.
    differing: [u64; BUCKETS / 64],
    /// Those that the peer is to be asked for at the next opportunity.
    wanted: [u64; BUCKETS / 64],
    asked_at: u32,
    patience: u32,
}

impl Heard {
    pub(super) fn new(now: u32) -> Self {
        Self {
            rounds: bulk::Receiver::default(),
            is_silent: false,
            questions: Box::new([Question::default(); CHUNKS]),
            equal: 0,
            equal_at: now,
            differing: [0; BUCKETS / 64],
            wanted: [0; BUCKETS / 64],
            asked_at: now,
            patience: INTERVAL_MS,
        }
    }

    /// The peer is another one than before, or begins its stream anew.
    pub(super) fn restart(&mut self, now: u32) {
        self.rounds.restart();
        *self = Self {
            rounds: std::mem::take(&mut self.rounds),
            ..Self::new(now)
        };
    }

    /// A chunk was compared.
    fn compared(&mut self, chunk: usize, left: &[u64; DIGEST_CHUNK], now: u32) -> u64 {
        let unequal = left.iter().enumerate().filter(|(_, left)| **left != 0);
        let mut found = 0;
        for (at, _) in unequal {
            let bucket = chunk * DIGEST_CHUNK + at;
            self.differing[bucket / 64] |= 1 << (bucket % 64);
            found += 1;
        }
        let bit = 1 << (chunk % CHUNKS);
        if found == 0 {
            self.equal |= bit;
        } else {
            self.equal &= !bit;
        }
        if self.equal == u16::MAX {
            self.equal_at = now;
            self.patience = INTERVAL_MS;
        }
        if chunk == CHUNKS - 1 {
            self.ask(now);
        }
        found
    }

    /// Asks for what differs, unless that was done a short time ago.
    fn ask(&mut self, now: u32) {
        let differing = std::mem::take(&mut self.differing);
        let is_soon = now.wrapping_sub(self.asked_at) < self.patience;
        if is_soon || differing == [0; BUCKETS / 64] {
            return;
        }
        self.wanted = differing;
        self.asked_at = now;
        self.patience = (self.patience * 2).min(PATIENCE_MS);
    }

    /// The next bucket that the peer is to be asked for.
    fn next_wanted(&self) -> Option<u16> {
        let at = self.wanted.iter().position(|&word| word != 0)?;
        Some(at as u16 * 64 + self.wanted[at].trailing_zeros() as u16)
    }

    /// Milliseconds since all was last found equal.
    pub(super) fn age(&self, now: u32) -> u32 {
        now.wrapping_sub(self.equal_at)
    }
}

/// A sweep under way: replicas of this lane that its node no longer has.
#[derive(Clone, Copy)]
pub(super) struct Sweeping {
    pub(super) of: LaneOf,
    sweep: Sweep,
    /// What is looked at, and from where on.
    at: (Stage, u32),
}

/// What a sweep looks at, one after the other.
#[derive(Clone, Copy)]
enum Stage {
    V4,
    V6,
    Pointers,
    Mappings,
}

/// Where the session with this original flow is counted.
pub(super) fn place_of<F: Family>(original: &Flow<F>) -> Place {
    Place::of_tuple::<F>(&original.addrs, original.ports, original.proto)
}

/// What a session's pointers are counted under: that of the opener's tuple, and that of the replies'.
pub(super) fn pointed<F: Family>(session: &Session<F>) -> [Place; 2] {
    let [original, reply] = session.flows.each_ref().map(place_of);
    [original, reply.within_bucket(original.bucket())]
}

impl Ha {
    /// One of our sessions is told of as `now`, and was before as `before` (0: it was not). `holders`
    /// have a copy of it.
    #[inline]
    pub(super) fn count_own<F: Family>(
        &mut self,
        session: &Session<F>,
        holders: NodeSet,
        before: u32,
        now: u32,
    ) {
        let owner = self.parts.node;
        let stamp = |version| Stamp { version, owner };
        if !self.backs_up() {
            let place = place_of(&session.flows[0]);
            if before != 0 {
                self.own.remove(place, stamp(before));
            }
            if now != 0 {
                self.own.add(place, stamp(now));
            }
            return;
        }
        let pointers = pointed(session);
        match (before, now) {
            (0, 0) => return,
            (0, _) => {
                for place in pointers {
                    self.own.add(place, stamp(POINTED));
                }
                self.told += 1;
            }
            (_, 0) => {
                for place in pointers {
                    self.own.remove(place, stamp(POINTED));
                }
                self.told = self.told.saturating_sub(1);
            }
            _ => {}
        }
        for peer in self.peers.iter_mut().filter(|peer| holders.has(peer.id)) {
            if before != 0 {
                peer.discount_held(pointers, stamp(before));
            }
            if now != 0 {
                peer.count_held(pointers, stamp(now));
            }
        }
    }

    /// A replica is there as its owner told of it.
    pub(super) fn count_replica(&mut self, place: Place, version: u32, origin: Origin) {
        if let Some((digest, owner)) = self.digest_of(origin) {
            digest.add(place, Stamp { version, owner });
        }
    }

    /// It is no longer.
    pub(super) fn discount_replica(&mut self, place: Place, version: u32, origin: Origin) {
        if let Some((digest, owner)) = self.digest_of(origin) {
            digest.remove(place, Stamp { version, owner });
        }
    }

    /// Where replicas from there are counted, and whose they are. Those of a former boot of their owner
    /// are not.
    fn digest_of(&mut self, origin: Origin) -> Option<(&mut Digest, u8)> {
        let seat = self.teller_of(origin)?;
        let peer = self.peers.get_mut(usize::from(seat.0))?;
        let digest = peer.theirs.get_mut(usize::from(origin.lane))?;
        Some((digest, peer.id))
    }

    /// What is known of what was told on a lane.
    fn theirs(&self, of: LaneOf) -> Option<&Digest> {
        let peer = self.peers.get(usize::from(of.seat.0))?;
        peer.theirs.get(usize::from(of.lane))
    }

    fn is_sweeping(&self, of: LaneOf) -> bool {
        self.sweeps.iter().any(|sweeping| sweeping.of == of)
    }
}

impl<I: Io> Worker<I> {
    /// Part of another node's digest, as it was at this place of its stream.
    pub(super) fn digest_told(&mut self, of: LaneOf, first: u16, sums: &[u64; DIGEST_CHUNK]) {
        let (workers, me, now) = (self.rings.workers(), self.id, self.now);
        let chunk = usize::from(first) / DIGEST_CHUNK % CHUNKS;
        let Some(ha) = &mut self.ha else { return };
        if ha.is_sweeping(of) {
            return;
        }
        let ours = match ha.theirs(of) {
            Some(digest) => digest.sums(first),
            None => return,
        };
        let Some(heard) = ha.heard(of).filter(|heard| heard.rounds.is_complete()) else {
            return;
        };
        let mut left = *sums;
        subtract(&mut left, &ours);
        let others = (0..workers).filter(|&worker| worker != me);
        let question = &mut heard.questions[chunk];
        question.number = question.number.wrapping_add(1);
        question.left = left;
        question.waiting = others.clone().fold(0, |all, worker| all | 1 << worker);
        let number = question.number;
        if question.waiting == 0 {
            let found = heard.compared(chunk, &left, now);
            self.counters.add(WorkerCounter::HaDigestMismatches, found);
            return;
        }
        for worker in others {
            // Without room there is no answer, and the next digest is not far.
            let _ = self.rings.push(
                worker,
                Message::HaSumsWanted {
                    of,
                    first,
                    number,
                    by: me,
                },
            );
        }
    }

    /// Another worker wants our part of the replicas' sums. None is given that is about to change.
    pub(in super::super) fn sums_wanted(&mut self, of: LaneOf, first: u16, number: u8, by: u16) {
        let from = self.id;
        let ha = self.ha.as_ref().filter(|ha| !ha.is_sweeping(of));
        let Some(digest) = ha.and_then(|ha| ha.theirs(of)) else {
            return;
        };
        let record = Record::Digest {
            first,
            sums: digest.sums(first),
        };
        let Some(mut frame) = self.io.alloc() else {
            return;
        };
        let written = frame
            .set_len(MAX_LEN)
            .then(|| encode(&record, frame.bytes_mut()));
        if let Some(len) = written.flatten()
            && frame.set_len(len)
        {
            let answer = Message::HaSums {
                frame,
                of,
                number,
                from,
            };
            let _ = self.rings.push(by, answer);
        }
    }

    /// Another worker's part.
    pub(in super::super) fn sums_heard(
        &mut self,
        frame: &I::Frame,
        of: LaneOf,
        number: u8,
        from: u16,
    ) {
        let now = self.now;
        let Some(Record::Digest { first, sums }) = Records::new(frame.bytes(), 0).next() else {
            return;
        };
        let chunk = usize::from(first) / DIGEST_CHUNK % CHUNKS;
        let Some(heard) = self.ha.as_mut().and_then(|ha| ha.heard(of)) else {
            return;
        };
        let question = &mut heard.questions[chunk];
        let bit = 1 << from;
        if question.number != number || question.waiting & bit == 0 {
            return;
        }
        question.waiting &= !bit;
        subtract(&mut question.left, &sums);
        if question.waiting == 0 {
            let left = question.left;
            let found = heard.compared(chunk, &left, now);
            self.counters.add(WorkerCounter::HaDigestMismatches, found);
        }
    }

    /// Another node has something else under one bucket of our digest.
    pub(super) fn repair_wanted(&mut self, of: LaneOf, bucket: u16) {
        let is_own = of.lane == self.id as u8;
        let peer = self.ha.as_mut().and_then(|ha| ha.peer(of));
        if let Some(peer) = peer.filter(|_| is_own) {
            peer.telling.rounds.repair(bucket);
            self.counters.count(WorkerCounter::HaRepairs);
        }
    }

    /// Puts into the streams to a node what is due: our digest, and the wish for what differs from its
    /// own.
    pub(super) fn tell_digest(&mut self, seat: Seat) {
        let now = self.now;
        let Some(ha) = self.ha.as_deref_mut() else {
            return;
        };
        let Some(peer) = ha.peers.get_mut(usize::from(seat.0)) else {
            return;
        };
        if peer.telling.complete
            && peer.teller.is_done()
            && now.wrapping_sub(peer.digest_told) >= INTERVAL_MS
        {
            peer.digest_told = now;
            peer.teller.start();
        }
        for (at, (lane, heard)) in peer.lanes.iter_mut().zip(&mut peer.heard).enumerate() {
            let Some(lane) = lane.as_mut().filter(|lane| lane.is_open()) else {
                continue;
            };
            if at == 0 && !peer.teller.is_done() {
                peer.busy = true;
                peer.teller.poll(lane, [&ha.own, &peer.held]);
            }
            while let Some(bucket) = heard.next_wanted().filter(|_| lane.has_room()) {
                heard.wanted[usize::from(bucket) / 64] &= !(1 << (bucket % 64));
                let _ = lane.push(&Record::RepairRequest { bucket });
                peer.busy = true;
            }
        }
    }
}

/// Sweeps: what the peer no longer has.
impl<I: Io> Worker<I> {
    /// A round of a lane's sender has ended: what it did not tell of is gone.
    pub(in super::super) fn sweep_lane(&mut self, of: LaneOf, sweep: Sweep) {
        let Some(ha) = &mut self.ha else { return };
        let sweeps = &mut ha.sweeps;
        if sweep.scope == Scope::All {
            sweeps.retain(|sweeping| sweeping.of != of);
        }
        // Without room what should go stays, and the next digest finds it.
        let _ = sweeps.try_push(Sweeping {
            of,
            sweep,
            at: (Stage::V4, 0),
        });
    }

    /// Goes on with sweeps.
    pub(super) fn sweep_some(&mut self) {
        let Some(ha) = &self.ha else { return };
        let Some(&sweeping) = ha.sweeps.first() else {
            return;
        };
        let (stage, from) = sweeping.at;
        let next = match stage {
            Stage::V4 => self.sweep_in::<V4>(&sweeping, from),
            Stage::V6 => self.sweep_in::<V6>(&sweeping, from),
            Stage::Pointers => self.sweep_pointers(sweeping.of, sweeping.sweep, from),
            // They are told in whole rounds only.
            Stage::Mappings if sweeping.sweep.scope == Scope::All => {
                self.sweep_mappings(sweeping.of, sweeping.sweep.mark, from)
            }
            Stage::Mappings => None,
        };
        let next = match (stage, next) {
            (_, Some(from)) => Some((stage, from)),
            (Stage::V4, None) => Some((Stage::V6, 0)),
            (Stage::V6, None) => Some((Stage::Pointers, 0)),
            (Stage::Pointers, None) => Some((Stage::Mappings, 0)),
            (Stage::Mappings, None) => None,
        };
        let Some(ha) = &mut self.ha else { return };
        match (next, ha.sweeps.first_mut()) {
            (Some(next), Some(first)) => first.at = next,
            (None, Some(_)) => drop(ha.sweeps.remove(0)),
            (_, None) => {}
        }
    }

    fn sweep_in<F: PerFamily>(&mut self, sweeping: &Sweeping, from: u32) -> Option<u32> {
        let Sweeping { of, sweep, .. } = *sweeping;
        let meeting = self.meeting_of(of);
        let lane = of.lane;
        let mut gone = arrayvec::ArrayVec::<SessionId, { SLICE as usize }>::new();
        let next = F::table(&self.tables).scan(from, SLICE, |id, session, cold| {
            let origin = Origin::unpack(cold.extra);
            let is_older = sweep.mark.wrapping_sub(origin.mark).cast_signed() > 0;
            if session.is_replica()
                && (origin.lane, origin.meeting) == (lane, meeting)
                && is_older
                && sweep.scope.has(place_of(&session.flows[0]))
            {
                gone.push(id);
            }
        });
        for id in gone {
            self.remove_replica::<F>(id);
            self.counters.count(WorkerCounter::HaSwept);
        }
        next
    }
}

fn subtract(from: &mut [u64; DIGEST_CHUNK], sums: &[u64; DIGEST_CHUNK]) {
    for (left, sum) in from.iter_mut().zip(sums) {
        *left = left.wrapping_sub(*sum);
    }
}
