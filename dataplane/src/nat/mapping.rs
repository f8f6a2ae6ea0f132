//! Endpoint-independent mappings (RFC 4787 section 4.1): one external endpoint for one internal
//! endpoint, whomever it speaks to.
//!
//! All sessions of an internal endpoint live on one worker, which alone decides about its mapping:
//! the *affinity worker* ([`affinity`]). It takes ports from its own block of the pool's range, so
//! that from the port alone anybody can tell whose mapping it is ([`block_owner`]). Pools with such
//! mappings share no address and port with anything else; the configuration sees to it.
//!
//! A mapping lives while sessions hold it, and some time after. It keeps the filtering that it was
//! made with.
//!
//! Hairpins (RFC 4787 REQ-9) need nothing special: a host that speaks to the external endpoint of
//! another has its own source translated to its own mapping, and the packet then comes in again as
//! if from outside, at the worker that [`block_owner`] names. Filters see external endpoints, and
//! so does the host that receives it.

use std::net::IpAddr;

use sluice_wire::{KeyHasher, Tuple, proto};

use super::contacts::Contacts;
use super::index::Index;
use super::ports::{PortRange, Probes, Searches};
use super::rules::{Filtering, SnatPool};
use super::slab::Slab;
use super::{Purpose, hash_endpoint, paired};
use crate::services::ServiceMap;

mod copies;
pub use copies::Told;

/// How long a mapping of UDP outlives its last session (RFC 4787 REQ-5 asks for two minutes),
/// milliseconds.
const LINGER_UDP_MS: u32 = 120_000;
/// How long a mapping may wait for its first session, milliseconds.
const UNHELD_MS: u32 = 1_000;

/// The worker that decides about the mapping of an internal endpoint in a pool with these ports.
/// All workers compute the same, given the same secret.
pub fn affinity(
    hasher: &KeyHasher,
    ports: (u16, u16),
    workers: u16,
    proto: u8,
    internal: IpAddr,
    port: u16,
) -> u16 {
    let hash = hash_endpoint(hasher, Purpose::Affinity, proto, internal, port);
    let blocks = PortRange::new(ports).map_or(1, |range| range.blocks(workers));
    (((hash >> 32) * u64::from(blocks)) >> 32) as u16
}

/// The worker that leases `port` of a pool with these ports; `None` if it is not the pool's.
pub fn block_owner(ports: (u16, u16), workers: u16, port: u16) -> Option<u16> {
    PortRange::new(ports)?.block_of(port, workers)
}

/// A mapping of one worker. Never 0, so that 0 can say "none" (`session::flow::Cold::extra`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MappingId(std::num::NonZeroU32);

impl MappingId {
    /// From a number that [`MappingId::get`] gave.
    pub fn new(number: u32) -> Option<Self> {
        std::num::NonZeroU32::new(number).map(Self)
    }

    /// As a number.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    fn at(position: u32) -> Option<Self> {
        Self::new(position + 1)
    }

    fn position(self) -> u32 {
        self.0.get() - 1
    }
}

/// One internal endpoint's external endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// IP protocol.
    pub proto: u8,
    /// Address and port of the host.
    pub internal: (IpAddr, u16),
    /// Address and port that the world sees.
    pub external: (IpAddr, u16),
    /// Who may open sessions to it.
    pub filtering: Filtering,
    /// Sessions that hold it.
    pub sessions: u32,
    /// When it goes if no session holds it then, milliseconds.
    deadline: u32,
    /// It was another appliance's at first, so its port need not be of this worker's block.
    foreign: bool,
    /// Number of the last statement about it between appliances; 0: there was none.
    pub version: u32,
    /// Another appliance has it, and this is a copy: where that comes from.
    pub copy: Option<Copied>,
}

/// Where a copy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// In the terms of whoever keeps the copies.
    pub origin: u32,
    /// Nobody has it any more, and the copy is to go at this time, milliseconds.
    orphaned: Option<u32>,
}

impl Mapping {
    /// The tuple of a packet from the host, with the source that the world sees.
    #[must_use]
    pub fn outbound(&self, tuple: Tuple) -> Tuple {
        let (src, sport) = self.external;
        Tuple {
            src,
            sport,
            ..tuple
        }
    }

    /// The tuple of a packet from the world, with the destination that the host knows.
    #[must_use]
    pub fn inbound(&self, tuple: Tuple) -> Tuple {
        let (dst, dport) = self.internal;
        Tuple {
            dst,
            dport,
            ..tuple
        }
    }

    fn has_expired(&self, now: u32) -> bool {
        self.copy.is_none() && self.sessions == 0 && now.wrapping_sub(self.deadline) as i32 >= 0
    }
}

/// Why there is no mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MappingError {
    /// Every port of this worker's block is taken, or so many that no free one was found yet.
    Exhausted,
    /// There is no room for another mapping, or for another remote address of one.
    Full,
}

/// The mappings of one worker.
#[derive(Debug)]
pub struct Mappings {
    worker: u16,
    workers: u16,
    hasher: KeyHasher,
    entries: Slab<Mapping>,
    by_internal: Index,
    by_external: Index,
    contacts: Contacts,
    searches: Searches,
    /// How many are copies.
    copies: usize,
    /// Where the next sweep begins.
    swept: u32,
}

impl Mappings {
    /// Room for `mappings` mappings, and for `contacts` pairs of a mapping and a remote address
    /// (only mappings with address-dependent filtering need them). The secret is the same for all
    /// workers.
    pub fn new(
        worker: u16,
        workers: u16,
        hasher: KeyHasher,
        mappings: usize,
        contacts: usize,
    ) -> Self {
        Self {
            worker,
            workers: workers.max(1),
            hasher,
            entries: Slab::new(mappings),
            by_internal: Index::new(mappings),
            by_external: Index::new(mappings),
            contacts: Contacts::new(contacts),
            searches: Searches::default(),
            copies: 0,
            swept: 0,
        }
    }

    /// The mapping of a packet's source in `pool`, made if there is none. This worker must be its
    /// affinity worker. A mapping that no session holds within a second goes again.
    ///
    /// # Errors
    /// See [`MappingError`].
    pub fn outbound(
        &mut self,
        pool: &SnatPool,
        services: &ServiceMap,
        tuple: &Tuple,
        now: u32,
    ) -> Result<MappingId, MappingError> {
        let internal = (tuple.src, tuple.sport);
        if let Some(id) = self.find_internal(pool, tuple.proto, internal) {
            return Ok(id);
        }
        if self.entries.is_full() {
            return Err(MappingError::Full);
        }
        let external = self.free_port(pool, services, tuple, now)?;
        let mapping = Mapping {
            proto: tuple.proto,
            internal,
            external,
            filtering: pool.filtering,
            sessions: 0,
            deadline: now.wrapping_add(UNHELD_MS),
            foreign: false,
            version: 0,
            copy: None,
        };
        self.insert(mapping)
    }

    fn insert(&mut self, mapping: Mapping) -> Result<MappingId, MappingError> {
        let position = self.entries.insert(mapping).ok_or(MappingError::Full)?;
        self.by_internal
            .insert(hash_internal(&self.hasher, &mapping), position);
        self.by_external
            .insert(hash_external(&self.hasher, &mapping), position);
        self.copies += usize::from(mapping.copy.is_some());
        MappingId::at(position).ok_or(MappingError::Full)
    }

    /// What [`outbound`](Self::outbound) would give: the mapping that there is; `None` where one would
    /// be made.
    ///
    /// # Errors
    /// [`MappingError::Full`]: there is none, and no room for one.
    pub fn foresee(
        &self,
        pool: &SnatPool,
        tuple: &Tuple,
    ) -> Result<Option<MappingId>, MappingError> {
        let found = self.find_internal(pool, tuple.proto, (tuple.src, tuple.sport));
        match found {
            None if self.entries.is_full() => Err(MappingError::Full),
            found => Ok(found),
        }
    }

    /// The address that a new mapping of `host` gets, unless it has no port left.
    pub fn first_address(&self, pool: &SnatPool, host: IpAddr) -> Option<IpAddr> {
        paired(&self.hasher, &pool.addresses, host).next()
    }

    /// The mapping that has this external endpoint.
    pub fn inbound(&self, proto: u8, address: IpAddr, port: u16, now: u32) -> Option<MappingId> {
        let position = find_external(
            &self.hasher,
            &self.entries,
            &self.by_external,
            proto,
            (address, port),
        )?;
        let live = !self.entries.get(position)?.has_expired(now);
        live.then(|| MappingId::at(position)).flatten()
    }

    /// Whether `remote` may open a session to a mapping.
    pub fn admits(&self, id: MappingId, remote: IpAddr) -> bool {
        let position = id.position();
        self.entries
            .get(position)
            .is_some_and(|mapping| match mapping.filtering {
                Filtering::EndpointIndependent => true,
                Filtering::AddressDependent => {
                    self.contacts.find(&self.hasher, position, remote).is_some()
                }
                // Whoever was spoken to has a session already.
                Filtering::EndpointDependent => false,
            })
    }

    /// A mapping.
    pub fn get(&self, id: MappingId) -> Option<&Mapping> {
        self.entries.get(id.position())
    }

    /// A session with `remote` begins to hold a mapping.
    ///
    /// # Errors
    /// [`MappingError::Full`], and nothing changed, if there is no room for the remote address.
    pub fn hold(&mut self, id: MappingId, remote: IpAddr) -> Result<(), MappingError> {
        let position = id.position();
        let mapping = self
            .entries
            .get_mut(position)
            .ok_or(MappingError::Exhausted)?;
        if mapping.filtering == Filtering::AddressDependent {
            self.contacts
                .hold(&self.hasher, position, remote)
                .ok_or(MappingError::Full)?;
        }
        mapping.sessions += 1;
        Ok(())
    }

    /// A session with `remote` that held a mapping has ended.
    pub fn release(&mut self, id: MappingId, remote: IpAddr, now: u32) {
        let position = id.position();
        let Some(mapping) = self.entries.get_mut(position).filter(|m| m.sessions > 0) else {
            return;
        };
        if mapping.filtering == Filtering::AddressDependent {
            self.contacts.release(&self.hasher, position, remote);
        }
        mapping.sessions -= 1;
        if mapping.sessions == 0 {
            let linger = if mapping.proto == proto::UDP {
                LINGER_UDP_MS
            } else {
                0
            };
            mapping.deadline = now.wrapping_add(linger);
        }
    }

    /// Looks at the next `budget` places and ends the mappings there whose time has come; `tell`
    /// is called with each that was no copy. `is_orphan` says of where a copy comes from whether nobody has
    /// it any more. Returns how many ended.
    pub fn expire(
        &mut self,
        now: u32,
        budget: usize,
        is_orphan: impl Fn(u32) -> bool,
        mut tell: impl FnMut(&Mapping),
    ) -> usize {
        let places = self.entries.places();
        let mut ended = 0;
        for _ in 0..budget.min(places as usize) {
            self.swept = if self.swept < places { self.swept } else { 0 };
            let position = self.swept;
            self.swept += 1;
            let Some(mapping) = self.entries.get_mut(position) else {
                continue;
            };
            if mapping.has_expired(now) || mapping.ages(now, &is_orphan) {
                if mapping.copy.is_none() {
                    tell(mapping);
                }
                self.end(position);
                ended += 1;
            }
        }
        ended
    }

    /// How many there are, but for copies.
    pub fn len(&self) -> usize {
        self.entries.len() - self.copies
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A host that matches rules of several pools has a mapping in each; and one made before the
    /// pool was changed may no longer be of it.
    fn find_internal(
        &self,
        pool: &SnatPool,
        proto: u8,
        (address, port): (IpAddr, u16),
    ) -> Option<MappingId> {
        let range = PortRange::new(pool.ports)?;
        let hash = hash_endpoint(&self.hasher, Purpose::Internal, proto, address, port);
        let mut found = None;
        for position in self.by_internal.candidates(hash) {
            let Some(mapping) = self.entries.get(position) else {
                continue;
            };
            if mapping.proto == proto
                && mapping.internal == (address, port)
                && (mapping.foreign || range.contains(mapping.external.1))
                && pool.addresses.contains(&mapping.external.0)
            {
                found = Some(position);
                // Both appliances made one at the same moment: one's own counts.
                if mapping.copy.is_none() {
                    break;
                }
            }
        }
        MappingId::at(found?)
    }

    fn free_port(
        &mut self,
        pool: &SnatPool,
        services: &ServiceMap,
        tuple: &Tuple,
        now: u32,
    ) -> Result<(IpAddr, u16), MappingError> {
        let block = PortRange::new(pool.ports)
            .and_then(|range| range.block(self.worker, self.workers))
            .ok_or(MappingError::Exhausted)?;
        let candidates = if pool.parity && tuple.proto == proto::UDP {
            block.parity(tuple.sport).ok_or(MappingError::Exhausted)?
        } else {
            block.all()
        };
        let mut probes = Probes::default();
        let (hasher, entries, by_external) = (&self.hasher, &self.entries, &self.by_external);
        let searches = &mut self.searches;
        let found = paired(hasher, &pool.addresses, tuple.src).find_map(|address| {
            let here = services.at(address);
            let taken = |port| {
                here.is_some_and(|services| services.find(tuple.proto, port).is_some())
                    || find_external(hasher, entries, by_external, tuple.proto, (address, port))
                        .is_some()
            };
            let subject = hash_endpoint(hasher, Purpose::Search, tuple.proto, address, 0);
            let port = searches.find(subject, candidates, now, &mut probes, |_| true, taken)?;
            Some((address, port))
        });
        found.ok_or(MappingError::Exhausted)
    }

    /// Removes exactly this mapping (pitfall: cleaning up must never hit another's).
    fn end(&mut self, position: u32) {
        let Some(mapping) = self.entries.get(position).copied() else {
            return;
        };
        let (hasher, entries) = (&self.hasher, &self.entries);
        let internal_of = |at| entries.get(at).map_or(0, |own| hash_internal(hasher, own));
        let external_of = |at| entries.get(at).map_or(0, |own| hash_external(hasher, own));
        self.by_internal
            .remove(internal_of(position), position, internal_of);
        self.by_external
            .remove(external_of(position), position, external_of);
        self.entries.remove(position);
        self.copies -= usize::from(mapping.copy.is_some());
        let (address, port) = mapping.external;
        let subject = hash_endpoint(&self.hasher, Purpose::Search, mapping.proto, address, 0);
        self.searches.give_back(subject, port);
    }
}

fn find_external(
    hasher: &KeyHasher,
    entries: &Slab<Mapping>,
    by_external: &Index,
    proto: u8,
    endpoint: (IpAddr, u16),
) -> Option<u32> {
    let (address, port) = endpoint;
    let hash = hash_endpoint(hasher, Purpose::External, proto, address, port);
    by_external.candidates(hash).find(|&position| {
        entries
            .get(position)
            .is_some_and(|own| own.proto == proto && own.external == endpoint)
    })
}

fn hash_internal(hasher: &KeyHasher, mapping: &Mapping) -> u64 {
    let (address, port) = mapping.internal;
    hash_endpoint(hasher, Purpose::Internal, mapping.proto, address, port)
}

fn hash_external(hasher: &KeyHasher, mapping: &Mapping) -> u64 {
    let (address, port) = mapping.external;
    hash_endpoint(hasher, Purpose::External, mapping.proto, address, port)
}

#[cfg(test)]
mod tests;
