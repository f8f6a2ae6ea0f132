//! Opening a session: the one place where everything about it is decided.

use std::net::{IpAddr, Ipv4Addr};

use sluice_wire::{Key, Tuple, proto};

use super::burst::Packet;
use super::choose::choose;
use super::ha::Errand;
use super::http_redirect::may_be_redirected;
use super::plan::{self, Destination, Outbound, Way};
use super::source::refused;
use super::tables::PerFamily;
use super::tally::Fate;
use super::{Worker, hit};
use crate::counters::DropReason;
use crate::handoff::{Message, Why};
use crate::io::{Frame, Io};
use crate::nat::lease::Prepared;
use crate::nat::mapping::MappingId;
use crate::published::WorkerCounter;
use crate::session::flow::{PathId, flags};
use crate::session::table::{Direction, FlowRef, InsertError, SessionId};
use crate::snapshot::{LbMode, Local, PortId, ServerId, ServiceId, is_link_local};
use crate::{lb, rewrite, tcp};

/// Why no session was opened here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// Another worker has to decide.
    PassTo(u16),
    /// Another appliance has to.
    Correct(Errand),
    /// This virtual server (index into the snapshot) redirects the client.
    Redirect(u16),
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
    pub(super) back: Way,
    pub(super) outbound: Outbound,
    pub(super) server: ServerId,
    one_way: bool,
    /// Endpoint-independent mapping, 0 for none.
    pub(super) mapping: u32,
    /// What is known of the search for a lease.
    pub(super) prepared: Option<Prepared>,
    /// The hash of the replies' key, if it was looked up and no flow has it.
    pub(super) reply_hash: Option<u64>,
}

impl Blueprint {
    /// A session that another one announced: to this tuple, by these ways there and back.
    pub(super) fn related(
        leaves: Tuple,
        (forth, back): (Way, Way),
        outbound: Outbound,
        server: ServerId,
    ) -> Self {
        Self {
            leaves,
            forth,
            back,
            outbound,
            server,
            one_way: false,
            mapping: 0,
            prepared: None,
            reply_hash: None,
        }
    }
}

/// Where a first packet wants to go.
pub(super) struct Aim {
    pub(super) inbound: plan::Inbound,
    /// The packet's tuple, destination translated; a virtual server's is not yet.
    pub(super) target: Tuple,
    /// The address to route to.
    pub(super) via: IpAddr,
    /// Endpoint-independent mapping that lets it in, 0 for none.
    pub(super) mapping: u32,
    /// The virtual server (index into the snapshot) that has to choose.
    pub(super) virtual_server: Option<u16>,
    /// The host's kernel opens it, so that the source may be an own address.
    pub(super) hosted: bool,
}

/// Why a session may not be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Denial {
    pub(super) reason: DropReason,
    /// The rule that was asked, where policy was.
    pub(super) rule: Option<ServiceId>,
}

impl From<DropReason> for Denial {
    fn from(reason: DropReason) -> Self {
        Self { reason, rule: None }
    }
}

impl<I: Io> Worker<I> {
    /// Opens the session that was designed for a packet, and gives its original flow. No flow has the
    /// packet's key, which comes with its hash.
    pub(super) fn open<F: PerFamily>(
        &mut self,
        packet: &Packet<I::Frame>,
        key: (&Key<F::Addrs>, u64),
        tuple: &Tuple,
        mut blueprint: Blueprint,
    ) -> Result<FlowRef, Refusal> {
        let translated = self.translate_source::<F>(packet, tuple, &mut blueprint);
        if translated == Err(DropReason::NatPortsExhausted.into()) {
            let service = blueprint.outbound.service;
            self.tally.session(service, ServerId::NONE, Fate::Exhausted);
        }
        let id = translated.and_then(|()| self.build::<F>(packet, key, tuple, &blueprint));
        let id = id.inspect_err(|_| {
            // Also if another worker has to decide: it takes a place of its own.
            self.balancer.withdraw();
            self.abandon(tuple, &blueprint);
        })?;
        let Blueprint {
            outbound, server, ..
        } = blueprint;
        if server != ServerId::NONE {
            self.balancer.opened(server);
        }
        self.tally.session(outbound.service, server, Fate::Opened);
        self.counters.count(WorkerCounter::SessionsOpened);
        self.watch_if::<F>(id, tuple);
        if self.ha.is_some() {
            self.tell_birth::<F>(id);
            self.begin_inline::<F>(id);
        }
        Ok(id.flow(Direction::Original))
    }

    /// Decides everything about the session but its source, and reserves nothing but a mapping.
    pub(super) fn design<F: PerFamily>(
        &mut self,
        packet: &Packet<I::Frame>,
        zone: u8,
        tuple: &Tuple,
    ) -> Result<Blueprint, Refusal> {
        let mut aim = self.aim(packet.why, zone, tuple)?;
        aim.hosted = packet.hosted;
        let mut server = ServerId::NONE;
        if let Some(index) = aim.virtual_server {
            let missing = DropReason::NoRealServer;
            let servers = &self.snapshot.virtual_servers;
            let vs = servers.get(usize::from(index)).ok_or(missing)?;
            let picked = match choose(&mut self.balancer, &mut self.tally, vs, tuple, self.now) {
                Ok(picked) => picked,
                Err(_) if may_be_redirected(vs, packet) => return Err(Refusal::Redirect(index)),
                Err(why) => {
                    let service = vs.service;
                    self.tally.session(service, ServerId::NONE, Fate::Refused);
                    return Err(why.into());
                }
            };
            server = picked.server;
            // What overflows is no more to be remembered there than here.
            if picked.remembered {
                self.tell_client(index, tuple.src, server);
            }
        }
        let blueprint = self.judge(&aim, server, zone, tuple).map_err(|denial| {
            if let Some(rule) = denial.rule {
                self.tally.session(rule, ServerId::NONE, Fate::Refused);
            }
            self.balancer.withdraw();
            denial.reason
        })?;
        if let Some(id) = MappingId::new(blueprint.mapping) {
            self.adopt_mapping(id);
            self.mappings.hold(id, tuple.src).map_err(|error| {
                self.balancer.withdraw();
                refused(error)
            })?;
        }
        Ok(blueprint)
    }

    /// Finds out where a first packet wants to go.
    pub(super) fn aim(&mut self, why: Why, zone: u8, tuple: &Tuple) -> Result<Aim, Refusal> {
        let inbound = plan::inbound(&self.snapshot, tuple, zone);
        let mut aim = Aim {
            inbound,
            target: *tuple,
            via: tuple.dst,
            mapping: 0,
            virtual_server: None,
            hosted: false,
        };
        match inbound.destination {
            Destination::Keep => {
                let named = self.lately.about(&self.snapshot, tuple.dst).local;
                if let Some(reason) = plan::unserved(named) {
                    let inner = self.mapped_endpoint(why, tuple)?.ok_or(reason)?;
                    (aim.target.dst, aim.target.dport, aim.mapping) = inner;
                    aim.via = aim.target.dst;
                    aim.inbound.destination =
                        Destination::Translate(aim.target.dst, aim.target.dport);
                    aim.inbound.published = true;
                }
            }
            Destination::Translate(address, port) => {
                (aim.target.dst, aim.target.dport) = (address, port);
                aim.via = address;
            }
            Destination::VirtualServer(index) => {
                let vs = self.snapshot.virtual_servers.get(usize::from(index));
                let vs = vs.ok_or(DropReason::NoRealServer)?;
                if let Some(hash) = self.balancer.affinity(vs, tuple.src) {
                    self.decided_here(why, hash)?;
                }
                aim.virtual_server = Some(index);
            }
        }
        Ok(aim)
    }

    /// Decides about a session to `server`, if there is one to be chosen.
    pub(super) fn judge(
        &mut self,
        aim: &Aim,
        server: ServerId,
        zone: u8,
        tuple: &Tuple,
    ) -> Result<Blueprint, Denial> {
        let opener = *self.lately.about(&self.snapshot, tuple.src);
        let snapshot = &self.snapshot;
        let (mut target, mut via, mut one_way) = (aim.target, aim.via, false);
        if let Some(index) = aim.virtual_server {
            let missing = DropReason::NoRealServer;
            let vs = snapshot.virtual_servers.get(usize::from(index));
            let vs = vs.ok_or(missing)?;
            let real = snapshot
                .servers
                .get(usize::from(server.0))
                .and_then(Option::as_ref);
            let real = real.ok_or(missing)?;
            target = lb::translate::to_server(vs, real, tuple, None);
            via = real.address;
            one_way = vs.mode == LbMode::Dsr;
        }
        if matches!(opener.local, Some(Local::Own(_))) && !aim.hosted {
            return Err(DropReason::MartianSource.into());
        }
        if !may_be_forwarded(&target) {
            return Err(DropReason::NoRoute.into());
        }
        let forth = self.lately.about(&self.snapshot, via).way?;
        let back = opener.way?;
        let snapshot = &self.snapshot;
        if back.zone != zone {
            return Err(DropReason::Spoofed.into());
        }
        let ways = [&forth, &back];
        let outbound = plan::outbound(snapshot, &aim.inbound, tuple, &target, zone, ways);
        let outbound = outbound.map_err(|reason| {
            let decision = snapshot.firewall.decide(zone, forth.zone, tuple);
            Denial {
                reason,
                rule: Some(decision.service),
            }
        })?;
        Ok(Blueprint {
            leaves: target,
            forth,
            back,
            outbound,
            server,
            one_way,
            mapping: aim.mapping,
            prepared: None,
            reply_hash: None,
        })
    }

    /// Errs unless this worker is the one that decides for all that hash alike.
    fn decided_here(&self, why: Why, hash: u64) -> Result<(), Refusal> {
        let decider = (hash % u64::from(self.rings.workers())) as u16;
        if decider == self.id || why >= Why::Affinity {
            return Ok(());
        }
        Err(Refusal::PassTo(decider))
    }

    /// Makes the session as designed. Nothing is left behind if there is no room for it.
    fn build<F: PerFamily>(
        &mut self,
        packet: &Packet<I::Frame>,
        (key, hash): (&Key<F::Addrs>, u64),
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
            reply_hash,
            ..
        } = blueprint;
        let reply_key = Key::new::<F>(&leaves.reverse(), forth.zone);
        let forth_path = self.acquire_path(forth, outbound.service, *server, false)?;
        let back_path = self.acquire_path(back, outbound.service, *server, true);
        let back_path = back_path.inspect_err(|_| self.release_path(forth_path))?;
        let limit = self.snapshot.timeout(outbound.timeouts, tuple.proto, 0);
        let table = F::table_mut(&mut self.tables);
        let inserted = match *reply_hash {
            Some(reply) => table.insert_absent([key, &reply_key], [hash, reply], self.now, limit),
            None => table.insert(key, &reply_key, self.now, limit),
        };
        let inserted = inserted.map_err(|error| match error {
            InsertError::Full => DropReason::SessionTableFull,
            InsertError::Clash => DropReason::TupleClash,
        });
        let id = inserted.inspect_err(|_| {
            self.release_path(forth_path);
            self.release_path(back_path);
        })?;
        self.unpoint::<F>(&[*key, reply_key]);
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
        if tuple.proto == proto::TCP {
            self.reschedule::<F>(id);
        }
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
pub(super) fn may_be_forwarded(tuple: &Tuple) -> bool {
    let local = |address: IpAddr| is_link_local(address);
    let group = tuple.dst.is_multicast() || tuple.dst == IpAddr::V4(Ipv4Addr::BROADCAST);
    !group && !local(tuple.src) && !local(tuple.dst)
}
