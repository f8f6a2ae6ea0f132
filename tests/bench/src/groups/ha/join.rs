//! A node that starts, and is told everything.

use std::time::Duration;

use sluice_dataplane::published::WorkerCounter;
use sluice_dpdk::HugeMemory;

use super::Failed;
use crate::figure::{Figure, Reach};
use crate::pair::Pair;
use crate::rounds::{Better, windows};

const JOINS: usize = 3;
/// Rounds in a millisecond.
const ROUNDS: usize = 100;
/// Longer than it takes, milliseconds.
const PATIENCE_MS: u32 = 1_000_000;

/// Sessions per second that the second node is told of by the first: those of the slower of both.
pub(super) fn bulk(pair: &mut Pair, memory: &mut HugeMemory) -> Result<Figure, Failed> {
    let mut rates = vec![];
    pair.delay = 0;
    pair.run(2000);
    for _ in 0..JOINS {
        pair.kill(1);
        pair.run(500);
        let all = pair.node(0).sum(WorkerCounter::SessionsV4);
        pair.start(1, memory)?;
        let begun = pair.now;
        let mut took = [Duration::ZERO; 2];
        let mut known = 0;
        while known < all {
            if pair.now - begun > PATIENCE_MS {
                return Err(Failed(format!("{known} of {all} sessions were told of")));
            }
            pair.now += 1;
            pair.restart_clocks();
            for _ in 0..ROUNDS {
                pair.poll();
            }
            let round = pair.restart_clocks();
            known = pair.node(1).sum(WorkerCounter::SessionsReplica);
            if known > 0 {
                took = [took[0] + round[0], took[1] + round[1]];
            }
        }
        let slower = took[0].max(took[1]);
        rates.push(all as f64 / slower.as_secs_f64());
    }
    let figure = windows("ha.bulk_sessions_per_s", Better::More, &rates);
    Ok(figure.reach(Reach::AtLeast(1e6)))
}
