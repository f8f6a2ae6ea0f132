//! Tunnels between nodes that are no neighbours: frames of the HA link, whole, within IPv4 packets.
//!
//! Two kinds: VXLAN (RFC 7348), in UDP, and GRE (RFC 2784) with a key (RFC 2890) and the protocol type
//! 0x6558, transparent Ethernet bridging. A frame grows by [`Kind::overhead`]. Packets are marked
//! "don't fragment", and fragments are refused: the path must take what [`Kind::overhead`] and the HA
//! link's MTU come to.
//!
//! Nothing is secret here and nothing believed: what is within is sealed or tagged as on a cable.

use std::net::Ipv4Addr;

use sluice_wire::bytes::{array, be16, be32, put, put_be16};
use sluice_wire::checksum::Delta;
use sluice_wire::ethernet::{self, ETHERTYPE, HEADER_LEN};
use sluice_wire::proto::{ETHERTYPE_ARP, ETHERTYPE_IPV4, UDP};
use sluice_wire::{MacAddr, ipv4, udp};

#[cfg(test)]
mod tests;

/// UDP port of VXLAN (RFC 7348 section 8).
pub const VXLAN_PORT: u16 = 4789;
/// IP protocol of GRE.
const GRE: u8 = 47;
/// Protocol type of transparent Ethernet bridging.
const BRIDGED: u16 = 0x6558;
/// GRE's flags: a key is present; version 0.
const KEYED: u16 = 0x2000;
/// VXLAN's flags: there is a VNI.
const WITH_VNI: u8 = 0x08;
/// Where the IP header, and what follows it, begins.
const L3: usize = HEADER_LEN;
const L4: usize = L3 + ipv4::MIN_LEN;
/// Bytes of GRE with a key, and of VXLAN.
const INNER: usize = 8;
/// Hops that a packet may take.
const TTL: u8 = 64;
/// Source ports (RFC 7348 section 5: from the range of dynamic ports).
const PORTS: u16 = 0xc000;

/// How frames are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RFC 7348, by UDP port [`VXLAN_PORT`].
    Vxlan,
    /// RFC 2784 and 2890.
    Gre,
}

impl Kind {
    /// Bytes that a frame grows by, and by which an IP packet on the path is larger than the one
    /// within: outer IP header, what the kind puts behind it, and the inner Ethernet header.
    pub const fn overhead(self) -> usize {
        match self {
            Self::Vxlan => L4 + udp::HEADER_LEN + INNER,
            Self::Gre => L4 + INNER,
        }
    }

    /// The largest number that tells tunnels apart: a VNI has 24 bits, a key 32.
    pub const fn largest_id(self) -> u32 {
        match self {
            Self::Vxlan => 0x00ff_ffff,
            Self::Gre => u32::MAX,
        }
    }
}

/// This node's end of all its tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// How frames are wrapped.
    pub kind: Kind,
    /// VNI or key, the same on all nodes.
    pub id: u32,
    /// This node's address.
    pub address: Ipv4Addr,
}

/// What a frame of the HA link's device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// It is no IPv4 packet to this node: a frame of a neighbour, or of nobody.
    Bare,
    /// ARP.
    Arp,
    /// A frame came within: it begins after so many bytes, and has so many.
    Within(usize, usize),
    /// A packet to this node's address that is none of a tunnel's, or not in order.
    Refused,
}

impl End {
    /// Looks at a frame that arrived.
    #[inline]
    pub fn look(&self, frame: &[u8]) -> Arrived {
        match be16(frame, ETHERTYPE) {
            Some(ETHERTYPE_ARP) => return Arrived::Arp,
            Some(ETHERTYPE_IPV4) => {}
            _ => return Arrived::Bare,
        }
        // A neighbour's corrected packet may be for any address but this one.
        if array(frame, L3 + ipv4::field::ADDRS + 4) != Some(self.address.octets()) {
            return Arrived::Bare;
        }
        self.within(frame)
            .map_or(Arrived::Refused, |(at, len)| Arrived::Within(at, len))
    }

    fn within(&self, frame: &[u8]) -> Option<(usize, usize)> {
        let packet = frame.get(L3..)?;
        let header = ipv4::parse(packet).ok()?;
        let plain = header.header_len == ipv4::MIN_LEN
            && header.fragment & !ipv4::DONT_FRAGMENT == 0
            && ipv4::checksum_ok(packet, ipv4::MIN_LEN);
        // Ethernet's padding stays behind.
        let packet = packet.get(..header.total_len).filter(|_| plain)?;
        let payload = packet.get(ipv4::MIN_LEN..)?;
        let (at, len) = match (self.kind, header.proto) {
            (Kind::Vxlan, UDP) => {
                let udp = udp::Header::parse(payload)?;
                let vxlan = payload.get(udp::HEADER_LEN..usize::from(udp.len))?;
                let own = udp.dport == VXLAN_PORT
                    && vxlan.first()? & WITH_VNI != 0
                    && be32(vxlan, 4)? >> 8 == self.id;
                let len = vxlan.len().checked_sub(INNER)?;
                own.then_some((udp::HEADER_LEN + INNER, len))?
            }
            (Kind::Gre, GRE) => {
                let own = be16(payload, 0)? == KEYED
                    && be16(payload, 2)? == BRIDGED
                    && be32(payload, 4)? == self.id;
                own.then_some((INNER, payload.len().checked_sub(INNER)?))?
            }
            _ => return None,
        };
        (len >= HEADER_LEN).then_some((L4 + at, len))
    }

    /// The way to a node at `to`.
    pub fn way(&self, to: Ipv4Addr) -> Way {
        let mut head = [0; Kind::Vxlan.overhead()];
        let [a, b, c, d] = self.address.octets();
        let [e, f, g, h] = to.octets();
        let ip = ipv4::Build {
            total_len: 0,
            tos: 0,
            // One of many equal ones: packets that are never cut need none of their own (RFC 6864).
            id: 0,
            fragment: ipv4::DONT_FRAGMENT,
            ttl: TTL,
            proto: match self.kind {
                Kind::Vxlan => UDP,
                Kind::Gre => GRE,
            },
            addrs: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        };
        put_be16(&mut head, ETHERTYPE, ETHERTYPE_IPV4);
        put(&mut head, L3, ip.bytes());
        match self.kind {
            Kind::Vxlan => {
                put_be16(&mut head, L4 + 2, VXLAN_PORT);
                let vxlan = L4 + udp::HEADER_LEN;
                head[vxlan] = WITH_VNI;
                put(&mut head, vxlan + 4, (self.id << 8).to_be_bytes());
            }
            Kind::Gre => {
                put_be16(&mut head, L4, KEYED);
                put_be16(&mut head, L4 + 2, BRIDGED);
                put(&mut head, L4 + 4, self.id.to_be_bytes());
            }
        }
        Way {
            kind: self.kind,
            head,
        }
    }
}

/// All headers of packets to one node.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    kind: Kind,
    head: [u8; Kind::Vxlan.overhead()],
}

impl Way {
    /// Bytes that a frame grows by.
    pub const fn overhead(&self) -> usize {
        self.kind.overhead()
    }

    /// Fills the first [`Way::overhead`] bytes of a frame, behind which the inner one begins. False,
    /// and nothing usable, if there are fewer or the packet would be too long for IPv4.
    #[inline]
    pub fn write(&self, frame: &mut [u8], to: MacAddr, from: MacAddr) -> bool {
        let overhead = self.overhead();
        let Some(total) = frame
            .len()
            .checked_sub(L3)
            .and_then(|total| u16::try_from(total).ok())
        else {
            return false;
        };
        let Some((outer, inner)) = frame.split_at_mut_checked(overhead) else {
            return false;
        };
        outer.copy_from_slice(&self.head[..overhead]);
        put_be16(outer, L3 + ipv4::field::TOTAL_LEN, total);
        Delta::word16(0, total.to_be()).patch(outer, L3 + ipv4::field::CHECKSUM);
        if self.kind == Kind::Vxlan {
            put_be16(outer, L4, PORTS | mix(inner));
            // No checksum: RFC 7348 section 5.
            put_be16(outer, L4 + udp::LEN, total - ipv4::MIN_LEN as u16);
        }
        ethernet::put_macs(outer, to, from)
    }
}

/// Fourteen bits that are the same for all packets of a flow, so that paths and queues are shared out
/// without packets of one overtaking each other. Not for what is not IP.
fn mix(frame: &[u8]) -> u16 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let word = |at: usize| array(frame, at).map_or(0, u64::from_ne_bytes);
    let half = |at: usize| array(frame, at).map_or(0, u32::from_ne_bytes);
    let of_flow = match be16(frame, ETHERTYPE) {
        Some(ETHERTYPE_IPV4) => word(L3 + ipv4::field::ADDRS) ^ u64::from(half(L4)) << 16,
        Some(sluice_wire::proto::ETHERTYPE_IPV6) => {
            let addresses = (22..54).step_by(8).map(|at| word(at).wrapping_mul(ODD));
            addresses.fold(u64::from(half(54)), |all, next| all.rotate_left(7) ^ next)
        }
        _ => 0,
    };
    (of_flow.wrapping_mul(ODD) >> 50) as u16
}
