//! What the ends of a TCP connection are told when its session ends.

use crate::world;

use sluice_dataplane::mailbox::{EndRequest, Filter, FromWorker, RequestId, ToWorker};
use sluice_dataplane::nat::rules::{SnatRule, SourceNat};
use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::tcp::state::State;
use sluice_dataplane::timeouts::{OnExpiry, Timeouts};
use sluice_wire::bytes::{be16, be32};
use sluice_wire::tcp::flag::{ACK, PSH, RST, SYN};
use world::packet::tcp;
use world::{INSIDE, OUTSIDE, PortId, Setup, World};

const LIMIT: u32 = 20_000;
/// An IPv4 client behind our own address, and an IPv6 client that is forwarded as it is; as they
/// are seen outside; and their servers.
const HOSTS: [(&str, &str, &str); 2] = [
    ("10.0.0.7", "192.0.2.1", "198.51.100.9"),
    ("2001:db8:a::7", "2001:db8:a::7", "2001:db8:99::9"),
];

fn setup(on_expiry: OnExpiry) -> Setup {
    let mut timeouts = Timeouts {
        on_expiry,
        ..Timeouts::default()
    };
    timeouts.tcp[State::Established as usize] = LIMIT;
    Setup {
        timeouts: vec![timeouts],
        snat_rules: vec![SnatRule {
            source: vec!["10.0.0.0/8".parse().unwrap()].into(),
            ..world::snat(SourceNat::Masquerade)
        }],
        ..Setup::default()
    }
}

/// Source and destination port, sequence number, acknowledgement, flags; the checksums are right.
fn read(frame: &[u8]) -> (u16, u16, u32, u32, u8) {
    let parsed = sluice_wire::parse(frame, None, false).expect("well formed");
    let segment = parsed.transport(frame);
    assert_eq!(segment.len(), 20, "no data, no options");
    let sum = if parsed.v6 {
        let addrs = parsed.key_v6(frame, 0).addrs;
        sluice_wire::Sum::ZERO.pseudo::<sluice_wire::V6>(addrs, 6, 20)
    } else {
        let addrs = parsed.key_v4(frame, 0).addrs;
        sluice_wire::Sum::ZERO.pseudo::<sluice_wire::V4>(addrs, 6, 20)
    };
    assert!(sum.bytes(segment).is_valid());
    (
        be16(segment, 0).unwrap(),
        be16(segment, 2).unwrap(),
        be32(segment, 4).unwrap(),
        be32(segment, 8).unwrap(),
        segment[13],
    )
}

/// A connection on which the client has sent up to 1101 and the server up to 9201, all of it
/// acknowledged. Gives the client's port as the server sees it.
fn connect(world: &mut World, (client, seen_as, server): (&str, &str, &str)) -> u16 {
    let out = world.through(
        INSIDE,
        &tcp(client, 4000, server, 80, SYN, 1000, 0).to(INSIDE),
    );
    let at = sluice_wire::parse(&out, None, false).unwrap();
    let port = be16(at.transport(&out), 0).unwrap();
    for (forth, flags, seq, ack, data) in [
        (false, SYN | ACK, 9000, 1001, 0),
        (true, ACK, 1001, 9001, 0),
        (true, ACK | PSH, 1001, 9001, 100),
        (false, ACK | PSH, 9001, 1101, 200),
        (true, ACK, 1101, 9201, 0),
    ] {
        let bytes = vec![b'x'; data];
        let (from, spec) = match forth {
            true => (INSIDE, tcp(client, 4000, server, 80, flags, seq, ack)),
            false => (OUTSIDE, tcp(server, 80, seen_as, port, flags, seq, ack)),
        };
        let mut body = spec.body.clone();
        body.extend(bytes);
        world.through(from, &spec.body(&body).summed(16).to(from));
    }
    port
}

/// Source port, destination port, sequence number, acknowledgement, flags.
type Seen = (u16, u16, u32, u32, u8);

/// What left by both ports, read.
fn told(world: &mut World) -> [Vec<Seen>; 2] {
    [INSIDE, OUTSIDE].map(|port: PortId| {
        let sent = std::mem::take(&mut world.sent[usize::from(port.0)]);
        sent.iter().map(|frame| read(frame)).collect()
    })
}

fn resets(port: u16) -> [Vec<Seen>; 2] {
    [
        vec![(80, 4000, 9201, 1101, RST | ACK)],
        vec![(port, 80, 1101, 9201, RST | ACK)],
    ]
}

#[test]
fn an_idle_connection_that_expires_is_reset_at_both_ends() {
    for hosts in HOSTS {
        let mut world = setup(OnExpiry::Reset).start();
        let port = connect(&mut world, hosts);
        world.pass_time(LIMIT - 100);
        world.assert_quiet();
        world.pass_time(1200);
        assert_eq!(told(&mut world), resets(port));
        assert_eq!(world.count(WorkerCounter::ExpiryResets), 2);
        assert_eq!(world.count(WorkerCounter::SessionsEnded), 1);
    }
}

#[test]
fn by_default_it_ends_silently() {
    let mut world = setup(OnExpiry::Silent).start();
    connect(&mut world, HOSTS[0]);
    world.pass_time(LIMIT + 1200);
    assert_eq!(world.count(WorkerCounter::SessionsEnded), 1);
    world.assert_quiet();
}

/// What the server sent last may or may not have reached the client: one of the two numbers is
/// what it expects.
#[test]
fn where_data_was_not_acknowledged_both_numbers_are_tried() {
    let mut world = setup(OnExpiry::Reset).start();
    let hosts = HOSTS[1];
    connect(&mut world, hosts);
    let data = tcp(hosts.2, 80, hosts.1, 4000, ACK | PSH, 9201, 1101);
    let mut body = data.body.clone();
    body.extend([b'y'; 50]);
    world.through(OUTSIDE, &data.body(&body).summed(16).to(OUTSIDE));
    world.pass_time(LIMIT + 1200);
    let [client, server] = told(&mut world);
    let to_client = |seq| (80, 4000, seq, 1101, RST | ACK);
    assert_eq!(client, [to_client(9201), to_client(9251)]);
    assert_eq!(server, [(4000, 80, 1101, 9251, RST | ACK)]);
}

/// Answers the probes that were sent, as the ends that are alive would. Which were probed.
fn answer(
    world: &mut World,
    (client, seen_as, server): (&str, &str, &str),
    port: u16,
    live: [bool; 2],
) -> [usize; 2] {
    let probes = told(world);
    let expected = [(80, 4000, 9200, 1101, ACK), (port, 80, 1100, 9201, ACK)];
    let answers = [
        (INSIDE, tcp(client, 4000, server, 80, ACK, 1101, 9201)),
        (OUTSIDE, tcp(server, 80, seen_as, port, ACK, 9201, 1101)),
    ];
    for ((got, wanted), (live, (from, answer))) in probes
        .iter()
        .zip(expected)
        .zip(live.into_iter().zip(answers))
    {
        for probe in got {
            assert_eq!(*probe, wanted);
        }
        if live && !got.is_empty() {
            world.through(from, &answer.to(from));
        }
    }
    probes.map(|got| got.len())
}

#[test]
fn ends_that_answer_probes_keep_their_session() {
    for hosts in HOSTS {
        let mut world = setup(OnExpiry::Probe).start();
        let port = connect(&mut world, hosts);
        let mut probed = [0; 2];
        for _ in 0..10 * LIMIT / 500 {
            world.pass_time(500);
            let now = answer(&mut world, hosts, port, [true, true]);
            probed = [probed[0] + now[0], probed[1] + now[1]];
        }
        assert_eq!(world.count(WorkerCounter::SessionsEnded), 0);
        // Half of the time it may be idle passes before there is a probe.
        assert!(probed.iter().all(|&n| (10..=20).contains(&n)), "{probed:?}");
        assert_eq!(
            world.count(WorkerCounter::ExpiryProbes),
            (probed[0] + probed[1]) as u64
        );
    }
}

#[test]
fn an_end_that_does_not_answer_ends_it_for_both() {
    for live in [[false, true], [true, false], [false, false]] {
        let mut world = setup(OnExpiry::Probe).start();
        let port = connect(&mut world, HOSTS[0]);
        let mut probed = [0; 2];
        while world.count(WorkerCounter::ExpiryResets) == 0 {
            let now = answer(&mut world, HOSTS[0], port, live);
            probed = [probed[0] + now[0], probed[1] + now[1]];
            world.pass_time(100);
            assert!(world.now < 3 * LIMIT, "it does not end");
        }
        assert_eq!(told(&mut world), resets(port));
        for (live, probed) in live.into_iter().zip(probed) {
            let wanted = if live { 1..=1 } else { 2..=3 };
            assert!(wanted.contains(&probed), "{probed} probes");
        }
        assert_eq!(world.count(WorkerCounter::SessionsEnded), 1);
    }
}

#[test]
fn an_end_that_forgot_the_connection_ends_it_by_its_answer() {
    let mut world = setup(OnExpiry::Probe).start();
    let (_, seen_as, server) = HOSTS[0];
    let port = connect(&mut world, HOSTS[0]);
    while world.sent[1].is_empty() {
        world.pass_time(100);
        assert!(world.now < LIMIT);
    }
    let [_, probes] = told(&mut world);
    let (_, _, _, ack, _) = probes[0];
    // RFC 9293 3.10.7.1: the number that was acknowledged, and no ACK.
    let reset = tcp(server, 80, seen_as, port, RST, ack, 0);
    let passed = world.through(OUTSIDE, &reset.to(OUTSIDE));
    assert_eq!(read(&passed).2, 9201, "what the client expects");
    world.pass_time(12_000);
    assert_eq!(world.count(WorkerCounter::SessionsEnded), 1);
    assert_eq!(world.count(WorkerCounter::ExpiryResets), 0);
}

#[test]
fn an_operator_who_ends_sessions_may_have_both_ends_told() {
    for (reset, hosts) in [(true, HOSTS[0]), (true, HOSTS[1]), (false, HOSTS[0])] {
        let mut world = setup(OnExpiry::Silent).start();
        let port = connect(&mut world, hosts);
        let request = EndRequest::new(RequestId(7), Filter::default()).telling(reset);
        let end = ToWorker::EndSessions(Box::new(request));
        world.control[0].send(end).unwrap();
        world.pass_time(5);
        let Some(FromWorker::Ended(ended)) = world.control[0].receive() else {
            panic!("no answer");
        };
        assert_eq!(ended.ended, 1);
        let wanted = if reset {
            resets(port)
        } else {
            [vec![], vec![]]
        };
        assert_eq!(told(&mut world), wanted);
    }
}

/// More than may be told at once: they are told as fast as that is, and none is left out.
#[test]
fn many_that_an_operator_ends_are_all_told() {
    const SESSIONS: u16 = 6000;
    let mut setup = setup(OnExpiry::Silent);
    setup.limits.sessions_v4 = usize::from(SESSIONS);
    setup.snat_rules.clear();
    // Longer than it takes to open them all.
    setup.timeouts = vec![Timeouts::default()];
    let mut world = setup.start();
    let (client, server) = ("10.0.0.7", "198.51.100.9");
    for port in 10_000..10_000 + SESSIONS {
        world.through(
            INSIDE,
            &tcp(client, port, server, 80, SYN, 1000, 0).to(INSIDE),
        );
        let accept = tcp(server, 80, client, port, SYN | ACK, 9000, 1001);
        world.through(OUTSIDE, &accept.to(OUTSIDE));
        world.through(
            INSIDE,
            &tcp(client, port, server, 80, ACK, 1001, 9001).to(INSIDE),
        );
    }
    let request = EndRequest::new(RequestId(7), Filter::default()).telling(true);
    let end = ToWorker::EndSessions(Box::new(request));
    world.control[0].send(end).unwrap();
    let from = world.now;
    let mut polls = 0;
    let ended = loop {
        // As many polls in a millisecond as would say more than the rate.
        polls += 1;
        world.now += u32::from(polls % 8 == 0);
        world.workers[0].poll(world.now);
        if let Some(FromWorker::Ended(ended)) = world.control[0].receive() {
            break ended.ended;
        }
        assert!(world.now - from < 10_000, "it does not end");
    };
    assert_eq!(ended, u64::from(SESSIONS));
    world.settle();
    let [inside, outside] = told(&mut world).map(|told| told.len());
    assert_eq!([inside, outside], [usize::from(SESSIONS); 2]);
}

#[test]
fn a_packet_that_comes_just_after_the_time_is_up_changes_nothing_of_it() {
    for hosts in HOSTS {
        let mut world = setup(OnExpiry::Reset).start();
        let port = connect(&mut world, hosts);
        // No poll meanwhile: the packet is there before the sweep is.
        world.now += LIMIT;
        let late = tcp(hosts.0, 4000, hosts.2, 80, ACK, 1101, 9201);
        world.arrive(INSIDE, &late.to(INSIDE));
        assert_eq!(told(&mut world), resets(port));
        assert_eq!(world.count(WorkerCounter::SessionsEnded), 1);
    }
}
