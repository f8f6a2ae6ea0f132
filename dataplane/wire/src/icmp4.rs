//! ICMP (RFC 792): echo, and the errors that an appliance sends.

use crate::bytes::{array, be16, put, put_ne16};
use crate::checksum::Sum;

/// Bytes that every message starts with: type, code, checksum, and four that depend on the type.
pub const HEADER_LEN: usize = 8;
/// Offset of the checksum, which covers the message from its type on, and nothing else.
pub const CHECKSUM: usize = 2;
/// Offset of an echo's identifier.
pub const ECHO_ID: usize = 4;

/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;

/// Codes of [`UNREACHABLE`].
pub mod unreachable {
    /// No route.
    pub const NET: u8 = 0;
    /// The last hop could not resolve the host.
    pub const HOST: u8 = 1;
    /// The host does not speak the protocol.
    pub const PROTOCOL: u8 = 2;
    /// Nothing listens on the port.
    pub const PORT: u8 = 3;
    /// Too big for the next link, and not to be fragmented.
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Forbidden by policy (RFC 1812 section 5.2.7.1).
    pub const PROHIBITED: u8 = 13;
}

/// An error to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// With a code of [`mod@unreachable`] other than "fragmentation needed".
    Unreachable(u8),
    /// The next link takes packets of this many bytes (RFC 1191).
    FragmentationNeeded(u16),
    /// The TTL was used up on the way.
    TtlExceeded,
    /// The rest of a datagram did not come in time.
    ReassemblyTimeExceeded,
}

impl Error {
    /// The message's header with its checksum still 0. The packet that it is about follows,
    /// then [`seal`].
    pub fn header(self) -> [u8; HEADER_LEN] {
        match self {
            Self::Unreachable(code) => [UNREACHABLE, code, 0, 0, 0, 0, 0, 0],
            Self::FragmentationNeeded(mtu) => {
                let [high, low] = mtu.to_be_bytes();
                let code = unreachable::FRAGMENTATION_NEEDED;
                [UNREACHABLE, code, 0, 0, 0, 0, high, low]
            }
            Self::TtlExceeded => [TIME_EXCEEDED, 0, 0, 0, 0, 0, 0, 0],
            Self::ReassemblyTimeExceeded => [TIME_EXCEEDED, 1, 0, 0, 0, 0, 0, 0],
        }
    }
}

/// The MTU that a "fragmentation needed" message tells of. `None` for any other message; `Some(0)`
/// from routers older than RFC 1191.
pub fn next_hop_mtu(message: &[u8]) -> Option<u16> {
    match array(message, 0)? {
        [UNREACHABLE, unreachable::FRAGMENTATION_NEEDED] => be16(message, 6),
        _ => None,
    }
}

/// Writes the checksum of a message. Nothing happens if it is shorter than its header.
pub fn seal(message: &mut [u8]) {
    if message.len() < HEADER_LEN {
        return;
    }
    put_ne16(message, CHECKSUM, 0);
    let checksum = Sum::ZERO.bytes(message).checksum();
    put_ne16(message, CHECKSUM, checksum);
}

/// Whether the checksum of a message is right.
pub fn checksum_ok(message: &[u8]) -> bool {
    message.len() >= HEADER_LEN && Sum::ZERO.bytes(message).is_valid()
}

/// Turns an echo request into its reply, checksum included. False, and unchanged, if it is none.
pub fn answer_echo(message: &mut [u8]) -> bool {
    if message.len() < HEADER_LEN || message.first() != Some(&ECHO_REQUEST) {
        return false;
    }
    put(message, 0, [ECHO_REPLY]);
    let delta = crate::checksum::Delta::bytes(&[ECHO_REQUEST, 0], &[ECHO_REPLY, 0]);
    delta.patch(message, CHECKSUM);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_request_becomes_its_reply() {
        // Linux ping: id 0x1234, sequence 1.
        let mut message = *b"\x08\x00\x00\x00\x12\x34\x00\x01abcdefghij";
        seal(&mut message);
        assert!(checksum_ok(&message));
        assert!(answer_echo(&mut message));
        assert_eq!(&message[..2], &[0, 0]);
        assert_eq!(&message[4..], b"\x12\x34\x00\x01abcdefghij");
        assert!(checksum_ok(&message));
        assert!(!answer_echo(&mut message), "a reply is not answered");
    }

    #[test]
    fn errors_say_what_they_are() {
        assert_eq!(
            Error::FragmentationNeeded(1200).header(),
            [3, 4, 0, 0, 0, 0, 0x04, 0xb0]
        );
        assert_eq!(
            Error::Unreachable(unreachable::PROHIBITED).header(),
            [3, 13, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(Error::TtlExceeded.header(), [11, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            Error::ReassemblyTimeExceeded.header(),
            [11, 1, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(
            next_hop_mtu(&Error::FragmentationNeeded(1200).header()),
            Some(1200)
        );
        assert_eq!(next_hop_mtu(&Error::TtlExceeded.header()), None);
        assert_eq!(next_hop_mtu(&[3, 4, 0, 0, 0, 0, 4]), None);
    }

    #[test]
    fn what_is_shorter_than_a_header_is_left_alone() {
        let mut short = [8, 0, 0, 0, 0, 0, 0];
        assert!(!answer_echo(&mut short));
        seal(&mut short);
        assert_eq!(short, [8, 0, 0, 0, 0, 0, 0]);
        assert!(!checksum_ok(&short));
    }
}
