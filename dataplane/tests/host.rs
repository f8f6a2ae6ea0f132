//! The host interface: what the kernel of the machine gets to see, and what it may send.

use crate::world;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::host::{self, Allow, HostPolicy};
use sluice_dataplane::published::WorkerCounter;
use sluice_wire::proto;
use sluice_wire::tcp::flag::{ACK, FIN, RST, SYN};
use world::packet::{echo, icmp_error, tcp, udp};
use world::{INSIDE, OUTSIDE, Setup, World, ip, kernel_got, kernel_sends};

const OWN: &str = "10.0.0.1";
const SERVER: &str = "10.0.0.9";

fn on(allow: Vec<Allow>) -> Setup {
    Setup {
        host: Some(HostPolicy {
            allow,
            strangers_per_s: 100,
        }),
        ..Setup::default()
    }
}

fn bgp() -> Allow {
    Allow {
        from: Some(world::OUTSIDE_ZONE),
        source: vec!["192.0.2.254/32".parse().unwrap()].into(),
        proto: Some(proto::TCP),
        ports: vec![(179, 179)],
    }
}

#[test]
fn the_kernel_connects_to_a_server_and_gets_its_answers() {
    for workers in [1, 2, 3] {
        let setup = Setup {
            workers,
            ..on(vec![])
        };
        let mut world = setup.start();
        for port in 61_000..61_020 {
            let syn = tcp(OWN, port, SERVER, 80, SYN, 1, 0);
            kernel_sends(&mut world, &setup, &syn);
            assert_eq!(
                world.left(INSIDE),
                syn.from(INSIDE),
                "as it was, TTL included"
            );

            world.arrive_at += 1;
            let answer = tcp(SERVER, 80, OWN, port, SYN | ACK, 9, 2);
            world.arrive(INSIDE, &answer.to(INSIDE));
            assert_eq!(
                kernel_got(&mut world),
                [(0, answer.packet())],
                "{}",
                world.drops()
            );
        }
        assert_eq!(world.count(WorkerCounter::Injected), 20);
        assert_eq!(world.count(WorkerCounter::Punted), 20);
        assert_eq!(world.count(WorkerCounter::Forwarded), 20);
        assert_eq!(world.count(WorkerCounter::SessionsOpened), 0);
    }
}

#[test]
fn a_server_beyond_a_router_is_reached_over_ipv6_as_well() {
    let setup = on(vec![]);
    let mut world = setup.start();
    let ask = udp("2001:db8:b::1", 61_000, "2001:db8:ffff::1", 53, b"ask");
    kernel_sends(&mut world, &setup, &ask);
    assert_eq!(world.left(OUTSIDE), ask.from(OUTSIDE));
    let told = udp("2001:db8:ffff::1", 53, "2001:db8:b::1", 61_000, b"told");
    world.arrive(OUTSIDE, &told.to(OUTSIDE));
    assert_eq!(kernel_got(&mut world), [(1, told.packet())]);
}

#[test]
fn the_kernel_pings_and_learns_of_errors() {
    let setup = on(vec![]);
    let mut world = setup.start();
    let ping = echo(OWN, SERVER, 61_007, false);
    kernel_sends(&mut world, &setup, &ping);
    assert_eq!(world.left(INSIDE), ping.from(INSIDE));
    let pong = echo(SERVER, OWN, 61_007, true);
    world.arrive(INSIDE, &pong.to(INSIDE));
    assert_eq!(kernel_got(&mut world), [(0, pong.packet())]);
    // Nobody asked for this one.
    let stray = echo(SERVER, OWN, 61_008, true);
    world.dropped(INSIDE, &stray.to(INSIDE), DropReason::OutOfState);

    let ask = udp(OWN, 61_000, SERVER, 53, b"ask");
    kernel_sends(&mut world, &setup, &ask);
    world.left(INSIDE);
    let error = icmp_error(SERVER, OWN, 3, 3, [0; 4], &ask.packet());
    world.arrive(INSIDE, &error.to(INSIDE));
    assert_eq!(kernel_got(&mut world), [(0, error.packet())]);
    let other = udp(OWN, 61_001, SERVER, 53, b"ask");
    let unrelated = icmp_error(SERVER, OWN, 3, 3, [0; 4], &other.packet());
    world.dropped(INSIDE, &unrelated.to(INSIDE), DropReason::IcmpUnrelated);
    // Pings to us are answered as ever, without the kernel.
    world.arrive(INSIDE, &echo(SERVER, OWN, 5, false).to(INSIDE));
    assert_eq!(world.left(INSIDE), echo(OWN, SERVER, 5, true).from(INSIDE));
    assert_eq!(kernel_got(&mut world), []);
}

#[test]
fn strangers_reach_the_host_only_where_they_are_let() {
    let setup = on(vec![bgp()]);
    let mut world = setup.start();
    let open = |from: &str, port| tcp(from, 4000, "192.0.2.1", port, SYN, 1, 0);
    // The router may, with the TTL that BGP speakers use.
    let syn = open("192.0.2.254", 179).ttl(1);
    world.arrive(OUTSIDE, &syn.to(OUTSIDE));
    assert_eq!(kernel_got(&mut world), [(1, syn.packet())]);
    // What follows belongs to it once the kernel has answered.
    let data = tcp("192.0.2.254", 4000, "192.0.2.1", 179, ACK, 2, 10);
    world.dropped(OUTSIDE, &data.to(OUTSIDE), DropReason::OutOfState);
    let answer = tcp("192.0.2.1", 179, "192.0.2.254", 4000, SYN | ACK, 9, 2);
    kernel_sends(&mut world, &setup, &answer);
    assert_eq!(world.left(OUTSIDE), answer.from(OUTSIDE));
    world.arrive(OUTSIDE, &data.to(OUTSIDE));
    assert_eq!(kernel_got(&mut world), [(1, data.packet())]);
    // Others may not, nor the router elsewhere.
    let denied = DropReason::NotListening;
    world.dropped(OUTSIDE, &open("192.0.2.7", 179).to(OUTSIDE), denied);
    world.dropped(OUTSIDE, &open("192.0.2.254", 22).to(OUTSIDE), denied);
    assert_eq!(kernel_got(&mut world), []);
}

#[test]
fn a_flood_of_strangers_is_held_to_a_rate_and_replies_are_not() {
    let setup = on(vec![bgp()]);
    let mut world = setup.start();
    let syn = tcp(OWN, 61_000, SERVER, 80, SYN, 1, 0);
    kernel_sends(&mut world, &setup, &syn);
    world.left(INSIDE);
    let flood = tcp("192.0.2.254", 4000, "192.0.2.1", 179, SYN, 1, 0).to(OUTSIDE);
    for _ in 0..30 {
        let worker = &mut world.workers[0];
        worker.io().rx[1].push_back(sluice_dataplane::io::memory::VecFrame::new(&flood, 2048));
    }
    world.settle();
    let got = kernel_got(&mut world).len();
    assert!((10..15).contains(&got), "{got}");
    assert_eq!(world.drop_count(DropReason::PuntLimited), 30 - got as u64);
    let answer = tcp(SERVER, 80, OWN, 61_000, SYN | ACK, 9, 2);
    world.arrive(INSIDE, &answer.to(INSIDE));
    assert_eq!(kernel_got(&mut world).len(), 1);
}

#[test]
fn a_host_that_does_not_read_costs_its_own_packets_only() {
    let setup = on(vec![]);
    let mut world = setup.start();
    kernel_sends(&mut world, &setup, &udp(OWN, 61_000, SERVER, 53, b""));
    world.left(INSIDE);
    let answer = udp(SERVER, 53, OWN, 61_000, b"told").to(INSIDE);
    for _ in 0..host::QUEUE {
        world.arrive(INSIDE, &answer);
    }
    world.dropped(INSIDE, &answer, DropReason::HostQueueFull);
    assert_eq!(kernel_got(&mut world).len(), host::QUEUE);
    world.arrive(INSIDE, &answer);
    assert_eq!(kernel_got(&mut world).len(), 1);
}

#[test]
fn the_kernel_speaks_from_own_addresses_only_and_to_others_only() {
    let setup = on(vec![]);
    let mut world = setup.start();
    for (packet, reason) in [
        (
            udp("10.0.0.77", 61_000, SERVER, 53, b""),
            DropReason::MartianSource,
        ),
        (udp(OWN, 61_000, "192.0.2.1", 53, b""), DropReason::NoRoute),
        (
            udp(OWN, 61_000, "224.0.0.5", 53, b""),
            DropReason::Multicast,
        ),
        (udp(OWN, 61_000, SERVER, 53, &[0; 1473]), DropReason::TooBig),
    ] {
        let before = world.drop_count(reason);
        let sent = world.host[0].inject(&packet.packet());
        world.settle();
        // What no parcel has room for is refused where it is to be sent.
        let counted = world.drop_count(reason) - before;
        assert_eq!((sent, counted), (packet.body.len() < 1400, u64::from(sent)));
    }
    assert!(!world.host[0].inject(&[0; 2000]));
    world.assert_quiet();
    // Garbage ends somewhere, too.
    assert!(world.host[0].inject(&[0x75; 40]));
    assert!(world.host[0].inject(&[0x45; 7]));
    world.settle();
    assert_eq!(world.count(WorkerCounter::Injected), 5);
}

#[test]
fn a_server_that_is_not_there_costs_waiting_packets_and_nothing_else() {
    let setup = on(vec![]);
    let mut world = setup.start();
    world.silent.push(ip(SERVER));
    kernel_sends(&mut world, &setup, &tcp(OWN, 61_000, SERVER, 80, SYN, 1, 0));
    assert_eq!(world.count(WorkerCounter::Held), 1);
    world.pass_time(4000);
    assert_eq!(world.drop_count(DropReason::NeighbourUnresolved), 1);
    assert_eq!(world.count(WorkerCounter::Held), 0);
    world.assert_quiet();
}

#[test]
fn sessions_and_the_kernel_never_share_a_tuple() {
    use sluice_dataplane::nat::rules::{MASQUERADE_PORTS, SourceNat};
    assert_eq!(MASQUERADE_PORTS.1 + 1, host::HOST_PORTS.0);
    let setup = Setup {
        snat_rules: vec![world::snat(SourceNat::Masquerade)],
        ..on(vec![])
    };
    let mut world = setup.start();
    let out = world.through(
        INSIDE,
        &udp("10.0.0.7", 4000, "192.0.2.9", 53, b"").to(INSIDE),
    );
    let port = u16::from_be_bytes([out[34], out[35]]);
    // A program that binds such a port all the same does not get into the session.
    assert!(world.host[0].inject(&udp("192.0.2.1", port, "192.0.2.9", 53, b"").packet()));
    world.settle();
    assert_eq!(world.drop_count(DropReason::TupleClash), 1);
    world.assert_quiet();
}

#[test]
fn a_connection_that_was_reset_is_soon_forgotten() {
    let setup = on(vec![]);
    let mut world = setup.start();
    let send = |world: &mut World, flags, seq| {
        kernel_sends(world, &setup, &tcp(OWN, 61_000, SERVER, 80, flags, seq, 10));
        world.left(INSIDE);
    };
    let from_server = |flags| tcp(SERVER, 80, OWN, 61_000, flags, 9, 2).to(INSIDE);
    send(&mut world, SYN, 1);
    world.arrive(INSIDE, &from_server(SYN | ACK));
    world.pass_time(200_000);
    world.arrive(INSIDE, &from_server(ACK));
    assert_eq!(
        kernel_got(&mut world).len(),
        2,
        "an open connection may be idle"
    );
    send(&mut world, FIN | ACK, 2);
    send(&mut world, RST, 3);
    world.pass_time(2000);
    world.dropped(INSIDE, &from_server(ACK), DropReason::OutOfState);
}

#[test]
fn without_the_interface_nothing_is_punted() {
    let mut world = Setup::default().start();
    let syn = tcp("192.0.2.254", 4000, "192.0.2.1", 179, SYN, 1, 0);
    world.dropped(OUTSIDE, &syn.to(OUTSIDE), DropReason::NotListening);
    assert!(world.host[0].inject(&syn.packet()));
    world.settle();
    assert_eq!(world.count(WorkerCounter::Injected), 0);
    assert_eq!(world.count(WorkerCounter::Punted), 0);
}
