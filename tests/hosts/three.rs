//! Three nodes, of which two die one after the other, under connections that live long and others that
//! are opened all the time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sluice_tests::beat::Beat;
use sluice_tests::lab::{HA, Lab};
use sluice_tests::load::Load;
use sluice_tests::servers::{Nginx, UdpEcho};
use sluice_tests::sluice::Sluice;
use sluice_tests::steady::{Steady, TcpEcho};
use sluice_tests::wait;

use crate::snat;
use crate::two_nodes::{GATEWAYS, SMALL, gap, holds};

/// Where the echoes listen.
const ECHO: u16 = 7;
/// Far longer than it takes: a test machine has other work as well. The figure is printed.
const AT_MOST: Duration = Duration::from_secs(2);

/// Node 1 prefers to hold the gateway inside, node 2 that outside; node 3 holds what they leave.
fn groups(node: u8) -> String {
    let group = |number: u8| {
        let priority = if node == number { 150 } else { 100 };
        let address = GATEWAYS[usize::from(number) - 1];
        format!(
            "[[ha.group]]\nname = \"group-{number}\"\nnumber = {number}\n\
             addresses = [\"{address}\"]\npriority = {priority}\npreempt_after = \"1s\"\n\n"
        )
    };
    group(1) + &group(2)
}

/// Waits until a node knows all of these, and they know all of its sessions.
fn await_peers(node: &Sluice, states: &[&str]) {
    wait::expect(&format!("other nodes to be {states:?}"), || {
        let ha = node.json("/api/v1/ha");
        let peers = ha["peers"].as_array().expect("a list");
        let same = peers
            .iter()
            .zip(states)
            .all(|(peer, state)| peer["state"] == *state);
        same && ha["ready"] == true && ha["joined"] == true
    });
}

#[test]
fn no_established_connection_is_lost_when_two_of_three_nodes_are_killed() {
    kill_two_of_three("three", "");
}

/// One node has the copy of each session: after the first death all that are left get another one.
#[test]
fn one_copy_is_enough_when_two_of_three_nodes_are_killed_one_after_the_other() {
    kill_two_of_three("three-backup", "copies = \"backup\"\n");
}

fn kill_two_of_three(name: &str, copies: &str) {
    let mut lab = Lab::gateway(name);
    lab.system(SMALL);
    lab.ha(&format!("{HA}{copies}"));
    let (client, server) = (lab.inside(11), lab.outside(10));
    let [second, third] = lab.trio();
    for (host, gateway) in [&client, &server].into_iter().zip(GATEWAYS) {
        host.ok(&["ip", "route", "replace", "default", "via", gateway]);
    }
    let _nginx = Nginx::start(&server);
    let _echoes = (
        TcpEcho::start(server.namespace(), server.at(ECHO)),
        UdpEcho::start(server.namespace(), server.address(), ECHO),
    );
    let rest = |node: u8| groups(node) + &snat("");
    let first = lab.start_first(&rest(1));
    let second = lab.start_second(&second, &rest(2));
    let third = lab.start_second(&third, &rest(3));
    for node in [&first, &second, &third] {
        await_peers(node, &["present"; 2]);
    }
    wait::expect("groups where they belong", || {
        holds(&first, 0) && holds(&second, 1)
    });
    let period = Duration::from_millis(500);
    let steady = Steady::start(client.namespace(), server.at(ECHO), 200, period);
    let beat = Beat::start(client.namespace(), server.at(ECHO));
    let web = SocketAddr::new(server.address(), 80);
    let load = Load::start(
        client.namespace(),
        3,
        web,
        "/from",
        Duration::from_millis(10),
    );
    steady.expect_answers();
    load.run_for(100);
    let corrected = |node: &Sluice| node.json("/api/v1/ha")["redirected"].as_u64();
    assert!(corrected(&second) > Some(0), "replies come by another node");

    await_peers(&first, &["present"; 2]);
    // Node 1 opens them all.
    for node in [&second, &third] {
        let pointers = node.json("/api/v1/ha")["pointers"].as_u64();
        assert_eq!(pointers > Some(0), !copies.is_empty(), "{pointers:?}");
    }
    let killed = Instant::now();
    first.kill();
    let silent = gap(&beat, killed, "the first of three killed");
    assert!(silent < AT_MOST, "{silent:?}");
    steady.expect_answers();
    load.run_for(100);
    for node in [&second, &third] {
        let taken = node.json("/api/v1/ha")["sessions_taken_over"].as_u64();
        assert!(taken > Some(20), "divided: {taken:?}");
    }

    await_peers(&second, &["dead", "present"]);
    await_peers(&third, &["dead", "present"]);
    let killed = Instant::now();
    second.kill();
    let silent = gap(&beat, killed, "the second of three killed");
    assert!(silent < AT_MOST, "{silent:?}");
    steady.expect_answers();
    load.run_for(100);
    assert!(holds(&third, 0) && holds(&third, 1));
    assert_eq!(steady.finish(), [""; 0]);
    let tally = load.finish();
    assert_eq!(tally.failures, [""; 0], "of {}", tally.answered());
}
