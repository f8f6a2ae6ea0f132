//! What other nodes are told of our sessions: each birth, change of state and death in the burst where it
//! happens, and everything at once when one was started anew or missed something.

use sluice_ha::NodeSet;
use sluice_ha::bulk::{self, Next, Scope};
use sluice_ha::record::{
    ChangeRecord, DeathRecord, Identity, PointerRecord, Progress, Record, SessionRecord, Side,
    Stamp, session, side,
};
use sluice_wire::{Family, V4, V6, proto};

use super::super::Worker;
use super::super::tables::PerFamily;
use super::digest::place_of;
use super::peer::Pushed;
use super::{Peer, is_mapped};
use crate::handoff::Seat;
use crate::io::Io;
use crate::published::WorkerCounter;
use crate::session::flow::{Flow, Session, flags};
use crate::session::table::SessionId;
use crate::shared_names::{SharedNames, SyncMode};

/// Table entries looked at per poll.
const SLICE: u32 = 128;
/// Kinds of what there is to tell: IPv4 sessions, IPv6 sessions, clients, mappings.
const KINDS: u64 = 4;

/// Families of which there are records.
pub(in super::super) trait Told: Family {
    fn session(record: SessionRecord<Self>) -> Record;
    fn change(record: ChangeRecord<Self>) -> Record;
    fn death(record: DeathRecord<Self>) -> Record;
    fn pointer(record: PointerRecord<Self>) -> Record;
}

impl Told for V4 {
    fn session(record: SessionRecord<Self>) -> Record {
        Record::Session4(record)
    }
    fn change(record: ChangeRecord<Self>) -> Record {
        Record::Change4(record)
    }
    fn death(record: DeathRecord<Self>) -> Record {
        Record::Death4(record)
    }
    fn pointer(record: PointerRecord<Self>) -> Record {
        Record::Pointer4(record)
    }
}

impl Told for V6 {
    fn session(record: SessionRecord<Self>) -> Record {
        Record::Session6(record)
    }
    fn change(record: ChangeRecord<Self>) -> Record {
        Record::Change6(record)
    }
    fn death(record: DeathRecord<Self>) -> Record {
        Record::Death6(record)
    }
    fn pointer(record: PointerRecord<Self>) -> Record {
        Record::Pointer6(record)
    }
}

/// How far telling everything has come.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// Taken out while it goes on.
    pub(super) rounds: bulk::Sender,
    /// Everything is to be told since the lane was opened, and was not yet.
    under_way: bool,
    /// The peer was told everything since the lane was opened.
    pub(super) complete: bool,
    /// Sessions told whole meanwhile.
    pub(super) sessions: u64,
}

impl Telling {
    /// From the start.
    pub(super) fn begin(&mut self) {
        self.rounds.start();
        (self.under_way, self.complete, self.sessions) = (true, false, 0);
    }

    /// The lane has closed.
    pub(super) fn stop(&mut self) {
        (self.under_way, self.complete, self.sessions) = (false, false, 0);
    }
}

impl<I: Io> Worker<I> {
    /// A session was opened.
    #[inline]
    pub(in super::super) fn tell_birth<F: PerFamily>(&mut self, id: SessionId) {
        if self.ha.is_some() {
            self.tell_whole::<F>(id);
        }
    }

    /// A session's state changed, or it goes on beyond its time.
    #[inline]
    pub(in super::super) fn tell_change<F: PerFamily>(&mut self, id: SessionId) {
        if self.ha.is_some() {
            self.tell_progress::<F>(id);
        }
    }

    /// A session has ended that `holders` (see `Table::holders`) had a copy of.
    #[inline]
    pub(in super::super) fn tell_death<F: PerFamily>(
        &mut self,
        session: &Session<F>,
        (version, holders): (u32, u16),
    ) {
        let holders = NodeSet(holders);
        if version == 0 {
            // Nobody was told of it.
            return;
        }
        if let Some(ha) = &mut self.ha {
            ha.count_own(session, holders, version, 0);
            let Some(names) = &self.snapshot.shared_names else {
                return;
            };
            let [original, reply] = &session.flows;
            let record = DeathRecord {
                stamp: self.stamp(version.wrapping_add(1)),
                identity: identity(names, session),
            };
            let pointer = PointerRecord {
                stamp: record.stamp,
                identity: record.identity,
                new_addrs: original.new_addrs,
                new_ports: original.new_ports,
                reply_zone: names.zone(reply.zone),
                is_gone: true,
            };
            self.push_apart(holders, &F::death(record), Some(&F::pointer(pointer)));
        }
    }

    /// Tells those that have a copy of a session one thing, and all others another one.
    fn push_apart(&mut self, holders: NodeSet, held: &Record, others: Option<&Record>) {
        for seat in self.seats() {
            let holds = self.node_at(seat).is_some_and(|node| holders.has(node));
            let record = if holds { Some(held) } else { others };
            if let Some(record) = record {
                self.push_to(seat, record);
            }
        }
    }

    pub(super) fn stamp(&self, version: u32) -> Stamp {
        let owner = self.ha.as_ref().map_or(0, |ha| ha.parts.node);
        Stamp { version, owner }
    }

    /// Counts one more statement of a session. `None` for those that are kept to ourselves:
    /// of services that are not told of.
    fn next_stamp<F: PerFamily>(&mut self, id: SessionId) -> Option<Stamp> {
        let ha = self.ha.as_ref().filter(|ha| ha.parts.sync)?;
        let owner = ha.parts.node;
        let names = self.snapshot.shared_names.as_ref()?;
        let table = F::table_mut(&mut self.tables);
        let cold = table.cold(id)?;
        let is_told = names.mode(cold.service) != SyncMode::None;
        if !is_told && table.version(id) == 0 {
            return None;
        }
        let before = table.version(id);
        let mut floor = before;
        if is_told && before == 0 {
            floor = self.floor_of::<F>(id);
            self.choose_holders::<F>(id);
        }
        let table = F::table_mut(&mut self.tables);
        // Should it be told of no more the peer forgets it in time, and the digest must not wait.
        let version = if is_told {
            floor.wrapping_add(1).max(1)
        } else {
            0
        };
        table.set_version(id, version);
        let holders = NodeSet(table.holders(id));
        if let (Some(ha), Some(session)) = (&mut self.ha, table.session(id)) {
            ha.count_own(session, holders, before, version);
        }
        is_told.then_some(Stamp { version, owner })
    }

    /// Tells all others of the whole of a session.
    #[cold]
    fn tell_whole<F: PerFamily>(&mut self, id: SessionId) {
        if let Some(record) = self.record_of::<F>(id) {
            self.push_birth::<F>(id, &record, None);
        }
    }

    /// Tells of a session, all others but one: the whole, or whose it is.
    fn push_birth<F: PerFamily>(
        &mut self,
        id: SessionId,
        record: &SessionRecord<F>,
        but: Option<Seat>,
    ) {
        let whole = F::session(*record);
        let mut pointer = None;
        for seat in self.seats().filter(|&seat| Some(seat) != but) {
            if self.holds::<F>(id, seat) {
                self.push_whole(seat, &whole);
            } else {
                let pointer = pointer.get_or_insert_with(|| F::pointer(PointerRecord::to(record)));
                self.push_to(seat, pointer);
            }
        }
    }

    /// Whether a node is to have a copy of a session.
    fn holds<F: PerFamily>(&self, id: SessionId, seat: Seat) -> bool {
        let node = self.node_at(seat);
        node.is_some_and(|node| self.holders::<F>(id).has(node))
    }

    /// Puts the whole of a session in the stream to one node.
    pub(super) fn push_whole(&mut self, seat: Seat, record: &Record) {
        if self.push_to(seat, record)
            && let Some(peer) = self.peer_at(seat)
        {
            peer.unsure += 1;
        }
    }

    fn record_of<F: PerFamily>(&mut self, id: SessionId) -> Option<SessionRecord<F>> {
        let stamp = self.next_stamp::<F>(id)?;
        self.describe::<F>(id, stamp)
    }

    /// A session as `stamp` has it, or a copy.
    pub(super) fn describe<F: PerFamily>(
        &self,
        id: SessionId,
        stamp: Stamp,
    ) -> Option<SessionRecord<F>> {
        let names = self.snapshot.shared_names.as_ref()?;
        let table = F::table(&self.tables);
        let (session, cold) = (table.session(id)?, table.cold(id)?);
        let [original, reply] = &session.flows;
        let mut bits = 0;
        if original.flags & flags::ONE_WAY != 0 {
            bits |= session::ONE_WAY;
        }
        if original.flags & flags::CLAMP_MSS != 0 {
            bits |= session::CLAMP_MSS;
        }
        if is_mapped(session, cold) {
            bits |= session::MAPPED;
        }
        let announced = self.alg.told_of(session, self.now);
        bits |= announced.flags;
        Some(SessionRecord {
            stamp,
            identity: identity(names, session),
            new_addrs: original.new_addrs,
            new_ports: original.new_ports,
            reply_zone: names.zone(reply.zone),
            service: names.service(cold.service),
            server: names.server(cold.server),
            flags: bits,
            age: self.now.wrapping_sub(cold.created),
            progress: self.progress(session),
            shifts: announced.shifts,
        })
    }

    #[cold]
    fn tell_progress<F: PerFamily>(&mut self, id: SessionId) {
        let Some(stamp) = self.next_stamp::<F>(id) else {
            return;
        };
        let table = F::table(&self.tables);
        let (Some(session), Some(names)) = (table.session(id), &self.snapshot.shared_names) else {
            return;
        };
        let record = ChangeRecord {
            stamp,
            identity: identity(names, session),
            progress: self.progress(session),
        };
        let holders = self.holders::<F>(id);
        self.push_apart(holders, &F::change(record), None);
    }

    fn progress<F: PerFamily>(&self, session: &Session<F>) -> Progress {
        let [original, reply] = &session.flows;
        let limit = self
            .snapshot
            .timeout(original.timeouts, original.proto, original.state);
        Progress {
            state: original.state,
            timeout_left: limit.saturating_sub(session.idle(self.now)),
            sides: [side_of(original), side_of(reply)],
        }
    }

    /// Puts a record in the streams to all others. Where one stands alone nothing is told: that node
    /// will be told everything when it listens again.
    pub(super) fn push_record(&mut self, record: &Record) {
        for seat in self.seats() {
            self.push_to(seat, record);
        }
    }

    /// Puts a record in the stream to one node. False if it is not there.
    pub(super) fn push_to(&mut self, seat: Seat, record: &Record) -> bool {
        if !self.syncs() {
            return false;
        }
        let Some(peer) = self.peer_at(seat) else {
            return false;
        };
        match peer.push(record) {
            Pushed::Yes => self.counters.count(WorkerCounter::HaRecordsSent),
            Pushed::Alone => return false,
            Pushed::Lost => {
                self.counters.count(WorkerCounter::HaRecordsLost);
                return false;
            }
        }
        true
    }

    /// Another node.
    pub(super) fn peer_at(&mut self, seat: Seat) -> Option<&mut Peer> {
        self.ha.as_mut()?.peers.get_mut(usize::from(seat.0))
    }

    /// Goes on telling a node everything, if it is to be told.
    pub(super) fn bulk_some(&mut self, seat: Seat) {
        let syncs = self.syncs();
        let Some(peer) = self.peer_at(seat) else {
            return;
        };
        if peer.telling.rounds.is_done() || !syncs && !peer.telling.under_way {
            return;
        }
        let Some(mut lane) = peer.take_lane(0) else {
            return;
        };
        let mut rounds = std::mem::take(&mut peer.telling.rounds);
        let told = rounds.poll(&mut lane, SLICE, |cursor, scope| {
            self.next_told(seat, cursor, scope)
        });
        self.counters
            .add(WorkerCounter::HaRecordsSent, u64::from(told));
        let Some(peer) = self.peer_at(seat) else {
            return;
        };
        let telling = &mut peer.telling;
        if telling.under_way && rounds.is_done() && lane.is_open() {
            (telling.under_way, telling.complete) = (false, true);
        }
        telling.rounds = rounds;
        peer.put_lane(0, lane);
    }

    /// What is at a place of what there is to tell: a kind in the upper half of the cursor, a number
    /// in the lower.
    fn next_told(&mut self, seat: Seat, cursor: &mut u64, scope: Scope) -> Next {
        let (kind, at) = (*cursor >> 32, *cursor as u32);
        let next = match kind {
            0 => self.told_at::<V4>(seat, at, scope),
            1 => self.told_at::<V6>(seat, at, scope),
            2 => self.client_at(at, scope),
            _ => self.mapping_at(at, scope),
        };
        match next {
            Next::End if kind + 1 < KINDS => {
                *cursor = (kind + 1) << 32;
                Next::Nothing
            }
            next => {
                *cursor += 1;
                next
            }
        }
    }

    fn told_at<F: PerFamily>(&mut self, seat: Seat, at: u32, scope: Scope) -> Next {
        let table = F::table(&self.tables);
        if at as usize >= table.high_water() || !self.syncs() {
            return Next::End;
        }
        let id = SessionId(at);
        let Some(session) = table.session(id) else {
            return Next::Nothing;
        };
        if !scope.has(place_of(&session.flows[0])) {
            return Next::Nothing;
        }
        // Left by a node that is no more; who has it now is told.
        let is_orphan = session.is_replica();
        if is_orphan && !self.take_over_orphan::<F>(id) {
            return Next::Nothing;
        }
        let version = F::table(&self.tables).version(id);
        let is_known = !is_orphan && version != 0 && self.is_told_of::<F>(id);
        let record = match is_known {
            // As the others know it.
            true => self.describe::<F>(id, self.stamp(version)),
            false => self.record_of::<F>(id),
        };
        let Some(record) = record else {
            return Next::Nothing;
        };
        if !is_known {
            self.push_birth::<F>(id, &record, Some(seat));
        }
        if !self.holds::<F>(id, seat) {
            return Next::Tell(F::pointer(PointerRecord::to(&record)));
        }
        if let Some(peer) = self.peer_at(seat) {
            peer.telling.sessions += 1;
        }
        Next::Tell(F::session(record))
    }

    /// Whether others are told of sessions of its service.
    fn is_told_of<F: PerFamily>(&self, id: SessionId) -> bool {
        let names = self.snapshot.shared_names.as_ref();
        let cold = F::table(&self.tables).cold(id);
        let mode = names
            .zip(cold)
            .map(|(names, cold)| names.mode(cold.service));
        mode.is_some_and(|mode| mode != SyncMode::None)
    }

    fn syncs(&self) -> bool {
        self.ha.as_ref().is_some_and(|ha| ha.parts.sync)
    }
}

fn identity<F: PerFamily>(names: &SharedNames, session: &Session<F>) -> Identity<F> {
    let [original, _] = &session.flows;
    Identity {
        addrs: original.addrs,
        ports: original.ports,
        proto: original.proto,
        zone: names.zone(original.zone),
    }
}

/// Bits of a flow and of a record's side that mean the same.
pub(super) const SIDE_BITS: [(u16, u8); 5] = [
    (flags::TCP_KNOWN, side::KNOWN),
    (flags::SCALE_KNOWN, side::SCALE_KNOWN),
    (flags::WINDOW_FROM_SYN, side::WINDOW_FROM_SYN),
    (flags::ADOPTED, side::ADOPTED),
    (flags::SEEN, side::SEEN),
];

fn side_of<F: PerFamily>(flow: &Flow<F>) -> Side {
    if flow.proto != proto::TCP {
        return Side::default();
    }
    let bits = SIDE_BITS.iter();
    let bits = bits.filter(|(ours, _)| flow.flags & ours != 0);
    if flow.flags & flags::TCP_KNOWN == 0 {
        // There may be something else in place of the numbers (`inline`).
        return Side {
            flags: bits.fold(0, |all, (_, theirs)| all | theirs),
            ..Side::default()
        };
    }
    Side {
        end: flow.tcp_end,
        acked: flow.tcp_acked,
        max_window: flow.tcp_max_win,
        scale: flow.tcp_scale,
        flags: bits.fold(0, |all, (_, theirs)| all | theirs),
    }
}
