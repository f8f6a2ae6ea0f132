//! A hash map of fixed size whose entries expire: persistence, NAT mappings, fragments, neighbours,
//! tuples registered by other workers.
//!
//! It sits on the session table's [`Index`]. All memory is taken at the start; a full map refuses.
//! An entry is gone for readers at the very millisecond its lifetime ends, and its place is freed by
//! the sweep, which hands it to the caller to undo what hangs on it.

use std::num::NonZeroU32;

use crate::io::{Memory, OutOfMemory};
use crate::session::index::Index;

/// A lifetime that never ends.
pub const FOREVER: u32 = u32::MAX;
/// Lifetimes are cut to this (about 12 days), so that times can be told apart across their wrap.
const MAX_LIFETIME: u32 = 1 << 30;
/// End of the free list.
const NIL: u32 = u32::MAX;

/// An entry of one map. Handles of removed entries are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(NonZeroU32);

impl Handle {
    const fn new(at: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(at))
    }

    const fn at(self) -> usize {
        (self.0.get() - 1) as usize
    }

    /// As a number, to be kept elsewhere; never 0.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// From the number; `None` for 0.
    pub const fn from_u32(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

/// The map holds as many entries as it can; nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the map is full")]
pub struct MapFull;

#[derive(Debug)]
enum Slot<K, V> {
    Free { next: u32 },
    Used(Entry<K, V>),
}

#[derive(Debug)]
struct Entry<K, V> {
    hash: u64,
    key: K,
    value: V,
    /// When it was last inserted or touched, milliseconds.
    used: u32,
    /// How long it lives from then on, milliseconds.
    lifetime: u32,
}

impl<K, V> Entry<K, V> {
    #[inline]
    fn is_over(&self, now: u32) -> bool {
        self.lifetime != FOREVER
            && now.wrapping_sub(self.used).cast_signed() >= self.lifetime.cast_signed()
    }

    fn set_lifetime(&mut self, now: u32, lifetime: u32) {
        self.used = now;
        self.lifetime = match lifetime {
            FOREVER => FOREVER,
            lifetime => lifetime.min(MAX_LIFETIME),
        };
    }
}

/// See the module's description. The hash of a key is the caller's to give: keyed, and 64 bits.
#[derive(Debug)]
pub struct ExpiringMap<K, V> {
    index: Index,
    slots: Vec<Slot<K, V>>,
    capacity: usize,
    free: u32,
    swept: usize,
}

impl<K: Copy + Eq, V> ExpiringMap<K, V> {
    /// A map for `capacity` entries; `what` names it where memory is short.
    ///
    /// # Errors
    /// [`OutOfMemory`]; also for more entries than 32-bit handles can tell apart.
    pub fn new(
        memory: &mut impl Memory,
        what: &'static str,
        capacity: usize,
    ) -> Result<Self, OutOfMemory> {
        let mut slots = Vec::new();
        if capacity >= NIL as usize || slots.try_reserve_exact(capacity).is_err() {
            return Err(OutOfMemory {
                what,
                bytes: capacity.saturating_mul(size_of::<Slot<K, V>>()),
            });
        }
        Ok(Self {
            index: Index::new(memory, what, capacity)?,
            slots,
            capacity,
            free: NIL,
            swept: 0,
        })
    }

    /// Entries held, those included that have expired and wait for the sweep.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Most entries that it can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Asks for the bucket of a key.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    #[inline]
    fn entry(&self, at: u32) -> Option<&Entry<K, V>> {
        match self.slots.get(at as usize)? {
            Slot::Used(entry) => Some(entry),
            Slot::Free { .. } => None,
        }
    }

    #[inline]
    fn entry_mut(&mut self, at: u32) -> Option<&mut Entry<K, V>> {
        match self.slots.get_mut(at as usize)? {
            Slot::Used(entry) => Some(entry),
            Slot::Free { .. } => None,
        }
    }

    /// The place of a key, expired or not.
    #[inline]
    fn place(&self, hash: u64, key: &K) -> Option<u32> {
        self.index
            .find(hash, |at| self.entry(at).is_some_and(|e| e.key == *key))
    }

    /// The handle of a key's entry, if it lives.
    #[inline]
    pub fn find(&self, hash: u64, key: &K, now: u32) -> Option<Handle> {
        let at = self.place(hash, key)?;
        let over = self.entry(at)?.is_over(now);
        (!over).then_some(Handle::new(at))
    }

    /// The value of a key, if its entry lives. Does not touch it.
    #[inline]
    pub fn get(&self, hash: u64, key: &K, now: u32) -> Option<&V> {
        let entry = self.entry(self.place(hash, key)?)?;
        (!entry.is_over(now)).then_some(&entry.value)
    }

    /// The same, writable.
    #[inline]
    pub fn get_mut(&mut self, hash: u64, key: &K, now: u32) -> Option<&mut V> {
        let at = self.place(hash, key)?;
        let entry = self.entry_mut(at)?;
        (!entry.is_over(now)).then_some(&mut entry.value)
    }

    /// The value of a key, if its entry lives, which starts its lifetime anew.
    #[inline]
    pub fn touch(&mut self, hash: u64, key: &K, now: u32) -> Option<&mut V> {
        let at = self.place(hash, key)?;
        let entry = self.entry_mut(at)?;
        if entry.is_over(now) {
            return None;
        }
        entry.used = now;
        Some(&mut entry.value)
    }

    /// Key and value behind a handle, expired or not; `None` if the entry was removed. The caller
    /// must know that the place was not given to another key since.
    #[inline]
    pub fn by_handle(&mut self, handle: Handle) -> Option<(&K, &mut V)> {
        let entry = self.entry_mut(u32::try_from(handle.at()).ok()?)?;
        Some((&entry.key, &mut entry.value))
    }

    /// Gives the entry behind a handle another lifetime, from `now` on.
    pub fn set_lifetime(&mut self, handle: Handle, now: u32, lifetime: u32) {
        if let Ok(at) = u32::try_from(handle.at())
            && let Some(entry) = self.entry_mut(at)
        {
            entry.set_lifetime(now, lifetime);
        }
    }

    /// Adds an entry that lives for `lifetime` milliseconds ([`FOREVER`]: until it is removed) from
    /// its last touch on, or gives the key's entry a new value and lifetime. Also gives the value
    /// that was replaced, even if it had expired.
    ///
    /// # Errors
    /// [`MapFull`].
    pub fn insert(
        &mut self,
        hash: u64,
        key: K,
        value: V,
        now: u32,
        lifetime: u32,
    ) -> Result<(Handle, Option<V>), MapFull> {
        if let Some(at) = self.place(hash, &key)
            && let Some(entry) = self.entry_mut(at)
        {
            let old = std::mem::replace(&mut entry.value, value);
            entry.set_lifetime(now, lifetime);
            return Ok((Handle::new(at), Some(old)));
        }
        let at = if self.free != NIL {
            self.free
        } else if self.slots.len() < self.capacity {
            self.slots.len() as u32
        } else {
            return Err(MapFull);
        };
        self.index.insert(hash, at).map_err(|_| MapFull)?;
        let mut entry = Entry {
            hash,
            key,
            value,
            used: now,
            lifetime,
        };
        entry.set_lifetime(now, lifetime);
        match self.slots.get_mut(at as usize) {
            Some(slot) => {
                if let Slot::Free { next } = *slot {
                    self.free = next;
                }
                *slot = Slot::Used(entry);
            }
            None => self.slots.push(Slot::Used(entry)),
        }
        Ok((Handle::new(at), None))
    }

    /// Takes a key's entry out, expired or not.
    pub fn remove(&mut self, hash: u64, key: &K) -> Option<V> {
        let at = self.place(hash, key)?;
        self.take(at).map(|(_, value)| value)
    }

    /// Takes the entry behind a handle out.
    pub fn remove_handle(&mut self, handle: Handle) -> Option<(K, V)> {
        self.take(u32::try_from(handle.at()).ok()?)
    }

    fn take(&mut self, at: u32) -> Option<(K, V)> {
        let hash = self.entry(at)?.hash;
        self.index.remove(hash, at);
        let slot = self.slots.get_mut(at as usize)?;
        let Slot::Used(entry) = std::mem::replace(slot, Slot::Free { next: self.free }) else {
            return None;
        };
        self.free = at;
        Some((entry.key, entry.value))
    }

    /// Goes on through the next `budget` places and shows those whose lifetime is over to `judge`:
    /// `Some(lifetime)` keeps the entry for so long from now on, `None` takes it out.
    pub fn sweep(
        &mut self,
        now: u32,
        budget: usize,
        mut judge: impl FnMut(&K, &mut V) -> Option<u32>,
    ) {
        for _ in 0..budget.min(self.slots.len()) {
            if self.swept >= self.slots.len() {
                self.swept = 0;
            }
            let at = self.swept as u32;
            self.swept += 1;
            let Some(entry) = self.entry_mut(at) else {
                continue;
            };
            if !entry.is_over(now) {
                continue;
            }
            match judge(&entry.key, &mut entry.value) {
                Some(lifetime) => entry.set_lifetime(now, lifetime),
                None => {
                    self.take(at);
                }
            }
        }
    }

    /// Shows living entries to `visit`, with the milliseconds since their last use, from place
    /// `from` on, at most `budget` places. Where to go on, or `None` at the end.
    pub fn scan(
        &self,
        from: usize,
        budget: usize,
        now: u32,
        mut visit: impl FnMut(Handle, &K, &V, u32),
    ) -> Option<usize> {
        let end = from.saturating_add(budget).min(self.slots.len());
        for at in from..end {
            if let Some(entry) = self.entry(at as u32)
                && !entry.is_over(now)
            {
                let idle = now.wrapping_sub(entry.used);
                visit(Handle::new(at as u32), &entry.key, &entry.value, idle);
            }
        }
        (end < self.slots.len()).then_some(end)
    }
}

#[cfg(test)]
mod tests;
