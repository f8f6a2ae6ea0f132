use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use super::*;

const LAYOUT: Layout = Layout {
    ports: 3,
    services: 4,
    servers: 5,
    peers: 2,
};

fn every_slot() -> Vec<Slot> {
    let mut slots = Vec::new();
    slots.extend(WorkerCounter::ALL.iter().map(|&c| Slot::Worker(c)));
    slots.extend(DropReason::ALL.iter().map(|&r| Slot::Drop(r)));
    slots.extend((0..load::BURST_CLASSES).map(Slot::Burst));
    slots.extend((0..load::ROUND_CLASSES).map(Slot::Round));
    slots.extend((0..load::AGE_CLASSES).map(Slot::Age));
    for port in 0..3 {
        slots.extend(
            PortCounter::ALL
                .iter()
                .map(|&c| Slot::Port(PortId(port), c)),
        );
    }
    for service in 0..4 {
        slots.extend(
            FlowCounter::ALL
                .iter()
                .map(|&c| Slot::Service(ServiceId(service), c)),
        );
    }
    for server in 0..5 {
        slots.extend(
            FlowCounter::ALL
                .iter()
                .map(|&c| Slot::Server(ServerId(server), c)),
        );
    }
    for peer in 0..2 {
        slots.extend(PeerCounter::ALL.iter().map(|&c| Slot::Peer(peer, c)));
    }
    slots
}

#[test]
fn no_two_counters_share_a_slot() {
    let (published, mut publishers) = Published::new(2, LAYOUT);
    let slots = every_slot();
    assert_eq!(slots.len(), LAYOUT.len());
    for publisher in &mut publishers {
        publisher.publish(|writer| {
            for (n, &slot) in slots.iter().enumerate() {
                writer.set(slot, n as u64 + 1);
            }
        });
    }
    let values = published.worker(1);
    let seen: HashSet<u64> = slots.iter().map(|&slot| values.get(slot)).collect();
    assert_eq!(seen.len(), slots.len());
    for (n, &slot) in slots.iter().enumerate() {
        assert_eq!(published.sum(slot), 2 * (n as u64 + 1), "{slot:?}");
    }
}

#[test]
fn what_there_is_no_room_for_is_ignored() {
    let (published, mut publishers) = Published::new(1, LAYOUT);
    let beyond = [
        Slot::Port(PortId(3), PortCounter::RxFrames),
        Slot::Service(ServiceId(4), FlowCounter::Opened),
        Slot::Server(ServerId(u16::MAX), FlowCounter::Opened),
    ];
    publishers[0].publish(|writer| {
        for slot in beyond {
            writer.add(slot, 1);
        }
    });
    assert_eq!(published.worker(0), Values::zero(LAYOUT));
    assert_eq!(published.worker(1), Values::zero(LAYOUT));
    assert_eq!(published.sum(beyond[0]), 0);
}

#[test]
fn the_identity_counts_each_way_out_once() {
    let (published, mut publishers) = Published::new(1, LAYOUT);
    publishers[0].publish(|writer| {
        writer.add(Slot::Worker(WorkerCounter::Received), 10);
        writer.add(Slot::Worker(WorkerCounter::TakenOver), 5);
        for counter in [
            WorkerCounter::Forwarded,
            WorkerCounter::Redirected,
            WorkerCounter::Punted,
            WorkerCounter::Consumed,
            WorkerCounter::Held,
            WorkerCounter::HandedOver,
        ] {
            writer.add(Slot::Worker(counter), 2);
        }
        writer.add(Slot::Worker(WorkerCounter::Originated), 100);
        writer.add(Slot::Drop(DropReason::Denied), 1);
        writer.add(Slot::Drop(DropReason::NoRoute), 1);
    });
    let values = published.worker(0);
    assert_eq!((values.dropped(), values.unaccounted()), (2, 1));
}

#[test]
fn a_reader_never_sees_half_of_a_burst() {
    let (published, mut publishers) = Published::new(1, LAYOUT);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let publisher = &mut publishers[0];
        let stop = &stop;
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                publisher.publish(|writer| {
                    writer.add(Slot::Worker(WorkerCounter::Received), 3);
                    writer.add(Slot::Worker(WorkerCounter::Forwarded), 2);
                    writer.add(Slot::Drop(DropReason::Internal), 1);
                });
                for _ in 0..50 {
                    std::hint::spin_loop();
                }
            }
        });
        for _ in 0..20_000 {
            assert_eq!(published.worker(0).unaccounted(), 0);
        }
        stop.store(true, Ordering::Relaxed);
    });
}
