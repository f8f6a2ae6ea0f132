//! The first packets of sessions after their node died.

use crate::world;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::published::WorkerCounter;
use world::packet::udp;
use world::pair::{HOST, Pair, SERVER, SILENCE_MS, snat};
use world::{INSIDE, OUTSIDE, Setup};

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

/// Sessions are shared out among those that are left, whichever of them their packets come to.
#[test]
fn each_of_two_survivors_knows_the_next_hops_of_what_falls_to_it() {
    let mut cluster = Pair::new(|node| Setup {
        nodes: 3,
        ..snat(node)
    });
    let datagram = |n: u16| udp(HOST, 4000 + n, SERVER, 53, b"ask").to(INSIDE);
    for n in 0..SESSIONS {
        cluster.put(1, INSIDE, &datagram(n));
    }
    cluster.run(50);
    cluster.kill(1);
    cluster.run(SILENCE_MS);
    for n in 0..SESSIONS {
        cluster.put(2 + (n % 2) as u8, INSIDE, &datagram(n));
    }
    cluster.run(4);
    let left = [2, 3].map(|node| {
        assert_eq!(cluster.drops(node, DropReason::NeighbourQueueFull), 0);
        let sent = &mut cluster.node(node).sent[usize::from(OUTSIDE.0)];
        std::mem::take(sent).len()
    });
    assert_eq!(
        left.iter().sum::<usize>(),
        usize::from(SESSIONS),
        "{left:?}"
    );
    assert!(left.iter().all(|&left| left > 64), "{left:?}");
}
