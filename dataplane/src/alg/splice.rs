//! Changing a TCP segment in its frame: other bytes, other numbers.

use sluice_wire::bytes::put_be32;
use sluice_wire::checksum::Sum;
use sluice_wire::tcp::{CHECKSUM, OptionWalk};
use sluice_wire::{Delta, Family, Parsed, bytes, ipv4, ipv6};

use super::edits::Edits;
use crate::io::Frame;

/// The SACK option (RFC 2018).
const SACK: u8 = 5;
/// Offsets of the numbers in a TCP header.
const SEQ: usize = 4;
const ACK: usize = 8;

/// Bytes of a segment's data to be replaced.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Offset in the data.
    pub at: usize,
    /// How many.
    pub old: usize,
    /// By what.
    pub new: &'a [u8],
}

/// Whether the segment's checksum is right.
pub fn is_intact<F: Family>(frame: &[u8], parsed: &Parsed) -> bool {
    sum::<F>(frame, parsed).is_valid()
}

fn sum<F: Family>(frame: &[u8], parsed: &Parsed) -> Sum {
    let segment = parsed.transport(frame);
    let addrs = parsed.key::<F>(frame, 0).addrs;
    Sum::ZERO
        .pseudo::<F>(addrs, parsed.proto, segment.len() as u32)
        .bytes(segment)
}

/// By how many bytes pieces make a segment longer.
pub fn growth(pieces: &[Piece<'_>]) -> isize {
    let added = |piece: &Piece<'_>| piece.new.len() as isize - piece.old as isize;
    pieces.iter().map(added).sum()
}

/// Puts pieces, in ascending order and apart, into the data of a segment, which begins at `data` in the
/// frame. Lengths are mended, and of checksums the IPv4 header's; TCP's is left to [`renumber`]. What
/// lies behind the IP packet goes. False, and nothing has changed, if the frame has no room or the pieces
/// lie outside.
pub fn splice<I: Frame>(
    frame: &mut I,
    parsed: &mut Parsed,
    data: usize,
    pieces: &[Piece<'_>],
) -> bool {
    let old_end = usize::from(parsed.end);
    let inside = |piece: &Piece<'_>| data + piece.at + piece.old <= old_end;
    let new_end = old_end.checked_add_signed(growth(pieces));
    let Some(new_end) = new_end.and_then(|end| u16::try_from(end).ok()) else {
        return false;
    };
    let most: usize = pieces.iter().map(|piece| piece.new.len()).sum();
    if !pieces.iter().all(inside) || !frame.set_len(old_end + most) {
        return false;
    }
    let (whole, mut end) = (frame.bytes_mut(), old_end);
    // From the last to the first, so that offsets hold until they are used.
    for piece in pieces.iter().rev() {
        let (from, behind) = (data + piece.at, data + piece.at + piece.old);
        let to = from + piece.new.len();
        whole.copy_within(behind..end, to);
        whole[from..to].copy_from_slice(piece.new);
        end = to + (end - behind);
    }
    frame.set_len(usize::from(new_end));
    parsed.end = new_end;
    let (l3, length) = (usize::from(parsed.l3), parsed.ip_len());
    let whole = frame.bytes_mut();
    if parsed.v6 {
        let payload = length - ipv6::HEADER_LEN as u16;
        bytes::put_be16(whole, l3 + ipv6::field::PAYLOAD_LEN, payload);
    } else if let Some(old) = bytes::be16(whole, l3 + ipv4::field::TOTAL_LEN) {
        bytes::put_be16(whole, l3 + ipv4::field::TOTAL_LEN, length);
        let delta = Delta::word16(old.to_be(), length.to_be());
        delta.patch(whole, l3 + ipv4::field::CHECKSUM);
    }
    true
}

/// Gives an intact segment other numbers, and computes its checksum anew: `seq`, and in place of what it
/// acknowledges what the sender of `theirs` knows it by.
pub fn renumber<F: Family>(frame: &mut [u8], parsed: &Parsed, seq: u32, theirs: Option<&Edits>) {
    let range = usize::from(parsed.l4)..usize::from(parsed.end);
    let Some(segment) = frame.get_mut(range) else {
        return;
    };
    put_be32(segment, SEQ, seq);
    if let Some(theirs) = theirs {
        let ack = be32(segment, ACK);
        put_be32(segment, ACK, theirs.back(ack));
        let mut from = None;
        for (kind, at, len) in OptionWalk::new(segment) {
            if kind == SACK {
                from = Some((at + 2, (len - 2) / 8));
            }
        }
        if let Some((at, blocks)) = from {
            for block in (0..blocks).map(|block| at + 8 * block) {
                let right = theirs.back(be32(segment, block + 4));
                let left = theirs.back_up(be32(segment, block));
                // A block that was within an edit says nothing any more.
                let empty = left.wrapping_sub(right).cast_signed() > 0;
                put_be32(segment, block, if empty { right } else { left });
                put_be32(segment, block + 4, right);
            }
        }
    }
    bytes::put(segment, CHECKSUM, [0, 0]);
    let checksum = sum::<F>(frame, parsed).checksum();
    bytes::put_ne16(frame, usize::from(parsed.l4) + CHECKSUM, checksum);
}

fn be32(segment: &[u8], at: usize) -> u32 {
    bytes::be32(segment, at).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sluice_wire::V4;
    use sluice_wire::parse::parse;

    use super::*;
    use crate::io::memory::VecFrame;

    /// A segment with these options and data, and where its data is.
    fn segment(options: &[u8], data: &[u8]) -> (Vec<u8>, usize) {
        let (header, total) = (20 + options.len(), 40 + options.len() + data.len());
        let mut frame = vec![2; 12];
        frame.extend([
            8,
            0,
            0x45,
            0,
            (total >> 8) as u8,
            total as u8,
            0,
            1,
            0,
            0,
            64,
            6,
            0,
            0,
        ]);
        frame.extend([10, 0, 0, 5, 192, 0, 2, 9]);
        let sum = Sum::ZERO.bytes(&frame[14..34]).checksum();
        bytes::put_ne16(&mut frame, 24, sum);
        frame.extend([
            4,
            0,
            0,
            21,
            0,
            0,
            3,
            232,
            0,
            0,
            7,
            208,
            (header as u8 / 4) << 4,
            0x18,
        ]);
        frame.extend([1, 0, 0, 0, 0, 0]);
        frame.extend(options);
        frame.extend(data);
        let parsed = parse(&frame, None, false).unwrap();
        let sum = super::sum::<V4>(&frame, &parsed).checksum();
        bytes::put_ne16(&mut frame, 50, sum);
        (frame, 34 + header)
    }

    proptest! {
        /// What comes out is what building the packet anew gives, whatever is replaced by what.
        #[test]
        fn a_spliced_segment_is_as_if_sent_so(
            parts in prop::collection::vec((0_usize..30, 0_usize..30, 0_usize..40), 0..4),
            padding in 0_usize..10,
        ) {
            let texts: Vec<_> = parts.iter().map(|part| vec![b'n'; part.2]).collect();
            let (mut before, mut after, mut pieces) = (vec![], vec![], vec![]);
            for ((gap, old, _), text) in parts.iter().zip(&texts) {
                let kept: Vec<_> = (0..*gap).map(|at| at as u8).collect();
                before.extend(&kept);
                after.extend(&kept);
                pieces.push(Piece { at: before.len(), old: *old, new: text });
                before.extend(std::iter::repeat_n(b'o', *old));
                after.extend(text);
            }
            before.extend(b" end");
            after.extend(b" end");
            let (mut bytes, data) = segment(&[], &before);
            let mut parsed = parse(&bytes, None, false).unwrap();
            bytes.extend(std::iter::repeat_n(0xee, padding));
            let mut frame = VecFrame::new(&bytes, 2048);
            prop_assert!(is_intact::<V4>(frame.bytes(), &parsed));
            prop_assert!(splice(&mut frame, &mut parsed, data, &pieces));
            renumber::<V4>(frame.bytes_mut(), &parsed, 1000, None);
            prop_assert_eq!(frame.bytes(), segment(&[], &after).0);
        }
    }

    #[test]
    fn without_room_nothing_changes() {
        let (bytes, data) = segment(&[], b"0123456789");
        let mut parsed = parse(&bytes, None, false).unwrap();
        let mut frame = VecFrame::new(&bytes, bytes.len() + 3);
        let piece = Piece {
            at: 2,
            old: 2,
            new: b"too long",
        };
        assert!(!splice(&mut frame, &mut parsed, data, &[piece]));
        assert_eq!(
            (frame.bytes(), usize::from(parsed.end)),
            (&bytes[..], bytes.len())
        );
    }

    #[test]
    fn acknowledgements_and_blocks_are_the_senders_again() {
        let mut theirs = Edits::default();
        theirs.push(crate::alg::edits::Edit {
            at: 1900,
            old: 10,
            text: b"fourteen bytes".iter().copied().collect(),
        });
        // No-ops, then blocks 1902 to 2004 and 1900 to 1905, at an odd place.
        let mut options = vec![1, 5, 18];
        for number in [1902_u32, 2004, 1900, 1905] {
            options.extend(number.to_be_bytes());
        }
        options.push(0);
        options.extend([0, 0]);
        options.truncate(20);
        let (bytes, _) = segment(&options, b"");
        let parsed = parse(&bytes, None, false).unwrap();
        let mut out = bytes.clone();
        renumber::<V4>(&mut out, &parsed, 1007, Some(&theirs));
        assert!(is_intact::<V4>(&out, &parsed));
        let number = |at: usize| be32(&out, at);
        assert_eq!((number(38), number(42)), (1007, 1996));
        let blocks = [57, 61, 65, 69].map(number);
        assert_eq!(blocks, [1910, 2000, 1900, 1900]);
    }
}
