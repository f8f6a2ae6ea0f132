//! TCP segments that are made here: most without data and options, as resets and probes are.

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

    /// Writes the IP header of a packet that carries a segment of `len` bytes. `fragmentable`: routers may
    /// cut it up, under this identification.
    fn write_header(packet: &mut [u8], addrs: Self::Addrs, len: u16, fragmentable: Option<u16>);
}

impl Header for V4 {
    const ETHERTYPE: u16 = ETHERTYPE_IPV4;
    const LEN: usize = ipv4::MIN_LEN;

    fn write_header(packet: &mut [u8], addrs: u64, len: u16, fragmentable: Option<u16>) {
        let header = ipv4::Build {
            total_len: ipv4::MIN_LEN as u16 + len,
            tos: 0,
            id: fragmentable.unwrap_or(0),
            fragment: match fragmentable {
                Some(_) => 0,
                None => ipv4::DONT_FRAGMENT,
            },
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

    fn write_header(packet: &mut [u8], addrs: [u64; 4], len: u16, _fragmentable: Option<u16>) {
        let header = ipv6::Build {
            traffic_class: 0,
            payload_len: len,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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

/// A segment with what may follow its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full<'a> {
    /// The header.
    pub bare: Bare,
    /// Its options: none, or the one that tells the largest segment.
    pub mss: Option<u16>,
    /// Its data: no more than leaves it below 65,536 bytes, headers included.
    pub data: &'a [u8],
    /// See [`Header::write_header`].
    pub fragmentable: Option<u16>,
}

/// The option that tells the largest segment: kind and length (RFC 9293 section 3.2).
const MSS: [u8; 2] = [2, 4];

impl Bare {
    /// Writes the packet: both headers, both checksums. `packet` has [`len`] bytes.
    pub fn write<F: Header>(&self, packet: &mut [u8], addrs: F::Addrs) {
        Full::from(*self).write::<F>(packet, addrs);
    }
}

impl From<Bare> for Full<'_> {
    fn from(bare: Bare) -> Self {
        Self {
            bare,
            mss: None,
            data: &[],
            fragmentable: None,
        }
    }
}

impl Full<'_> {
    /// Length of the packet, bytes.
    pub const fn packet_len<F: Header>(&self) -> usize {
        F::LEN + self.header_len() + self.data.len()
    }

    const fn header_len(&self) -> usize {
        tcp::MIN_LEN + if self.mss.is_some() { 4 } else { 0 }
    }

    /// Writes the packet: both headers, both checksums. `packet` has [`packet_len`](Self::packet_len) bytes; where it
    /// has other than that, nothing is written.
    pub fn write<F: Header>(&self, packet: &mut [u8], addrs: F::Addrs) {
        let len = self.header_len();
        if packet.len() != self.packet_len::<F>() {
            return;
        }
        let Some((header, segment)) = packet.split_at_mut_checked(F::LEN) else {
            return;
        };
        let Self { bare, .. } = self;
        put(segment, 0, bare.ports.to_ne_bytes());
        put_be32(segment, 4, bare.seq);
        put_be32(segment, 8, bare.ack);
        put(segment, 12, [(len as u8 / 4) << 4, bare.flags]);
        put_be16(segment, 14, bare.window);
        // Checksum and urgent pointer.
        put(segment, tcp::CHECKSUM, [0; 4]);
        if let Some(mss) = self.mss {
            put(segment, tcp::MIN_LEN, MSS);
            put_be16(segment, tcp::MIN_LEN + 2, mss);
        }
        if let Some(data) = segment.get_mut(len..) {
            data.copy_from_slice(self.data);
        }
        // The pseudo-header's sum does not depend on which address is which.
        let pseudo = Sum::ZERO.pseudo::<F>(addrs, proto::TCP, segment.len() as u32);
        let checksum = pseudo.bytes(segment).checksum();
        put_ne16(segment, tcp::CHECKSUM, checksum);
        F::write_header(header, addrs, segment.len() as u16, self.fragmentable);
    }
}
