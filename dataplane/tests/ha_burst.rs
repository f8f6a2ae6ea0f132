//! Bursts of packets that came to another appliance than the one that owns their sessions.

use crate::world;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::published::WorkerCounter;
use world::packet::udp;
use world::pair::{HOST, Pair, SERVER, snat, sport};
use world::{INSIDE, OUTSIDE, PortId};

/// The HA link.
const LINK: PortId = PortId(2);
const SESSIONS: u16 = 40;

/// Every eighth packet has a TTL that ends at the owner, and something forged comes by its link as well.
#[test]
fn a_burst_that_came_to_the_other_node_leaves_in_its_order_and_nothing_else_does() {
    let mut pair = Pair::new(snat);
    let ask = |n: u16| udp(HOST, 4000 + n, SERVER, 53, b"ask");
    let mut leaves = vec![];
    for n in 0..SESSIONS {
        let out = pair.through((1, INSIDE), &ask(n).to(INSIDE), (1, OUTSIDE));
        let answer = udp(SERVER, 53, "192.0.2.10", sport(&out), b"answer");
        let back = pair.through((2, OUTSIDE), &answer.to(OUTSIDE), (1, INSIDE));
        let expected = udp(SERVER, 53, HOST, 4000 + n, b"answer").ttl(63);
        assert_eq!(back, expected.from(INSIDE));
        leaves.push(out);
    }
    // The answers.
    let before = pair.sum(1, WorkerCounter::CorrectedReceived);
    assert_eq!(before, u64::from(SESSIONS));
    let mut forged = ask(0).to(INSIDE);
    forged[6..12].copy_from_slice(&[0x26, 0, 1, 2, 3, 4]);
    let mut ended = 0;
    for n in 0..SESSIONS {
        pair.put(2, INSIDE, &ask(n).to(INSIDE));
        if n % 8 == 5 {
            pair.put(2, INSIDE, &ask(n).ttl(1).to(INSIDE));
            pair.put(1, LINK, &forged);
            ended += 1;
        }
    }
    pair.run(5);
    for (n, out) in leaves.into_iter().enumerate() {
        assert_eq!(pair.left(1, OUTSIDE), out, "packet {n}");
    }
    for _ in 0..ended {
        let told = pair.left(1, INSIDE);
        assert_eq!(told[34..36], [11, 0], "time exceeded");
    }
    pair.nodes
        .iter()
        .flatten()
        .for_each(world::World::assert_quiet);
    assert_eq!(pair.drops(1, DropReason::HaForged), ended);
    let redirected = pair.sum(2, WorkerCounter::RedirectedReplica);
    assert_eq!(redirected, before + u64::from(SESSIONS) + ended);
    let corrected = pair.sum(1, WorkerCounter::CorrectedReceived);
    assert_eq!(corrected, redirected);
}
