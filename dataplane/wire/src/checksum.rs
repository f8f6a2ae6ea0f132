//! The Internet checksum: sums (RFC 1071) and incremental updates (RFC 1624).
//!
//! Everything here is in *wire order*: 16-bit words are the two bytes of the packet read natively,
//! without swapping. A one's complement sum of swapped words is the swapped sum (RFC 1071 section
//! 2 B), so a sum over native reads, a checksum field read natively and a [`Delta`] all fit
//! together on any machine, and updating a checksum is load, add, fold, store.

use zerocopy::IntoBytes;

use crate::bytes::{ne16, put_ne16};
use crate::key::Family;

/// A one's complement sum under way.
///
/// Slices are added as if they lay one after another, so each but the last must have an even length.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum(u64);

impl Sum {
    /// Nothing summed yet.
    pub const ZERO: Self = Self(0);

    /// Adds a slice; an odd last byte counts as followed by zero.
    #[inline]
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        // 32-bit words into a 64-bit accumulator: no carry to catch for 2^32 words, and the
        // compiler can do several at once.
        let (words, rest) = bytes.as_chunks::<4>();
        let mut sum = self.0;
        for word in words {
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        Self(sum + u64::from(u32::from_ne_bytes(last)))
    }

    /// Adds a 16-bit value given in host order.
    #[inline]
    #[must_use]
    pub fn be16(self, value: u16) -> Self {
        Self(self.0 + u64::from(value.to_be()))
    }

    /// Adds a 32-bit value given in host order.
    #[inline]
    #[must_use]
    pub fn be32(self, value: u32) -> Self {
        Self(self.0 + u64::from(value.to_be()))
    }

    /// Adds a pseudo-header (RFC 9293 section 3.1 for IPv4, RFC 8200 section 8.1 for IPv6):
    /// addresses as in [`Family::Addrs`], upper-layer length in bytes.
    #[inline]
    #[must_use]
    pub fn pseudo<F: Family>(self, addrs: F::Addrs, proto: u8, len: u32) -> Self {
        self.bytes(addrs.as_bytes())
            .be16(u16::from(proto))
            .be32(len)
    }

    /// The sum folded to 16 bits, wire order: 0xffff over data that holds its correct checksum.
    #[inline]
    pub const fn fold(self) -> u16 {
        let sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        let sum = (sum >> 32) + (sum & 0xffff_ffff);
        fold32(sum as u32)
    }

    /// The value for a checksum field that was zero while summing, wire order.
    #[inline]
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }

    /// The same for UDP, where 0 in the field means "none" and so 0 is sent as 0xffff.
    #[inline]
    pub const fn checksum_udp(self) -> u16 {
        nonzero(self.checksum())
    }

    /// Whether data that includes its checksum field is intact.
    #[inline]
    pub const fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }
}

/// Folds twice, which is enough for any 32-bit sum. Non-zero stays non-zero.
#[inline]
const fn fold32(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

/// A UDP checksum that comes out as 0 is sent as 0xffff (RFC 768).
#[inline]
const fn nonzero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// The change that a rewrite makes to the one's complement sum of what it rewrites, wire order:
/// sum of `!old + new` over the words replaced (RFC 1624 equation 3).
///
/// The words must lie at even offsets from the start of what the checksum covers. Deltas of several
/// replacements combine by [`Delta::and`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Delta(pub u16);

impl Delta {
    /// Nothing changes.
    pub const NONE: Self = Self(0);

    /// TTL less one in an IPv4 header: its word, TTL and protocol, goes down by 0x0100.
    pub const TTL_DECREMENT: Self = Self(u16::from_ne_bytes([0xfe, 0xff]));

    /// Of replacing one 16-bit word, both in wire order.
    #[inline]
    #[must_use]
    pub const fn word16(old: u16, new: u16) -> Self {
        Self(fold32(!old as u32 + new as u32))
    }

    /// Of replacing two adjacent words (a pair of ports), both in wire order.
    #[inline]
    #[must_use]
    pub const fn word32(old: u32, new: u32) -> Self {
        Self::word16(fold32(old), fold32(new))
    }

    /// Of replacing source and destination address.
    #[inline]
    #[must_use]
    pub fn addrs<F: Family>(old: F::Addrs, new: F::Addrs) -> Self {
        Self::word16(
            Sum::ZERO.bytes(old.as_bytes()).fold(),
            Sum::ZERO.bytes(new.as_bytes()).fold(),
        )
    }

    /// Of replacing one run of bytes by another. Both start at even offsets, and lengths are even.
    #[inline]
    #[must_use]
    pub fn bytes(old: &[u8], new: &[u8]) -> Self {
        Self::word16(Sum::ZERO.bytes(old).fold(), Sum::ZERO.bytes(new).fold())
    }

    /// Of both changes.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(fold32(self.0 as u32 + other.0 as u32))
    }

    /// Of taking this change back.
    #[inline]
    #[must_use]
    pub const fn inverse(self) -> Self {
        Self(!self.0)
    }

    /// The checksum field after the change; both in wire order.
    ///
    /// A correct checksum becomes exactly the one that summing everything anew would give: the
    /// complemented field is never zero for real data, and adding to it never makes it zero, so the
    /// two zeros of one's complement are not mixed up (RFC 1624 section 3).
    #[inline]
    #[must_use]
    pub const fn apply(self, checksum: u16) -> u16 {
        let sum = !checksum as u32 + self.0 as u32;
        !(((sum >> 16) + sum) as u16)
    }

    /// The same for UDP: 0 (no checksum) stays 0, and a result of 0 is sent as 0xffff.
    #[inline]
    #[must_use]
    pub const fn apply_udp(self, checksum: u16) -> u16 {
        if checksum == 0 {
            0
        } else {
            nonzero(self.apply(checksum))
        }
    }

    /// Applies to the checksum field at `at`. Nothing happens if the field lies outside.
    #[inline]
    pub fn patch(self, bytes: &mut [u8], at: usize) {
        if let Some(checksum) = ne16(bytes, at) {
            put_ne16(bytes, at, self.apply(checksum));
        }
    }

    /// Applies to the UDP checksum field at `at`. Nothing happens if the field lies outside.
    #[inline]
    pub fn patch_udp(self, bytes: &mut [u8], at: usize) {
        if let Some(checksum) = ne16(bytes, at) {
            put_ne16(bytes, at, self.apply_udp(checksum));
        }
    }
}

#[cfg(test)]
mod tests;
