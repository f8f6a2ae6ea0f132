//! The digest between two appliances: what one lacks is found out and told anew.

use crate::world;

use sluice_dataplane::mailbox::{EndRequest, Filter, FromWorker, RequestId, ToWorker};
use sluice_dataplane::published::{Slot, WorkerCounter};
use sluice_dataplane::timeouts::Timeouts;
use world::packet::udp;
use world::pair::Pair;
use world::{INSIDE, Setup};

const HOST: &str = "10.0.0.7";
const SERVER: &str = "198.51.100.9";
/// Longer than from one digest to the next.
const DIGEST_MS: u32 = 1200;

fn setup(node: u8, workers: u16) -> Setup {
    Setup {
        workers,
        node: Some(node),
        ..Setup::default()
    }
}

/// Opens sessions by node 1, at whichever of its workers they come to.
fn open(pair: &mut Pair, ports: std::ops::Range<u16>) {
    for port in ports {
        pair.node(1).arrive_at += 1;
        let ask = udp(HOST, port, SERVER, 53, b"ask");
        pair.arrive(1, INSIDE, &ask.to(INSIDE));
    }
}

/// Takes everything out of a node's tables.
fn empty(pair: &mut Pair, node: u8) {
    for control in &pair.node(node).control {
        let all = EndRequest::new(RequestId(1), Filter::default());
        control.send(ToWorker::EndSessions(Box::new(all))).unwrap();
    }
    pair.run(50);
    for control in &pair.node(node).control {
        while let Some(answer) = control.receive() {
            assert!(matches!(
                answer,
                FromWorker::Ended(_) | FromWorker::Event(_)
            ));
        }
    }
}

/// The oldest proof that any worker of a node has, milliseconds ago.
fn age(pair: &mut Pair, node: u8) -> u64 {
    let published = &pair.node(node).published;
    let ages = (0..published.workers()).map(|worker| {
        let values = published.worker(worker);
        values.get(Slot::Worker(WorkerCounter::HaDigestAge))
    });
    ages.max().unwrap()
}

#[test]
fn copies_that_were_lost_are_told_anew_however_many_workers_there_are() {
    for workers in [(1, 1), (1, 3), (3, 2), (2, 4)] {
        let mut pair = Pair::new(|node| setup(node, [workers.0, workers.1][usize::from(node) - 1]));
        open(&mut pair, 4000..4030);
        pair.run(2 * DIGEST_MS);
        assert_eq!(pair.sum(2, WorkerCounter::SessionsReplica), 30);
        assert_eq!(
            pair.sum(2, WorkerCounter::HaDigestMismatches),
            0,
            "{workers:?}"
        );
        for node in [1, 2] {
            let age = age(&mut pair, node);
            assert!(
                age < u64::from(DIGEST_MS),
                "{workers:?}, node {node}: {age} ms"
            );
        }

        empty(&mut pair, 2);
        assert_eq!(pair.sum(2, WorkerCounter::SessionsReplica), 0);
        pair.run(3 * DIGEST_MS);
        assert_eq!(
            pair.sum(2, WorkerCounter::SessionsReplica),
            30,
            "{workers:?}"
        );
        assert!(pair.sum(2, WorkerCounter::HaDigestMismatches) > 0);
        assert!(pair.sum(1, WorkerCounter::HaRepairs) > 0);
        let age = age(&mut pair, 2);
        assert!(
            age < u64::from(DIGEST_MS),
            "{workers:?}: equal again, {age} ms ago"
        );
    }
}

#[test]
fn a_single_copy_is_repaired_without_telling_everything() {
    let mut pair = Pair::new(|node| setup(node, 1));
    open(&mut pair, 4000..4001);
    pair.run(DIGEST_MS);
    let before = pair.sum(1, WorkerCounter::HaRecordsSent);
    empty(&mut pair, 2);
    open(&mut pair, 4001..4050);
    pair.run(3 * DIGEST_MS);
    assert_eq!(pair.sum(2, WorkerCounter::SessionsReplica), 50);
    let told = pair.sum(1, WorkerCounter::HaRecordsSent) - before - 49;
    assert!((1..10).contains(&told), "{told} records for one session");
}

#[test]
fn sessions_that_ended_while_nobody_listened_are_swept() {
    let mut pair = Pair::new(|node| Setup {
        timeouts: vec![Timeouts {
            udp_new: 500,
            ..Timeouts::default()
        }],
        ..setup(node, 2)
    });
    open(&mut pair, 4000..4020);
    assert_eq!(pair.sum(2, WorkerCounter::SessionsReplica), 20);
    pair.cut = true;
    pair.run(3000);
    assert_eq!(pair.sum(1, WorkerCounter::SessionsEnded), 20);
    assert_eq!(pair.sum(2, WorkerCounter::SessionsReplica), 20);
    pair.cut = false;
    pair.run(2 * DIGEST_MS);
    assert_eq!(pair.sum(2, WorkerCounter::SessionsReplica), 0);
}

#[test]
fn what_finds_no_room_is_not_asked_for_all_the_time() {
    let mut pair = Pair::new(|node| {
        let mut setup = setup(node, 1);
        if node == 2 {
            setup.limits.sessions_v4 = 32;
        }
        setup
    });
    open(&mut pair, 4000..4100);
    pair.run(30_000);
    let lost = pair.sum(2, WorkerCounter::HaRecordsLost);
    assert!((68..1000).contains(&lost), "{lost} records found no room");
    assert!(pair.sum(2, WorkerCounter::HaDigestMismatches) > 0);
    assert!(age(&mut pair, 2) > 20_000, "never equal");
}
