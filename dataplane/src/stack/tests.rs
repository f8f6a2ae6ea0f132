//! What must hold for any frame that parses.

use proptest::prelude::*;
use sluice_wire::parse::{Kind, ParseError};

use super::link::Link;
use super::testing::{self, port, tagged};
use super::*;
use crate::groups::{GroupSet, Groups};
use crate::io::Frame;
use crate::io::memory::VecFrame;
use crate::snapshot::{Local, LocalAddresses, Port, PortId};

/// One frame of each kind that this stack deals with.
fn samples() -> Vec<Vec<u8>> {
    let link = port();
    let mut out = VecFrame::new(&[], 2048);
    let mut samples = vec![
        testing::ping_v4(b"abcdefgh", &[]),
        testing::ping_v4(b"abcdefgh", &[7, 7, 4, 0, 0, 0, 0, 0]),
        testing::ping_v6(b"abcdefgh"),
        testing::udp_v4(&[7; 100]),
        testing::udp_v6(&[7; 100]),
        testing::tcp(false, 1, 2, 0x10, b"abcdefgh"),
        testing::tcp(true, 1, 0, 2, b""),
    ];
    arp::solicit(&link, [10, 0, 0, 1].into(), None, &mut out);
    samples.push(out.bytes().to_vec());
    let ours = "2001:db8::1".parse().unwrap();
    nd::solicit(&link, ours, None, &mut out);
    samples.push(out.bytes().to_vec());
    nd::announce(&link, link.mac, ours, &mut out);
    samples.push(out.bytes().to_vec());
    samples
}

/// Gives a frame to everything that could be given it.
fn exercise(bytes: &[u8], port: &Port) {
    let Ok(parsed) = sluice_wire::parse(bytes, None, false) else {
        return;
    };
    let local = LocalAddresses::new(
        port.addresses
            .iter()
            .map(|own| (own.addr(), Local::Own(PortId(0)))),
    );
    let link = Link {
        id: PortId(0),
        port,
        local: &local,
        groups: &Groups::default(),
        held: GroupSet::default(),
    };
    let frame = || VecFrame::new(bytes, 2048);
    let answered = |frame: &VecFrame| {
        let answer = sluice_wire::parse(frame.bytes(), None, false).expect("answers are sound");
        assert_eq!(answer.vlan, port.vlan);
        assert_eq!(frame.bytes()[6..12], port.mac.0);
    };
    match parsed.kind {
        Kind::Arp => {
            let mut frame = frame();
            if arp::handle(&mut frame, &parsed, &link).is_some_and(|heard| heard.answered) {
                answered(&frame);
            }
        }
        Kind::NeighbourDiscovery => {
            let mut frame = frame();
            if nd::handle(&mut frame, &parsed, &link).is_some_and(|heard| heard.answered) {
                answered(&frame);
            }
        }
        Kind::MulticastListener => {
            mld::is_query(bytes, &parsed);
        }
        Kind::Session | Kind::IcmpError | Kind::FragmentFirst | Kind::FragmentRest => {
            let mut frame = frame();
            // A mutated echo request may have a source that is no station for its reply to go to.
            if echo::reply(&mut frame, &parsed, port) {
                assert_eq!(frame.bytes()[6..12], port.mac.0);
            }
            let mut frame = VecFrame::new(bytes, 2048);
            if reset::reply(&mut frame, &parsed, port) {
                assert_eq!(frame.bytes()[6..12], port.mac.0);
            }
        }
    }
    let mut out = VecFrame::new(&[], 2048);
    if icmp::error(icmp::Error::TooBig(1280), bytes, &parsed, port, &mut out) {
        // About a later fragment it says nothing of a session, but is sound.
        match sluice_wire::parse(out.bytes(), None, false) {
            Ok(error) => assert_eq!(error.kind, Kind::IcmpError),
            Err(why) => assert_eq!(why, ParseError::IcmpUnrelated),
        }
    }
    if let Some(piece) = fragment::Piece::of(&parsed, bytes, 0) {
        let limits = fragment::Limits::default();
        let mut table = fragment::Reassembly::new(limits, 0, 1, [1, 2, 3, 4]);
        table.input(&piece, frame(), 0, 0);
        table.clear(crate::counters::DropReason::FragmentTimeout);
        while table.pop().is_some() {}
        assert_eq!(table.frames(), 0);
    }
    for mtu in [0, 28, 68, 90] {
        let alloc = || Some(VecFrame::new(&[], 2048));
        let _ = split::split(frame(), usize::from(parsed.l3), mtu, Some(1), alloc);
    }
}

#[test]
fn the_samples_are_what_they_should_be() {
    for sample in samples() {
        sluice_wire::parse(&sample, None, false).unwrap();
        exercise(&sample, &port());
        exercise(&sample, &tagged(7));
    }
}

proptest! {
    #[test]
    fn no_frame_makes_the_stack_panic(
        nth in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        len in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let samples = samples();
        let mut bytes = samples[nth.index(samples.len())].clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cut {
            bytes.truncate(len.index(bytes.len()));
        }
        if bytes.get(12..14) == Some(&[8, 0]) {
            testing::reseal(&mut bytes, 14);
        }
        exercise(&bytes, &port());
        exercise(&bytes, &tagged(7));
    }
}
