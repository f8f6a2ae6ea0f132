//! TCP headers (RFC 9293): the fields that tracking needs, and the options of a SYN.

use crate::bytes::{array, be16, put_be16, u8_at};
use crate::checksum::Delta;

/// Bytes of a header without options.
pub const MIN_LEN: usize = 20;
/// Offset of the flags.
pub const FLAGS: usize = 13;
/// Offset of the checksum.
pub const CHECKSUM: usize = 16;

/// Bits of the flags.
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 2;
    /// Reset.
    pub const RST: u8 = 4;
    /// Push.
    pub const PSH: u8 = 8;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 16;
    /// The urgent pointer counts.
    pub const URG: u8 = 32;
    /// ECN echo (RFC 3168).
    pub const ECE: u8 = 64;
    /// Congestion window reduced (RFC 3168).
    pub const CWR: u8 = 128;
}

/// What a header says, all in host order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Bytes of data.
    pub len: u16,
    /// Window, not scaled.
    pub window: u16,
    /// Bits of [`flag`].
    pub flags: u8,
    /// Bytes of the header, options included.
    pub header_len: u8,
}

impl Segment {
    /// Reads a segment that ends where the slice does. `None` if the header is not all there or
    /// says less than 20 bytes of itself.
    #[inline]
    pub fn parse(segment: &[u8]) -> Option<Self> {
        let head: [u8; MIN_LEN] = array(segment, 0)?;
        let header_len = (head[12] >> 4) * 4;
        let len = segment.len().checked_sub(usize::from(header_len))?;
        if usize::from(header_len) < MIN_LEN {
            return None;
        }
        Some(Self {
            seq: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            ack: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
            len: u16::try_from(len).ok()?,
            window: u16::from_be_bytes([head[14], head[15]]),
            flags: head[FLAGS],
            header_len,
        })
    }

    /// The sequence number after this segment: SYN and FIN count one each.
    #[inline]
    pub const fn end(&self) -> u32 {
        let controls = (self.flags & flag::SYN) >> 1 & 1;
        let controls = controls + (self.flags & flag::FIN);
        self.seq
            .wrapping_add(self.len as u32)
            .wrapping_add(controls as u32)
    }
}

/// Options that a SYN may carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale (RFC 7323), cut to 14 as its section 2.3 asks.
    pub window_scale: Option<u8>,
    /// Selective acknowledgement permitted (RFC 2018).
    pub sack_permitted: bool,
}

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;

/// The options of a segment as (kind, offset from the header's start, length). Ends at the end of
/// the header, at an end-of-list option, or before an option with an impossible length.
#[derive(Clone, Debug)]
pub struct OptionWalk<'a> {
    header: &'a [u8],
    at: usize,
}

impl<'a> OptionWalk<'a> {
    /// Walks the options of a segment; of one with a broken header there are none.
    pub fn new(segment: &'a [u8]) -> Self {
        let len = usize::from(u8_at(segment, 12).unwrap_or(0) >> 4) * 4;
        Self {
            header: segment.get(..len).unwrap_or_default(),
            at: MIN_LEN,
        }
    }
}

impl Iterator for OptionWalk<'_> {
    type Item = (u8, usize, usize);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let at = self.at;
            match u8_at(self.header, at)? {
                END => return None,
                NOP => self.at += 1,
                kind => {
                    let len = usize::from(u8_at(self.header, at + 1)?);
                    if len < 2 || at + len > self.header.len() {
                        return None;
                    }
                    self.at += len;
                    return Some((kind, at, len));
                }
            }
        }
    }
}

impl Options {
    /// Reads the options of a segment. Of a repeated one, the last counts.
    pub fn parse(segment: &[u8]) -> Self {
        let mut options = Self::default();
        for (kind, at, len) in OptionWalk::new(segment) {
            match (kind, len) {
                (MSS, 4) => options.mss = be16(segment, at + 2),
                (WINDOW_SCALE, 3) => {
                    options.window_scale = u8_at(segment, at + 2).map(|shift| shift.min(14));
                }
                (SACK_PERMITTED, 2) => options.sack_permitted = true,
                _ => {}
            }
        }
        options
    }
}

/// Lowers the MSS option of a SYN (with or without ACK) to `limit` bytes, and mends the checksum.
/// Returns whether anything changed. A smaller MSS stays, and none is added: a sender that is told
/// nothing takes 536 (RFC 9293 section 3.7.1).
pub fn clamp_mss(segment: &mut [u8], limit: u16) -> bool {
    if segment.len() < MIN_LEN || u8_at(segment, FLAGS).unwrap_or(0) & flag::SYN == 0 {
        return false;
    }
    let mut changed = false;
    let mut from = MIN_LEN;
    loop {
        let mut walk = OptionWalk::new(segment);
        walk.at = from;
        let Some((kind, at, len)) = walk.next() else {
            return changed;
        };
        from = at + len;
        let Some(mss) = be16(segment, at + 2).filter(|mss| (kind, len) == (MSS, 4) && *mss > limit)
        else {
            continue;
        };
        put_be16(segment, at + 2, limit);
        // An option may start at an odd offset; then its bytes are each in the other half of a
        // checksum word.
        let (old, new) = (mss.to_be_bytes(), limit.to_be_bytes());
        let delta = if at % 2 == 0 {
            Delta::bytes(&old, &new)
        } else {
            Delta::bytes(&[0, old[0], old[1], 0], &[0, new[0], new[1], 0])
        };
        delta.patch(segment, CHECKSUM);
        changed = true;
    }
}

#[cfg(test)]
mod tests;
