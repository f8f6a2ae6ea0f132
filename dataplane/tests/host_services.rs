//! The kernel of the machine as a client of virtual servers.

use crate::world;

use std::sync::Arc;

use sluice_dataplane::capture::bpf::Program;
use sluice_dataplane::capture::{self, CaptureId, Fate, TapSpec};
use sluice_dataplane::counters::DropReason;
use sluice_dataplane::host::{self, HostPolicy};
use sluice_dataplane::io::DeviceId;
use sluice_dataplane::mailbox::trace::{Trace, Verdict};
use sluice_dataplane::mailbox::{FromWorker, RequestId, ToWorker};
use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::services::{Definition, Target};
use sluice_dataplane::snapshot::{
    LbMode, Local, Persistence, RealServer, ServerState, ServiceId, SessionLimits,
};
use sluice_wire::proto;
use sluice_wire::tcp::flag::{ACK, FIN, RST, SYN};
use world::packet::{icmp_error, segment, tcp, udp};
use world::{INSIDE, OUTSIDE, Setup, World, ip, kernel_got, kernel_sends};

const VIP: &str = "192.0.2.100";
const SERVER: &str = "10.0.0.11";
/// The appliance's, in the network of the VIP.
const OWN: &str = "192.0.2.1";

fn setup(mode: LbMode, workers: u16) -> Setup {
    Setup {
        workers,
        virtual_servers: vec![world::round_robin(ServiceId(1), "web", 80, mode)],
        servers: vec![
            None,
            Some(RealServer {
                name: "web/a".into(),
                address: ip(SERVER),
                port: Some(8080),
                weight: 1,
                state: ServerState::Up,
                limits: SessionLimits::default(),
            }),
        ],
        services: vec![Definition {
            address: ip(VIP),
            proto: Some(proto::TCP),
            ports: Some((80, 80)),
            target: Target::VirtualServer(0),
        }],
        local: vec![(ip(VIP), Local::Vip)],
        host: Some(HostPolicy {
            allow: vec![],
            strangers_per_s: 0,
        }),
        ..Setup::default()
    }
}

fn source_port(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[34], frame[35]])
}

/// Opens a connection of the kernel, by a random worker's queue for the answer. The source that the
/// server sees.
fn connect(world: &mut World, setup: &Setup, port: u16) -> (String, u16) {
    let syn = tcp(OWN, port, VIP, 80, SYN, 1000, 0);
    kernel_sends(world, setup, &syn);
    let out = world.left(INSIDE);
    let seen = format!("{}.{}.{}.{}", out[26], out[27], out[28], out[29]);
    let seen = (seen, source_port(&out));
    let expected = tcp(&seen.0, seen.1, SERVER, 8080, SYN, 1000, 0).ttl(63);
    assert_eq!(out, expected.from(INSIDE));
    world.arrive_at += 1;
    let accept = tcp(SERVER, 8080, &seen.0, seen.1, SYN | ACK, 9000, 1001);
    world.arrive(INSIDE, &accept.to(INSIDE));
    let accepted = tcp(VIP, 80, OWN, port, SYN | ACK, 9000, 1001).ttl(63);
    assert_eq!(
        kernel_got(world),
        [(OUTSIDE.0, accepted.packet())],
        "{}",
        world.drops()
    );
    kernel_sends(world, setup, &tcp(OWN, port, VIP, 80, ACK, 1001, 9001));
    let ack = tcp(&seen.0, seen.1, SERVER, 8080, ACK, 1001, 9001).ttl(63);
    assert_eq!(world.left(INSIDE), ack.from(INSIDE));
    world.assert_quiet();
    seen
}

#[test]
fn the_kernel_is_served_as_other_clients_are() {
    for mode in [LbMode::Dnat, LbMode::Fullnat] {
        for (workers, sticky) in [(1, false), (2, false), (3, true)] {
            let mut setup = setup(mode, workers);
            setup.virtual_servers[0].persistence = sticky.then_some(Persistence {
                timeout_ms: 1000,
                prefix_v4: 32,
                prefix_v6: 128,
            });
            let mut world = setup.start();
            for port in 61_000..61_020 {
                let (seen, at) = connect(&mut world, &setup, port);
                match mode {
                    LbMode::Fullnat => assert_eq!(seen, "10.0.0.1"),
                    _ => assert_eq!((seen.as_str(), at), (OWN, port)),
                }
                // Data both ways, and the end.
                let (from, to) = ((SERVER, 8080), (seen.as_str(), at));
                let data = segment([from, to], ACK, (9001, 1001), b"hello");
                world.arrive(INSIDE, &data.to(INSIDE));
                let ends = [(VIP, 80), (OWN, port)];
                let told = segment(ends, ACK, (9001, 1001), b"hello").ttl(63);
                assert_eq!(kernel_got(&mut world), [(OUTSIDE.0, told.packet())]);
                let fin = tcp(OWN, port, VIP, 80, FIN | ACK, 1001, 9006);
                kernel_sends(&mut world, &setup, &fin);
                world.left(INSIDE);
            }
            assert_eq!(world.count(WorkerCounter::SessionsOpened), 20);
            assert_eq!(world.count(WorkerCounter::Injected), 60);
            assert_eq!(world.count(WorkerCounter::Punted), 40);
            assert_eq!(world.count(WorkerCounter::Forwarded), 60);
        }
    }
}

#[test]
fn a_change_of_configuration_leaves_the_kernels_sessions_alone() {
    let mut setup = setup(LbMode::Dnat, 2);
    let mut world = setup.start();
    let (seen, at) = connect(&mut world, &setup, 61_000);
    setup.epoch += 1;
    world.swap(&setup);
    let data = tcp(SERVER, 8080, &seen, at, ACK, 9001, 1001);
    world.arrive(INSIDE, &data.to(INSIDE));
    assert_eq!(kernel_got(&mut world).len(), 1, "{}", world.drops());
    kernel_sends(
        &mut world,
        &setup,
        &tcp(OWN, 61_000, VIP, 80, ACK, 1001, 9001),
    );
    world.left(INSIDE);
    assert_eq!(world.count(WorkerCounter::SessionsOpened), 1);
}

#[test]
fn who_pretends_to_be_the_kernel_is_not_served() {
    let setup = setup(LbMode::Dnat, 1);
    let mut world = setup.start();
    let syn = tcp(OWN, 61_000, VIP, 80, SYN, 1000, 0);
    world.dropped(OUTSIDE, &syn.to(OUTSIDE), DropReason::MartianSource);
    connect(&mut world, &setup, 61_000);
}

#[test]
fn what_no_service_takes_is_dropped_by_name() {
    let setup = setup(LbMode::Dnat, 1);
    let mut world = setup.start();
    kernel_sends(&mut world, &setup, &tcp(OWN, 61_000, VIP, 81, SYN, 1, 0));
    kernel_sends(&mut world, &setup, &udp(OWN, 61_000, VIP, 80, b"ask"));
    assert_eq!(world.drop_count(DropReason::NotListening), 2);
    let first = udp(OWN, 61_000, VIP, 80, b"8 bytes.").fragment(0x2000);
    kernel_sends(&mut world, &setup, &first);
    assert_eq!(world.drop_count(DropReason::NoRoute), 1);
    world.assert_quiet();
    assert_eq!(kernel_got(&mut world), []);
}

#[test]
fn a_server_that_cannot_be_reached_is_told_of_to_nobody() {
    let setup = setup(LbMode::Dnat, 1);
    let mut world = setup.start();
    world.silent.push(ip(SERVER));
    kernel_sends(&mut world, &setup, &tcp(OWN, 61_000, VIP, 80, SYN, 1, 0));
    world.pass_time(10_000);
    assert_eq!(world.drop_count(DropReason::NeighbourUnresolved), 1);
    world.assert_quiet();
}

#[test]
fn errors_about_the_kernels_sessions_reach_it_and_its_own_the_server() {
    let setup = setup(LbMode::Dnat, 2);
    let mut world = setup.start();
    let (seen, at) = connect(&mut world, &setup, 61_000);
    let about = tcp(&seen, at, SERVER, 8080, ACK, 1001, 9001).packet();
    let error = icmp_error(SERVER, &seen, 3, 4, [0, 0, 5, 0], &about);
    world.arrive(INSIDE, &error.to(INSIDE));
    let got = kernel_got(&mut world);
    assert_eq!(got.len(), 1, "{}", world.drops());
    // About the packet as the kernel sent it.
    assert_eq!(got[0].1[28 + 16..28 + 20], [192, 0, 2, 100]);
    let reset = tcp(SERVER, 8080, &seen, at, RST, 9001, 0);
    world.arrive(INSIDE, &reset.to(INSIDE));
    assert_eq!(kernel_got(&mut world).len(), 1);
}

#[test]
fn a_kernel_that_does_not_keep_up_loses_packets_by_name() {
    let setup = setup(LbMode::Dnat, 1);
    let mut world = setup.start();
    let (seen, at) = connect(&mut world, &setup, 61_000);
    let data = tcp(SERVER, 8080, &seen, at, ACK, 9001, 1001).to(INSIDE);
    for _ in 0..host::QUEUE + 3 {
        world.arrive(INSIDE, &data);
    }
    assert_eq!(world.drop_count(DropReason::HostQueueFull), 3);
    assert_eq!(kernel_got(&mut world).len(), host::QUEUE);
    world.arrive(INSIDE, &data);
    assert_eq!(kernel_got(&mut world).len(), 1);
}

#[test]
fn traces_and_captures_say_that_the_kernel_gets_what_it_is_answered() {
    let mut setup = setup(LbMode::Dnat, 1);
    let mut world = setup.start();
    let (seen, at) = connect(&mut world, &setup, 61_000);
    let data = tcp(SERVER, 8080, &seen, at, ACK, 9001, 1001).to(INSIDE);
    for _ in 0..2 {
        let asked = Trace::new(RequestId(1), DeviceId(INSIDE.0), None, data.clone());
        let sent = world.control[0].send(ToWorker::Trace(Box::new(asked)));
        sent.expect("room");
        world.workers[0].poll(world.now);
        let Some(FromWorker::Traced(answer)) = world.control[0].receive() else {
            panic!("no answer");
        };
        assert_eq!(answer.verdict, Verdict::Punt, "{:?}", answer.steps);
        // Its path is the one of today the next time.
        setup.epoch += 1;
        world.swap(&setup);
    }
    let (tap, records) = capture::tap(TapSpec {
        id: CaptureId(1),
        program: Arc::new(Program::all()),
        ports: Arc::new([]),
        link: false,
        snaplen: 2000,
        per_s: 1000,
    });
    world.control[0].send(ToWorker::Capture(tap)).expect("room");
    world.settle();
    world.arrive(INSIDE, &data);
    let record = records.receive().expect("it came in");
    assert_eq!((record.port, record.fate), (INSIDE, Fate::Punted));
    assert_eq!(kernel_got(&mut world).len(), 1);
}
