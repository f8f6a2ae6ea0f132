//! A received frame, from its bytes to kind, offsets and key.
//!
//! Common packets (no in-frame VLAN tag, no IPv4 options or IPv6 extension headers, TCP or UDP, not
//! a fragment) take a path of a few compares; everything else, errors included, is sorted out by
//! the module `slow`. Both give the same answer where both give one.

use crate::bytes::{array, be16, put, u8_at};
use crate::checksum::Delta;
use crate::ipv4;
use crate::ipv6;
use crate::key::{Family, Key, V4, V6};
use crate::proto;
use crate::tcp;
use crate::udp;

mod icmp;
pub(crate) mod slow;

pub use icmp::Inner;

/// What a frame is, as far as its way through the appliance goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// ARP; only `vlan`, `l3` and `end` mean anything.
    Arp,
    /// A whole packet of TCP, UDP, ICMP echo or any other protocol: its key finds its session.
    Session,
    /// An ICMP error. Its key finds the session that the packet within it belonged to.
    IcmpError,
    /// The first fragment of a datagram. It has its key like a whole packet.
    FragmentFirst,
    /// A later fragment. Its key has ports 0.
    FragmentRest,
    /// ICMPv6 router or neighbour solicitation or advertisement. Hop limit and checksum have not
    /// been looked at: see [`crate::ndisc`].
    NeighbourDiscovery,
    /// Multicast listener discovery (RFC 2710, RFC 3810).
    MulticastListener,
}

/// Why a frame cannot be parsed or must not be passed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ParseError {
    /// Shorter than its headers say.
    Truncated,
    /// Neither IPv4, IPv6 nor ARP, or more than one VLAN tag.
    EtherType,
    /// IPv4 or IPv6 unicast expected, but the destination IP or MAC address is a group.
    Multicast,
    /// An IP header with a wrong version, length or option.
    BadIpHeader,
    /// A wrong IPv4 header checksum.
    BadIpChecksum,
    /// A transport header that contradicts itself, or does not fit into its packet.
    BadL4Header,
    /// A source address that no host can have: multicast, broadcast, loopback, unspecified.
    MartianSource,
    /// A destination address that must not be on the wire: loopback, unspecified.
    MartianDestination,
    /// An IPv6 extension header that must not pass or cannot be walked.
    ExtensionHeader,
    /// A fragment that no datagram can have.
    FragmentInvalid,
    /// An ICMP error about a packet that belongs to no session.
    IcmpUnrelated,
    /// An ICMP message that is neither echo nor error.
    IcmpUnsupported,
}

/// Where things are in a frame. Offsets are from the frame's first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parsed {
    /// Source and destination port of the key, wire order: for TCP and UDP the packet's, for echo
    /// the identifier as [`crate::Tuple`] has it, for an ICMP error the reverse of the inner
    /// packet's. 0 where there are none.
    pub ports: u32,
    /// Offset of the transport header, behind all IP options and extension headers; in a
    /// [`Kind::FragmentRest`] of the payload.
    pub l4: u16,
    /// Offset past the IP packet. Ethernet padding lies behind it.
    pub end: u16,
    /// VLAN id, from the tag that the device took out or from an 802.1Q tag in the frame.
    /// Untagged and priority-tagged (id 0) frames have none.
    pub vlan: Option<u16>,
    /// Offset of the source address that the key is made of: the packet's, or the inner packet's.
    addrs_at: u16,
    /// Offset of the header that holds the fragment fields: IPv4 header or IPv6 fragment header.
    fragment_at: u16,
    /// Offset of the IP header, or the ARP packet: 14, or 18 behind a tag in the frame.
    pub l3: u8,
    /// What to do with it.
    pub kind: Kind,
    /// IPv6.
    pub v6: bool,
    /// Upper-layer protocol of the packet.
    pub proto: u8,
    /// Upper-layer protocol of the key: `proto`, or the inner packet's in an ICMP error.
    pub key_proto: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TCP flags ([`crate::tcp::flag`]); 0 for all else.
    pub tcp_flags: u8,
}

/// The fragment fields of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// Identification: 16 bits in IPv4, 32 in IPv6. Together with the addresses, and in IPv4 the
    /// protocol, it names the datagram. (Not so the protocol in IPv6: later fragments name the
    /// first header of the fragmented part, which may be an extension header.)
    pub id: u32,
    /// Where the piece belongs in the datagram, in bytes.
    pub offset: u16,
    /// Bytes of the piece. Offset and length together never pass 65,535.
    pub len: u16,
    /// Others follow. If so, `len` is a multiple of eight.
    pub more: bool,
}

/// Parses a frame that starts with its destination MAC address and ends without FCS.
///
/// `tagged` is the tag control information (host order) of a VLAN tag that the device took out;
/// `ip_checksum_good` says that the device has verified the IPv4 header checksum.
///
/// # Errors
/// Says why the frame must be dropped. Never panics, whatever the bytes.
#[inline]
pub fn parse(
    frame: &[u8],
    tagged: Option<u16>,
    ip_checksum_good: bool,
) -> Result<Parsed, ParseError> {
    if let Some(parsed) = fast_v4(frame, tagged, ip_checksum_good) {
        return Ok(parsed);
    }
    if let Some(parsed) = fast_v6(frame, tagged) {
        return Ok(parsed);
    }
    slow::parse(frame, tagged, ip_checksum_good)
}

/// Offset of an IP header right behind the Ethernet header.
const L3: usize = 14;
/// Offset of the transport header behind an IPv4 header without options.
const V4_L4: usize = L3 + ipv4::MIN_LEN;
/// Offset of the transport header right behind an IPv6 header.
const V6_L4: usize = L3 + ipv6::HEADER_LEN;

/// Parses what is common: TCP or UDP over `F`, right behind an Ethernet header, whole, without IPv4
/// options or IPv6 extension headers, and with nothing wrong about it. `None` for all that [`parse`]
/// must have a closer look at. Where this gives an answer, it is the one of `parse`.
#[inline(always)]
pub fn parse_plain<F: Family>(
    frame: &[u8],
    tagged: Option<u16>,
    ip_checksum_good: bool,
) -> Option<Parsed> {
    if F::IS_V6 {
        fast_v6(frame, tagged)
    } else {
        fast_v4(frame, tagged, ip_checksum_good)
    }
}

/// TCP or UDP in unfragmented IPv4 without options, with nothing wrong about it. `None` for all
/// that needs a closer look.
#[inline(always)]
fn fast_v4(frame: &[u8], tagged: Option<u16>, ip_checksum_good: bool) -> Option<Parsed> {
    // EtherType, version and header length: all but the last byte of the word.
    const PLAIN: u32 = u32::from_le_bytes([0x08, 0x00, 0x45, 0]);
    const PLAIN_MASK: u32 = u32::from_le_bytes([0xff, 0xff, 0xff, 0]);
    const FRAGMENT_MASK: u32 = u32::from_le_bytes([0x3f, 0xff, 0, 0]);

    let head: &[u8; V4_L4 + 8] = frame.first_chunk()?;
    // Fields that are looked at together are read together.
    let [first, second] = [le64::<12>(head), le64::<20>(head)];
    let plain = first as u32 & PLAIN_MASK == PLAIN;
    let whole = second as u32 & FRAGMENT_MASK == 0;
    let unicast = (head[0] & 1 == 0) & is_ordinary_v4(head[26]) & is_ordinary_v4(head[30]);
    let total_len = usize::from(((first >> 32) as u16).swap_bytes());
    let end = L3 + total_len;
    if !(plain & whole & unicast) || end > frame.len() || end > usize::from(u16::MAX) {
        return None;
    }
    let proto = (second >> 24) as u8;
    let tcp_flags = fast_l4(frame, V4_L4, proto, total_len.checked_sub(ipv4::MIN_LEN)?)?;
    let header = head[L3..].first_chunk()?;
    if !ip_checksum_good && !ipv4::checksum_ok_plain(header) {
        return None;
    }
    Some(Parsed {
        ports: u32::from_ne_bytes([head[34], head[35], head[36], head[37]]),
        l4: V4_L4 as u16,
        end: end as u16,
        vlan: vlan_id(tagged),
        addrs_at: (L3 + ipv4::field::ADDRS) as u16,
        fragment_at: 0,
        l3: L3 as u8,
        kind: Kind::Session,
        v6: false,
        proto,
        key_proto: proto,
        ttl: (second >> 16) as u8,
        tcp_flags,
    })
}

/// The same for IPv6 without extension headers.
#[inline(always)]
fn fast_v6(frame: &[u8], tagged: Option<u16>) -> Option<Parsed> {
    const PLAIN: u32 = u32::from_ne_bytes([0x86, 0xdd, 0x60, 0]);
    const PLAIN_MASK: u32 = u32::from_ne_bytes([0xff, 0xff, 0xf0, 0]);

    let head: &[u8; V6_L4 + 8] = frame.first_chunk()?;
    let plain = u32::from_ne_bytes([head[12], head[13], head[14], head[15]]) & PLAIN_MASK == PLAIN;
    // Neither multicast nor anything of ::/64.
    let ordinary = |at: usize| head[at] != 0xff && head[at..at + 8] != [0; 8];
    let unicast = head[0] & 1 == 0 && ordinary(22) && ordinary(38);
    let l4_len = usize::from(u16::from_be_bytes([head[18], head[19]]));
    let end = V6_L4 + l4_len;
    if !(plain & unicast) || end > frame.len() || end > usize::from(u16::MAX) {
        return None;
    }
    let proto = head[20];
    let tcp_flags = fast_l4(frame, V6_L4, proto, l4_len)?;
    Some(Parsed {
        ports: u32::from_ne_bytes([head[54], head[55], head[56], head[57]]),
        l4: V6_L4 as u16,
        end: end as u16,
        vlan: vlan_id(tagged),
        addrs_at: (L3 + ipv6::field::ADDRS) as u16,
        fragment_at: 0,
        l3: L3 as u8,
        kind: Kind::Session,
        v6: true,
        proto,
        key_proto: proto,
        ttl: head[21],
        tcp_flags,
    })
}

/// The TCP flags (0 for UDP) of a sound transport header at `l4` in a packet that has `len` bytes
/// from there on.
#[inline(always)]
fn fast_l4(frame: &[u8], l4: usize, proto: u8, len: usize) -> Option<u8> {
    if proto == proto::TCP {
        let [offset, flags] = array(frame, l4 + 12)?;
        let header = usize::from(offset >> 4) * 4;
        (header >= tcp::MIN_LEN && header <= len).then_some(flags)
    } else if proto == proto::UDP {
        let udp = usize::from(be16(frame, l4 + 4)?);
        (udp >= udp::HEADER_LEN && udp <= len).then_some(0)
    } else {
        None
    }
}

/// First octet of an IPv4 address that hosts have: not 0, 127, nor 224 and above.
#[inline(always)]
fn is_ordinary_v4(octet: u8) -> bool {
    const ORDINARY: [bool; 256] = {
        let mut ordinary = [true; 256];
        (ordinary[0], ordinary[127]) = (false, false);
        let mut group = 224;
        while group < 256 {
            ordinary[group] = false;
            group += 1;
        }
        ordinary
    };
    ORDINARY[usize::from(octet)]
}

/// Eight bytes of a plain IPv4 packet's headers as a number, the first byte lowest.
#[inline(always)]
fn le64<const AT: usize>(head: &[u8; V4_L4 + 8]) -> u64 {
    u64::from_le_bytes([
        head[AT],
        head[AT + 1],
        head[AT + 2],
        head[AT + 3],
        head[AT + 4],
        head[AT + 5],
        head[AT + 6],
        head[AT + 7],
    ])
}

/// VLAN id of a tag; a priority tag has none.
#[inline(always)]
fn vlan_id(tci: Option<u16>) -> Option<u16> {
    tci.map(|tci| tci & 0x0fff).filter(|id| *id != 0)
}

impl Parsed {
    /// The key in the table of family `F`, for a packet that came in by `zone`.
    ///
    /// For an ICMP error: the key of the packets that come in like it and belong to the session of
    /// the packet that it is about, which is the reverse of that packet's tuple.
    /// `frame` is the frame that was parsed, unchanged; of another, the key is meaningless.
    #[inline]
    pub fn key<F: Family>(&self, frame: &[u8], zone: u8) -> Key<F::Addrs> {
        let at = usize::from(self.addrs_at);
        let addrs = frame
            .get(at..at + size_of::<F::Addrs>())
            .and_then(|bytes| <F::Addrs as zerocopy::FromBytes>::read_from_bytes(bytes).ok())
            .unwrap_or_default();
        Key {
            addrs: if self.kind == Kind::IcmpError {
                F::swap(addrs)
            } else {
                addrs
            },
            ports: self.ports,
            proto: self.key_proto,
            zone,
            zero: 0,
        }
    }

    /// [`Parsed::key`] of an IPv4 packet.
    #[inline]
    pub fn key_v4(&self, frame: &[u8], zone: u8) -> Key<u64> {
        self.key::<V4>(frame, zone)
    }

    /// [`Parsed::key`] of an IPv6 packet.
    #[inline]
    pub fn key_v6(&self, frame: &[u8], zone: u8) -> Key<[u64; 4]> {
        self.key::<V6>(frame, zone)
    }

    /// Bytes of the IP packet, header included.
    #[inline]
    pub const fn ip_len(&self) -> u16 {
        self.end - self.l3 as u16
    }

    /// The IP packet (or ARP packet), without Ethernet header and padding.
    #[inline]
    pub fn packet<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        frame
            .get(usize::from(self.l3)..usize::from(self.end))
            .unwrap_or_default()
    }

    /// Transport header and payload.
    #[inline]
    pub fn transport<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        frame
            .get(usize::from(self.l4)..usize::from(self.end))
            .unwrap_or_default()
    }

    /// Whether this is a fragment.
    #[inline]
    pub const fn is_fragment(&self) -> bool {
        matches!(self.kind, Kind::FragmentFirst | Kind::FragmentRest)
    }

    /// Whether an IPv4 sender forbids fragmentation; always so for IPv6.
    #[inline]
    pub fn dont_fragment(&self, frame: &[u8]) -> bool {
        self.v6
            || u8_at(frame, usize::from(self.l3) + ipv4::field::FRAGMENT)
                .is_some_and(|flags| flags & 0x40 != 0)
    }

    /// Type of service or traffic class.
    #[inline]
    pub fn traffic_class(&self, frame: &[u8]) -> u8 {
        let [first, second] = array(frame, usize::from(self.l3)).unwrap_or_default();
        if self.v6 {
            first << 4 | second >> 4
        } else {
            second
        }
    }

    /// The fragment fields, if this is a fragment.
    pub fn fragment(&self, frame: &[u8]) -> Option<Fragment> {
        if !self.is_fragment() {
            return None;
        }
        let at = usize::from(self.fragment_at);
        if self.v6 {
            let header = ipv6::fragment(frame, at)?;
            Some(Fragment {
                id: header.id,
                offset: header.offset as u16,
                len: self.end.checked_sub(self.fragment_at + 8)?,
                more: header.more,
            })
        } else {
            let word = be16(frame, at + ipv4::field::FRAGMENT)?;
            Some(Fragment {
                id: u32::from(be16(frame, at + ipv4::field::ID)?),
                offset: (word & ipv4::OFFSET_MASK) << 3,
                len: self.end.checked_sub(self.l4)?,
                more: word & ipv4::MORE_FRAGMENTS != 0,
            })
        }
    }

    /// Gives a fragment another identification, of which IPv4 takes the low 16 bits. What is no
    /// fragment stays as it is.
    pub fn set_fragment_id(&self, frame: &mut [u8], id: u32) {
        let at = usize::from(self.fragment_at);
        if !self.is_fragment() {
            return;
        }
        if self.v6 {
            put(frame, at + 4, id.to_be_bytes());
        } else if let Some(old) = array(frame, at + ipv4::field::ID) {
            let new = (id as u16).to_be_bytes();
            put(frame, at + ipv4::field::ID, new);
            let delta = Delta::word16(u16::from_ne_bytes(old), u16::from_ne_bytes(new));
            delta.patch(frame, at + ipv4::field::CHECKSUM);
        }
    }

    /// The fields of the TCP header that tracking needs; `None` if this is not TCP with its header.
    #[inline]
    pub fn tcp(&self, frame: &[u8]) -> Option<tcp::Segment> {
        if self.proto != proto::TCP || self.kind == Kind::FragmentRest {
            return None;
        }
        tcp::Segment::parse(self.transport(frame))
    }
}

#[cfg(test)]
mod tests;
