use std::collections::HashMap;
use std::collections::hash_map::Entry;

use proptest::prelude::*;

use super::*;
use crate::io::memory::Heap;

/// A stream of well-mixed 64-bit words (splitmix64).
fn mixed(i: u64) -> u64 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn index(buckets: usize) -> Index {
    Index::with_buckets(&mut Heap, "test", buckets).unwrap()
}

/// Share of entries that live in their second bucket, after checking that all counts, filters and
/// places are what the entries make them.
fn check(index: &Index, entries: &HashMap<u32, u64>) -> f64 {
    let mut away = vec![0; index.buckets.len()];
    let mut held = 0;
    for (at, bucket) in index.buckets.iter().enumerate() {
        for slot in (0..SLOTS).filter(|&slot| bucket.words[slot] != 0) {
            let (tag, hash) = (bucket.words[slot], entries[&bucket.refs[slot]]);
            let home = index.home(hash);
            assert_eq!(tag & !AWAY, Index::tag(hash));
            if tag & AWAY == 0 {
                assert_eq!(at, home);
            } else {
                assert_eq!(at, index.other(home, tag));
                assert!(index.buckets[home].sent_away(tag));
                away[home] += 1;
            }
            held += 1;
        }
    }
    for (bucket, &away) in index.buckets.iter().zip(&away) {
        assert_eq!(bucket.words[OVERFLOW], away);
        assert!(away != 0 || bucket.words[FILTER] == 0);
    }
    assert_eq!((held, index.len()), (entries.len(), entries.len()));
    for (&reference, &hash) in entries {
        assert_eq!(index.find(hash, |r| r == reference), Some(reference));
    }
    f64::from(away.iter().sum::<u16>()) / held.max(1) as f64
}

#[test]
fn a_bucket_is_one_cache_line() {
    assert_eq!((size_of::<Bucket>(), align_of::<Bucket>()), (64, 64));
}

#[test]
fn the_other_bucket_of_the_other_bucket_is_the_first() {
    for buckets in [1, 2, 3, 4, 63, 64, 1000, 12_345, 4_000_037] {
        let index = index(buckets);
        for hash in (0..2_000).map(mixed) {
            let (home, tag) = (index.home(hash), Index::tag(hash));
            let away = index.other(home, tag);
            assert!(home < buckets && away < buckets);
            assert_eq!(index.other(away, tag | AWAY), home);
        }
    }
}

#[test]
fn an_index_holds_the_keys_it_was_made_for() {
    for keys in [1, 2, 7, 10, 33, 100, 1_000, 10_000, 300_000] {
        for seed in 0..(300_000 / keys as u64).min(2_000) {
            let mut index = Index::new(&mut Heap, "test", keys).unwrap();
            for i in 0..keys as u32 {
                let hash = mixed(seed << 32 | u64::from(i));
                assert_eq!(index.insert(hash, i), Ok(()), "{i} of {keys}, seed {seed}");
            }
        }
    }
}

#[test]
fn it_can_be_filled_to_95_percent_before_an_insertion_is_refused() {
    let buckets = 20_000;
    let mut index = index(buckets);
    let mut entries = HashMap::new();
    let refused = (0..u32::MAX)
        .find(|&i| {
            let hash = mixed(u64::from(i));
            let refused = index.insert(hash, i).is_err();
            if !refused {
                entries.insert(i, hash);
            }
            refused
        })
        .unwrap();
    assert!(
        f64::from(refused) >= 0.95 * (buckets * SLOTS) as f64,
        "refused after {refused}"
    );
    check(&index, &entries);
    // The refusal left no trace, and what is removed makes room.
    let refused_hash = mixed(u64::from(refused));
    assert_eq!(index.find(refused_hash, |r| r == refused), None);
    for i in 0..refused / 5 {
        assert!(index.remove(mixed(u64::from(i)), i));
        assert!(!index.remove(mixed(u64::from(i)), i), "removed twice");
        entries.remove(&i);
    }
    assert_eq!(index.insert(refused_hash, refused), Ok(()));
    entries.insert(refused, refused_hash);
    check(&index, &entries);
}

#[test]
fn years_of_churn_leave_it_as_fast_as_new() {
    let keys = 16_500_u32;
    let mut index = Index::new(&mut Heap, "test", keys as usize).unwrap();
    let mut entries = HashMap::new();
    for i in 0..keys {
        entries.insert(i, mixed(u64::from(i)));
        index.insert(entries[&i], i).unwrap();
    }
    assert!(check(&index, &entries) < 0.1);
    for round in 1..40_u64 {
        for i in 0..keys {
            let at = (mixed(round << 32 | u64::from(i)) % u64::from(keys)) as u32;
            assert!(index.remove(entries[&at], at));
            let hash = mixed(round << 40 | u64::from(i));
            index.insert(hash, at).unwrap();
            entries.insert(at, hash);
        }
    }
    // Mostly one line for a hit, and for a miss.
    assert!(check(&index, &entries) < 0.15);
    let second = (0..10_000)
        .filter(|&i| index.probe(mixed(1 << 50 | i)) == Probe::Away)
        .count();
    assert!(
        second < 1_500,
        "{second} of 10000 misses read a second line"
    );
}

proptest! {
    /// Few buckets and few tags, so that buckets overflow, entries are displaced and tags collide.
    #[test]
    fn counts_and_filters_follow_the_entries(
        buckets in 1..12_usize,
        operations in prop::collection::vec((any::<bool>(), 0..160_u32, 0..8_u64), 1..600),
    ) {
        let mut index = index(buckets);
        let mut entries = HashMap::new();
        for (insert, reference, tag) in operations {
            if !insert {
                let hash = entries.remove(&reference);
                prop_assert_eq!(index.remove(hash.unwrap_or(tag << 49), reference), hash.is_some());
            } else if let Entry::Vacant(entry) = entries.entry(reference) {
                let hash = tag << 49 | mixed(u64::from(reference)) >> 32;
                if index.insert(hash, reference).is_ok() {
                    entry.insert(hash);
                }
            }
        }
        check(&index, &entries);
    }
}
