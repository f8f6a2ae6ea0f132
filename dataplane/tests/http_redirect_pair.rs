//! Clients that are redirected by two appliances, whose packets come to either.

use crate::world;

use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::snapshot::ServerState;
use sluice_wire::tcp::flag::{ACK, FIN, PSH, SYN};
use world::pair::Pair;
use world::redirecting::{Client, GET, read, setup};
use world::{OUTSIDE, Setup};

const MSS: u16 = 1460;

fn node(node: u8, clock: u32) -> Setup {
    Setup {
        node: Some(node),
        clock,
        // Their clocks have nothing in common.
        start: u32::from(node) * 77_777_777,
        ..setup(ServerState::Down)
    }
}

fn connect(pair: &mut Pair, at: u8, port: u16) -> Client {
    let mut client = Client::new(false, port, 1);
    pair.arrive(at, OUTSIDE, &client.says(SYN, b""));
    client.connected(&pair.left(at, OUTSIDE));
    client
}

#[test]
fn either_node_knows_the_others_clients() {
    let mut pair = Pair::new(|number| node(number, 0));
    let mut client = connect(&mut pair, 1, 4000);
    pair.arrive(2, OUTSIDE, &client.says(ACK, b""));
    let response = client.response(GET.len(), MSS);
    let get = client.says(ACK | PSH, GET);
    for at in [2, 1] {
        assert_eq!(pair.through((at, OUTSIDE), &get, (at, OUTSIDE)), response);
    }
    for at in [1, 2] {
        assert_eq!(pair.sum(at, WorkerCounter::Redirected), 0);
    }
    client.answered(GET.len());
    // This may be anything: the other one is asked first, and answers as well.
    let fin = client.says(FIN | ACK, b"");
    pair.arrive(2, OUTSIDE, &fin);
    // It finds out who is behind the client's packets.
    pair.run(10);
    let last = pair.through((2, OUTSIDE), &fin, (1, OUTSIDE));
    assert_eq!(read(&last).flags, ACK);
    assert_eq!(last[..6], world::host_mac(world::ip("192.0.2.254")).0);
    // One dies: the other goes on with its clients.
    let client = connect(&mut pair, 2, 4001);
    pair.kill(2);
    pair.arrive(1, OUTSIDE, &client.says(ACK, b""));
    let get = client.says(ACK | PSH, GET);
    let response = client.response(GET.len(), MSS);
    assert_eq!(pair.through((1, OUTSIDE), &get, (1, OUTSIDE)), response);
}

#[test]
fn where_clocks_differ_the_one_that_accepted_a_client_answers_it() {
    let mut pair = Pair::new(|number| node(number, u32::from(number) * 3_600_000));
    let client = connect(&mut pair, 1, 4000);
    let get = client.says(ACK | PSH, GET);
    pair.arrive(2, OUTSIDE, &get);
    pair.run(10);
    let response = client.response(GET.len(), MSS);
    assert_eq!(pair.through((2, OUTSIDE), &get, (1, OUTSIDE)), response);
    assert!(pair.sum(2, WorkerCounter::RedirectedNoSession) > 0);
}
