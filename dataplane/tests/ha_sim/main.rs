//! Two to five whole appliances in one process, in virtual time and under a seed: the real pipeline with
//! its tables, workers and rings, hosts that speak TCP and UDP across all nodes, and wires between the
//! nodes that lose, double, reorder, delay, damage and are cut, while nodes stall, crash and start again.
//!
//! After every step: no packet came to the wrong host, and every packet is accounted for. Ever so
//! often: no two sessions own one external port. In the end, when the wires have been quiet for a while:
//! all tables say the same, and every connection that was established goes on, unless the node that
//! died was the only one to know of it.
//!
//! `SEEDS=n` tries so many seeds; `SEED=n` tries that one, and says what happens.

#[path = "../../ha/tests/sim/rng.rs"]
#[allow(dead_code)]
mod rng;
#[path = "../world/mod.rs"]
mod world;

mod check;
mod hosts;
mod node;
mod segment;
mod sim;
mod story;
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Seeds where nobody says how many.
const SEEDS: u64 = 100;

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    let parsed = value.parse();
    Some(parsed.unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

/// Runs all seeds on all cores. `backup`: one node has the copy of each session. `nodes` says of how many nodes a seed's story is.
fn run(replay: &str, default: u64, backup: bool, nodes: impl Fn(u64) -> usize + Sync) {
    let seeds: Vec<u64> = match number("SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SEEDS").unwrap_or(default)).collect(),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(vec![]));
    let work = || {
        while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut sim = sim::Sim::new(seed, (nodes(seed), backup), seeds.len() == 1);
            if catch_unwind(AssertUnwindSafe(|| sim.run())).is_err() {
                eprintln!("seed {seed}: {}", sim.story());
                eprintln!(
                    "replay: SEED={seed} cargo test -p sluice-dataplane --test ha_sim {replay}"
                );
                // What is left of it cannot add up.
                std::mem::forget(sim);
                failed.lock().expect("nobody panics with it").push(seed);
            }
        }
    };
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().expect("nobody panics with it");
    assert!(failed.is_empty(), "seeds {failed:?}");
}

#[test]
fn two_appliances_lose_nothing_whatever_happens_to_them() {
    run("two_", SEEDS, false, |_| 2);
}

#[test]
fn up_to_five_appliances_lose_nothing_whatever_happens_to_them() {
    run("up_to_five_", SEEDS / 2, false, |seed| {
        3 + (seed % 3) as usize
    });
}

/// `copies = "backup"`: of each session one node has a copy, and the others know whose it is.
#[test]
fn one_copy_of_each_session_is_enough_unless_both_nodes_die() {
    run("one_copy_", SEEDS / 2, true, |seed| 3 + (seed % 3) as usize);
}
