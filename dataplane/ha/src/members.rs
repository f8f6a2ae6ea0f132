//! Sets of nodes, and which of them a session falls to.
//!
//! All nodes that know of the same living nodes choose the same one of them, without a word, by
//! rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates",
//! 1998): each scores a session, and the highest score has it. So who leaves or comes moves nothing
//! but what was, or is now, its own.

use crate::frame::MAX_NODES;

/// A set of node ids, each below [`MAX_NODES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeSet(pub u16);

impl NodeSet {
    /// Of one node; empty if there is none with this id.
    pub const fn only(node: u8) -> Self {
        if node < MAX_NODES {
            Self(1 << node)
        } else {
            Self(0)
        }
    }

    /// Whether a node is in it.
    pub const fn has(self, node: u8) -> bool {
        self.0 & Self::only(node).0 != 0
    }

    /// With another node.
    #[must_use]
    pub const fn with(self, node: u8) -> Self {
        Self(self.0 | Self::only(node).0)
    }

    /// Without a node.
    #[must_use]
    pub const fn without(self, node: u8) -> Self {
        Self(self.0 & !Self::only(node).0)
    }

    /// Nodes that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The lowest id that is greater than `node`.
    pub const fn above(self, node: u8) -> Option<u8> {
        if node >= MAX_NODES {
            return None;
        }
        match (self.0 as u32 >> node) >> 1 {
            0 => None,
            above => Some(node + 1 + above.trailing_zeros() as u8),
        }
    }

    /// The lowest id.
    pub const fn first(self) -> Option<u8> {
        if self.is_empty() {
            return None;
        }
        Some(self.0.trailing_zeros() as u8)
    }

    /// All ids, from the lowest on.
    pub fn iter(self) -> impl Iterator<Item = u8> + Clone {
        (0..MAX_NODES).filter(move |&node| self.has(node))
    }

    /// The node of this set that what hashes to `hash` falls to; `None` if there is none.
    pub fn heir(self, hash: u64) -> Option<u8> {
        // Most often there is one.
        match self.len() {
            0 => None,
            1 => self.first(),
            _ => self.iter().max_by_key(|&node| score(node, hash)),
        }
    }
}

impl FromIterator<u8> for NodeSet {
    fn from_iter<T: IntoIterator<Item = u8>>(nodes: T) -> Self {
        nodes.into_iter().fold(Self::default(), Self::with)
    }
}

/// How much a node wants what hashes to `hash`.
fn score(node: u8, hash: u64) -> u64 {
    crate::digest::mix(hash ^ (u64::from(node) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(nodes: &[u8]) -> NodeSet {
        nodes.iter().copied().collect()
    }

    #[test]
    fn a_set_has_what_was_put_in_and_nothing_else() {
        let nodes = set(&[0, 3, 15, 16, 200]);
        assert_eq!(nodes.iter().collect::<Vec<_>>(), [0, 3, 15]);
        assert_eq!(nodes.len(), 3);
        assert!(nodes.has(3) && !nodes.has(4) && !nodes.has(19) && !nodes.has(255));
        assert_eq!(nodes.without(3), set(&[0, 15]));
        assert_eq!(nodes.and(set(&[3, 4])), set(&[3]));
        assert_eq!(NodeSet::default().first(), None);
        assert_eq!(nodes.first(), Some(0));
    }

    #[test]
    fn the_next_node_is_found_to_the_very_end() {
        let nodes = set(&[0, 3, 15]);
        let all = [0, 1, 2, 3, 14, 15, 16, 255].map(|node| nodes.above(node));
        let next = [
            Some(3),
            Some(3),
            Some(3),
            Some(15),
            Some(15),
            None,
            None,
            None,
        ];
        assert_eq!(all, next);
    }

    #[test]
    fn who_leaves_moves_nothing_but_its_own() {
        let all = set(&[1, 2, 5, 9]);
        let mut of_each = [0_u32; 16];
        for number in 0..10_000 {
            let hash = crate::digest::mix(number);
            let heir = all.heir(hash).expect("there are some");
            of_each[usize::from(heir)] += 1;
            for gone in all.iter() {
                let then = all.without(gone).heir(hash).expect("there are some");
                assert!(gone == heir || then == heir, "{hash}");
                assert_ne!(then, gone);
            }
        }
        for node in all.iter() {
            let share = of_each[usize::from(node)];
            assert!((2200..2800).contains(&share), "{node}: {share}");
        }
        assert_eq!(NodeSet::default().heir(1), None);
    }

    #[test]
    fn heirs_are_the_same_in_every_release() {
        let all = set(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        let heirs: Vec<_> = (0..8).filter_map(|hash| all.heir(hash)).collect();
        assert_eq!(heirs, [3, 6, 6, 2, 6, 15, 11, 0]);
    }
}
