//! Whose a session is, without the session: what a node keeps of sessions that it is neither owner nor
//! backup of.
//!
//! Sixteen bytes for each direction, against some two hundred for a copy. A tuple is known by a hash of
//! 64 bits, the same on all nodes ([`sluice_ha::digest::Place`]): where two tuples have the same a
//! packet goes to a node that does not know it, and is judged there. Where an entry lies depends on a
//! secret besides, so that nobody can fill a chosen place.
//!
//! An entry is in one of two buckets, each of a cache line. Where both are full one of their entries
//! moves to its other bucket; where none can, the table refuses: packets of that session are then
//! shown to one node after the other, as if nothing were known.

use sluice_ha::digest::mix;
use zerocopy::FromZeros;

use crate::io::{Memory, OutOfMemory};

/// Entries of a bucket.
const WAYS: usize = 4;

/// What is known of a tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pointer {
    /// Whose it is, in the terms of whoever keeps it; never 0.
    pub origin: u32,
    /// What else whoever keeps it knows.
    pub extra: u32,
}

#[derive(Clone, Copy, FromZeros)]
#[repr(C)]
struct Entry {
    hash: u64,
    /// 0: there is none.
    origin: u32,
    extra: u32,
}

#[derive(Clone, Copy, FromZeros)]
#[repr(C, align(64))]
struct Bucket([Entry; WAYS]);

impl Entry {
    fn is(&self, hash: u64) -> bool {
        self.origin != 0 && self.hash == hash
    }

    fn pointer(&self) -> Pointer {
        Pointer {
            origin: self.origin,
            extra: self.extra,
        }
    }
}

/// There is no room for a pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room for a pointer")]
pub struct NoRoom;

/// See the module's description.
#[derive(Default)]
pub struct Pointers {
    secret: u64,
    /// Two at least, or none.
    buckets: &'static mut [Bucket],
    len: usize,
}

impl std::fmt::Debug for Pointers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pointers")
            .field("len", &self.len)
            .field("capacity", &self.capacity())
            .finish()
    }
}

impl Pointers {
    /// Room for `pointers` and some more, so that few find none.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn new(
        memory: &mut impl Memory,
        pointers: usize,
        secret: u64,
    ) -> Result<Self, OutOfMemory> {
        if pointers == 0 {
            return Ok(Self::default());
        }
        let buckets = (pointers + pointers / 2).div_ceil(WAYS).max(2);
        Ok(Self {
            secret,
            buckets: memory.zeroed("pointers to other nodes' sessions", buckets)?,
            len: 0,
        })
    }

    /// Pointers held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Places.
    pub fn capacity(&self) -> usize {
        self.buckets.len() * WAYS
    }

    /// The two buckets that a tuple may be in.
    fn places(&self, hash: u64) -> [usize; 2] {
        let mixed = mix(hash ^ self.secret);
        let len = self.buckets.len() as u64;
        let [first, second] = [mixed >> 32, mixed & 0xffff_ffff].map(|half| (half * len) >> 32);
        let second = match second == first {
            true => (first + 1) % len.max(1),
            false => second,
        };
        [first as usize, second as usize]
    }

    fn find(&self, hash: u64) -> Option<(usize, usize)> {
        let places = self.places(hash).into_iter();
        places
            .filter_map(|at| Some((at, self.buckets.get(at)?)))
            .find_map(|(at, Bucket(entries))| {
                let way = entries.iter().position(|entry| entry.is(hash))?;
                Some((at, way))
            })
    }

    /// What is known of a tuple.
    pub fn get(&self, hash: u64) -> Option<Pointer> {
        let (at, way) = self.find(hash)?;
        Some(self.buckets[at].0[way].pointer())
    }

    /// Keeps a pointer, in place of the one that there is for this tuple.
    ///
    /// # Errors
    /// [`NoRoom`]
    pub fn set(&mut self, hash: u64, pointer: Pointer) -> Result<(), NoRoom> {
        let (at, way) = match self.find(hash) {
            Some(found) => found,
            None => {
                let found = self.vacant(hash).or_else(|| self.make_room(hash));
                let found = found.ok_or(NoRoom)?;
                self.len += 1;
                found
            }
        };
        self.buckets[at].0[way] = Entry {
            hash,
            origin: pointer.origin,
            extra: pointer.extra,
        };
        Ok(())
    }

    /// A free place in the emptier of a tuple's two buckets.
    fn vacant(&self, hash: u64) -> Option<(usize, usize)> {
        let free = |at: usize| {
            let Bucket(entries) = self.buckets.get(at)?;
            let free = entries.iter().filter(|entry| entry.origin == 0).count();
            let way = entries.iter().position(|entry| entry.origin == 0)?;
            Some((free, (at, way)))
        };
        let [first, second] = self.places(hash).map(free);
        let best = match (first, second) {
            (Some(first), Some(second)) if second.0 > first.0 => Some(second),
            (first, second) => first.or(second),
        };
        best.map(|(_, place)| place)
    }

    /// Moves an entry of a tuple's buckets, which are full, to its other one.
    fn make_room(&mut self, hash: u64) -> Option<(usize, usize)> {
        for at in self.places(hash) {
            for way in 0..WAYS {
                let entry = self.buckets.get(at)?.0[way];
                // It is in one of its two buckets, which is full.
                if let Some((other, free)) = self.vacant(entry.hash) {
                    self.buckets[other].0[free] = entry;
                    return Some((at, way));
                }
            }
        }
        None
    }

    /// Forgets a tuple, and gives what was known of it.
    pub fn remove(&mut self, hash: u64) -> Option<Pointer> {
        let (at, way) = self.find(hash)?;
        let entry = &mut self.buckets[at].0[way];
        let pointer = entry.pointer();
        entry.origin = 0;
        self.len -= 1;
        Some(pointer)
    }

    /// Looks at `budget` places from number `from` on, and removes pointers of which `is_over` says so.
    /// Gives the number to go on with; `None` at the end.
    pub fn sweep(
        &mut self,
        from: u32,
        budget: u32,
        mut is_over: impl FnMut(u64, Pointer) -> bool,
    ) -> Option<u32> {
        let buckets = (budget as usize).div_ceil(WAYS);
        let from = from as usize;
        let to = (from + buckets).min(self.buckets.len());
        for Bucket(entries) in self.buckets.get_mut(from..to).unwrap_or_default() {
            for entry in entries.iter_mut().filter(|entry| entry.origin != 0) {
                if is_over(entry.hash, entry.pointer()) {
                    entry.origin = 0;
                    self.len -= 1;
                }
            }
        }
        (to < self.buckets.len()).then_some(to as u32)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::io::memory::Heap;

    fn pointers(room: usize) -> Pointers {
        Pointers::new(&mut Heap, room, 0x1234_5678_9abc_def0).expect("memory")
    }

    fn pointer(number: u32) -> Pointer {
        Pointer {
            origin: number + 1,
            extra: number * 3,
        }
    }

    fn hash(number: u32) -> u64 {
        mix(u64::from(number) + 77)
    }

    #[test]
    fn four_entries_are_a_cache_line() {
        assert_eq!((size_of::<Bucket>(), align_of::<Bucket>()), (64, 64));
    }

    #[test]
    fn as_many_find_room_as_were_asked_for() {
        for room in [1, 3, 100, 5000, 1_000_000] {
            let mut table = pointers(room);
            for number in 0..room as u32 {
                assert_eq!(table.set(hash(number), pointer(number)), Ok(()), "{room}");
            }
            assert_eq!(table.len(), room);
            assert!(table.capacity() <= room + room / 2 + 8, "24 bytes each");
            for number in 0..room as u32 {
                assert_eq!(table.get(hash(number)), Some(pointer(number)));
            }
        }
    }

    #[test]
    fn a_full_table_refuses_and_forgets_nothing() {
        let mut table = pointers(64);
        let taken = |table: &mut Pointers, number| table.set(hash(number), pointer(number)).is_ok();
        let kept: Vec<u32> = (0..1000).filter(|&n| taken(&mut table, n)).collect();
        assert_eq!(table.len(), kept.len());
        assert!(kept.len() <= table.capacity() && kept.len() > table.capacity() / 2);
        for &number in &kept {
            assert_eq!(table.get(hash(number)), Some(pointer(number)));
        }
        let none = &mut pointers(0);
        assert_eq!(none.set(1, pointer(1)), Err(NoRoom));
        assert_eq!((none.get(1), none.remove(1)), (None, None));
        assert_eq!(none.sweep(0, 100, |_, _| true), None);
    }

    #[test]
    fn a_sweep_sees_every_pointer_once() {
        let mut table = pointers(300);
        for number in 0..300 {
            table.set(hash(number), pointer(number)).expect("room");
        }
        let (mut at, mut seen) = (Some(0), vec![]);
        while let Some(from) = at {
            at = table.sweep(from, 10, |of, pointer| {
                assert_eq!(of, hash(pointer.origin - 1));
                seen.push(pointer.origin);
                pointer.origin % 2 == 0
            });
        }
        seen.sort_unstable();
        assert_eq!(seen, (1..=300).collect::<Vec<_>>());
        assert_eq!(table.len(), 150);
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0_u32..40, 0_u32..5, any::<u32>()), 0..300)) {
            let (mut table, mut model) = (pointers(64), HashMap::new());
            for (key, what, extra) in steps {
                let pointer = Pointer { extra, ..pointer(key) };
                match what {
                    0 | 1 => {
                        if table.set(hash(key), pointer).is_ok() {
                            model.insert(key, pointer);
                        }
                    }
                    2 => prop_assert_eq!(table.remove(hash(key)), model.remove(&key)),
                    3 => prop_assert_eq!(table.get(hash(key)), model.get(&key).copied()),
                    _ => {
                        table.sweep(0, u32::MAX, |_, pointer| pointer.origin % 7 == extra % 7);
                        model.retain(|_, pointer| pointer.origin % 7 != extra % 7);
                    }
                }
                prop_assert_eq!(table.len(), model.len());
            }
        }
    }
}
