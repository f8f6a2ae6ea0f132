//! Frames of flows, and what they say.

use std::net::Ipv4Addr;

use sluice_wire::checksum::Sum;
use sluice_wire::{Family, MacAddr, V4, proto};

use crate::packets::MACS;
use crate::scenario::Tuple;

/// A frame of a flow, as it comes in from inside.
pub(crate) fn udp(tuple: &Tuple) -> Vec<u8> {
    frame(
        tuple,
        proto::UDP,
        MACS[0],
        &[0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
    )
}

/// A TCP segment; `device` is the one that it comes in by.
pub(crate) fn tcp(tuple: &Tuple, device: usize, flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    let mut rest = vec![];
    rest.extend(seq.to_be_bytes());
    rest.extend(ack.to_be_bytes());
    rest.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    frame(tuple, proto::TCP, MACS[device], &rest)
}

/// `rest`: what follows the ports, checksum zero.
fn frame(tuple: &Tuple, number: u8, to: MacAddr, rest: &[u8]) -> Vec<u8> {
    let mut body = vec![];
    body.extend(tuple.sport.to_be_bytes());
    body.extend(tuple.dport.to_be_bytes());
    body.extend(rest);
    let pair = V4::pack(tuple.src.into(), tuple.dst.into());
    let sum = Sum::default().pseudo::<V4>(pair, number, body.len() as u32);
    let sum = sum.bytes(&body);
    let (at, sum) = if number == proto::UDP {
        (6, sum.checksum_udp())
    } else {
        (16, sum.checksum())
    };
    body[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
    let mut frame = vec![];
    frame.extend(to.0);
    frame.extend([2, 0, 0, 0, 0, 9, 8, 0, 0x45, 0]);
    frame.extend((20 + body.len() as u16).to_be_bytes());
    frame.extend([0, 1, 0, 0, 64, number, 0, 0]);
    frame.extend(tuple.src.octets());
    frame.extend(tuple.dst.octets());
    let sum = Sum::default().bytes(&frame[14..34]).checksum();
    frame[24..26].copy_from_slice(&sum.to_ne_bytes());
    frame.extend(body);
    frame
}

/// Addresses and ports of a frame without options.
pub(crate) fn tuple(frame: &[u8]) -> Tuple {
    let address = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    Tuple {
        src: address(26),
        dst: address(30),
        sport: port(34),
        dport: port(36),
    }
}

/// The tuple of the answer.
pub(crate) fn reverse(tuple: &Tuple) -> Tuple {
    Tuple {
        src: tuple.dst,
        dst: tuple.src,
        sport: tuple.dport,
        dport: tuple.sport,
    }
}

/// TCP's flags; 0 of a frame that is shorter, such as ARP's.
pub(crate) fn flags(frame: &[u8]) -> u8 {
    frame.get(47).copied().unwrap_or(0)
}

/// TCP's sequence and acknowledgement number.
pub(crate) fn numbers(frame: &[u8]) -> (u32, u32) {
    let word =
        |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    (word(38), word(42))
}
