//! Engines on wires in memory, some of which lose, damage, repeat or hold back packets.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use sluice_dataplane::io::memory::{MemoryIo, VecFrame};
use sluice_wire::{MacAddr, arp, ethernet};

use super::*;
use crate::check::Counts;
use crate::profile::Profile;

impl Engine<MemoryIo> {
    /// A round in no time.
    fn round(&mut self, now: u64, sending: bool) {
        if sending {
            self.send(now);
        }
        self.receive(now);
    }
}

const HZ: u64 = 1_000_000_000;

/// Two ports, `a` and `b`, with a stream of these keys from one to the other.
fn engine(stream: &str) -> Engine<MemoryIo> {
    let text = format!(
        "[[port]]\nname = \"a\"\ndevice = \"net_null0\"\naddress = \"10.0.0.2\"\n\
         gateway = \"10.0.0.1\"\n\
         [[port]]\nname = \"b\"\ndevice = \"net_null1\"\ngateway_mac = \"02:00:00:00:00:fb\"\n\
         answers = [\"198.51.100.0/24\"]\n\
         [[stream]]\nfrom = \"a\"\nto = \"b\"\nsource = [\"10.0.0.2-10.0.0.17\"]\n\
         destination = [\"198.51.100.10\"]\n{stream}\n"
    );
    let profile = Profile::parse(&text).unwrap();
    let macs = [MacAddr([2, 0, 0, 0, 0, 0xa]), MacAddr([2, 0, 0, 0, 0, 0xb])];
    let stations = profile.stations(&macs).unwrap();
    Engine::new(MemoryIo::new(2), HZ, stations, profile.streams().unwrap())
}

/// Carries what port `from` sent to port `to`, as the wire makes it.
fn carry(
    engine: &mut Engine<MemoryIo>,
    from: usize,
    to: usize,
    mut wire: impl FnMut(usize, VecFrame) -> Vec<VecFrame>,
) {
    let sent: Vec<VecFrame> = engine.io.tx[from].drain(..).collect();
    for (number, frame) in sent.into_iter().enumerate() {
        engine.io.rx[to].extend(wire(number, frame));
    }
}

fn sound(_: usize, frame: VecFrame) -> Vec<VecFrame> {
    vec![frame]
}

/// Sends `rounds` bursts of 64 through a wire, and takes in what arrives.
fn through(
    engine: &mut Engine<MemoryIo>,
    rounds: u64,
    wire: impl FnMut(usize, VecFrame) -> Vec<VecFrame>,
) {
    engine.start(0);
    for round in 0..rounds {
        engine.round(round * 1000, true);
    }
    carry(engine, 0, 1, wire);
    for _ in 0..rounds {
        engine.round(rounds * 1000, false);
    }
    assert!(engine.io.rx[1].is_empty());
}

fn forward(engine: &Engine<MemoryIo>) -> Counts {
    engine.streams[0].forward.counts
}

#[test]
fn a_sound_wire_gives_no_complaint() {
    let mut engine = engine("flows = 1000\ncheck = \"full\"\nlatency = true");
    through(&mut engine, 40, sound);
    let counts = engine.streams[0].counts;
    assert_eq!((counts.sent, counts.received), (2560, 2560));
    assert_eq!(counts.sent_bytes, 2560 * 64);
    assert_eq!(
        forward(&engine),
        Counts {
            unique: 2560,
            ..Counts::default()
        }
    );
    let latency = engine.streams[0].forward.latency.as_ref().unwrap();
    assert_eq!((latency.len(), latency.min()), (2560, 1000));
    assert!(
        (39_900..=40_100).contains(&latency.max()),
        "{}",
        latency.max()
    );
}

#[test]
fn lost_packets_are_missed() {
    let mut engine = engine("check = \"stamp\"");
    through(&mut engine, 10, |number, frame| match number {
        100 | 101 | 639 => Vec::new(),
        _ => vec![frame],
    });
    assert_eq!(engine.streams[0].counts.sent, 640);
    assert_eq!(
        forward(&engine),
        Counts {
            unique: 637,
            ..Counts::default()
        }
    );
}

#[test]
fn repeated_packets_do_not_make_up_for_lost_ones() {
    let mut engine = engine("check = \"stamp\"");
    through(&mut engine, 10, |number, frame| match number {
        100 => Vec::new(),
        200 => vec![frame.clone(), frame],
        _ => vec![frame],
    });
    let counts = engine.streams[0].counts;
    assert_eq!(
        (counts.sent, counts.received),
        (640, 640),
        "counting is not enough"
    );
    assert_eq!(
        (forward(&engine).unique, forward(&engine).duplicates),
        (639, 1)
    );
}

#[test]
fn overtaken_packets_are_noticed() {
    for (scope, reordered) in [("stream", 1), ("flow", 0)] {
        let mut engine = engine(&format!("check = \"stamp\"\nsequence = \"{scope}\""));
        let mut held = None;
        through(&mut engine, 10, |number, frame| match number {
            100 => {
                held = Some(frame);
                Vec::new()
            }
            105 => [Some(frame), held.take()].into_iter().flatten().collect(),
            _ => vec![frame],
        });
        assert_eq!(forward(&engine).unique, 640);
        assert_eq!(forward(&engine).reordered, reordered, "{scope}");
    }
}

#[test]
fn damage_is_noticed_wherever_it_is() {
    // Addresses, ports, checksums, stamp, payload.
    for (at, corrupted, bad_checksums) in [
        (14 + 8, 0, 1),
        (14 + 13, 0, 1),
        (14 + 20, 0, 1),
        (14 + 26, 0, 1),
        (42, 1, 0),
        (42 + 5, 1, 0),
        (42 + 17, 1, 0),
        (200, 1, 0),
        (507, 1, 0),
    ] {
        let mut engine = engine("check = \"full\"\nsize = 512");
        through(&mut engine, 10, |number, mut frame| {
            if number == 77 {
                frame.bytes_mut()[at] ^= 0x10;
            }
            vec![frame]
        });
        let counts = forward(&engine);
        assert_eq!(
            (counts.corrupted, counts.bad_checksums, counts.unique),
            (corrupted, bad_checksums, 640 - corrupted),
            "byte {at}"
        );
    }
}

#[test]
fn damaged_payload_is_noticed_behind_a_recomputed_checksum() {
    let mut engine = engine("check = \"full\"\nsize = 128");
    through(&mut engine, 10, |number, mut frame| {
        if number == 3 {
            let bytes = frame.bytes_mut();
            bytes[100] ^= 1;
            let header = ipv4::parse(&bytes[14..]).unwrap();
            udp::seal::<V4>(header.addrs, &mut bytes[34..]);
        }
        vec![frame]
    });
    assert_eq!(
        (forward(&engine).corrupted, forward(&engine).bad_checksums),
        (1, 0)
    );
}

#[test]
fn every_flow_sends_once_in_a_warm_up() {
    let mut engine = engine("source_ports = \"1024-1150\"\nflows = 2000");
    engine.start_once(0, Order::Sequential, u32::MAX, 1e6);
    let mut tuples = HashSet::new();
    for ms in 0..10 {
        for _ in 0..20 {
            engine.round(ms * 1_000_000, true);
        }
        let due = ms * 1000;
        assert!(engine.streams[0].counts.sent <= due, "the rate is kept");
        for frame in engine.io.tx[0].drain(..) {
            assert!(tuples.insert(frame.bytes()[26..38].to_vec()));
        }
    }
    assert!(engine.streams[0].is_done());
    assert_eq!(tuples.len(), 2000);
}

#[test]
fn reflected_packets_return_from_the_servers() {
    let mut engine = engine("flows = 100\nreflect = true\ncheck = \"full\"");
    engine.start(0);
    engine.round(0, true);
    carry(&mut engine, 0, 1, sound);
    engine.round(1000, false);
    let reply = engine.io.tx[1][0].bytes().to_vec();
    assert_eq!(ethernet::dst(&reply), Some(MacAddr([2, 0, 0, 0, 0, 0xfb])));
    assert_eq!(ethernet::src(&reply), Some(MacAddr([2, 0, 0, 0, 0, 0xb])));
    assert_eq!(reply[26..30], [198, 51, 100, 10]);
    assert_eq!(reply[34..36], [0, 9]);
    assert!(checksums_ok(&reply));
    carry(&mut engine, 1, 0, sound);
    engine.round(2000, false);
    let stream = &engine.streams[0];
    assert_eq!((stream.counts.received, stream.counts.reflected), (64, 64));
    assert_eq!(stream.counts.returned, 64);
    assert_eq!(
        (stream.forward.counts.unique, stream.back.counts.unique),
        (64, 64)
    );
    assert_eq!(stream.back.counts.bad_checksums, 0);
}

#[test]
fn what_a_device_refuses_is_sent_later_and_not_counted_twice() {
    let mut engine = engine("check = \"stamp\"");
    engine.io.tx_room = 100;
    engine.start(0);
    for _ in 0..5 {
        engine.round(0, true);
    }
    assert_eq!(engine.streams[0].counts.sent, 100);
    assert_eq!(engine.streams[0].counts.refusals, 4);
    carry(&mut engine, 0, 1, sound);
    engine.round(0, true);
    engine.round(0, true);
    carry(&mut engine, 0, 1, sound);
    engine.round(0, false);
    let counts = engine.streams[0].counts;
    assert_eq!(counts.received, counts.sent);
    assert_eq!(forward(&engine).unique, counts.sent, "none is left out");
}

#[test]
fn packets_without_buffers_are_not_counted_as_sent() {
    let mut engine = engine("flows = 10");
    engine.io.pool = 10;
    engine.start(0);
    engine.round(0, true);
    engine.round(0, true);
    let counts = engine.streams[0].counts;
    assert_eq!((counts.sent, counts.no_buffer), (10, 2));
}

#[test]
fn the_gateway_is_found_and_servers_answer() {
    let mut engine = engine("flows = 10");
    assert!(!engine.resolve());
    engine.round(0, false);
    let question = engine.io.tx[0].pop_front().unwrap();
    let request = arp::Packet::parse(&question.bytes()[14..]).unwrap();
    assert_eq!(request.target_ip, Ipv4Addr::new(10, 0, 0, 1));
    let appliance = MacAddr([2, 0, 0, 0, 0, 9]);
    let mut reply = vec![0; 60];
    let header = ethernet::Header {
        dst: MacAddr([2, 0, 0, 0, 0, 0xa]),
        src: appliance,
        tci: None,
        ethertype: proto::ETHERTYPE_ARP,
    };
    header.write(&mut reply);
    reply[14..42].copy_from_slice(&request.reply(appliance).bytes());
    engine.io.rx[0].push_back(VecFrame::new(&reply, 60));
    engine.round(0, false);
    assert!(engine.resolve());
    // The appliance asks for a server.
    let request = arp::Packet::request(
        appliance,
        Ipv4Addr::new(198, 51, 100, 1),
        Ipv4Addr::new(198, 51, 100, 10),
    );
    reply[14..42].copy_from_slice(&request.bytes());
    engine.io.rx[1].push_back(VecFrame::new(&reply, 60));
    engine.round(0, false);
    let answer = engine.io.tx[1].pop_front().unwrap();
    let answer = arp::Packet::parse(&answer.bytes()[14..]).unwrap();
    assert_eq!(answer.sender_ip, Ipv4Addr::new(198, 51, 100, 10));
    assert_eq!(engine.ports[1].arp_answered, 1);
    // Packets go to the appliance from now on.
    engine.start(0);
    engine.round(0, true);
    assert_eq!(ethernet::dst(engine.io.tx[0][0].bytes()), Some(appliance));
}

#[test]
fn what_no_stream_sent_does_not_count() {
    let mut engine = engine("flows = 10");
    engine.start(0);
    for bytes in [&[0_u8; 60][..], &[], &[0x08; 13]] {
        engine.io.rx[1].push_back(VecFrame::new(bytes, 60));
    }
    let mut icmp = vec![0; 60];
    icmp[12..15].copy_from_slice(&[8, 0, 0x45]);
    icmp[23] = 1;
    engine.io.rx[1].push_back(VecFrame::new(&icmp, 60));
    engine.round(0, false);
    assert_eq!(
        (engine.streams[0].counts.received, engine.ports[1].foreign),
        (0, 4)
    );
}
