use std::collections::HashMap;
use std::net::IpAddr;

use proptest::prelude::*;
use sluice_wire::{Tuple, V4, V6};

use super::*;
use crate::io::memory::Heap;

/// Random words; small ones would make a poor hash.
const SECRET: [u64; 4] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7344,
    0xa409_3822_299f_31d0,
    0x082e_fa98_ec4e_6c89,
];

fn table<F: Family>(capacity: usize) -> Table<F> {
    Table::new(&mut Heap, capacity, KeyHasher::new(SECRET)).unwrap()
}

/// Key number `n` of a family.
fn key<F: Family>(n: u32) -> Key<F::Addrs> {
    let [a, b, c, d] = n.to_be_bytes();
    let (src, dst): (IpAddr, IpAddr) = if F::IS_V6 {
        let src = [0x2001, 0xdb8, 0, u16::from_be_bytes([a, b]), 0, 0, 0, 1];
        (src.into(), [0x2001, 0xdb8, 1, 0, 0, 0, 0, 2].into())
    } else {
        ([10, a, b, c].into(), [192, 0, 2, 1].into())
    };
    let tuple = Tuple {
        proto: 17,
        src,
        dst,
        sport: u16::from_be_bytes([c, d]),
        dport: 53,
    };
    Key::new::<F>(&tuple, 1)
}

fn due<F: Family>(table: &mut Table<F>, now: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut due = ArrayVec::new();
    // Enough calls for a pass, even if each stops early.
    for _ in 0..table.capacity().div_ceil(STRIDE) {
        table.sweep(now, STRIDE, &mut due);
        found.extend(due.drain(..).map(|id| id.0));
    }
    found
}

#[test]
fn an_ipv4_session_costs_160_bytes_at_most() {
    let capacity = 100_000;
    let mut table = table::<V4>(capacity);
    let bytes = table.bytes() as f64 / capacity as f64;
    assert!(bytes <= 160.0, "{bytes}");
    // All of them fit: the index is not what ends first.
    for n in 0..capacity as u32 {
        assert!(
            table
                .insert(&key::<V4>(2 * n), &key::<V4>(2 * n + 1), 0, 1)
                .is_ok()
        );
    }
    assert_eq!(table.len(), capacity);
    let more = [key::<V4>(1 << 30), key::<V4>(1 << 31)];
    let refused = table.insert(&more[0], &more[1], 0, 1);
    assert_eq!(refused, Err(InsertError::Full));
    // It goes on as soon as there is room.
    table.remove(SessionId(7)).unwrap();
    assert_eq!(table.insert(&more[0], &more[1], 0, 1), Ok(SessionId(7)));
}

#[test]
fn both_directions_find_one_session() {
    let mut table = table::<V6>(4);
    let (original, reply) = (key::<V6>(1), key::<V6>(2));
    let id = table.insert(&original, &reply, 5, 1_000).unwrap();
    let forth = table.lookup(&original, table.hash(&original)).unwrap();
    let back = table.lookup(&reply, table.hash(&reply)).unwrap();
    assert_eq!(
        (forth.session(), forth.direction()),
        (id, Direction::Original)
    );
    assert_eq!((back.session(), back.direction()), (id, Direction::Reply));
    assert_eq!((forth.reverse(), id.flow(Direction::Reply)), (back, back));
    let (this, other) = table.pair_mut(back).unwrap();
    assert!(this.matches(&reply) && other.matches(&original));
    assert_eq!(table.session(id).unwrap().idle(12), 7);
    // A packet of either direction keeps it alive, to the millisecond.
    table.flow_mut(forth).unwrap().count(60, 20);
    for flow in [forth, back] {
        assert!(!table.is_idle(flow, 1_019, 1_000) && table.is_idle(flow, 1_020, 1_000));
    }
    assert_eq!(table.cold(id).unwrap().created, 5);
    // Another zone, another protocol: not this session.
    for stranger in [
        Key {
            zone: 9,
            ..original
        },
        Key {
            proto: 6,
            ..original
        },
    ] {
        assert!(!table.contains(&stranger));
    }
}

/// Pitfalls 15 and 16: two sessions never share a tuple, in whichever role.
#[test]
fn a_clash_changes_nothing() {
    let mut table = table::<V4>(8);
    let k: Vec<_> = (0..6).map(key::<V4>).collect();
    table.insert(&k[0], &k[1], 0, 1).unwrap();
    let pairs = [(0, 2), (1, 2), (2, 0), (2, 1), (0, 1), (1, 0), (3, 3)];
    for (original, reply) in pairs {
        assert_eq!(
            table.insert(&k[original], &k[reply], 0, 1),
            Err(InsertError::Clash),
            "{original} {reply}"
        );
        assert_eq!(table.len(), 1);
        assert!(!table.contains(&k[2]) && !table.contains(&k[3]));
    }
}

/// Pitfall 17: ending twice must not free another session's place.
#[test]
fn removing_twice_is_nothing() {
    let mut table = table::<V4>(2);
    let id = table.insert(&key::<V4>(0), &key::<V4>(1), 0, 1).unwrap();
    let (session, _) = table.remove(id).unwrap();
    assert_eq!(session.flows[0].key(), key::<V4>(0));
    assert!(table.remove(id).is_none() && table.session(id).is_none());
    assert!(table.remove(SessionId(1)).is_none() && table.remove(SessionId(9)).is_none());
    for n in 1..3 {
        table
            .insert(&key::<V4>(2 * n), &key::<V4>(2 * n + 1), 0, 1)
            .unwrap();
    }
    assert_eq!(table.len(), 2);
}

/// What an earlier packet of the burst did to the table is seen by the later ones.
#[test]
fn a_stale_candidate_is_never_confirmed() {
    let mut table = table::<V4>(4);
    let keys = [key::<V4>(0), key::<V4>(2)];
    let hashes = keys.map(|k| table.hash(&k));
    let old = table.insert(&keys[0], &key::<V4>(1), 0, 1).unwrap();
    let candidates = [0, 1].map(|n| table.probe(&keys[n], hashes[n]).unwrap());
    table.remove(old).unwrap();
    let new = table.insert(&keys[1], &key::<V4>(3), 0, 1).unwrap();
    assert_eq!(old, new, "the place is used again at once");
    assert_eq!(table.confirm(candidates[0], &keys[0], hashes[0]), None);
    let found = table.confirm(candidates[1], &keys[1], hashes[1]);
    assert_eq!(found, Some(new.flow(Direction::Original)));
}

#[test]
fn deadlines_pass_at_their_millisecond_across_the_wrap() {
    // Pitfall 19: short and long ones alike; 2^30 is the longest.
    for timeout in [1, 999, 524_288, 7_440_000, MAX_TIMEOUT] {
        for start in [0, 1, 0x7fff_ff00, u32::MAX - timeout, u32::MAX] {
            let mut table = table::<V4>(40);
            for n in 0..3 {
                table
                    .insert(&key::<V4>(2 * n), &key::<V4>(2 * n + 1), start, 5)
                    .unwrap();
            }
            table.set_deadline(SessionId(1), start, timeout);
            table.set_deadline(SessionId(0), start, MAX_TIMEOUT);
            table.remove(SessionId(2)).unwrap();
            let end = start.wrapping_add(timeout);
            // Deadline 0 stands for a free place, so that one millisecond is rounded.
            let end = end.max(1);
            assert_eq!(
                due(&mut table, end.wrapping_sub(1)),
                [],
                "{timeout} {start}"
            );
            let passed = due(&mut table, end);
            assert!(passed.contains(&1), "{timeout} {start}");
            assert_eq!(passed.contains(&0), timeout == MAX_TIMEOUT);
            assert!(due(&mut table, end.wrapping_add(1_000_000)).contains(&1));
        }
    }
}

#[test]
fn a_pass_reports_every_due_session_once() {
    let mut table = table::<V4>(1_000);
    for n in 0..901 {
        let timeout = if n % 3 == 0 { 10 } else { 1_000 };
        table
            .insert(&key::<V4>(2 * n), &key::<V4>(2 * n + 1), 0, timeout)
            .unwrap();
    }
    let mut due = ArrayVec::new();
    let mut seen = Vec::new();
    // 901 deadlines are 57 strides.
    for _ in 0..57 {
        table.sweep(10, STRIDE, &mut due);
        seen.extend(due.drain(..).map(|id| id.0));
    }
    assert_eq!(seen, (0..901).step_by(3).collect::<Vec<_>>());
    // A full list stops the sweep, and nothing is left out afterwards.
    let mut seen = Vec::new();
    while seen.len() < 901 {
        table.sweep(1_000, 1_000, &mut due);
        assert!(!due.is_empty());
        for id in due.drain(..) {
            table.remove(id).unwrap();
            seen.push(id.0);
        }
    }
    table.sweep(1_000, 1_000, &mut due);
    assert!(due.is_empty() && table.is_empty());
    seen.sort_unstable();
    assert_eq!(seen, (0..901).collect::<Vec<_>>());
}

#[test]
fn an_empty_table_is_swept_and_listed_in_peace() {
    let mut table = table::<V4>(0);
    assert_eq!(due(&mut table, 0), []);
    assert_eq!(
        table.scan(0, 10, |_, _, _| panic!("nothing is there")),
        None
    );
    let refused = table.insert(&key::<V4>(0), &key::<V4>(1), 0, 1);
    assert_eq!(refused, Err(InsertError::Full));
}

#[test]
fn a_listing_in_pages_shows_each_session_once() {
    let mut table = table::<V4>(100);
    for n in 0..50 {
        table
            .insert(&key::<V4>(2 * n), &key::<V4>(2 * n + 1), n, 1)
            .unwrap();
    }
    for n in (0..50).step_by(5) {
        table.remove(SessionId(n)).unwrap();
    }
    let (mut shown, mut from) = (Vec::new(), Some(0));
    while let Some(at) = from {
        from = table.scan(at, 7, |id, session, cold| {
            assert_eq!(session.flows[0].key(), key::<V4>(2 * id.0));
            shown.push(cold.created);
        });
    }
    assert_eq!(shown, (0..50).filter(|n| n % 5 != 0).collect::<Vec<_>>());
}

#[derive(Debug, Clone)]
enum Operation {
    Insert(u32, u32),
    Remove(u32),
    LookUp(Vec<u32>),
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let key = 0..150_u32;
    let operation = prop_oneof![
        4 => (key.clone(), key.clone()).prop_map(|(a, b)| Operation::Insert(a, b)),
        2 => key.clone().prop_map(Operation::Remove),
        1 => prop::collection::vec(key, 0..150).prop_map(Operation::LookUp),
    ];
    prop::collection::vec(operation, 1..300)
}

/// The table and a hash map must say the same after any operations.
fn follows_the_model<F: Family>(operations: Vec<Operation>, capacity: usize) {
    let mut table = table::<F>(capacity);
    let mut model = HashMap::<u32, (u32, FlowRef)>::new();
    for operation in operations {
        match operation {
            Operation::Insert(a, b) => {
                let clash = a == b || model.contains_key(&a) || model.contains_key(&b);
                let full = model.len() / 2 == capacity;
                match table.insert(&key::<F>(a), &key::<F>(b), 0, 1) {
                    Ok(id) => {
                        assert!(!clash && !full);
                        model.insert(a, (b, id.flow(Direction::Original)));
                        model.insert(b, (a, id.flow(Direction::Reply)));
                    }
                    Err(InsertError::Clash) => assert!(clash),
                    Err(InsertError::Full) => assert!(full && !clash),
                }
            }
            Operation::Remove(a) => {
                if let Some((b, flow)) = model.remove(&a) {
                    model.remove(&b);
                    assert!(table.remove(flow.session()).is_some());
                }
            }
            Operation::LookUp(numbers) => {
                let keys: Vec<_> = numbers.iter().map(|&n| key::<F>(n)).collect();
                let mut found = vec![None; keys.len()];
                table.lookup_burst(&keys, &mut found);
                for (n, found) in numbers.iter().zip(found) {
                    assert_eq!(found, model.get(n).map(|&(_, flow)| flow));
                }
            }
        }
        assert_eq!(table.len(), model.len() / 2);
    }
    for n in 0..150 {
        let found = table.lookup(&key::<F>(n), table.hash(&key::<F>(n)));
        assert_eq!(found, model.get(&n).map(|&(_, flow)| flow));
    }
}

proptest! {
    #[test]
    fn ipv4_sessions_behave_as_a_hash_map(operations in operations(), capacity in 0..80_usize) {
        follows_the_model::<V4>(operations, capacity);
    }

    #[test]
    fn ipv6_sessions_behave_as_a_hash_map(operations in operations(), capacity in 0..80_usize) {
        follows_the_model::<V6>(operations, capacity);
    }
}
