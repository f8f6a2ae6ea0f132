//! A node dies by SIGKILL, under connections that live long and others that are opened all the time.

use std::time::{Duration, Instant};

use crate::two_nodes::{Pair, Ways, await_held, await_ready, gap};

/// Far longer than it takes: a test machine has other work as well. The figure is printed.
const AT_MOST: Duration = Duration::from_secs(1);

#[test]
fn no_established_connection_is_lost_when_either_node_is_killed() {
    let mut pair = Pair::new("kill", Ways::Crossed);
    pair.lab
        .ha("key = \"5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a\"\nwitness = \"inside\"\n");
    let [mut first, mut second] = pair.both();
    await_held(&[(&first, 0), (&second, 1)]);
    let steady = pair.steady(500);
    let beat = pair.beat();
    let load = pair.load(4, Duration::from_millis(5));
    steady.expect_answers();
    load.run_for(100);

    for victim in [1, 2] {
        let (dies, lives) = if victim == 1 {
            (first, second)
        } else {
            (second, first)
        };
        wait_told(&dies);
        let killed = Instant::now();
        dies.kill();
        let gap = gap(&beat, killed, &format!("node {victim} killed"));
        assert!(gap < AT_MOST, "{gap:?}");
        steady.expect_answers();
        assert_eq!(steady.failures(), [""; 0]);
        load.run_for(100);
        // It comes back while traffic runs, is told everything, and takes its group again.
        let back = if victim == 1 {
            pair.first()
        } else {
            pair.second()
        };
        await_ready(&back);
        await_ready(&lives);
        (first, second) = if victim == 1 {
            (back, lives)
        } else {
            (lives, back)
        };
        await_held(&[(&first, 0), (&second, 1)]);
        steady.expect_answers();
        load.run_for(100);
    }
    assert_eq!(steady.finish(), [""; 0]);
    let tally = load.finish();
    assert_eq!(tally.failures, [""; 0], "of {}", tally.answered());
}

/// Waits until nothing that a node has is unknown to the other one.
fn wait_told(node: &sluice_tests::sluice::Sluice) {
    sluice_tests::wait::expect("the other node to know all", || {
        node.json("/api/v1/ha")["ready"] == true
    });
}
