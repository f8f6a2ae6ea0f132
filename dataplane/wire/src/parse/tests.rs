use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::bytes::put_be16;
use crate::samples;
use crate::tuple::Tuple;

mod icmp;
mod v4;
mod v6;

const A: &str = "10.0.0.5:40000";
const B: &str = "198.51.100.7:53";
const A6: &str = "[2001:db8::5]:40000";
const B6: &str = "[2001:db8:1::7]:53";

/// A sample's bytes, and what they parse to.
fn sample(text: &str) -> (Vec<u8>, Parsed) {
    let frame = samples::bytes(text);
    let parsed = parse(&frame, None, false).unwrap();
    (frame, parsed)
}

fn error(text: &str) -> ParseError {
    parse(&samples::bytes(text), None, false).unwrap_err()
}

/// Parses a sample after `change`, with the IPv4 header checksum made right again.
fn changed(text: &str, change: impl FnOnce(&mut Vec<u8>)) -> Result<Parsed, ParseError> {
    let mut frame = samples::bytes(text);
    change(&mut frame);
    if frame[12..14] == [8, 0] {
        ipv4::reseal(&mut frame[14..]);
    }
    parse(&frame, None, false)
}

/// The tuple that the key of a packet unpacks to.
fn tuple_of(frame: &[u8], parsed: &Parsed) -> Tuple {
    if parsed.v6 {
        parsed.key_v6(frame, 0).tuple::<V6>()
    } else {
        parsed.key_v4(frame, 0).tuple::<V4>()
    }
}

fn tuple(proto: u8, src: &str, dst: &str) -> Tuple {
    let end = |text: &str| -> (IpAddr, u16) {
        match text.parse::<SocketAddr>() {
            Ok(socket) => (socket.ip(), socket.port()),
            Err(_) => (text.parse().unwrap(), 0),
        }
    };
    let ((src, sport), (dst, dport)) = (end(src), end(dst));
    Tuple {
        proto,
        src,
        dst,
        sport,
        dport,
    }
}

#[test]
fn a_parsed_frame_takes_less_than_half_a_cache_line() {
    assert!(size_of::<Result<Parsed, ParseError>>() <= 28);
}

#[test]
fn every_truncation_of_every_kind_is_an_error_and_says_so() {
    for text in samples::ALL {
        let frame = samples::bytes(text);
        let whole = parse(&frame, None, false);
        // Padding may be missing.
        let end = whole.map_or(frame.len(), |parsed| usize::from(parsed.end));
        for len in 0..end {
            let cut = parse(&frame[..len], None, false);
            match whole {
                Ok(parsed) if parsed.kind == Kind::Arp && len >= 14 => {
                    assert_eq!(crate::arp::Packet::parse(&frame[14..len.min(41)]), None);
                }
                Ok(_) => assert_eq!(cut, Err(ParseError::Truncated), "{text} cut to {len}"),
                Err(_) => assert!(cut.is_err(), "{text} cut to {len}"),
            }
        }
        if let Ok(parsed) = whole {
            assert_eq!(
                parse(&frame[..end], None, false).map(|p| p.l4),
                Ok(parsed.l4)
            );
        }
    }
}

#[test]
fn arp_is_told_from_its_ethertype() {
    let (frame, parsed) = sample(samples::ARP_REQUEST);
    assert_eq!((parsed.kind, parsed.l3), (Kind::Arp, 14));
    let packet = crate::arp::Packet::parse(parsed.packet(&frame)).unwrap();
    assert_eq!(packet.target_ip.octets(), [192, 0, 2, 254]);
}

#[test]
fn other_ethertypes_are_refused() {
    assert_eq!(error(samples::LLDP), ParseError::EtherType);
    // IEEE 802.3 with a length in place of the type.
    let length = changed(samples::V4_UDP, |frame| frame[12..14].fill(0));
    assert_eq!(length, Err(ParseError::EtherType));
}

#[test]
fn tags_in_the_frame_and_taken_out_of_it_mean_the_same() {
    let (_, parsed) = sample(samples::V4_TAGGED);
    assert_eq!((parsed.vlan, parsed.l3, parsed.l4), (Some(100), 18, 38));
    let (_, parsed) = sample(samples::V6_TAGGED);
    assert_eq!((parsed.vlan, parsed.l3, parsed.l4), (Some(100), 18, 58));
    for text in [samples::V4_UDP, samples::V6_UDP, samples::V4_TCP_OPTIONS] {
        let frame = samples::bytes(text);
        let vlan = |tci| parse(&frame, tci, false).unwrap().vlan;
        assert_eq!(vlan(Some(0x6064)), Some(100));
        assert_eq!(vlan(Some(0xa000)), None, "a priority tag is no VLAN");
        assert_eq!(vlan(None), None);
    }
    let (frame, parsed) = sample(samples::V4_PRIORITY);
    assert_eq!((parsed.vlan, parsed.l3), (None, 18));
    assert_eq!(tuple_of(&frame, &parsed), tuple(17, A, B));
}

#[test]
fn two_tags_are_one_too_many() {
    assert_eq!(error(samples::V4_TWO_TAGS), ParseError::EtherType);
    let frame = samples::bytes(samples::V4_TAGGED);
    assert_eq!(
        parse(&frame, Some(100), false),
        Err(ParseError::EtherType),
        "one taken out, one left"
    );
}
