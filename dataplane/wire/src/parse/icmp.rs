//! ICMP and ICMPv6: echo by its identifier, errors by the packet within them.

use super::{Kind, ParseError, Parsed};
use crate::bytes::{array, ne32, u8_at};
use crate::checksum::Sum;
use crate::icmp4;
use crate::icmp6;
use crate::ipv4;
use crate::ipv6;
use crate::key::{Family, V4, V6};
use crate::proto;

/// The packet within an ICMP error, of which all but its first bytes may be missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inner {
    /// Offset of its IP header in the frame.
    pub l3: u16,
    /// Offset of its transport header in the frame.
    pub l4: u16,
    /// Offset past what is there of it. For TCP, UDP and echo at least `l4 + 8`.
    pub end: u16,
    /// Its upper-layer protocol.
    pub proto: u8,
}

impl Parsed {
    /// Where the packet is that an ICMP error is about; `None` if this is no ICMP error.
    pub fn inner(&self, frame: &[u8]) -> Option<Inner> {
        if self.kind != Kind::IcmpError {
            return None;
        }
        if self.v6 {
            inner_v6(frame, self).map(|(inner, _)| inner)
        } else {
            inner_v4(frame, self).map(|(inner, _)| inner)
        }
    }
}

/// Sets kind and key of an ICMP message.
pub(super) fn v4(
    frame: &[u8],
    parsed: &mut Parsed,
    outer: &ipv4::Header,
) -> Result<(), ParseError> {
    let message = parsed.transport(frame);
    let head = head(message, parsed)?;
    match head[0] {
        icmp4::ECHO_REQUEST => parsed.ports = request_ports(head),
        icmp4::ECHO_REPLY => parsed.ports = reply_ports(head),
        icmp4::UNREACHABLE | icmp4::TIME_EXCEEDED | icmp4::PARAMETER_PROBLEM => {
            check_error(parsed, Sum::ZERO.bytes(message))?;
            let (inner, addrs) = inner_v4(frame, parsed).ok_or(ParseError::IcmpUnrelated)?;
            // An error goes to who sent the packet; anything else tries to hit a third party's
            // session through ours.
            if outer.addrs.to_ne_bytes()[4..] != addrs.to_ne_bytes()[..4] {
                return Err(ParseError::IcmpUnrelated);
            }
            set_error::<V4>(frame, parsed, inner)?;
        }
        _ => return Err(ParseError::IcmpUnsupported),
    }
    Ok(())
}

/// Sets kind and key of an ICMPv6 message.
pub(super) fn v6(
    frame: &[u8],
    parsed: &mut Parsed,
    outer: &ipv6::Header,
) -> Result<(), ParseError> {
    let message = parsed.transport(frame);
    let head = head(message, parsed)?;
    let control = match head[0] {
        icmp6::ECHO_REQUEST => {
            parsed.ports = request_ports(head);
            return Ok(());
        }
        icmp6::ECHO_REPLY => {
            parsed.ports = reply_ports(head);
            return Ok(());
        }
        icmp6::UNREACHABLE
        | icmp6::PACKET_TOO_BIG
        | icmp6::TIME_EXCEEDED
        | icmp6::PARAMETER_PROBLEM => {
            let pseudo = Sum::ZERO.pseudo::<V6>(outer.addrs, proto::ICMPV6, message.len() as u32);
            check_error(parsed, pseudo.bytes(message))?;
            let (inner, addrs) = inner_v6(frame, parsed).ok_or(ParseError::IcmpUnrelated)?;
            if outer.addrs[2..] != addrs[..2] {
                return Err(ParseError::IcmpUnrelated);
            }
            return set_error::<V6>(frame, parsed, inner);
        }
        icmp6::ROUTER_SOLICITATION..=icmp6::NEIGHBOUR_ADVERTISEMENT => Kind::NeighbourDiscovery,
        icmp6::LISTENER_QUERY..=icmp6::LISTENER_DONE | icmp6::LISTENER_REPORT_V2 => {
            Kind::MulticastListener
        }
        _ => return Err(ParseError::IcmpUnsupported),
    };
    // RFC 6980: neighbour discovery in fragments evades inspection, and nobody needs it.
    if parsed.is_fragment() {
        return Err(ParseError::FragmentInvalid);
    }
    parsed.kind = control;
    Ok(())
}

/// Whether a message that opens like this is a router or neighbour advertisement.
pub(super) fn is_advertisement(message: &[u8]) -> bool {
    matches!(
        message.first(),
        Some(&(icmp6::ROUTER_ADVERTISEMENT | icmp6::NEIGHBOUR_ADVERTISEMENT))
    )
}

/// The eight bytes that every message has.
fn head(message: &[u8], parsed: &Parsed) -> Result<[u8; 8], ParseError> {
    array(message, 0).ok_or(if parsed.is_fragment() {
        ParseError::FragmentInvalid
    } else {
        ParseError::BadL4Header
    })
}

/// Identifier as source port (see [`crate::Tuple`]).
const fn request_ports(head: [u8; 8]) -> u32 {
    u32::from_ne_bytes([head[4], head[5], 0, 0])
}

/// Identifier as destination port.
const fn reply_ports(head: [u8; 8]) -> u32 {
    u32::from_ne_bytes([0, 0, head[4], head[5]])
}

/// RFC 5508 requirement 3: an error with a wrong checksum is not acted on. One in fragments cannot
/// be verified; as errors are cut to fit any link, nobody sends such.
fn check_error(parsed: &Parsed, sum: Sum) -> Result<(), ParseError> {
    if parsed.is_fragment() {
        Err(ParseError::IcmpUnsupported)
    } else if sum.is_valid() {
        Ok(())
    } else {
        Err(ParseError::BadL4Header)
    }
}

/// The key is the inner packet's tuple reversed.
fn set_error<F: Family>(frame: &[u8], parsed: &mut Parsed, inner: Inner) -> Result<(), ParseError> {
    let ports = inner_ports(frame, &inner, F::IS_V6).ok_or(ParseError::IcmpUnrelated)?;
    parsed.kind = Kind::IcmpError;
    parsed.ports = ports.rotate_left(16);
    parsed.key_proto = inner.proto;
    parsed.addrs_at = inner.l3
        + if F::IS_V6 {
            ipv6::field::ADDRS
        } else {
            ipv4::field::ADDRS
        } as u16;
    Ok(())
}

/// The inner packet's ports in wire order, as a key has them. `None` if its first eight bytes are
/// not there, or if it is ICMP other than echo (there are no errors about errors, RFC 1122 section
/// 3.2.2).
fn inner_ports(frame: &[u8], inner: &Inner, v6: bool) -> Option<u32> {
    let packet = frame.get(usize::from(inner.l4)..usize::from(inner.end))?;
    match (inner.proto, v6) {
        (proto::TCP | proto::UDP, _) => {
            array::<8>(packet, 0)?;
            ne32(packet, 0)
        }
        (proto::ICMP, false) | (proto::ICMPV6, true) => {
            let head = array(packet, 0)?;
            match (u8_at(packet, 0)?, v6) {
                (icmp4::ECHO_REQUEST, false) | (icmp6::ECHO_REQUEST, true) => {
                    Some(request_ports(head))
                }
                (icmp4::ECHO_REPLY, false) | (icmp6::ECHO_REPLY, true) => Some(reply_ports(head)),
                _ => None,
            }
        }
        (proto::ICMP | proto::ICMPV6, _) => None,
        _ => Some(0),
    }
}

/// The packet within an ICMP error, and its addresses. RFC 5508 requirement 3: its header must be
/// intact, its options are walked over, its payload may be cut and is not verified.
fn inner_v4(frame: &[u8], parsed: &Parsed) -> Option<(Inner, u64)> {
    let l3 = parsed.l4 + icmp4::HEADER_LEN as u16;
    let packet = frame.get(usize::from(l3)..usize::from(parsed.end))?;
    let header = ipv4::parse(packet).ok()?;
    if !ipv4::checksum_ok(packet, header.header_len) || header.offset() != 0 {
        return None;
    }
    let inner = Inner {
        l3,
        l4: l3 + header.header_len as u16,
        end: l3 + packet.len().min(header.total_len) as u16,
        proto: header.proto,
    };
    Some((inner, header.addrs))
}

/// The same for IPv6; the chain of extension headers must be there to its end.
fn inner_v6(frame: &[u8], parsed: &Parsed) -> Option<(Inner, [u64; 4])> {
    let l3 = parsed.l4 + icmp6::HEADER_LEN as u16;
    let packet = frame.get(usize::from(l3)..usize::from(parsed.end))?;
    let header = ipv6::parse(packet).ok()?;
    let there = packet.len().min(header.total_len);
    let chain = ipv6::walk(packet.get(..there)?, header.next).ok()?;
    if chain.fragment.is_some_and(|fragment| fragment.offset != 0) {
        return None;
    }
    let inner = Inner {
        l3,
        l4: l3 + chain.at as u16,
        end: l3 + there as u16,
        proto: chain.proto,
    };
    Some((inner, header.addrs))
}
