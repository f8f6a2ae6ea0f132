//! The Toeplitz hash of receive-side scaling, as NICs compute it.
//!
//! Input is source address, destination address, source port, destination port, as they stand in
//! the packet ("RSS Hashing Functions", Microsoft NDIS). The hash is linear: it is the XOR of one
//! table entry for each input byte, so the share of any field can be computed alone. NAT searches
//! for a port whose reply comes home by that: everything but the port is hashed once, and each
//! candidate costs two loads.

use crate::key::Family;

/// Most bytes hashed: two IPv6 addresses and two ports.
const INPUT: usize = 36;

/// Bytes of key that hashing [`INPUT`] bytes needs.
const KEY: usize = INPUT + 4;

/// One row for each input byte, one entry for each of its values.
type Table = [[u32; 256]; INPUT];

/// The key that Microsoft's verification suite uses, and most drivers by default.
pub const MICROSOFT_KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// A key with a period of 16 bits: a tuple and its reverse hash alike (Woo and Park, "Scalable TCP
/// Session Monitoring with Symmetric Receive-side Scaling"). It hashes to 2^16 values only.
pub const SYMMETRIC_KEY: [u8; 40] = symmetric();

const fn symmetric() -> [u8; 40] {
    let mut key = [0x6d; 40];
    let mut at = 1;
    while at < key.len() {
        key[at] = 0x5a;
        at += 2;
    }
    key
}

/// The key was shorter than 40 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortKey;

impl std::fmt::Display for ShortKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an RSS key has at least {KEY} bytes (some NICs want 52)")
    }
}

impl std::error::Error for ShortKey {}

/// The hash under one key. Cloning copies 36 KiB; share it.
#[derive(Clone)]
pub struct Toeplitz {
    table: Box<Table>,
}

impl Toeplitz {
    /// Precomputes the tables. NICs with longer keys (52 bytes) use the first 40 for what is hashed
    /// here.
    ///
    /// # Errors
    /// [`ShortKey`] for fewer than 40 bytes.
    pub fn new(key: &[u8]) -> Result<Self, ShortKey> {
        let key: &[u8; KEY] = key.first_chunk().ok_or(ShortKey)?;
        let mut table = Box::new([[0; 256]; INPUT]);
        for (row, at) in table.iter_mut().zip(key.windows(5)) {
            // 40 bits of key cover the eight 32-bit windows that start within this input byte.
            let bits = at.iter().fold(0u64, |bits, b| bits << 8 | u64::from(*b));
            for (value, entry) in row.iter_mut().enumerate() {
                *entry = (0..8)
                    .filter(|bit| value & (0x80 >> bit) != 0)
                    .fold(0, |hash, bit| hash ^ (bits >> (8 - bit)) as u32);
            }
        }
        Ok(Self { table })
    }

    /// The share of the bytes in `input`, of which the first stands at position `at`.
    #[inline(always)]
    fn part<const N: usize>(&self, at: usize, input: [u8; N]) -> u32 {
        let mut hash = 0;
        for (row, byte) in self.table.iter().skip(at).zip(input) {
            hash ^= row[usize::from(byte)];
        }
        hash
    }

    /// IPv4 over addresses and ports, both in wire order as in [`crate::Key`].
    #[inline]
    pub fn hash_v4(&self, addrs: u64, ports: u32) -> u32 {
        self.addrs_v4(addrs) ^ self.ports_v4(ports)
    }

    /// IPv6 over addresses and ports, both in wire order.
    #[inline]
    pub fn hash_v6(&self, addrs: [u64; 4], ports: u32) -> u32 {
        self.addrs_v6(addrs) ^ self.ports_v6(ports)
    }

    /// IPv4 over addresses only: the hash of what is not TCP or UDP, and the addresses' share of
    /// [`Toeplitz::hash_v4`].
    #[inline]
    pub fn addrs_v4(&self, addrs: u64) -> u32 {
        self.part(0, addrs.to_ne_bytes())
    }

    /// IPv6 over addresses only.
    #[inline]
    pub fn addrs_v6(&self, addrs: [u64; 4]) -> u32 {
        let bytes: [u8; 32] = zerocopy::transmute!(addrs);
        self.part(0, bytes)
    }

    /// The ports' share of [`Toeplitz::hash_v4`], ports in wire order.
    #[inline]
    pub fn ports_v4(&self, ports: u32) -> u32 {
        self.part(8, ports.to_ne_bytes())
    }

    /// The ports' share of [`Toeplitz::hash_v6`], ports in wire order.
    #[inline]
    pub fn ports_v6(&self, ports: u32) -> u32 {
        self.part(32, ports.to_ne_bytes())
    }

    /// Addresses and ports of either family.
    #[inline]
    pub fn hash<F: Family>(&self, addrs: F::Addrs, ports: u32) -> u32 {
        self.addrs::<F>(addrs) ^ self.ports::<F>(ports)
    }

    /// Addresses only, of either family.
    #[inline]
    pub fn addrs<F: Family>(&self, addrs: F::Addrs) -> u32 {
        let mut hash = 0;
        for (row, byte) in self.table.iter().zip(zerocopy::IntoBytes::as_bytes(&addrs)) {
            hash ^= row[usize::from(*byte)];
        }
        hash
    }

    /// The ports' share, of either family.
    #[inline]
    pub fn ports<F: Family>(&self, ports: u32) -> u32 {
        if F::IS_V6 {
            self.ports_v6(ports)
        } else {
            self.ports_v4(ports)
        }
    }

    /// The source port's share (host order) of [`Toeplitz::hash`].
    #[inline]
    pub fn sport<F: Family>(&self, sport: u16) -> u32 {
        self.part(ports_at::<F>(), sport.to_be_bytes())
    }

    /// The destination port's share (host order) of [`Toeplitz::hash`]: with `base` the share of
    /// everything else, a reply to port `p` hashes to `base ^ dport(p)`.
    #[inline]
    pub fn dport<F: Family>(&self, dport: u16) -> u32 {
        self.part(ports_at::<F>() + 2, dport.to_be_bytes())
    }
}

/// Where the ports stand in the input.
#[inline]
const fn ports_at<F: Family>() -> usize {
    if F::IS_V6 { 32 } else { 8 }
}

impl std::fmt::Debug for Toeplitz {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Toeplitz")
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::key::{V4, V6, pack_ports};

    /// The verification suite's vectors: destination, source, hash over addresses, with ports.
    const V4_VECTORS: [(&str, u16, &str, u16, u32, u32); 5] = [
        (
            "161.142.100.80",
            1766,
            "66.9.149.187",
            2794,
            0x323e8fc2,
            0x51ccc178,
        ),
        (
            "65.69.140.83",
            4739,
            "199.92.111.2",
            14230,
            0xd718262a,
            0xc626b0ea,
        ),
        (
            "12.22.207.184",
            38024,
            "24.19.198.95",
            12898,
            0xd2d0a5de,
            0x5c2b394a,
        ),
        (
            "209.142.163.6",
            2217,
            "38.27.205.30",
            48228,
            0x82989176,
            0xafc7327f,
        ),
        (
            "202.188.127.2",
            1303,
            "153.39.163.191",
            44251,
            0x5d1809c5,
            0x10e828a2,
        ),
    ];
    const V6_VECTORS: [(&str, u16, &str, u16, u32, u32); 3] = [
        (
            "3ffe:2501:200:3::1",
            1766,
            "3ffe:2501:200:1fff::7",
            2794,
            0x2cc18cd5,
            0x40207d3d,
        ),
        (
            "ff02::1",
            4739,
            "3ffe:501:8::260:97ff:fe40:efab",
            14230,
            0x0f0c461c,
            0xdde51bbf,
        ),
        (
            "fe80::200:f8ff:fe21:67cf",
            38024,
            "3ffe:1900:4545:3:200:f8ff:fe21:67cf",
            44251,
            0x4b61e985,
            0x02d1feef,
        ),
    ];

    fn pack<F: Family>(src: &str, dst: &str) -> F::Addrs {
        let [src, dst] = [src, dst].map(|ip| ip.parse::<IpAddr>().unwrap());
        F::pack(src, dst)
    }

    #[test]
    fn the_verification_suite_for_ipv4() {
        let toeplitz = Toeplitz::new(&MICROSOFT_KEY).unwrap();
        for (dst, dport, src, sport, l3, l4) in V4_VECTORS {
            let (addrs, ports) = (pack::<V4>(src, dst), pack_ports(sport, dport));
            assert_eq!(toeplitz.addrs_v4(addrs), l3, "{src}");
            assert_eq!(toeplitz.hash_v4(addrs, ports), l4, "{src}");
            assert_eq!(toeplitz.hash::<V4>(addrs, ports), l4, "{src}");
        }
    }

    #[test]
    fn the_verification_suite_for_ipv6() {
        let toeplitz = Toeplitz::new(&MICROSOFT_KEY).unwrap();
        for (dst, dport, src, sport, l3, l4) in V6_VECTORS {
            let (addrs, ports) = (pack::<V6>(src, dst), pack_ports(sport, dport));
            assert_eq!(toeplitz.addrs_v6(addrs), l3, "{src}");
            assert_eq!(toeplitz.hash_v6(addrs, ports), l4, "{src}");
            assert_eq!(toeplitz.hash::<V6>(addrs, ports), l4, "{src}");
        }
    }

    #[test]
    fn long_keys_hash_as_their_first_forty_bytes_and_short_ones_are_refused() {
        let mut long = [7; 52];
        long[..40].copy_from_slice(&MICROSOFT_KEY);
        let [long, plain] = [&long[..], &MICROSOFT_KEY].map(|key| Toeplitz::new(key).unwrap());
        assert_eq!(
            long.hash_v6([1, 2, 3, 4], 5),
            plain.hash_v6([1, 2, 3, 4], 5)
        );
        assert_eq!(Toeplitz::new(&[0; 39]).unwrap_err(), ShortKey);
    }

    proptest! {
        #[test]
        fn shares_add_up(addrs in any::<[u64; 4]>(), sport in any::<u16>(), dport in any::<u16>()) {
            let toeplitz = Toeplitz::new(&MICROSOFT_KEY).unwrap();
            let ports = pack_ports(sport, dport);
            prop_assert_eq!(
                toeplitz.hash::<V4>(addrs[0], ports),
                toeplitz.addrs_v4(addrs[0]) ^ toeplitz.sport::<V4>(sport) ^ toeplitz.dport::<V4>(dport)
            );
            prop_assert_eq!(
                toeplitz.hash::<V6>(addrs, ports),
                toeplitz.addrs_v6(addrs) ^ toeplitz.sport::<V6>(sport) ^ toeplitz.dport::<V6>(dport)
            );
        }

        #[test]
        fn under_the_symmetric_key_a_reply_hashes_like_its_request(
            src in any::<u32>(), dst in any::<u32>(), sport in any::<u16>(), dport in any::<u16>(),
        ) {
            let toeplitz = Toeplitz::new(&SYMMETRIC_KEY).unwrap();
            let forth = V4::pack(IpAddr::V4(src.into()), IpAddr::V4(dst.into()));
            let back = V4::pack(IpAddr::V4(dst.into()), IpAddr::V4(src.into()));
            prop_assert_eq!(
                toeplitz.hash_v4(forth, pack_ports(sport, dport)),
                toeplitz.hash_v4(back, pack_ports(dport, sport))
            );
        }
    }
}
