//! TCP segments as bytes.

use sluice_wire::bytes::{array, put_be16};
use sluice_wire::proto::{ETHERTYPE_IPV4, TCP};
use sluice_wire::{MacAddr, Sum, ethernet, ipv4, tcp};

use crate::flows::TupleBytes;
use crate::template::{IP, L4, LEAST, TUPLE};

/// Offset of the payload in segments made here, which have no options.
pub(crate) const PAYLOAD: usize = L4 + tcp::MIN_LEN;

/// What a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Addresses and ports, as in the packet.
    pub(crate) tuple: TupleBytes,
    /// Sequence number.
    pub(crate) seq: u32,
    /// Acknowledgement number.
    pub(crate) ack: u32,
    /// [`tcp::flag`].
    pub(crate) flags: u8,
    /// Where its data begin and end in the frame.
    pub(crate) data: (usize, usize),
}

impl Segment {
    /// Reads a frame; `None` if there is no TCP in it, or a wrong checksum.
    #[inline]
    pub(crate) fn parse(frame: &[u8]) -> Option<Self> {
        let head: &[u8; PAYLOAD] = frame.first_chunk()?;
        if head[12..14] != ETHERTYPE_IPV4.to_be_bytes()
            || head[IP] != 0x45
            || head[IP + ipv4::field::PROTO] != TCP
        {
            return None;
        }
        let end = IP + usize::from(u16::from_be_bytes([head[IP + 2], head[IP + 3]]));
        let start = L4 + usize::from(head[L4 + 12] >> 4) * 4;
        let (segment, packet) = (frame.get(L4..end)?, frame.get(IP..L4)?);
        let addresses: [u8; 8] = array(head, TUPLE)?;
        let sum = Sum::ZERO
            .be16(u16::from(TCP))
            .be16((end - L4) as u16)
            .bytes(&addresses)
            .bytes(segment);
        let sound = sum.is_valid() && Sum::ZERO.bytes(packet).is_valid();
        (sound && start >= PAYLOAD && start <= end).then_some(Self {
            tuple: array(head, TUPLE)?,
            seq: u32::from_be_bytes(array(head, L4 + 4)?),
            ack: u32::from_be_bytes(array(head, L4 + 8)?),
            flags: head[L4 + tcp::FLAGS],
            data: (start, end),
        })
    }

    /// Whether a flag is set.
    #[inline]
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Bytes of data.
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        (self.data.1 - self.data.0) as u32
    }
}

/// The tuple of the other direction.
#[inline]
pub(crate) fn reverse(tuple: &TupleBytes) -> TupleBytes {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *tuple;
    [e, f, g, h, a, b, c, d, k, l, i, j]
}

/// Makes segments.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    head: [u8; LEAST],
    /// Over what is the same in every IPv4 header, and TCP segment.
    ip: Sum,
    tcp: Sum,
}

impl Default for Writer {
    fn default() -> Self {
        let mut head = [0; LEAST];
        put_be16(&mut head, ethernet::ETHERTYPE, ETHERTYPE_IPV4);
        let ip = ipv4::Build {
            total_len: 0,
            tos: 0,
            id: 0,
            fragment: ipv4::DONT_FRAGMENT,
            ttl: 64,
            proto: TCP,
            addrs: 0,
        };
        head[IP..L4].copy_from_slice(&ip.bytes());
        head[IP + ipv4::field::CHECKSUM..IP + ipv4::field::CHECKSUM + 2].fill(0);
        head[L4 + 12] = 5 << 4;
        head[L4 + 14..L4 + 16].fill(0xff);
        Self {
            ip: Sum::ZERO.bytes(&head[IP..L4]),
            tcp: Sum::ZERO.be16(u16::from(TCP)).bytes(&head[L4..PAYLOAD]),
            head,
        }
    }
}

impl Writer {
    /// Bytes of a frame with so much data.
    #[inline]
    pub(crate) fn frame_len(data: usize) -> usize {
        (PAYLOAD + data).max(LEAST)
    }

    /// Writes a frame of [`frame_len`](Self::frame_len) bytes. `data` is its payload.
    #[inline]
    pub(crate) fn write(
        &self,
        frame: &mut [u8],
        macs: (MacAddr, MacAddr),
        segment: &Segment,
        data: &[u8],
    ) {
        let Some((head, tail)) = frame.split_first_chunk_mut::<LEAST>() else {
            return;
        };
        *head = self.head;
        ethernet::put_macs(&mut head[..], macs.0, macs.1);
        let l4_len = (tcp::MIN_LEN + data.len()) as u16;
        let total_len = l4_len + ipv4::MIN_LEN as u16;
        head[IP + 2..IP + 4].copy_from_slice(&total_len.to_be_bytes());
        head[TUPLE..TUPLE + 12].copy_from_slice(&segment.tuple);
        head[L4 + 4..L4 + 8].copy_from_slice(&segment.seq.to_be_bytes());
        head[L4 + 8..L4 + 12].copy_from_slice(&segment.ack.to_be_bytes());
        head[L4 + tcp::FLAGS] = segment.flags;
        let [a, b, c, d, e, f, g, h, ..] = segment.tuple;
        let ip = self.ip.be16(total_len).bytes(&[a, b, c, d, e, f, g, h]);
        head[IP + 10..IP + 12].copy_from_slice(&ip.checksum().to_ne_bytes());
        let sum = self
            .tcp
            .be16(l4_len)
            .bytes(&segment.tuple)
            .be32(segment.seq)
            .be32(segment.ack)
            .be16(u16::from(segment.flags))
            .bytes(data);
        head[L4 + tcp::CHECKSUM..L4 + tcp::CHECKSUM + 2]
            .copy_from_slice(&sum.checksum().to_ne_bytes());
        // The first bytes of data lie in what the smallest frame pads.
        let (near, far) = data.split_at(data.len().min(LEAST - PAYLOAD));
        head[PAYLOAD..PAYLOAD + near.len()].copy_from_slice(near);
        if let Some(tail) = tail.get_mut(..far.len()) {
            tail.copy_from_slice(far);
        }
    }
}

#[cfg(test)]
mod tests {
    use sluice_wire::parse;

    use super::*;

    #[test]
    fn segments_are_read_as_they_were_written() {
        let writer = Writer::default();
        let macs = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        for len in [0, 1, 2, 5, 6, 7, 100, 1460] {
            let data = crate::stamp::filler(len);
            let segment = Segment {
                tuple: [10, 0, 0, 1, 10, 0, 0, 2, 4, 5, 0, 80],
                seq: 0xffff_fff0 + len as u32 % 15,
                ack: 0x89ab_cdef,
                flags: tcp::flag::ACK | tcp::flag::PSH,
                data: (PAYLOAD, PAYLOAD + len),
            };
            let mut frame = vec![0xee; Writer::frame_len(len)];
            writer.write(&mut frame, macs, &segment, &data);
            assert_eq!(Segment::parse(&frame), Some(segment));
            assert_eq!(frame[PAYLOAD..PAYLOAD + len], data);
            assert!(parse(&frame, None, false).is_ok());
            for at in 14..PAYLOAD + len {
                let mut damaged = frame.clone();
                damaged[at] ^= 8;
                assert_eq!(Segment::parse(&damaged), None, "byte {at}");
            }
        }
    }
}
