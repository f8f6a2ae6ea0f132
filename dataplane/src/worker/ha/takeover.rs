//! Sessions of a peer that is dead, taken over by the first packet that meets them.
//!
//! A replica knows how its session stood when it was told of it last, and that may be long ago: data
//! and acknowledgements are not told of. What TCP's numbers are now the packet says; until they have
//! been seen from both sides they are judged as those of a connection that was taken up in the
//! middle.

use sluice_wire::parse::Kind;
use sluice_wire::proto;

use super::super::burst::Packet;
use super::super::tables::PerFamily;
use super::super::tally::Fate;
use super::super::{Worker, hit};
use super::digest::place_of;
use super::{Correction, Origin};
use crate::io::{Frame, Io};
use crate::published::WorkerCounter;
use crate::session::flow::{Session, UNCHECKED, flags};
use crate::session::table::{Direction, FlowRef, SessionId};
use crate::snapshot::ServerId;
use crate::tcp;

/// What comes of a packet that met a replica.
pub(in super::super) enum Met<P> {
    /// The peer has it.
    Gone,
    /// The session is ours now.
    Ours(P),
    /// The session is over.
    Over(P),
}

impl<I: Io> Worker<I> {
    /// A packet met a replica: its owner's, if that lives and is fit to keep it, and otherwise ours from
    /// now on. So is one whose owner does not know it, and sent the packet here.
    pub(in super::super) fn meet_replica<F: PerFamily>(
        &mut self,
        packet: Packet<I::Frame>,
        id: SessionId,
    ) -> Met<Packet<I::Frame>> {
        let packet = if self.is_kept_by_peer::<F>(id) {
            match self.correct(packet, Correction::Replica) {
                Some(packet) => packet,
                None => return Met::Gone,
            }
        } else {
            packet
        };
        if self.take_over::<F>(id) {
            self.tell_birth::<F>(id);
            Met::Ours(packet)
        } else {
            Met::Over(packet)
        }
    }

    /// Whether packets of a replica are the peer's.
    pub(in super::super) fn is_kept_by_peer<F: PerFamily>(&self, id: SessionId) -> bool {
        let ha = self.ha.as_ref().zip(self.origin_of::<F>(id));
        ha.is_some_and(|(ha, origin)| ha.is_kept(origin))
    }

    fn origin_of<F: PerFamily>(&self, id: SessionId) -> Option<Origin> {
        let cold = F::table(&self.tables).cold(id);
        cold.map(|cold| Origin::unpack(cold.extra))
    }

    /// Makes a replica a session of this node. False, and it is gone, if today's configuration has
    /// no place for it.
    fn take_over<F: PerFamily>(&mut self, id: SessionId) -> bool {
        let takeover = sluice_ha::record::Stamp::TAKEOVER;
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
        let Some(original) = table.session(id).map(|session| session.flows[0]) else {
            return false;
        };
        self.replica_gone::<F>(&original, version, origin);
        let table = F::table_mut(&mut self.tables);
        let Some(cold) = table.cold(id) else {
            return false;
        };
        let (service, server) = (cold.service, cold.server);
        let version = version.wrapping_add(takeover);
        table.set_version(id, version);
        if let Some(ha) = &mut self.ha {
            ha.count_own(place_of(&original), 0, version);
        }
        if let Some((original, reply)) = table.pair_mut(id.flow(Direction::Original)) {
            for flow in [original, reply] {
                flow.flags &= !flags::REPLICA;
                flow.epoch = UNCHECKED;
                flow.seen = now;
            }
        }
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

    /// Takes a replica over that no living peer owns.
    pub(super) fn take_over_orphan<F: PerFamily>(&mut self, id: SessionId) -> bool {
        let ha = self.ha.as_ref().zip(self.origin_of::<F>(id));
        let owned = ha.is_some_and(|(ha, origin)| ha.is_owned(origin));
        !owned && self.take_over::<F>(id)
    }

    /// A packet met a session that was taken over, and of which none was seen since.
    pub(in super::super) fn hit_unchecked<F: PerFamily>(
        &mut self,
        packet: Packet<I::Frame>,
        at: FlowRef,
    ) {
        let epoch = self.snapshot.epoch;
        let table = F::table_mut(&mut self.tables);
        let mut learned = true;
        if let Some((this, other)) = table.pair_mut(at) {
            (this.epoch, other.epoch) = (epoch, epoch);
            if this.proto == proto::TCP {
                let whole = packet.parsed.kind == Kind::Session;
                let segment = whole.then(|| hit::segment(packet.frame.bytes(), &packet.parsed));
                let segment = segment.flatten();
                learned = segment.is_some_and(|segment| tcp::resume(this, other, &segment));
            }
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
