//! What the tests of rewriting share: packets from tuples, and from hex.

use std::net::IpAddr;

use sluice_wire::{Family, Key, Parsed, Sum, Tuple, V4, V6, ipv4, ipv6, key, parse, proto};

use super::compile;
use crate::session::flow::Flow;

/// Bytes of a hex dump.
pub(super) fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// The dump of bytes, so that a difference can be read.
pub(super) fn dump(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn parsed(frame: &[u8]) -> Parsed {
    parse(frame, None, false).unwrap()
}

pub(super) fn tuple(proto: u8, src: &str, sport: u16, dst: &str, dport: u16) -> Tuple {
    Tuple {
        proto,
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        sport,
        dport,
    }
}

pub(super) fn flow<F: Family>(arrives: &Tuple, leaves: &Tuple) -> Flow<F> {
    let mut flow = Flow::<F>::new(&Key::new::<F>(arrives, 0));
    compile(&mut flow, leaves);
    flow
}

/// An Ethernet frame around an IP packet.
pub(super) fn ethernet(v6: bool, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(if v6 { [0x86, 0xdd] } else { [0x08, 0x00] });
    frame.extend(packet);
    frame
}

/// A whole IP packet of a tuple, sealed by summing everything up. `checksum`: UDP over IPv4 has one.
pub(super) fn packet(tuple: &Tuple, ttl: u8, payload: &[u8], checksum: bool) -> Vec<u8> {
    let ports = key::pack_ports(tuple.sport, tuple.dport).to_ne_bytes();
    let mut body = match tuple.proto {
        proto::TCP => {
            let mut header = vec![0; 20];
            header[..4].copy_from_slice(&ports);
            header[4..8].copy_from_slice(&[1, 2, 3, 4]);
            header[12] = 0x50;
            header[13] = 0x10;
            header
        }
        proto::UDP => {
            let mut header = ports.to_vec();
            header.extend((8 + payload.len() as u16).to_be_bytes());
            header.extend([0, 0]);
            header
        }
        proto::ICMP | proto::ICMPV6 => {
            let request = tuple.sport != 0;
            let kind = match (tuple.proto, request) {
                (proto::ICMP, true) => 8,
                (proto::ICMP, false) => 0,
                (_, true) => 128,
                (_, false) => 129,
            };
            let id = (tuple.sport | tuple.dport).to_be_bytes();
            vec![kind, 0, 0, 0, id[0], id[1], 0, 1]
        }
        _ => vec![],
    };
    body.extend(payload);
    seal(tuple, &mut body, checksum);
    headed(tuple, tuple.proto, ttl, &body)
}

/// Writes the transport checksum of a message between a tuple's addresses.
fn seal(tuple: &Tuple, body: &mut [u8], checksum: bool) {
    let len = body.len() as u32;
    let pseudo = match (tuple.src, tuple.proto) {
        (IpAddr::V4(_), proto::ICMP) => Sum::ZERO,
        (IpAddr::V4(_), proto) => {
            Sum::ZERO.pseudo::<V4>(V4::pack(tuple.src, tuple.dst), proto, len)
        }
        (IpAddr::V6(_), proto) => {
            Sum::ZERO.pseudo::<V6>(V6::pack(tuple.src, tuple.dst), proto, len)
        }
    };
    let sum = pseudo.bytes(body);
    let (at, value) = match tuple.proto {
        proto::TCP => (16, sum.checksum()),
        proto::UDP if checksum || tuple.src.is_ipv6() => (6, sum.checksum_udp()),
        proto::ICMP | proto::ICMPV6 => (2, sum.checksum()),
        _ => return,
    };
    body[at..at + 2].copy_from_slice(&value.to_ne_bytes());
}

/// An IP header between a tuple's addresses, and what follows it.
pub(super) fn headed(tuple: &Tuple, proto: u8, ttl: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = match tuple.src {
        IpAddr::V4(_) => ipv4::Build {
            total_len: 20 + body.len() as u16,
            tos: 0x10,
            id: 0x1234,
            fragment: 0,
            ttl,
            proto,
            addrs: V4::pack(tuple.src, tuple.dst),
        }
        .bytes()
        .to_vec(),
        IpAddr::V6(_) => ipv6::Build {
            traffic_class: 3,
            payload_len: body.len() as u16,
            next: proto,
            hop_limit: ttl,
            addrs: V6::pack(tuple.src, tuple.dst),
        }
        .bytes()
        .to_vec(),
    };
    packet.extend(body);
    packet
}

/// An ICMP error from `src` to the sender of `quoted`, sealed.
pub(super) fn error(src: IpAddr, quoted_from: IpAddr, ttl: u8, quoted: &[u8]) -> Vec<u8> {
    let (protocol, kind) = match src {
        IpAddr::V4(_) => (proto::ICMP, [3, 4, 0, 0, 0, 0, 4, 0xb0]),
        IpAddr::V6(_) => (proto::ICMPV6, [2, 0, 0, 0, 0, 0, 5, 0]),
    };
    let outer = Tuple {
        proto: protocol,
        src,
        dst: quoted_from,
        sport: 0,
        dport: 0,
    };
    let mut body = kind.to_vec();
    body.extend(quoted);
    seal(&outer, &mut body, true);
    headed(&outer, protocol, ttl, &body)
}
