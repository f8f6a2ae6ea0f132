//! `table.lookup_vs_rte_hash`: the session table's burst lookup against `rte_hash_lookup_bulk`.
//!
//! Both hold the same four million keys in huge pages and are asked for the same keys, 64 at a time,
//! in random order; both hash, find and compare the whole key. In ours a key is a flow and two make
//! a session. `rte_hash` is sized for an eighth more than it holds, as cuckoo tables don't fill up.

use std::hint::black_box;

use sluice_dataplane::session::Table;
use sluice_dataplane::session::table::FlowRef;
use sluice_dpdk::{Clock, HugeMemory, RteHash};
use sluice_wire::proto::UDP;
use sluice_wire::{Key, KeyHasher, V4};

use super::{Effort, Failed, eal};
use crate::figure::{Figure, Reach};
use crate::rounds::{Better, Rounds, windows};
use crate::scenario::Random;

/// Keys held: two for each session.
const KEYS: usize = 4_128_768;
/// Keys asked for, again and again.
const ASKED: usize = 1 << 20;
/// Keys asked for in a window: some milliseconds.
const LOOKUPS: usize = 1 << 17;
/// Windows for each round that is asked for.
const WINDOWS: usize = 16;
const BURST: usize = 64;

/// The key as bytes, as `rte_hash` takes it.
pub(super) type Raw = [u64; 2];

pub(super) fn raw(key: &Key<u64>) -> Raw {
    [
        key.addrs,
        u64::from(key.ports) | u64::from(key.proto) << 32 | u64::from(key.zone) << 40,
    ]
}

/// Key number `n`, all different.
fn key(n: u64) -> Key<u64> {
    Key {
        addrs: n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        ports: (n as u32).wrapping_mul(0x85eb_ca6b),
        proto: UDP,
        ..Key::default()
    }
}

pub(super) fn run(effort: &Effort) -> Result<Vec<Figure>, Failed> {
    let eal = eal()?;
    let clock = Clock::start(eal);
    let mut memory = HugeMemory::new(eal, None);
    let mut random = Random::default();
    let hasher = KeyHasher::new([(); 4].map(|()| random.next()));
    let mut ours = Table::<V4>::new(&mut memory, KEYS / 2, hasher)?;
    let mut theirs = RteHash::<Raw>::create(eal, (KEYS + KEYS / 8) as u32)?;
    for n in (0..KEYS as u64).step_by(2) {
        let (original, reply) = (key(n), key(n + 1));
        ours.insert(&original, &reply, 0, 1_000_000)
            .map_err(|why| Failed(why.to_string()))?;
        theirs.insert(&raw(&original))?;
        theirs.insert(&raw(&reply))?;
    }
    let mut figures = vec![];
    let mut least: Option<Figure> = None;
    let reach = Reach::AtLeast(1.5);
    for (name, first) in [("hits", 0), ("misses", KEYS as u64)] {
        let asked: Vec<_> = (0..ASKED)
            .map(|_| key(first + random.next() % KEYS as u64))
            .collect();
        let rounds = measure(effort, &clock, (&ours, &theirs), &asked, first == 0);
        for (whose, times) in [("sluice", rounds.a()), ("rte_hash", rounds.b())] {
            figures.push(windows(
                format!("table.{name}.{whose}_ns"),
                Better::Less,
                times,
            ));
        }
        let figure = rounds.inverse().ratio(
            format!("table.lookup_vs_rte_hash.{name}"),
            Better::Less,
            reach,
        );
        figures.push(figure.clone());
        if least
            .as_ref()
            .is_none_or(|least| figure.value < least.value)
        {
            least = Some(figure);
        }
    }
    figures.extend(least.map(|least| Figure {
        name: "table.lookup_vs_rte_hash".into(),
        ..least
    }));
    Ok(figures)
}

/// Nanoseconds a key, ours and theirs.
fn measure(
    effort: &Effort,
    clock: &Clock,
    (ours, theirs): (&Table<V4>, &RteHash<Raw>),
    asked: &[Key<u64>],
    there: bool,
) -> Rounds {
    let raws: Vec<_> = asked.iter().map(raw).collect();
    let raws: Vec<_> = raws.iter().collect();
    let mut found = [0_usize; 2];
    let ns = |ticks: u64| ticks as f64 * 1e9 / clock.hz() as f64 / LOOKUPS as f64;
    let [ours_found, theirs_found] = &mut found;
    let (mut asked, mut raws) = (asked.chunks(LOOKUPS).cycle(), raws.chunks(LOOKUPS).cycle());
    let windows = effort.rounds * WINDOWS;
    let mut ours_once = || {
        let asked = asked.next().unwrap_or_default();
        let start = clock.ticks();
        let mut flows: [Option<FlowRef>; BURST] = [None; BURST];
        for keys in asked.chunks(BURST) {
            ours.lookup_burst(keys, &mut flows);
            *ours_found += flows.iter().filter(|flow| flow.is_some()).count();
        }
        ns(black_box(clock.ticks()) - start)
    };
    let mut theirs_once = || {
        let raws = raws.next().unwrap_or_default();
        let start = clock.ticks();
        let mut positions = [0; BURST];
        for keys in raws.chunks(BURST) {
            theirs.lookup_bulk(keys, &mut positions);
            *theirs_found += positions.iter().filter(|&&at| at >= 0).count();
        }
        ns(black_box(clock.ticks()) - start)
    };
    // A worker looks up all the time. The first window of a turn, with other keys, isn't counted: it
    // pays for address translations and predictions that the other's turn has pushed out.
    let rounds = Rounds::measure(
        windows,
        || {
            ours_once();
            ours_once()
        },
        || {
            theirs_once();
            theirs_once()
        },
    );
    // What is not looked up is not fast.
    let all = if there { 2 * windows * LOOKUPS } else { 0 };
    assert_eq!(
        found, [all; 2],
        "a lookup found what is not there, or missed what is"
    );
    rounds
}
