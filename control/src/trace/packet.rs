//! A frame made of the fields that somebody named.

use std::net::IpAddr;

use sluice_dataplane::snapshot::Port;
use sluice_wire::checksum::Sum;
use sluice_wire::proto::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use sluice_wire::{Family, V4, V6, proto};

use super::{TraceFault, TraceQuery};
use crate::config::protocol_number;

/// Largest frame that is taken, bytes.
const LARGEST: usize = 16_384;
/// Whoever sent it: a locally administered address.
const SENDER: [u8; 6] = [0x02, 0, 0, 0, 0, 0xfe];
/// The flags of TCP, from the lowest bit on.
const FLAGS: &str = "FSRPAUEC";

fn fault(key: &'static str, found: impl Into<String>, remedy: &'static str) -> TraceFault {
    TraceFault {
        key,
        found: found.into(),
        remedy,
    }
}

/// The frame that a question means, and the VLAN tag that the device takes out of it.
pub(crate) fn frame(query: &TraceQuery, port: &Port) -> Result<(Vec<u8>, Option<u16>), TraceFault> {
    let tag = query.vlan.or(port.vlan);
    if let Some(text) = &query.frame {
        let frame = hex(text)?;
        // One that has its tag in itself is as the wire has it.
        let tagged = matches!(frame.get(12..14), Some([0x81, 0x00]));
        return Ok((frame, tag.filter(|_| !tagged)));
    }
    let missing = "it is missing";
    let source = query.source;
    let source = source.ok_or_else(|| fault("source", missing, "write an address, or a frame"))?;
    let destination = query.destination;
    let destination =
        destination.ok_or_else(|| fault("destination", missing, "write an address, or a frame"))?;
    let name = query.protocol.as_deref().unwrap_or("tcp");
    let number = protocol_number(name).ok_or_else(|| {
        fault(
            "protocol",
            format!("{name:?} is not known"),
            "write tcp, udp, icmp or a number",
        )
    })?;
    let number = match (number, source) {
        (proto::ICMP, IpAddr::V6(_)) => proto::ICMPV6,
        _ => number,
    };
    let body = body(query, number)?;
    let mut packet = match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let addrs = V4::pack(from.into(), to.into());
            let mut header = vec![0x45, 0];
            header.extend((20 + body.len() as u16).to_be_bytes());
            header.extend([0, 1, 0, 0, query.ttl.unwrap_or(64), number, 0, 0]);
            header.extend(from.octets());
            header.extend(to.octets());
            let sum = Sum::default().bytes(&header).checksum();
            header[10..12].copy_from_slice(&sum.to_ne_bytes());
            header.extend(summed::<V4>(body, number, addrs));
            header
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let addrs = V6::pack(from.into(), to.into());
            let mut header = vec![0x60, 0, 0, 0];
            header.extend((body.len() as u16).to_be_bytes());
            header.extend([number, query.ttl.unwrap_or(64)]);
            header.extend(from.octets());
            header.extend(to.octets());
            header.extend(summed::<V6>(body, number, addrs));
            header
        }
        _ => {
            let found = "it is not of the source's family";
            return Err(fault(
                "destination",
                found,
                "write two addresses of one family",
            ));
        }
    };
    let ethertype = match source {
        IpAddr::V4(_) => ETHERTYPE_IPV4,
        IpAddr::V6(_) => ETHERTYPE_IPV6,
    };
    let mut frame = [&port.mac.0[..], &SENDER, &ethertype.to_be_bytes()].concat();
    frame.append(&mut packet);
    Ok((frame, tag))
}

/// Transport header and payload, without a checksum.
fn body(query: &TraceQuery, number: u8) -> Result<Vec<u8>, TraceFault> {
    let payload = usize::from(query.payload.unwrap_or(0));
    if payload > 9000 {
        let found = format!("{payload} bytes are more than a packet has");
        return Err(fault("payload", found, "write up to 9000"));
    }
    let (sport, dport) = (query.source_port.unwrap_or(40_000), query.destination_port);
    let needs_port = || fault("destination_port", "it is missing", "write a port");
    let ports = |dport: u16| [sport.to_be_bytes(), dport.to_be_bytes()].concat();
    let mut body = match number {
        proto::TCP => {
            let flags = flags(query.flags.as_deref().unwrap_or("S"))?;
            let mut header = ports(dport.ok_or_else(needs_port)?);
            header.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            header
        }
        proto::UDP => {
            let mut header = ports(dport.ok_or_else(needs_port)?);
            header.extend((8 + payload as u16).to_be_bytes());
            header.extend([0, 0]);
            header
        }
        proto::ICMP | proto::ICMPV6 => {
            let request = if number == proto::ICMP { 8 } else { 128 };
            let [high, low] = sport.to_be_bytes();
            vec![request, 0, 0, 0, high, low, 0, 1]
        }
        _ => Vec::new(),
    };
    body.resize(body.len() + payload, 0);
    Ok(body)
}

fn summed<F: Family>(mut body: Vec<u8>, number: u8, addrs: F::Addrs) -> Vec<u8> {
    let at = match number {
        proto::TCP => 16,
        proto::UDP => 6,
        proto::ICMP | proto::ICMPV6 => 2,
        _ => return body,
    };
    let sum = match number {
        proto::ICMP => Sum::default(),
        _ => Sum::default().pseudo::<F>(addrs, number, body.len() as u32),
    };
    let sum = sum.bytes(&body);
    let sum = match number {
        proto::UDP => sum.checksum_udp(),
        _ => sum.checksum(),
    };
    if let Some(place) = body.get_mut(at..at + 2) {
        place.copy_from_slice(&sum.to_ne_bytes());
    }
    body
}

fn flags(text: &str) -> Result<u8, TraceFault> {
    text.chars().try_fold(0, |flags, letter| {
        let bit = FLAGS.find(letter.to_ascii_uppercase());
        let bit = bit.ok_or_else(|| {
            let found = format!("{letter:?} is no flag");
            fault(
                "flags",
                found,
                "write letters of FSRPAUEC, or nothing for none",
            )
        })?;
        Ok(flags | 1 << bit)
    })
}

fn hex(text: &str) -> Result<Vec<u8>, TraceFault> {
    let wrong = |found: &str| fault("frame", found, "write an Ethernet frame in hexadecimal");
    let plain = text.chars().filter(|c| !c.is_whitespace() && *c != ':');
    let digits = plain.map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
    let digits = digits.collect::<Option<Vec<u8>>>();
    let digits = digits.ok_or_else(|| wrong("there is something else than hexadecimal digits"))?;
    if digits.len() % 2 != 0 {
        return Err(wrong("the number of digits is odd"));
    }
    match digits.len() / 2 {
        0 => Err(wrong("it is empty")),
        LARGEST.. => Err(wrong("it is longer than a frame")),
        _ => Ok(digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()),
    }
}

#[cfg(test)]
mod tests {
    use sluice_dataplane::io::DeviceId;
    use sluice_wire::MacAddr;
    use sluice_wire::parse::{Kind, parse};

    use super::*;

    fn port() -> Port {
        Port {
            name: "inside".into(),
            device: DeviceId(0),
            vlan: Some(7),
            zone: 0,
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            addresses: vec![],
            clamp_mss: false,
        }
    }

    #[test]
    fn fields_become_a_frame_that_parses_as_they_say() {
        for (protocol, from, to) in [
            ("tcp", "10.0.0.7", "198.51.100.9"),
            ("udp", "10.0.0.7", "198.51.100.9"),
            ("icmp", "10.0.0.7", "198.51.100.9"),
            ("47", "10.0.0.7", "198.51.100.9"),
            ("tcp", "2001:db8::7", "2001:db8::9"),
            ("icmp", "2001:db8::7", "2001:db8::9"),
        ] {
            let query = TraceQuery {
                source: from.parse().ok(),
                destination: to.parse().ok(),
                protocol: Some(protocol.to_owned()),
                destination_port: Some(80),
                flags: Some("sa".to_owned()),
                ttl: Some(9),
                payload: Some(33),
                ..TraceQuery::default()
            };
            let (frame, tag) = frame(&query, &port()).expect("a packet");
            assert_eq!(tag, Some(7));
            let parsed = parse(&frame, tag, false).expect("a good one");
            assert_eq!(
                (parsed.kind, parsed.ttl),
                (Kind::Session, 9),
                "{protocol} {from}"
            );
            let tuple = match parsed.v6 {
                true => parsed.key_v6(&frame, 0).tuple::<V6>(),
                false => parsed.key_v4(&frame, 0).tuple::<V4>(),
            };
            assert_eq!(
                (Some(tuple.src), Some(tuple.dst)),
                (query.source, query.destination)
            );
            if protocol == "tcp" {
                assert_eq!(
                    (tuple.sport, tuple.dport, parsed.tcp_flags),
                    (40_000, 80, 0x12)
                );
            }
        }
    }

    #[test]
    fn a_frame_in_hexadecimal_is_taken_as_it_is() {
        let with = |text: &str| {
            let query = TraceQuery {
                frame: Some(text.to_owned()),
                ..TraceQuery::default()
            };
            frame(&query, &port())
        };
        assert_eq!(with("02:00 0a"), Ok((vec![2, 0, 10], Some(7))));
        let tagged = "020000000001 020000000002 8100 0007 0800";
        assert_eq!(with(tagged).expect("a frame").1, None);
        for (text, found) in [
            ("", "it is empty"),
            ("0", "the number of digits is odd"),
            ("0x", "there is something else than hexadecimal digits"),
            (&"00".repeat(LARGEST), "it is longer than a frame"),
        ] {
            assert_eq!(with(text).expect_err("wrong").found, found);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut query = TraceQuery::default();
        let key = |query: &TraceQuery| frame(query, &port()).expect_err("wrong").key;
        assert_eq!(key(&query), "source");
        query.source = "10.0.0.7".parse().ok();
        assert_eq!(key(&query), "destination");
        query.destination = "2001:db8::1".parse().ok();
        query.destination_port = Some(1);
        assert_eq!(key(&query), "destination", "another family");
        query.destination = "10.0.0.8".parse().ok();
        query.flags = Some("SX".to_owned());
        assert_eq!(key(&query), "flags");
        query.protocol = Some("tpc".to_owned());
        assert_eq!(key(&query), "protocol");
        query.protocol = Some("udp".to_owned());
        query.destination_port = None;
        assert_eq!(key(&query), "destination_port");
        query.payload = Some(9001);
        assert_eq!(key(&query), "payload");
    }
}
