//! Sessions that are not what they were: opened under an older snapshot, expired, or over.
//!
//! A change of configuration does not look at sessions. Each flow carries the epoch under which it
//! was last checked, and its next packet finds out: would the session be opened the same way today?
//! If so it goes on, by today's routes and timeouts; if not it ends, and the packet counts as a
//! first one.

use sluice_wire::Tuple;

use super::Worker;
use super::alg::WATCHED;
use super::burst::Packet;
use super::ha::{Met, is_mapped};
use super::plan::{self, Destination, Source};
use super::tables::PerFamily;
use super::tally::Fate;
use crate::counters::DropReason;
use crate::io::Io;
use crate::nat::rules::{MASQUERADE_PORTS, Mapping};
use crate::session::flow::{Session, UNCHECKED, UNTOLD, flags};
use crate::session::table::{Direction, FlowRef, SessionId};
use crate::snapshot::{LbMode, ServerId, Snapshot};

/// How a session would be carried on today.
pub(super) struct Renewal {
    pub(super) forth: plan::Way,
    pub(super) back: plan::Way,
    outbound: plan::Outbound,
}

impl Renewal {
    /// The timeout set of today.
    pub(super) fn timeouts(&self) -> u8 {
        self.outbound.timeouts
    }

    /// What policy and source translation say of it.
    pub(super) fn outbound(&self) -> &plan::Outbound {
        &self.outbound
    }

    /// By these ways.
    pub(super) fn new(forth: plan::Way, back: plan::Way, outbound: plan::Outbound) -> Self {
        Self {
            forth,
            back,
            outbound,
        }
    }
}

impl<I: Io> Worker<I> {
    /// A packet met a flow that was not checked under the current snapshot.
    #[cold]
    pub(super) fn meet_newer_snapshot<F: PerFamily>(
        &mut self,
        packet: Packet<I::Frame>,
        at: FlowRef,
    ) {
        let id = at.session();
        let session = F::table(&self.tables).session(id);
        let epoch = session.map(|session| session.flows[0].epoch);
        if epoch == Some(UNTOLD) {
            return self.meet_untold::<F>(packet, at);
        }
        if epoch == Some(WATCHED) {
            return self.meet_watched::<F>(packet, at);
        }
        if session.is_some_and(Session::is_replica) {
            match self.meet_replica::<F>(packet, id) {
                Met::Gone => {}
                Met::Over(packet) => self.find_anew::<F>(packet),
                Met::Ours(packet) => self.hit_unchecked::<F>(packet, at),
            }
        } else if !self.renew::<F>(id) {
            self.end_session::<F>(id);
            self.find_anew::<F>(packet);
        } else if epoch == Some(UNCHECKED) {
            self.hit_unchecked::<F>(packet, at);
        } else {
            self.hit::<F>(packet, at);
        }
    }

    /// A packet met a session whose time is over, before the sweep did.
    #[cold]
    pub(super) fn meet_expired<F: PerFamily>(&mut self, packet: Packet<I::Frame>, at: FlowRef) {
        self.run_out::<F>(at.session());
        self.find_anew::<F>(packet);
    }

    /// A SYN opens a new connection where a session's is over.
    #[cold]
    pub(super) fn reopen<F: PerFamily>(&mut self, packet: Packet<I::Frame>, at: FlowRef) {
        let Some(packet) = self.leave_opener::<F>(packet, at.session()) else {
            return;
        };
        self.note_floor::<F>(at.session());
        self.end_session::<F>(at.session());
        self.find_anew::<F>(packet);
    }

    pub(super) fn find_anew<F: PerFamily>(&mut self, packet: Packet<I::Frame>) {
        match self
            .snapshot
            .ports
            .get(usize::from(packet.port.0))
            .map(|port| port.zone)
        {
            Some(zone) => self.find(packet, zone),
            None => self.reject(packet, DropReason::Internal),
        }
    }

    /// Brings a session under the current snapshot; false if it would not be opened today.
    pub(super) fn renew<F: PerFamily>(&mut self, id: SessionId) -> bool {
        let table = F::table(&self.tables);
        let (Some(session), Some(cold)) = (table.session(id), table.cold(id)) else {
            return false;
        };
        let [original, reply] = &session.flows;
        let (arrives, leaves) = (original.arrives(), original.leaves());
        let (zone, reply_zone, server) = (original.zone, reply.zone, cold.server);
        let old = [original.path, reply.path];
        let replica = session.is_replica();
        let mapped = is_mapped(session, cold);
        let zones = (zone, reply_zone);
        let key = original.key();
        let today = match self.alg.parent(session, self.now) {
            Some(parent) => {
                let of = (cold.service, server);
                self.renew_related(parent.as_ref(), [&arrives, &leaves], zones, of)
            }
            None => renewal(&self.snapshot, &arrives, &leaves, zones, server, mapped),
        };
        let Some(today) = today else {
            return false;
        };
        let service = today.outbound.service;
        let Ok(forth) = self.acquire_path(&today.forth, service, server, false) else {
            return false;
        };
        let Ok(back) = self.acquire_path(&today.back, service, server, true) else {
            self.release_path(forth);
            return false;
        };
        let epoch = self.alg.epoch::<F>(&key, self.snapshot.epoch, self.now);
        let table = F::table_mut(&mut self.tables);
        if let Some(cold) = table.cold_mut(id) {
            let was = std::mem::replace(&mut cold.service, service);
            if was != service && !replica {
                // It goes on under another name: it must not stay with the old one for ever.
                self.tally.session(was, ServerId::NONE, Fate::Ended);
                self.tally.session(service, ServerId::NONE, Fate::Opened);
            }
        }
        if let Some((original, reply)) = table.pair_mut(id.flow(Direction::Original)) {
            for (flow, path) in [(original, forth), (reply, back)] {
                flow.path = path;
                flow.epoch = epoch;
                flow.timeouts = today.outbound.timeouts;
                flow.flags &= !flags::CLAMP_MSS;
                if today.outbound.clamp_mss {
                    flow.flags |= flags::CLAMP_MSS;
                }
            }
        }
        for path in old {
            self.release_path(path);
        }
        true
    }
}

/// Plans a session again, and compares with what it is.
pub(super) fn renewal(
    snapshot: &Snapshot,
    arrives: &Tuple,
    leaves: &Tuple,
    (zone, reply_zone): (u8, u8),
    server: ServerId,
    mapped: bool,
) -> Option<Renewal> {
    let mut inbound = plan::inbound(snapshot, arrives, zone);
    let mut target = Tuple {
        src: arrives.src,
        sport: arrives.sport,
        ..*leaves
    };
    let via = match inbound.destination {
        // Let in by an endpoint-independent mapping, whose external address must still be a pool's.
        Destination::Keep
            if mapped && (leaves.dst, leaves.dport) != (arrives.dst, arrives.dport) =>
        {
            let mut pools = snapshot.nat.pools.iter().zip(0..);
            pools.find(|&(pool, index)| {
                let (first, last) = snapshot.nat.whole_pool(index);
                pool.addresses.contains(&arrives.dst) && (first..=last).contains(&arrives.dport)
            })?;
            inbound.destination = Destination::Translate(leaves.dst, leaves.dport);
            inbound.published = true;
            leaves.dst
        }
        Destination::Keep => {
            if server != ServerId::NONE
                || (leaves.dst, leaves.dport) != (arrives.dst, arrives.dport)
            {
                return None;
            }
            leaves.dst
        }
        Destination::Translate(address, port) => {
            if (leaves.dst, leaves.dport) != (address, port) {
                return None;
            }
            address
        }
        Destination::VirtualServer(index) => {
            let virtual_server = snapshot.virtual_servers.get(usize::from(index))?;
            let real = snapshot.servers.get(usize::from(server.0))?.as_ref()?;
            let mut members = virtual_server.members();
            if !members.any(|member| member == server) || !plan::keeps_sessions(snapshot, server) {
                return None;
            }
            let expected = crate::lb::translate::to_server(virtual_server, real, arrives, None);
            if (leaves.dst, leaves.dport) != (expected.dst, expected.dport) {
                return None;
            }
            if virtual_server.mode == LbMode::Dsr {
                target = *arrives;
            }
            real.address
        }
    };
    let forth = plan::way(snapshot, via).ok()?;
    let back = plan::way(snapshot, arrives.src).ok()?;
    if forth.zone != reply_zone || back.zone != zone {
        return None;
    }
    let outbound =
        plan::outbound(snapshot, &inbound, arrives, &target, zone, [&forth, &back]).ok()?;
    let same = (leaves.src, leaves.sport) == (arrives.src, arrives.sport);
    let kept = match outbound.source {
        Source::Keep => same,
        Source::Static(address) => leaves.src == address,
        Source::Masquerade(address) => {
            let (first, last) = MASQUERADE_PORTS;
            leaves.src == address && (leaves.sport == 0 || (first..=last).contains(&leaves.sport))
        }
        Source::Pool(index) => {
            let pool = snapshot.nat.pools.get(usize::from(index))?;
            let (first, last) = snapshot.nat.whole_pool(index);
            // See `map_source`: the address that stands in where two workers would have to decide.
            let own = plan::port(snapshot, forth.hop.port)
                .and_then(|port| port.source_for(forth.neighbour));
            let stands_in = pool.mapping == Mapping::EndpointIndependent && own == Some(leaves.src);
            stands_in
                || pool.addresses.contains(&leaves.src)
                    && (leaves.sport == 0 || (first..=last).contains(&leaves.sport))
        }
    };
    kept.then_some(Renewal {
        forth,
        back,
        outbound,
    })
}
