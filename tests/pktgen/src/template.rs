//! Frames of one size, made by copying one and patching what differs.

use sluice_wire::proto::{ETHERTYPE_IPV4, TCP, UDP};
use sluice_wire::{MacAddr, Sum, ethernet, ipv4, tcp, udp};

use crate::flows::TupleBytes;
use crate::stamp;

/// Offset of the IPv4 header.
pub(crate) const IP: usize = ethernet::HEADER_LEN;
/// Offset of the transport header.
pub(crate) const L4: usize = IP + ipv4::MIN_LEN;
/// Offset of addresses and ports.
pub(crate) const TUPLE: usize = IP + ipv4::field::ADDRS;
/// The smallest frame, without FCS.
pub(crate) const LEAST: usize = 60;
/// Bytes of the FCS, which sizes count and buffers don't hold.
pub(crate) const FCS: usize = 4;
const IP_CHECKSUM: usize = IP + ipv4::field::CHECKSUM;
const UDP_CHECKSUM: usize = L4 + udp::CHECKSUM;
const TCP_CHECKSUM: usize = L4 + tcp::CHECKSUM;
const TTL: u8 = 64;

/// The protocol of a stream's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// UDP.
    Udp,
    /// TCP, one segment with these flags ([`tcp::flag`]) and no state behind it.
    Tcp(u8),
}

impl Protocol {
    /// Its number.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Udp => UDP,
            Self::Tcp(_) => TCP,
        }
    }

    /// Bytes of its header.
    pub(crate) const fn header_len(self) -> usize {
        match self {
            Self::Udp => udp::HEADER_LEN,
            Self::Tcp(_) => tcp::MIN_LEN,
        }
    }

    /// Bytes of payload in a frame of `size` bytes, FCS included. What is left in the smallest TCP
    /// frame is Ethernet's padding.
    pub(crate) const fn payload_len(self, size: usize) -> usize {
        let room = size.saturating_sub(FCS + L4 + self.header_len());
        match self {
            Self::Tcp(_) if size <= LEAST + FCS => 0,
            _ => room,
        }
    }
}

/// A frame whose addresses, ports and stamp are zero, and the sums over the rest of it.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    ip: Sum,
    l4: Sum,
    l4_checksum: usize,
    payload: usize,
    /// [`stamp::digest`] of what stands behind the stamp.
    pub(crate) rest: u64,
}

impl Template {
    /// Frames of `size` bytes, FCS included: at least 64.
    pub(crate) fn new(protocol: Protocol, size: usize, stamped: bool) -> Self {
        let len = size.saturating_sub(FCS).max(LEAST);
        let payload_len = protocol.payload_len(size);
        let l4_len = protocol.header_len() + payload_len;
        let mut bytes = vec![0; len];
        let header = ethernet::Header {
            dst: MacAddr::ZERO,
            src: MacAddr::ZERO,
            tci: None,
            ethertype: ETHERTYPE_IPV4,
        };
        header.write(&mut bytes);
        let ip = ipv4::Build {
            total_len: (ipv4::MIN_LEN + l4_len) as u16,
            tos: 0,
            id: 0,
            fragment: ipv4::DONT_FRAGMENT,
            ttl: TTL,
            proto: protocol.number(),
            addrs: 0,
        };
        bytes[IP..L4].copy_from_slice(&ip.bytes());
        bytes[IP_CHECKSUM..IP_CHECKSUM + 2].fill(0);
        let l4_checksum = match protocol {
            Protocol::Udp => {
                bytes[L4 + 4..L4 + 6].copy_from_slice(&(l4_len as u16).to_be_bytes());
                UDP_CHECKSUM
            }
            Protocol::Tcp(flags) => {
                // A sequence number, data offset, flags, the largest window without a scale.
                bytes[L4 + 4..L4 + 8].copy_from_slice(&0x1000_0000_u32.to_be_bytes());
                if flags & tcp::flag::ACK != 0 {
                    bytes[L4 + 8..L4 + 12].copy_from_slice(&0x2000_0000_u32.to_be_bytes());
                }
                bytes[L4 + 12] = 5 << 4;
                bytes[L4 + tcp::FLAGS] = flags;
                bytes[L4 + 14..L4 + 16].fill(0xff);
                TCP_CHECKSUM
            }
        };
        let payload = L4 + protocol.header_len();
        let stamp_len = if stamped {
            stamp::LEN.min(payload_len)
        } else {
            0
        };
        let rest = stamp::filler(payload_len - stamp_len);
        bytes[payload + stamp_len..payload + payload_len].copy_from_slice(&rest);
        let ip_sum = Sum::ZERO.bytes(&bytes[IP..L4]);
        let l4_sum = Sum::ZERO
            .be16(u16::from(protocol.number()))
            .be16(l4_len as u16)
            .bytes(&bytes[L4..L4 + l4_len]);
        Self {
            bytes,
            ip: ip_sum,
            l4: l4_sum,
            l4_checksum,
            payload,
            rest: stamp::digest(&rest),
        }
    }

    /// Bytes in the buffer, without FCS.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whom frames go to and come from.
    pub(crate) fn set_macs(&mut self, dst: MacAddr, src: MacAddr) {
        ethernet::put_macs(&mut self.bytes, dst, src);
    }

    /// Writes the frame of a tuple into a buffer of [`len`](Self::len) bytes.
    #[inline]
    pub(crate) fn write(
        &self,
        frame: &mut [u8],
        tuple: &TupleBytes,
        stamp: Option<&[u8; stamp::LEN]>,
    ) {
        let (Some((head, tail)), Some((start, rest))) = (
            frame.split_first_chunk_mut::<LEAST>(),
            self.bytes.split_first_chunk::<LEAST>(),
        ) else {
            return;
        };
        *head = *start;
        if tail.len() == rest.len() && !rest.is_empty() {
            tail.copy_from_slice(rest);
        }
        head[TUPLE..TUPLE + 12].copy_from_slice(tuple);
        let addresses: [u8; 8] = [
            tuple[0], tuple[1], tuple[2], tuple[3], tuple[4], tuple[5], tuple[6], tuple[7],
        ];
        let ip = self.ip.bytes(&addresses).checksum();
        head[IP_CHECKSUM..IP_CHECKSUM + 2].copy_from_slice(&ip.to_ne_bytes());
        let mut l4 = self.l4.bytes(tuple);
        if let Some(stamp) = stamp {
            l4 = l4.bytes(stamp);
            if let Some(place) = frame
                .get_mut(self.payload..)
                .and_then(<[u8]>::first_chunk_mut)
            {
                *place = *stamp;
            }
        }
        // A TCP checksum of 0 may be sent as 0xffff as well: both are zero in one's complement.
        let l4 = l4.checksum_udp();
        if let Some(place) = frame
            .get_mut(self.l4_checksum..)
            .and_then(<[u8]>::first_chunk_mut)
        {
            *place = l4.to_ne_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use sluice_wire::{V4, parse};

    use super::*;
    use crate::stamp::Stamp;

    fn sound(frame: &[u8], protocol: Protocol) -> bool {
        let Ok(parsed) = parse(frame, None, false) else {
            return false;
        };
        let packet = &frame[IP..];
        let header = ipv4::parse(packet).unwrap();
        let segment = &frame[usize::from(parsed.l4)..usize::from(parsed.end)];
        let l4 = match protocol {
            Protocol::Udp => udp::checksum_ok::<V4>(header.addrs, segment),
            Protocol::Tcp(_) => Sum::ZERO
                .pseudo::<V4>(header.addrs, TCP, segment.len() as u32)
                .bytes(segment)
                .is_valid(),
        };
        l4 && ipv4::checksum_ok(packet, header.header_len) && parsed.proto == protocol.number()
    }

    #[test]
    fn frames_of_all_sizes_are_sound_whatever_the_tuple() {
        for protocol in [Protocol::Udp, Protocol::Tcp(2), Protocol::Tcp(24)] {
            for size in (64..130).chain([512, 1024, 1517, 1518, 9018]) {
                let template = Template::new(protocol, size, false);
                assert_eq!(template.len(), size - FCS);
                for seed in 0..50_u8 {
                    let tuple = std::array::from_fn(|at| {
                        seed.wrapping_mul(37).wrapping_add(at as u8 * 11) & 0x3f | 1
                    });
                    let mut frame = vec![0; template.len()];
                    template.write(&mut frame, &tuple, None);
                    assert!(sound(&frame, protocol), "{protocol:?} {size} {tuple:?}");
                    assert_eq!(frame[TUPLE..TUPLE + 12], tuple);
                    frame[TUPLE + 5] ^= 4;
                    assert!(!sound(&frame, protocol), "the check checks nothing");
                }
            }
        }
    }

    #[test]
    fn stamped_frames_are_sound_and_give_their_stamp_back() {
        for (protocol, least) in [(Protocol::Udp, 64), (Protocol::Tcp(24), 76)] {
            for size in (least..140).chain([1518]) {
                let template = Template::new(protocol, size, true);
                for sequence in 0..200_u64 {
                    let stamp = Stamp {
                        stream: 1,
                        phase: 2,
                        sequence: sequence * 77_777_777,
                        ticks: sequence << 40 | 12345,
                    };
                    let mut frame = vec![0; template.len()];
                    let tuple = [10, 0, 0, 1, 10, 0, 0, 2, 4, 5, 6, 7];
                    template.write(&mut frame, &tuple, Some(&stamp.bytes(template.rest)));
                    assert!(sound(&frame, protocol), "{protocol:?} {size}");
                    let payload = L4 + protocol.header_len();
                    let end = payload + protocol.payload_len(size);
                    assert_eq!(Stamp::read(&frame[payload..end]), Some(stamp));
                }
            }
        }
    }

    #[test]
    fn the_smallest_udp_frame_byte_by_byte() {
        let mut template = Template::new(Protocol::Udp, 64, false);
        template.set_macs(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        let mut frame = vec![0; 60];
        let tuple = [10, 0, 0, 2, 198, 51, 100, 10, 0x04, 0x00, 0, 53];
        template.write(&mut frame, &tuple, None);
        let head = [
            2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, //
            0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0x06, 0x80, //
            10, 0, 0, 2, 198, 51, 100, 10, //
            0x04, 0x00, 0, 53, 0, 26,
        ];
        assert_eq!(frame[..head.len()], head);
    }
}
