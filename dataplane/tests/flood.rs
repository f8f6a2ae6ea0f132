//! More than the appliance can take: whatever is not forwarded is dropped, and counted by name.

use crate::world;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::io::Frame;
use sluice_dataplane::io::memory::{MemoryIo, VecFrame};
use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::worker::{Limits, Worker};
use sluice_wire::tcp::flag::ACK;
use world::packet::{Neighbourly, neighbour_answer, tcp, udp};
use world::{INSIDE, Setup};

/// Polls of each worker, with a full burst each.
const ROUNDS: u32 = 2000;
const BURST: u32 = 64;
/// Frames that the device takes between two polls: half of what comes.
const TAKEN: usize = 32;
/// Sessions of each worker; flows are many more.
const SESSIONS: usize = 4096;

/// Frame number `n`: mostly first packets of UDP flows, with junk in between.
fn frame(n: u32) -> Vec<u8> {
    let host = format!("10.0.0.{}", 2 + n % 64);
    let (sport, server) = ((n / 64 % 50_000) as u16 + 1024, "198.51.100.7");
    match n % 16 {
        14 => tcp(&host, sport, server, 80, ACK, 1, 1).to(INSIDE),
        15 => udp(&host, sport, server, 53, b"cut off").to(INSIDE)[..40].to_vec(),
        _ => udp(&host, sport, server, 53, b"question").to(INSIDE),
    }
}

/// Floods one worker by its own thread; returns how many packets left.
fn flood(worker: &mut Worker<MemoryIo>, first: u32, now: u32) -> u64 {
    let mut left = 0;
    for round in 0..ROUNDS {
        for n in 0..BURST {
            let bytes = frame(first + round * BURST + n);
            worker.io().rx[0].push_back(VecFrame::new(&bytes, 2048));
        }
        worker.poll(now + round / 16);
        for port in 0..2 {
            let sent = &mut worker.io().tx[port];
            let taken = sent.len().min(TAKEN);
            left += sent.drain(..taken).filter(is_packet).count() as u64;
        }
    }
    left
}

fn is_packet(frame: &VecFrame) -> bool {
    matches!(neighbour_answer(frame.bytes()), Neighbourly::No)
}

#[test]
fn in_a_flood_every_packet_is_forwarded_or_dropped_by_name() {
    let mut world = Setup {
        workers: 2,
        limits: Limits {
            sessions_v4: SESSIONS,
            registrations: SESSIONS,
            ..Setup::default().limits
        },
        ..Setup::default()
    }
    .start();
    // Next hops are resolved while there is room.
    for n in 0..256 {
        world.arrive(INSIDE, &frame(n));
    }
    let before = world.sent[1].len() as u64;
    let came = world.count(WorkerCounter::Received) - world.count(WorkerCounter::Consumed);
    world
        .sent
        .iter_mut()
        .for_each(std::collections::VecDeque::clear);
    for worker in &mut world.workers {
        worker.io().tx_room = TAKEN;
    }

    let now = world.now;
    let left: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = world
            .workers
            .iter_mut()
            .zip([1_000_000, 2_000_000])
            .map(|(worker, first)| scope.spawn(move || flood(worker, first, now)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });

    world.now += ROUNDS;
    for worker in &mut world.workers {
        worker.io().tx_room = usize::MAX;
    }
    world.settle();
    let left = before + left + world.sent[1].len() as u64;
    let offered = came + u64::from(2 * ROUNDS * BURST);
    let answers = world.count(WorkerCounter::Consumed);
    assert_eq!(world.count(WorkerCounter::Received) - answers, offered);
    assert_eq!(
        world.count(WorkerCounter::Forwarded),
        left,
        "{}",
        world.drops()
    );
    assert_eq!(world.count(WorkerCounter::Held), 0);
    let named: u64 = DropReason::ALL
        .iter()
        .map(|&reason| world.drop_count(reason))
        .sum();
    assert_eq!(left + named, offered, "{}", world.drops());
    for reason in [
        DropReason::SessionTableFull,
        DropReason::TxFull,
        DropReason::OutOfState,
        DropReason::Truncated,
    ] {
        assert!(
            world.drop_count(reason) > 0,
            "{}: {}",
            reason.name(),
            world.drops()
        );
    }
}
