//! ICMPv6 (RFC 4443): echo, and the errors that an appliance sends.

use crate::bytes::{be32, put, put_ne16};
use crate::checksum::{Delta, Sum};
use crate::key::V6;
use crate::proto;

/// Bytes that every message starts with: type, code, checksum, and four that depend on the type.
pub const HEADER_LEN: usize = 8;
/// Offset of the checksum, which covers a pseudo-header and the message.
pub const CHECKSUM: usize = 2;
/// Offset of an echo's identifier.
pub const ECHO_ID: usize = 4;

/// Destination unreachable.
pub const UNREACHABLE: u8 = 1;
/// Packet too big.
pub const PACKET_TOO_BIG: u8 = 2;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 3;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Multicast listener query (RFC 2710).
pub const LISTENER_QUERY: u8 = 130;
/// Multicast listener done (RFC 2710).
pub const LISTENER_DONE: u8 = 132;
/// Router solicitation (RFC 4861).
pub const ROUTER_SOLICITATION: u8 = 133;
/// Router advertisement (RFC 4861).
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Neighbour solicitation (RFC 4861).
pub const NEIGHBOUR_SOLICITATION: u8 = 135;
/// Neighbour advertisement (RFC 4861).
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Version 2 multicast listener report (RFC 3810).
pub const LISTENER_REPORT_V2: u8 = 143;

/// Codes of [`UNREACHABLE`].
pub mod unreachable {
    /// No route.
    pub const NO_ROUTE: u8 = 0;
    /// Forbidden by policy.
    pub const PROHIBITED: u8 = 1;
    /// The last hop could not resolve the address.
    pub const ADDRESS: u8 = 3;
    /// Nothing listens on the port.
    pub const PORT: u8 = 4;
}

/// An error to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// With a code of [`mod@unreachable`].
    Unreachable(u8),
    /// The next link takes packets of this many bytes.
    PacketTooBig(u32),
    /// The hop limit was used up on the way.
    HopLimitExceeded,
    /// The rest of a datagram did not come in time.
    ReassemblyTimeExceeded,
    /// Code, and offset in bytes of what was wrong.
    ParameterProblem(u8, u32),
}

impl Error {
    /// The message's header with its checksum still 0. The packet that it is about follows,
    /// then [`seal`].
    pub fn header(self) -> [u8; HEADER_LEN] {
        let (kind, code, value) = match self {
            Self::Unreachable(code) => (UNREACHABLE, code, 0),
            Self::PacketTooBig(mtu) => (PACKET_TOO_BIG, 0, mtu),
            Self::HopLimitExceeded => (TIME_EXCEEDED, 0, 0),
            Self::ReassemblyTimeExceeded => (TIME_EXCEEDED, 1, 0),
            Self::ParameterProblem(code, pointer) => (PARAMETER_PROBLEM, code, pointer),
        };
        let [a, b, c, d] = value.to_be_bytes();
        [kind, code, 0, 0, a, b, c, d]
    }
}

/// The MTU that a "packet too big" message tells of; `None` for any other message.
pub fn next_hop_mtu(message: &[u8]) -> Option<u32> {
    match message.first()? {
        &PACKET_TOO_BIG => be32(message, 4),
        _ => None,
    }
}

/// Writes the checksum of a message between these addresses (wire order). Nothing happens if it is
/// shorter than its first four bytes.
pub fn seal(addrs: [u64; 4], message: &mut [u8]) {
    if put_ne16(message, CHECKSUM, 0) {
        let checksum = sum(addrs, message).checksum();
        put_ne16(message, CHECKSUM, checksum);
    }
}

/// Whether the checksum of a message between these addresses (wire order) is right.
pub fn checksum_ok(addrs: [u64; 4], message: &[u8]) -> bool {
    message.len() >= 4 && sum(addrs, message).is_valid()
}

fn sum(addrs: [u64; 4], message: &[u8]) -> Sum {
    Sum::ZERO
        .pseudo::<V6>(addrs, proto::ICMPV6, message.len() as u32)
        .bytes(message)
}

/// Turns an echo request into its reply, checksum included, provided that source and destination
/// are exchanged, which leaves the pseudo-header's sum as it is. If the reply's source is another
/// (the request went to a multicast address), [`seal`] it. False, and unchanged, if it is none.
pub fn answer_echo(message: &mut [u8]) -> bool {
    if message.len() < HEADER_LEN || message.first() != Some(&ECHO_REQUEST) {
        return false;
    }
    put(message, 0, [ECHO_REPLY]);
    Delta::bytes(&[ECHO_REQUEST, 0], &[ECHO_REPLY, 0]).patch(message, CHECKSUM);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Family;

    #[test]
    fn an_echo_request_becomes_its_reply() {
        let addrs = V6::pack(
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
        );
        let mut message = *b"\x80\x00\x00\x00\x12\x34\x00\x01abcdefghi";
        seal(addrs, &mut message);
        assert!(checksum_ok(addrs, &message));
        assert!(answer_echo(&mut message));
        assert_eq!(message[0], 129);
        assert!(checksum_ok(V6::swap(addrs), &message));
        assert!(!answer_echo(&mut message), "a reply is not answered");
    }

    #[test]
    fn errors_say_what_they_are() {
        assert_eq!(
            Error::PacketTooBig(1280).header(),
            [2, 0, 0, 0, 0, 0, 0x05, 0x00]
        );
        assert_eq!(
            Error::Unreachable(unreachable::ADDRESS).header(),
            [1, 3, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(Error::HopLimitExceeded.header(), [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            Error::ParameterProblem(1, 40).header(),
            [4, 1, 0, 0, 0, 0, 0, 40]
        );
        assert_eq!(
            next_hop_mtu(&Error::PacketTooBig(1280).header()),
            Some(1280)
        );
        assert_eq!(next_hop_mtu(&Error::HopLimitExceeded.header()), None);
        assert_eq!(next_hop_mtu(&[2, 0, 0, 0, 0, 0, 5]), None);
    }
}
