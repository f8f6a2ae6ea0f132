//! What hosts read in frames.

use std::net::{IpAddr, Ipv4Addr};

use sluice_wire::checksum::Sum;
use sluice_wire::{Family, V4, proto};

/// An address and a port.
pub(crate) type End = (IpAddr, u16);

/// A packet as a host understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) proto: u8,
    pub(crate) src: End,
    pub(crate) dst: End,
    pub(crate) flags: u8,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) data: Vec<u8>,
}

/// Reads an IPv4 packet of TCP or UDP. `None` for others, and for what was damaged on the way: a host
/// does not look at it.
pub(crate) fn read(frame: &[u8]) -> Option<Segment> {
    if frame.get(12..14)? != [8, 0] || *frame.get(14)? != 0x45 {
        return None;
    }
    let len = usize::from(u16::from_be_bytes([frame[16], *frame.get(17)?]));
    let packet = frame.get(14..14 + len)?;
    if len < 28 || Sum::default().bytes(&packet[..20]).checksum() != 0 {
        return None;
    }
    let address = |at: usize| -> IpAddr {
        let octets: [u8; 4] = packet[at..at + 4].try_into().expect("four bytes");
        Ipv4Addr::from(octets).into()
    };
    let (src, dst, number) = (address(12), address(16), packet[9]);
    let body = &packet[20..];
    let sum = Sum::default().pseudo::<V4>(V4::pack(src, dst), number, body.len() as u32);
    if sum.bytes(body).checksum() != 0 {
        return None;
    }
    let word = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let long = |at: usize| u32::from(word(at)) << 16 | u32::from(word(at + 2));
    let (src, dst) = ((src, word(0)), (dst, word(2)));
    match number {
        proto::UDP => Some(Segment {
            proto: number,
            src,
            dst,
            flags: 0,
            seq: 0,
            ack: 0,
            data: body[8..].to_vec(),
        }),
        proto::TCP if body.len() >= 20 => Some(Segment {
            proto: number,
            src,
            dst,
            flags: body[13],
            seq: long(4),
            ack: long(8),
            data: body.get(usize::from(body[12] >> 4) * 4..)?.to_vec(),
        }),
        _ => None,
    }
}
