//! Endpoint-independent mappings on two appliances: one external endpoint for one internal endpoint,
//! whichever node a packet comes to, and after either node died.

use crate::world;

use sluice_dataplane::nat::rules::{Filtering, Mapping};
use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::tcp::{ACK, SYN};
use world::packet::{Spec, tcp, udp};
use world::pair::{EXTERNAL, HOST, Pair, SERVER, SILENCE_MS, snat, sport};
use world::{INSIDE, OUTSIDE, Setup};

fn mapped(node: u8, workers: [u16; 2], filtering: Filtering) -> Setup {
    let mut setup = snat(node);
    setup.workers = workers[usize::from(node) - 1];
    setup.snat_pools[0].mapping = Mapping::EndpointIndependent;
    setup.snat_pools[0].filtering = filtering;
    setup
}

/// The host speaks to `to`, by node `by`; node `leaves` sends it. Gives its external port.
fn speak(pair: &mut Pair, by: u8, to: &str, leaves: u8) -> u16 {
    pair.node(by).arrive_at += 1;
    let ask = udp(HOST, 4000, to, 53, b"ask");
    sport(&pair.through((by, INSIDE), &ask.to(INSIDE), (leaves, OUTSIDE)))
}

/// A packet for the host's external endpoint comes to node `by`, and reaches it by node `leaves`.
fn call(pair: &mut Pair, by: u8, port: u16, stranger: &str, leaves: u8) {
    pair.node(by).arrive_at += 1;
    let call = udp(stranger, 9, EXTERNAL, port, b"hello");
    let back = pair.through((by, OUTSIDE), &call.to(OUTSIDE), (leaves, INSIDE));
    let expected = udp(stranger, 9, HOST, 4000, b"hello").ttl(63);
    assert_eq!(back, expected.from(INSIDE), "{stranger} by node {by}");
}

const WORKERS: [[u16; 2]; 3] = [[1, 1], [2, 3], [3, 1]];

#[test]
fn a_mapping_is_one_across_both_nodes_and_outlives_either() {
    for workers in WORKERS {
        let setup = |node| mapped(node, workers, Filtering::EndpointIndependent);
        let mut pair = Pair::new(setup);
        let port = speak(&mut pair, 1, "198.51.100.9", 1);
        assert_eq!(
            speak(&mut pair, 2, "198.51.100.10", 1),
            port,
            "by the other"
        );
        call(&mut pair, 1, port, "203.0.113.1", 1);
        call(&mut pair, 2, port, "203.0.113.2", 1);
        assert_eq!(pair.sum(1, WorkerCounter::NatMappings), 1);
        assert_eq!(pair.sum(2, WorkerCounter::NatMappings), 0);

        pair.kill(1);
        pair.run(SILENCE_MS);
        // New ones both ways, and those that there were.
        assert_eq!(speak(&mut pair, 2, "198.51.100.11", 2), port, "a new peer");
        call(&mut pair, 2, port, "203.0.113.3", 2);
        call(&mut pair, 2, port, "203.0.113.1", 2);
        assert_eq!(speak(&mut pair, 2, "198.51.100.9", 2), port);
        pair.run(20);
        assert_eq!(pair.sum(2, WorkerCounter::NatMappings), 1);

        // Who took it over keeps it.
        pair.start(1, &setup(1));
        pair.run(500);
        assert_eq!(speak(&mut pair, 1, "198.51.100.12", 2), port, "it is back");
        call(&mut pair, 1, port, "203.0.113.4", 2);
        // No port of the mapping's is given away by the node that it was of.
        for n in 0..40 {
            let ask = udp("10.0.0.8", 5000 + n, SERVER, 53, b"ask");
            let other = pair.through((1, INSIDE), &ask.to(INSIDE), (1, OUTSIDE));
            assert_ne!(sport(&other), port);
        }
        pair.kill(2);
        pair.run(SILENCE_MS);
        assert_eq!(speak(&mut pair, 1, "198.51.100.13", 1), port, "and again");
        call(&mut pair, 1, port, "203.0.113.5", 1);
        call(&mut pair, 1, port, "203.0.113.2", 1);
    }
}

#[test]
fn connections_of_a_mapping_go_on_and_a_stranger_may_still_open_one() {
    for workers in WORKERS {
        let setup = |node| mapped(node, workers, Filtering::EndpointIndependent);
        let mut pair = Pair::new(setup);
        let syn = tcp(HOST, 4000, SERVER, 80, SYN, 1000, 0);
        let port = sport(&pair.through((1, INSIDE), &syn.to(INSIDE), (1, OUTSIDE)));
        let answer = tcp(SERVER, 80, EXTERNAL, port, SYN | ACK, 9000, 1001);
        pair.through((2, OUTSIDE), &answer.to(OUTSIDE), (1, INSIDE));
        let ack = tcp(HOST, 4000, SERVER, 80, ACK, 1001, 9001);
        pair.through((1, INSIDE), &ack.to(INSIDE), (1, OUTSIDE));
        // By the node that has no mapping: nobody but the other can answer.
        let knock = |stranger: &str| tcp(stranger, 99, EXTERNAL, port, SYN, 500, 0).to(OUTSIDE);
        pair.through((2, OUTSIDE), &knock("203.0.113.1"), (1, INSIDE));
        let welcome = tcp(HOST, 4000, "203.0.113.1", 99, SYN | ACK, 700, 501);
        pair.through((1, INSIDE), &welcome.to(INSIDE), (1, OUTSIDE));
        pair.kill(1);
        pair.run(SILENCE_MS);
        pair.through((2, OUTSIDE), &knock("203.0.113.2"), (2, INSIDE));
        let mut data: Spec = tcp(SERVER, 80, EXTERNAL, port, ACK, 9001, 1001);
        data.body.extend(*b"more of it");
        let back = pair.through((2, OUTSIDE), &data.summed(16).to(OUTSIDE), (2, INSIDE));
        assert!(back.ends_with(b"more of it"));
        // The stranger's as well, though its port is of the dead node's share.
        let mut data = tcp("203.0.113.1", 99, EXTERNAL, port, ACK, 501, 701);
        data.body.extend(*b"hello");
        let back = pair.through((2, OUTSIDE), &data.summed(16).to(OUTSIDE), (2, INSIDE));
        assert!(back.ends_with(b"hello"));
    }
}

#[test]
fn filters_let_in_whom_the_host_spoke_to_after_its_node_died_as_well() {
    for workers in WORKERS {
        let setup = |node| mapped(node, workers, Filtering::AddressDependent);
        let mut pair = Pair::new(setup);
        let port = speak(&mut pair, 1, "198.51.100.9", 1);
        let refused = |pair: &mut Pair, by: u8| {
            let call = udp("203.0.113.1", 9, EXTERNAL, port, b"hello");
            pair.arrive(by, OUTSIDE, &call.to(OUTSIDE));
            pair.nodes
                .iter()
                .flatten()
                .for_each(|node| node.assert_quiet());
        };
        refused(&mut pair, 2);
        pair.kill(1);
        pair.run(SILENCE_MS);
        refused(&mut pair, 2);
        assert_eq!(speak(&mut pair, 2, "198.51.100.9", 2), port);
        call(&mut pair, 2, port, "198.51.100.9", 2);
        refused(&mut pair, 2);
    }
}

#[test]
fn a_mapping_that_is_over_is_forgotten_by_both() {
    for workers in WORKERS {
        let setup = |node| mapped(node, workers, Filtering::EndpointIndependent);
        let mut pair = Pair::new(setup);
        // TCP's goes with its last session.
        let syn = tcp(HOST, 4000, SERVER, 80, SYN, 1000, 0);
        let port = sport(&pair.through((1, INSIDE), &syn.to(INSIDE), (1, OUTSIDE)));
        let reset = tcp(SERVER, 80, EXTERNAL, port, 0x14, 0, 1001);
        pair.through((2, OUTSIDE), &reset.to(OUTSIDE), (1, INSIDE));
        pair.run(15_000);
        assert_eq!(pair.sum(1, WorkerCounter::NatMappings), 0);
        assert_eq!(pair.sum(2, WorkerCounter::SessionsReplica), 0);
        // The other node makes one of its own now.
        let again = pair.through((2, INSIDE), &syn.to(INSIDE), (2, OUTSIDE));
        assert_ne!(sport(&again), port);
    }
}

#[test]
fn a_node_that_is_about_to_go_still_lets_strangers_in_by_its_mappings() {
    let mut pair = Pair::new(|node| mapped(node, [2, 3], Filtering::EndpointIndependent));
    let port = speak(&mut pair, 1, "198.51.100.9", 1);
    pair.drain(1);
    pair.run(20);
    call(&mut pair, 1, port, "203.0.113.1", 1);
    call(&mut pair, 2, port, "203.0.113.2", 1);
    // Where the host speaks first its mapping goes along.
    assert_eq!(speak(&mut pair, 1, "198.51.100.10", 2), port);
    call(&mut pair, 1, port, "203.0.113.3", 2);
    assert_eq!(pair.sum(1, WorkerCounter::RedirectedLeaving), 1);
}
