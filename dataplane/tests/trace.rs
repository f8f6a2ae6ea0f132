//! A trace says what becomes of a packet, and what then becomes of it is that; and to be asked changes
//! nothing.

use crate::world;

use std::num::NonZeroU32;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::firewall::Rule;
use sluice_dataplane::io::DeviceId;
use sluice_dataplane::io::memory::VecFrame;
use sluice_dataplane::mailbox::trace::{Step, Trace, Verdict};
use sluice_dataplane::mailbox::{FromWorker, RequestId, ToWorker};
use sluice_dataplane::nat::rules::{
    Filtering, Forward, Mapping, SnatPool, SnatRule, SourceNat, StaticNat,
};
use sluice_dataplane::networks::Networks;
use sluice_dataplane::published::{Slot, WorkerCounter};
use sluice_dataplane::services::{Definition, Target};
use sluice_dataplane::snapshot::{
    LbMode, Local, OutOfState, Persistence, PortId, RealServer, Scheduler, ServerId, ServerState,
    ServiceId, SessionLimits, TcpPolicy, Tier, TierKind, VirtualServer,
};
use sluice_dataplane::timeouts::{OnExpiry, Timeouts};
use sluice_wire::parse::parse;
use sluice_wire::tcp::flag::{ACK, FIN, RST, SYN};
use sluice_wire::{Tuple, V4, V6, proto};
use world::packet::{Spec, echo, icmp_error, tcp, udp};
use world::{INSIDE, INSIDE_ZONE, OUTSIDE, OUTSIDE_ZONE, Setup, World, ip};

/// Numbers that look random and come again with the same seed.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Some of everything, as the seed has it.
fn setup(rng: &mut Rng, workers: u16, epoch: u32) -> Setup {
    let limits = SessionLimits {
        open: (rng.below(2) == 0).then_some(NonZeroU32::MIN.saturating_add(2)),
        per_second: None,
    };
    let server = |host: &str, state| {
        Some(RealServer {
            name: format!("web/{host}"),
            address: ip(host),
            port: Some(8080),
            weight: 2,
            state,
            limits,
        })
    };
    let scheduler = match rng.below(3) {
        0 => Scheduler::RoundRobin,
        1 => Scheduler::WeightedRoundRobin,
        _ => Scheduler::LeastConnections,
    };
    let tier = |members: &[u16]| Tier {
        kind: TierKind::Pool,
        scheduler: scheduler.clone(),
        members: members.iter().copied().map(ServerId).collect(),
    };
    let tiers = match rng.below(2) {
        0 => vec![tier(&[1, 2, 3])],
        _ => vec![tier(&[2]), tier(&[1, 3])],
    };
    let persistence = (rng.below(3) == 0).then_some(Persistence {
        prefix_v4: 24,
        prefix_v6: 64,
        timeout_ms: 60_000,
    });
    let service = |address, protocol, ports, target| Definition {
        address: ip(address),
        proto: Some(protocol),
        ports,
        target,
    };
    let pool = |name: &str, address, mapping, filtering| SnatPool {
        name: name.into(),
        addresses: vec![ip(address)],
        ports: (5000, 5999),
        mapping,
        filtering,
        parity: false,
    };
    let deny = Rule {
        service: ServiceId(9),
        from: Some(INSIDE_ZONE),
        to: Some(OUTSIDE_ZONE),
        source: Networks::default(),
        destination: vec!["203.0.113.64/26".parse().unwrap()].into(),
        proto: None,
        ports: vec![],
        allow: false,
        timeouts: 0,
    };
    let to_source = match rng.below(3) {
        0 => SourceNat::Masquerade,
        1 => SourceNat::Pool(0),
        _ => SourceNat::Pool(1),
    };
    Setup {
        workers,
        epoch,
        virtual_servers: vec![VirtualServer {
            service: ServiceId(1),
            name: "web".into(),
            ports: Some((80, 80)),
            mode: rng.pick(&[LbMode::Dnat, LbMode::Fullnat]),
            tiers,
            persistence,
            redirect: None,
            snat_pool: None,
            timeouts: 0,
            clamp_mss: None,
        }],
        servers: vec![
            None,
            server("10.0.0.11", ServerState::Up),
            server("10.0.0.12", rng.pick(&[ServerState::Up, ServerState::Down])),
            server("10.0.0.13", ServerState::Draining),
        ],
        services: vec![
            service(
                "192.0.2.100",
                proto::TCP,
                Some((80, 80)),
                Target::VirtualServer(0),
            ),
            service(
                "192.0.2.101",
                proto::UDP,
                Some((1000, 1009)),
                Target::Forward(0),
            ),
            Definition {
                proto: None,
                ..service("192.0.2.102", 0, None, Target::Static(0))
            },
        ],
        forwards: vec![Forward {
            service: ServiceId(2),
            address: ip("192.0.2.101"),
            proto: proto::UDP,
            ports: (1000, 1009),
            to: ip("10.0.0.21"),
            to_port: 2000,
            source: SourceNat::Keep,
            timeouts: 0,
        }],
        statics: vec![StaticNat {
            service: ServiceId(3),
            external: ip("192.0.2.102"),
            internal: ip("10.0.0.22"),
            open_from: vec![OUTSIDE_ZONE],
        }],
        snat_rules: vec![SnatRule {
            service: ServiceId(4),
            ..world::snat(to_source)
        }],
        snat_pools: vec![
            pool(
                "wan",
                "192.0.2.10",
                Mapping::EndpointDependent,
                Filtering::EndpointDependent,
            ),
            pool(
                "cone",
                "192.0.2.11",
                Mapping::EndpointIndependent,
                rng.pick(&[Filtering::EndpointIndependent, Filtering::AddressDependent]),
            ),
        ],
        local: vec![
            (ip("192.0.2.100"), Local::Vip),
            (ip("192.0.2.101"), Local::Nat),
            (ip("192.0.2.102"), Local::Nat),
            (ip("192.0.2.10"), Local::Nat),
            (ip("192.0.2.11"), Local::Nat),
        ],
        rules: vec![deny],
        timeouts: vec![Timeouts {
            tcp: [40, 40, 400, 100, 100, 40, 40, 20],
            udp_new: 60,
            udp_replied: 200,
            icmp: 60,
            other: 60,
            // What is sent when time passes is nothing that becomes of the packet.
            on_expiry: OnExpiry::Silent,
        }],
        tcp: TcpPolicy {
            out_of_state: rng.pick(&[OutOfState::Drop, OutOfState::Adopt, OutOfState::Reset]),
            strict_window: rng.below(2) == 0,
        },
        ..Setup::default()
    }
}

/// A packet of few hosts, so that sessions are met, and some that nobody should send.
fn packet(rng: &mut Rng, seen: &[(PortId, Vec<u8>)]) -> (PortId, Vec<u8>) {
    let flags = rng.pick(&[
        SYN,
        SYN,
        SYN,
        SYN | ACK,
        ACK,
        ACK,
        FIN | ACK,
        RST,
        RST | ACK,
        0,
    ]);
    let (seq, ack) = (rng.pick(&[0, 1, 100, 90_000]), rng.pick(&[0, 1, 2, 70_000]));
    let (host, far) = (
        rng.pick(&["10.0.0.7", "10.0.0.8", "10.0.0.22"]),
        rng.pick(&["198.51.100.9", "192.0.2.77", "203.0.113.70"]),
    );
    let (sport, dport) = (4000 + rng.below(3) as u16, rng.pick(&[53, 80]));
    let ttl = rng.pick(&[64, 64, 64, 64, 64, 2, 1]);
    match rng.below(14) {
        // An answer to what was sent before.
        0..4 if !seen.is_empty() => {
            let (port, frame) = &seen[rng.below(seen.len() as u64) as usize];
            (*port, answer(frame, *port, flags, seq, ack))
        }
        0..2 => (
            INSIDE,
            tcp(host, sport, far, dport, flags, seq, ack)
                .ttl(ttl)
                .to(INSIDE),
        ),
        2..4 => (
            INSIDE,
            udp(host, sport, far, dport, b"data").ttl(ttl).to(INSIDE),
        ),
        4..6 => {
            let vip = rng.pick(&["192.0.2.100", "192.0.2.101", "192.0.2.102", "192.0.2.11"]);
            let leased = 5000 + rng.below(1000) as u16;
            let port = rng.pick(&[80, 1003, leased]);
            match rng.below(2) {
                0 => (
                    OUTSIDE,
                    tcp(far, sport, vip, port, flags, seq, ack)
                        .ttl(ttl)
                        .to(OUTSIDE),
                ),
                _ => (
                    OUTSIDE,
                    udp(far, sport, vip, port, b"data").ttl(ttl).to(OUTSIDE),
                ),
            }
        }
        6 => (OUTSIDE, udp(far, sport, host, dport, b"data").to(OUTSIDE)),
        7 => {
            let to = rng.pick(&["10.0.0.1", "192.0.2.1", far, "192.0.2.100"]);
            (
                INSIDE,
                echo(host, to, sport, rng.below(4) == 0).ttl(ttl).to(INSIDE),
            )
        }
        8 => {
            let about = udp("192.0.2.10", 5000 + sport, far, dport, b"data").packet();
            let error = icmp_error("192.0.2.254", "192.0.2.10", 3, 1, [0; 4], &about);
            (OUTSIDE, error.to(OUTSIDE))
        }
        9 => (
            INSIDE,
            udp("192.0.2.5", sport, far, dport, b"spoofed").to(INSIDE),
        ),
        10 => (
            INSIDE,
            udp(host, sport, "10.0.0.1", 99, b"to us").to(INSIDE),
        ),
        11 => {
            let frame = udp("2001:db8:a::7", sport, "2001:db8:b::9", dport, b"data");
            (INSIDE, frame.ttl(ttl).to(INSIDE))
        }
        12 => {
            let mut frame = tcp(host, sport, far, dport, flags, seq, ack).to(INSIDE);
            let at = rng.below(frame.len() as u64) as usize;
            frame[at] ^= 1 << rng.below(8);
            (INSIDE, frame)
        }
        _ => {
            let big = vec![7; 1600];
            let spec = Spec::new(host, far, 99, big).fragment(0x4000);
            (INSIDE, spec.to(INSIDE))
        }
    }
}

/// What a host that got this frame by `port` would send.
fn answer(frame: &[u8], port: PortId, flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    let tuple = tuple(frame).reverse();
    let (src, dst) = (tuple.src.to_string(), tuple.dst.to_string());
    match tuple.proto {
        proto::TCP => tcp(&src, tuple.sport, &dst, tuple.dport, flags, seq, ack).to(port),
        proto::UDP => udp(&src, tuple.sport, &dst, tuple.dport, b"answer").to(port),
        _ => echo(&src, &dst, tuple.dport, true).to(port),
    }
}

fn tuple(frame: &[u8]) -> Tuple {
    let parsed = parse(frame, None, true).expect("it was sent");
    match parsed.v6 {
        true => parsed.key_v6(frame, 0).tuple::<V6>(),
        false => parsed.key_v4(frame, 0).tuple::<V4>(),
    }
}

/// Asks as control does: the worker that the frame comes to, and whomever it would hand it to.
fn trace(world: &mut World, port: PortId, frame: &[u8]) -> (Verdict, Vec<Step>) {
    let mut worker = world.arrive_at % world.workers.len();
    let mut asked = Trace::new(RequestId(1), DeviceId(port.0), None, frame.to_vec());
    for _ in 0..5 {
        let sent = world.control[worker].send(ToWorker::Trace(Box::new(asked)));
        sent.expect("room");
        // No time passes: a session must not end between the question and the packet.
        let now = world.now;
        world.workers[worker].poll(now);
        let Some(FromWorker::Traced(answer)) = world.control[worker].receive() else {
            panic!("no answer");
        };
        asked = *answer;
        match asked.verdict {
            Verdict::Pass(to, why) => {
                assert!(
                    why > asked.why,
                    "a packet is passed on once for each reason"
                );
                (worker, asked.why) = (usize::from(to), why);
            }
            verdict => return (verdict, asked.steps),
        }
    }
    panic!("it circles");
}

/// Lets a frame come in before any time passes.
fn arrive(world: &mut World, port: PortId, frame: &[u8]) {
    let (at, now) = (world.arrive_at % world.workers.len(), world.now);
    let frame = VecFrame::new(frame, 2048);
    world.workers[at].io().rx[usize::from(port.0)].push_back(frame);
    for _ in 0..4 {
        world.workers.iter_mut().for_each(|worker| {
            worker.poll(now);
        });
    }
    world.settle();
}

fn ends(world: &mut World) -> Vec<u64> {
    world.accounts();
    let counters = [
        WorkerCounter::Consumed,
        WorkerCounter::Punted,
        WorkerCounter::Redirected,
    ];
    let counted = counters.map(Slot::Worker).into_iter();
    let dropped = DropReason::ALL.iter().map(|&reason| Slot::Drop(reason));
    counted
        .chain(dropped)
        .map(|slot| world.published.sum(slot))
        .collect()
}

/// What happened to one frame, in the words of a trace.
fn happened(world: &mut World, before: &[u64], told_consumed: bool) -> String {
    let after = ends(world);
    let names = ["consumed", "punted", "redirected"].into_iter();
    let names = names.chain(DropReason::ALL.iter().map(|reason| reason.name()));
    let grown = names.zip(before.iter().zip(&after));
    let grown = grown.filter(|(_, (before, after))| before < after);
    // Whoever had to be asked for has answered meanwhile: that was consumed as well.
    let grown: Vec<_> = grown
        .filter(|&(name, _)| told_consumed || name != "consumed")
        .collect();
    match &grown[..] {
        [] => "forwarded".to_owned(),
        [(name, _)] => (*name).to_owned(),
        more => panic!("one frame ended more than once: {more:?}"),
    }
}

#[test]
fn what_is_traced_is_what_happens() {
    let mut seen_verdicts = std::collections::BTreeMap::<String, u32>::new();
    for seed in 1..=120_u64 {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let workers = 1 + (seed % 2) as u16;
        let config = setup(&mut rng, workers, 1);
        let (mut world, mut twin) = (config.start(), config.start());
        let mut seen = vec![];
        let mut epoch = 1;
        for n in 0..60 {
            if rng.below(25) == 0 {
                epoch += 1;
                let config = setup(&mut rng, workers, epoch);
                world.swap(&config);
                twin.swap(&config);
            }
            if rng.below(6) == 0 {
                let pause = rng.below(150) as u32;
                world.pass_time(pause);
                twin.pass_time(pause);
            }
            let (port, frame) = packet(&mut rng, &seen);
            let at = rng.below(2) as usize;
            (world.arrive_at, twin.arrive_at) = (at, at);
            let before = ends(&mut world);
            ends(&mut twin);
            let (verdict, steps) = trace(&mut world, port, &frame);
            let context = format!("seed {seed}, packet {n}: {verdict:?} by {steps:?}");
            arrive(&mut world, port, &frame);
            arrive(&mut twin, port, &frame);
            ends(&mut twin);
            let fate = happened(&mut world, &before, verdict == Verdict::Consume);
            let told = match verdict {
                Verdict::Forward { .. } => "forwarded",
                Verdict::Drop(reason) => reason.name(),
                Verdict::Consume => "consumed",
                Verdict::Punt => "punted",
                Verdict::Redirect => "redirected",
                Verdict::Fragment | Verdict::Pass(..) => continue,
            };
            // What a session holds that ends by this very packet is still held on paper.
            let over = steps
                .iter()
                .any(|step| matches!(step, Step::SessionOver(_)));
            if !over {
                assert_eq!(fate, told, "{context}");
            }
            *seen_verdicts.entry(told.to_owned()).or_default() += 1;
            if let Verdict::Forward { port, leaves, .. } = verdict
                && !over
            {
                let sent = world.sent[usize::from(port.0)].iter().next_back();
                let sent = sent.unwrap_or_else(|| panic!("nothing left by {port:?}: {context}"));
                // An ICMP error has the tuple of the flow that it goes with, and not its own.
                if frame[23] == sent[23] && sent[23] != proto::ICMP || leaves.src.is_ipv6() {
                    let mut found = tuple(sent);
                    if leaves.sport == 0 {
                        found.sport = 0;
                    }
                    assert_eq!(found, leaves, "{context}");
                }
                if matches!(sent[23], proto::TCP | proto::UDP) && leaves.src.is_ipv4() {
                    seen.push((port, sent.clone()));
                }
            }
            // To be asked has changed nothing.
            for port in 0..2 {
                assert_eq!(world.sent[port], twin.sent[port], "{context}");
                world.sent[port].clear();
                twin.sent[port].clear();
            }
            assert_eq!(world.drops(), twin.drops(), "{context}");
        }
        for world in [&mut world, &mut twin] {
            world.sent.iter_mut().for_each(|sent| sent.clear());
        }
    }
    for verdict in [
        "forwarded",
        "consumed",
        "denied",
        "spoofed",
        "ttl_exceeded",
        "out_of_state",
        "tcp_invalid",
        "not_listening",
        "nat_no_mapping",
        "too_big",
    ] {
        let count = seen_verdicts.get(verdict).copied().unwrap_or(0);
        assert!(
            count > 3,
            "{verdict} came {count} times only: {seen_verdicts:?}"
        );
    }
}
