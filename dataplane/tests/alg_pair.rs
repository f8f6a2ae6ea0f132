//! FTP through two appliances, one of which dies.

use crate::world;

use sluice_dataplane::alg::AlgPolicy;
use sluice_dataplane::counters::DropReason;
use sluice_dataplane::published::WorkerCounter;
use sluice_wire::tcp::flag::{ACK, PSH};
use world::pair::{HOST, Pair, SERVER, SILENCE_MS, snat};
use world::talk::{By, Connection, End};
use world::{INSIDE, OUTSIDE, Setup};

fn pair() -> Pair {
    Pair::new(|node| Setup {
        alg: AlgPolicy { ftp: vec![21] },
        ..snat(node)
    })
}

/// The port in `EPRT |1|address|port|`.
fn port(line: &str) -> u16 {
    line.split('|').nth(3).expect(line).parse().expect(line)
}

#[test]
fn both_connections_go_on_by_the_other_node_and_new_ones_are_announced_there() {
    let mut pair = pair();
    let client = End::new(INSIDE, (HOST, 4000), (SERVER, 21), 1000);
    let way = &mut By(&mut pair, 1);
    let mut control = Connection::open(way, client, (SERVER, 21)).log_in(way);
    let seen = control.server.peer.0.clone();
    let eprt = format!("EPRT |1|{HOST}|5001|\r\n");
    let line = control.client(way, &eprt);
    assert_ne!(
        line.len(),
        eprt.len(),
        "numbers differ from here on: {line}"
    );
    let server = End::new(OUTSIDE, (SERVER, 20), (&seen, port(&line)), 700);
    let mut data = Connection::open(way, server, (HOST, 5001));
    data.client(way, "the first half");
    control.server(way, "150 here it comes\r\n");
    pair.run(50);
    assert_eq!(pair.sum(2, WorkerCounter::SessionsReplica), 2);

    pair.kill(1);
    pair.run(SILENCE_MS);
    // What was changed may come again, and nobody here knows how: it must not leave otherwise.
    let again = End {
        send: control.client.send - eprt.len() as u32,
        ..control.client.clone()
    };
    pair.arrive(2, INSIDE, &again.frame(ACK | PSH, again.send, &eprt));
    assert_eq!(pair.drops(2, DropReason::AlgUnreadable), 1);
    let way = &mut By(&mut pair, 2);
    assert_eq!(data.client(way, "the second half"), "the second half");
    assert_eq!(data.server(way, "yes"), "yes");
    assert_eq!(control.server(way, "226 done\r\n"), "226 done\r\n");
    assert_eq!(control.client(way, "NOOP\r\n"), "NOOP\r\n");
    assert_eq!(control.server(way, "200 ok\r\n"), "200 ok\r\n");
    let eprt = format!("EPRT |1|{HOST}|5002|\r\n");
    let line = control.client(way, &eprt);
    let server = End::new(OUTSIDE, (SERVER, 20), (&seen, port(&line)), 700);
    let mut data = Connection::open(way, server, (HOST, 5002));
    assert_eq!(data.client(way, "another"), "another");
    assert_eq!(control.server(way, "226 done\r\n"), "226 done\r\n");
    assert_eq!(pair.sum(2, WorkerCounter::SessionsTakenOver), 2);
}
