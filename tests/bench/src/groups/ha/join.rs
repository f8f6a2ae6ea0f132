//! A node that starts, and is told everything.

use sluice_dataplane::published::WorkerCounter;
use sluice_dpdk::HugeMemory;

use super::Failed;
use crate::figure::{Figure, Reach};
use crate::pair::Pair;
use crate::rounds::{Better, windows};

const JOINS: usize = 3;
/// Rounds in a window, which is a millisecond to the nodes.
const ROUNDS: usize = 200;
/// Longer than it takes, milliseconds.
const PATIENCE_MS: u32 = 100_000;

/// Sessions per second that the second node is told of by the first: in each window, those of the slower
/// of both.
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
        let mut known = 0;
        while known < all {
            if pair.now - begun > PATIENCE_MS {
                return Err(Failed(format!("{known} of {all} sessions were told of")));
            }
            pair.restart_clocks();
            for _ in 0..ROUNDS {
                pair.poll();
            }
            let [teller, hearer] = pair.restart_clocks();
            // So that it is published.
            pair.run(1);
            let before = known;
            known = pair.node(1).sum(WorkerCounter::SessionsReplica);
            // The last window is not full, nor is the first.
            if before > 0 && known < all {
                rates.push((known - before) as f64 / teller.max(hearer).as_secs_f64());
            }
        }
    }
    let figure = windows("ha.bulk_sessions_per_s", Better::More, &rates);
    Ok(figure.reach(Reach::AtLeast(1e6)))
}
