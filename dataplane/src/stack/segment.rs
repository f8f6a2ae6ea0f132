//! TCP segments that are made here, without data and without options: resets and probes.

use sluice_wire::bytes::{put, put_be16, put_be32, put_ne16};
use sluice_wire::proto::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use sluice_wire::{Family, Sum, V4, V6, ipv4, ipv6, tcp};

use crate::stack::TTL;

/// What a packet of a family begins with.
pub trait Header: Family {
    /// EtherType.
    const ETHERTYPE: u16;
    /// Length of its IP header, bytes.
    const LEN: usize;

    /// Writes the IP header of a packet that carries nothing but a bare segment.
    fn write_header(packet: &mut [u8], addrs: Self::Addrs);
}

impl Header for V4 {
    const ETHERTYPE: u16 = ETHERTYPE_IPV4;
    const LEN: usize = ipv4::MIN_LEN;

    fn write_header(packet: &mut [u8], addrs: u64) {
        let header = ipv4::Build {
            total_len: (ipv4::MIN_LEN + tcp::MIN_LEN) as u16,
            tos: 0,
            id: 0,
            fragment: ipv4::DONT_FRAGMENT,
            ttl: TTL,
            proto: proto::TCP,
            addrs,
        };
        put(packet, 0, header.bytes());
    }
}

impl Header for V6 {
    const ETHERTYPE: u16 = ETHERTYPE_IPV6;
    const LEN: usize = ipv6::HEADER_LEN;

    fn write_header(packet: &mut [u8], addrs: [u64; 4]) {
        let header = ipv6::Build {
            traffic_class: 0,
            payload_len: tcp::MIN_LEN as u16,
            next: proto::TCP,
            hop_limit: TTL,
            addrs,
        };
        put(packet, 0, header.bytes());
    }
}

/// Length of a packet that carries a bare segment, bytes.
pub const fn len<F: Header>() -> usize {
    F::LEN + tcp::MIN_LEN
}

/// A segment that is nothing but a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bare {
    /// Source and destination port, wire order.
    pub ports: u32,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags.
    pub flags: u8,
    /// Window, as it stands in the header.
    pub window: u16,
}

impl Bare {
    /// Writes the packet: both headers, both checksums. `packet` has [`len`] bytes.
    pub fn write<F: Header>(&self, packet: &mut [u8], addrs: F::Addrs) {
        let mut segment = [0; tcp::MIN_LEN];
        put(&mut segment, 0, self.ports.to_ne_bytes());
        put_be32(&mut segment, 4, self.seq);
        put_be32(&mut segment, 8, self.ack);
        put(&mut segment, 12, [(tcp::MIN_LEN as u8 / 4) << 4]);
        put(&mut segment, tcp::FLAGS, [self.flags]);
        put_be16(&mut segment, 14, self.window);
        // The pseudo-header's sum does not depend on which address is which.
        let pseudo = Sum::ZERO.pseudo::<F>(addrs, proto::TCP, tcp::MIN_LEN as u32);
        let checksum = pseudo.bytes(&segment).checksum();
        put_ne16(&mut segment, tcp::CHECKSUM, checksum);
        F::write_header(packet, addrs);
        put(packet, F::LEN, segment);
    }
}
