//! Both nodes restart one after the other while requests and connections go on, over a bad HA link.

use std::time::Duration;

use sluice_tests::sluice::Sluice;
use sluice_tests::wait;
use sluice_tests::wire::Impairment;

use crate::two_nodes::{Pair, Ways, await_held};

/// Delays of the HA link, milliseconds.
const DELAYS: [u64; 2] = [20, 200];

/// Waits until both nodes know everything that there was when they met, and have their groups. The moment at
/// which there is nothing under way between them never comes while the link is longer than the pauses of clients.
#[track_caller]
fn await_joined(first: &Sluice, second: &Sluice) {
    for node in [first, second] {
        wait::expect("a node to have joined", || {
            let ha = node.json("/api/v1/ha");
            ha["peer_state"] == "present" && ha["joined"] == true
        });
    }
    await_held(&[(first, 0), (second, 1)]);
}

#[test]
fn both_nodes_restart_over_a_bad_wire_and_nothing_fails() {
    let pair = Pair::new("rolling-wire", Ways::Crossed);
    let [mut first, mut second] = pair.both();
    await_held(&[(&first, 0), (&second, 1)]);
    let steady = pair.steady(100);
    let load = pair.load(4, Duration::from_millis(5));
    steady.expect_answers();
    for delay in DELAYS {
        pair.wire.impair(Impairment {
            delay: Duration::from_millis(delay),
            lost: 100,
            doubled: 10,
            held_up: 10,
        });
        load.run_for(100);
        first.finish();
        steady.expect_answers();
        load.run_for(100);
        first = pair.first();
        await_joined(&first, &second);
        steady.expect_answers();
        load.run_for(100);
        second.finish();
        steady.expect_answers();
        load.run_for(100);
        second = pair.second();
        await_joined(&first, &second);
        steady.expect_answers();
        assert_eq!(steady.failures(), [""; 0], "{delay} ms");
        eprintln!("{delay} ms: {:?}", pair.wire.carried());
    }
    load.run_for(100);
    assert_eq!(steady.finish(), [""; 0]);
    let tally = load.finish();
    assert_eq!(tally.failures, [""; 0], "of {}", tally.answered());
}
