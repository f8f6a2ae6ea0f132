//! IPv4 headers (RFC 791, RFC 1812 section 5.2.2).

use crate::bytes::{array, put, put_be16, put_ne16, u8_at};
use crate::checksum::Sum;
use crate::parse::ParseError;

/// Bytes of a header without options.
pub const MIN_LEN: usize = 20;

/// Offsets into the header.
pub mod field {
    /// Total length, two bytes.
    pub const TOTAL_LEN: usize = 2;
    /// Identification, two bytes.
    pub const ID: usize = 4;
    /// Flags and fragment offset, two bytes.
    pub const FRAGMENT: usize = 6;
    /// Time to live, one byte.
    pub const TTL: usize = 8;
    /// Protocol, one byte.
    pub const PROTO: usize = 9;
    /// Header checksum, two bytes.
    pub const CHECKSUM: usize = 10;
    /// Source address, then destination address: eight bytes.
    pub const ADDRS: usize = 12;
}

/// "Don't fragment" in the fragment word, host order.
pub const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments" in the fragment word, host order.
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The offset in the fragment word, in units of eight bytes.
pub const OFFSET_MASK: u16 = 0x1fff;

/// What a header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Bytes of the header, options included: 20 to 60.
    pub header_len: usize,
    /// Bytes of the packet, header included. May exceed what is there: see [`parse`].
    pub total_len: usize,
    /// Identification.
    pub id: u16,
    /// Flags and offset as one word.
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol.
    pub proto: u8,
    /// Source and destination address, wire order.
    pub addrs: u64,
}

impl Header {
    /// Offset in bytes of this fragment's payload in the datagram.
    #[inline]
    pub const fn offset(&self) -> usize {
        ((self.fragment & OFFSET_MASK) as usize) << 3
    }

    /// Other fragments follow.
    #[inline]
    pub const fn more(&self) -> bool {
        self.fragment & MORE_FRAGMENTS != 0
    }
}

/// Reads a header whose packet may have been cut short behind the header, as those within ICMP
/// errors are.
///
/// # Errors
/// [`ParseError::Truncated`] if the header is not all there, [`ParseError::BadIpHeader`] if its
/// version or a length in it is impossible. The checksum is not looked at.
pub fn parse(packet: &[u8]) -> Result<Header, ParseError> {
    let fixed: [u8; MIN_LEN] = array(packet, 0).ok_or(ParseError::Truncated)?;
    let word = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let header_len = usize::from(fixed[0] & 15) * 4;
    let total_len = usize::from(word(field::TOTAL_LEN));
    if fixed[0] >> 4 != 4 || header_len < MIN_LEN || total_len < header_len {
        return Err(ParseError::BadIpHeader);
    }
    if packet.len() < header_len {
        return Err(ParseError::Truncated);
    }
    let [.., a, b, c, d, e, f, g, h] = fixed;
    Ok(Header {
        header_len,
        total_len,
        id: word(field::ID),
        fragment: word(field::FRAGMENT),
        ttl: fixed[field::TTL],
        proto: fixed[field::PROTO],
        addrs: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
    })
}

/// Whether the header checksum is right. False if the slice ends within the header.
#[inline]
pub fn checksum_ok(packet: &[u8], header_len: usize) -> bool {
    packet
        .get(..header_len)
        .is_some_and(|header| Sum::ZERO.bytes(header).is_valid())
}

/// The same for a header without options.
#[inline(always)]
pub fn checksum_ok_plain(header: &[u8; MIN_LEN]) -> bool {
    let (words, last) = header.as_chunks::<8>();
    let (&[first, second], Some(last)) = (words, last.first_chunk()) else {
        return false;
    };
    let last = u32::from_ne_bytes(*last);
    // One's complement, 64 bits at a time: what is carried out comes in again below. The second
    // addition cannot carry into itself, as a number that just wrapped is small.
    let (sum, carry) = u64::from_ne_bytes(first).overflowing_add(u64::from_ne_bytes(second));
    let (sum, again) = sum.overflowing_add(u64::from(last) + u64::from(carry));
    let sum = sum + u64::from(again);
    // 2^16 is 1 modulo 0xffff, so folding would not change the remainder, and the header is intact if
    // it is 0. Multiples of an odd number, and no others, come out small when multiplied by its
    // inverse modulo 2^64 (Granlund and Montgomery, PLDI 1994, section 9). Only zeros, which are no
    // header, sum up to 0 itself.
    const INVERSE: u64 = 0xfffe_fffe_fffe_ffff;
    const _: () = assert!(INVERSE.wrapping_mul(0xffff) == 1);
    (sum.wrapping_mul(INVERSE) <= u64::MAX / 0xffff) & (sum != 0)
}

/// Whether the options are well formed, and no source route is among them.
///
/// Source routes let a sender choose a way around policy; RFC 7126 section 4.3 and 4.4 has them
/// dropped. What follows an end-of-list option is not looked at.
pub fn options_ok(options: &[u8]) -> bool {
    const END: u8 = 0;
    const NOP: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    let mut at = 0;
    while let Some(kind) = u8_at(options, at) {
        match kind {
            END => return true,
            NOP => at += 1,
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return false,
            _ => {
                let len = usize::from(u8_at(options, at + 1).unwrap_or(0));
                if len < 2 || at + len > options.len() {
                    return false;
                }
                at += len;
            }
        }
    }
    true
}

/// A header without options, to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Build {
    /// Bytes of the packet, header included.
    pub total_len: u16,
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// Flags and fragment offset, host order.
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol.
    pub proto: u8,
    /// Source and destination address, wire order.
    pub addrs: u64,
}

impl Build {
    /// The header's bytes, checksum included.
    pub fn bytes(&self) -> [u8; MIN_LEN] {
        let mut header = [0; MIN_LEN];
        header[0] = 0x45;
        header[1] = self.tos;
        put_be16(&mut header, field::TOTAL_LEN, self.total_len);
        put_be16(&mut header, field::ID, self.id);
        put_be16(&mut header, field::FRAGMENT, self.fragment);
        header[field::TTL] = self.ttl;
        header[field::PROTO] = self.proto;
        put(&mut header, field::ADDRS, self.addrs.to_ne_bytes());
        let checksum = Sum::ZERO.bytes(&header).checksum();
        put_ne16(&mut header, field::CHECKSUM, checksum);
        header
    }
}

/// Writes the header checksum anew, over options too. Nothing happens if the header is not all there.
pub fn reseal(packet: &mut [u8]) {
    let len = usize::from(u8_at(packet, 0).unwrap_or(0) & 15) * 4;
    let Some(header) = packet.get_mut(..len) else {
        return;
    };
    put_be16(header, field::CHECKSUM, 0);
    let checksum = Sum::ZERO.bytes(header).checksum();
    put_ne16(header, field::CHECKSUM, checksum);
}
