//! Ethernet headers, with or without an 802.1Q tag.

use crate::bytes::{array, be16, put, put_be16};
use crate::mac::MacAddr;
use crate::proto::ETHERTYPE_VLAN;

/// Bytes of a header without tag.
pub const HEADER_LEN: usize = 14;
/// Bytes that a tag adds.
pub const TAG_LEN: usize = 4;
/// Offset of the source MAC address.
pub const SRC: usize = 6;
/// Offset of the EtherType, or of the tag.
pub const ETHERTYPE: usize = 12;

/// Bytes of a header with this tag or none.
#[inline]
pub const fn header_len(vlan: Option<u16>) -> usize {
    match vlan {
        Some(_) => HEADER_LEN + TAG_LEN,
        None => HEADER_LEN,
    }
}

/// The destination MAC address.
#[inline]
pub fn dst(frame: &[u8]) -> Option<MacAddr> {
    array(frame, 0).map(MacAddr)
}

/// The source MAC address.
#[inline]
pub fn src(frame: &[u8]) -> Option<MacAddr> {
    array(frame, SRC).map(MacAddr)
}

/// Overwrites both MAC addresses; what follows stays. False, and unchanged, on a frame too short.
#[inline]
pub fn put_macs(frame: &mut [u8], dst: MacAddr, src: MacAddr) -> bool {
    let [a, b, c, d, e, f] = dst.0;
    let [g, h, i, j, k, l] = src.0;
    put(frame, 0, [a, b, c, d, e, f, g, h, i, j, k, l])
}

/// A header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Destination MAC address.
    pub dst: MacAddr,
    /// Source MAC address.
    pub src: MacAddr,
    /// Tag control information of an 802.1Q tag: VLAN id in the low twelve bits, then drop
    /// eligibility, then priority.
    pub tci: Option<u16>,
    /// EtherType of what follows the header.
    pub ethertype: u16,
}

impl Header {
    /// Reads a header; `None` if the frame ends within it. A second tag stays in `ethertype`.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (dst, src) = (dst(frame)?, src(frame)?);
        let outer = be16(frame, ETHERTYPE)?;
        let (tci, ethertype) = if outer == ETHERTYPE_VLAN {
            (Some(be16(frame, 14)?), be16(frame, 16)?)
        } else {
            (None, outer)
        };
        Some(Self {
            dst,
            src,
            tci,
            ethertype,
        })
    }

    /// Writes the header at the frame's start. False if the frame is too short for it.
    #[inline]
    pub fn write(&self, frame: &mut [u8]) -> bool {
        if frame.len() < header_len(self.tci) {
            return false;
        }
        put_macs(frame, self.dst, self.src);
        match self.tci {
            Some(tci) => {
                put_be16(frame, ETHERTYPE, ETHERTYPE_VLAN);
                put_be16(frame, 14, tci);
                put_be16(frame, 16, self.ethertype)
            }
            None => put_be16(frame, ETHERTYPE, self.ethertype),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
    const TAGGED: [u8; 18] = [
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0x00, 0x60, 0x64, 0x86, 0xdd,
    ];

    #[test]
    fn headers_are_read_and_written_back() {
        let plain = Header::parse(&PLAIN).unwrap();
        assert_eq!(
            plain,
            Header {
                dst: MacAddr([2, 0, 0, 0, 0, 1]),
                src: MacAddr([2, 0, 0, 0, 0, 2]),
                tci: None,
                ethertype: 0x0800,
            }
        );
        let tagged = Header::parse(&TAGGED).unwrap();
        assert_eq!((tagged.tci, tagged.ethertype), (Some(0x6064), 0x86dd));
        let mut frame = [0xee; 18];
        assert!(tagged.write(&mut frame));
        assert_eq!(frame, TAGGED);
        assert!(plain.write(&mut frame));
        assert_eq!(frame[..14], PLAIN);
        assert_eq!(frame[14..], TAGGED[14..]);
    }

    #[test]
    fn a_frame_that_ends_within_its_header_is_neither_read_nor_written() {
        let header = Header::parse(&TAGGED).unwrap();
        for len in 0..TAGGED.len() {
            assert_eq!(Header::parse(&TAGGED[..len]), None, "{len}");
            let mut frame = vec![0xee; len];
            assert!(!header.write(&mut frame));
            assert!(frame.iter().all(|b| *b == 0xee), "{len}");
        }
        assert!(!put_macs(&mut [0; 11], MacAddr::ZERO, MacAddr::ZERO));
    }
}
