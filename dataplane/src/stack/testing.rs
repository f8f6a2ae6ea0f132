//! Packets and ports for the stack's tests.

use sluice_wire::{Family, MacAddr, Sum, V4, V6, icmp4, icmp6, ipv4, ipv6};

use crate::io::DeviceId;
use crate::snapshot::Port;

/// A station on the port's network: 10.0.0.2, 2001:db8::2.
pub(super) const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xee]);
/// Ours.
pub(super) const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// 10.0.0.1/24, 2001:db8::1/64 and fe80::1/64, untagged.
pub(super) fn port() -> Port {
    Port {
        name: "inside".into(),
        device: DeviceId(0),
        vlan: None,
        zone: 0,
        mac: OURS,
        mtu: 1500,
        addresses: ["10.0.0.1/24", "2001:db8::1/64", "fe80::1/64"]
            .map(|net| net.parse().unwrap())
            .into(),
        clamp_mss: false,
    }
}

/// The same on a VLAN.
pub(super) fn tagged(vlan: u16) -> Port {
    Port {
        vlan: Some(vlan),
        ..port()
    }
}

pub(super) fn ethernet(to: MacAddr, from: MacAddr, ethertype: u16) -> Vec<u8> {
    [&to.0[..], &from.0, &ethertype.to_be_bytes()].concat()
}

/// Mends the IPv4 header checksum.
pub(super) fn reseal(frame: &mut [u8], l3: usize) {
    ipv4::reseal(&mut frame[l3..]);
}

fn v4(proto: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(OURS, PEER, 0x0800);
    let header = ipv4::Build {
        total_len: (20 + options.len() + payload.len()) as u16,
        tos: 0,
        id: 0x1234,
        fragment: 0,
        ttl: 61,
        proto,
        addrs: v4_addrs(),
    };
    frame.extend(header.bytes());
    frame[14] = 0x45 + options.len() as u8 / 4;
    frame.extend(options);
    frame.extend(payload);
    reseal(&mut frame, 14);
    frame
}

fn v4_addrs() -> u64 {
    V4::pack([10, 0, 0, 2].into(), [10, 0, 0, 1].into())
}

fn v6_addrs() -> [u64; 4] {
    V6::pack(
        "2001:db8::2".parse().unwrap(),
        "2001:db8::1".parse().unwrap(),
    )
}

pub(super) fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(OURS, PEER, 0x86dd);
    let header = ipv6::Build {
        traffic_class: 0,
        payload_len: payload.len() as u16,
        next,
        hop_limit: 61,
        addrs: v6_addrs(),
    };
    frame.extend(header.bytes());
    frame.extend(payload);
    frame
}

/// Echo request from the peer to 10.0.0.1, id 0x1234, sequence 1.
pub(super) fn ping_v4(data: &[u8], options: &[u8]) -> Vec<u8> {
    let mut message = b"\x08\x00\x00\x00\x12\x34\x00\x01".to_vec();
    message.extend(data);
    icmp4::seal(&mut message);
    v4(1, options, &message)
}

/// Echo request from the peer to 2001:db8::1.
pub(super) fn ping_v6(data: &[u8]) -> Vec<u8> {
    let mut message = b"\x80\x00\x00\x00\x12\x34\x00\x01".to_vec();
    message.extend(data);
    icmp6::seal(v6_addrs(), &mut message);
    v6(58, &message)
}

/// UDP from port 1000 to port 53, without checksum.
pub(super) fn udp_v4(data: &[u8]) -> Vec<u8> {
    udp_v4_options(data, &[])
}

pub(super) fn udp_v4_options(data: &[u8], options: &[u8]) -> Vec<u8> {
    v4(17, options, &udp(data, 0))
}

/// The same over IPv6, with one.
pub(super) fn udp_v6(data: &[u8]) -> Vec<u8> {
    let sum = Sum::ZERO.pseudo::<V6>(v6_addrs(), 17, 8 + data.len() as u32);
    let checksum = sum.bytes(&udp(data, 0)).checksum_udp();
    v6(17, &udp(data, checksum))
}

fn udp(data: &[u8], checksum: u16) -> Vec<u8> {
    let mut datagram = b"\x03\xe8\x00\x35".to_vec();
    datagram.extend((8 + data.len() as u16).to_be_bytes());
    datagram.extend(checksum.to_ne_bytes());
    datagram.extend(data);
    datagram
}

/// TCP from port 1000 to port 80 of the port's address.
pub(super) fn tcp(is_v6: bool, seq: u32, ack: u32, flags: u8, data: &[u8]) -> Vec<u8> {
    let mut segment = b"\x03\xe8\x00\x50".to_vec();
    segment.extend(seq.to_be_bytes());
    segment.extend(ack.to_be_bytes());
    segment.extend([0x50, flags, 0x10, 0, 0, 0, 0, 0]);
    segment.extend(data);
    let len = segment.len() as u32;
    let sum = if is_v6 {
        Sum::ZERO.pseudo::<V6>(v6_addrs(), 6, len)
    } else {
        Sum::ZERO.pseudo::<V4>(v4_addrs(), 6, len)
    };
    let checksum = sum.bytes(&segment).checksum();
    segment[16..18].copy_from_slice(&checksum.to_ne_bytes());
    if is_v6 {
        v6(6, &segment)
    } else {
        v4(6, &[], &segment)
    }
}
