//! First packets that travel with their session's record: requests by one node, replies by the other,
//! which has heard of each session before.

use std::time::Duration;

use serde_json::Value;
use sluice_tests::wait;
use sluice_tests::wire::Impairment;

use crate::bad_wire::curls;
use crate::two_nodes::{Pair, SERVER, Ways};
use crate::{echoes, get, udp};

const REQUESTS: u64 = 1000;
/// How many datagrams are asked for, each from a port of its own.
const DATAGRAMS: u16 = 100;

#[test]
fn no_reply_comes_before_its_session_however_far_the_other_node_is() {
    let mut pair = Pair::new("inline", Ways::Fixed);
    for rest in &mut pair.rest {
        // Of the last section, which is the rule of SNAT.
        rest.push_str("sync = \"inline\"\n");
    }
    let [first, second] = pair.both();
    let delay = Duration::from_millis(20);
    pair.wire.impair(Impairment {
        delay,
        ..Impairment::default()
    });
    // Node 2 learns where the server is.
    wait::expect("the other node to send first packets", || {
        get(&pair.client, SERVER, "/from").expect("an answer");
        count(&second.json("/api/v1/ha"), "inline", "sent") > 0
    });
    let before = [&first, &second].map(|node| node.json("/api/v1/ha"));
    assert_eq!(curls(&pair, REQUESTS), [format!("{REQUESTS} 200 0")]);
    for port in 0..DATAGRAMS {
        let socket = udp(&pair.client, pair.client.address(), 20_000 + port);
        assert!(echoes(&socket, pair.server.at(7), &port.to_be_bytes()));
    }
    let opened = REQUESTS + u64::from(DATAGRAMS);
    wait::expect("all first packets to be counted", || {
        let now = second.json("/api/v1/ha");
        count(&now, "inline", "sent") >= count(&before[1], "inline", "sent") + opened
    });
    let after = [&first, &second].map(|node| node.json("/api/v1/ha"));
    let grew = |node: usize, table: &str, name: &str| {
        count(&after[node], table, name) - count(&before[node], table, name)
    };
    let reasons = "redirected_by_reason";
    eprintln!("{} {}", after[0]["inline"], after[1]["inline"]);
    eprintln!("{} {}", after[0][reasons], after[1][reasons]);
    for early in ["no_session", "port", "refused", "joining"] {
        assert_eq!(grew(1, reasons, early), 0, "{early}");
    }
    assert!(grew(1, reasons, "replica") >= opened, "replies, and known");
    assert_eq!(grew(0, reasons, "inline"), grew(1, "inline", "sent"));
    for (node, what) in [(0, "direct"), (0, "recalled"), (1, "returned")] {
        assert_eq!(grew(node, "inline", what), 0, "{what}");
    }
    for node in [&first, &second] {
        assert_eq!(node.stats().dropped("out_of_state"), 0);
    }
}

fn count(ha: &Value, table: &str, name: &str) -> u64 {
    let count = ha[table][name].as_u64();
    count.unwrap_or_else(|| panic!("{table}.{name} of {ha}"))
}
