//! The key of two nodes is exchanged under traffic.

use std::time::Duration;

use crate::two_nodes::{Pair, Ways, await_ready, holds};

#[test]
fn keys_are_exchanged_by_restarts_and_no_request_fails() {
    let mut pair = Pair::new("keys", Ways::Together);
    let [old, new] = ["5a".repeat(32), "c3".repeat(32)];
    let settings = |key: &str, next: Option<&str>| {
        let next = next.map_or(String::new(), |next| format!("next_key = \"{next}\"\n"));
        format!(
            "key = \"{key}\"\n{next}heartbeat_ms = 100\ndead_after = 10\nwitness = \"inside\"\n"
        )
    };
    pair.lab.ha(&settings(&old, None));
    let [mut first, mut second] = pair.both();
    let load = pair.load(2, Duration::from_millis(5));
    load.run_for(50);
    for (key, next) in [(&old, Some(&new)), (&new, Some(&old)), (&new, None)] {
        pair.lab.ha(&settings(key, next.map(String::as_str)));
        first.finish();
        first = pair.first();
        await_ready(&first);
        await_ready(&second);
        second.finish();
        second = pair.second();
        await_ready(&first);
        await_ready(&second);
        load.run_for(50);
    }
    assert!(holds(&first, 0) != holds(&second, 0));
    let tally = load.finish();
    assert_eq!(tally.failures, [""; 0], "of {}", tally.answered());
}
