//! Packet capture: every received frame that matches is in it once, with what became of it, and every
//! frame that was sent; and capturing changes nothing about what happens.

use crate::world;

use std::sync::Arc;

use sluice_dataplane::capture::bpf::{Insn, Program};
use sluice_dataplane::capture::{self, CaptureId, Fate, MOST, NO_PORT, Record, TapEnd, TapSpec};
use sluice_dataplane::counters::DropReason;
use sluice_dataplane::io::RxMeta;
use sluice_dataplane::io::memory::{MemoryIo, VecFrame};
use sluice_dataplane::mailbox::{FromWorker, ToWorker};
use sluice_dataplane::snapshot::PortId;
use sluice_dataplane::worker::Worker;
use world::packet::{echo, tcp, udp};
use world::{INSIDE, OUTSIDE, Setup, World, ip};

const HOST: &str = "10.0.0.7";
const FAR: &str = "198.51.100.9";

fn spec(id: u64) -> TapSpec {
    TapSpec {
        id: CaptureId(id),
        program: Arc::new(Program::all()),
        ports: Arc::new([]),
        link: false,
        snaplen: 2000,
        per_s: 100_000,
    }
}

/// `udp`, of IPv4.
fn only_udp() -> Program {
    let insn = |code, jt, jf, k| Insn { code, jt, jf, k };
    let program = vec![
        insn(0x28, 0, 0, 12),
        insn(0x15, 0, 3, 0x0800),
        insn(0x30, 0, 0, 23),
        insn(0x15, 0, 1, 17),
        insn(0x06, 0, 0, 0x40000),
        insn(0x06, 0, 0, 0),
    ];
    Program::new(program).expect("good")
}

fn begin(world: &mut World, spec: &TapSpec) -> Vec<TapEnd> {
    let mut ends = vec![];
    for control in &world.control {
        let (tap, end) = capture::tap(spec.clone());
        control.send(ToWorker::Capture(tap)).expect("room");
        ends.push(end);
    }
    world.settle();
    ends
}

fn end(world: &mut World, id: u64) {
    for control in &world.control {
        control
            .send(ToWorker::EndCapture(CaptureId(id)))
            .expect("room");
    }
    world.settle();
    for control in &world.control {
        let tap = control.receive();
        assert!(matches!(&tap, Some(FromWorker::CaptureEnded(tap)) if tap.id() == CaptureId(id)));
    }
}

fn take(ends: &[TapEnd]) -> Vec<Record> {
    let records = ends
        .iter()
        .flat_map(|end| std::iter::from_fn(|| end.receive()));
    records.collect()
}

fn fates(records: &[Record]) -> Vec<(PortId, Fate)> {
    records
        .iter()
        .map(|record| (record.port, record.fate))
        .collect()
}

#[test]
fn what_became_of_each_frame_is_told() {
    let mut world = Setup::default().start();
    let ends = begin(&mut world, &spec(1));
    // A session from inside: its first packet waits for the neighbour.
    let first = udp(HOST, 4000, FAR, 53, b"question").to(INSIDE);
    let sent = world.through(INSIDE, &first);
    let records = take(&ends);
    assert_eq!(records[0].fate, Fate::Held);
    assert_eq!((records[0].port, records[0].bytes()), (INSIDE, &first[..]));
    let told = fates(&records);
    assert!(
        told.contains(&(OUTSIDE, Fate::Originated)),
        "the ARP request: {told:?}"
    );
    assert!(
        told.contains(&(OUTSIDE, Fate::Consumed)),
        "its answer: {told:?}"
    );
    let out = records.iter().find(|record| record.fate == Fate::Sent);
    assert_eq!(out.expect("it was sent").bytes(), sent);
    // The second goes at once; an answer, a stranger, a ping to us, and garbage.
    world.through(INSIDE, &first);
    world.through(OUTSIDE, &udp(FAR, 53, HOST, 4000, b"answer").to(OUTSIDE));
    take(&ends);
    world.through(INSIDE, &first);
    let told = fates(&take(&ends));
    assert_eq!(told, [(INSIDE, Fate::Forwarded), (OUTSIDE, Fate::Sent)]);
    world.dropped(
        OUTSIDE,
        &udp(FAR, 1, HOST, 9, b"").to(OUTSIDE),
        DropReason::Denied,
    );
    let told = fates(&take(&ends));
    assert_eq!(told, [(OUTSIDE, Fate::Dropped(DropReason::Denied))]);
    world.arrive(INSIDE, &echo(HOST, "10.0.0.1", 7, false).to(INSIDE));
    world.left(INSIDE);
    let told = fates(&take(&ends));
    assert_eq!(told, [(INSIDE, Fate::Consumed), (INSIDE, Fate::Originated)]);
    world.dropped(INSIDE, &first[..20], DropReason::Truncated);
    let told = fates(&take(&ends));
    assert_eq!(told, [(INSIDE, Fate::Dropped(DropReason::Truncated))]);
    // A tag that no port has.
    let tagged = VecFrame::new(&first, 2048).with_meta(RxMeta {
        vlan_tci: Some(99),
        ..RxMeta::default()
    });
    world.workers[0].io().rx[0].push_back(tagged);
    world.settle();
    let records = take(&ends);
    let told = fates(&records);
    assert_eq!(told, [(NO_PORT, Fate::Dropped(DropReason::UnknownVlan))]);
    assert_eq!(
        records[0].bytes()[12..16],
        [0x81, 0, 0, 99],
        "the tag stands where it was"
    );
    assert_eq!(records[0].length as usize, first.len() + 4);
    end(&mut world, 1);
    assert!(ends.iter().all(TapEnd::is_alone));
    world.through(INSIDE, &first);
    assert!(take(&ends).is_empty());
}

/// What a burst of all sorts costs each worker: of every frame that leaves, by which port and how often
/// its bytes were asked for; and how often the clock was.
fn cost(world: &mut World) -> Vec<(Vec<(usize, u32)>, u64)> {
    let frames = [
        (INSIDE, udp(HOST, 4000, FAR, 53, b"question").to(INSIDE)),
        (OUTSIDE, udp(FAR, 53, HOST, 4000, b"answer").to(OUTSIDE)),
        (INSIDE, tcp(HOST, 5000, FAR, 80, 0x10, 2, 2).to(INSIDE)),
        (OUTSIDE, tcp(FAR, 80, HOST, 5000, 0x10, 2, 2).to(OUTSIDE)),
        (INSIDE, echo(HOST, FAR, 7, false).to(INSIDE)),
        (INSIDE, echo(HOST, "10.0.0.1", 7, false).to(INSIDE)),
        (OUTSIDE, udp(FAR, 1, HOST, 9, b"denied").to(OUTSIDE)),
    ];
    for (port, frame) in &frames {
        for worker in &mut world.workers {
            worker.io().rx[usize::from(port.0)].push_back(VecFrame::new(frame, 2048));
        }
    }
    let before: Vec<u64> = world
        .workers
        .iter_mut()
        .map(|worker| worker.io().clock_reads())
        .collect();
    for _ in 0..10 {
        world.now += 1;
        for worker in &mut world.workers {
            worker.poll(world.now);
        }
    }
    let of = |(worker, before): (&mut Worker<MemoryIo>, u64)| {
        let io = worker.io();
        let sent = io.tx.iter_mut().enumerate().flat_map(|(port, frames)| {
            frames
                .drain(..)
                .map(move |frame| (port, frame.looks()))
                .collect::<Vec<_>>()
        });
        (sent.collect(), io.clock_reads() - before)
    };
    world.workers.iter_mut().zip(before).map(of).collect()
}

/// Not by a clock: by what is done to each frame, which a capture that has left anything behind adds to.
#[test]
fn a_capture_that_is_over_costs_no_frame_anything() {
    let mut world = Setup {
        workers: 2,
        ..Setup::default()
    }
    .start();
    world.through(INSIDE, &tcp(HOST, 5000, FAR, 80, 0x02, 1, 0).to(INSIDE));
    world.through(OUTSIDE, &tcp(FAR, 80, HOST, 5000, 0x12, 1, 2).to(OUTSIDE));
    world.through(INSIDE, &tcp(HOST, 5000, FAR, 80, 0x10, 2, 2).to(INSIDE));
    // Sessions are opened and neighbours found.
    cost(&mut world);
    let never = cost(&mut world);
    assert!(
        never
            .iter()
            .all(|(sent, reads)| sent.len() > 3 && *reads == 0),
        "{never:?}"
    );
    for id in 1..=MOST as u64 {
        begin(&mut world, &spec(id));
    }
    let meanwhile = cost(&mut world);
    let looks = |all: &[(Vec<(usize, u32)>, u64)]| {
        let all = all.iter().flat_map(|(sent, _)| sent);
        all.map(|(_, looks)| looks).sum::<u32>()
    };
    assert!(meanwhile.iter().all(|(_, reads)| *reads > 0));
    assert!(looks(&meanwhile) > looks(&never), "it can be seen");
    for id in 1..=MOST as u64 {
        end(&mut world, id);
    }
    assert_eq!(cost(&mut world), never);
}

#[test]
fn filter_ports_snaplen_and_rate_are_kept_to() {
    let mut world = Setup::default().start();
    let udp_only = TapSpec {
        program: Arc::new(only_udp()),
        ports: Arc::new([true, false]),
        snaplen: 30,
        ..spec(1)
    };
    let slow = TapSpec {
        per_s: 1,
        ..spec(2)
    };
    let ends = begin(&mut world, &udp_only);
    let slow_ends = begin(&mut world, &slow);
    let packet = udp(HOST, 4000, FAR, 53, b"question").to(INSIDE);
    for _ in 0..50 {
        world.workers[0].io().wall_ns += 1_000_000;
        world.through(INSIDE, &packet);
        world.through(INSIDE, &tcp(HOST, 5000, FAR, 80, 2, 1, 0).to(INSIDE));
    }
    let records = take(&ends);
    assert_eq!(records.len(), 50);
    for record in &records {
        assert_eq!((record.port, record.bytes()), (INSIDE, &packet[..30]));
        assert_eq!(record.length as usize, packet.len());
    }
    let times = records.iter().map(|record| record.at_ns);
    assert!(times.is_sorted_by(|a, b| a < b));
    // A bound for bursts of ten, and one a second.
    assert_eq!(take(&slow_ends).len(), 10);
    assert!(slow_ends[0].limited() > 150);
}

#[test]
fn a_capture_that_nobody_reads_loses_frames_and_counts_them() {
    let mut world = Setup::default().start();
    let ends = begin(
        &mut world,
        &TapSpec {
            per_s: 4_000_000,
            ..spec(1)
        },
    );
    let packet = udp(HOST, 4000, FAR, 53, b"question").to(INSIDE);
    world.through(INSIDE, &packet);
    let before = take(&ends).len();
    for _ in 0..capture::QUEUE {
        world.through(INSIDE, &packet);
    }
    // What was taken was not given back.
    let room = capture::QUEUE - before;
    assert_eq!(take(&ends).len(), room);
    assert_eq!(ends[0].missed() as usize, 2 * capture::QUEUE - room);
}

#[test]
fn too_many_captures_come_back_and_each_ends_by_itself() {
    let mut world = Setup::default().start();
    let all: Vec<_> = (1..=MOST as u64)
        .map(|id| begin(&mut world, &spec(id)))
        .collect();
    let _more = begin(&mut world, &spec(99));
    let back = world.control[0].receive();
    assert!(matches!(back, Some(FromWorker::CaptureEnded(tap)) if tap.id() == CaptureId(99)));
    end(&mut world, 2);
    world.through(INSIDE, &udp(HOST, 4000, FAR, 53, b"question").to(INSIDE));
    let counts: Vec<_> = all.iter().map(|ends| take(ends).len()).collect();
    assert_eq!(counts[1], 0);
    assert!(
        counts[0] >= 4 && counts[0] == counts[2] && counts[2] == counts[3],
        "{counts:?}"
    );
}

/// With two workers a packet is in the capture of the one that ends it, and once.
#[test]
fn a_packet_that_is_handed_over_is_captured_once() {
    let mut world = Setup {
        workers: 2,
        ..Setup::default()
    }
    .start();
    let ends = begin(&mut world, &spec(1));
    for sport in 4000..4040 {
        world.arrive_at = usize::from(sport % 2);
        world.through(INSIDE, &udp(HOST, sport, FAR, 53, b"question").to(INSIDE));
    }
    let records = take(&ends);
    let received = |record: &&Record| {
        !record.fate.is_tx() && record.bytes()[12] == 8 && record.bytes()[13] == 0
    };
    assert_eq!(records.iter().filter(received).count(), 40);
    let sent = records.iter().filter(|record| record.fate == Fate::Sent);
    assert_eq!(sent.count(), 40);
}

/// The same packets with a capture and without: what comes out is the same.
#[test]
fn capturing_changes_nothing() {
    let mut worlds = [Setup::default().start(), Setup::default().start()];
    let ends = begin(&mut worlds[1], &spec(1));
    let mut packets = vec![];
    for n in 0..6_u16 {
        packets.push((INSIDE, tcp(HOST, 4000 + n, FAR, 80, 0x02, 1, 0)));
        packets.push((OUTSIDE, tcp(FAR, 80, HOST, 4000 + n, 0x12, 9, 2)));
        packets.push((INSIDE, tcp(HOST, 4000 + n, FAR, 80, 0x10, 2, 10)));
        packets.push((OUTSIDE, udp(FAR, 53, HOST, 900 + n, b"nobody asked")));
        packets.push((
            INSIDE,
            udp(HOST, 7000, "192.0.2.77", n, b"a neighbour").ttl(1),
        ));
        packets.push((INSIDE, tcp(HOST, 4000 + n, FAR, 80, 0x11, 2, 10)));
        packets.push((INSIDE, tcp(HOST, 4000 + n, FAR, 80, 0x10, 2, 10)));
    }
    for chunk in packets.chunks(5) {
        for world in &mut worlds {
            for (port, packet) in chunk {
                let frame = VecFrame::new(&packet.to(*port), 2048);
                world.workers[0].io().rx[usize::from(port.0)].push_back(frame);
            }
            world.settle();
        }
    }
    let [plain, captured] = &mut worlds;
    for port in 0..2 {
        assert_eq!(plain.sent[port], captured.sent[port], "port {port}");
    }
    assert_eq!(plain.drops(), captured.drops());
    assert!(!plain.sent[1].is_empty() && ip(HOST).is_ipv4());
    assert!(take(&ends).len() > packets.len());
}
