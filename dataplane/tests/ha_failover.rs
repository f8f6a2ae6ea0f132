//! The first packets of sessions after their node died.

mod world;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::published::WorkerCounter;
use world::packet::udp;
use world::pair::{HOST, Pair, SERVER, SILENCE_MS, snat};
use world::{INSIDE, OUTSIDE};

/// More than packets that may wait for one neighbour.
const SESSIONS: u16 = 200;

/// A node that has sent nothing so far, and could not know where to.
#[test]
fn a_survivor_knows_the_next_hops_of_all_that_it_takes_over() {
    let mut pair = Pair::new(snat);
    let datagram = |n: u16| udp(HOST, 4000 + n, SERVER, 53, b"ask").to(INSIDE);
    for n in 0..SESSIONS {
        pair.put(1, INSIDE, &datagram(n));
    }
    pair.run(50);
    assert_eq!(
        pair.sum(2, WorkerCounter::SessionsReplica),
        u64::from(SESSIONS)
    );
    pair.kill(1);
    pair.run(SILENCE_MS);
    for n in 0..SESSIONS {
        pair.put(2, INSIDE, &datagram(n));
    }
    pair.run(1);
    let left = pair.node(2).sent[usize::from(OUTSIDE.0)].len();
    assert_eq!(left, usize::from(SESSIONS), "at once");
    assert_eq!(pair.drops(2, DropReason::NeighbourQueueFull), 0);
    pair.node(2).sent[usize::from(OUTSIDE.0)].clear();
}
