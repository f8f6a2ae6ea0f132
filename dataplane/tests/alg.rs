//! FTP through the appliance, as the two ends of its control connection see it.

mod refused;

use crate::world;

use sluice_dataplane::alg::AlgPolicy;
use sluice_dataplane::counters::DropReason;
use sluice_dataplane::nat::rules::{Filtering, Forward, Mapping, SnatPool, SourceNat, StaticNat};
use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::services::{Definition, Target};
use sluice_dataplane::snapshot::{
    LbMode, Local, RealServer, ServerId, ServerState, ServiceId, SessionLimits,
};
use sluice_wire::proto;
use sluice_wire::tcp::flag::{ACK, FIN, PSH, SYN};
use world::packet::tcp;
use world::talk::{Connection, End, read};
use world::{INSIDE, OUTSIDE, Setup, World, ip};

fn ftp() -> AlgPolicy {
    AlgPolicy { ftp: vec![21] }
}

fn plain(workers: u16) -> Setup {
    Setup {
        workers,
        alg: ftp(),
        ..Setup::default()
    }
}

fn snat(workers: u16, to_source: SourceNat) -> Setup {
    Setup {
        snat_rules: vec![world::snat(to_source)],
        snat_pools: vec![SnatPool {
            name: "wan".into(),
            addresses: vec![ip("192.0.2.10"), ip("192.0.2.11")],
            ports: (5000, 64000),
            mapping: Mapping::EndpointDependent,
            filtering: Filtering::EndpointDependent,
            parity: true,
        }],
        local: vec![
            (ip("192.0.2.10"), Local::Nat),
            (ip("192.0.2.11"), Local::Nat),
        ],
        ..plain(workers)
    }
}

fn balanced(workers: u16, mode: LbMode) -> Setup {
    let server = |address: &str, name: &str| {
        Some(RealServer {
            name: name.into(),
            address: ip(address),
            port: None,
            weight: 1,
            state: ServerState::Up,
            limits: SessionLimits::default(),
        })
    };
    Setup {
        virtual_servers: vec![world::round_robin(ServiceId(1), "ftp", 21, mode)],
        servers: vec![None, server("10.0.0.11", "ftp/a")],
        services: vec![Definition {
            address: ip("192.0.2.100"),
            proto: Some(proto::TCP),
            ports: Some((21, 21)),
            target: Target::VirtualServer(0),
        }],
        local: vec![(ip("192.0.2.100"), Local::Vip)],
        ..plain(workers)
    }
}

const SERVER: &str = "198.51.100.9";

fn outward(world: &mut World) -> Connection {
    let client = End::new(INSIDE, ("10.0.0.7", 4000), (SERVER, 21), 1000);
    Connection::open(world, client, (SERVER, 21)).log_in(world)
}

fn inward(world: &mut World) -> Connection {
    let client = End::new(OUTSIDE, ("203.0.113.5", 4000), ("192.0.2.100", 21), 1000);
    Connection::open(world, client, ("10.0.0.11", 21)).log_in(world)
}

/// `h1,h2,h3,h4,p1,p2` in a line.
fn endpoint(line: &str) -> (String, u16) {
    let from = line.find(' ').unwrap();
    let digits = line[from..].trim_matches(|c: char| !c.is_ascii_digit());
    let digits = digits.rsplit([' ', '(']).next().unwrap();
    let parts: Vec<u16> = digits
        .split(',')
        .map(|part| part.parse().unwrap())
        .collect();
    let [a, b, c, d, high, low] = parts[..] else {
        panic!("{line}")
    };
    (format!("{a}.{b}.{c}.{d}"), high << 8 | low)
}

#[test]
fn active_mode_under_snat_reaches_the_client_and_nobody_else_does() {
    for workers in [1, 2, 3] {
        for source in [SourceNat::Pool(0), SourceNat::Masquerade] {
            let mut world = snat(workers, source).start();
            let mut control = outward(&mut world);
            let seen = control.server.peer.0.clone();
            let line = control.client(&mut world, "PORT 10,0,0,7,19,137\r\n");
            let (address, port) = endpoint(line.trim_end());
            assert_eq!(address, seen, "{line}");
            assert!(line.ends_with("\r\n"));
            // The control connection goes on, though numbers differ by now.
            assert_eq!(control.server(&mut world, "200 fine\r\n"), "200 fine\r\n");
            assert_eq!(control.client(&mut world, "RETR x\r\n"), "RETR x\r\n");

            let stranger = tcp("203.0.113.66", 20, &address, port, SYN, 1, 0);
            let at_own = if source == SourceNat::Masquerade {
                DropReason::NotListening
            } else {
                DropReason::NatNoMapping
            };
            world.dropped(OUTSIDE, &stranger.to(OUTSIDE), at_own);
            let server = End::new(OUTSIDE, (SERVER, 20), (&address, port), 700);
            let mut data = Connection::open(&mut world, server, ("10.0.0.7", 5001));
            assert_eq!(
                data.client(&mut world, "what was asked for"),
                "what was asked for"
            );
            assert_eq!(world.count(WorkerCounter::AlgOpened), 1);
            assert_eq!(world.count(WorkerCounter::AlgExpected), 0);
            // Once is once.
            let again = tcp(SERVER, 20_000, &address, port, SYN, 1, 0);
            world.dropped(OUTSIDE, &again.to(OUTSIDE), at_own);
        }
    }
}

#[test]
fn a_static_address_is_announced_and_leads_to_the_client() {
    for workers in [1, 2] {
        let mut world = Setup {
            statics: vec![StaticNat {
                service: ServiceId(1),
                external: ip("192.0.2.50"),
                internal: ip("10.0.0.7"),
                open_from: vec![],
            }],
            services: vec![Definition {
                address: ip("192.0.2.50"),
                proto: None,
                ports: None,
                target: Target::Static(0),
            }],
            local: vec![(ip("192.0.2.50"), Local::Nat)],
            ..plain(workers)
        }
        .start();
        let mut control = outward(&mut world);
        let line = control.client(&mut world, "PORT 10,0,0,7,19,137\r\n");
        assert_eq!(line, "PORT 192,0,2,50,19,137\r\n");
        let stranger = tcp("203.0.113.66", 20, "192.0.2.50", 5001, SYN, 1, 0);
        world.dropped(OUTSIDE, &stranger.to(OUTSIDE), DropReason::Denied);
        let server = End::new(OUTSIDE, (SERVER, 20), ("192.0.2.50", 5001), 700);
        Connection::open(&mut world, server, ("10.0.0.7", 5001));
    }
}

#[test]
fn passive_mode_through_a_forward_meets_its_server() {
    for workers in [1, 2] {
        let mut world = Setup {
            forwards: vec![Forward {
                service: ServiceId(1),
                address: ip("192.0.2.100"),
                proto: proto::TCP,
                ports: (21, 21),
                to: ip("10.0.0.11"),
                to_port: 21,
                source: SourceNat::Keep,
                timeouts: 0,
            }],
            services: vec![Definition {
                address: ip("192.0.2.100"),
                proto: Some(proto::TCP),
                ports: Some((21, 21)),
                target: Target::Forward(0),
            }],
            local: vec![(ip("192.0.2.100"), Local::Nat)],
            ..plain(workers)
        }
        .start();
        let mut control = inward(&mut world);
        control.client(&mut world, "PASV\r\n");
        let line = control.server(&mut world, "227 (10,0,0,11,156,65)\r\n");
        assert_eq!(line, "227 (192,0,2,100,156,65)\r\n");
        let client = End::new(OUTSIDE, ("203.0.113.5", 4001), ("192.0.2.100", 40_001), 700);
        Connection::open(&mut world, client, ("10.0.0.11", 40_001));
    }
}

#[test]
fn active_mode_without_nat_opens_the_firewall_for_one_connection() {
    for workers in [1, 3] {
        let mut world = plain(workers).start();
        let mut control = outward(&mut world);
        let port = "PORT 10,0,0,7,19,137\r\n";
        assert_eq!(control.client(&mut world, port), port);
        let other = tcp(SERVER, 20, "10.0.0.7", 5002, SYN, 1, 0);
        world.dropped(OUTSIDE, &other.to(OUTSIDE), DropReason::Denied);
        let server = End::new(OUTSIDE, (SERVER, 30_000), ("10.0.0.7", 5001), 700);
        Connection::open(&mut world, server, ("10.0.0.7", 5001));
        let again = tcp(SERVER, 30_001, "10.0.0.7", 5001, SYN, 1, 0);
        world.dropped(OUTSIDE, &again.to(OUTSIDE), DropReason::Denied);
        assert_eq!(world.count(WorkerCounter::AlgRewritten), 0);
    }
}

#[test]
fn active_and_passive_mode_over_ipv6_open_the_firewall() {
    for workers in [1, 2] {
        let mut world = plain(workers).start();
        let (own, far) = ("2001:db8:a::7", "2001:db8:ff::9");
        let client = End::new(INSIDE, (own, 4000), (far, 21), 1000);
        let mut control = Connection::open(&mut world, client, (far, 21)).log_in(&mut world);
        let eprt = "EPRT |2|2001:db8:a::7|5001|\r\n";
        assert_eq!(control.client(&mut world, eprt), eprt);
        let server = End::new(OUTSIDE, (far, 20), (own, 5001), 700);
        Connection::open(&mut world, server, (own, 5001));
        control.client(&mut world, "EPSV\r\n");
        let epsv = "229 Extended (|||40001|)\r\n";
        assert_eq!(control.server(&mut world, epsv), epsv);
        let client = End::new(INSIDE, (own, 4001), (far, 40_001), 700);
        Connection::open(&mut world, client, (far, 40_001));
        assert_eq!(world.count(WorkerCounter::AlgOpened), 2);
    }
}

#[test]
fn passive_mode_through_a_virtual_server_meets_the_same_server() {
    for workers in [1, 2, 3] {
        for mode in [LbMode::Dnat, LbMode::Fullnat] {
            let mut world = balanced(workers, mode).start();
            let mut control = inward(&mut world);
            control.client(&mut world, "PASV\r\n");
            let reply = "227 Entering Passive Mode (10,0,0,11,156,65).\r\n";
            let line = control.server(&mut world, reply);
            let expected = "227 Entering Passive Mode (192,0,2,100,156,65).\r\n";
            assert_eq!(line, expected);
            let other = tcp("203.0.113.66", 4001, "192.0.2.100", 40_001, SYN, 1, 0);
            world.dropped(OUTSIDE, &other.to(OUTSIDE), DropReason::NotListening);
            let client = End::new(OUTSIDE, ("203.0.113.5", 4001), ("192.0.2.100", 40_001), 700);
            let mut data = Connection::open(&mut world, client, ("10.0.0.11", 40_001));
            let seen_by_server = (&control.server.peer.0, &data.server.peer.0);
            assert_eq!(
                seen_by_server.0, seen_by_server.1,
                "one client, one address"
            );
            assert_eq!(data.client(&mut world, "uploaded"), "uploaded");
            assert_eq!(world.published.sessions_of(ServerId(1)), 2);
            control.client(&mut world, "EPSV\r\n");
            let epsv = "229 Extended (|||40002|)\r\n";
            assert_eq!(control.server(&mut world, epsv), epsv);
            control.server(&mut world, "226 done\r\n");
        }
    }
}

#[test]
fn active_mode_through_a_virtual_server_comes_from_its_address() {
    for workers in [1, 2] {
        for mode in [LbMode::Dnat, LbMode::Fullnat] {
            let mut world = balanced(workers, mode).start();
            let mut control = inward(&mut world);
            let line = control.client(&mut world, "EPRT |1|203.0.113.5|5001|\r\n");
            let (address, port) = match mode {
                LbMode::Dnat => {
                    assert_eq!(line, "EPRT |1|203.0.113.5|5001|\r\n");
                    ("203.0.113.5".to_owned(), 5001)
                }
                _ => {
                    let mut parts = line.split('|').skip(2);
                    let address = parts.next().unwrap().to_owned();
                    assert_eq!(address, control.server.peer.0);
                    (address, parts.next().unwrap().parse().unwrap())
                }
            };
            let server = End::new(INSIDE, ("10.0.0.11", 20), (&address, port), 700);
            let out = world.through(INSIDE, &server.frame(SYN, 700, ""));
            let out = read(&out);
            assert_eq!((out.tuple.src, out.tuple.sport), (ip("192.0.2.100"), 20));
            assert_eq!((out.tuple.dst, out.tuple.dport), (ip("203.0.113.5"), 5001));
        }
    }
}

#[test]
fn a_port_that_two_servers_name_is_published_twice() {
    let mut setup = balanced(1, LbMode::Dnat);
    setup
        .servers
        .push(setup.servers[1].clone().map(|server| RealServer {
            address: ip("10.0.0.12"),
            name: "ftp/b".into(),
            ..server
        }));
    setup.virtual_servers[0].tiers[0].members.push(ServerId(2));
    let mut world = setup.start();
    let mut ports = vec![];
    for (own, server) in [(4000, "10.0.0.11"), (4002, "10.0.0.12")] {
        let client = End::new(OUTSIDE, ("203.0.113.5", own), ("192.0.2.100", 21), 1000);
        let open = Connection::open(&mut world, client, (server, 21));
        let mut control = open.log_in(&mut world);
        control.client(&mut world, "EPSV\r\n");
        let line = control.server(&mut world, "229 Extended (|||40001|)\r\n");
        let port: u16 = line.split('|').nth(3).unwrap().parse().unwrap();
        ports.push((port, server));
    }
    assert_ne!(ports[0].0, ports[1].0);
    for (own, (port, server)) in ports.into_iter().enumerate() {
        let own = 6000 + own as u16;
        let client = End::new(OUTSIDE, ("203.0.113.5", own), ("192.0.2.100", port), 700);
        Connection::open(&mut world, client, (server, 40_001));
    }
}

#[test]
fn a_repeated_segment_is_rewritten_alike_and_an_early_one_waits() {
    let mut world = snat(1, SourceNat::Pool(0)).start();
    let mut control = outward(&mut world);
    let (text, before) = ("PORT 10,0,0,7,19,137\r\n", control.client.clone());
    let first = control.client(&mut world, text);
    let again = read(&world.through(INSIDE, &before.frame(ACK | PSH, before.send, text)));
    assert_eq!(again.data, first);
    assert_eq!(again.seq + first.len() as u32, control.server.want);
    // Together with what follows.
    let both = format!("{text}NOOP\r\n");
    let more = read(&world.through(INSIDE, &before.frame(ACK | PSH, before.send, &both)));
    assert_eq!(more.data, format!("{first}NOOP\r\n"));
    control.client.send += 6;
    control.server.want += 6;
    // A part of it only cannot be placed.
    let part = before.frame(ACK | PSH, before.send, &text[..12]);
    world.dropped(INSIDE, &part, DropReason::AlgUnreadable);
    // What comes too early is not read, and must come again.
    let early = control
        .client
        .frame(ACK | PSH, control.client.send + 6, "QUIT\r\n");
    world.dropped(INSIDE, &early, DropReason::AlgUnreadable);
    assert_eq!(control.client(&mut world, "NOOP\r\n"), "NOOP\r\n");
    assert_eq!(control.client(&mut world, "QUIT\r\n"), "QUIT\r\n");
    assert_eq!(world.count(WorkerCounter::AlgRewritten), 1);
}

#[test]
fn what_is_expected_ends_by_time_by_its_successor_and_with_its_parent() {
    let mut world = plain(2).start();
    let mut control = outward(&mut world);
    control.client(&mut world, "PORT 10,0,0,7,19,137\r\n");
    control.client(&mut world, "PORT 10,0,0,7,19,138\r\n");
    // At both workers.
    assert_eq!(world.count(WorkerCounter::AlgExpected), 2);
    let first = tcp(SERVER, 20, "10.0.0.7", 5001, SYN, 1, 0);
    world.dropped(OUTSIDE, &first.to(OUTSIDE), DropReason::Denied);
    let second = tcp(SERVER, 20, "10.0.0.7", 5002, SYN, 1, 0);
    world.now += 60_000;
    world.dropped(OUTSIDE, &second.to(OUTSIDE), DropReason::Denied);
    control.client(&mut world, "PORT 10,0,0,7,19,138\r\n");
    let client = &control.client;
    let end = client.frame(FIN | ACK, client.send, "");
    world.through(INSIDE, &end);
    control.server.want += 1;
    let server = &control.server;
    world.through(OUTSIDE, &server.frame(FIN | ACK, server.send, ""));
    control.client.want += 1;
    let client = &control.client;
    world.through(INSIDE, &client.frame(ACK, client.send + 1, ""));
    world.pass_time(130_000);
    assert_eq!(world.count(WorkerCounter::SessionsEnded), 1);
    assert_eq!(world.count(WorkerCounter::AlgExpected), 0);
    assert_eq!(world.count(WorkerCounter::AlgControls), 0);
}

#[test]
fn both_connections_outlive_a_change_of_configuration() {
    for (setup, active) in [
        (snat(1, SourceNat::Pool(0)), true),
        (balanced(1, LbMode::Fullnat), false),
    ] {
        let mut setup = setup;
        let mut world = setup.start();
        let (mut control, mut data);
        if active {
            control = outward(&mut world);
            let line = control.client(&mut world, "PORT 10,0,0,7,19,137\r\n");
            let (address, port) = endpoint(line.trim_end());
            let server = End::new(OUTSIDE, (SERVER, 20), (&address, port), 700);
            data = Connection::open(&mut world, server, ("10.0.0.7", 5001));
        } else {
            control = inward(&mut world);
            control.client(&mut world, "PASV\r\n");
            control.server(&mut world, "227 (10,0,0,11,156,65)\r\n");
            let own = ("203.0.113.5", 4001);
            let client = End::new(OUTSIDE, own, ("192.0.2.100", 40_001), 700);
            data = Connection::open(&mut world, client, ("10.0.0.11", 40_001));
        }
        setup.epoch += 1;
        world.swap(&setup);
        for text in ["one", "two"] {
            assert_eq!(data.client(&mut world, text), text);
            assert_eq!(data.server(&mut world, text), text);
            assert_eq!(control.client(&mut world, "NOOP\r\n"), "NOOP\r\n");
            assert_eq!(control.server(&mut world, "200 ok\r\n"), "200 ok\r\n");
        }
        // Where the control connection would not be allowed any more, its data is not either.
        setup.epoch += 1;
        setup.open.clear();
        setup.virtual_servers.clear();
        setup.services.clear();
        world.swap(&setup);
        let (from, _) = data.ends(true);
        world.arrive(from.at, &from.frame(ACK | PSH, from.send, "three"));
        world.assert_quiet();
    }
}

#[test]
fn connections_to_ports_that_are_not_named_are_like_any_other() {
    let mut setup = snat(1, SourceNat::Pool(0));
    setup.alg = AlgPolicy { ftp: vec![2121] };
    let mut world = setup.start();
    let mut control = outward(&mut world);
    let line = "PORT 10,0,0,7,19,137\r\n";
    assert_eq!(control.client(&mut world, line), line);
    assert_eq!(world.count(WorkerCounter::AlgControls), 0);
}

#[test]
fn a_connection_that_goes_on_under_tls_is_left_alone() {
    let mut world = snat(1, SourceNat::Pool(0)).start();
    let mut control = outward(&mut world);
    control.client(&mut world, "AUTH TLS\r\n");
    control.server(&mut world, "234 go on\r\n");
    assert_eq!(world.count(WorkerCounter::AlgControls), 0);
    let line = "PORT 10,0,0,7,19,137\r\n";
    assert_eq!(control.client(&mut world, line), line);
}
