//! Source translation of a new session: a lease, a mapping, or nothing.

use std::net::IpAddr;

use sluice_wire::{Key, Tuple};

use super::Worker;
use super::burst::Packet;
use super::open::{Blueprint, Refusal};
use super::plan::{self, Source};
use super::tables::{PerFamily, Tables};
use crate::counters::DropReason;
use crate::handoff::Why;
use crate::io::Io;
use crate::nat::lease::{LeaseError, Leaser, Request};
use crate::nat::mapping::{self, MappingError, MappingId};
use crate::nat::rules::{Mapping, SnatPool};
use crate::session::table::SessionId;
use crate::shared_names::SyncMode;
use crate::snapshot::Snapshot;

impl<I: Io> Worker<I> {
    /// Asks for the memory that will tell whether the tuple of the session's replies is taken.
    pub(super) fn foresee<F: PerFamily>(&mut self, blueprint: &mut Blueprint) {
        let Blueprint {
            leaves,
            forth,
            outbound,
            prepared,
            ..
        } = blueprint;
        let leaves = &*leaves;
        let snapshot = &self.snapshot;
        let Some(port) = plan::port(snapshot, forth.hop.port) else {
            return;
        };
        let request = match &outbound.source {
            Source::Keep | Source::Static(_) => None,
            Source::Masquerade(own) => {
                let ports = snapshot.nat.masquerade_ports();
                Some(Request::masquerade(leaves, own, ports, port.device))
            }
            Source::Pool(index) => snapshot
                .nat
                .pools
                .get(usize::from(*index))
                .map(|pool| Request::pool(leaves, pool, port.device)),
        };
        let reply = match (&request, outbound.source) {
            (Some(request), _) => {
                let foreseen = self.leases.foresee(&snapshot.steering, request);
                *prepared = foreseen.and_then(|(_, prepared)| prepared);
                foreseen.map(|(reply, _)| reply)
            }
            (None, Source::Static(src)) => Some(Tuple { src, ..*leaves }.reverse()),
            (None, _) => Some(leaves.reverse()),
        };
        if let Some(reply) = reply {
            let table = F::table(&self.tables);
            table.prefetch_bucket(table.hash(&Key::new::<F>(&reply, forth.zone)));
        }
    }

    /// Gives the session the source that its plan asks for.
    pub(super) fn translate_source<F: PerFamily>(
        &mut self,
        packet: &Packet<I::Frame>,
        tuple: &Tuple,
        blueprint: &mut Blueprint,
    ) -> Result<(), Refusal> {
        let sources = Sources {
            snapshot: &self.snapshot,
            tables: &self.tables,
            inherits: self.inherits_ports(),
            shared: self.ha.is_some() && self.rings.workers() > 1,
            now: self.now,
            except: None,
        };
        match sources.choose::<F>(&mut self.leases, packet.why, tuple.proto, blueprint)? {
            Chosen::Tuple(leaves) => {
                blueprint.leaves = leaves;
                Ok(())
            }
            Chosen::Lease(leaves, reply_hash) => {
                blueprint.leaves = leaves;
                blueprint.reply_hash = Some(reply_hash);
                Ok(())
            }
            Chosen::Mapping(pool) => self.map_source::<F>(packet, tuple, pool, blueprint),
        }
    }
}

/// What the source of a new session is chosen by.
pub(super) struct Sources<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) tables: &'a Tables,
    /// Shares of ports that are other nodes' and may be leased, a bit each.
    pub(super) inherits: u16,
    /// A copy of a session of the other node's may lie on another worker, though its replies come
    /// here. With one node they are where their port was leased.
    pub(super) shared: bool,
    pub(super) now: u32,
    /// A session that counts as gone.
    pub(super) except: Option<SessionId>,
}

/// What a new session's source becomes.
pub(super) enum Chosen {
    /// Its packets leave with this tuple.
    Tuple(Tuple),
    /// The same, by a lease: no flow has the key of the replies, which has this hash.
    Lease(Tuple, u64),
    /// An endpoint-independent mapping of this pool says.
    Mapping(u16),
}

impl Sources<'_> {
    /// Chooses the source that the plan asks for.
    pub(super) fn choose<F: PerFamily>(
        &self,
        leases: &mut Leaser,
        why: Why,
        proto: u8,
        blueprint: &Blueprint,
    ) -> Result<Chosen, Refusal> {
        let Blueprint {
            leaves,
            forth,
            outbound,
            prepared,
            ..
        } = blueprint;
        let snapshot = self.snapshot;
        let port = plan::port(snapshot, forth.hop.port).ok_or(DropReason::Internal)?;
        let (address, pool_at);
        let request = match outbound.source {
            Source::Keep => return Ok(Chosen::Tuple(*leaves)),
            Source::Static(src) => return Ok(Chosen::Tuple(Tuple { src, ..*leaves })),
            Source::Masquerade(own) => {
                address = own;
                pool_at = None;
                let ports = snapshot.nat.masquerade_ports();
                Request::masquerade(leaves, &address, ports, port.device)
            }
            Source::Pool(index) => {
                let pool = snapshot.nat.pools.get(usize::from(index));
                let pool = pool.ok_or(DropReason::Internal)?;
                if pool.mapping == Mapping::EndpointIndependent && plan::has_ports(proto) {
                    return Ok(Chosen::Mapping(index));
                }
                pool_at = Some(index);
                Request::pool(leaves, pool, port.device)
            }
        };
        let (table, host) = (F::table(self.tables), F::host(self.tables));
        let mut asked = 0;
        let mut lease = |request: &Request<'_>| {
            let taken = |t: &Tuple| {
                let key = Key::new::<F>(t, forth.zone);
                asked = table.hash(&key);
                table
                    .lookup(&key, asked)
                    .is_some_and(|at| Some(at.session()) != self.except)
                    || host.has(&key, self.now)
                    || self.tables.has_pointer::<F>(&key)
                    || self.shared
                        && F::find_registered(self.tables, &key, asked, self.now).is_some()
            };
            let (steering, services) = (&snapshot.steering, &snapshot.services);
            let wanted = (request, *prepared);
            leases.lease(steering, services, wanted, self.now, taken)
        };
        let mut leased = lease(&request);
        // Ports of nodes that are dead are taken last: those that their sessions hold are in the
        // table.
        let mut inherits = self.inherits;
        while inherits != 0 && matches!(leased, Err(LeaseError::Exhausted)) {
            let share = inherits.trailing_zeros() as u16;
            inherits &= inherits - 1;
            if let Some(ports) = snapshot.nat.share(pool_at, share) {
                leased = lease(&Request { ports, ..request });
            }
        }
        match leased {
            Ok(lease) => Ok(Chosen::Lease(lease.apply(*leaves), asked)),
            Err(LeaseError::Elsewhere(worker)) if why < Why::Affinity => {
                Err(Refusal::PassTo(worker))
            }
            Err(_) => Err(DropReason::NatPortsExhausted.into()),
        }
    }
}

/// Endpoint-independent mappings.
impl<I: Io> Worker<I> {
    /// The worker that decides about the mapping of a packet's source.
    pub(super) fn mapping_decider(&self, pool: &SnatPool, tuple: &Tuple) -> u16 {
        let workers = self.rings.workers();
        let (proto, host, port) = (tuple.proto, tuple.src, tuple.sport);
        mapping::affinity(&self.hasher, pool.ports, workers, proto, host, port)
    }

    /// Gives the session its host's mapping. Only the affinity worker knows it.
    fn map_source<F: PerFamily>(
        &mut self,
        packet: &Packet<I::Frame>,
        tuple: &Tuple,
        pool: u16,
        blueprint: &mut Blueprint,
    ) -> Result<(), Refusal> {
        let pool = self
            .snapshot
            .nat
            .pools
            .get(usize::from(pool))
            .ok_or(DropReason::Internal)?;
        let decider = self.mapping_decider(pool, tuple);
        if decider != self.id {
            if packet.why < Why::Affinity {
                return Err(Refusal::PassTo(decider));
            }
            // Between two hosts inside, each with a mapping at another worker: only one of them can
            // decide, and the caller is put behind our own address on that port instead.
            let own = plan::port(&self.snapshot, blueprint.forth.hop.port)
                .and_then(|port| port.source_for(blueprint.forth.neighbour));
            blueprint.outbound.source = Source::Masquerade(own.ok_or(DropReason::NoRoute)?);
            return self.translate_source::<F>(packet, tuple, blueprint);
        }
        let services = &self.snapshot.services;
        let id = self
            .mappings
            .outbound(pool, services, tuple, self.now)
            .map_err(refused)?;
        if self.ha.is_some() {
            match self.decided_by_owner(packet.why, id) {
                // What the owner sends here it knows nothing of any more.
                Err(Refusal::Correct(errand)) if !self.may_go_on(packet.corrected, errand) => {}
                decided => decided?,
            }
            self.adopt_mapping(id);
            let names = self.snapshot.shared_names.as_ref();
            let mode = names.map(|names| names.mode(blueprint.outbound.service));
            if mode != Some(SyncMode::None) {
                self.tell_mapping(id);
            }
        }
        let mapping = self.mappings.get(id).ok_or(DropReason::Internal)?;
        let leaves = mapping.outbound(blueprint.leaves);
        self.mappings.hold(id, leaves.dst).map_err(refused)?;
        // Between two hosts inside the callee's mapping was held first. A session has room for one:
        // the opener's, which its own packets keep in use.
        self.release_mapping(blueprint.mapping, tuple, &blueprint.leaves.reverse());
        blueprint.leaves = leaves;
        blueprint.mapping = id.get();
        Ok(())
    }

    /// The host behind an external endpoint, if it has a mapping and the stranger may use it. The
    /// mapping is not held yet: what follows may still refuse the session.
    pub(super) fn mapped_endpoint(
        &self,
        why: Why,
        tuple: &Tuple,
    ) -> Result<Option<(IpAddr, u16, u32)>, Refusal> {
        if tuple.dport == 0 {
            return Ok(None);
        }
        let nat = &self.snapshot.nat;
        let pool = nat.pools.iter().zip(0..).find(|&(pool, index)| {
            let (first, last) = nat.whole_pool(index);
            pool.mapping == Mapping::EndpointIndependent
                && pool.addresses.contains(&tuple.dst)
                && (first..=last).contains(&tuple.dport)
        });
        let Some((pool, _)) = pool else {
            return Ok(None);
        };
        let found = self
            .mappings
            .inbound(tuple.proto, tuple.dst, tuple.dport, self.now);
        if let Some(id) = found.filter(|_| self.ha.is_some()) {
            self.decided_by_owner(why, id)?;
        } else if let Some(owner) =
            mapping::block_owner(pool.ports, self.rings.workers(), tuple.dport)
            && owner != self.id
            && why < Why::Affinity
        {
            return Err(Refusal::PassTo(owner));
        }
        let Some(id) = found.filter(|&id| self.mappings.admits(id, tuple.src)) else {
            return Ok(None);
        };
        let mapping = self.mappings.get(id).ok_or(DropReason::Internal)?;
        let (address, port) = mapping.internal;
        Ok(Some((address, port, id.get())))
    }

    /// A session ended that held a mapping.
    pub(super) fn release_mapping(&mut self, number: u32, original: &Tuple, reply: &Tuple) {
        let Some(id) = MappingId::new(number) else {
            return;
        };
        let Some(mapping) = self.mappings.get(id) else {
            return;
        };
        let outbound = mapping.internal == (original.src, original.sport);
        let remote = if outbound { reply.src } else { original.src };
        self.mappings.release(id, remote, self.now);
    }

    /// The session that was designed could not be built.
    pub(super) fn abandon(&mut self, tuple: &Tuple, blueprint: &Blueprint) {
        self.release_mapping(blueprint.mapping, tuple, &blueprint.leaves.reverse());
    }
}

pub(super) fn refused(error: MappingError) -> Refusal {
    Refusal::Drop(match error {
        MappingError::Exhausted => DropReason::NatPortsExhausted,
        MappingError::Full => DropReason::NatMappingsFull,
    })
}
