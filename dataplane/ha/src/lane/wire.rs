//! What the body of a lane's datagram begins with: the place of its records in the stream, and what
//! of the other stream has arrived.

use crate::bytes::{In, Out};

/// Words of the bitmap at most.
pub(super) const MAX_WORDS: usize = 16;
/// Bytes before the records, without a bitmap and with the longest.
pub(super) const HEAD: usize = 16;
pub(super) const MAX_HEAD: usize = HEAD + MAX_WORDS * 8;

/// There is an acknowledgement.
const ACK: u8 = 1 << 0;
/// There are records, and the frame has a number.
const RECORDS: u8 = 1 << 1;
/// The sender asks for an acknowledgement of its generation, at once.
const ASK: u8 = 1 << 2;

/// What has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ack {
    /// Generation of the stream that is acknowledged.
    pub(super) generation: u16,
    /// The first frame that was not dealt with; all before it were.
    pub(super) next: u32,
    /// Bit `i` of word `w`: frame `next + 64 w + i` has arrived.
    pub(super) words: [u64; MAX_WORDS],
    /// Words that count.
    pub(super) len: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Generation of the sender's stream.
    pub(super) generation: u16,
    /// Number of the frame, if there are records in it. Numbers begin with 0 and wrap.
    pub(super) seq: Option<u32>,
    /// Whether the sender wants to know if its generation is taken.
    pub(super) ask: bool,
    pub(super) ack: Option<Ack>,
}

impl Head {
    /// Gives the length.
    pub(super) fn write(&self, buffer: &mut [u8]) -> Option<usize> {
        let mut out = Out::new(buffer);
        let none = Ack {
            generation: 0,
            next: 0,
            words: [0; MAX_WORDS],
            len: 0,
        };
        let ack = self.ack.as_ref().unwrap_or(&none);
        out.u16(self.generation);
        out.u16(ack.generation);
        out.u32(self.seq.unwrap_or(0));
        out.u32(ack.next);
        let flag = |set, bit| if set { bit } else { 0 };
        let flags =
            flag(self.ack.is_some(), ACK) | flag(self.seq.is_some(), RECORDS) | flag(self.ask, ASK);
        out.put([flags, ack.len, 0, 0]);
        let words = ack.words.iter().take(usize::from(ack.len));
        words.for_each(|&word| out.u64(word));
        out.finish()
    }

    /// Gives the offset of the records, too.
    pub(super) fn parse(body: &[u8]) -> Option<(Self, usize)> {
        let mut input = In(body);
        let [generation, acked] = [input.u16()?, input.u16()?];
        let [seq, next] = [input.u32()?, input.u32()?];
        let [flags, len, ..] = input.take::<4>()?;
        let mut words = [0; MAX_WORDS];
        for word in words.get_mut(..usize::from(len))? {
            *word = input.u64()?;
        }
        let ack = Ack {
            generation: acked,
            next,
            words,
            len,
        };
        let head = Self {
            generation,
            seq: (flags & RECORDS != 0).then_some(seq),
            ask: flags & ASK != 0,
            ack: (flags & ACK != 0).then_some(ack),
        };
        Some((head, HEAD + 8 * usize::from(len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_these_bytes() {
        let mut words = [0; MAX_WORDS];
        words[0] = 0x0102_0304_0506_0708;
        let head = Head {
            generation: 0x1122,
            seq: Some(0x3344_5566),
            ask: true,
            ack: Some(Ack {
                generation: 0x7788,
                next: 0x99aa_bbcc,
                words,
                len: 1,
            }),
        };
        let bytes = [
            0x11, 0x22, 0x77, 0x88, 0x33, 0x44, 0x55, 0x66, 0x99, 0xaa, 0xbb, 0xcc, 7, 1, 0, 0, 1,
            2, 3, 4, 5, 6, 7, 8,
        ];
        let mut written = [0; MAX_HEAD];
        assert_eq!(head.write(&mut written), Some(24));
        assert_eq!(written[..24], bytes);
        assert_eq!(Head::parse(&bytes), Some((head, 24)));
        assert_eq!(Head::parse(&bytes[..23]), None);
        let mut bytes = bytes;
        bytes[13] = 17;
        assert_eq!(Head::parse(&bytes), None);
    }
}
