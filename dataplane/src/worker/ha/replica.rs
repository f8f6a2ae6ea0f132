//! What other nodes tell of their sessions, kept as copies that the owner's packets never need.
//!
//! A copy lives on the worker that is home to its original tuple, which any worker can compute from a
//! record. It takes no path, counts for no service and no balancer until it is taken over.

use sluice_ha::lane::Take;
use sluice_ha::record::{
    ChangeRecord, DeathRecord, Progress, Record, SessionRecord, Stamp, session,
};
use sluice_wire::{Key, V4, V6};

use super::super::Worker;
use super::super::tables::PerFamily;
use super::digest::place_of;
use super::passed::{Heard, Passing};
use super::tell::SIDE_BITS;
use super::{Origin, SILENT};
use crate::handoff::{LaneOf, Message};
use crate::io::Io;
use crate::published::WorkerCounter;
use crate::rewrite;
use crate::session::flow::{Flow, PathId, UNCHECKED, flags};
use crate::session::table::{Direction, InsertError, SessionId};
use crate::snapshot::ServiceId;

/// How long a replica outlives what its owner said of its time, milliseconds: the owner says so anew
/// when that time is over, within a sweep of its deadlines.
const GRACE: u32 = 30_000;
/// The path of flows that have none.
const NOWHERE: PathId = PathId(u16::MAX);

impl<I: Io> Worker<I> {
    /// Takes a record that came on a lane. `passed`: another worker found that it is for this one.
    pub(super) fn apply(&mut self, of: LaneOf, record: &Record, passed: Option<Passing>) -> Take {
        let mark = passed.map_or_else(
            || {
                let heard = self.ha.as_mut().and_then(|ha| ha.heard(of));
                heard.map_or(0, |heard| heard.rounds.mark())
            },
            |passing| passing.mark,
        );
        let from = Heard {
            of,
            origin: Origin {
                meeting: self.meeting_of(of),
                lane: of.lane,
                mark,
                mapped: false,
            },
            passed: passed.is_some(),
            judged: passed.is_some_and(|passing| passing.judged),
        };
        match record {
            Record::Session4(told) => self.apply_session::<V4>(record, told, from),
            Record::Session6(told) => self.apply_session::<V6>(record, told, from),
            Record::Change4(told) => {
                self.dispatch_record::<V4>(record, &told.identity, from, |worker, key| {
                    worker.change_told(key, told, from.origin);
                })
            }
            Record::Change6(told) => {
                self.dispatch_record::<V6>(record, &told.identity, from, |worker, key| {
                    worker.change_told(key, told, from.origin);
                })
            }
            Record::Death4(told) => {
                self.dispatch_record::<V4>(record, &told.identity, from, |worker, key| {
                    worker.death_told(key, told, from.origin);
                })
            }
            Record::Death6(told) => {
                self.dispatch_record::<V6>(record, &told.identity, from, |worker, key| {
                    worker.death_told(key, told, from.origin);
                })
            }
            Record::Pointer4(told) => self.pointer_told::<V4>(record, told, from),
            Record::Pointer6(told) => self.pointer_told::<V6>(record, told, from),
            Record::Client(told) => self.client_told(record, told, from),
            Record::Mapping(told) => self.mapping_told(record, told, from),
            Record::BulkEnd { .. } => self.all_told(of, record),
            Record::BulkBegin { .. } | Record::RepairBegin { .. } | Record::RepairEnd { .. } => {
                self.round_told(of, record);
                Take::Taken
            }
            Record::Digest { first, sums } => {
                self.digest_told(of, *first, sums);
                Take::Taken
            }
            Record::RepairRequest { bucket } => {
                self.repair_wanted(of, *bucket);
                Take::Taken
            }
        }
    }

    fn apply_session<F: PerFamily>(
        &mut self,
        record: &Record,
        told: &SessionRecord<F>,
        mut from: Heard,
    ) -> Take {
        let decider = self.decider_of_session(told);
        if let Some(worker) = decider.filter(|&worker| worker != self.id && !from.passed) {
            return self.pass_record(worker, record, from);
        }
        from.origin.mapped = decider.is_some();
        from.passed |= decider.is_some();
        let teller = self.node_at(from.of.seat);
        self.dispatch_record::<F>(record, &told.identity, from, |worker, key| {
            if teller == Some(told.stamp.owner) {
                worker.session_told(key, told, from.origin);
            } else {
                worker.session_left(key, told, from.origin);
            }
        })
    }

    /// Everything was told on a lane. All workers hear of it after what the records before it said.
    fn all_told(&mut self, of: LaneOf, record: &Record) -> Take {
        for worker in (0..self.rings.workers()).filter(|&worker| worker != self.id) {
            if self.rings.push(worker, Message::PeerTold(of)).is_err() {
                // Those that heard hear it twice.
                return Take::Later;
            }
        }
        self.peer_told(of);
        self.round_told(of, record);
        Take::Taken
    }

    /// A round begins or ends. What it leaves to be swept all workers hear of after what the records
    /// before it said; one that has no room for it is found out by the next digest.
    fn round_told(&mut self, of: LaneOf, record: &Record) {
        let Some(heard) = self.ha.as_mut().and_then(|ha| ha.heard(of)) else {
            return;
        };
        heard.is_silent = matches!(record, Record::BulkEnd { round: SILENT, .. });
        let Some(sweep) = heard.rounds.handle(record) else {
            return;
        };
        for worker in (0..self.rings.workers()).filter(|&worker| worker != self.id) {
            let _ = self.rings.push(worker, Message::HaSweep { of, sweep });
        }
        self.sweep_lane(of, sweep);
    }

    /// Everything was told on a lane, and this worker has applied its part. The others must know
    /// that: what it registered with them is on its way before.
    pub(in super::super) fn peer_told(&mut self, of: LaneOf) {
        if let Some(peer) = self.peer_at(of.seat) {
            peer.applied |= 1 << (of.lane & 63);
        }
    }

    /// Tells all workers what this one has applied; again, where a ring was full.
    pub(super) fn confirm_told(&mut self) {
        let me = self.id;
        for seat in self.seats() {
            let Some(peer) = self.peer_at(seat) else {
                return;
            };
            let mut applied = peer.applied;
            while applied != 0 {
                let lane = applied.trailing_zeros() as u8;
                applied &= applied - 1;
                let of = LaneOf { seat, lane };
                let mut others = (0..self.rings.workers()).filter(|&worker| worker != me);
                let message = || Message::PeerApplied { of, worker: me };
                if others.all(|other| self.rings.push(other, message()).is_ok()) {
                    self.peer_applied(of, me);
                    return;
                }
            }
        }
    }

    /// A worker has applied all that was told on a lane.
    pub(in super::super) fn peer_applied(&mut self, of: LaneOf, worker: u16) {
        let (me, now) = (self.id, self.now);
        let Some(ha) = &mut self.ha else { return };
        let all = u64::MAX >> (64 - ha.workers.clamp(1, 64));
        let Some(peer) = ha.peer(of) else { return };
        let bit = 1 << (of.lane & 63);
        if worker == me {
            peer.applied &= !bit;
        }
        if let Some(workers) = peer.applied_by.get_mut(usize::from(of.lane)) {
            *workers |= 1 << (worker & 63);
            if *workers == all {
                peer.told |= bit;
                ha.follow_joining(now);
            }
        }
    }

    /// What there is under a key that another node speaks of: the copy, if what was said last is older than `stamp`.
    /// On one lane whatever comes later is newer, be it of another session with the same tuple.
    pub(super) fn older_replica<F: PerFamily>(
        &mut self,
        key: &Key<F::Addrs>,
        stamp: Stamp,
        from: Origin,
    ) -> Known {
        let table = F::table(&self.tables);
        let Some(at) = table.lookup(key, table.hash(key)) else {
            return Known::Nothing;
        };
        let id = at.session();
        let Some(session) = table.session(id) else {
            return Known::Nothing;
        };
        let known = table.cold(id).map_or(0, |cold| cold.extra);
        let known = Origin::unpack(known);
        let ha = self.ha.as_ref();
        let is_orphan = ha.is_some_and(|ha| ha.owner_of(known).is_none());
        let owner = ha.map_or(0, |ha| match session.is_replica() {
            true => ha.teller_id(known).unwrap_or(0),
            false => ha.parts.node,
        });
        let last = Stamp {
            version: table.version(id),
            owner,
        };
        let same_stream =
            session.is_replica() && (known.meeting, known.lane) == (from.meeting, from.lane);
        let is_mirrored = at.direction() == Direction::Reply;
        // Each end opened it, by another node. No copy shows that where there is none.
        let is_left = is_mirrored
            && !session.is_replica()
            && stamp.replaces(last)
            && ha.is_some_and(|ha| ha.backs_up());
        match (session.is_replica(), stamp.replaces(last) || same_stream) {
            _ if is_left => Known::Own(id),
            // What nobody stands for any more yields to what somebody does.
            (true, _) if is_orphan => Known::Other(id),
            _ if is_mirrored => Known::Newer,
            (_, false) => Known::Newer,
            (true, true) if known.meeting == from.meeting => Known::Same(id),
            (true, true) => Known::Other(id),
            (false, true) => Known::Own(id),
        }
    }

    /// The whole of a session.
    fn session_told<F: PerFamily>(
        &mut self,
        key: Key<F::Addrs>,
        told: &SessionRecord<F>,
        from: Origin,
    ) {
        match self.older_replica::<F>(&key, told.stamp, from) {
            Known::Newer => return self.counters.count(WorkerCounter::HaConflicts),
            Known::Own(id) => {
                // Both nodes opened it, or the other took it over while it did not hear us.
                self.counters.count(WorkerCounter::HaConflicts);
                self.give_up::<F>(id);
            }
            Known::Same(id) | Known::Other(id) => self.remove_replica::<F>(id),
            Known::Nothing if !self.replaces_pointer::<F>(&key, told.stamp, from) => {
                return self.counters.count(WorkerCounter::HaConflicts);
            }
            Known::Nothing => {}
        }
        if let Err(error) = self.insert_replica::<F>(&key, told, from) {
            self.counters.count(match error {
                InsertError::Full => WorkerCounter::HaRecordsLost,
                InsertError::Clash => WorkerCounter::HaConflicts,
            });
        }
    }

    /// Gives its number; `None` if it is of a zone that is not known here.
    pub(super) fn insert_replica<F: PerFamily>(
        &mut self,
        key: &Key<F::Addrs>,
        told: &SessionRecord<F>,
        from: Origin,
    ) -> Result<Option<SessionId>, InsertError> {
        let Some(names) = &self.snapshot.shared_names else {
            return Ok(None);
        };
        let Some(reply_zone) = names.zone_of(told.reply_zone) else {
            self.counters.count(WorkerCounter::HaRecordsForeign);
            return Ok(None);
        };
        let service = names.service_of(told.service).unwrap_or(ServiceId::NONE);
        let server = names.server_of(told.server).unwrap_or_default();
        let leaves = Key::<F::Addrs> {
            addrs: told.new_addrs,
            ports: told.new_ports,
            ..*key
        };
        let leaves = leaves.tuple::<F>();
        let reply_key = Key::new::<F>(&leaves.reverse(), reply_zone);
        let left = told.progress.timeout_left.saturating_add(GRACE);
        let table = F::table_mut(&mut self.tables);
        let id = table.insert(key, &reply_key, self.now, left)?;
        self.unpoint::<F>(&[*key, reply_key]);
        let table = F::table_mut(&mut self.tables);
        if let Some(cold) = table.cold_mut(id) {
            cold.created = self.now.wrapping_sub(told.age);
            cold.service = service;
            cold.server = server;
            cold.extra = from.pack();
        }
        table.set_version(id, told.stamp.version);
        self.alg
            .copied::<F>((key, &leaves), (reply_zone, server), told, self.now);
        let table = F::table_mut(&mut self.tables);
        let mut place = None;
        if let Some((original, reply)) = table.pair_mut(id.flow(Direction::Original)) {
            place = Some(place_of(original));
            rewrite::compile(original, &leaves);
            rewrite::compile(reply, &key.tuple::<F>().reverse());
            for flow in [&mut *original, &mut *reply] {
                flow.path = NOWHERE;
                flow.epoch = UNCHECKED;
                flow.flags |= flags::REPLICA;
                if told.flags & session::ONE_WAY != 0 {
                    flow.flags |= flags::ONE_WAY;
                }
                if told.flags & session::CLAMP_MSS != 0 {
                    flow.flags |= flags::CLAMP_MSS;
                }
            }
            progress(original, reply, &told.progress);
        }
        if let Some(ha) = &mut self.ha {
            ha.count_copy(from, 1);
            if let Some(place) = place {
                ha.count_replica(place, told.stamp.version, from);
            }
        }
        let opener = self.lately.about(&self.snapshot, key.tuple::<F>().src).way;
        let other = self.lately.about(&self.snapshot, leaves.dst).way;
        if let (Ok(back), Ok(forth)) = (opener, other) {
            // Who takes it over needs them at once: there is little room for packets that wait.
            for way in [&back, &forth] {
                self.neighbours.seek(way.hop.port, way.neighbour, self.now);
            }
            // Without room for the registration its packets are taken for strangers, and go to the
            // owner all the same.
            let ports = [back.hop.port, forth.hop.port];
            let _ = self.register::<F>(id, [(key, ports[0]), (&reply_key, ports[1])]);
        }
        Ok(Some(id))
    }

    /// A session went on.
    fn change_told<F: PerFamily>(
        &mut self,
        key: Key<F::Addrs>,
        told: &ChangeRecord<F>,
        from: Origin,
    ) {
        // Of what another node told of it may be another session with the same tuple.
        let Known::Same(id) = self.older_replica::<F>(&key, told.stamp, from) else {
            return;
        };
        let now = self.now;
        let table = F::table_mut(&mut self.tables);
        let version = table.version(id);
        let Some(cold) = table.cold_mut(id) else {
            return;
        };
        let before = Origin::unpack(cold.extra);
        let after = Origin {
            mapped: before.mapped,
            // Only who is told whole is told in a round.
            mark: if before.lane == from.lane {
                before.mark
            } else {
                from.mark
            },
            ..from
        };
        cold.extra = after.pack();
        table.set_version(id, told.stamp.version);
        let mut place = None;
        if let Some((original, reply)) = table.pair_mut(id.flow(Direction::Original)) {
            place = Some(place_of(original));
            progress(original, reply, &told.progress);
        }
        table.set_deadline(id, now, told.progress.timeout_left.saturating_add(GRACE));
        if let (Some(ha), Some(place)) = (&mut self.ha, place) {
            ha.discount_replica(place, version, before);
            ha.count_replica(place, told.stamp.version, after);
        }
    }

    /// A session ended.
    fn death_told<F: PerFamily>(
        &mut self,
        key: Key<F::Addrs>,
        told: &DeathRecord<F>,
        from: Origin,
    ) {
        match self.older_replica::<F>(&key, told.stamp, from) {
            Known::Same(id) => self.remove_replica::<F>(id),
            _ => self.tell_again::<F>(&key),
        }
    }

    /// Another node has ended a session with a tuple that one of ours has. Who refused what we said of ours
    /// for its sake hears it again, where nobody else would tell.
    pub(super) fn tell_again<F: PerFamily>(&mut self, key: &Key<F::Addrs>) {
        if !self.ha.as_ref().is_some_and(|ha| ha.backs_up()) {
            return;
        }
        let table = F::table(&self.tables);
        let Some(at) = table.lookup(key, table.hash(key)) else {
            return;
        };
        let session = table.session(at.session());
        if at.direction() == Direction::Original && session.is_some_and(|one| !one.is_replica()) {
            self.tell_birth::<F>(at.session());
        }
    }

    pub(super) fn remove_replica<F: PerFamily>(&mut self, id: SessionId) {
        let table = F::table_mut(&mut self.tables);
        let version = table.version(id);
        if let Some((session, cold)) = table.remove(id) {
            self.unregister::<F>(&session);
            self.watch_no_more(&session);
            self.replica_gone::<F>(&session.flows[0], version, cold.extra);
        }
    }

    /// A replica is none any more.
    pub(in super::super) fn replica_gone<F: PerFamily>(
        &mut self,
        original: &Flow<F>,
        version: u32,
        origin: u32,
    ) {
        if let Some(ha) = &mut self.ha {
            let origin = Origin::unpack(origin);
            ha.count_copy(origin, -1);
            ha.discount_replica(place_of(original), version, origin);
        }
    }

    /// Ends a session of ours that turned out to be another node's. Those that know no more than the owner
    /// are told, because they cannot tell one session with the tuple from another.
    pub(super) fn give_up<F: PerFamily>(&mut self, id: SessionId) {
        let holders = self.holders::<F>(id);
        let table = F::table_mut(&mut self.tables);
        let version = table.version(id);
        if let Some((session, cold)) = table.remove(id) {
            self.unregister::<F>(&session);
            match &mut self.ha {
                Some(ha) if ha.backs_up() => {
                    self.tell_death::<F>(&session, (version, holders.0));
                }
                Some(ha) => ha.count_own(&session, holders, version, 0),
                None => {}
            }
            self.account_end::<F>(&session, &cold);
        }
    }
}

/// What is there under a key that another node speaks of.
pub(super) enum Known {
    Nothing,
    /// A copy that its statement is newer than, and that it told of itself.
    Same(SessionId),
    /// The same, and another node told of it, or it is left of a former life.
    Other(SessionId),
    /// A session of ours that its statement is newer than.
    Own(SessionId),
    /// Something that counts more than what it says.
    Newer,
}

/// Takes over where a session stands.
fn progress<F: PerFamily>(original: &mut Flow<F>, reply: &mut Flow<F>, told: &Progress) {
    for (flow, side) in [original, reply].into_iter().zip(&told.sides) {
        flow.state = told.state;
        flow.tcp_end = side.end;
        flow.tcp_acked = side.acked;
        flow.tcp_max_win = side.max_window;
        flow.tcp_scale = side.scale;
        for (ours, theirs) in SIDE_BITS {
            flow.flags &= !ours;
            if side.flags & theirs != 0 {
                flow.flags |= ours;
            }
        }
    }
}
