//! The hash index: from a 64-bit hash to a 32-bit reference, by one cache line where possible.
//!
//! A bucket is one line: ten slots of a tag and a reference. A key belongs to one of two buckets;
//! it lives in the first unless that was full. A bucket counts the keys that it sent away and keeps
//! a small filter of their tags, so a miss rarely reads a second line. The other bucket follows
//! from this bucket and the tag alone (as in cuckoo filters, Fan et al., CoNEXT 2014), so that an
//! entry can be moved without its key. Nothing is ever rehashed or allocated, and removal leaves no
//! tombstone: a freed slot is as good as new.
//!
//! The index knows tags and references only. A tag that matches is a guess, wrong once in some
//! thousand times; the caller compares the key behind the reference.

use zerocopy::FromZeros;

use super::cpu;
use crate::io::{Memory, OutOfMemory};

/// Entries of a bucket.
const SLOTS: usize = 10;
const SLOT_MASK: u32 = (1 << SLOTS) - 1;
/// Set in the tag of an entry that lives in its second bucket.
const AWAY: u16 = 1 << 15;
/// The words after the tags.
const OVERFLOW: usize = 10;
const FILTER: usize = 11;

#[derive(FromZeros)]
#[repr(C, align(64))]
struct Bucket {
    /// Ten tags (0: free), then how many keys with this first bucket live in their second one, and
    /// the filter of those keys' tags.
    words: [u16; 12],
    refs: [u32; SLOTS],
}

impl Bucket {
    #[inline(always)]
    fn matches(&self, tag: u16) -> u32 {
        cpu::matches(&self.words, tag) & SLOT_MASK
    }

    /// Whether a key with this tag may have been sent to its second bucket.
    #[inline(always)]
    fn sent_away(&self, tag: u16) -> bool {
        self.words[FILTER] & filter_bit(tag) != 0
    }

    fn free_slot(&self) -> Option<usize> {
        let free = self.matches(0);
        (free != 0).then_some(free.trailing_zeros() as usize)
    }

    fn slot_of(&self, tag: u16, reference: u32) -> Option<usize> {
        (0..SLOTS).find(|&slot| self.words[slot] == tag && self.refs[slot] == reference)
    }

    fn set(&mut self, slot: usize, tag: u16, reference: u32) {
        self.words[slot] = tag;
        self.refs[slot] = reference;
    }

    fn note_away(&mut self, tag: u16) -> Result<(), IndexFull> {
        self.words[OVERFLOW] = self.words[OVERFLOW].checked_add(1).ok_or(IndexFull)?;
        self.words[FILTER] |= filter_bit(tag);
        Ok(())
    }

    fn note_back(&mut self) {
        self.words[OVERFLOW] = self.words[OVERFLOW].saturating_sub(1);
        // A bit may stand for several keys, so the filter is cleared when the last one is gone.
        if self.words[OVERFLOW] == 0 {
            self.words[FILTER] = 0;
        }
    }
}

#[inline(always)]
fn filter_bit(tag: u16) -> u16 {
    1 << (tag & 15)
}

/// Both buckets of a key are full, and none of their entries can move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no free slot in the index")]
pub struct IndexFull;

/// What the first look at a key's first bucket gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// A tag matches: probably this reference.
    Hit(u32),
    /// The key may be in its second bucket, which was prefetched.
    Away,
    /// The key is not there.
    Miss,
}

/// See the module's description.
pub struct Index {
    buckets: &'static mut [Bucket],
    len: usize,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("buckets", &self.buckets.len())
            .field("len", &self.len)
            .finish()
    }
}

impl Index {
    /// An index for `keys` keys, at which it is 82 % full.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(
        memory: &mut impl Memory,
        what: &'static str,
        keys: usize,
    ) -> Result<Self, OutOfMemory> {
        Self::with_buckets(memory, what, Self::buckets_for(keys))
    }

    /// 8.25 keys a bucket; the four more keep the odds good where there are few.
    const fn buckets_for(keys: usize) -> usize {
        keys.div_ceil(33).saturating_mul(4).saturating_add(4)
    }

    fn with_buckets(
        memory: &mut impl Memory,
        what: &'static str,
        buckets: usize,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            buckets: memory.zeroed(what, buckets)?,
            len: 0,
        })
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory taken, in bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    /// The tag: fifteen bits, never zero.
    #[inline(always)]
    fn tag(hash: u64) -> u16 {
        ((hash >> 49) as u16).max(1)
    }

    /// The first bucket: the low half of the hash, scaled to the number of buckets (Lemire,
    /// "Fast random integer generation in an interval").
    #[inline(always)]
    fn home(&self, hash: u64) -> usize {
        (((hash & 0xffff_ffff) * self.buckets.len() as u64) >> 32) as usize
    }

    /// The second bucket of a key whose first is `at`, and the first one of a key whose second is
    /// `at`: both add up to a number that follows from the tag.
    #[inline(always)]
    fn other(&self, at: usize, tag: u16) -> usize {
        let spread = (tag & !AWAY).wrapping_mul(0x9e37) as u64 * 0x1_0001;
        let sum = ((spread * self.buckets.len() as u64) >> 32) as usize;
        if sum >= at {
            sum - at
        } else {
            sum + self.buckets.len() - at
        }
    }

    /// Asks for the first bucket of a key.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        cpu::prefetch_nth(self.buckets.as_ptr(), self.home(hash));
    }

    /// Looks into the first bucket of a key.
    #[inline(always)]
    pub fn probe(&self, hash: u64) -> Probe {
        let (home, tag) = (self.home(hash), Self::tag(hash));
        let Some(bucket) = self.buckets.get(home) else {
            return Probe::Miss;
        };
        let mask = bucket.matches(tag);
        if let Some(&reference) = bucket.refs.get(mask.trailing_zeros() as usize) {
            return Probe::Hit(reference);
        }
        if !bucket.sent_away(tag) {
            return Probe::Miss;
        }
        cpu::prefetch_nth(self.buckets.as_ptr(), self.other(home, tag));
        Probe::Away
    }

    /// Looks into the second bucket of a key.
    #[inline(always)]
    pub fn probe_away(&self, hash: u64) -> Option<u32> {
        let tag = Self::tag(hash);
        let bucket = self.buckets.get(self.other(self.home(hash), tag))?;
        let mask = bucket.matches(tag | AWAY);
        bucket.refs.get(mask.trailing_zeros() as usize).copied()
    }

    /// The reference that `is_it` recognises, of all that the hash may stand for.
    #[inline]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let (home, tag) = (self.home(hash), Self::tag(hash));
        let bucket = self.buckets.get(home)?;
        let mut search = |bucket: &Bucket, tag| {
            let mut mask = bucket.matches(tag);
            while let Some(&reference) = bucket.refs.get(mask.trailing_zeros() as usize) {
                if is_it(reference) {
                    return Some(reference);
                }
                mask &= mask - 1;
            }
            None
        };
        let found = search(bucket, tag);
        if found.is_some() || !bucket.sent_away(tag) {
            return found;
        }
        search(self.buckets.get(self.other(home, tag))?, tag | AWAY)
    }

    /// Adds an entry. That the key is not there yet is the caller's to know.
    ///
    /// # Errors
    /// [`IndexFull`], and nothing is changed.
    pub fn insert(&mut self, hash: u64, reference: u32) -> Result<(), IndexFull> {
        let (home, tag) = (self.home(hash), Self::tag(hash));
        let away = self.other(home, tag);
        let (at, slot, tag) = if let Some(slot) = self.buckets[home].free_slot() {
            (home, slot, tag)
        } else if let Some(slot) = self.send_guest_home(home) {
            (home, slot, tag)
        } else if let Some(slot) = self.buckets[away].free_slot() {
            (away, slot, tag | AWAY)
        } else if let Some(slot) = self.make_room(home, 1) {
            (home, slot, tag)
        } else if let Some(slot) = self.make_room(away, 1) {
            (away, slot, tag | AWAY)
        } else {
            return Err(IndexFull);
        };
        if tag & AWAY != 0 {
            self.buckets[home].note_away(tag)?;
        }
        self.buckets[at].set(slot, tag, reference);
        self.len += 1;
        Ok(())
    }

    /// Frees a slot of a full bucket by moving an entry, which lives there because its first bucket
    /// was full, to its first bucket, if that has room by now. In a table that is full and busy this
    /// halves the number of entries in their second buckets, and so the second lines that are read.
    fn send_guest_home(&mut self, at: usize) -> Option<usize> {
        (0..SLOTS).find(|&slot| {
            self.buckets[at].words[slot] & AWAY != 0 && self.move_over(at, slot, Self::free_slot)
        })
    }

    /// Frees a slot of a full bucket by moving any entry to its other bucket, where `depth` more
    /// entries may be moved in turn.
    fn make_room(&mut self, at: usize, depth: u32) -> Option<usize> {
        (0..SLOTS)
            .find(|&slot| self.move_over(at, slot, Self::free_slot))
            .or_else(|| {
                let depth = depth.checked_sub(1)?;
                (0..SLOTS)
                    .find(|&slot| self.move_over(at, slot, |index, to| index.make_room(to, depth)))
            })
    }

    fn free_slot(&mut self, at: usize) -> Option<usize> {
        self.buckets[at].free_slot()
    }

    /// Moves an entry to a slot that `free` finds in its other bucket; false if it finds none.
    fn move_over(
        &mut self,
        at: usize,
        slot: usize,
        free: impl FnOnce(&mut Self, usize) -> Option<usize>,
    ) -> bool {
        let (tag, reference) = (self.buckets[at].words[slot], self.buckets[at].refs[slot]);
        let to = self.other(at, tag);
        let Some(free) = free(self, to) else {
            return false;
        };
        if tag & AWAY != 0 {
            self.buckets[to].note_back();
        } else if self.buckets[at].note_away(tag).is_err() {
            return false;
        }
        self.buckets[to].set(free, tag ^ AWAY, reference);
        self.buckets[at].words[slot] = 0;
        true
    }

    /// Takes out the entry that was inserted with this hash and reference; false if there is none.
    pub fn remove(&mut self, hash: u64, reference: u32) -> bool {
        let (home, tag) = (self.home(hash), Self::tag(hash));
        if let Some(slot) = self.buckets[home].slot_of(tag, reference) {
            self.buckets[home].words[slot] = 0;
        } else {
            let away = self.other(home, tag);
            let Some(slot) = self.buckets[away].slot_of(tag | AWAY, reference) else {
                return false;
            };
            self.buckets[away].words[slot] = 0;
            self.buckets[home].note_back();
        }
        self.len -= 1;
        true
    }
}

#[cfg(test)]
mod tests;
