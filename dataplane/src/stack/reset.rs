//! Refusing TCP segments with a reset.

use sluice_wire::parse::{Kind, Parsed};
use sluice_wire::tcp;

use crate::io::Frame;
use crate::snapshot::Port;
use crate::stack::segment::{Bare, Full};
use crate::stack::{ether, reply};

/// Turns a segment that belongs to no connection into the reset that a closed port would answer
/// (RFC 9293 section 3.10.7.1), to be sent out by the port it came in by, to the station that sent
/// it.
///
/// False, with the frame perhaps damaged, if it is not a whole TCP segment, or a reset itself: that
/// is never answered.
pub fn reply<F: Frame>(frame: &mut F, parsed: &Parsed, port: &Port) -> bool {
    let to = ether::sender(frame.bytes());
    let Some((to, segment)) = to.zip(parsed.tcp(frame.bytes())) else {
        return false;
    };
    if parsed.kind != Kind::Session || segment.flags & tcp::flag::RST != 0 {
        return false;
    }
    reply::in_place(frame, parsed, port, to, Full::from(to_segment(&segment)))
}

/// The reset that a segment is answered by, but for its ports.
pub fn to_segment(segment: &tcp::Segment) -> Bare {
    let mut reset = Bare {
        flags: tcp::flag::RST,
        ..Bare::default()
    };
    if segment.flags & tcp::flag::ACK != 0 {
        reset.seq = segment.ack;
    } else {
        reset.ack = segment.end();
        reset.flags |= tcp::flag::ACK;
    }
    reset
}

#[cfg(test)]
mod tests {
    use sluice_wire::tcp::flag::{ACK, FIN, PSH, RST, SYN};
    use sluice_wire::{Sum, V4, V6, proto};

    use super::*;
    use crate::io::memory::VecFrame;
    use crate::stack::testing::{self, PEER, port};

    /// (seq, ack, flags) of the reset that answers, or nothing.
    fn answered(request: &[u8]) -> Option<(u32, u32, u8)> {
        let parsed = sluice_wire::parse(request, None, false).unwrap();
        let mut frame = VecFrame::new(request, 2048);
        if !reply(&mut frame, &parsed, &port()) {
            return None;
        }
        let bytes = frame.bytes();
        assert_eq!(bytes[..12], [PEER.0, port().mac.0].concat());
        let reset = sluice_wire::parse(bytes, None, false).expect("well formed, checksums and all");
        assert_eq!(usize::from(reset.end), bytes.len());
        assert_eq!((reset.ttl, reset.proto), (64, proto::TCP));
        let (was, is) = if parsed.v6 {
            let (was, is) = (parsed.key_v6(request, 0), reset.key_v6(bytes, 0));
            let sum = Sum::ZERO.pseudo::<V6>(is.addrs, 6, 20);
            assert!(sum.bytes(reset.transport(bytes)).is_valid());
            (was.tuple::<V6>(), is.tuple::<V6>())
        } else {
            let (was, is) = (parsed.key_v4(request, 0), reset.key_v4(bytes, 0));
            let sum = Sum::ZERO.pseudo::<V4>(is.addrs, 6, 20);
            assert!(sum.bytes(reset.transport(bytes)).is_valid());
            (was.tuple::<V4>(), is.tuple::<V4>())
        };
        assert_eq!(is, was.reverse());
        let segment = reset.tcp(bytes).unwrap();
        assert_eq!(segment.window, 0);
        Some((segment.seq, segment.ack, segment.flags))
    }

    #[test]
    fn resets_are_what_rfc_9293_says() {
        for v6 in [false, true] {
            let request = |seq, ack, flags, data: &[u8]| testing::tcp(v6, seq, ack, flags, data);
            // Without ACK: sequence 0, and everything in the segment acknowledged.
            assert_eq!(
                answered(&request(1000, 0, SYN, b"")),
                Some((0, 1001, RST | ACK))
            );
            assert_eq!(
                answered(&request(u32::MAX, 0, SYN, b"")),
                Some((0, 0, RST | ACK))
            );
            assert_eq!(
                answered(&request(5, 0, FIN, b"abc")),
                Some((0, 9, RST | ACK))
            );
            // With ACK: its number, and no ACK.
            assert_eq!(
                answered(&request(5, 77, ACK | PSH, b"abc")),
                Some((77, 0, RST))
            );
            assert_eq!(
                answered(&request(5, 77, SYN | ACK, b"")),
                Some((77, 0, RST))
            );
            assert_eq!(answered(&request(5, 77, RST, b"")), None);
            assert_eq!(answered(&request(5, 77, RST | ACK, b"")), None);
        }
    }

    #[test]
    fn only_whole_tcp_segments_are_answered() {
        assert_eq!(answered(&testing::udp_v4(b"abcd")), None);
        let mut first = testing::tcp(false, 1, 0, SYN, b"abcdefgh0123");
        first[20] = 0x20;
        testing::reseal(&mut first, 14);
        assert_eq!(answered(&first), None);
    }
}
