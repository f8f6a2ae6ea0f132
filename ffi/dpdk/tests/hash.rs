//! The peer that the session table is measured against must do what it is taken for.

mod common;

use common::{eal, one_at_a_time};
use sluice_dpdk::RteHash;

#[test]
fn what_was_put_in_is_found_and_nothing_else_is() {
    let _one = one_at_a_time();
    let mut table = RteHash::<[u64; 2]>::create(eal(), 4096).unwrap();
    let keys: Vec<_> = (0..1000_u64).map(|n| [n, n * n]).collect();
    let given: Vec<_> = keys.iter().map(|key| table.insert(key).unwrap()).collect();
    assert_eq!(table.insert(&keys[7]).unwrap(), given[7]);

    let mut positions = [0; 64];
    for (keys, given) in keys.chunks(64).zip(given.chunks(64)) {
        let asked: Vec<_> = keys.iter().collect();
        table.lookup_bulk(&asked, &mut positions);
        assert_eq!(&positions[..given.len()], given);
    }
    let others: Vec<_> = (0..64_u64).map(|n| [n, n * n + 1]).skip(1).collect();
    let asked: Vec<_> = others.iter().collect();
    table.lookup_bulk(&asked, &mut positions);
    assert!(positions[..asked.len()].iter().all(|&at| at < 0));
}
