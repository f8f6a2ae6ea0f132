//! Opening a session: the one place where everything about it is decided.

use std::net::{IpAddr, Ipv4Addr};

use sluice_wire::{Key, Tuple, proto};

use super::burst::Packet;
use super::plan::{self, Destination, Outbound, Way};
use super::source::refused;
use super::tables::PerFamily;
use super::tally::Fate;
use super::{Worker, hit};
use crate::counters::DropReason;
use crate::handoff::{Message, Why};
use crate::io::{Frame, Io};
use crate::nat::mapping::MappingId;
use crate::published::WorkerCounter;
use crate::session::flow::{PathId, flags};
use crate::session::table::{Direction, FlowRef, InsertError, SessionId};
use crate::snapshot::{LbMode, Local, PortId, ServerId, is_link_local};
use crate::{lb, rewrite, tcp};

/// Why no session was opened here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// Another worker has to decide.
    PassTo(u16),
    /// It may not, or cannot, be opened.
    Drop(DropReason),
}

impl From<DropReason> for Refusal {
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

/// What a new session will be, once nothing can refuse it but lack of room.
pub(super) struct Blueprint {
    /// The tuple that the opener's packets leave with.
    pub(super) leaves: Tuple,
    /// Towards the destination.
    pub(super) forth: Way,
    /// Back to the opener.
    back: Way,
    pub(super) outbound: Outbound,
    pub(super) server: ServerId,
    one_way: bool,
    /// Endpoint-independent mapping, 0 for none.
    pub(super) mapping: u32,
}

impl<I: Io> Worker<I> {
    /// Opens the session that was designed for a packet, and gives its original flow.
    pub(super) fn open<F: PerFamily>(
        &mut self,
        packet: &Packet<I::Frame>,
        key: &Key<F::Addrs>,
        tuple: &Tuple,
        mut blueprint: Blueprint,
    ) -> Result<FlowRef, Refusal> {
        let translated = self.translate_source::<F>(packet, tuple, &mut blueprint);
        let id = translated.and_then(|()| self.build::<F>(packet, key, tuple, &blueprint));
        let id = id.inspect_err(|_| self.abandon(tuple, &blueprint))?;
        let Blueprint {
            outbound, server, ..
        } = blueprint;
        if server != ServerId::NONE {
            self.balancer.opened(server);
        }
        self.tally.session(outbound.service, server, Fate::Opened);
        self.counters.count(WorkerCounter::SessionsOpened);
        self.tell_birth::<F>(id);
        Ok(id.flow(Direction::Original))
    }

    /// Decides everything about the session but its source, and reserves nothing but a mapping.
    pub(super) fn design<F: PerFamily>(
        &mut self,
        packet: &Packet<I::Frame>,
        zone: u8,
        tuple: &Tuple,
    ) -> Result<Blueprint, Refusal> {
        let mut inbound = plan::inbound(&self.snapshot, tuple, zone);
        let mut target = *tuple;
        let (mut server, mut one_way, mut mapping) = (ServerId::NONE, false, 0);
        let mut via = tuple.dst;
        match inbound.destination {
            Destination::Keep => {
                if let Some(reason) = plan::unserved(&self.snapshot, tuple) {
                    let inner = self.mapped_endpoint(packet, tuple)?.ok_or(reason)?;
                    (target.dst, target.dport, mapping) = inner;
                    via = target.dst;
                    inbound.destination = Destination::Translate(target.dst, target.dport);
                    inbound.published = true;
                }
            }
            Destination::Translate(address, port) => {
                (target.dst, target.dport) = (address, port);
                via = address;
            }
            Destination::VirtualServer(index) => {
                let missing = DropReason::NoRealServer;
                let snapshot = &self.snapshot;
                let vs = snapshot
                    .virtual_servers
                    .get(usize::from(index))
                    .ok_or(missing)?;
                if let Some(hash) = self.balancer.affinity(vs, tuple.src) {
                    self.decided_here(packet, hash)?;
                }
                server = self.balancer.pick(vs, tuple, self.now).ok_or_else(|| {
                    self.tally
                        .session(vs.service, ServerId::NONE, Fate::Refused);
                    missing
                })?;
                let real = snapshot
                    .servers
                    .get(usize::from(server.0))
                    .and_then(Option::as_ref);
                let real = real.ok_or(missing)?;
                target = lb::translate::to_server(vs, real, tuple, None);
                via = real.address;
                one_way = vs.mode == LbMode::Dsr;
                if vs.persistence.is_some() {
                    self.tell_client(index, tuple.src, server);
                }
            }
        }
        if let Some(Local::Own(_)) = self.snapshot.local.get(tuple.src) {
            return Err(DropReason::MartianSource.into());
        }
        if !may_be_forwarded(&target) {
            return Err(DropReason::NoRoute.into());
        }
        let forth = plan::way(&self.snapshot, via)?;
        let back = plan::way(&self.snapshot, tuple.src)?;
        if back.zone != zone {
            return Err(DropReason::Spoofed.into());
        }
        let outbound = plan::outbound(
            &self.snapshot,
            &inbound,
            tuple,
            &target,
            zone,
            [&forth, &back],
        );
        let outbound = outbound.inspect_err(|_| {
            let decision = self.snapshot.firewall.decide(zone, forth.zone, tuple);
            self.tally
                .session(decision.service, ServerId::NONE, Fate::Refused);
        })?;
        if let Some(id) = MappingId::new(mapping) {
            self.mappings.hold(id, tuple.src).map_err(refused)?;
        }
        Ok(Blueprint {
            leaves: target,
            forth,
            back,
            outbound,
            server,
            one_way,
            mapping,
        })
    }

    /// Errs unless this worker is the one that decides for all that hash alike.
    fn decided_here(&self, packet: &Packet<I::Frame>, hash: u64) -> Result<(), Refusal> {
        let decider = (hash % u64::from(self.rings.workers())) as u16;
        if decider == self.id || packet.why >= Why::Affinity {
            return Ok(());
        }
        Err(Refusal::PassTo(decider))
    }

    /// Makes the session as designed. Nothing is left behind if there is no room for it.
    fn build<F: PerFamily>(
        &mut self,
        packet: &Packet<I::Frame>,
        key: &Key<F::Addrs>,
        tuple: &Tuple,
        blueprint: &Blueprint,
    ) -> Result<SessionId, Refusal> {
        let Blueprint {
            leaves,
            forth,
            back,
            outbound,
            server,
            one_way,
            mapping,
        } = blueprint;
        let reply_key = Key::new::<F>(&leaves.reverse(), forth.zone);
        let forth_path = self.acquire_path(forth, outbound.service, *server, false)?;
        let back_path = self.acquire_path(back, outbound.service, *server, true);
        let back_path = back_path.inspect_err(|_| self.release_path(forth_path))?;
        let limit = self.snapshot.timeout(outbound.timeouts, tuple.proto, 0);
        let table = F::table_mut(&mut self.tables);
        let inserted =
            table
                .insert(key, &reply_key, self.now, limit)
                .map_err(|error| match error {
                    InsertError::Full => DropReason::SessionTableFull,
                    InsertError::Clash => DropReason::TupleClash,
                });
        let id = inserted.inspect_err(|_| {
            self.release_path(forth_path);
            self.release_path(back_path);
        })?;
        let table = F::table_mut(&mut self.tables);
        if let Some(cold) = table.cold_mut(id) {
            cold.service = outbound.service;
            cold.server = *server;
            cold.extra = *mapping;
        }
        if let Some((original, reply)) = table.pair_mut(id.flow(Direction::Original)) {
            rewrite::compile(original, leaves);
            rewrite::compile(reply, &tuple.reverse());
            for (flow, path) in [(&mut *original, forth_path), (&mut *reply, back_path)] {
                flow.path = path;
                flow.epoch = self.snapshot.epoch;
                flow.timeouts = outbound.timeouts;
                flow.flags |= if *one_way { flags::ONE_WAY } else { 0 };
                flow.flags |= if outbound.clamp_mss {
                    flags::CLAMP_MSS
                } else {
                    0
                };
            }
            if tuple.proto == proto::TCP
                && let Some(segment) = hit::segment(packet.frame.bytes(), &packet.parsed)
            {
                tcp::open(original, reply, &segment);
            }
        }
        self.reschedule::<F>(id);
        self.register::<F>(id, [(key, packet.port), (&reply_key, forth.hop.port)])
            .inspect_err(|_| self.undo::<F>(id, [forth_path, back_path]))?;
        Ok(id)
    }

    /// Takes a session out again that could not be made known.
    fn undo<F: PerFamily>(&mut self, id: SessionId, paths: [PathId; 2]) {
        if let Some((session, _)) = F::table_mut(&mut self.tables).remove(id) {
            self.unregister::<F>(&session);
        }
        for path in paths {
            self.release_path(path);
        }
    }

    /// Tells the home workers of both tuples that their packets are ours, where it is not us.
    pub(super) fn register<F: PerFamily>(
        &mut self,
        id: SessionId,
        keys: [(&Key<F::Addrs>, PortId); 2],
    ) -> Result<(), DropReason> {
        if self.rings.workers() == 1 {
            return Ok(());
        }
        let directions = [Direction::Original, Direction::Reply];
        for ((key, port), direction) in keys.into_iter().zip(directions) {
            let home = self.home_of::<F>(key, port);
            if home == self.id {
                continue;
            }
            let message = Message::Register {
                key: F::any(*key),
                owner: self.id,
            };
            self.rings
                .push(home, message)
                .map_err(|_| DropReason::HandoffFull)?;
            if let Some(flow) = F::table_mut(&mut self.tables).flow_mut(id.flow(direction)) {
                flow.register_with(home);
            }
        }
        Ok(())
    }
}

/// Addresses that no router passes on (RFC 1122 section 3.2.1.3, RFC 3927 section 7, RFC 4291 section
/// 2.5.6).
fn may_be_forwarded(tuple: &Tuple) -> bool {
    let local = |address: IpAddr| is_link_local(address);
    let group = tuple.dst.is_multicast() || tuple.dst == IpAddr::V4(Ipv4Addr::BROADCAST);
    !group && !local(tuple.src) && !local(tuple.dst)
}
