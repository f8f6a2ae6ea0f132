//! What a checked packet carries at the start of its payload.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | mark 0xa7 |
//! | 1 | stream |
//! | 2 | phase of the run: warm-up and each trial have their own |
//! | 3-7 | sequence number in the stream and phase |
//! | 8-15 | time stamp counter when it was made |
//! | 16-17 | check over all of the payload |
//!
//! All of it is big-endian. 18 bytes just fit into a UDP packet of the smallest Ethernet frame.

/// Bytes of a stamp.
pub(crate) const LEN: usize = 18;
const MARK: u8 = 0xa7;
/// Sequence numbers have 40 bits: a day's worth at 12 million packets a second.
const SEQUENCE: u64 = (1 << 40) - 1;

/// A stamp, read or to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The stream it belongs to.
    pub(crate) stream: u8,
    /// The phase of the run.
    pub(crate) phase: u8,
    /// Its place in the stream.
    pub(crate) sequence: u64,
    /// When it was made, in ticks of the clock.
    pub(crate) ticks: u64,
}

impl Stamp {
    /// The stamp's bytes, in front of payload with this [`digest`].
    #[inline]
    pub(crate) fn bytes(&self, rest: u64) -> [u8; LEN] {
        let head = u64::from(MARK) << 56
            | u64::from(self.stream) << 48
            | u64::from(self.phase) << 40
            | self.sequence & SEQUENCE;
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&head.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.ticks.to_be_bytes());
        bytes[16..].copy_from_slice(&check(head, self.ticks, rest).to_be_bytes());
        bytes
    }

    /// Reads the stamp of a payload; `None` if it has none or any of its bytes is not as it was.
    #[inline]
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (stamp, rest) = payload.split_first_chunk::<LEN>()?;
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r] = *stamp;
        let head = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let ticks = u64::from_be_bytes([i, j, k, l, m, n, o, p]);
        if a != MARK || u16::from_be_bytes([q, r]) != check(head, ticks, digest(rest)) {
            return None;
        }
        Some(Self {
            stream: b,
            phase: c,
            sequence: head & SEQUENCE,
            ticks,
        })
    }
}

/// One step of mixing. For a given state no two words give the same, so that a change in one word
/// always changes what comes out at the end.
#[inline]
fn mix(state: u64, word: u64) -> u64 {
    (state ^ word)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
}

#[inline]
fn check(head: u64, ticks: u64, rest: u64) -> u16 {
    let mixed = mix(mix(rest, head), ticks).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    (mixed >> 48) as u16
}

/// Of the payload behind a stamp.
#[inline]
pub(crate) fn digest(rest: &[u8]) -> u64 {
    let (words, tail) = rest.as_chunks::<8>();
    let mut state = rest.len() as u64;
    for word in words {
        state = mix(state, u64::from_le_bytes(*word));
    }
    for &byte in tail {
        state = mix(state, u64::from(byte));
    }
    state
}

/// What the payload behind a stamp is filled with.
pub(crate) fn filler(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at as u8).wrapping_mul(167) ^ 0x5a)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(len: usize) -> Vec<u8> {
        let rest = filler(len);
        let stamp = Stamp {
            stream: 3,
            phase: 7,
            sequence: 0xab_cdef_0123,
            ticks: 0x0123_4567_89ab_cdef,
        };
        let mut payload = stamp.bytes(digest(&rest)).to_vec();
        payload.extend(rest);
        payload
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp::read(&payload(100)).unwrap();
        assert_eq!((stamp.stream, stamp.phase), (3, 7));
        assert_eq!(stamp.sequence, 0xab_cdef_0123);
        assert_eq!(stamp.ticks, 0x0123_4567_89ab_cdef);
    }

    #[test]
    fn damage_to_a_payload_is_noticed() {
        for len in [0, 1, 7, 8, 100, 1454] {
            let sound = payload(len);
            let mut missed = 0;
            for bit in 0..sound.len() * 8 {
                let mut damaged = sound.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                missed += usize::from(Stamp::read(&damaged).is_some());
            }
            // One in 65,536 by chance.
            assert!(
                missed <= 1,
                "{missed} of {} bits, {len} bytes",
                sound.len() * 8
            );
            for short in 0..sound.len() {
                assert_eq!(Stamp::read(&sound[..short]), None, "{short} of {len}");
            }
        }
    }

    #[test]
    fn swapped_words_are_noticed() {
        // The Internet checksum would not see it.
        let mut damaged = payload(100);
        damaged.swap(20, 22);
        damaged.swap(21, 23);
        assert_eq!(Stamp::read(&damaged), None);
    }
}
