use proptest::prelude::*;

use super::*;
use crate::bytes::put_ne16;
use crate::checksum::Sum;

/// A SYN as Linux sends it: MSS 1460, SACK permitted, timestamps, NOP, window scale 7.
const SYN: [u8; 40] = [
    0xc3, 0x50, 0x00, 0x50, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0, 0xa0, 0x02, 0xfa, 0xf0, 0, 0, 0, 0,
    2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7,
];

fn sealed(mut segment: Vec<u8>) -> Vec<u8> {
    put_ne16(&mut segment, CHECKSUM, 0);
    let checksum = Sum::ZERO.bytes(&segment).checksum();
    put_ne16(&mut segment, CHECKSUM, checksum);
    segment
}

#[test]
fn a_syn_of_linux() {
    let segment = Segment::parse(&SYN).unwrap();
    assert_eq!(
        segment,
        Segment {
            seq: 0x1122_3344,
            ack: 0,
            len: 0,
            window: 64240,
            flags: flag::SYN,
            header_len: 40,
        }
    );
    assert_eq!(segment.end(), 0x1122_3345);
    assert_eq!(
        Options::parse(&SYN),
        Options {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true
        }
    );
}

#[test]
fn sequence_space_wraps_and_counts_data_and_fin() {
    let mut bytes = vec![0; 25];
    bytes[4..8].copy_from_slice(&[0xff, 0xff, 0xff, 0xfe]);
    bytes[12] = 0x50;
    bytes[FLAGS] = flag::FIN | flag::ACK;
    let segment = Segment::parse(&bytes).unwrap();
    assert_eq!((segment.len, segment.end()), (5, 4));
}

#[test]
fn a_header_longer_than_its_segment_or_shorter_than_itself_is_refused() {
    for cut in 0..SYN.len() {
        assert_eq!(Segment::parse(&SYN[..cut]), None, "cut to {cut}");
    }
    let mut short = SYN;
    short[12] = 0x40;
    assert_eq!(Segment::parse(&short), None);
}

#[test]
fn impossible_option_lengths_end_the_walk() {
    for (kind, len) in [(2, 0), (2, 1), (254, 21), (254, 255)] {
        let mut segment = SYN;
        segment[20] = kind;
        segment[21] = len;
        assert_eq!(Options::parse(&segment), Options::default(), "{kind} {len}");
        assert!(!clamp_mss(&mut segment, 500));
    }
    // A kind in the very last byte has no length.
    let mut segment = SYN;
    segment[20..].fill(1);
    segment[39] = 2;
    assert_eq!(Options::parse(&segment), Options::default());
}

#[test]
fn options_of_the_wrong_length_and_behind_the_end_do_not_count() {
    let mut segment = SYN;
    segment[20..].fill(0);
    segment[20..24].copy_from_slice(&[3, 4, 7, 7]);
    segment[25..29].copy_from_slice(&[2, 4, 5, 0xb4]);
    assert_eq!(Options::parse(&segment), Options::default());
}

#[test]
fn a_window_scale_beyond_fourteen_counts_as_fourteen() {
    let mut segment = SYN;
    segment[39] = 200;
    assert_eq!(Options::parse(&segment).window_scale, Some(14));
}

#[test]
fn mss_is_clamped_and_the_checksum_follows() {
    let mut segment = sealed(SYN.to_vec());
    assert!(clamp_mss(&mut segment, 1400));
    assert_eq!(&segment[20..24], &[2, 4, 0x05, 0x78]);
    assert!(Sum::ZERO.bytes(&segment).is_valid());
    assert!(!clamp_mss(&mut segment, 1400), "already small enough");
    assert!(!clamp_mss(&mut segment, 1460), "never raised");
    assert_eq!(&segment[20..24], &[2, 4, 0x05, 0x78]);
}

#[test]
fn an_mss_at_an_odd_offset_is_clamped_too() {
    let mut segment = SYN.to_vec();
    segment[20..25].copy_from_slice(&[1, 2, 4, 0x05, 0xb4]);
    segment[25..].fill(0);
    let mut segment = sealed(segment);
    assert!(clamp_mss(&mut segment, 1221));
    assert_eq!(Options::parse(&segment).mss, Some(1221));
    assert!(Sum::ZERO.bytes(&segment).is_valid());
}

#[test]
fn only_syns_are_clamped() {
    let mut segment = sealed(SYN.to_vec());
    segment[FLAGS] = flag::ACK;
    let before = segment.clone();
    assert!(!clamp_mss(&mut segment, 500));
    assert_eq!(segment, before);
}

proptest! {
    #[test]
    fn clamping_keeps_any_segment_valid(
        options in proptest::collection::vec(prop_oneof![0u8..6, any::<u8>()], 40),
        limit in any::<u16>(),
    ) {
        let mut segment = SYN[..20].to_vec();
        segment[12] = 0xf0;
        segment.extend(options);
        let mut segment = sealed(segment);
        let before = segment.clone();
        let changed = clamp_mss(&mut segment, limit);
        prop_assert_eq!(changed, segment != before);
        prop_assert!(Sum::ZERO.bytes(&segment).is_valid());
        prop_assert!(Options::parse(&segment).mss.is_none_or(|mss| mss <= limit));
    }
}
