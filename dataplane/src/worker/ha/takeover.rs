//! Sessions of a node that is dead, taken over with the first packet that meets them: by the node that
//! they fall to among those that live, be it another one than the packet came to.
//!
//! A replica knows how its session stood when it was told of it last, and that may be long ago: data
//! and acknowledgements are not told of. What TCP's numbers are now the packet says; until they have
//! been seen from both sides they are judged as those of a connection that was taken up in the
//! middle.

use sluice_ha::correct::Turn;
use sluice_ha::record::{SessionRecord, Stamp};
use sluice_wire::parse::{Kind, Parsed};
use sluice_wire::{Key, proto};

use super::super::burst::Packet;
use super::super::tables::PerFamily;
use super::super::tally::Fate;
use super::super::{Worker, hit};
use super::mapped::heir_hash;
use super::{Correction, Errand, Origin};
use crate::handoff::{Corrected, Seat};
use crate::io::{Frame, Io};
use crate::published::WorkerCounter;
use crate::session::flow::{Session, UNCHECKED, flags};
use crate::session::table::{Direction, FlowRef, SessionId};
use crate::snapshot::ServerId;
use crate::tcp;

/// In place of a node's number: it is not known which node owned a session.
const NOBODY: u8 = 0x7f;

/// What comes of a packet that met a replica.
pub(in super::super) enum Met<P> {
    /// Another node has it.
    Gone,
    /// The session is ours now.
    Ours(P),
    /// The session is over.
    Over(P),
}

/// Whose turn it is with a packet that met a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Whose {
    /// Its owner's.
    Owner(Errand),
    /// Its owner is dead, or worse off, and another node takes it over.
    Heir(Errand),
    /// Ours: from now on the session is.
    Ours,
}

/// Whether a packet opens a TCP connection.
pub(in super::super) fn opens(parsed: &Parsed) -> bool {
    parsed.kind == Kind::Session && tcp::opening(parsed.tcp_flags) == tcp::Opening::Syn
}

impl<I: Io> Worker<I> {
    /// A packet met a replica: its owner's, if that lives and is fit to keep it, or else that of the node
    /// that takes over. So is one whose owner does not know it, and sent the packet here.
    pub(in super::super) fn meet_replica<F: PerFamily>(
        &mut self,
        packet: Packet<I::Frame>,
        id: SessionId,
    ) -> Met<Packet<I::Frame>> {
        let opens = opens(&packet.parsed);
        let packet = match self.whose::<F>(id, packet.corrected, opens) {
            Whose::Ours => Some(packet),
            Whose::Owner(errand) => self.correct(packet, errand),
            Whose::Heir(errand) => {
                self.leave_to::<F>(id, errand.to);
                self.correct(packet, errand)
            }
        };
        let Some(packet) = packet else {
            return Met::Gone;
        };
        if opens {
            self.note_floor::<F>(id);
        }
        if self.take_over::<F>(id) {
            self.tell_birth::<F>(id);
            Met::Ours(packet)
        } else {
            Met::Over(packet)
        }
    }

    /// Whose turn it is with a packet that met a replica; `opens` as [`opens`] says.
    pub(in super::super) fn whose<F: PerFamily>(
        &self,
        id: SessionId,
        corrected: Corrected,
        opens: bool,
    ) -> Whose {
        let table = F::table(&self.tables);
        let (Some(ha), Some(session), Some(cold)) = (&self.ha, table.session(id), table.cold(id))
        else {
            return Whose::Ours;
        };
        let errand = |to| Errand {
            why: Correction::Replica,
            to,
            turn: Turn::Owner,
        };
        let owner = ha.keeper_of(Origin::unpack(cold.extra));
        match (owner, corrected.from()) {
            // What it opened now might not be known here when it is gone.
            (Some(owner), None) if opens && session.is_over() && !ha.stays(owner) => Whose::Ours,
            (Some(owner), None) => Whose::Owner(errand(owner)),
            // Whoever sent it knew less, unless the owner did.
            (Some(owner), Some((from, Turn::Owner | Turn::Asked)))
                if self.node_at(owner) != Some(from) =>
            {
                Whose::Owner(errand(owner))
            }
            (None, None) => {
                let heir = ha.heir(heir_hash(session, cold));
                heir.map_or(Whose::Ours, |heir| Whose::Heir(errand(heir)))
            }
            _ => Whose::Ours,
        }
    }

    /// Tells a node what is known of a session that it is to take over: it may not have been told.
    fn leave_to<F: PerFamily>(&mut self, id: SessionId, seat: Seat) {
        let table = F::table(&self.tables);
        let (Some(ha), Some(cold)) = (&self.ha, table.cold(id)) else {
            return;
        };
        let owner = ha.teller_id(Origin::unpack(cold.extra));
        let stamp = Stamp {
            version: table.version(id),
            owner: owner.unwrap_or(NOBODY),
        };
        if let Some(record) = self.describe::<F>(id, stamp) {
            self.push_to(seat, &F::session(record));
        }
    }

    /// Another node has a copy of a session, does not hear its owner, and leaves it to this node.
    pub(super) fn session_left<F: PerFamily>(
        &mut self,
        key: Key<F::Addrs>,
        told: &SessionRecord<F>,
        from: Origin,
    ) {
        let owner = told.stamp.owner;
        if self.ha.as_ref().is_none_or(|ha| ha.linked.has(owner)) {
            // It tells of it by itself, and has the packets.
            return;
        }
        let table = F::table(&self.tables);
        let id = match table.lookup(&key, table.hash(&key)) {
            Some(at) if at.direction() == Direction::Original => at.session(),
            Some(_) => return,
            None => {
                let orphan = Origin {
                    mapped: from.mapped,
                    ..Origin::default()
                };
                match self.insert_replica::<F>(&key, told, orphan) {
                    Ok(Some(id)) => id,
                    Ok(None) => return,
                    Err(_) => return self.counters.count(WorkerCounter::HaRecordsLost),
                }
            }
        };
        let table = F::table(&self.tables);
        let (Some(ha), Some(session), Some(cold)) = (&self.ha, table.session(id), table.cold(id))
        else {
            return;
        };
        // Be it that we would have left it to another node. Who leaves it does not own it any more.
        let owner = ha.owner_of(Origin::unpack(cold.extra));
        let is_left = owner.is_none() || owner == ha.teller_of(from);
        if is_left && session.is_replica() && self.take_over::<F>(id) {
            self.tell_birth::<F>(id);
        }
    }

    /// Makes a replica a session of this node. False, and it is gone, if today's configuration has
    /// no place for it.
    fn take_over<F: PerFamily>(&mut self, id: SessionId) -> bool {
        let takeover = Stamp::TAKEOVER;
        let Some(mapping) = self.hold_mapping_of::<F>(id) else {
            self.remove_replica::<F>(id);
            return false;
        };
        if !self.renew::<F>(id) {
            self.release_mapping_of::<F>(id, mapping);
            self.remove_replica::<F>(id);
            return false;
        }
        let now = self.now;
        let table = F::table_mut(&mut self.tables);
        let version = table.version(id);
        let Some(cold) = table.cold_mut(id) else {
            return false;
        };
        let origin = std::mem::replace(&mut cold.extra, mapping);
        let Some(session) = table.session(id).copied() else {
            return false;
        };
        self.replica_gone::<F>(&session.flows[0], version, origin);
        let table = F::table_mut(&mut self.tables);
        let Some(cold) = table.cold(id) else {
            return false;
        };
        let (service, server) = (cold.service, cold.server);
        let version = version.wrapping_add(takeover);
        table.set_version(id, version);
        if let Some((original, reply)) = table.pair_mut(id.flow(Direction::Original)) {
            for flow in [original, reply] {
                flow.flags &= !flags::REPLICA;
                flow.epoch = UNCHECKED;
                flow.seen = now;
            }
        }
        self.choose_holders::<F>(id);
        let holders = self.holders::<F>(id);
        if let Some(ha) = &mut self.ha {
            ha.count_own(&session, holders, 0, version);
        }
        let table = F::table(&self.tables);
        let over = table.session(id).is_some_and(Session::is_over);
        if server != ServerId::NONE && !over {
            self.balancer.opened(server);
        }
        self.tally.session(service, server, Fate::Opened);
        self.counters.count(WorkerCounter::SessionsTakenOver);
        self.reschedule::<F>(id);
        true
    }

    /// Holds the mapping of a replica: its number, 0 if it has none. `None` without room for it.
    fn hold_mapping_of<F: PerFamily>(&mut self, id: SessionId) -> Option<u32> {
        let table = F::table(&self.tables);
        let original = &table.session(id)?.flows[0];
        if !Origin::unpack(table.cold(id)?.extra).mapped {
            return Some(0);
        }
        let (arrives, leaves) = (original.arrives(), original.leaves());
        self.hold_for(&arrives, &leaves)
    }

    fn release_mapping_of<F: PerFamily>(&mut self, id: SessionId, mapping: u32) {
        if let Some(session) = F::table(&self.tables).session(id) {
            let [original, _] = &session.flows;
            let (arrives, reply) = (original.arrives(), original.leaves().reverse());
            self.release_mapping(mapping, &arrives, &reply);
        }
    }

    /// Takes a replica over that no living node owns, if it falls to this one. The node that it falls to
    /// otherwise is told of it, if there is room: it may not know it.
    pub(super) fn take_over_orphan<F: PerFamily>(&mut self, id: SessionId) -> bool {
        let origin = F::table(&self.tables).cold(id).map(|cold| cold.extra);
        let ha = self.ha.as_ref().zip(origin);
        if ha.is_some_and(|(ha, origin)| ha.owner_of(Origin::unpack(origin)).is_some()) {
            return false;
        }
        match self.whose::<F>(id, Corrected::NO, false) {
            Whose::Ours => self.take_over::<F>(id),
            Whose::Owner(_) => false,
            Whose::Heir(errand) => {
                let peer = self.peer_at(errand.to);
                if peer.is_some_and(|peer| peer.has_room()) {
                    self.leave_to::<F>(id, errand.to);
                }
                false
            }
        }
    }

    /// A packet met a session that was taken over, and of which none was seen since.
    pub(in super::super) fn hit_unchecked<F: PerFamily>(
        &mut self,
        packet: Packet<I::Frame>,
        at: FlowRef,
    ) {
        let original = F::table(&self.tables).flow(at.session().flow(Direction::Original));
        let key = original.map(|flow| flow.key());
        let mut epoch = self.snapshot.epoch;
        if let Some(key) = key {
            epoch = self.alg.epoch::<F>(&key, epoch, self.now);
        }
        let table = F::table_mut(&mut self.tables);
        let (mut learned, mut moved) = (true, false);
        if let Some((this, other)) = table.pair_mut(at) {
            (this.epoch, other.epoch) = (epoch, epoch);
            let before = this.state;
            if this.proto == proto::TCP {
                let whole = packet.parsed.kind == Kind::Session;
                let segment = whole.then(|| hit::segment(packet.frame.bytes(), &packet.parsed));
                let segment = segment.flatten();
                learned = segment.is_some_and(|segment| tcp::resume(this, other, &segment));
                moved = this.state != before;
            }
        }
        if moved {
            // What opened it was not seen here.
            self.moved::<F>(at.session());
        }
        self.hit::<F>(packet, at);
        if !learned {
            self.leave_unchecked::<F>(at.session());
        }
    }

    /// Marks a session that was brought under the current snapshot as one whose next packet is to be
    /// looked at closely.
    pub(in super::super) fn leave_unchecked<F: PerFamily>(&mut self, id: SessionId) {
        let table = F::table_mut(&mut self.tables);
        if let Some((original, reply)) = table.pair_mut(id.flow(Direction::Original)) {
            original.epoch = UNCHECKED;
            reply.epoch = UNCHECKED;
        }
    }

    /// The time of a replica is over, and its owner has not said otherwise.
    pub(in super::super) fn settle_replica<F: PerFamily>(&mut self, id: SessionId) {
        self.remove_replica::<F>(id);
    }
}
