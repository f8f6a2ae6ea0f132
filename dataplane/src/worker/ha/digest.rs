//! The digest in operation: proof that the peer's copies are what this node has, and repair of what
//! is not.
//!
//! Every worker keeps two kinds of sums: of its own sessions as they were last told of, and of the
//! replicas that it keeps, by the lane that they were told on. A worker puts the first into its lane
//! once a second. At the other end the replicas of one lane lie on several workers; the one that
//! hears the lane asks all of them by the rings that took the records there, so each answers for the
//! same place in the stream.
//!
//! A session that was never told of has version 0 and is in no digest.

use sluice_ha::bulk::{Scope, Sweep};
use sluice_ha::digest::{BUCKETS, CHUNKS, Place};
use sluice_ha::record::{DIGEST_CHUNK, MAX_LEN, Record, Records, Stamp, encode};
use sluice_ha::{Digest, bulk, digest};
use sluice_wire::{Family, V4, V6};

use super::super::Worker;
use super::super::tables::PerFamily;
use super::{Ha, Origin};
use crate::handoff::Message;
use crate::io::{Frame, Io};
use crate::published::WorkerCounter;
use crate::session::flow::Flow;
use crate::session::table::SessionId;

/// How often a digest is told, milliseconds.
const INTERVAL_MS: u32 = 1000;
/// How long at most a node waits with asking again for what repairs do not mend, milliseconds: there
/// may be no room for it here.
const PATIENCE_MS: u32 = 60_000;
/// Table entries that a sweep looks at per poll.
const SLICE: u32 = 256;
/// Sweeps that can wait.
const SWEEPS: usize = 16;

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

/// A sweep under way: replicas of this lane that the peer no longer has.
#[derive(Clone, Copy)]
struct Sweeping {
    lane: u8,
    sweep: Sweep,
    /// What is looked at, and from where on.
    at: (Stage, u32),
}

/// What a sweep looks at, one after the other.
#[derive(Clone, Copy)]
enum Stage {
    V4,
    V6,
    Mappings,
}

/// Sums and sweeps of one worker.
pub(super) struct Sums {
    /// Of our own sessions.
    own: Digest,
    /// Of replicas, by lane.
    theirs: Vec<Digest>,
    teller: digest::Teller,
    told_at: u32,
    sweeps: arrayvec::ArrayVec<Sweeping, SWEEPS>,
}

impl Sums {
    pub(super) fn new(lanes: u16, now: u32) -> Self {
        Self {
            own: Digest::default(),
            theirs: vec![Digest::default(); usize::from(lanes)],
            teller: digest::Teller::default(),
            told_at: now,
            sweeps: arrayvec::ArrayVec::new(),
        }
    }

    /// The peer's sessions of a former boot are no longer told of.
    pub(super) fn forget_theirs(&mut self) {
        self.theirs.iter_mut().for_each(Digest::clear);
        self.sweeps.clear();
    }

    /// The lane has opened: everything will be told, and the digest after that.
    pub(super) fn reopen(&mut self) {
        self.teller = digest::Teller::default();
    }

    fn is_sweeping(&self, lane: u8) -> bool {
        self.sweeps.iter().any(|sweeping| sweeping.lane == lane)
    }
}

/// Where the session with this original flow is counted.
pub(super) fn place_of<F: Family>(original: &Flow<F>) -> Place {
    Place::of_tuple::<F>(&original.addrs, original.ports, original.proto)
}

impl Ha {
    /// One of our sessions is told of as `now`, and was before as `before` (0: it was not).
    #[inline]
    pub(super) fn count_own(&mut self, place: Place, before: u32, now: u32) {
        let owner = self.parts.node;
        if before != 0 {
            let version = before;
            self.sums.own.remove(place, Stamp { version, owner });
        }
        if now != 0 {
            let version = now;
            self.sums.own.add(place, Stamp { version, owner });
        }
    }

    /// A replica is there as the peer told of it.
    pub(super) fn count_replica(&mut self, place: Place, version: u32, origin: Origin) {
        let owner = self.parts.peer;
        if let Some(digest) = self.digest_of(origin) {
            digest.add(place, Stamp { version, owner });
        }
    }

    /// It is no longer.
    pub(super) fn discount_replica(&mut self, place: Place, version: u32, origin: Origin) {
        let owner = self.parts.peer;
        if let Some(digest) = self.digest_of(origin) {
            digest.remove(place, Stamp { version, owner });
        }
    }

    fn digest_of(&mut self, origin: Origin) -> Option<&mut Digest> {
        if origin.meeting != Origin::meeting(self.meeting) {
            return None;
        }
        self.sums.theirs.get_mut(usize::from(origin.lane))
    }

    /// What is known of a lane that this worker hears.
    pub(super) fn heard(&mut self, lane: u8) -> Option<&mut Heard> {
        let at = usize::from(lane) / usize::from(self.workers.max(1));
        self.heard.get_mut(at)
    }
}

impl<I: Io> Worker<I> {
    /// Part of the peer's digest, as it was at this place of its stream.
    pub(super) fn digest_told(&mut self, lane: u8, first: u16, sums: &[u64; DIGEST_CHUNK]) {
        let (workers, me, now) = (self.rings.workers(), self.id, self.now);
        let chunk = usize::from(first) / DIGEST_CHUNK % CHUNKS;
        let Some(ha) = &mut self.ha else { return };
        if ha.sums.is_sweeping(lane) {
            return;
        }
        let ours = match ha.sums.theirs.get(usize::from(lane)) {
            Some(digest) => digest.sums(first),
            None => return,
        };
        let Some(heard) = ha.heard(lane).filter(|heard| heard.rounds.is_complete()) else {
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
                    lane,
                    first,
                    number,
                    by: me,
                },
            );
        }
    }

    /// Another worker wants our part of the replicas' sums. None is given that is about to change.
    pub(in super::super) fn sums_wanted(&mut self, lane: u8, first: u16, number: u8, by: u16) {
        let from = self.id;
        let Some(ha) = self.ha.as_ref().filter(|ha| !ha.sums.is_sweeping(lane)) else {
            return;
        };
        let Some(digest) = ha.sums.theirs.get(usize::from(lane)) else {
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
                lane,
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
        lane: u8,
        number: u8,
        from: u16,
    ) {
        let now = self.now;
        let Some(Record::Digest { first, sums }) = Records::new(frame.bytes(), 0).next() else {
            return;
        };
        let chunk = usize::from(first) / DIGEST_CHUNK % CHUNKS;
        let Some(heard) = self.ha.as_mut().and_then(|ha| ha.heard(lane)) else {
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

    /// The peer has something else under one bucket of our digest.
    pub(super) fn repair_wanted(&mut self, lane: u8, bucket: u16) {
        let is_own = lane == self.id as u8;
        if let Some(ha) = self.ha.as_mut().filter(|_| is_own) {
            self.counters.count(WorkerCounter::HaRepairs);
            ha.telling.rounds.repair(bucket);
        }
    }

    /// Puts into the streams what is due: our digest, and the wish for what differs from the peer's.
    pub(super) fn tell_digest(&mut self) {
        let now = self.now;
        let Some(ha) = &mut self.ha else { return };
        let telling = &ha.telling;
        if telling.complete
            && ha.sums.teller.is_done()
            && now.wrapping_sub(ha.sums.told_at) >= INTERVAL_MS
        {
            ha.sums.told_at = now;
            ha.sums.teller.start();
        }
        for at in 0..ha.lanes.len() {
            let Some(lane) = ha.lanes[at].as_mut().filter(|lane| lane.is_open()) else {
                continue;
            };
            if at == 0 && !ha.sums.teller.is_done() {
                ha.busy = true;
                ha.sums.teller.poll(lane, &ha.sums.own);
            }
            let heard = &mut ha.heard[at];
            while let Some(bucket) = heard.next_wanted().filter(|_| lane.has_room()) {
                heard.wanted[usize::from(bucket) / 64] &= !(1 << (bucket % 64));
                let _ = lane.push(&Record::RepairRequest { bucket });
                ha.busy = true;
            }
        }
    }
}

/// Sweeps: what the peer no longer has.
impl<I: Io> Worker<I> {
    /// A round of a lane's sender has ended: what it did not tell of is gone.
    pub(in super::super) fn sweep_lane(&mut self, lane: u8, sweep: Sweep) {
        let Some(ha) = &mut self.ha else { return };
        let sweeps = &mut ha.sums.sweeps;
        if sweep.scope == Scope::All {
            sweeps.retain(|sweeping| sweeping.lane != lane);
        }
        // Without room what should go stays, and the next digest finds it.
        let _ = sweeps.try_push(Sweeping {
            lane,
            sweep,
            at: (Stage::V4, 0),
        });
    }

    /// Goes on with sweeps.
    pub(super) fn sweep_some(&mut self) {
        let Some(ha) = &self.ha else { return };
        let Some(&sweeping) = ha.sums.sweeps.first() else {
            return;
        };
        let (stage, from) = sweeping.at;
        let next = match stage {
            Stage::V4 => self.sweep_in::<V4>(&sweeping, from),
            Stage::V6 => self.sweep_in::<V6>(&sweeping, from),
            // They are told in whole rounds only.
            Stage::Mappings if sweeping.sweep.scope == Scope::All => {
                self.sweep_mappings((sweeping.lane, sweeping.sweep.mark), from)
            }
            Stage::Mappings => None,
        };
        let next = match (stage, next) {
            (_, Some(from)) => Some((stage, from)),
            (Stage::V4, None) => Some((Stage::V6, 0)),
            (Stage::V6, None) => Some((Stage::Mappings, 0)),
            (Stage::Mappings, None) => None,
        };
        let Some(ha) = &mut self.ha else { return };
        match (next, ha.sums.sweeps.first_mut()) {
            (Some(next), Some(first)) => first.at = next,
            (None, Some(_)) => drop(ha.sums.sweeps.remove(0)),
            (_, None) => {}
        }
    }

    fn sweep_in<F: PerFamily>(&mut self, sweeping: &Sweeping, from: u32) -> Option<u32> {
        let meeting = Origin::meeting(self.ha.as_ref().map_or(0, |ha| ha.meeting));
        let Sweeping { lane, sweep, .. } = *sweeping;
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
