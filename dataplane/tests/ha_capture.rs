//! Captures of two appliances: what crosses the link between them is in there as it crossed it, once at each
//! end, where that was asked for.

use crate::world;

use std::sync::Arc;

use sluice_dataplane::capture::bpf::Program;
use sluice_dataplane::capture::{self, CaptureId, Fate, LINK, Record, TapEnd, TapSpec};
use sluice_dataplane::mailbox::ToWorker;
use sluice_dataplane::shared_names::SyncMode;
use sluice_dataplane::snapshot::ServiceId;
use sluice_dataplane::tcp::{ACK, SYN};
use world::packet::tcp;
use world::pair::{HOST, Pair, SERVER, snat, sport};
use world::{INSIDE, OUTSIDE, Setup};

/// What the protocol between appliances is marked by.
const OURS: [u8; 2] = [0x88, 0xb5];

fn begin(pair: &mut Pair, node: u8, link: bool) -> Vec<TapEnd> {
    let spec = TapSpec {
        id: CaptureId(1),
        program: Arc::new(Program::all()),
        ports: Arc::new([]),
        link,
        snaplen: 2000,
        per_s: 1_000_000,
    };
    let taps = pair.node(node).control.iter().map(|control| {
        let (tap, end) = capture::tap(spec.clone());
        control.send(ToWorker::Capture(tap)).expect("room");
        end
    });
    taps.collect()
}

fn take(ends: &[TapEnd]) -> Vec<Record> {
    let records = ends
        .iter()
        .flat_map(|end| std::iter::from_fn(|| end.receive()));
    records.collect()
}

fn of(records: &[Record], fate: Fate, datagrams: bool) -> Vec<Vec<u8>> {
    let found = records.iter().filter(|record| {
        record.port == LINK && record.fate == fate && (record.bytes()[12..14] == OURS) == datagrams
    });
    let mut found: Vec<Vec<u8>> = found.map(|record| record.bytes().to_vec()).collect();
    found.sort();
    found
}

#[test]
fn the_link_is_captured_at_both_ends_as_it_is() {
    for workers in [1, 2, 3] {
        let mut pair = Pair::new(|node| Setup {
            workers,
            ..snat(node)
        });
        pair.run(5);
        let ends = [1, 2].map(|node| begin(&mut pair, node, true));
        pair.run(2);
        ends.iter().for_each(|ends| drop(take(ends)));
        pair.delay = 5;
        let syn = tcp(HOST, 4000, SERVER, 80, SYN, 1000, 0);
        pair.put(1, INSIDE, &syn.to(INSIDE));
        pair.run(1);
        let port = sport(&pair.left(1, OUTSIDE));
        // Faster than the sync, and to the wrong node.
        let answer = tcp(SERVER, 80, "192.0.2.10", port, SYN | ACK, 9000, 1001);
        pair.arrive(2, OUTSIDE, &answer.to(OUTSIDE));
        pair.left(1, INSIDE);
        pair.run(40);
        let [one, two] = ends.map(|ends| take(&ends));

        let redirected = of(&two, Fate::Sent, false);
        assert_eq!(redirected.len(), 1, "{workers} workers");
        assert_eq!(redirected[0][14..], answer.to(OUTSIDE)[14..]);
        assert_eq!(
            of(&one, Fate::Forwarded, false),
            redirected,
            "{workers} workers"
        );
        let came = two.iter().filter(|it| it.fate == Fate::Redirected);
        assert_eq!(came.count(), 1, "by its port, {workers} workers");

        for (from, to) in [(&one, &two), (&two, &one)] {
            let sent = of(from, Fate::Originated, true);
            let heard = of(to, Fate::Consumed, true);
            assert!(heard.len() > 3, "{workers} workers: {}", heard.len());
            let unknown = heard.iter().filter(|frame| !sent.contains(frame)).count();
            assert!(
                unknown <= 1,
                "{workers} workers: sealed bytes as they were sent"
            );
            let mut once = heard.clone();
            once.dedup();
            assert_eq!(once, heard, "{workers} workers: each once");
            // A heartbeat may be under way.
            assert!(
                sent.len() <= heard.len() + 2,
                "{} {}",
                sent.len(),
                heard.len()
            );
        }
    }
}

#[test]
fn nobody_sees_the_link_who_did_not_ask_for_it() {
    let mut pair = Pair::new(snat);
    let ends = begin(&mut pair, 1, false);
    pair.run(60);
    let syn = tcp(HOST, 4000, SERVER, 80, SYN, 1000, 0);
    pair.through((1, INSIDE), &syn.to(INSIDE), (1, OUTSIDE));
    let records = take(&ends);
    assert!(!records.is_empty());
    assert!(records.iter().all(|record| record.port != LINK));
}

#[test]
fn a_first_packet_that_goes_by_the_other_node_is_redirected_here_and_originated_there() {
    let mut pair = Pair::new(|node| Setup {
        modes: vec![(ServiceId(0), SyncMode::Inline)],
        ..snat(node)
    });
    let syn = |port| tcp(HOST, port, SERVER, 80, SYN, 1000, 0).to(INSIDE);
    // The other node finds out where the router is.
    pair.arrive(1, INSIDE, &syn(4000));
    pair.run(20);
    pair.left(1, OUTSIDE);
    let ends = [1, 2].map(|node| begin(&mut pair, node, false));
    pair.run(2);
    ends.iter().for_each(|ends| drop(take(ends)));
    pair.arrive(1, INSIDE, &syn(4001));
    let out = pair.left(2, OUTSIDE);
    let [one, two] = ends.map(|ends| take(&ends));
    let fate = |records: &[Record], bytes: &[u8]| {
        let mut found = records.iter().filter(|record| record.bytes() == bytes);
        let fate = found.next().map(|record| record.fate);
        assert!(found.next().is_none(), "once");
        fate
    };
    assert_eq!(fate(&one, &syn(4001)), Some(Fate::Redirected));
    assert_eq!(fate(&two, &out), Some(Fate::Originated));
}
