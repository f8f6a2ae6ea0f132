//! Clients and servers with an appliance between them that translates, loses, repeats and damages.

use sluice_dataplane::io::memory::{MemoryIo, VecFrame};

use super::*;
use crate::flows::{Addresses, Ports};

const HZ: u64 = 1_000_000;
const CLIENT: usize = 0;
const SERVER: usize = 1;
const OTHER: usize = 2;

fn script(request: u32, response: u32) -> Script {
    Script {
        request,
        response,
        hold_ms: 0,
        retransmit_ms: 20,
        retries: 8,
    }
}

fn engine(script: Script, flows: u32, replies: usize) -> TcpEngine<MemoryIo> {
    let one = |last: u8| {
        let mut addresses = Addresses::default();
        addresses.push(Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, last));
        addresses
    };
    let mut virtual_server = Addresses::default();
    virtual_server.push(Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 1));
    let client_ports = Ports {
        first: 1024,
        last: 65_535,
    };
    let port_80 = Ports {
        first: 80,
        last: 80,
    };
    let station = |number: u8| Station {
        name: number.to_string(),
        mac: MacAddr([2, 0, 0, 0, 0, number]),
        address: None,
        gateway: None,
        gateway_mac: Some(MacAddr([2, 0, 0, 0, 1, number])),
        answers: Addresses::default(),
        mac_per_address: false,
    };
    let spec = TcpSpec {
        client: CLIENT,
        server: SERVER,
        replies,
        space: Space::new(one(5), virtual_server, client_ports, port_80, flows),
        rate: None,
        concurrent: 256,
        script,
    };
    let stations = (0..3).map(station).collect();
    TcpEngine::new(MemoryIo::new(3), HZ, stations, spec)
}

/// An appliance with virtual server and SNAT: 192.0.2.1 is 10.1.0.7, clients are 203.0.113.x.
fn translate(frame: &VecFrame, from: usize) -> Option<(usize, VecFrame)> {
    let mut segment = Segment::parse(frame.bytes())?;
    let data = frame.bytes()[segment.data.0..segment.data.1].to_vec();
    let to = if from == CLIENT {
        assert_eq!(segment.tuple[4..8], [192, 0, 2, 1]);
        segment.tuple[..3].copy_from_slice(&[203, 0, 113]);
        segment.tuple[4..8].copy_from_slice(&[10, 1, 0, 7]);
        SERVER
    } else {
        assert_eq!(segment.tuple[..4], [10, 1, 0, 7]);
        segment.tuple[..4].copy_from_slice(&[192, 0, 2, 1]);
        segment.tuple[4..7].copy_from_slice(&[10, 0, 0]);
        CLIENT
    };
    let mut bytes = vec![0; Writer::frame_len(data.len())];
    let macs = (MacAddr::BROADCAST, MacAddr([2, 0, 0, 0, 2, 0]));
    Writer::default().write(&mut bytes, macs, &segment, &data);
    Some((to, VecFrame::new(&bytes, 2048)))
}

/// Runs until `opened` connections have been opened and all of them ended. `wire` says what becomes
/// of each segment: how many times it arrives.
fn run(
    engine: &mut TcpEngine<MemoryIo>,
    opened: u64,
    mut wire: impl FnMut(u64, &mut VecFrame) -> usize,
) {
    engine.start(0);
    let mut number = 0;
    for round in 0..200_000 {
        let now = round * 100;
        let opening = engine.counts.opened < opened;
        if !opening && engine.active == 0 {
            return;
        }
        engine.round(now, opening);
        for from in [CLIENT, SERVER, OTHER] {
            let sent: Vec<VecFrame> = engine.io.tx[from].drain(..).collect();
            for frame in sent {
                let Some((to, mut frame)) = translate(&frame, from) else {
                    panic!("a broken segment was sent");
                };
                number += 1;
                for _ in 0..wire(number, &mut frame) {
                    // A copy of a vector has no room to grow.
                    let copy = VecFrame::new(frame.bytes(), 2048);
                    engine.io.rx[to].push_back(copy);
                }
            }
        }
    }
    panic!(
        "connections hang: {:?}, {} active",
        engine.counts, engine.active
    );
}

#[test]
fn connections_open_ask_and_close() {
    for (request, response, segments) in [(0, 0, 6), (100, 1000, 8), (1, 0, 8)] {
        let mut engine = engine(script(request, response), 10_000, SERVER);
        run(&mut engine, 5_000, |_, _| 1);
        let counts = engine.counts;
        let opened = counts.opened;
        assert!(opened >= 5_000);
        assert_eq!(
            counts,
            TcpCounts {
                opened,
                established: opened,
                answered: if request > 0 { opened } else { 0 },
                completed: opened,
                server_syns: opened,
                sent: opened * segments,
                // The last acknowledgements lie unread.
                received: counts.received,
                ..TcpCounts::default()
            }
        );
        assert_eq!(engine.setup.as_ref().unwrap().len(), opened);
    }
}

#[test]
fn addresses_and_ports_are_used_again_and_again() {
    let mut engine = engine(script(10, 10), 300, SERVER);
    run(&mut engine, 5_000, |_, _| 1);
    assert_eq!(engine.counts.completed, engine.counts.opened);
    assert_eq!(engine.counts.stray, 0);
}

#[test]
fn lost_segments_are_sent_again_until_all_connections_are_complete() {
    let mut engine = engine(script(100, 200), 10_000, SERVER);
    run(&mut engine, 3_000, |number, _| {
        usize::from(number % 13 != 5)
    });
    let counts = engine.counts;
    assert_eq!(counts.completed, counts.opened);
    assert!(counts.retransmitted > 1_000, "{counts:?}");
    assert_eq!((counts.timed_out, counts.reset), (0, 0));
}

#[test]
fn repeated_segments_change_nothing() {
    let mut engine = engine(script(100, 200), 10_000, SERVER);
    run(&mut engine, 2_000, |number, _| {
        1 + usize::from(number % 3 == 0)
    });
    let counts = engine.counts;
    assert_eq!(
        (counts.completed, counts.established),
        (counts.opened, counts.opened)
    );
    assert!(counts.stray > 0);
}

#[test]
fn damage_is_counted_and_mended_by_sending_again() {
    let mut engine = engine(script(100, 200), 10_000, SERVER);
    let mut damaged = 0;
    run(&mut engine, 1_000, |number, frame| {
        if number % 17 == 3 {
            damaged += 1;
            frame.bytes_mut()[segment::PAYLOAD - 10] ^= 1;
        }
        1
    });
    let counts = engine.counts;
    assert_eq!(counts.completed, counts.opened);
    assert!(
        counts.corrupted > damaged * 9 / 10 && counts.corrupted <= damaged,
        "{counts:?}"
    );
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let mut engine = engine(script(0, 0), 1_000, SERVER);
    run(&mut engine, 100, |_, _| 0);
    let counts = engine.counts;
    assert_eq!(counts.timed_out, counts.opened);
    assert_eq!(counts.retransmitted, counts.opened * 8);
    assert_eq!((counts.established, counts.completed), (0, 0));
}

#[test]
fn resets_end_connections() {
    let mut engine = engine(script(0, 0), 1_000, SERVER);
    run(&mut engine, 100, |_, frame| {
        let segment = Segment::parse(frame.bytes()).unwrap();
        if segment.has(flag::SYN) && segment.has(flag::ACK) {
            let reset = Segment {
                flags: flag::RST | flag::ACK,
                data: (0, 0),
                ..segment
            };
            let macs = (MacAddr::BROADCAST, MacAddr::BROADCAST);
            Writer::default().write(frame.bytes_mut(), macs, &reset, &[]);
        }
        1
    });
    assert_eq!(engine.counts.reset, engine.counts.opened);
}

#[test]
fn no_more_are_under_way_than_wanted() {
    let mut engine = engine(script(0, 0), 10_000, SERVER);
    engine.start(0);
    for round in 0..100 {
        engine.round(round, true);
        engine.io.tx[CLIENT].clear();
    }
    assert_eq!((engine.active, engine.counts.opened), (256, 256));
}

#[test]
fn replies_can_go_into_another_port() {
    let mut engine = engine(script(50, 50), 1_000, OTHER);
    engine.start(0);
    engine.round(0, true);
    let syn = engine.io.tx[CLIENT].pop_front().unwrap();
    let (to, syn) = translate(&syn, CLIENT).unwrap();
    engine.io.rx[to].push_back(syn);
    engine.round(1, false);
    assert!(engine.io.tx[SERVER].is_empty());
    let reply = engine.io.tx[OTHER].pop_front().unwrap();
    let macs = &reply.bytes()[..12];
    assert_eq!(macs, [2, 0, 0, 0, 1, 2, 2, 0, 0, 0, 0, 2]);
    // Through another appliance, which delivers at the clients' second port.
    let (_, reply) = translate(&reply, OTHER).unwrap();
    engine.io.rx[SERVER].push_back(reply);
    engine.round(2, false);
    assert_eq!(engine.counts.established, 1);
}

#[test]
fn held_connections_stay_open_for_their_time() {
    let mut engine = engine(
        Script {
            hold_ms: 500,
            ..script(10, 10)
        },
        1_000,
        SERVER,
    );
    engine.spec.concurrent = 100;
    engine.start(0);
    let mut ended_at = None;
    for ms in 0..700 {
        engine.round(ms * 1000, engine.counts.opened < 100);
        for from in [CLIENT, SERVER] {
            let sent: Vec<VecFrame> = engine.io.tx[from].drain(..).collect();
            for frame in sent {
                let (to, frame) = translate(&frame, from).unwrap();
                engine.io.rx[to].push_back(frame);
            }
        }
        if ended_at.is_none() && engine.counts.completed > 0 {
            ended_at = Some(ms);
        }
    }
    assert_eq!(
        (engine.counts.completed, engine.counts.retransmitted),
        (100, 0)
    );
    assert!(ended_at.is_some_and(|ms| ms >= 500), "{ended_at:?}");
}
