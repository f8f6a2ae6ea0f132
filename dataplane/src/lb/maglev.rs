//! Maglev consistent hashing (Eisenbud et al., NSDI 2016), weighted.
//!
//! Every server goes through the table's slots in an order of its own, made from its name, and the
//! servers take turns to take their next free slot. A server that leaves frees its slots and
//! disturbs few others.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::{hash, share};
use crate::snapshot::{RealServer, ServerId};

/// How many slots a table has: a prime, so that every step width visits every slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableSize(u32);

impl TableSize {
    /// Good for some 600 servers: slots should be a hundred times as many.
    pub const DEFAULT: Self = Self(65_537);
    /// The smallest size.
    pub const MIN: u32 = 3;
    /// The largest size.
    pub const MAX: u32 = 4_194_301;

    /// A table of `slots` slots.
    ///
    /// # Errors
    /// [`BadTableSize`] says what would do instead.
    pub fn new(slots: u32) -> Result<Self, BadTableSize> {
        if (Self::MIN..=Self::MAX).contains(&slots) && is_prime(slots) {
            Ok(Self(slots))
        } else {
            Err(BadTableSize {
                found: slots,
                nearest: next_prime(slots),
            })
        }
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for TableSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Not a size that a table can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a Maglev table has a prime number of slots from {min} to {max}, and {found} is not one: {nearest} would do",
    min = TableSize::MIN,
    max = TableSize::MAX,
)]
pub struct BadTableSize {
    /// What was asked for.
    pub found: u32,
    /// The next size up that would do, or the largest.
    pub nearest: u32,
}

/// The smallest prime that is `n` at least, within the sizes of a table.
pub fn next_prime(n: u32) -> u32 {
    (n.max(TableSize::MIN)..TableSize::MAX)
        .find(|&candidate| is_prime(candidate))
        .unwrap_or(TableSize::MAX)
}

/// By trial division: configuration time only.
fn is_prime(n: u32) -> bool {
    n > 1
        && (2..)
            .take_while(|&d: &u32| d.saturating_mul(d) <= n)
            .all(|d| !n.is_multiple_of(d))
}

/// Slots looked at for a member that is not full.
const WALK: usize = 64;

/// All that a table follows from: tables of equal recipes are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Recipe {
    size: TableSize,
    members: Box<[Share]>,
}

/// What a table needs to know of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Share {
    /// Two hashes of the name.
    rank: (u64, u64),
    weight: u16,
    index: u16,
}

impl Recipe {
    /// Of those of `members` that may take sessions, by their weights.
    pub fn new(size: TableSize, members: &[ServerId], servers: &[Option<RealServer>]) -> Self {
        Self::weighted(size, members, servers, |id| share(servers, id))
    }

    /// The same with other weights than the servers'; those of weight 0 are left out.
    pub fn weighted(
        size: TableSize,
        members: &[ServerId],
        servers: &[Option<RealServer>],
        weight: impl Fn(ServerId) -> u16,
    ) -> Self {
        let named = members.iter().zip(0..).filter_map(|(&id, index)| {
            let server = servers.get(usize::from(id.0))?.as_ref()?;
            Some((server.name.as_str(), weight(id), index))
        });
        Self::named(size, named)
    }

    /// Of (name, weight, index) triples; weight 0 is left out.
    fn named<'a>(size: TableSize, members: impl Iterator<Item = (&'a str, u16, u16)>) -> Self {
        let members = members.filter(|&(_, weight, _)| weight > 0);
        let shares = members.map(|(name, weight, index)| Share {
            rank: (hash::of_name(name, 0), hash::of_name(name, 1)),
            weight,
            index,
        });
        let members = shares.collect();
        Self { size, members }
    }
}

/// A lookup table from hash to the index of a pool member. Clones share their memory.
#[derive(Debug, Clone)]
pub struct MaglevTable {
    /// Indexes into `VirtualServer::members`; empty when no member may take sessions.
    slots: Arc<[u16]>,
    recipe: Arc<Recipe>,
}

impl MaglevTable {
    /// The table for those of `members` that may take sessions. Allocates: control's work.
    pub fn build(size: TableSize, members: &[ServerId], servers: &[Option<RealServer>]) -> Self {
        Self::of(Recipe::new(size, members, servers))
    }

    /// The table for (name, weight, index) triples; weight 0 is left out.
    pub fn populate<'a>(
        size: TableSize,
        members: impl Iterator<Item = (&'a str, u16, u16)>,
    ) -> Self {
        Self::of(Recipe::named(size, members))
    }

    /// The table of a recipe. Takes a millisecond or so for some ten thousand slots: control's work.
    pub fn of(recipe: Recipe) -> Self {
        const FREE: u32 = u32::MAX;
        let size = recipe.size;
        let recipe = Arc::new(recipe);
        let shares = recipe.members.iter();
        let mut turns: BinaryHeap<Turn> = shares.map(|share| Turn::first(size, share)).collect();
        let mut slots = vec![FREE; size.0 as usize];
        let mut left = slots.len();
        while left > 0 {
            let Some(mut turn) = turns.pop() else {
                let slots = Arc::default();
                return Self { slots, recipe };
            };
            while slots[turn.at as usize] != FREE {
                turn.step(size);
            }
            slots[turn.at as usize] = u32::from(turn.index);
            left -= 1;
            turn.odd += 2;
            turns.push(turn);
        }
        Self {
            slots: slots.into_iter().map(|index| index as u16).collect(),
            recipe,
        }
    }

    /// The member for a hash, in constant time; `None` when none may take sessions.
    #[inline]
    pub fn get(&self, hash: u64) -> Option<u16> {
        self.walk(hash).next()
    }

    /// The members of that slot and the ones after it, a bounded number of them: whom to ask when
    /// the first is full. Members come as often as they have slots there.
    #[inline]
    pub fn walk(&self, hash: u64) -> impl Iterator<Item = u16> + '_ {
        let at = (u128::from(hash) * self.slots.len() as u128) >> 64;
        let (behind, ahead) = self.slots.split_at(at as usize);
        ahead.iter().chain(behind).copied().take(WALK)
    }

    /// How many slots it was made with, whether or not any member may take sessions now.
    pub fn size(&self) -> TableSize {
        self.recipe.size
    }

    /// What it follows from.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The member of every slot.
    pub fn slots(&self) -> &[u16] {
        &self.slots
    }
}

/// Whose turn it is: a server's k-th slot is due at (2k - 1) / weight, whoever else takes part, so
/// that slots are shared out as Sainte-Laguë shares out seats and the order of the others does not
/// change when one leaves.
struct Turn {
    /// 2k - 1
    odd: u64,
    weight: u16,
    /// Breaks ties, and stands for the name.
    rank: (u64, u64),
    index: u16,
    /// The next slot to look at, and how far it is to the one after it.
    at: u32,
    skip: u32,
}

impl Turn {
    fn first(size: TableSize, share: &Share) -> Self {
        let rank = share.rank;
        Self {
            odd: 1,
            weight: share.weight,
            rank,
            index: share.index,
            at: (rank.0 % u64::from(size.0)) as u32,
            skip: (rank.1 % u64::from(size.0 - 1)) as u32 + 1,
        }
    }

    fn step(&mut self, size: TableSize) {
        self.at = (self.at + self.skip) % size.0;
    }
}

impl Ord for Turn {
    /// The greatest is due first.
    fn cmp(&self, other: &Self) -> Ordering {
        let (mine, its) = (
            self.odd * u64::from(other.weight),
            other.odd * u64::from(self.weight),
        );
        its.cmp(&mine).then(other.rank.cmp(&self.rank))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Turn {}

#[cfg(test)]
mod tests {
    use super::*;

    fn table<'a>(slots: u32, members: impl IntoIterator<Item = (&'a str, u16)>) -> MaglevTable {
        let indexed = members.into_iter().zip(0..);
        MaglevTable::populate(
            TableSize::new(slots).unwrap(),
            indexed.map(|((name, weight), index)| (name, weight, index)),
        )
    }

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("web/s{i}")).collect()
    }

    /// Slots of each of `n` members.
    fn slots_of(table: &MaglevTable, n: usize) -> Vec<usize> {
        let mut counts = vec![0; n];
        for &index in table.slots() {
            counts[usize::from(index)] += 1;
        }
        counts
    }

    #[test]
    fn sizes_are_prime_and_the_error_names_one() {
        assert_eq!(TableSize::new(65_537), Ok(TableSize::DEFAULT));
        for (found, nearest) in [
            (0, 3),
            (2, 3),
            (65_536, 65_537),
            (65_539 * 3, 196_643),
            (4_194_301 + 1, 4_194_301),
            (u32::MAX, 4_194_301),
        ] {
            let refused = TableSize::new(found).unwrap_err();
            assert_eq!(refused, BadTableSize { found, nearest });
            assert!(TableSize::new(nearest).is_ok(), "{nearest}");
        }
        // 251 * 257: no small divisor
        assert!(TableSize::new(64_507).is_err());
    }

    #[test]
    fn slots_are_shared_out_to_the_weights_within_one() {
        let weights = [1, 2, 3, 5, 89];
        let names = names(weights.len());
        let members = names.iter().map(String::as_str).zip(weights);
        let table = table(65_537, members);
        for (got, weight) in slots_of(&table, 5).into_iter().zip(weights) {
            let exact = 65_537.0 * f64::from(weight) / 100.0;
            assert!((got as f64 - exact).abs() <= 1.0, "{got} for {weight}");
        }
    }

    #[test]
    fn weight_zero_and_an_empty_pool_get_nothing() {
        let some = table(13, [("a", 0), ("b", 7)]);
        assert_eq!(some.slots(), [1; 13]);
        for none in [table(13, []), table(13, [("a", 0)])] {
            assert_eq!(none.get(0), None);
            assert_eq!(none.get(u64::MAX), None);
        }
    }

    #[test]
    fn every_hash_has_a_slot() {
        let table = table(3, [("a", 1)]);
        for hash in [0, 1, u64::MAX / 3, u64::MAX / 2, u64::MAX] {
            assert_eq!(table.get(hash), Some(0), "{hash}");
        }
    }

    #[test]
    fn the_order_of_the_configuration_does_not_matter() {
        let names = names(7);
        let forth = names.iter().map(|name| (name.as_str(), 3));
        let back = table(1009, forth.clone().rev());
        for (a, b) in table(1009, forth).slots().iter().zip(back.slots()) {
            assert_eq!(*a, 6 - b);
        }
    }

    /// The table of a released version: if this changes, every client of a running cluster moves
    /// while it is being upgraded.
    #[test]
    fn the_table_is_the_same_in_every_version() {
        let table = table(31, [("web/a", 1), ("web/b", 2), ("web/c", 1)]);
        assert_eq!(table.slots(), GOLDEN);
    }

    const GOLDEN: [u16; 31] = [
        2, 0, 2, 2, 0, 0, 2, 2, 2, 1, 2, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 2, 0, 1, 1, 1, 1, 1, 1, 1,
    ];

    #[test]
    fn a_server_that_leaves_moves_its_own_clients_and_few_others() {
        for n in [3, 10, 50, 200] {
            let names = names(n);
            let all = table(65_537, names.iter().map(|name| (name.as_str(), 1)));
            for gone in [0, n / 2, n - 1] {
                let weight = |i| u16::from(i != gone);
                let rest = table(
                    65_537,
                    names
                        .iter()
                        .enumerate()
                        .map(|(i, name)| (name.as_str(), weight(i))),
                );
                let moved = all.slots().iter().zip(rest.slots()).filter(|(a, b)| a != b);
                let others = moved.filter(|(a, _)| usize::from(**a) != gone).count();
                assert!(
                    others < 65_537 / 50,
                    "{others} of others' slots moved, {n} servers"
                );
            }
        }
    }
}
