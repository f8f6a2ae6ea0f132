//! Endpoint-independent mappings (RFC 4787) as hosts on either side see them.

use crate::world;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::nat::rules::{Filtering, Mapping, SnatPool, SourceNat};
use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::snapshot::Local;
use world::packet::{self, udp};
use world::{INSIDE, OUTSIDE, Setup, World, ip};

fn mapped(filtering: Filtering, epoch: u32) -> Setup {
    Setup {
        snat_rules: vec![world::snat(SourceNat::Pool(0))],
        snat_pools: vec![SnatPool {
            name: "wan".into(),
            addresses: vec![ip("192.0.2.10")],
            ports: (5000, 5063),
            mapping: Mapping::EndpointIndependent,
            filtering,
            parity: false,
        }],
        local: vec![(ip("192.0.2.10"), Local::Nat)],
        epoch,
        ..Setup::default()
    }
}

/// Speaks from an inside host, and gives the external port.
fn speak(world: &mut World, host: &str, to: &str) -> u16 {
    world.arrive_at += 1;
    let out = world.through(INSIDE, &udp(host, 4000, to, 53, b"").to(INSIDE));
    assert_eq!(out[26..30], [192, 0, 2, 10]);
    u16::from_be_bytes([out[34], out[35]])
}

#[test]
fn one_internal_endpoint_is_one_external_endpoint_and_strangers_may_call() {
    for workers in [1, 2, 3] {
        let setup = |epoch| Setup {
            workers,
            ..mapped(Filtering::EndpointIndependent, epoch)
        };
        let mut world = setup(1).start();
        let port = speak(&mut world, "10.0.0.7", "198.51.100.1");
        for last in 2..20 {
            let to = format!("198.51.100.{last}");
            assert_eq!(
                speak(&mut world, "10.0.0.7", &to),
                port,
                "whomever it speaks to"
            );
        }
        assert_ne!(speak(&mut world, "10.0.0.8", "198.51.100.1"), port);
        for (at, stranger) in ["203.0.113.1", "203.0.113.2", "203.0.113.3"]
            .iter()
            .enumerate()
        {
            world.arrive_at = at;
            let call = udp(stranger, 9, "192.0.2.10", port, b"");
            let out = world.through(OUTSIDE, &call.to(OUTSIDE));
            assert_eq!(
                out,
                udp(stranger, 9, "10.0.0.7", 4000, b"").ttl(63).from(INSIDE)
            );
            let answer = udp("10.0.0.7", 4000, stranger, 9, b"");
            let back = world.through(INSIDE, &answer.to(INSIDE));
            assert_eq!(
                back,
                udp("192.0.2.10", port, stranger, 9, b"")
                    .ttl(63)
                    .from(OUTSIDE)
            );
        }
        // A change of configuration that does not concern them ends none of these sessions.
        let ended = world.count(WorkerCounter::SessionsEnded);
        world.swap(&setup(2));
        for (at, stranger) in ["203.0.113.1", "203.0.113.2", "203.0.113.3"]
            .iter()
            .enumerate()
        {
            world.arrive_at = at;
            world.through(
                OUTSIDE,
                &udp(stranger, 9, "192.0.2.10", port, b"").to(OUTSIDE),
            );
        }
        assert_eq!(world.count(WorkerCounter::SessionsEnded), ended);
    }
}

#[test]
fn a_filter_by_address_lets_in_whom_was_spoken_to_from_any_port() {
    for workers in [1, 2] {
        let mut world = Setup {
            workers,
            ..mapped(Filtering::AddressDependent, 1)
        }
        .start();
        let port = speak(&mut world, "10.0.0.7", "198.51.100.1");
        let other_port = udp("198.51.100.1", 999, "192.0.2.10", port, b"");
        world.through(OUTSIDE, &other_port.to(OUTSIDE));
        let stranger = udp("198.51.100.2", 53, "192.0.2.10", port, b"");
        world.dropped(OUTSIDE, &stranger.to(OUTSIDE), DropReason::NatNoMapping);
    }
}

#[test]
fn refused_calls_do_not_keep_a_mapping_alive() {
    let mut world = mapped(Filtering::EndpointIndependent, 1).start();
    let port = speak(&mut world, "10.0.0.7", "198.51.100.1");
    for _ in 0..3 {
        let spoofed = udp("10.0.0.99", 9, "192.0.2.10", port, b"");
        world.dropped(OUTSIDE, &spoofed.to(OUTSIDE), DropReason::Spoofed);
    }
    // The session goes, then, two minutes later, its mapping: all 64 ports are there again.
    for _ in 0..3 {
        world.now += 150_000;
        world.pass_time(1100);
    }
    for host in 20..84 {
        speak(&mut world, &format!("10.0.0.{host}"), "198.51.100.1");
    }
}

#[test]
fn hosts_behind_the_same_address_reach_each_other_by_it() {
    let mut world = mapped(Filtering::EndpointIndependent, 1).start();
    let callee = speak(&mut world, "10.0.0.8", "198.51.100.1");
    let caller = speak(&mut world, "10.0.0.7", "198.51.100.1");
    world.arrive(
        INSIDE,
        &udp("10.0.0.7", 4000, "192.0.2.10", callee, b"hi").to(INSIDE),
    );
    let out = world.left(INSIDE);
    let expected = udp("192.0.2.10", caller, "10.0.0.8", 4000, b"hi").ttl(63);
    assert_eq!(
        out,
        expected.from(INSIDE),
        "RFC 4787 REQ-9: the caller's own mapping"
    );
    world.arrive(
        INSIDE,
        &udp("10.0.0.8", 4000, "192.0.2.10", caller, b"yo").to(INSIDE),
    );
    let back = world.left(INSIDE);
    assert_eq!(
        back,
        udp("192.0.2.10", callee, "10.0.0.7", 4000, b"yo")
            .ttl(63)
            .from(INSIDE)
    );
}

#[test]
fn an_echo_reply_that_nobody_asked_for_opens_nothing() {
    let mut world = mapped(Filtering::EndpointIndependent, 1).start();
    let stray = packet::echo("10.0.0.7", "198.51.100.9", 77, true);
    world.dropped(INSIDE, &stray.to(INSIDE), DropReason::OutOfState);
    assert_eq!(world.count(WorkerCounter::SessionsOpened), 0);
}
