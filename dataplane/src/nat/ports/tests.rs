use std::cell::RefCell;
use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn range(first: u16, last: u16) -> PortRange {
    PortRange::new((first, last)).unwrap()
}

/// Pitfall 14: remainders, inclusive ends, and more workers than ports.
#[test]
fn blocks_share_out_every_port_once() {
    let ten = range(100, 109);
    let blocks: Vec<_> = (0..4).map(|index| ten.block(index, 4).unwrap()).collect();
    assert_eq!(
        blocks,
        [
            range(100, 102),
            range(103, 105),
            range(106, 107),
            range(108, 109)
        ]
    );
    assert_eq!(range(7, 8).block(1, 4), Some(range(8, 8)));
    assert_eq!(range(7, 8).block(2, 4), None);
    assert_eq!(range(7, 8).blocks(4), 2);
    assert_eq!(range(0, 65535).block(15, 16), Some(range(61440, 65535)));
    assert_eq!(range(0, 65535).count(), 65536);
    assert_eq!(PortRange::new((2, 1)), None);
}

#[test]
fn parity_keeps_to_the_range_at_its_very_ends() {
    let all = |candidates: Candidates| -> Vec<u16> {
        (0..candidates.count).map(|at| candidates.get(at)).collect()
    };
    assert_eq!(all(range(10, 14).parity(2).unwrap()), [10, 12, 14]);
    assert_eq!(all(range(10, 14).parity(3).unwrap()), [11, 13]);
    assert_eq!(all(range(65535, 65535).parity(1).unwrap()), [65535]);
    assert_eq!(range(65535, 65535).parity(0), None);
    assert_eq!(range(4, 4).parity(1), None);
}

#[test]
fn the_strides_are_primes() {
    for (at, prime) in PRIMES.iter().enumerate() {
        assert!(*prime > 65_536 && !PRIMES[..at].contains(prime));
        assert!((2..1000).all(|divisor| prime % divisor != 0), "{prime}");
    }
}

/// Taken ports, and searches that add to them.
#[derive(Default)]
struct Model {
    searches: Searches,
    taken: RefCell<HashSet<u16>>,
    calls: u32,
}

impl Model {
    fn find(&mut self, subject: u64, candidates: Candidates, now: u32) -> Option<u16> {
        let (taken, calls) = (&self.taken, &mut self.calls);
        *calls = 0;
        let port = self.searches.find(
            subject,
            candidates,
            now,
            &mut Probes::default(),
            |_| true,
            |port| {
                *calls += 1;
                taken.borrow().contains(&port)
            },
        )?;
        assert!(taken.borrow_mut().insert(port), "given out twice");
        Some(port)
    }

    fn give_back(&mut self, subject: u64, port: u16) {
        assert!(self.taken.borrow_mut().remove(&port));
        self.searches.give_back(subject, port);
    }
}

/// As many sessions to one destination as there are ports, none refused, each found at once.
#[test]
fn the_whole_range_is_given_out_without_one_miss() {
    let mut model = Model::default();
    let all = range(1024, 65535).all();
    for _ in 0..all.count {
        assert!(model.find(77, all, 0).is_some());
        assert_eq!(model.calls, 1);
    }
    assert_eq!(model.taken.borrow().len(), 64512);
}

/// Pitfall 14: no spinning at exhaustion, and recovery with the first port that comes back.
#[test]
fn exhaustion_costs_little_and_ends_with_the_first_port_given_back() {
    let mut model = Model::default();
    let all = range(1000, 2999).all();
    while model.find(5, all, 0).is_some() {}
    assert_eq!(model.taken.borrow().len(), 2000);
    for _ in 0..20 {
        assert_eq!(model.find(5, all, 10), None);
        assert!(model.calls <= PROBES);
    }
    assert_eq!(model.find(5, all, 11), None);
    assert_eq!(model.calls, 0, "it is known to be exhausted");

    model.give_back(5, 1234);
    assert_eq!(model.find(5, all, 12), Some(1234));
    assert_eq!(model.calls, 1);

    // One that came back without a word is found when the memory has run out.
    model.taken.borrow_mut().remove(&1500);
    let late = 13 + EXHAUSTED_MS;
    let found = (0..20).find_map(|_| model.find(5, all, late));
    assert_eq!(found, Some(1500));
}

#[test]
fn a_port_is_not_used_again_while_others_are_fresh() {
    let mut model = Model::default();
    let all = range(1000, 1099).all();
    let mut seen = HashSet::new();
    for _ in 0..100 {
        let port = model.find(9, all, 0).unwrap();
        model.give_back(9, port);
        assert!(seen.insert(port), "{port} came again too early");
    }
}

#[test]
fn the_order_depends_on_the_subject() {
    let order = |subject| -> Vec<u16> {
        let mut model = Model::default();
        (0..4)
            .map(|_| model.find(subject, range(1024, 65535).all(), 0).unwrap())
            .collect()
    };
    assert_ne!(order(0x1234_5678_9abc_def0), order(0x0fed_cba9_8765_4321));
}

proptest! {
    #[test]
    fn blocks_are_disjoint_and_know_their_owner(
        a in any::<u16>(), b in any::<u16>(), parts in 1u16..=300,
    ) {
        let range = range(a.min(b), a.max(b));
        let mut next = u32::from(a.min(b));
        for index in 0..parts {
            prop_assert_eq!(range.block(index, parts).is_some(), index < range.blocks(parts));
            let Some(block) = range.block(index, parts) else { continue };
            prop_assert_eq!(u32::from(block.first), next);
            prop_assert!(block.count().abs_diff(range.count() / u32::from(parts)) <= 1);
            for port in [block.first, block.last] {
                prop_assert_eq!(range.block_of(port, parts), Some(index));
            }
            next += block.count();
        }
        prop_assert_eq!(next, u32::from(a.max(b)) + 1);
        if let Some(above) = a.max(b).checked_add(1) {
            prop_assert_eq!(range.block_of(above, parts), None);
        }
    }

    /// Whatever was opened and closed before: a search that goes on finds the free port, and none
    /// outside the range or of the wrong parity.
    #[test]
    fn the_last_free_port_is_found(
        first in any::<u16>(), len in 0u16..3000, like in prop::option::of(any::<u16>()),
        subject in any::<u64>(), churn in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        last in any::<prop::sample::Index>(),
    ) {
        let range = range(first, first.saturating_add(len));
        let candidates = like.map_or(Some(range.all()), |like| range.parity(like));
        let Some(candidates) = candidates else { return Ok(()) };
        let mut model = Model::default();
        while let Some(port) = model.find(subject, candidates, 0) {
            prop_assert!(range.contains(port));
            prop_assert!(like.is_none_or(|like| (like ^ port) & 1 == 0));
        }
        prop_assert_eq!(model.taken.borrow().len() as u32, candidates.count);
        for index in churn {
            let port = candidates.get(index.index(candidates.count as usize) as u32);
            model.give_back(subject, port);
            prop_assert_eq!(model.find(subject, candidates, 0), Some(port));
        }
        let port = candidates.get(last.index(candidates.count as usize) as u32);
        model.taken.borrow_mut().remove(&port);
        // Some have been looked at before it came free without a word: what was found then holds for
        // a while.
        let found = (0..30).find_map(|at| model.find(subject, candidates, at * EXHAUSTED_MS));
        prop_assert_eq!(found, Some(port));
    }
}
