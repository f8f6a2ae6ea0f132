//! The compact tuple that the session table is keyed by, and its hash.
//!
//! Addresses and ports stay in wire order, as they stand in the packet: for IPv4 the eight bytes
//! from the source address on, and the four bytes that open the transport header. Building a key
//! is two loads, comparing one is three compares.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::tuple::Tuple;

/// What differs between IPv4 and IPv6 for keys, rewrites and the session table.
pub trait Family: Copy + Default + Send + Sync + 'static {
    /// Source and destination address as they stand in the header, wire order.
    type Addrs: Copy
        + Default
        + Eq
        + std::fmt::Debug
        + Send
        + Sync
        + FromBytes
        + IntoBytes
        + Immutable
        + KnownLayout
        + 'static;
    /// True for IPv6.
    const IS_V6: bool;

    /// Packs two addresses. An address of the other family packs as zeros; callers never mix.
    fn pack(src: IpAddr, dst: IpAddr) -> Self::Addrs;
    /// The two addresses, source first.
    fn unpack(addrs: Self::Addrs) -> (IpAddr, IpAddr);
    /// The same with source and destination exchanged.
    fn swap(addrs: Self::Addrs) -> Self::Addrs;
    /// Folds the addresses into one word for hashing.
    fn fold(addrs: Self::Addrs, secret: &[u64; 4]) -> u64;
}

/// IPv4.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct V4;
/// IPv6.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct V6;

impl Family for V4 {
    type Addrs = u64;
    const IS_V6: bool = false;

    fn pack(src: IpAddr, dst: IpAddr) -> u64 {
        let (IpAddr::V4(src), IpAddr::V4(dst)) = (src, dst) else {
            return 0;
        };
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&src.octets());
        bytes[4..].copy_from_slice(&dst.octets());
        u64::from_ne_bytes(bytes)
    }

    fn unpack(addrs: u64) -> (IpAddr, IpAddr) {
        let [a, b, c, d, e, f, g, h] = addrs.to_ne_bytes();
        (
            Ipv4Addr::new(a, b, c, d).into(),
            Ipv4Addr::new(e, f, g, h).into(),
        )
    }

    #[inline]
    fn swap(addrs: u64) -> u64 {
        addrs.rotate_left(32)
    }

    #[inline]
    fn fold(addrs: u64, _secret: &[u64; 4]) -> u64 {
        addrs
    }
}

impl Family for V6 {
    type Addrs = [u64; 4];
    const IS_V6: bool = true;

    fn pack(src: IpAddr, dst: IpAddr) -> [u64; 4] {
        let (IpAddr::V6(src), IpAddr::V6(dst)) = (src, dst) else {
            return [0; 4];
        };
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&src.octets());
        bytes[16..].copy_from_slice(&dst.octets());
        zerocopy::transmute!(bytes)
    }

    fn unpack(addrs: [u64; 4]) -> (IpAddr, IpAddr) {
        let [src, dst]: [[u8; 16]; 2] = zerocopy::transmute!(addrs);
        (Ipv6Addr::from(src).into(), Ipv6Addr::from(dst).into())
    }

    #[inline]
    fn swap([a, b, c, d]: [u64; 4]) -> [u64; 4] {
        [c, d, a, b]
    }

    #[inline]
    fn fold(addrs: [u64; 4], secret: &[u64; 4]) -> u64 {
        mix(addrs[0] ^ secret[2], addrs[1] ^ secret[3])
            ^ mix(addrs[2] ^ secret[3], addrs[3] ^ secret[0])
    }
}

/// One flow's tuple, within the zone that its packets come in by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Key<A> {
    /// Source and destination address, wire order.
    pub addrs: A,
    /// Source and destination port, wire order: the first four bytes of a TCP or UDP header.
    pub ports: u32,
    /// IP protocol number.
    pub proto: u8,
    /// Index of the ingress zone. A packet from another zone is another flow.
    pub zone: u8,
    /// Always zero, so that the bytes of equal keys are equal.
    pub zero: u16,
}

impl<A> Key<A> {
    /// Packs a tuple.
    pub fn new<F: Family<Addrs = A>>(tuple: &Tuple, zone: u8) -> Self {
        Self {
            addrs: F::pack(tuple.src, tuple.dst),
            ports: pack_ports(tuple.sport, tuple.dport),
            proto: tuple.proto,
            zone,
            zero: 0,
        }
    }

    /// The key of packets that answer those of this one, in the same zone.
    #[inline]
    #[must_use]
    pub fn reverse<F: Family<Addrs = A>>(self) -> Self {
        Self {
            addrs: F::swap(self.addrs),
            ports: self.ports.rotate_left(16),
            ..self
        }
    }

    /// The readable form.
    pub fn tuple<F: Family<Addrs = A>>(&self) -> Tuple
    where
        A: Copy,
    {
        let (src, dst) = F::unpack(self.addrs);
        let (sport, dport) = unpack_ports(self.ports);
        Tuple {
            proto: self.proto,
            src,
            dst,
            sport,
            dport,
        }
    }
}

/// Two host-order ports as the native word of their four wire bytes.
#[inline]
pub const fn pack_ports(sport: u16, dport: u16) -> u32 {
    let [a, b] = sport.to_be_bytes();
    let [c, d] = dport.to_be_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

/// The inverse of [`pack_ports`].
#[inline]
pub const fn unpack_ports(ports: u32) -> (u16, u16) {
    let [a, b, c, d] = ports.to_ne_bytes();
    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

/// A keyed hash over [`Key`]s: two folded 64x64-bit multiplications (as wyhash and foldhash do).
///
/// The secret is drawn at start, so that nobody outside can aim flows at one bucket. A CRC would
/// be as fast, but it is linear: keys that collide under one seed collide under all.
#[derive(Clone, Copy, Debug)]
pub struct KeyHasher {
    secret: [u64; 4],
}

impl KeyHasher {
    /// A hasher under this secret. Take random words in production, fixed ones in tests.
    pub const fn new(secret: [u64; 4]) -> Self {
        Self { secret }
    }

    /// 64 well-mixed bits.
    #[inline]
    pub fn hash<F: Family>(&self, key: &Key<F::Addrs>) -> u64 {
        let low = F::fold(key.addrs, &self.secret);
        let high = u64::from(key.ports) | u64::from(key.proto) << 32 | u64::from(key.zone) << 40;
        let mixed = mix(low ^ self.secret[0], high ^ self.secret[1]);
        mix(mixed ^ self.secret[2], self.secret[3])
    }
}

/// High half xor low half of the 128-bit product.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(src: &str, dst: &str) -> Tuple {
        Tuple {
            proto: 6,
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
            sport: 1,
            dport: 0x5000,
        }
    }

    #[test]
    fn keys_unpack_to_their_tuples() {
        let v4 = tuple("10.0.0.1", "192.0.2.9");
        assert_eq!(Key::new::<V4>(&v4, 3).tuple::<V4>(), v4);
        let v6 = tuple("2001:db8::1", "2001:db8::2");
        assert_eq!(Key::new::<V6>(&v6, 3).tuple::<V6>(), v6);
    }

    #[test]
    fn wire_order_is_the_order_in_the_packet() {
        let key = Key::new::<V4>(&tuple("10.0.0.1", "192.0.2.9"), 0);
        assert_eq!(key.addrs.to_ne_bytes(), [10, 0, 0, 1, 192, 0, 2, 9]);
        assert_eq!(key.ports.to_ne_bytes(), [0, 1, 0x50, 0]);
        assert_eq!(size_of::<Key<u64>>(), 16);
    }

    #[test]
    fn a_reversed_key_is_the_key_of_the_reversed_tuple() {
        let v4 = tuple("10.0.0.1", "192.0.2.9");
        assert_eq!(
            Key::new::<V4>(&v4, 3).reverse::<V4>(),
            Key::new::<V4>(&v4.reverse(), 3)
        );
        let v6 = tuple("2001:db8::1", "2001:db8::2");
        assert_eq!(
            Key::new::<V6>(&v6, 3).reverse::<V6>(),
            Key::new::<V6>(&v6.reverse(), 3)
        );
    }

    #[test]
    fn a_flow_and_its_reverse_hash_apart() {
        let hasher = KeyHasher::new([1, 2, 3, 4]);
        let forth = tuple("10.0.0.1", "192.0.2.9");
        let hash = |t: &Tuple, zone| hasher.hash::<V4>(&Key::new::<V4>(t, zone));
        assert_ne!(hash(&forth, 0), hash(&forth.reverse(), 0));
        assert_ne!(hash(&forth, 0), hash(&forth, 1));
    }
}
