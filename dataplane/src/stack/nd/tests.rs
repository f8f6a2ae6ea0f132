use sluice_wire::icmp6;

use super::*;
use crate::groups::{GroupSet, Groups};
use crate::io::memory::VecFrame;
use crate::snapshot::{Local, LocalAddresses, PortId};
use crate::stack::neighbour::Learned;
use crate::stack::testing::{self, OURS, PEER, port, tagged};

const ID: PortId = PortId(3);

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn local() -> LocalAddresses {
    LocalAddresses::new([
        (ip("2001:db8::1").into(), Local::Own(ID)),
        (ip("fe80::1").into(), Local::Own(ID)),
        (ip("2001:db8::80").into(), Local::Vip),
        (ip("2001:db8:f::80").into(), Local::Vip),
    ])
}

/// A message from the peer's MAC address, hop limit 255.
fn frame(src: &str, dst: &str, message: &[u8]) -> Vec<u8> {
    let between = addrs(ip(src), ip(dst));
    let mut message = message.to_vec();
    icmp6::seal(between, &mut message);
    let to = match ip(dst) {
        group if group.is_multicast() => multicast_mac(group),
        _ => OURS,
    };
    let mut frame = testing::ethernet(to, PEER, 0x86dd);
    let header = ipv6::Build {
        traffic_class: 0,
        payload_len: message.len() as u16,
        next: 58,
        hop_limit: 255,
        addrs: between,
    };
    frame.extend(header.bytes());
    frame.extend(message);
    frame
}

/// Type, flags, target, and the option's kind with the peer's MAC address.
fn message(kind: u8, flags: u8, target: &str, option: Option<u8>) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    message.extend(ip(target).octets());
    if let Some(option) = option {
        message.extend([option, 1]);
        message.extend(PEER.0);
    }
    message
}

fn handled_on(port: &Port, bytes: &[u8]) -> Option<(Heard, Vec<u8>)> {
    let parsed = sluice_wire::parse(bytes, None, false).unwrap();
    let mut frame = VecFrame::new(bytes, 128);
    let local = local();
    let link = Link {
        id: ID,
        port,
        local: &local,
        groups: &Groups::default(),
        held: GroupSet::default(),
    };
    let heard = handle(&mut frame, &parsed, &link)?;
    Some((heard, frame.bytes().to_vec()))
}

fn handled(bytes: &[u8]) -> Option<(Heard, Vec<u8>)> {
    handled_on(&port(), bytes)
}

fn learned(addr: &str, mac: Option<MacAddr>, how: How) -> Option<Learned> {
    Some(Learned {
        port: ID,
        addr: ip(addr).into(),
        mac,
        how,
    })
}

#[test]
fn a_solicitation_becomes_the_advertisement_to_the_byte() {
    let solicitation = frame(
        "2001:db8::2",
        "ff02::1:ff00:1",
        &message(135, 0, "2001:db8::1", Some(1)),
    );
    let (heard, reply) = handled(&solicitation).unwrap();
    assert!(heard.answered && heard.conflict.is_none());
    assert_eq!(
        heard.learned,
        learned("2001:db8::2", Some(PEER), How::Request)
    );
    let mut expected = testing::ethernet(PEER, OURS, 0x86dd);
    expected.extend([0x60, 0, 0, 0, 0, 32, 58, 255]);
    expected.extend(ip("2001:db8::1").octets());
    expected.extend(ip("2001:db8::2").octets());
    // Router, solicited, override.
    expected.extend([136, 0, 0x0a, 0x73, 0xe0, 0, 0, 0]);
    expected.extend(ip("2001:db8::1").octets());
    expected.extend([2, 1, 2, 0, 0, 0, 0, 1]);
    assert_eq!(reply, expected);
}

#[test]
fn a_unicast_probe_without_option_is_answered_to_its_sender() {
    // Linux probes a stale neighbour like this: the answer is longer than the question.
    let probe = frame("fe80::2", "fe80::1", &message(135, 0, "fe80::1", None));
    let (heard, reply) = handled(&probe).unwrap();
    assert_eq!((heard.answered, heard.learned), (true, None));
    assert_eq!((&reply[..6], reply.len()), (&PEER.0[..], 14 + 72));
    let (_, on_vlan) = handled_on(&tagged(5), &probe).unwrap();
    assert_eq!(on_vlan[12..18], [0x81, 0, 0, 5, 0x86, 0xdd]);
    assert_eq!(on_vlan[18..], reply[14..]);
}

#[test]
fn who_checks_for_duplicates_is_told_by_multicast() {
    // RFC 4862 5.4.3.
    let check = frame(
        "::",
        "ff02::1:ff00:80",
        &message(135, 0, "2001:db8::80", None),
    );
    let (heard, reply) = handled(&check).unwrap();
    assert_eq!((heard.answered, heard.learned), (true, None));
    assert_eq!(reply[..6], [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(reply[38..54], ALL_NODES.octets());
    assert_eq!(reply[58], 0xa0, "router, not solicited, override");
    let between = addrs(ip("2001:db8::80"), ALL_NODES);
    assert!(icmp6::checksum_ok(between, &reply[54..]));
}

#[test]
fn only_addresses_of_ours_on_this_network_are_answered() {
    let answered = |dst: &str, target: &str| {
        let frame = frame("2001:db8::2", dst, &message(135, 0, target, Some(1)));
        let (heard, _) = handled(&frame).unwrap();
        assert_eq!(heard.answered, heard.learned.is_some());
        heard.answered
    };
    assert!(answered("ff02::1:ff00:80", "2001:db8::80"));
    assert!(
        !answered("ff02::1:ff00:80", "2001:db8:f::80"),
        "another network"
    );
    assert!(!answered("ff02::1:ff00:99", "2001:db8::99"), "nobody's");
    assert!(
        !answered("ff02::1:ff00:81", "2001:db8::80"),
        "a group that we are not in"
    );
}

#[test]
fn advertisements_teach_what_their_flags_say() {
    for (flags, router, solicited, overrides) in [
        (0xe0, true, true, true),
        (0x40, false, true, false),
        (0x20, false, false, true),
    ] {
        let how = How::Advert {
            solicited,
            overrides,
            router,
        };
        for (option, mac) in [(Some(2), Some(PEER)), (None, None)] {
            let advert = message(136, flags, "fe80::2", option);
            let (heard, _) = handled(&frame("fe80::2", "fe80::1", &advert)).unwrap();
            assert_eq!(
                (heard.answered, heard.learned),
                (false, learned("fe80::2", mac, how))
            );
        }
    }
}

#[test]
fn claims_to_our_addresses_are_conflicts_and_never_learnt() {
    let advert = message(136, 0x20, "2001:db8::80", Some(2));
    let claim = frame("2001:db8::80", "ff02::1", &advert);
    let conflict = Some(ip("2001:db8::80").into());
    assert_eq!(
        handled(&claim).unwrap().0,
        Heard {
            conflict,
            ..Heard::default()
        }
    );
    let mut own = claim;
    own[6..12].copy_from_slice(&OURS.0);
    assert_eq!(
        handled(&own).unwrap().0,
        Heard::default(),
        "our own, come back"
    );
    let off_link = frame(
        "2001:db8:9::2",
        "ff02::1",
        &message(136, 0x20, "2001:db8:9::2", Some(2)),
    );
    assert_eq!(handled(&off_link).unwrap().0, Heard::default());
}

#[test]
fn what_a_router_has_passed_on_or_damaged_is_refused() {
    let good = frame(
        "2001:db8::2",
        "2001:db8::1",
        &message(135, 0, "2001:db8::1", Some(1)),
    );
    assert!(handled(&good).is_some());
    for (at, value) in [(21, 254), (55, 1), (56, 0x55), (54 + 25, 0)] {
        let mut bad = good.clone();
        bad[at] = value;
        assert!(handled(&bad).is_none(), "byte {at}");
    }
}

#[test]
fn router_messages_are_ignored_quietly() {
    let mut advert = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    let (heard, _) = handled(&frame("fe80::2", "ff02::1", &advert)).unwrap();
    assert_eq!(heard, Heard::default());
    advert.truncate(8);
    advert[0] = 133;
    let (heard, _) = handled(&frame("fe80::2", "ff02::2", &advert)).unwrap();
    assert_eq!(heard, Heard::default());
}

#[test]
fn solicitations_and_announcements_parse_as_what_they_are() {
    let parsed = |bytes: &[u8]| {
        let parsed = sluice_wire::parse(bytes, None, false).unwrap();
        let between = parsed.key_v6(bytes, 0).addrs;
        let message = Message::parse(between, parsed.ttl, parsed.transport(bytes)).unwrap();
        (bytes[..6].to_vec(), V6::unpack(between), message)
    };
    let target = ip("2001:db8::12:3456");
    let solicitation = Message::NeighbourSolicitation {
        target,
        source_mac: Some(OURS),
    };
    let from: IpAddr = ip("2001:db8::1").into();
    let mut out = VecFrame::new(&[], 128);
    assert!(solicit(&port(), target, None, &mut out));
    let group = ip("ff02::1:ff12:3456").into();
    let mac = vec![0x33, 0x33, 0xff, 0x12, 0x34, 0x56];
    assert_eq!(parsed(out.bytes()), (mac, (from, group), solicitation));
    assert!(solicit(&port(), target, Some(PEER), &mut out));
    assert_eq!(
        parsed(out.bytes()),
        (PEER.0.to_vec(), (from, target.into()), solicitation)
    );
    assert!(solicit(&port(), ip("fe80::9"), None, &mut out));
    assert_eq!(parsed(out.bytes()).1.0, IpAddr::from(ip("fe80::1")));
    assert!(announce(&port(), OURS, ip("2001:db8::80"), &mut out));
    let (mac, between, message) = parsed(out.bytes());
    assert_eq!(mac, [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(between, (ip("2001:db8::80").into(), ALL_NODES.into()));
    assert_eq!(message, advertisement(OURS, ip("2001:db8::80"), false));
}
