use std::net::IpAddr;

use proptest::prelude::*;
use sluice_wire::{Key, Kind, V4, V6, parse_plain};

use super::testing::*;
use super::vectors::*;
use super::*;

const REMOTE: &str = "198.51.100.7";

/// The pair's first packet is of `arrives`, and becomes the second when it leaves as `leaves`.
fn check<F: Family>(pair: Pair, arrives: Tuple, leaves: Tuple) {
    let mut frame = hex(pair.0);
    let parsed = parsed(&frame);
    let flow = flow::<F>(&arrives, &leaves);
    if parsed.kind != Kind::FragmentRest {
        assert!(flow.matches(&parsed.key::<F>(&frame, 0)), "{arrives}");
    }
    let mut plain = frame.clone();
    apply(&flow, &mut frame, &parsed);
    assert_eq!(dump(&frame), pair.1);
    if parse_plain::<F>(&plain, None, false).is_some() {
        apply_plain(&flow, &mut plain);
        assert_eq!(dump(&plain), pair.1, "the short way");
    }
}

/// 10.0.0.5:4660 as 192.0.2.1:40000, to a port of REMOTE.
fn source(pair: Pair, proto: u8, dport: u16) {
    check::<V4>(
        pair,
        tuple(proto, "10.0.0.5", 4660, REMOTE, dport),
        tuple(proto, "192.0.2.1", 40000, REMOTE, dport),
    );
}

#[test]
fn tcp_with_timestamps() {
    source(TCP, proto::TCP, 443);
}

/// Pitfall 9: IP options shift the transport header.
#[test]
fn tcp_behind_ip_options() {
    source(TCP_IP_OPTIONS, proto::TCP, 443);
}

/// Pitfall 8: no checksum stays no checksum.
#[test]
fn udp_without_checksum() {
    source(UDP0, proto::UDP, 53);
}

/// Pitfall 8: a checksum that comes out as 0 is sent as 0xffff.
#[test]
fn udp_whose_checksum_becomes_zero() {
    source(UDP_FFFF, proto::UDP, 53);
}

#[test]
fn echo_and_its_reply() {
    let request = tuple(proto::ICMP, "10.0.0.5", 0x1111, REMOTE, 0);
    let outside = tuple(proto::ICMP, "192.0.2.1", 0x2222, REMOTE, 0);
    check::<V4>(ECHO, request, outside);
    check::<V4>(ECHO_REPLY, outside.reverse(), request.reverse());
}

#[test]
fn first_fragments_are_translated_as_whole_packets() {
    source(FRAG_FIRST, proto::UDP, 53);
}

/// Pitfall 9: what looks like a transport header in a later fragment is payload.
#[test]
fn later_fragments_change_in_their_addresses_only() {
    source(FRAG, proto::UDP, 53);
}

/// Pitfall 26.
#[test]
fn other_protocols_change_in_their_addresses_only() {
    check::<V4>(
        GRE,
        tuple(47, "10.0.0.5", 0, REMOTE, 0),
        tuple(47, "192.0.2.1", 0, REMOTE, 0),
    );
}

#[test]
fn udp_lite_has_the_addresses_in_its_checksum() {
    check::<V4>(
        LITE,
        tuple(UDP_LITE, "10.0.0.5", 0, REMOTE, 0),
        tuple(UDP_LITE, "192.0.2.1", 0, REMOTE, 0),
    );
}

#[test]
fn ipv6_full_nat() {
    check::<V6>(
        UDP6,
        tuple(proto::UDP, "2001:db8::5", 4660, "2001:db8:f::80", 80),
        tuple(proto::UDP, "2001:db8:f::1", 40000, "2001:db8:1::9", 8080),
    );
}

/// ICMPv6 has the addresses in its checksum, ICMP has not.
#[test]
fn ipv6_echo() {
    check::<V6>(
        ECHO6,
        tuple(proto::ICMPV6, "2001:db8::5", 0x1111, "2001:db8:1::9", 0),
        tuple(proto::ICMPV6, "2001:db8:f::1", 0x2222, "2001:db8:1::9", 0),
    );
}

/// What is only forwarded keeps every byte but TTL and IP checksum, a wrong transport checksum
/// included.
#[test]
fn without_translation_only_the_ttl_changes() {
    let mut frame = hex(TCP.0);
    frame[50] = 0xff;
    frame[51] = 0xff;
    let before = frame.clone();
    let own = tuple(proto::TCP, "10.0.0.5", 4660, REMOTE, 443);
    let flow = flow::<V4>(&own, &own);
    assert_eq!(flow.flags & flags::TRANSLATE, 0);
    apply(&flow, &mut frame, &parsed(&before));
    assert_eq!(frame[22], 63);
    assert!(ipv4::checksum_ok(&frame[14..], 20));
    for (at, (old, new)) in before.iter().zip(&frame).enumerate() {
        assert!(old == new || [22, 24, 25].contains(&at), "byte {at}");
    }
}

/// A packet damaged on its way must not be sealed as if it were sound.
#[test]
fn damage_stays_visible() {
    let mut frame = hex(TCP.0);
    let last = frame.len() - 1;
    frame[last] ^= 0x40;
    let mut expected = hex(TCP.1);
    expected[last] ^= 0x40;
    let parsed = parsed(&frame);
    let flow = flow::<V4>(
        &tuple(proto::TCP, "10.0.0.5", 4660, REMOTE, 443),
        &tuple(proto::TCP, "192.0.2.1", 40000, REMOTE, 443),
    );
    apply(&flow, &mut frame, &parsed);
    assert_eq!(dump(&frame), dump(&expected));
}

#[test]
fn only_syns_are_clamped() {
    let own = tuple(proto::TCP, "10.0.0.5", 4660, REMOTE, 443);
    let mut syn = ethernet(false, &packet(&own, 64, &[2, 4, 0x05, 0xb4], true));
    syn[14 + 20 + 12] = 0x60;
    let mut ack = syn.clone();
    let before = parsed(&ack);
    assert!(!clamp_mss(&mut ack, &before, 1200));
    assert_eq!(ack, syn);
    syn[14 + 20 + 13] = 2;
    let before = parsed(&syn);
    assert!(clamp_mss(&mut syn, &before, 1200));
    assert_eq!(syn[54..], [2, 4, 0x04, 0xb0]);
    assert!(!clamp_mss(&mut syn, &before, 1400), "a smaller one stays");
}

/// Host addresses that parsing lets pass.
pub(super) fn any_ip(v6: bool) -> BoxedStrategy<IpAddr> {
    if v6 {
        any::<u128>()
            .prop_map(|bits| IpAddr::V6((0x2 << 124 | bits >> 4).into()))
            .boxed()
    } else {
        (1u8..127, any::<[u8; 3]>())
            .prop_map(|(a, [b, c, d])| IpAddr::from([a, b, c, d]))
            .boxed()
    }
}

/// A tuple and what it may become, of TCP, UDP, echo (request or reply) or a protocol without ports.
pub(super) fn any_pair() -> impl Strategy<Value = (Tuple, Tuple)> {
    (any::<bool>(), prop::sample::select(vec![6u8, 17, 1, 47])).prop_flat_map(|(v6, proto)| {
        let proto = if v6 && proto == 1 { 58 } else { proto };
        let ips = || any_ip(v6);
        let ports = any::<[u16; 4]>();
        (ips(), ips(), ips(), ips(), ports, any::<bool>()).prop_map(
            move |(src, dst, new_src, new_dst, [a, b, c, d], request)| {
                let ports = |x: u16, y: u16| match proto {
                    6 | 17 => (x, y),
                    1 | 58 if request => (x | 1, 0),
                    1 | 58 => (0, x | 1),
                    _ => (0, 0),
                };
                let make = |src, dst, (sport, dport)| Tuple {
                    proto,
                    src,
                    dst,
                    sport,
                    dport,
                };
                (
                    make(src, dst, ports(a, b)),
                    make(new_src, new_dst, ports(c, d)),
                )
            },
        )
    })
}

fn there_and_back<F: Family>(
    arrives: &Tuple,
    leaves: &Tuple,
    payload: &[u8],
    checksum: bool,
) -> Result<(), TestCaseError> {
    let build = |tuple, ttl| {
        let mut frame = ethernet(F::IS_V6, &packet(tuple, ttl, payload, checksum));
        frame.extend([0xa5; 7]);
        frame
    };
    let mut frame = build(arrives, 64);
    let parsed = parsed(&frame);
    prop_assert_eq!(parsed.key::<F>(&frame, 0), Key::new::<F>(arrives, 0));
    apply(&flow::<F>(arrives, leaves), &mut frame, &parsed);
    prop_assert_eq!(dump(&frame), dump(&build(leaves, 63)));
    apply(&flow::<F>(leaves, arrives), &mut frame, &parsed);
    prop_assert_eq!(dump(&frame), dump(&build(arrives, 62)));
    Ok(())
}

proptest! {
    /// The edit gives the very bytes that building the packet anew gives, padding untouched; and
    /// the reverse edit gives the packet back.
    #[test]
    fn editing_is_building_anew_and_back_again(
        (arrives, leaves) in any_pair(),
        payload in prop::collection::vec(any::<u8>(), 0..80), checksum in any::<bool>(),
    ) {
        if arrives.src.is_ipv4() {
            there_and_back::<V4>(&arrives, &leaves, &payload, checksum)?;
        } else {
            there_and_back::<V6>(&arrives, &leaves, &payload, checksum)?;
        }
    }
}
