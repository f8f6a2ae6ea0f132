//! A hash index over entries that live elsewhere: open addressing with linear probing, of a size
//! fixed at start, without tombstones.

/// Positions of entries, by the hashes of their keys. Several entries may have one key.
#[derive(Debug, Clone)]
pub(super) struct Index {
    /// Position plus one; 0 is empty. Never more than half full.
    slots: Box<[u32]>,
}

impl Index {
    /// For `capacity` entries at most.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            slots: vec![0; (capacity.max(1) * 2).next_power_of_two()].into(),
        }
    }

    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    /// The positions under `hash`, and others: the caller compares keys.
    pub(super) fn candidates(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let mask = self.mask();
        (0..self.slots.len())
            .map(move |step| self.slots[(hash as usize).wrapping_add(step) & mask])
            .take_while(|slot| *slot != 0)
            .map(|slot| slot - 1)
    }

    /// Adds a position. The caller keeps to the capacity.
    pub(super) fn insert(&mut self, hash: u64, position: u32) {
        let mask = self.mask();
        let free = (0..self.slots.len())
            .map(|step| (hash as usize).wrapping_add(step) & mask)
            .find(|at| self.slots[*at] == 0);
        if let Some(at) = free {
            self.slots[at] = position + 1;
        }
    }

    /// Removes exactly this position; nothing happens if it is not there. `hash_of` gives the hash
    /// of any position that is.
    pub(super) fn remove(&mut self, hash: u64, position: u32, hash_of: impl Fn(u32) -> u64) {
        let mask = self.mask();
        let found = (0..self.slots.len())
            .map(|step| (hash as usize).wrapping_add(step) & mask)
            .take_while(|at| self.slots[*at] != 0)
            .find(|at| self.slots[*at] == position + 1);
        let Some(mut hole) = found else { return };
        // Close the gap: move back whatever the hole now cuts off from where its probing starts.
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot == 0 {
                break;
            }
            let home = hash_of(slot - 1) as usize & mask;
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few distinct hashes, so that runs are long, wrap around and overlap.
        #[test]
        fn finds_what_was_put_in_and_not_taken_out(
            steps in prop::collection::vec((0u32..16, any::<bool>()), 0..200),
            hashes in prop::collection::vec(0u64..40, 16),
        ) {
            let mut index = Index::new(16);
            let mut inside = [false; 16];
            for (position, insert) in steps {
                let hash = |position: u32| hashes[position as usize];
                if insert && !inside[position as usize] {
                    index.insert(hash(position), position);
                } else if !insert {
                    index.remove(hash(position), position, hash);
                }
                inside[position as usize] = insert;
                for position in 0..16u32 {
                    let found = index.candidates(hash(position)).any(|at| at == position);
                    prop_assert_eq!(found, inside[position as usize]);
                }
            }
        }
    }
}
