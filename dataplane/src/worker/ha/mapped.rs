//! Endpoint-independent mappings, shared with other appliances.
//!
//! A mapping has one owner, as a session has. Every worker of the other nodes has a copy: packets that
//! would open a session by it go to the owner, and no port of it is given away. When the owner is dead
//! it falls to one of the living nodes, and there the worker that decides for the internal endpoint
//! adopts it with the first packet that asks for it, and keeps it when the owner comes back. Replicas
//! of its sessions lie on that worker and fall to the same node, so they find it there when they are
//! taken over.

use std::net::IpAddr;

use sluice_ha::bulk::{Next, Scope};
use sluice_ha::correct::Turn;
use sluice_ha::digest::Place;
use sluice_ha::lane::Take;
use sluice_ha::record::{Identity, MappingRecord, Record, SessionRecord, Stamp, session};
use sluice_wire::{Family, Tuple, V4, V6};

use super::super::Worker;
use super::super::open::Refusal;
use super::digest::place_of;
use super::passed::Heard;
use super::{Correction, Errand, Ha, Origin, is_mapped};
use crate::handoff::{LaneOf, Seat, Why};
use crate::io::Io;
use crate::nat::mapping::{self, Copied, Mapping, MappingId, Told};
use crate::nat::rules::{Filtering, Mapping as Kind};
use crate::published::WorkerCounter;
use crate::session::flow::{Cold, Session};

/// Where a copy comes from whose mapping is on another worker of this node.
const OURS: u32 = u32::MAX;
/// Mappings that a tick ends at most.
const ENDS: usize = 64;
/// Places that a sweep looks at per poll.
const SLICE: u32 = 256;

type End = (IpAddr, u16);

impl Ha {
    /// Whether nobody has what a copy is of any more.
    pub(super) fn is_orphaned(&self, origin: u32) -> bool {
        if origin == OURS {
            return false;
        }
        let teller = self.teller_of(Origin::unpack(origin));
        let peer = teller.and_then(|seat| self.peers.get(usize::from(seat.0)));
        peer.is_none_or(|peer| peer.link.is_none() && !peer.lives)
    }

    /// The other node that decides about what a mapping says that a copy is of; `None` if this one does.
    fn decider(&self, copy: Copied, mapping: u64) -> Option<Seat> {
        if copy.origin == OURS {
            return None;
        }
        let origin = Origin::unpack(copy.origin);
        match self.keeper_of(origin) {
            None if self.is_orphaned(copy.origin) || self.owner_of(origin).is_some() => {
                self.heir(mapping)
            }
            keeper => keeper,
        }
    }
}

/// What a replica falls to a node by. All sessions of a mapping fall to where that does.
pub(super) fn heir_hash<F: Family>(session: &Session<F>, cold: &Cold) -> u64 {
    let [original, _] = &session.flows;
    if !is_mapped(session, cold) {
        return place_of(original).hash();
    }
    let (internal, _) = ends(&original.arrives(), &original.leaves());
    hash_of_mapping(original.proto, internal)
}

fn hash_of_mapping(proto: u8, (address, port): End) -> u64 {
    let place = match address {
        IpAddr::V4(_) => Place::of_tuple::<V4>(&V4::pack(address, address), port.into(), proto),
        IpAddr::V6(_) => Place::of_tuple::<V6>(&V6::pack(address, address), port.into(), proto),
    };
    place.hash()
}

impl<I: Io> Worker<I> {
    /// The worker that decides about the mapping of `internal` to an address of a pool.
    fn decider_of(&self, proto: u8, internal: End, external: IpAddr) -> Option<u16> {
        let mut pools = self.snapshot.nat.pools.iter();
        let pool = pools.find(|pool| {
            pool.mapping == Kind::EndpointIndependent && pool.addresses.contains(&external)
        })?;
        let workers = self.rings.workers();
        let (address, port) = internal;
        Some(mapping::affinity(
            &self.hasher,
            pool.ports,
            workers,
            proto,
            address,
            port,
        ))
    }

    /// The worker that a copy of a session lies on, if that is one of a mapping.
    pub(super) fn decider_of_session<F: Family>(&self, told: &SessionRecord<F>) -> Option<u16> {
        if told.flags & session::MAPPED == 0 {
            return None;
        }
        self.decider_between::<F>(&told.identity, (told.new_addrs, told.new_ports))
    }

    /// The worker that a session with this identity, which leaves with these addresses and ports, lies on
    /// if an endpoint-independent mapping has it.
    pub(super) fn decider_between<F: Family>(
        &self,
        identity: &Identity<F>,
        (addrs, ports): (F::Addrs, u32),
    ) -> Option<u16> {
        let proto = identity.proto;
        let arrives = tuple::<F>(identity.addrs, identity.ports, proto);
        let (internal, external) = ends(&arrives, &tuple::<F>(addrs, ports, proto));
        self.decider_of(proto, internal, external.0)
    }

    /// Who decides about a session by a mapping or copy that is known here: an error if it is another
    /// worker, or the other node.
    pub(in super::super) fn decided_by_owner(
        &self,
        why: Why,
        id: MappingId,
    ) -> Result<(), Refusal> {
        let Some(&Mapping {
            proto,
            internal,
            external,
            copy,
            ..
        }) = self.mappings.get(id)
        else {
            return Ok(());
        };
        let Some(copy) = copy else { return Ok(()) };
        let mapping = hash_of_mapping(proto, internal);
        let ha = self.ha.as_deref();
        if let Some(to) = ha.and_then(|ha| ha.decider(copy, mapping)) {
            return Err(Refusal::Correct(Errand {
                why: Correction::Port,
                to,
                turn: Turn::Owner,
            }));
        }
        match self.decider_of(proto, internal, external.0) {
            Some(decider) if decider != self.id && why < Why::Affinity => {
                Err(Refusal::PassTo(decider))
            }
            _ => Ok(()),
        }
    }

    /// Makes a copy that nobody else decides about a mapping of this worker's.
    pub(in super::super) fn adopt_mapping(&mut self, id: MappingId) {
        let found = self.mappings.get(id);
        let Some(mapping) = found.filter(|mapping| mapping.copy.is_some()) else {
            return;
        };
        let version = mapping.version.wrapping_add(Stamp::TAKEOVER);
        self.mappings.adopt(id, version, self.now);
        if let Some(record) = self.record_of_mapping(id, 1) {
            self.push_record(&record);
            self.tell_workers(&record);
        }
    }

    /// A mapping was made, or there was none to tell of it.
    pub(in super::super) fn tell_mapping(&mut self, id: MappingId) {
        let is_new = self.mappings.get(id).is_some_and(|own| own.version == 0);
        if is_new && self.ha.as_ref().is_some_and(|ha| ha.parts.sync) {
            self.mappings.set_version(id, 1);
            if let Some(record) = self.record_of_mapping(id, 1) {
                self.push_record(&record);
            }
        }
    }

    fn record_of_mapping(&self, id: MappingId, timeout_left: u32) -> Option<Record> {
        let mapping = self.mappings.get(id)?;
        Some(record(self.ha.as_ref()?.parts.node, mapping, timeout_left))
    }

    /// The other workers of this node keep a copy of a mapping here, or forget it. One that has no
    /// room for it forgets it in time.
    fn tell_workers(&mut self, record: &Record) {
        let me = self.id;
        let nobody = Heard {
            of: LaneOf {
                seat: Seat(0),
                lane: 0,
            },
            origin: Origin::default(),
            passed: false,
            judged: false,
        };
        for worker in (0..self.rings.workers()).filter(|&worker| worker != me) {
            let _ = self.pass_record(worker, record, nobody);
        }
    }

    /// Another node, or another worker, tells of a mapping.
    pub(super) fn mapping_told(
        &mut self,
        record: &Record,
        told: &MappingRecord,
        from: Heard,
    ) -> Take {
        if !from.passed {
            let me = self.id;
            for worker in (0..self.rings.workers()).filter(|&worker| worker != me) {
                if self.pass_record(worker, record, from) == Take::Later {
                    // Those that heard hear it twice.
                    return Take::Later;
                }
            }
        }
        let owner = self.ha.as_ref().map_or(0, |ha| ha.parts.node);
        let is_ours = told.stamp.owner == owner;
        let id = self.mappings.find(told.proto, told.external);
        let known = id.and_then(|id| Some((id, *self.mappings.get(id)?)));
        if let Some((id, known)) = known {
            let (same, held) = (known.internal == told.internal, known.sessions > 0);
            let last = Stamp {
                version: known.version,
                owner,
            };
            if told.timeout_left == 0 {
                match (same && known.copy.is_some(), held) {
                    (true, false) => self.mappings.forget(id),
                    // Sessions of ours go on with it.
                    (true, true) => self.adopt_mapping(id),
                    _ => {}
                }
                return Take::Taken;
            }
            let stays = known.copy.is_none() && (is_ours || !told.stamp.replaces(last));
            if stays || held && !same {
                self.counters.count(WorkerCounter::HaConflicts);
                return Take::Taken;
            }
        } else if told.timeout_left == 0 {
            return Take::Taken;
        }
        let kept = self.mappings.keep(&Told {
            proto: told.proto,
            internal: told.internal,
            external: told.external,
            filtering: match told.filtering {
                0 => Filtering::EndpointIndependent,
                1 => Filtering::AddressDependent,
                _ => Filtering::EndpointDependent,
            },
            version: told.stamp.version,
            origin: if is_ours { OURS } else { from.origin.pack() },
        });
        if kept.is_err() {
            self.counters.count(WorkerCounter::HaRecordsLost);
        }
        Take::Taken
    }

    /// What is at a place of the mappings that this worker has.
    pub(super) fn mapping_at(&mut self, place: u32, scope: Scope) -> Next {
        if scope != Scope::All {
            return Next::End;
        }
        let Some(found) = self.mappings.at(place) else {
            return Next::End;
        };
        let Some((id, mapping)) = found else {
            return Next::Nothing;
        };
        if let Some(copy) = mapping.copy {
            let (proto, internal, external) = (mapping.proto, mapping.internal, mapping.external);
            let hash = hash_of_mapping(proto, internal);
            let falls_here =
                |ha: &Ha| ha.is_orphaned(copy.origin) && ha.decider(copy, hash).is_none();
            let orphan = self.ha.as_deref().is_some_and(falls_here);
            if !orphan || self.decider_of(proto, internal, external.0) != Some(self.id) {
                return Next::Nothing;
            }
            self.adopt_mapping(id);
        }
        let told = self.mappings.get(id).is_some_and(|own| own.version > 0);
        let record = self.record_of_mapping(id, 1).filter(|_| told);
        record.map_or(Next::Nothing, Next::Tell)
    }

    /// Ends mappings whose time is over.
    pub(in super::super) fn expire_mappings(&mut self, budget: usize) {
        let mut ended = arrayvec::ArrayVec::<Mapping, ENDS>::new();
        let ha = self.ha.as_ref();
        let is_orphan = |origin| ha.is_some_and(|ha| ha.is_orphaned(origin));
        self.mappings
            .expire(self.now, budget.min(ENDS), is_orphan, |mapping| {
                ended.push(*mapping);
            });
        let Some(node) = self.ha.as_ref().map(|ha| ha.parts.node) else {
            return;
        };
        for mapping in ended.iter().filter(|mapping| mapping.version > 0) {
            let record = record(node, mapping, 0);
            self.push_record(&record);
            self.tell_workers(&record);
        }
    }

    /// Goes on with a sweep of copies that a node told no more of. Gives where to go on.
    pub(super) fn sweep_mappings(&mut self, of: LaneOf, mark: u16, from: u32) -> Option<u32> {
        let meeting = self.meeting_of(of);
        for place in from..from + SLICE {
            let Some((id, mapping)) = self.mappings.at(place)? else {
                continue;
            };
            let Some(copy) = mapping.copy.filter(|copy| copy.origin != OURS) else {
                continue;
            };
            let origin = Origin::unpack(copy.origin);
            let is_older = mark.wrapping_sub(origin.mark).cast_signed() > 0;
            let is_here = (origin.lane, origin.meeting) == (of.lane, meeting);
            if is_here && is_older && mapping.sessions == 0 {
                self.mappings.forget(id);
                self.counters.count(WorkerCounter::HaSwept);
            }
        }
        Some(from + SLICE)
    }

    /// A session that is taken over holds its mapping from now on. Gives its number; `None` if there is
    /// no room.
    pub(super) fn hold_for(&mut self, arrives: &Tuple, leaves: &Tuple) -> Option<u32> {
        let (internal, external) = ends(arrives, leaves);
        let remote = if internal == (arrives.src, arrives.sport) {
            leaves.dst
        } else {
            arrives.src
        };
        let found = self.mappings.find(arrives.proto, external);
        let found =
            found.filter(|&id| self.mappings.get(id).map(|own| own.internal) == Some(internal));
        let id = match found {
            Some(id) => id,
            None => {
                // Its owner told of the session, and not of this: made of what the session says.
                let mut pools = self.snapshot.nat.pools.iter();
                let pool = pools.find(|pool| pool.addresses.contains(&external.0))?;
                let told = Told {
                    proto: arrives.proto,
                    internal,
                    external,
                    filtering: pool.filtering,
                    version: 0,
                    origin: Origin::default().pack(),
                };
                self.mappings.keep(&told).ok()?;
                self.mappings.find(arrives.proto, external)?
            }
        };
        self.adopt_mapping(id);
        self.mappings.hold(id, remote).ok()?;
        Some(id.get())
    }
}

fn record(owner: u8, mapping: &Mapping, timeout_left: u32) -> Record {
    Record::Mapping(MappingRecord {
        stamp: Stamp {
            version: mapping.version,
            owner,
        },
        proto: mapping.proto,
        filtering: match mapping.filtering {
            Filtering::EndpointIndependent => 0,
            Filtering::AddressDependent => 1,
            Filtering::EndpointDependent => 2,
        },
        service: 0,
        internal: mapping.internal,
        external: mapping.external,
        timeout_left,
    })
}

fn tuple<F: Family>(addrs: F::Addrs, ports: u32, proto: u8) -> Tuple {
    let key = sluice_wire::Key {
        addrs,
        ports,
        proto,
        zone: 0,
        zero: 0,
    };
    key.tuple::<F>()
}

/// The internal and the external endpoint of a session of a mapping: the source, if that is what was
/// translated, and the destination else.
fn ends(arrives: &Tuple, leaves: &Tuple) -> (End, End) {
    let (from, to) = ((arrives.src, arrives.sport), (leaves.src, leaves.sport));
    if from == to {
        ((leaves.dst, leaves.dport), (arrives.dst, arrives.dport))
    } else {
        (from, to)
    }
}
