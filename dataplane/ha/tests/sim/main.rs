//! Two nodes in virtual time, under a seed: datagrams are lost, doubled, reordered, delayed and
//! damaged, wires cut, nodes killed and started, keys changed, workers slow, clocks different. And
//! roles of up to five nodes.
//!
//! `SEEDS=n` tries so many seeds; `SEED=n` tries that one.

mod net;
mod node;
mod rng;
mod roles;
mod store;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use world::World;

/// Seeds where nobody says how many.
const SEEDS: u64 = 300;

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {value}")),
    )
}

fn seeds() -> Vec<u64> {
    match number("SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

/// Runs all seeds on all cores; the first one that fails says how to repeat it.
fn run(seeds: &[u64], one: impl Fn(u64) + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let runs = seeds
            .chunks(seeds.len().div_ceil(cores).max(1))
            .map(|seeds| {
                let one = &one;
                scope.spawn(move || {
                    for &seed in seeds {
                        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| one(seed))) {
                            eprintln!("replay: SEED={seed} cargo test -p sluice-ha --test sim");
                            resume_unwind(panic);
                        }
                    }
                })
            });
        for run in runs.collect::<Vec<_>>() {
            if let Err(panic) = run.join() {
                resume_unwind(panic);
            }
        }
    });
}

#[test]
fn tables_become_equal_and_nothing_is_lost_whatever_the_link_does() {
    run(&seeds(), |seed| {
        let mut world = World::new(seed);
        let story = world.story().to_string();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.run())) {
            eprintln!("seed {seed}: {story}");
            resume_unwind(panic);
        }
        assert!(
            world.told > 100 && world.checked > 100,
            "seed {seed}: nothing happened"
        );
    });
}

#[test]
fn a_group_has_one_holder_at_most_and_in_the_end_one() {
    run(&seeds(), |seed| {
        let mut cluster = roles::Cluster::new(seed);
        cluster.run();
        assert!(cluster.changes >= 3, "seed {seed}: nothing happened");
    });
}
