//! Source translation.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use sluice_tests::lab::{Lab, OUTSIDE};
use sluice_tests::servers::{Nginx, UdpEcho};
use sluice_tests::wait;

use crate::{NAT, echoes, get, snat, udp};

#[test]
fn sources_become_the_pools_address_and_the_server_learns_nothing_else() {
    let mut lab = Lab::gateway("snat");
    let server = lab.outside(10);
    let clients = [lab.inside(11), lab.inside(12)];
    let _nginx = Nginx::start(&server);
    let _sluice = lab.start(&snat("ports = \"20000-29999\""));
    let mut ports = BTreeSet::new();
    for _ in 0..25 {
        for client in &clients {
            let seen = get(client, "198.51.100.10", "/from")
                .expect("an answer")
                .text();
            let mut words = seen.split_whitespace();
            assert_eq!(words.next(), Some(NAT));
            let port: u16 = words
                .next()
                .and_then(|word| word.parse().ok())
                .expect("a port");
            assert!(
                (20_000..30_000).contains(&port),
                "port {port} is not the pool's"
            );
            ports.insert(port);
        }
    }
    assert!(
        ports.len() > 25,
        "ports must not be predictable or scarce: {ports:?}"
    );
}

#[test]
fn masquerade_takes_the_outgoing_ports_address() {
    let mut lab = Lab::gateway("masq");
    let server = lab.outside(10);
    let client = lab.inside(11);
    let _nginx = Nginx::start(&server);
    let _sluice = lab.start(
        "[firewall]\nopen = [{ from = \"inside\", to = \"outside\" }]\n\
         [[snat]]\nname = \"all\"\nfrom = \"inside\"\nto = \"outside\"\nmasquerade = true\n",
    );
    for _ in 0..10 {
        let seen = get(&client, "198.51.100.10", "/from")
            .expect("an answer")
            .text();
        assert!(seen.starts_with(&format!("{OUTSIDE} ")), "{seen}");
    }
    client.ok(&["ping", "-c", "3", "-W", "5", "198.51.100.10"]);
    // Its own address still answers for itself.
    server.ok(&["ping", "-c", "2", "-W", "5", OUTSIDE]);
}

#[test]
fn two_inside_hosts_with_the_same_source_port_to_the_same_destination() {
    let mut lab = Lab::gateway("sameport");
    let server = lab.outside(10);
    let clients = [lab.inside(11), lab.inside(12)];
    let _echo = UdpEcho::start(server.namespace(), server.address(), 7);
    let nginx = Nginx::start(&server);
    std::fs::write(nginx.root().join("blob"), vec![b's'; 400_000]).expect("cannot write");
    let _sluice = lab.start(&snat(""));
    let sockets = clients
        .each_ref()
        .map(|client| udp(client, client.address(), 40_000));
    for round in 0..10_u8 {
        for (number, socket) in (0_u8..).zip(&sockets) {
            assert!(
                echoes(socket, server.at(7), &[round, number]),
                "host {number}"
            );
        }
    }
    // TCP, both at the same time.
    let fetch = "curl -sS --fail --local-port 41000 --limit-rate 200k http://198.51.100.10/blob \
                 | wc -c";
    let sizes = std::thread::scope(|scope| {
        clients
            .each_ref()
            .map(|client| scope.spawn(|| client.sh(fetch)))
            .map(|fetch| fetch.join().expect("a client panicked").trim().to_owned())
    });
    assert_eq!(sizes, ["400000", "400000"]);
}

#[test]
fn exhausted_ports_are_counted_and_come_back() {
    let mut lab = Lab::gateway("ports");
    let server = lab.outside(10);
    let client = lab.inside(11);
    let _echo = UdpEcho::start(server.namespace(), server.address(), 7);
    let sluice = lab.start(
        &(snat("ports = \"40000-40063\"")
            + "[timeouts]\nudp_unreplied = \"2s\"\nudp = \"3s\"\nicmp = \"2s\"\n"),
    );
    let reason = "nat_ports_exhausted";
    let sockets: Vec<_> = (0..256)
        .map(|_| udp(&client, client.address(), 0))
        .collect();
    for socket in &sockets {
        socket.set_nonblocking(true).expect("a socket");
    }
    // Resolves the neighbours, whose queues are not what is tested here.
    client.ok(&["ping", "-c", "1", "-W", "5", "198.51.100.10"]);
    for round in 0..2 {
        let before = sluice.stats().dropped(reason);
        for socket in &sockets {
            socket.send_to(b"hello", server.at(7)).expect("cannot send");
        }
        let (mut answered, mut answer) = (0, [0; 16]);
        wait::expect("every datagram to be answered or refused", || {
            let answers = sockets
                .iter()
                .filter(|socket| socket.recv_from(&mut answer).is_ok());
            answered += answers.count() as u64;
            answered + sluice.stats().dropped(reason) - before == 256
        });
        assert!(
            (32..=64).contains(&answered),
            "round {round}: {answered} of 256 sockets on 64 ports"
        );
        wait::expect("all leases to end", || {
            sluice.stats().total().sessions() == 0
        });
    }
    let fresh = udp(&client, client.address(), 0);
    assert!(echoes(&fresh, server.at(7), b"again"), "no port came back");
}

#[test]
fn hundreds_of_short_connections_reuse_ports_without_a_failure() {
    let mut lab = Lab::gateway("reuse");
    let server = lab.outside(10);
    let client = lab.inside(11);
    let _nginx = Nginx::start(&server);
    // Far fewer ports than connections: closed ones must be usable again, or make room.
    let _sluice =
        lab.start(&(snat("ports = \"30000-30999\"") + "[timeouts]\ntcp_time_wait = \"1s\"\n"));
    let load = sluice_tests::load::Load::start(
        client.namespace(),
        4,
        SocketAddr::new(server.address(), 80),
        "/",
        Duration::from_millis(1),
    );
    load.run_for(1500);
    assert_eq!(load.finish().failures, Vec::<String>::new());
}
