//! What the peer is told of our sessions: each birth, change of state and death in the burst where it
//! happens, and everything at once when it was started anew or missed something.

use sluice_ha::bulk::{self, Next, Scope};
use sluice_ha::record::{
    ChangeRecord, DeathRecord, Identity, Progress, Record, SessionRecord, Side, Stamp, session,
    side,
};
use sluice_wire::{Family, V4, V6, proto};

use super::super::Worker;
use super::super::tables::PerFamily;
use super::digest::place_of;
use super::is_mapped;
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
    /// Sessions told meanwhile.
    sessions: u64,
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

    /// A session has ended.
    #[inline]
    pub(in super::super) fn tell_death<F: PerFamily>(
        &mut self,
        session: &Session<F>,
        version: u32,
    ) {
        if version == 0 {
            // Nobody was told of it.
            return;
        }
        if let Some(ha) = &mut self.ha {
            ha.count_own(place_of(&session.flows[0]), version, 0);
            let Some(names) = &self.snapshot.shared_names else {
                return;
            };
            let record = DeathRecord {
                stamp: self.stamp(version.wrapping_add(1)),
                identity: identity(names, session),
            };
            self.push_record(&F::death(record));
        }
    }

    fn stamp(&self, version: u32) -> Stamp {
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
        let place = place_of(&table.session(id)?.flows[0]);
        let before = table.version(id);
        // Should it be told of no more the peer forgets it in time, and the digest must not wait.
        let version = if is_told {
            before.wrapping_add(1).max(1)
        } else {
            0
        };
        table.set_version(id, version);
        if let Some(ha) = &mut self.ha {
            ha.count_own(place, before, version);
        }
        is_told.then_some(Stamp { version, owner })
    }

    #[cold]
    fn tell_whole<F: PerFamily>(&mut self, id: SessionId) {
        if let Some(record) = self.record_of::<F>(id)
            && self.push_record(&F::session(record))
            && let Some(ha) = &mut self.ha
        {
            ha.unsure += 1;
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
        self.push_record(&F::change(record));
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

    /// Puts a record in this worker's own lane. While that stands alone nothing is told: the peer
    /// will be told everything when it listens again.
    pub(super) fn push_record(&mut self, record: &Record) -> bool {
        let Some(ha) = self.ha.as_mut().filter(|ha| ha.parts.sync) else {
            return false;
        };
        let Some(lane) = ha.lanes.first_mut().and_then(Option::as_mut) else {
            self.counters.count(WorkerCounter::HaRecordsLost);
            return false;
        };
        if !lane.is_open() {
            return false;
        }
        ha.busy = true;
        if lane.push(record).is_err() {
            self.counters.count(WorkerCounter::HaRecordsLost);
            return false;
        }
        self.counters.count(WorkerCounter::HaRecordsSent);
        true
    }

    /// Goes on telling everything, or what the peer asked for, as far as the lane has room.
    pub(super) fn bulk_some(&mut self) {
        let Some(ha) = &mut self.ha else { return };
        if ha.telling.rounds.is_done() || !ha.parts.sync && !ha.telling.under_way {
            return;
        }
        let Some(mut lane) = ha.lanes.first_mut().and_then(Option::take) else {
            return;
        };
        ha.busy = true;
        let mut rounds = std::mem::take(&mut ha.telling.rounds);
        let told = rounds.poll(&mut lane, SLICE, |cursor, scope| {
            self.next_told(cursor, scope)
        });
        self.counters
            .add(WorkerCounter::HaRecordsSent, u64::from(told));
        let Some(ha) = &mut self.ha else { return };
        let telling = &mut ha.telling;
        telling.sessions += u64::from(told);
        if telling.under_way && rounds.is_done() && lane.is_open() {
            (telling.under_way, telling.complete) = (false, true);
        }
        telling.rounds = rounds;
        ha.lanes[0] = Some(lane);
    }

    /// What is at a place of what there is to tell: a kind in the upper half of the cursor, a number
    /// in the lower.
    fn next_told(&mut self, cursor: &mut u64, scope: Scope) -> Next {
        let (kind, at) = (*cursor >> 32, *cursor as u32);
        let next = match kind {
            0 => self.told_at::<V4>(at, scope),
            1 => self.told_at::<V6>(at, scope),
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

    fn told_at<F: PerFamily>(&mut self, at: u32, scope: Scope) -> Next {
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
        // Left by a peer that is no more; who has it now is told.
        if session.is_replica() && !self.take_over_orphan::<F>(id) {
            return Next::Nothing;
        }
        self.record_of::<F>(id)
            .map_or(Next::Nothing, |record| Next::Tell(F::session(record)))
    }

    fn syncs(&self) -> bool {
        self.ha.as_ref().is_some_and(|ha| ha.parts.sync)
    }

    /// Sessions of ours that the peer may not know: lost if this node died now.
    pub(in super::super) fn untold(&mut self) -> u64 {
        let all = (V4::table(&self.tables).len() + V6::table(&self.tables).len()) as u64;
        let Some(ha) = &mut self.ha else { return 0 };
        let own = all.saturating_sub(ha.replicas);
        let lane = ha.lanes.first().and_then(Option::as_ref);
        if !lane.is_some_and(|lane| lane.is_open()) || !ha.parts.sync || ha.peer.is_none() {
            return own;
        }
        if lane.is_some_and(|lane| lane.lag() == 0) {
            ha.unsure = 0;
        }
        if ha.telling.complete {
            ha.unsure.min(own)
        } else {
            own.saturating_sub(ha.telling.sessions)
        }
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
    Side {
        end: flow.tcp_end,
        acked: flow.tcp_acked,
        max_window: flow.tcp_max_win,
        scale: flow.tcp_scale,
        flags: bits.fold(0, |all, (_, theirs)| all | theirs),
    }
}
