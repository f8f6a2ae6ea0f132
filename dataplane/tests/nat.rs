//! NAT as a host on either side sees it: literal packets in, exact packets out, all counters added
//! up after each.

use crate::world;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::nat::rules::{
    Filtering, Forward, Mapping, SnatPool, SnatRule, SourceNat, StaticNat,
};
use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::services::{Definition, Target};
use sluice_dataplane::snapshot::{Local, ServiceId};
use sluice_wire::proto;
use world::packet::{self, Spec, udp};
use world::{INSIDE, OUTSIDE, Setup, World, ip, snat};

fn pool(name: &str, addresses: &[&str], ports: (u16, u16)) -> SnatPool {
    SnatPool {
        name: name.into(),
        addresses: addresses.iter().map(|address| ip(address)).collect(),
        ports,
        mapping: Mapping::EndpointDependent,
        filtering: Filtering::EndpointDependent,
        parity: true,
    }
}

fn pooled(ports: (u16, u16)) -> Setup {
    Setup {
        snat_rules: vec![snat(SourceNat::Pool(0))],
        snat_pools: vec![pool("wan", &["192.0.2.10"], ports)],
        local: vec![(ip("192.0.2.10"), Local::Nat)],
        ..Setup::default()
    }
}

/// Source and destination port of a frame without options.
fn ports(frame: &[u8]) -> (u16, u16) {
    let at = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    (at(34), at(36))
}

#[test]
fn a_datagram_leaves_by_the_pool_and_its_answer_comes_home() {
    let mut world = pooled((5000, 5999)).start();
    let out = world.through(
        INSIDE,
        &udp("10.0.0.7", 4000, "198.51.100.9", 53, b"ask").to(INSIDE),
    );
    let (port, _) = ports(&out);
    assert!(
        (5000..6000).contains(&port) && port % 2 == 0,
        "{port}: in the range, even as it was"
    );
    let expected = udp("192.0.2.10", port, "198.51.100.9", 53, b"ask").ttl(63);
    assert_eq!(out, expected.from(OUTSIDE));

    let answer = udp("198.51.100.9", 53, "192.0.2.10", port, b"told");
    let back = world.through(OUTSIDE, &answer.to(OUTSIDE));
    let expected = udp("198.51.100.9", 53, "10.0.0.7", 4000, b"told").ttl(63);
    assert_eq!(back, expected.from(INSIDE));
    assert_eq!(world.count(WorkerCounter::SessionsOpened), 1);
    assert_eq!(world.count(WorkerCounter::Forwarded), 2);
}

#[test]
fn strangers_find_no_mapping_and_no_way_in() {
    let mut world = pooled((5000, 5999)).start();
    let out = world.through(
        INSIDE,
        &udp("10.0.0.7", 4000, "198.51.100.9", 53, b"").to(INSIDE),
    );
    let (port, _) = ports(&out);
    let stranger = udp("203.0.113.66", 53, "192.0.2.10", port, b"");
    world.dropped(OUTSIDE, &stranger.to(OUTSIDE), DropReason::NatNoMapping);
    let direct = udp("203.0.113.66", 53, "10.0.0.7", 4000, b"");
    world.dropped(OUTSIDE, &direct.to(OUTSIDE), DropReason::Denied);
    let ours = udp("192.0.2.1", 53, "192.0.2.10", port, b"");
    world.dropped(OUTSIDE, &ours.to(OUTSIDE), DropReason::NatNoMapping);
    let ours = udp("10.0.0.1", 4000, "198.51.100.9", 53, b"");
    world.dropped(INSIDE, &ours.to(INSIDE), DropReason::MartianSource);
    let spoofed = udp("10.0.0.7", 4000, "198.51.100.9", 53, b"");
    world.dropped(OUTSIDE, &spoofed.to(OUTSIDE), DropReason::Spoofed);
}

#[test]
fn two_hosts_with_the_same_port_get_different_ones() {
    for workers in [1, 2, 3] {
        let mut world = Setup {
            workers,
            ..pooled((1024, 65535))
        }
        .start();
        let mut seen = vec![];
        for host in 2..40 {
            let source = format!("10.0.0.{host}");
            let ask = udp(&source, 4000, "198.51.100.9", 53, b"");
            let (port, _) = ports(&world.through(INSIDE, &ask.to(INSIDE)));
            assert!(!seen.contains(&port));
            seen.push(port);
            let answer = udp("198.51.100.9", 53, "192.0.2.10", port, b"");
            world.arrive_at += 1;
            let back = world.through(OUTSIDE, &answer.to(OUTSIDE));
            let expected = udp("198.51.100.9", 53, &source, 4000, b"").ttl(63);
            assert_eq!(back, expected.from(INSIDE));
        }
    }
}

#[test]
fn ports_run_out_by_name_and_come_back() {
    let mut world = pooled((5000, 5003)).start();
    let ask = |host: u8| udp(&format!("10.0.0.{host}"), 4000, "198.51.100.9", 53, b"").to(INSIDE);
    for host in 2..4 {
        world.through(INSIDE, &ask(host));
    }
    world.dropped(INSIDE, &ask(4), DropReason::NatPortsExhausted);
    let elsewhere = udp("10.0.0.4", 4000, "198.51.100.10", 53, b"");
    world.through(INSIDE, &elsewhere.to(INSIDE));
    let idle = sluice_dataplane::timeouts::Timeouts::default().udp_new;
    world.now += idle;
    world.pass_time(1100);
    world.through(INSIDE, &ask(4));
    assert_eq!(world.count(WorkerCounter::SessionsEnded), 3);
}

#[test]
fn ping_is_translated_by_its_identifier_and_we_answer_to_our_own() {
    for workers in [1, 2] {
        let mut world = Setup {
            workers,
            ..pooled((5000, 5999))
        }
        .start();
        let out = world.through(
            INSIDE,
            &packet::echo("10.0.0.7", "198.51.100.9", 77, false).to(INSIDE),
        );
        let id = u16::from_be_bytes([out[38], out[39]]);
        let expected = packet::echo("192.0.2.10", "198.51.100.9", id, false).ttl(63);
        assert_eq!(out, expected.from(OUTSIDE));
        let reply = packet::echo("198.51.100.9", "192.0.2.10", id, true);
        let back = world.through(OUTSIDE, &reply.to(OUTSIDE));
        assert_eq!(
            back,
            packet::echo("198.51.100.9", "10.0.0.7", 77, true)
                .ttl(63)
                .from(INSIDE)
        );

        world.arrive(
            INSIDE,
            &packet::echo("10.0.0.7", "10.0.0.1", 5, false).to(INSIDE),
        );
        let answer = packet::echo("10.0.0.1", "10.0.0.7", 5, true);
        assert_eq!(world.left(INSIDE), answer.from(INSIDE));
        assert!(world.count(WorkerCounter::Consumed) > 0);
    }
}

#[test]
fn an_error_from_a_router_reaches_the_host_with_its_own_packet_inside() {
    for workers in [1, 2] {
        let mut world = Setup {
            workers,
            ..pooled((5000, 5999))
        }
        .start();
        let ask = udp("10.0.0.7", 4000, "198.51.100.9", 53, b"0123456789").to(INSIDE);
        let out = world.through(INSIDE, &ask);
        let error = packet::icmp_error(
            "203.0.113.5",
            "192.0.2.10",
            3,
            4,
            [0, 0, 0x04, 0xb0],
            &out[14..],
        );
        let back = world.through(OUTSIDE, &error.to(OUTSIDE));
        let inner = udp("10.0.0.7", 4000, "198.51.100.9", 53, b"0123456789")
            .ttl(63)
            .packet();
        let expected =
            packet::icmp_error("203.0.113.5", "10.0.0.7", 3, 4, [0, 0, 0x04, 0xb0], &inner).ttl(63);
        assert_eq!(back, expected.from(INSIDE));
        let unrelated = udp("192.0.2.10", 1, "198.51.100.9", 53, b"").packet();
        let error = packet::icmp_error("203.0.113.5", "192.0.2.10", 3, 1, [0; 4], &unrelated);
        world.dropped(OUTSIDE, &error.to(OUTSIDE), DropReason::IcmpUnrelated);
    }
}

#[test]
fn fragments_in_any_order_go_the_way_of_their_datagram() {
    let data: Vec<u8> = (0..64).collect();
    let whole = udp("10.0.0.7", 4000, "198.51.100.9", 53, &data);
    let pieces = [
        whole.clone().body(&whole.body[..24]).fragment(0x2000),
        whole.clone().body(&whole.body[24..48]).fragment(0x2003),
        whole.clone().body(&whole.body[48..]).fragment(0x0006),
    ];
    for workers in [1, 2, 4] {
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut world = Setup {
                workers,
                ..pooled((5000, 5999))
            }
            .start();
            for at in order {
                world.arrive_at += 1;
                world.arrive(INSIDE, &pieces[at].to(INSIDE));
            }
            let mut body = vec![0; whole.body.len()];
            for _ in 0..3 {
                let frame = world.left(OUTSIDE);
                assert_eq!(frame[26..30], [192, 0, 2, 10]);
                let offset = usize::from(u16::from_be_bytes([frame[20], frame[21]]) & 0x1fff) * 8;
                body[offset..offset + frame.len() - 34].copy_from_slice(&frame[34..]);
            }
            let port = u16::from_be_bytes([body[0], body[1]]);
            assert_eq!(
                body,
                udp("192.0.2.10", port, "198.51.100.9", 53, &data).body,
                "checksum too"
            );
            world.assert_quiet();
        }
    }
}

fn forwarded() -> Setup {
    Setup {
        forwards: vec![Forward {
            service: ServiceId(2),
            address: ip("192.0.2.80"),
            proto: proto::UDP,
            ports: (8000, 8010),
            to: ip("10.0.0.5"),
            to_port: 80,
            source: SourceNat::Keep,
            timeouts: 0,
        }],
        services: vec![Definition {
            address: ip("192.0.2.80"),
            proto: Some(proto::UDP),
            ports: Some((8000, 8010)),
            target: Target::Forward(0),
        }],
        local: vec![
            (ip("192.0.2.80"), Local::Nat),
            (ip("192.0.2.10"), Local::Nat),
        ],
        ..pooled((5000, 5999))
    }
}

#[test]
fn a_forward_lets_strangers_in_and_keeps_step_with_the_range() {
    for workers in [1, 2, 3] {
        let mut world = Setup {
            workers,
            ..forwarded()
        }
        .start();
        for (at, sport) in (2000..2020).enumerate() {
            world.arrive_at = at;
            let ask = udp("203.0.113.9", sport, "192.0.2.80", 8003, b"");
            let out = world.through(OUTSIDE, &ask.to(OUTSIDE));
            let expected = udp("203.0.113.9", sport, "10.0.0.5", 83, b"").ttl(63);
            assert_eq!(out, expected.from(INSIDE));
            let answer = udp("10.0.0.5", 83, "203.0.113.9", sport, b"");
            let back = world.through(INSIDE, &answer.to(INSIDE));
            assert_eq!(
                back,
                udp("192.0.2.80", 8003, "203.0.113.9", sport, b"")
                    .ttl(63)
                    .from(OUTSIDE)
            );
        }
        assert_eq!(
            world.count(WorkerCounter::SessionsOpened),
            20,
            "each answer found its session"
        );
    }
}

#[test]
fn inside_hosts_reach_a_forward_by_its_outside_address() {
    let mut world = forwarded().start();
    world.arrive(
        INSIDE,
        &udp("10.0.0.7", 4000, "192.0.2.80", 8000, b"hi").to(INSIDE),
    );
    let out = world.left(INSIDE);
    let (port, _) = ports(&out);
    let expected = udp("192.0.2.10", port, "10.0.0.5", 80, b"hi").ttl(63);
    assert_eq!(
        out,
        expected.from(INSIDE),
        "RFC 4787 REQ-9: external source"
    );
    world.arrive(
        INSIDE,
        &udp("10.0.0.5", 80, "192.0.2.10", port, b"yo").to(INSIDE),
    );
    let back = world.left(INSIDE);
    assert_eq!(
        back,
        udp("192.0.2.80", 8000, "10.0.0.7", 4000, b"yo")
            .ttl(63)
            .from(INSIDE)
    );
}

#[test]
fn a_changed_configuration_ends_the_sessions_it_forbids_and_no_other() {
    let setup = forwarded();
    let mut world = setup.start();
    let ask = udp("203.0.113.9", 2000, "192.0.2.80", 8000, b"").to(OUTSIDE);
    world.through(OUTSIDE, &ask);
    let out = udp("10.0.0.7", 4000, "198.51.100.9", 53, b"").to(INSIDE);
    let before = world.through(INSIDE, &out);
    let without = Setup {
        forwards: vec![],
        services: vec![],
        epoch: 2,
        ..forwarded()
    };
    world.swap(&without);
    assert_eq!(world.through(INSIDE, &out), before, "same port as before");
    world.dropped(OUTSIDE, &ask, DropReason::NatNoMapping);
    assert_eq!(world.count(WorkerCounter::SessionsEnded), 1);
    let _ = setup;
}

#[test]
fn time_to_live_ends_here_and_the_sender_is_told() {
    let mut world = pooled((5000, 5999)).start();
    let short = udp("10.0.0.7", 4000, "198.51.100.9", 53, b"").ttl(1);
    world.arrive(INSIDE, &short.to(INSIDE));
    let error = world.left(INSIDE);
    assert_eq!(error[23], proto::ICMP);
    assert_eq!(error[34..36], [11, 0], "time exceeded in transit");
    assert_eq!(
        error[42..],
        short.packet()[..],
        "about the packet as the host sent it"
    );
    assert_eq!(world.drop_count(DropReason::TtlExceeded), 1);
    assert_eq!(world.count(WorkerCounter::SessionsOpened), 0);
}

#[test]
fn packets_wait_for_a_neighbour_and_the_sender_is_told_when_it_stays_away() {
    let mut world: World = pooled((5000, 5999)).start();
    world.silent.push(ip("192.0.2.254"));
    let ask = udp("10.0.0.7", 4000, "198.51.100.9", 53, b"").to(INSIDE);
    world.arrive(INSIDE, &ask);
    world.assert_quiet();
    assert_eq!(world.count(WorkerCounter::Held), 1);
    world.pass_time(4500);
    let error = world.left(INSIDE);
    assert_eq!(error[34..36], [3, 1], "host unreachable");
    assert_eq!(world.drop_count(DropReason::NeighbourUnresolved), 1);
    world.silent.clear();
    world.pass_time(4000);
    world.arrive(INSIDE, &ask);
    world.pass_time(5);
    let out = world.left(OUTSIDE);
    assert_eq!(out[30..34], [198, 51, 100, 9]);
}

#[test]
fn other_protocols_pass_by_address() {
    let mut world = pooled((5000, 5999)).start();
    let gre = Spec::new("10.0.0.7", "198.51.100.9", 47, vec![0; 16]);
    let out = world.through(INSIDE, &gre.to(INSIDE));
    let expected = Spec::new("192.0.2.10", "198.51.100.9", 47, vec![0; 16]).ttl(63);
    assert_eq!(out, expected.from(OUTSIDE));
    let second = Spec::new("10.0.0.8", "198.51.100.9", 47, vec![0; 16]);
    world.dropped(INSIDE, &second.to(INSIDE), DropReason::NatPortsExhausted);
    let answer = Spec::new("198.51.100.9", "192.0.2.10", 47, vec![1; 16]);
    let back = world.through(OUTSIDE, &answer.to(OUTSIDE));
    assert_eq!(
        back,
        Spec::new("198.51.100.9", "10.0.0.7", 47, vec![1; 16])
            .ttl(63)
            .from(INSIDE)
    );
}

#[test]
fn a_listener_query_is_answered_so_that_switches_deliver_solicitations() {
    let mut world = Setup::default().start();
    let mut body = vec![130, 0, 0, 0];
    body.resize(28, 0);
    let query = Spec::new("fe80::9", "ff02::1", proto::ICMPV6, body);
    let mut frame = query.ttl(1).summed(2).to(INSIDE);
    frame[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    frame[19] += 8;
    frame[20] = 0;
    let router_alert = [proto::ICMPV6, 0, 5, 2, 0, 0, 1, 0];
    frame.splice(54..54, router_alert);
    let before = world.count(WorkerCounter::Originated);
    world.arrive(INSIDE, &frame);
    assert_eq!(world.count(WorkerCounter::Originated), before + 1);
    assert_eq!(world.count(WorkerCounter::Consumed), 1);
}

#[test]
fn a_static_address_goes_before_rules_but_for_one_that_says_keep() {
    let fixed = StaticNat {
        service: ServiceId(3),
        external: ip("192.0.2.50"),
        internal: ip("10.0.0.7"),
        open_from: vec![],
    };
    let keep = SnatRule {
        destination: vec!["198.51.100.0/24".parse().unwrap()].into(),
        ..snat(SourceNat::Keep)
    };
    let setup = pooled((5000, 5999));
    let setup = Setup {
        snat_rules: vec![keep, snat(SourceNat::Pool(0))],
        statics: vec![fixed],
        ..setup
    };
    let mut world = setup.start();
    let source = |frame: &[u8]| <[u8; 4]>::try_from(&frame[26..30]).unwrap();
    let kept = world.through(
        INSIDE,
        &udp("10.0.0.7", 4000, "198.51.100.9", 53, b"").to(INSIDE),
    );
    assert_eq!(source(&kept), [10, 0, 0, 7]);
    let fixed = world.through(
        INSIDE,
        &udp("10.0.0.7", 4000, "203.0.113.9", 53, b"").to(INSIDE),
    );
    assert_eq!(source(&fixed), [192, 0, 2, 50]);
    let pooled = world.through(
        INSIDE,
        &udp("10.0.0.8", 4000, "203.0.113.9", 53, b"").to(INSIDE),
    );
    assert_eq!(source(&pooled), [192, 0, 2, 10]);
}
