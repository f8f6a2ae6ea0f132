//! Everything that is not a plain TCP or UDP packet, and every way to be wrong.

use super::icmp;
use super::{Kind, ParseError, Parsed, vlan_id};
use crate::bytes::{array, be16, ne32};
use crate::ipv4;
use crate::ipv6;
use crate::proto;
use crate::tcp;
use crate::udp;

/// Parses any frame; see [`super::parse`].
#[cold]
#[inline(never)]
pub(crate) fn parse(
    frame: &[u8],
    tagged: Option<u16>,
    ip_checksum_good: bool,
) -> Result<Parsed, ParseError> {
    let mut tci = tagged;
    let mut l3 = 14;
    let mut ethertype = be16(frame, 12).ok_or(ParseError::Truncated)?;
    if ethertype == proto::ETHERTYPE_VLAN && tagged.is_none() {
        tci = Some(be16(frame, 14).ok_or(ParseError::Truncated)?);
        ethertype = be16(frame, 16).ok_or(ParseError::Truncated)?;
        l3 = 18;
    }
    let mut parsed = Parsed {
        ports: 0,
        l4: 0,
        end: u16::try_from(frame.len()).map_err(|_| ParseError::Truncated)?,
        vlan: vlan_id(tci),
        addrs_at: 0,
        fragment_at: 0,
        l3: l3 as u8,
        kind: Kind::Session,
        v6: false,
        proto: 0,
        key_proto: 0,
        ttl: 0,
        tcp_flags: 0,
    };
    let packet = frame.get(l3..).unwrap_or_default();
    match ethertype {
        proto::ETHERTYPE_ARP => parsed.kind = Kind::Arp,
        proto::ETHERTYPE_IPV4 => v4(frame, packet, &mut parsed, ip_checksum_good)?,
        proto::ETHERTYPE_IPV6 => v6(frame, packet, &mut parsed)?,
        _ => return Err(ParseError::EtherType),
    }
    Ok(parsed)
}

fn v4(
    frame: &[u8],
    packet: &[u8],
    parsed: &mut Parsed,
    ip_checksum_good: bool,
) -> Result<(), ParseError> {
    let header = ipv4::parse(packet)?;
    let packet = packet
        .get(..header.total_len)
        .ok_or(ParseError::Truncated)?;
    if !ip_checksum_good && !ipv4::checksum_ok(packet, header.header_len) {
        return Err(ParseError::BadIpChecksum);
    }
    let (options, payload) = packet
        .get(ipv4::MIN_LEN..)
        .and_then(|rest| rest.split_at_checked(header.header_len - ipv4::MIN_LEN))
        .ok_or(ParseError::Truncated)?;
    if !ipv4::options_ok(options) {
        return Err(ParseError::BadIpHeader);
    }
    let l3 = usize::from(parsed.l3);
    parsed.l4 = (l3 + header.header_len) as u16;
    parsed.end = (l3 + header.total_len) as u16;
    parsed.addrs_at = (l3 + ipv4::field::ADDRS) as u16;
    parsed.proto = header.proto;
    parsed.key_proto = header.proto;
    parsed.ttl = header.ttl;

    let [a, b, c, d, e, f, g, h] = header.addrs.to_ne_bytes();
    match [a, b, c, d] {
        [0 | 127 | 224..=239, ..] | [255, 255, 255, 255] => return Err(ParseError::MartianSource),
        _ => {}
    }
    match [e, f, g, h] {
        [224..=239, ..] | [255, 255, 255, 255] => return Err(ParseError::Multicast),
        [0 | 127, ..] => return Err(ParseError::MartianDestination),
        // RFC 1122 section 3.3.6, RFC 1812 section 5.3.4: unicast IP in a link-layer broadcast.
        _ if is_group(frame) => return Err(ParseError::Multicast),
        _ => {}
    }

    if header.offset() != 0 || header.more() {
        parsed.fragment_at = l3 as u16;
        let piece = Piece {
            offset: header.offset(),
            len: payload.len(),
            before: header.header_len,
            more: header.more(),
        };
        fragment(parsed, piece)?;
        if parsed.kind == Kind::FragmentRest {
            return Ok(());
        }
    }
    match header.proto {
        proto::ICMP => icmp::v4(frame, parsed, &header),
        proto::ICMPV6 => Err(ParseError::BadL4Header),
        _ => transport(payload, parsed),
    }
}

fn v6(frame: &[u8], packet: &[u8], parsed: &mut Parsed) -> Result<(), ParseError> {
    let header = ipv6::parse(packet)?;
    let packet = packet
        .get(..header.total_len)
        .ok_or(ParseError::Truncated)?;
    let chain = ipv6::walk(packet, header.next)?;
    let payload = packet.get(chain.at..).ok_or(ParseError::Truncated)?;
    let l3 = usize::from(parsed.l3);
    parsed.v6 = true;
    parsed.l4 = (l3 + chain.at) as u16;
    parsed.end = (l3 + header.total_len) as u16;
    parsed.addrs_at = (l3 + ipv6::field::ADDRS) as u16;
    parsed.proto = chain.proto;
    parsed.key_proto = chain.proto;
    parsed.ttl = header.hop_limit;
    if let Some(found) = chain.fragment {
        parsed.fragment_at = (l3 + found.at) as u16;
        let piece = Piece {
            offset: found.offset,
            len: packet.len().saturating_sub(found.at + 8),
            before: found.at - ipv6::HEADER_LEN,
            more: found.more,
        };
        fragment(parsed, piece)?;
    }
    if parsed.kind != Kind::FragmentRest {
        match chain.proto {
            proto::ICMPV6 => icmp::v6(frame, parsed, &header)?,
            proto::ICMP => return Err(ParseError::BadL4Header),
            _ => transport(payload, parsed)?,
        }
    }
    addresses_v6(frame, parsed, header.addrs, payload)
}

/// Whether a packet of this kind may have these addresses.
fn addresses_v6(
    frame: &[u8],
    parsed: &Parsed,
    addrs: [u64; 4],
    payload: &[u8],
) -> Result<(), ParseError> {
    let [src, _, dst, _] = addrs;
    let is_multicast = |word: u64| word.to_ne_bytes()[0] == 0xff;
    let control = matches!(
        parsed.kind,
        Kind::NeighbourDiscovery | Kind::MulticastListener
    );
    // All of ::/64 is loopback, unspecified, or IPv4 in IPv6's clothes (RFC 4942 section 2.2).
    // A station that has no address yet solicits (RFC 4861) and reports (RFC 3590) from `::`.
    let unspecified = addrs[..2] == [0, 0] && control && !icmp::is_advertisement(payload);
    if is_multicast(src) || (src == 0 && !unspecified) {
        return Err(ParseError::MartianSource);
    }
    if dst == 0 {
        return Err(ParseError::MartianDestination);
    }
    if (is_multicast(dst) || is_group(frame)) && !control {
        return Err(ParseError::Multicast);
    }
    Ok(())
}

fn is_group(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| first & 1 != 0)
}

/// A fragment's place in its datagram, in bytes.
struct Piece {
    offset: usize,
    len: usize,
    /// What lies before the fragmented part and counts towards the datagram's length limit.
    before: usize,
    more: bool,
}

/// Checks that some datagram can have this piece, and sets the kind.
fn fragment(parsed: &mut Parsed, piece: Piece) -> Result<(), ParseError> {
    let past_limit = piece.before + piece.offset + piece.len > usize::from(u16::MAX);
    let uneven = piece.more && !piece.len.is_multiple_of(8);
    // RFC 1858 and 3128: no later fragment may reach into the TCP header.
    let into_header =
        piece.offset != 0 && parsed.proto == proto::TCP && piece.offset < tcp::MIN_LEN;
    if piece.len == 0 || past_limit || uneven || into_header {
        return Err(ParseError::FragmentInvalid);
    }
    parsed.kind = if piece.offset == 0 {
        Kind::FragmentFirst
    } else {
        Kind::FragmentRest
    };
    Ok(())
}

/// TCP, UDP, and protocols of which only the addresses matter.
fn transport(payload: &[u8], parsed: &mut Parsed) -> Result<(), ParseError> {
    let first = parsed.kind == Kind::FragmentFirst;
    // A header that does not fit into the first fragment is a trick (RFC 1858, RFC 7112).
    let cut = if first {
        ParseError::FragmentInvalid
    } else {
        ParseError::BadL4Header
    };
    match parsed.proto {
        proto::TCP => {
            let [offset, flags] = array(payload, 12).ok_or(cut)?;
            let header_len = usize::from(offset >> 4) * 4;
            if payload.len() < tcp::MIN_LEN || header_len > payload.len() {
                return Err(cut);
            }
            if header_len < tcp::MIN_LEN {
                return Err(ParseError::BadL4Header);
            }
            parsed.tcp_flags = flags;
        }
        proto::UDP => {
            let len = usize::from(be16(payload, 4).ok_or(cut)?);
            if payload.len() < udp::HEADER_LEN {
                return Err(cut);
            }
            if len < udp::HEADER_LEN || (!first && len > payload.len()) {
                return Err(ParseError::BadL4Header);
            }
        }
        _ => return Ok(()),
    }
    parsed.ports = ne32(payload, 0).ok_or(cut)?;
    Ok(())
}
