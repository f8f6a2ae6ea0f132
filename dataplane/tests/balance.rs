//! Load balancing as clients and real servers see it.

use crate::world;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::published::{FlowCounter, Slot, WorkerCounter};
use sluice_dataplane::services::{Definition, Target};
use sluice_dataplane::snapshot::{
    LbMode, Local, OutOfState, Persistence, RealServer, Scheduler, ServerId, ServerState,
    ServiceId, SessionLimits, TcpPolicy, Tier, TierKind, VirtualServer,
};
use sluice_wire::proto;
use sluice_wire::tcp::flag::{ACK, FIN, RST, SYN};
use world::packet::{self, Spec, tcp, udp};
use world::{INSIDE, OUTSIDE, Setup, World, ip};

fn server(host: &str) -> Option<RealServer> {
    Some(RealServer {
        name: format!("web/{host}"),
        address: ip(host),
        port: Some(8080),
        weight: 1,
        state: ServerState::Up,
        limits: SessionLimits::default(),
    })
}

/// 192.0.2.100:80 and [2001:db8:b::100]:80, two real servers each.
fn balanced(mode: LbMode) -> Setup {
    let virtual_server = |service, members: [u16; 2]| VirtualServer {
        service: ServiceId(service),
        name: "web".into(),
        ports: Some((80, 80)),
        mode,
        tiers: vec![Tier {
            kind: TierKind::Pool,
            scheduler: Scheduler::RoundRobin,
            members: members.map(ServerId).to_vec(),
        }],
        persistence: None,
        redirect: None,
        snat_pool: None,
        timeouts: 0,
        clamp_mss: None,
    };
    let define = |address, index| Definition {
        address: ip(address),
        proto: Some(proto::TCP),
        ports: Some((80, 80)),
        target: Target::VirtualServer(index),
    };
    Setup {
        virtual_servers: vec![virtual_server(1, [1, 2]), virtual_server(2, [3, 4])],
        servers: vec![
            None,
            server("10.0.0.11"),
            server("10.0.0.12"),
            server("2001:db8:a::11"),
            server("2001:db8:a::12"),
        ],
        services: vec![define("192.0.2.100", 0), define("2001:db8:b::100", 1)],
        local: vec![
            (ip("192.0.2.100"), Local::Vip),
            (ip("2001:db8:b::100"), Local::Vip),
        ],
        ..Setup::default()
    }
}

fn syn(client: &str, port: u16, vip: &str) -> Spec {
    tcp(client, port, vip, 80, SYN, 1000, 0)
}

/// The IPv4 destination of a frame, as text.
fn to(frame: &[u8]) -> String {
    format!("{}.{}.{}.{}", frame[30], frame[31], frame[32], frame[33])
}

/// Opens a connection from `client` and carries it to its first data. The real server's address.
fn connect(world: &mut World, client: &str, port: u16) -> String {
    let out = world.through(OUTSIDE, &syn(client, port, "192.0.2.100").to(OUTSIDE));
    let server = to(&out);
    let accept = tcp(&server, 8080, client, port, SYN | ACK, 9000, 1001);
    world.arrive_at += 1;
    let back = world.through(INSIDE, &accept.to(INSIDE));
    let expected = tcp("192.0.2.100", 80, client, port, SYN | ACK, 9000, 1001).ttl(63);
    assert_eq!(back, expected.from(OUTSIDE));
    world.through(
        OUTSIDE,
        &tcp(client, port, "192.0.2.100", 80, ACK, 1001, 9001).to(OUTSIDE),
    );
    server
}

#[test]
fn connections_alternate_and_every_packet_keeps_its_server() {
    for workers in [1, 2, 3] {
        let mut world = Setup {
            workers,
            ..balanced(LbMode::Dnat)
        }
        .start();
        let mut per_server = [0, 0];
        for port in 0..24 {
            let server = connect(&mut world, "203.0.113.9", 3000 + port);
            per_server[usize::from(server == "10.0.0.12")] += 1;
        }
        let (a, b) = (per_server[0], per_server[1]);
        assert!(
            i32::abs(a - b) <= i32::from(workers),
            "{per_server:?} by {workers} workers"
        );
        for id in [1, 2] {
            let open = world.published.sessions_of(ServerId(id));
            assert_eq!(open, per_server[usize::from(id) - 1] as u64);
        }
        assert_eq!(world.count(WorkerCounter::SessionsOpened), 24);
    }
}

#[test]
fn the_same_over_ipv6() {
    let mut world = Setup {
        workers: 2,
        ..balanced(LbMode::Dnat)
    }
    .start();
    for port in 3000..3010 {
        world.arrive_at += 1;
        let out = world.through(
            OUTSIDE,
            &syn("2001:db8:99::9", port, "2001:db8:b::100").to(OUTSIDE),
        );
        let server = if out[53] == 0x11 {
            "2001:db8:a::11"
        } else {
            "2001:db8:a::12"
        };
        let expected = tcp("2001:db8:99::9", port, server, 8080, SYN, 1000, 0).ttl(63);
        assert_eq!(out, expected.from(INSIDE));
        let accept = tcp(server, 8080, "2001:db8:99::9", port, SYN | ACK, 9000, 1001);
        let back = world.through(INSIDE, &accept.to(INSIDE));
        let expected = tcp(
            "2001:db8:b::100",
            80,
            "2001:db8:99::9",
            port,
            SYN | ACK,
            9000,
            1001,
        );
        assert_eq!(back, expected.ttl(63).from(OUTSIDE));
    }
}

#[test]
fn a_draining_server_keeps_its_connections_and_a_down_one_loses_them() {
    let mut world = balanced(LbMode::Dnat).start();
    let servers: Vec<_> = (3000..3004)
        .map(|port| connect(&mut world, "203.0.113.9", port))
        .collect();
    let state = |state, epoch| {
        let mut setup = Setup {
            epoch,
            ..balanced(LbMode::Dnat)
        };
        setup.servers[1].as_mut().unwrap().state = state;
        setup
    };
    world.swap(&state(ServerState::Draining, 2));
    for (port, server) in (3000..).zip(&servers) {
        let data = tcp("203.0.113.9", port, "192.0.2.100", 80, ACK, 1001, 9001);
        assert_eq!(
            &to(&world.through(OUTSIDE, &data.to(OUTSIDE))),
            server,
            "kept"
        );
    }
    for port in 4000..4004 {
        assert_eq!(
            connect(&mut world, "203.0.113.9", port),
            "10.0.0.12",
            "no new ones"
        );
    }
    world.swap(&state(ServerState::Down, 3));
    for (port, server) in (3000..).zip(&servers) {
        let data = tcp("203.0.113.9", port, "192.0.2.100", 80, ACK, 1001, 9001).to(OUTSIDE);
        if server == "10.0.0.11" {
            world.dropped(OUTSIDE, &data, DropReason::OutOfState);
        } else {
            world.through(OUTSIDE, &data);
        }
    }
    assert_eq!(world.published.sessions_of(ServerId(1)), 0);
}

#[test]
fn without_a_server_the_client_is_dropped_by_name() {
    let mut setup = balanced(LbMode::Dnat);
    for server in setup.servers.iter_mut().flatten() {
        server.state = ServerState::Down;
    }
    let mut world = setup.start();
    let first = syn("203.0.113.9", 3000, "192.0.2.100").to(OUTSIDE);
    world.dropped(OUTSIDE, &first, DropReason::NoRealServer);
    let refused = world
        .published
        .sum(Slot::Service(ServiceId(1), FlowCounter::Refused));
    assert_eq!(refused, 1);
}

#[test]
fn full_nat_shows_servers_our_own_address() {
    for workers in [1, 2] {
        let mut world = Setup {
            workers,
            ..balanced(LbMode::Fullnat)
        }
        .start();
        let out = world.through(
            OUTSIDE,
            &syn("203.0.113.9", 3000, "192.0.2.100").to(OUTSIDE),
        );
        assert_eq!(out[26..30], [10, 0, 0, 1]);
        let port = u16::from_be_bytes([out[34], out[35]]);
        let accept = tcp(&to(&out), 8080, "10.0.0.1", port, SYN | ACK, 9000, 1001);
        let back = world.through(INSIDE, &accept.to(INSIDE));
        let expected = tcp(
            "192.0.2.100",
            80,
            "203.0.113.9",
            3000,
            SYN | ACK,
            9000,
            1001,
        )
        .ttl(63);
        assert_eq!(back, expected.from(OUTSIDE));
        assert_eq!(
            world.count(WorkerCounter::HandedOver),
            world.count(WorkerCounter::Steered)
        );
    }
}

#[test]
fn direct_return_changes_the_mac_address_alone() {
    let mut world = balanced(LbMode::Dsr).start();
    let first = syn("203.0.113.9", 3000, "192.0.2.100");
    let out = world.through(OUTSIDE, &first.to(OUTSIDE));
    assert_eq!(out[14..], first.clone().ttl(63).packet());
    let macs: Vec<_> = ["10.0.0.11", "10.0.0.12"]
        .map(|host| world::host_mac(ip(host)).0)
        .into();
    assert!(macs.contains(&out[..6].try_into().unwrap()));
    for _ in 0..3 {
        let more = tcp("203.0.113.9", 3000, "192.0.2.100", 80, ACK, 1001, 9001);
        let again = world.through(OUTSIDE, &more.to(OUTSIDE));
        assert_eq!(again[..6], out[..6], "the same server");
    }
}

#[test]
fn a_client_stays_with_its_server_whatever_worker_it_comes_by() {
    for workers in [1, 2, 4] {
        let mut setup = Setup {
            workers,
            ..balanced(LbMode::Dnat)
        };
        setup.virtual_servers[0].persistence = Some(Persistence {
            prefix_v4: 24,
            prefix_v6: 64,
            timeout_ms: 60_000,
        });
        let mut world = setup.start();
        let mut seen = std::collections::HashSet::new();
        for net in 0..8 {
            let server = connect(&mut world, &format!("203.0.{net}.9"), 3000);
            for host in 10..20 {
                world.arrive_at += 1;
                let again = connect(&mut world, &format!("203.0.{net}.{host}"), 3000 + host);
                assert_eq!(again, server, "one network, one server");
            }
            seen.insert(server);
        }
        assert_eq!(seen.len(), 2, "but not all networks");
    }
}

#[test]
fn the_virtual_address_answers_echo_and_nothing_else() {
    let mut world = balanced(LbMode::Dnat).start();
    world.arrive(
        OUTSIDE,
        &packet::echo("203.0.113.9", "192.0.2.100", 7, false).to(OUTSIDE),
    );
    let answer = packet::echo("192.0.2.100", "203.0.113.9", 7, true);
    assert_eq!(world.left(OUTSIDE), answer.from(OUTSIDE));
    let other = udp("203.0.113.9", 3000, "192.0.2.100", 80, b"");
    world.dropped(OUTSIDE, &other.to(OUTSIDE), DropReason::NotListening);
    let other = tcp("203.0.113.9", 3000, "192.0.2.100", 81, SYN, 1, 0);
    world.dropped(OUTSIDE, &other.to(OUTSIDE), DropReason::NotListening);
}

#[test]
fn an_acknowledgement_without_a_session_meets_the_policy() {
    let policy = |out_of_state| Setup {
        tcp: TcpPolicy {
            out_of_state,
            strict_window: false,
        },
        ..balanced(LbMode::Dnat)
    };
    let ack = tcp("203.0.113.9", 3000, "192.0.2.100", 80, ACK, 5000, 7000).to(OUTSIDE);
    policy(OutOfState::Drop)
        .start()
        .dropped(OUTSIDE, &ack, DropReason::OutOfState);

    let mut world = policy(OutOfState::Reset).start();
    world.arrive(OUTSIDE, &ack);
    let reset = world.left(OUTSIDE);
    let expected = tcp("192.0.2.100", 80, "203.0.113.9", 3000, RST, 7000, 0);
    assert_eq!(
        reset[26..46],
        expected.from(OUTSIDE)[26..46],
        "addresses, ports, sequence"
    );
    assert_eq!(reset[47] & RST, RST);
    assert_eq!(world.drop_count(DropReason::OutOfState), 1);

    let mut world = policy(OutOfState::Adopt).start();
    let out = world.through(OUTSIDE, &ack);
    assert!(to(&out).starts_with("10.0.0.1"));
    let reset = tcp("203.0.113.9", 3001, "192.0.2.100", 80, RST, 5000, 0).to(OUTSIDE);
    world.dropped(OUTSIDE, &reset, DropReason::OutOfState);
}

#[test]
fn a_closed_connection_is_forgotten_soon_and_its_port_reused_at_once() {
    let mut world = balanced(LbMode::Dnat).start();
    let server = connect(&mut world, "203.0.113.9", 3000);
    let forth = |flags, seq, ack| tcp("203.0.113.9", 3000, "192.0.2.100", 80, flags, seq, ack);
    world.through(OUTSIDE, &forth(FIN | ACK, 1001, 9001).to(OUTSIDE));
    let fin = tcp(&server, 8080, "203.0.113.9", 3000, FIN | ACK, 9001, 1002);
    world.through(INSIDE, &fin.to(INSIDE));
    world.through(OUTSIDE, &forth(ACK, 1002, 9002).to(OUTSIDE));
    let reopened = world.through(OUTSIDE, &forth(SYN, 500_000, 0).to(OUTSIDE));
    assert_ne!(
        to(&reopened),
        server,
        "a new session, so the next server's turn"
    );
    assert_eq!(world.count(WorkerCounter::SessionsEnded), 1);
    world.now += 300_000;
    world.pass_time(1200);
    assert_eq!(
        world.count(WorkerCounter::SessionsEnded),
        2,
        "half open: gone in minutes"
    );
}

/// What is counted of all real servers' connections: answered, unanswered, refused.
fn answers(world: &mut World) -> [u64; 3] {
    world.accounts();
    let published = &world.published;
    let counters = [
        FlowCounter::Answered,
        FlowCounter::Unanswered,
        FlowCounter::Rejected,
    ];
    counters.map(|counter| {
        let servers = [1, 2].map(|id| published.sum(Slot::Server(ServerId(id), counter)));
        let service = published.sum(Slot::Service(ServiceId(1), counter));
        assert_eq!(servers.iter().sum::<u64>(), service, "{counter:?}");
        service
    })
}

#[test]
fn what_servers_say_to_a_syn_is_counted_once_a_connection() {
    for workers in [1, 2] {
        let mut world = Setup {
            workers,
            ..balanced(LbMode::Dnat)
        }
        .start();
        let ask = |port| syn("203.0.113.9", port, "192.0.2.100").to(OUTSIDE);
        let server = connect(&mut world, "203.0.113.9", 3000);
        assert_eq!(answers(&mut world), [1, 0, 0]);
        // A reset of an open connection is no refusal.
        let reset = tcp(&server, 8080, "203.0.113.9", 3000, RST | ACK, 9001, 1001);
        world.through(INSIDE, &reset.to(INSIDE));
        assert_eq!(answers(&mut world), [1, 0, 0]);

        let server = to(&world.through(OUTSIDE, &ask(3001)));
        world.through(OUTSIDE, &ask(3001));
        assert_eq!(answers(&mut world), [1, 0, 0], "a duplicate, at once");
        let other = to(&world.through(OUTSIDE, &ask(3002)));
        for _ in 0..3 {
            world.pass_time(1000);
            assert_eq!(to(&world.through(OUTSIDE, &ask(3002))), other);
        }
        assert_eq!(answers(&mut world), [1, 1, 0], "asked four times");
        // The first one is refused now, after all.
        let refuse = tcp(&server, 8080, "203.0.113.9", 3001, RST | ACK, 0, 1001);
        world.through(INSIDE, &refuse.to(INSIDE));
        assert_eq!(answers(&mut world), [1, 1, 1]);
        // A client that gives up: when the session's time is over.
        world.through(OUTSIDE, &ask(3003));
        world.pass_time(300_000);
        assert_eq!(answers(&mut world), [1, 2, 1]);
        assert_eq!(world.count(WorkerCounter::SessionsV4), 0);
    }
}

#[test]
fn who_asks_again_gets_another_server_once_its_own_is_out() {
    let mut world = balanced(LbMode::Dnat).start();
    let ask = |port| syn("203.0.113.9", port, "192.0.2.100").to(OUTSIDE);
    let mut waiting: Vec<u16> = (3000..3004)
        .filter(|&port| to(&world.through(OUTSIDE, &ask(port))) == "10.0.0.11")
        .collect();
    assert_eq!(waiting.len(), 2);
    let open = waiting.pop().unwrap();
    let accept = tcp(
        "10.0.0.11",
        8080,
        "203.0.113.9",
        open,
        SYN | ACK,
        9000,
        1001,
    );
    world.through(INSIDE, &accept.to(INSIDE));
    world.pass_time(1000);
    let mut out = balanced(LbMode::Dnat);
    out.servers[1].as_mut().unwrap().state = ServerState::Draining;
    // Of the same epoch: nothing is judged anew.
    world.swap(&out);
    for _ in 0..2 {
        assert_eq!(to(&world.through(OUTSIDE, &ask(waiting[0]))), "10.0.0.12");
    }
    // That one has answered, and keeps its connection, whatever is sent again.
    assert_eq!(to(&world.through(OUTSIDE, &ask(open))), "10.0.0.11");
    assert_eq!(answers(&mut world), [1, 1, 0]);
    assert_eq!(world.count(WorkerCounter::SessionsV4), 4);
}
