use proptest::prelude::*;

use super::*;
use crate::key::{V4, V6};

/// Textbook sum: big-endian words, carries added one at a time.
fn slow(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        let word = u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]);
        sum += u32::from(word);
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    sum as u16
}

/// Writes the correct checksum at `at`, as a sender does.
fn seal(bytes: &mut [u8], at: usize) {
    put_ne16(bytes, at, 0);
    let checksum = Sum::ZERO.bytes(bytes).checksum();
    put_ne16(bytes, at, checksum);
}

#[test]
fn the_example_of_rfc_1071() {
    let sum = Sum::ZERO.bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
    assert_eq!(sum.fold().to_ne_bytes(), [0xdd, 0xf2]);
    assert_eq!(sum.checksum().to_ne_bytes(), [0x22, 0x0d]);
}

#[test]
fn an_ipv4_header_off_the_wire() {
    let header = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00,
        0x01, 0xc0, 0xa8, 0x00, 0xc7,
    ];
    assert!(Sum::ZERO.bytes(&header).is_valid());
    let mut routed = header;
    routed[8] -= 1;
    Delta::TTL_DECREMENT.patch(&mut routed, 10);
    assert_eq!(&routed[10..12], &[0xb9, 0x61]);
    assert!(Sum::ZERO.bytes(&routed).is_valid());
}

#[test]
fn the_example_of_rfc_1624_where_equation_2_goes_wrong() {
    // Section 4: HC = 0xdd2f, m = 0x5555, m' = 0x3285 gives 0x0000, where RFC 1141 gave 0xffff.
    let word = |w: u16| u16::from_ne_bytes(w.to_be_bytes());
    let delta = Delta::word16(word(0x5555), word(0x3285));
    assert_eq!(delta.apply(word(0xdd2f)), 0);
}

#[test]
fn udp_zero_stays_and_computed_zero_is_sent_as_ones() {
    // Pitfall 8.
    let word = |w: u16| u16::from_ne_bytes(w.to_be_bytes());
    let delta = Delta::word16(word(0x5555), word(0x3285));
    assert_eq!(delta.apply_udp(0), 0);
    assert_eq!(delta.apply_udp(word(0xdd2f)), 0xffff);
    assert_eq!(
        Sum::ZERO.bytes(&[0xff, 0xff]).checksum_udp(),
        0xffff,
        "a datagram that sums to ones"
    );
}

#[test]
fn a_udp_checksum_sent_as_ones_survives_rewriting() {
    // Sums to 0xffff without its checksum, so it is on the wire as 0xffff.
    let addrs = u64::from_ne_bytes([10, 0, 0, 1, 192, 0, 2, 1]);
    let new = u64::from_ne_bytes([198, 51, 100, 1, 192, 0, 2, 1]);
    let delta = Delta::addrs::<V4>(addrs, new);
    assert_eq!(
        delta.apply_udp(0xffff),
        !delta.0,
        "minus zero plus the delta"
    );
    assert_eq!(Delta::word16(7, 7).apply_udp(0xffff), 0xffff);
    assert_eq!(Delta::NONE.apply_udp(0xffff), 0xffff);
}

#[test]
fn a_pseudo_header_as_tcp_over_ipv4_has_it() {
    let addrs = u64::from_ne_bytes([10, 0, 0, 1, 10, 0, 0, 2]);
    let by_hand = [10, 0, 0, 1, 10, 0, 0, 2, 0, 6, 0, 20];
    assert_eq!(
        Sum::ZERO.pseudo::<V4>(addrs, 6, 20).fold(),
        Sum::ZERO.bytes(&by_hand).fold()
    );
}

#[test]
fn a_patch_outside_the_slice_changes_nothing() {
    let mut bytes = [1, 2, 3];
    Delta(5).patch(&mut bytes, 2);
    Delta(5).patch_udp(&mut bytes, usize::MAX);
    assert_eq!(bytes, [1, 2, 3]);
}

proptest! {
    #[test]
    fn sums_match_the_textbook(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let sum = Sum::ZERO.bytes(&bytes).fold();
        prop_assert_eq!(u16::from_be_bytes(sum.to_ne_bytes()), slow(&bytes));
    }

    #[test]
    fn sums_of_pieces_are_the_sum(
        bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..100,
    ) {
        let cut = (cut * 2).min(bytes.len() & !1);
        let (a, b) = bytes.split_at(cut);
        prop_assert_eq!(
            Sum::ZERO.bytes(a).bytes(b).fold(),
            Sum::ZERO.bytes(&bytes).fold()
        );
    }

    /// Field at 10, "addresses" at 12..20, "ports" at 20..24, TTL at 8: any rewrite.
    #[test]
    fn incremental_equals_recomputed(
        mut packet in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(0xff)], 24..80),
        addrs in any::<u64>(),
        ports in any::<u32>(),
    ) {
        prop_assume!(packet[8] != 0);
        seal(&mut packet, 10);
        let old_addrs = crate::bytes::ne64(&packet, 12).unwrap();
        let old_ports = crate::bytes::ne32(&packet, 20).unwrap();
        let delta = Delta::addrs::<V4>(old_addrs, addrs)
            .and(Delta::word32(old_ports, ports))
            .and(Delta::TTL_DECREMENT);
        packet[12..20].copy_from_slice(&addrs.to_ne_bytes());
        packet[20..24].copy_from_slice(&ports.to_ne_bytes());
        packet[8] -= 1;
        prop_assume!(packet.iter().enumerate().any(|(at, b)| !(10..12).contains(&at) && *b != 0));
        let mut anew = packet.clone();
        seal(&mut anew, 10);
        delta.patch(&mut packet, 10);
        prop_assert_eq!(&packet, &anew);
    }

    #[test]
    fn incremental_equals_recomputed_for_ipv6(
        old in any::<[u64; 4]>(), new in any::<[u64; 4]>(), payload in any::<[u8; 11]>(),
    ) {
        prop_assume!(old != [0; 4] && new != [0; 4]);
        let checksum = |addrs| Sum::ZERO.pseudo::<V6>(addrs, 17, 11).bytes(&payload).checksum_udp();
        let delta = Delta::addrs::<V6>(old, new);
        prop_assert_eq!(delta.apply_udp(checksum(old)), checksum(new));
        prop_assert_eq!(delta.inverse().apply_udp(checksum(new)), checksum(old));
    }
}
