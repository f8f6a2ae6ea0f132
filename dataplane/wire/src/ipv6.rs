//! IPv6 headers and the chain of extension headers (RFC 8200).

use crate::bytes::{array, be16, be32, u8_at};
use crate::parse::ParseError;

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 40;

/// Offsets into the fixed header.
pub mod field {
    /// Payload length, two bytes: what follows the fixed header.
    pub const PAYLOAD_LEN: usize = 4;
    /// Next header, one byte.
    pub const NEXT: usize = 6;
    /// Hop limit, one byte.
    pub const HOP_LIMIT: usize = 7;
    /// Source address, then destination address: 32 bytes.
    pub const ADDRS: usize = 8;
}

/// Extension header numbers.
pub mod next {
    /// Hop-by-hop options; only right after the fixed header.
    pub const HOP_BY_HOP: u8 = 0;
    /// Routing.
    pub const ROUTING: u8 = 43;
    /// Fragment.
    pub const FRAGMENT: u8 = 44;
    /// Authentication header (RFC 4302).
    pub const AUTH: u8 = 51;
    /// Nothing follows.
    pub const NONE: u8 = 59;
    /// Destination options.
    pub const DESTINATION: u8 = 60;
}

/// Longest chain that is walked. Real packets have one or two; RFC 8200 section 4.1 allows eight.
const MAX_EXTENSIONS: usize = 8;

/// What the fixed header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Traffic class.
    pub traffic_class: u8,
    /// Bytes of the packet, fixed header included. May exceed what is there: see [`parse`].
    pub total_len: usize,
    /// Number of the header that follows.
    pub next: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source and destination address, wire order.
    pub addrs: [u64; 4],
}

/// Reads a fixed header whose packet may have been cut short behind it.
///
/// # Errors
/// [`ParseError::Truncated`] if it is not all there, [`ParseError::BadIpHeader`] if the version is
/// not 6.
pub fn parse(packet: &[u8]) -> Result<Header, ParseError> {
    let fixed: [u8; HEADER_LEN] = array(packet, 0).ok_or(ParseError::Truncated)?;
    if fixed[0] >> 4 != 6 {
        return Err(ParseError::BadIpHeader);
    }
    let addrs: [u8; 32] = array(&fixed, field::ADDRS).ok_or(ParseError::Truncated)?;
    Ok(Header {
        traffic_class: fixed[0] << 4 | fixed[1] >> 4,
        total_len: HEADER_LEN + usize::from(u16::from_be_bytes([fixed[4], fixed[5]])),
        next: fixed[field::NEXT],
        hop_limit: fixed[field::HOP_LIMIT],
        addrs: zerocopy::transmute!(addrs),
    })
}

/// Where the chain of extension headers led.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chain {
    /// The upper-layer protocol. In a fragment that is not the first: the header that the
    /// fragment header names, which may be an extension header.
    pub proto: u8,
    /// Offset of the upper-layer header from the packet's start; in a fragment that is not the
    /// first, of its payload.
    pub at: usize,
    /// The fragment header, unless the packet is whole. A fragment header on a whole packet
    /// ("atomic fragment", RFC 6946) is walked over as if it were not there.
    pub fragment: Option<Fragment>,
}

/// What a fragment header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// Offset of the fragment header from the packet's start.
    pub at: usize,
    /// Offset in bytes of the fragmentable part's piece in this packet.
    pub offset: usize,
    /// Other fragments follow.
    pub more: bool,
    /// Identification.
    pub id: u32,
}

/// Reads the fragment header at `at`. `None` if the slice ends before its eight bytes do.
pub fn fragment(packet: &[u8], at: usize) -> Option<Fragment> {
    let word = be16(packet, at.checked_add(2)?)?;
    Some(Fragment {
        at,
        offset: usize::from(word & 0xfff8),
        more: word & 1 != 0,
        id: be32(packet, at + 4)?,
    })
}

/// Walks the chain of a packet, which ends where the slice does, from header number `next` on.
///
/// # Errors
/// [`ParseError::Truncated`] if the chain runs past the slice, except that a first fragment which
/// does not hold the whole chain is [`ParseError::FragmentInvalid`] (RFC 7112).
/// [`ParseError::ExtensionHeader`] for what must not pass or makes no sense: routing type 0 (RFC
/// 5095), any routing header with segments left (the packet's destination is not its last, so no
/// session can be told), hop-by-hop options not in front, two fragment headers, more than eight
/// headers.
pub fn walk(packet: &[u8], next: u8) -> Result<Chain, ParseError> {
    let mut chain = Chain {
        proto: next,
        at: HEADER_LEN,
        fragment: None,
    };
    let mut seen_fragment = false;
    for nth in 0..=MAX_EXTENSIONS {
        let at = chain.at;
        let cut = match chain.fragment {
            Some(_) => ParseError::FragmentInvalid,
            None => ParseError::Truncated,
        };
        let read = |offset: usize| u8_at(packet, at + offset).ok_or(cut);
        let len = match chain.proto {
            next::HOP_BY_HOP if nth != 0 => return Err(ParseError::ExtensionHeader),
            next::HOP_BY_HOP | next::DESTINATION => (usize::from(read(1)?) + 1) * 8,
            next::ROUTING => {
                let (kind, segments_left) = (read(2)?, read(3)?);
                if kind == 0 || segments_left != 0 {
                    return Err(ParseError::ExtensionHeader);
                }
                (usize::from(read(1)?) + 1) * 8
            }
            next::AUTH => (usize::from(read(1)?) + 2) * 4,
            next::FRAGMENT => {
                if seen_fragment {
                    return Err(ParseError::ExtensionHeader);
                }
                seen_fragment = true;
                let header = fragment(packet, at).ok_or(ParseError::Truncated)?;
                if header.offset != 0 || header.more {
                    chain.fragment = Some(header);
                }
                8
            }
            _ => return Ok(chain),
        };
        if nth == MAX_EXTENSIONS {
            break;
        }
        let following = read(0)?;
        if at + len > packet.len() {
            return Err(cut);
        }
        chain.proto = following;
        chain.at = at + len;
        if chain.fragment.is_some_and(|f| f.offset != 0) {
            return Ok(chain);
        }
    }
    Err(ParseError::ExtensionHeader)
}

/// The first four bytes of a packet without flow label, of this traffic class.
#[inline]
const fn version_and_class(traffic_class: u8) -> [u8; 2] {
    [0x60 | traffic_class >> 4, traffic_class << 4]
}

/// A fixed header, to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Build {
    /// Traffic class.
    pub traffic_class: u8,
    /// Bytes that follow the fixed header.
    pub payload_len: u16,
    /// Number of the header that follows.
    pub next: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source and destination address, wire order.
    pub addrs: [u64; 4],
}

impl Build {
    /// The header's bytes.
    pub fn bytes(&self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[..2].copy_from_slice(&version_and_class(self.traffic_class));
        header[field::PAYLOAD_LEN..field::NEXT].copy_from_slice(&self.payload_len.to_be_bytes());
        header[field::NEXT] = self.next;
        header[field::HOP_LIMIT] = self.hop_limit;
        let addrs: [u8; 32] = zerocopy::transmute!(self.addrs);
        header[field::ADDRS..].copy_from_slice(&addrs);
        header
    }
}
