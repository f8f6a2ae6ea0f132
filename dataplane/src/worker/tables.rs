//! The session tables of both families, and the tuples registered by other workers.

use sluice_ha::digest::Place;
use sluice_wire::{Family, Key, KeyHasher, V4, V6};

use super::Limits;
use super::ha::Told;
use crate::handoff::AnyKey;
use crate::host::Connections;
use crate::io::{Memory, OutOfMemory};
use crate::map::ExpiringMap;
use crate::session::pointers::Pointers;
use crate::session::table::{MAX_TIMEOUT, Table};
use crate::stack::neighbour::Neighbours;
use crate::stack::segment::Header;

/// How long a registration is kept without packets, milliseconds. It outlives sessions, which end it
/// themselves; this clears those whose end got lost in a full ring.
const REGISTRATION_MS: u32 = MAX_TIMEOUT;

/// Tuples whose packets come to this worker, while the session lives on another one.
type Registered<F> = ExpiringMap<Key<<F as Family>::Addrs>, u16>;

/// A worker's tables.
pub(super) struct Tables {
    v4: Table<V4>,
    v6: Table<V6>,
    registered_v4: Registered<V4>,
    registered_v6: Registered<V6>,
    host_v4: Connections<V4>,
    host_v6: Connections<V6>,
    /// Whose sessions are that are not known here.
    pub(super) pointers: Pointers,
    /// Registrations that found no room: their packets will be taken for strangers.
    pub(super) unregistrable: u64,
}

/// Whether other appliances have copies of sessions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shared {
    /// There are none.
    No,
    /// All have.
    Full,
    /// One has, and the others know the owner.
    Backup,
}

impl Tables {
    /// `secret`: what keeps strangers from choosing places.
    pub(super) fn new(
        memory: &mut impl Memory,
        limits: &Limits,
        workers: u16,
        (hasher, secret): (KeyHasher, u64),
        shared: Shared,
    ) -> Result<Self, OutOfMemory> {
        let registrations = if workers > 1 { limits.registrations } else { 0 };
        let mut v4 = Table::new(memory, limits.sessions_v4, hasher)?;
        let mut v6 = Table::new(memory, limits.sessions_v6, hasher)?;
        if shared != Shared::No {
            v4.keep_versions(memory)?;
            v6.keep_versions(memory)?;
        }
        let mut pointers = Pointers::default();
        if shared == Shared::Backup {
            v4.keep_holders(memory)?;
            v6.keep_holders(memory)?;
            pointers = Pointers::new(memory, limits.pointers, secret)?;
        }
        Ok(Self {
            v4,
            v6,
            registered_v4: ExpiringMap::new(memory, "registered tuples", registrations)?,
            registered_v6: ExpiringMap::new(
                memory,
                "registered IPv6 tuples",
                registrations.min(2 * limits.sessions_v6),
            )?,
            host_v4: Connections::new(memory, limits.host_connections, hasher)?,
            host_v6: Connections::new(memory, limits.host_connections, hasher)?,
            pointers,
            unregistrable: 0,
        })
    }

    /// Whether another node has a session of which no more is known here.
    #[inline]
    pub(super) fn has_pointer<F: Family>(&self, key: &Key<F::Addrs>) -> bool {
        !self.pointers.is_empty() && self.pointers.get(hash_of::<F>(key)).is_some()
    }

    pub(super) fn register(&mut self, key: AnyKey, owner: u16, now: u32) {
        let stored = match key {
            AnyKey::V4(key) => register(&self.v4, &mut self.registered_v4, key, owner, now),
            AnyKey::V6(key) => register(&self.v6, &mut self.registered_v6, key, owner, now),
        };
        self.unregistrable += u64::from(!stored);
    }

    pub(super) fn unregister(&mut self, key: AnyKey, owner: u16, now: u32) {
        match key {
            AnyKey::V4(key) => unregister(&self.v4, &mut self.registered_v4, key, owner, now),
            AnyKey::V6(key) => unregister(&self.v6, &mut self.registered_v6, key, owner, now),
        }
    }

    /// Clears registrations that outlived their sessions.
    pub(super) fn sweep_registrations(&mut self, now: u32, budget: usize) {
        self.registered_v4.sweep(now, budget, |_, _| None);
        self.registered_v6.sweep(now, budget, |_, _| None);
    }

    /// Clears connections of the host that are over.
    pub(super) fn sweep_host(&mut self, now: u32, budget: usize, neighbours: &mut Neighbours) {
        self.host_v4
            .sweep(now, budget, |neighbour| neighbours.release(neighbour));
        self.host_v6
            .sweep(now, budget, |neighbour| neighbours.release(neighbour));
    }
}

/// What pointers know a tuple by.
pub(super) fn hash_of<F: Family>(key: &Key<F::Addrs>) -> u64 {
    Place::of_tuple::<F>(&key.addrs, key.ports, key.proto).hash()
}

/// The first to register a tuple keeps it, as the first session of a tuple does in a table.
fn register<F: Family>(
    table: &Table<F>,
    map: &mut Registered<F>,
    key: Key<F::Addrs>,
    owner: u16,
    now: u32,
) -> bool {
    let hash = table.hash(&key);
    map.get(hash, &key, now).is_some() || map.insert(hash, key, owner, now, REGISTRATION_MS).is_ok()
}

fn unregister<F: Family>(
    table: &Table<F>,
    map: &mut Registered<F>,
    key: Key<F::Addrs>,
    owner: u16,
    now: u32,
) {
    let hash = table.hash(&key);
    if map.get(hash, &key, now) == Some(&owner) {
        map.remove(hash, &key);
    }
}

/// Picks what belongs to a family, so that the stations of a packet's way are written once.
pub(super) trait PerFamily: Told + Header {
    fn table(tables: &Tables) -> &Table<Self>;
    fn table_mut(tables: &mut Tables) -> &mut Table<Self>;
    /// The worker that registered the tuple.
    fn registered(tables: &mut Tables, key: &Key<Self::Addrs>, hash: u64, now: u32) -> Option<u16>;
    /// The same, without keeping the registration alive.
    fn find_registered(tables: &Tables, key: &Key<Self::Addrs>, hash: u64, now: u32)
    -> Option<u16>;
    fn any(key: Key<Self::Addrs>) -> AnyKey;
    /// The connections of the host's kernel.
    fn host(tables: &Tables) -> &Connections<Self>;
    fn host_mut(tables: &mut Tables) -> &mut Connections<Self>;
}

impl PerFamily for V4 {
    #[inline]
    fn table(tables: &Tables) -> &Table<V4> {
        &tables.v4
    }

    #[inline]
    fn table_mut(tables: &mut Tables) -> &mut Table<V4> {
        &mut tables.v4
    }

    fn registered(tables: &mut Tables, key: &Key<u64>, hash: u64, now: u32) -> Option<u16> {
        tables.registered_v4.touch(hash, key, now).copied()
    }

    fn find_registered(tables: &Tables, key: &Key<u64>, hash: u64, now: u32) -> Option<u16> {
        tables.registered_v4.get(hash, key, now).copied()
    }

    fn any(key: Key<u64>) -> AnyKey {
        AnyKey::V4(key)
    }

    fn host(tables: &Tables) -> &Connections<V4> {
        &tables.host_v4
    }

    fn host_mut(tables: &mut Tables) -> &mut Connections<V4> {
        &mut tables.host_v4
    }
}

impl PerFamily for V6 {
    #[inline]
    fn table(tables: &Tables) -> &Table<V6> {
        &tables.v6
    }

    #[inline]
    fn table_mut(tables: &mut Tables) -> &mut Table<V6> {
        &mut tables.v6
    }

    fn registered(tables: &mut Tables, key: &Key<[u64; 4]>, hash: u64, now: u32) -> Option<u16> {
        tables.registered_v6.touch(hash, key, now).copied()
    }

    fn find_registered(tables: &Tables, key: &Key<[u64; 4]>, hash: u64, now: u32) -> Option<u16> {
        tables.registered_v6.get(hash, key, now).copied()
    }

    fn any(key: Key<[u64; 4]>) -> AnyKey {
        AnyKey::V6(key)
    }

    fn host(tables: &Tables) -> &Connections<V6> {
        &tables.host_v6
    }

    fn host_mut(tables: &mut Tables) -> &mut Connections<V6> {
        &mut tables.host_v6
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::memory::Heap;

    /// Memory that counts what is taken.
    struct Counting(usize);

    impl Memory for Counting {
        fn zeroed<T>(
            &mut self,
            what: &'static str,
            len: usize,
        ) -> Result<&'static mut [T], OutOfMemory>
        where
            T: zerocopy::FromZeros + Send + 'static,
        {
            self.0 += len * size_of::<T>();
            Heap.zeroed(what, len)
        }
    }

    /// What `limits` take, bytes.
    fn bytes(shared: Shared, sessions: usize, pointers: usize) -> usize {
        let limits = Limits {
            sessions_v4: sessions,
            sessions_v6: 0,
            pointers,
            ..Limits::default()
        };
        let mut memory = Counting(0);
        let secrets = (KeyHasher::new([1, 2, 3, 4]), 5);
        Tables::new(&mut memory, &limits, 1, secrets, shared).expect("memory");
        memory.0
    }

    /// Of nodes that own as many sessions each: a copy of all on each node, against one copy of each.
    #[test]
    fn one_copy_takes_less_memory_than_all() {
        const OWN: usize = 1 << 16;
        let fixed = bytes(Shared::No, 0, 0);
        for (nodes, most) in [(3, 80), (8, 50)] {
            let full = bytes(Shared::Full, nodes * OWN, 0) - fixed;
            let backup = bytes(Shared::Backup, 2 * OWN, (nodes - 2) * 2 * OWN) - fixed;
            println!(
                "{nodes} nodes: {} against {} bytes",
                backup / OWN,
                full / OWN
            );
            assert!(backup * 100 <= full * most, "{nodes}: {backup} of {full}");
        }
    }
}
