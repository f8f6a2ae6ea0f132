//! A node that goes away while there is traffic: who opens what is new, and when it may be stopped.

use std::collections::VecDeque;

use crate::world;

use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::tcp::{ACK, RST, SYN};
use world::packet::{tcp, udp};
use world::pair::{EXTERNAL, Pair, SILENCE_MS, snat, sport};
use world::{INSIDE, OUTSIDE};

use crate::ha_modes::untold;
use crate::roles::{HOST, SERVER, pair, to_group};

/// With a long link and traffic there is no moment at which nothing is under way.
#[test]
fn a_node_may_go_though_it_always_has_something_to_tell_and_opens_no_session_meanwhile() {
    let mut pair = pair();
    let syn = |port| tcp(HOST, port, SERVER, 80, SYN, 1000, 0);
    let ports = 4000..4300;
    for port in ports.clone() {
        pair.put(1, INSIDE, &syn(port).to(INSIDE));
    }
    pair.run(100);
    let forget = |pair: &mut Pair| pair.node(1).sent.iter_mut().for_each(VecDeque::clear);
    forget(&mut pair);
    // These two are over.
    for port in [4000, 4001] {
        let reset = tcp(SERVER, 80, HOST, port, RST | ACK, 0, 1001);
        pair.through((1, OUTSIDE), &reset.to(OUTSIDE), (1, INSIDE));
    }
    pair.delay = 30;
    pair.put(1, INSIDE, &syn(4300).to(INSIDE));
    pair.put(1, INSIDE, &syn(4301).to(INSIDE));
    pair.drain(1);
    let mut resets = ports.skip(2);
    while !pair.may_go(1) {
        let port = resets.next().expect("it may go before");
        let reset = tcp(SERVER, 80, HOST, port, RST | ACK, 0, 1001);
        pair.put(1, OUTSIDE, &reset.to(OUTSIDE));
        pair.run(10);
        let untold = pair.sum(1, WorkerCounter::SessionsUntold);
        assert!(untold > 0, "at {port}");
    }
    forget(&mut pair);
    assert_eq!(pair.sum(1, WorkerCounter::HaAway), 0);
    // The other one opens what is new, and what is new in place of what is over, wherever that comes.
    let opened = pair.sum(1, WorkerCounter::SessionsOpened);
    let fresh = syn(5000).to(INSIDE);
    pair.through((1, INSIDE), &fresh, (2, OUTSIDE));
    assert_eq!(pair.sum(2, WorkerCounter::SessionsTakenOver), 0);
    pair.through((1, INSIDE), &syn(4000).to(INSIDE), (2, OUTSIDE));
    pair.through((2, INSIDE), &to_group(&syn(4001).to(INSIDE)), (2, OUTSIDE));
    assert_eq!(pair.sum(1, WorkerCounter::RedirectedLeaving), 2);
    assert_eq!(pair.sum(2, WorkerCounter::SessionsTakenOver), 2);
    assert_eq!(pair.sum(1, WorkerCounter::SessionsOpened), opened);
    // What is not over is still its own.
    let again = syn(4299).to(INSIDE);
    pair.through((2, INSIDE), &to_group(&again), (1, OUTSIDE));
}

/// When they meet again its former owner tells of the old one.
#[test]
fn a_connection_opened_in_place_of_another_while_the_link_was_cut_stays() {
    let mut pair = pair();
    let syn = tcp(HOST, 4000, SERVER, 80, SYN, 1000, 0).to(INSIDE);
    pair.through((1, INSIDE), &syn, (1, OUTSIDE));
    let answer = tcp(SERVER, 80, HOST, 4000, SYN | ACK, 9000, 1001);
    pair.through((1, OUTSIDE), &answer.to(OUTSIDE), (1, INSIDE));
    let ack = tcp(HOST, 4000, SERVER, 80, ACK, 1001, 9001);
    pair.through((1, INSIDE), &ack.to(INSIDE), (1, OUTSIDE));
    let reset = tcp(SERVER, 80, HOST, 4000, RST | ACK, 9001, 1001);
    pair.through((1, OUTSIDE), &reset.to(OUTSIDE), (1, INSIDE));
    pair.cut = true;
    pair.run(2 * SILENCE_MS);
    pair.through((2, INSIDE), &syn, (2, OUTSIDE));
    // For so long that neither knows what was told last.
    pair.run(3000);
    pair.cut = false;
    pair.run(1000);
    let answer = tcp(SERVER, 80, HOST, 4000, SYN | ACK, 70_000, 1001);
    pair.through((1, OUTSIDE), &answer.to(OUTSIDE), (2, INSIDE));
}

/// Nobody tells it that another one has opened in place of its own.
#[test]
fn a_node_that_is_about_to_go_forgets_what_it_gave_away_the_successor_of() {
    let mut pair = Pair::new(untold);
    let syn = tcp(HOST, 4000, SERVER, 80, SYN, 1000, 0).to(INSIDE);
    let port = sport(&pair.through((1, INSIDE), &syn, (1, OUTSIDE)));
    let reset = tcp(SERVER, 80, EXTERNAL, port, RST | ACK, 0, 1001);
    pair.through((1, OUTSIDE), &reset.to(OUTSIDE), (1, INSIDE));
    pair.drain(1);
    pair.run(20);
    let port = sport(&pair.through((1, INSIDE), &syn, (2, OUTSIDE)));
    let answer = tcp(SERVER, 80, EXTERNAL, port, SYN | ACK, 9000, 1001);
    pair.through((1, OUTSIDE), &answer.to(OUTSIDE), (2, INSIDE));
    let ack = tcp(HOST, 4000, SERVER, 80, ACK, 1001, 9001).to(INSIDE);
    assert_eq!(sport(&pair.through((1, INSIDE), &ack, (2, OUTSIDE))), port);
}

/// Until then that one sends packets here, and what they change has to be told as well.
#[test]
fn a_node_goes_only_after_the_other_one_has_heard_that_it_does() {
    let mut pair = Pair::new(snat);
    (pair.witness_cut, pair.delay) = (true, 60);
    pair.run(300);
    let ask = udp(HOST, 4000, SERVER, 53, b"ask");
    pair.through((1, INSIDE), &ask.to(INSIDE), (1, OUTSIDE));
    pair.run(300);
    pair.drain(1);
    // There and back, and as long as a node may be silent.
    pair.run(2 * pair.delay + 90);
    assert!(!pair.may_go(1));
    pair.run(SILENCE_MS);
    assert!(pair.may_go(1));
}
