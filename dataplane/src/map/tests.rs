use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::io::memory::Heap;

type Map = ExpiringMap<u32, String>;

fn map(capacity: usize) -> Map {
    Map::new(&mut Heap, "test", capacity).unwrap()
}

fn hash(key: u32) -> u64 {
    let mixed = u64::from(key)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn put(map: &mut Map, key: u32, now: u32, lifetime: u32) -> Result<Handle, MapFull> {
    map.insert(hash(key), key, key.to_string(), now, lifetime)
        .map(|(handle, _)| handle)
}

#[test]
fn an_entry_lives_to_the_millisecond_from_its_last_touch() {
    for start in [0, 5, u32::MAX - 50, u32::MAX] {
        let at = |ms: u32| start.wrapping_add(ms);
        let mut map = map(4);
        put(&mut map, 1, start, 100).unwrap();
        put(&mut map, 2, start, FOREVER).unwrap();
        assert!(map.get(hash(1), &1, at(99)).is_some());
        assert!(map.touch(hash(1), &1, at(99)).is_some());
        assert!(map.get(hash(1), &1, at(198)).is_some());
        // Reading does not prolong it.
        for gone in [199, 100_000] {
            assert!(map.get(hash(1), &1, at(gone)).is_none());
            assert!(map.get_mut(hash(1), &1, at(gone)).is_none());
            assert!(map.touch(hash(1), &1, at(gone)).is_none());
            assert!(map.find(hash(1), &1, at(gone)).is_none());
        }
        assert!(map.get(hash(2), &2, at(u32::MAX)).is_some());
        // Until the sweep, its value can be had, so that what hangs on it can be undone.
        assert_eq!(put(&mut map, 1, at(300), 100).map(|h| h.get()), Ok(1));
        assert!(map.get(hash(1), &1, at(399)).is_some());
    }
}

/// Pitfall 19: whatever the lifetime, none ends early or never.
#[test]
fn long_lifetimes_end_as_short_ones_do() {
    for lifetime in [1, 524_288, 7_440_000, 1 << 30, u32::MAX - 1] {
        let mut map = map(1);
        put(&mut map, 1, 1 << 31, lifetime).unwrap();
        let end = (1_u32 << 31).wrapping_add(lifetime.min(1 << 30));
        map.sweep(end - 1, 9, |_, _| panic!("too early: {lifetime}"));
        let mut swept = 0;
        map.sweep(end, 9, |_, _| {
            swept += 1;
            None
        });
        assert_eq!((swept, map.len()), (1, 0));
    }
}

#[test]
fn the_sweep_hands_over_what_is_over_and_may_be_told_to_keep_it() {
    let mut map = map(100);
    for key in 0..100 {
        put(&mut map, key, 0, if key % 2 == 0 { 10 } else { 1_000 }).unwrap();
    }
    assert_eq!(put(&mut map, 100, 0, 10), Err(MapFull));
    let mut over = Vec::new();
    for _ in 0..10 {
        map.sweep(10, 10, |&key, value| {
            assert_eq!(*value, key.to_string());
            over.push(key);
            (key % 4 == 0).then_some(50)
        });
    }
    assert_eq!(over, (0..100).step_by(2).collect::<Vec<_>>());
    assert_eq!(map.len(), 75);
    assert!(map.get(hash(4), &4, 59).is_some() && map.get(hash(4), &4, 60).is_none());
    assert!(map.get(hash(2), &2, 0).is_none());
    // What was freed can be used again, all of it.
    for key in 100..125 {
        put(&mut map, key, 10, 10).unwrap();
    }
    assert_eq!(put(&mut map, 125, 10, 10), Err(MapFull));
    assert_eq!(put(&mut map, 124, 10, 20).map(|_| ()), Ok(()));
}

#[test]
fn handles_lead_to_their_entries_and_nowhere_else() {
    let mut map = map(2);
    let (one, two) = (
        put(&mut map, 1, 0, 5).unwrap(),
        put(&mut map, 2, 0, 5).unwrap(),
    );
    assert_eq!(Handle::from_u32(one.get()), Some(one));
    assert_eq!(Handle::from_u32(0), None);
    assert_eq!(map.find(hash(2), &2, 0), Some(two));
    let (key, value) = map.by_handle(one).unwrap();
    assert_eq!((*key, value.as_str()), (1, "1"));
    value.push('x');
    map.set_lifetime(one, 100, 50);
    assert_eq!(map.get(hash(1), &1, 149).map(String::as_str), Some("1x"));
    assert_eq!(map.remove_handle(one), Some((1, "1x".to_owned())));
    // Pitfall 17: taken out once.
    assert!(map.remove_handle(one).is_none() && map.by_handle(one).is_none());
    assert!(map.remove(hash(1), &1).is_none() && map.remove_handle(Handle::new(7)).is_none());
    assert_eq!(map.len(), 1);
}

#[test]
fn a_map_of_no_size_refuses() {
    let mut map = map(0);
    assert_eq!(put(&mut map, 1, 0, 5), Err(MapFull));
    map.sweep(0, 10, |_, _| None);
    assert_eq!(map.scan(0, 10, 0, |_, _, _, _| ()), None);
}

#[derive(Debug, Clone)]
enum Operation {
    Insert(u32, u32),
    Touch(u32),
    Remove(u32),
    Wait(u32),
    Sweep(usize),
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let key = 0..40_u32;
    let operation = prop_oneof![
        4 => (key.clone(), 1..60_u32).prop_map(|(key, life)| Operation::Insert(key, life)),
        2 => key.clone().prop_map(Operation::Touch),
        1 => key.prop_map(Operation::Remove),
        2 => (0..30_u32).prop_map(Operation::Wait),
        1 => (0..40_usize).prop_map(Operation::Sweep),
    ];
    prop::collection::vec(operation, 1..300)
}

proptest! {
    #[test]
    fn it_behaves_as_a_hash_map_with_expiry(
        operations in operations(),
        capacity in 0..30_usize,
        start in prop_oneof![any::<u32>(), u32::MAX - 3_000..u32::MAX],
    ) {
        let (mut map, mut now) = (map(capacity), start);
        // Key to last use and lifetime; what the sweep has not met yet stays in it.
        let mut model = HashMap::<u32, (u32, u32)>::new();
        let over = |now: u32, (used, life): (u32, u32)| now.wrapping_sub(used) >= life;
        for operation in operations {
            match operation {
                Operation::Insert(key, life) => {
                    let full = !model.contains_key(&key) && model.len() == capacity;
                    prop_assert_eq!(put(&mut map, key, now, life).is_err(), full);
                    if !full {
                        model.insert(key, (now, life));
                    }
                }
                Operation::Touch(key) => {
                    let touched = map.touch(hash(key), &key, now).is_some();
                    let entry = model.get_mut(&key).filter(|entry| !over(now, **entry));
                    prop_assert_eq!(touched, entry.is_some());
                    if let Some((used, _)) = entry {
                        *used = now;
                    }
                }
                Operation::Remove(key) => {
                    let removed = map.remove(hash(key), &key);
                    prop_assert_eq!(removed, model.remove(&key).map(|_| key.to_string()));
                }
                Operation::Wait(ms) => now = now.wrapping_add(ms),
                Operation::Sweep(budget) => map.sweep(now, budget, |key, _| {
                    assert!(model.remove(key).is_some_and(|entry| over(now, entry)));
                    None
                }),
            }
            prop_assert_eq!(map.len(), model.len());
        }
        let mut shown = HashMap::new();
        let mut from = Some(0);
        while let Some(at) = from {
            from = map.scan(at, 7, now, |_, &key, value, idle| {
                assert_eq!(*value, key.to_string());
                assert_eq!(shown.insert(key, idle), None);
            });
        }
        for key in 0..40 {
            let entry = model.get(&key).filter(|entry| !over(now, **entry));
            prop_assert_eq!(map.get(hash(key), &key, now).is_some(), entry.is_some());
            prop_assert_eq!(shown.get(&key).copied(), entry.map(|(used, _)| now.wrapping_sub(*used)));
        }
        // A whole pass leaves nothing that is over.
        map.sweep(now, capacity, |_, _| None);
        prop_assert_eq!(map.len(), shown.len());
    }
}
