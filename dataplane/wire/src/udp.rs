//! UDP headers (RFC 768).

use crate::bytes::{array, ne16, put_ne16};
use crate::checksum::Sum;
use crate::key::Family;
use crate::proto;

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;
/// Offset of the length.
pub const LEN: usize = 4;
/// Offset of the checksum. 0 there means that the sender made none, which IPv6 does not allow.
pub const CHECKSUM: usize = 6;

/// What a header says, in host order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Bytes of header and payload.
    pub len: u16,
    /// Whether there is a checksum.
    pub has_checksum: bool,
}

impl Header {
    /// Reads the header; `None` if it is cut, or claims more than is there or less than itself.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = array(datagram, 0)?;
        let len = u16::from_be_bytes([e, f]);
        (usize::from(len) >= HEADER_LEN && usize::from(len) <= datagram.len()).then_some(Self {
            sport: u16::from_be_bytes([a, b]),
            dport: u16::from_be_bytes([c, d]),
            len,
            has_checksum: [g, h] != [0, 0],
        })
    }

    /// The header's bytes, with no checksum yet.
    pub const fn bytes(&self) -> [u8; HEADER_LEN] {
        let [a, b] = self.sport.to_be_bytes();
        let [c, d] = self.dport.to_be_bytes();
        let [e, f] = self.len.to_be_bytes();
        [a, b, c, d, e, f, 0, 0]
    }
}

/// Writes the checksum of a datagram between these addresses (wire order). Nothing happens if the
/// slice ends within the header.
pub fn seal<F: Family>(addrs: F::Addrs, datagram: &mut [u8]) {
    if datagram.len() >= HEADER_LEN && put_ne16(datagram, CHECKSUM, 0) {
        let checksum = sum::<F>(addrs, datagram).checksum_udp();
        put_ne16(datagram, CHECKSUM, checksum);
    }
}

/// Whether the checksum of a datagram between these addresses (wire order) is right, or is 0, as
/// IPv4 allows and IPv6 does not.
pub fn checksum_ok<F: Family>(addrs: F::Addrs, datagram: &[u8]) -> bool {
    match ne16(datagram, CHECKSUM) {
        Some(0) => !F::IS_V6,
        Some(_) => sum::<F>(addrs, datagram).is_valid(),
        None => false,
    }
}

fn sum<F: Family>(addrs: F::Addrs, datagram: &[u8]) -> Sum {
    Sum::ZERO
        .pseudo::<F>(addrs, proto::UDP, datagram.len() as u32)
        .bytes(datagram)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{V4, V6};

    #[test]
    fn headers_are_read_and_written_back() {
        let datagram = [0xc3, 0x50, 0, 53, 0, 10, 0, 0, 1, 2];
        let header = Header::parse(&datagram).unwrap();
        assert_eq!(
            header,
            Header {
                sport: 50000,
                dport: 53,
                len: 10,
                has_checksum: false
            }
        );
        assert_eq!(header.bytes(), datagram[..8]);
        for len in 0..datagram.len() {
            assert_eq!(Header::parse(&datagram[..len]), None, "{len}");
        }
        assert_eq!(Header::parse(&[0, 1, 0, 2, 0, 7, 0, 0]), None);
    }

    #[test]
    fn checksums_are_made_and_verified() {
        let addrs = u64::from_ne_bytes([10, 0, 0, 1, 10, 0, 0, 2]);
        let mut datagram = [0xc3, 0x50, 0, 53, 0, 9, 0, 0, 0x7f];
        assert!(checksum_ok::<V4>(addrs, &datagram), "none was made");
        assert!(!checksum_ok::<V6>([1, 2, 3, 4], &datagram));
        seal::<V4>(addrs, &mut datagram);
        assert!(checksum_ok::<V4>(addrs, &datagram));
        datagram[8] ^= 1;
        assert!(!checksum_ok::<V4>(addrs, &datagram));
        assert!(!checksum_ok::<V4>(addrs, &datagram[..7]));
    }
}
