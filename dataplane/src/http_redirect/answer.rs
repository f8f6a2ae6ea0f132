//! What a client is answered that was accepted by a cookie, from its segment alone.

use sluice_wire::tcp::{Segment, flag};

use super::Speech;
use crate::cookie::Told;

/// What a segment is answered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing is due: it acknowledges something, or what it is about will come again.
    Silence,
    /// The response, with all that the server has to say.
    Response,
    /// FIN: the client closes, and has asked nothing.
    Close,
    /// The client is not done, or done now: what it says is acknowledged.
    Acknowledge,
    /// It is not HTTP.
    Reset,
}

/// Decides by a segment, its data, and what its numbers told.
///
/// A request is known by its first segment. Others that the client sent before it was answered wait: they
/// come again when it knows how much of its stream has arrived, and then there is nothing to lose by
/// acknowledging all of it.
pub fn answer(told: &Told, segment: &Segment, data: &[u8]) -> Answer {
    let ends = segment.flags & flag::FIN != 0;
    if segment.flags & flag::RST != 0 {
        Answer::Silence
    } else if told.acknowledged != 0 {
        match ends || !data.is_empty() {
            true => Answer::Acknowledge,
            false => Answer::Silence,
        }
    } else if told.place != 0 {
        Answer::Silence
    } else if data.is_empty() {
        match ends {
            true => Answer::Close,
            false => Answer::Silence,
        }
    } else {
        match Speech::read(data) {
            Speech::Http { .. } => Answer::Response,
            Speech::Unfinished if !ends => Answer::Silence,
            Speech::Unfinished | Speech::Other => Answer::Reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use sluice_wire::tcp::flag::{ACK, FIN, PSH, RST};

    use super::*;

    const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    fn of(place: u16, acknowledged: u16, flags: u8, data: &[u8]) -> Answer {
        let told = Told {
            place,
            acknowledged,
        };
        let segment = Segment {
            seq: 1,
            ack: 1,
            len: data.len() as u16,
            window: 1000,
            flags,
            header_len: 20,
        };
        answer(&told, &segment, data)
    }

    #[test]
    fn the_first_segment_decides() {
        assert_eq!(of(0, 0, ACK, b""), Answer::Silence, "the handshake's end");
        assert_eq!(of(0, 0, ACK | PSH, GET), Answer::Response);
        assert_eq!(of(0, 0, ACK | PSH | FIN, GET), Answer::Response);
        assert_eq!(of(0, 0, ACK | FIN, b""), Answer::Close);
        assert_eq!(of(0, 0, ACK, b"\x16\x03\x01"), Answer::Reset);
        assert_eq!(of(0, 0, ACK | FIN, b"\x16\x03\x01"), Answer::Reset);
        assert_eq!(of(0, 0, ACK, b"GE"), Answer::Silence, "the rest may follow");
        assert_eq!(of(0, 0, ACK | FIN, b"GE"), Answer::Reset);
    }

    #[test]
    fn what_follows_it_is_acknowledged_once_the_client_has_the_response() {
        // As soon as the client has sent them: the response is on its way.
        for (flags, data) in [(ACK, &b"a=b"[..]), (ACK, GET), (ACK | FIN, b""), (ACK, b"")] {
            assert_eq!(of(70, 0, flags, data), Answer::Silence);
        }
        assert_eq!(of(70, 165, ACK, b"a=b"), Answer::Acknowledge);
        assert_eq!(of(0, 165, ACK, GET), Answer::Acknowledge);
        assert_eq!(of(73, 165, ACK | FIN, b""), Answer::Acknowledge);
        assert_eq!(of(73, 165, ACK, b""), Answer::Silence);
    }

    #[test]
    fn a_reset_is_never_answered() {
        for (place, acknowledged) in [(0, 0), (70, 0), (70, 165)] {
            for data in [&b""[..], GET, b"\x16"] {
                for flags in [RST | ACK, RST | ACK | FIN] {
                    assert_eq!(of(place, acknowledged, flags, data), Answer::Silence);
                }
            }
        }
    }
}
