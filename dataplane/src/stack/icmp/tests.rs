use sluice_wire::bytes::array;

use super::*;
use crate::io::memory::VecFrame;
use crate::stack::testing::{self, OURS, PEER, port, tagged};

fn built(what: Error, frame: &[u8], port: &Port) -> Option<Vec<u8>> {
    let parsed = sluice_wire::parse(frame, None, false).unwrap();
    let mut out = VecFrame::new(&[], 2048);
    error(what, frame, &parsed, port, &mut out).then(|| out.bytes().to_vec())
}

#[test]
fn time_exceeded_to_the_byte() {
    let about = testing::udp_v4(b"abcd");
    let mut expected = testing::ethernet(PEER, OURS, 0x0800);
    // 20 + 8 + 32 bytes, don't fragment, TTL 64, ICMP; 10.0.0.1 to 10.0.0.2.
    expected.extend(
        b"\x45\xc0\x00\x3c\x00\x00\x40\x00\x40\x01\x25\xff\x0a\x00\x00\x01\x0a\x00\x00\x02",
    );
    expected.extend(b"\x0b\x00\x2c\x10\x00\x00\x00\x00");
    expected.extend(&about[14..]);
    assert_eq!(built(Error::TtlExceeded, &about, &port()), Some(expected));
}

#[test]
fn types_and_codes() {
    let v4 = testing::udp_v4(b"abcd");
    let v6 = testing::udp_v6(b"abcd");
    #[rustfmt::skip]
    let cases: [(Error, [u8; 2], [u8; 2]); 7] = [
        (Error::TtlExceeded,            [11, 0],  [3, 0]),
        (Error::NoRoute,                [3, 0],   [1, 0]),
        (Error::HostUnreachable,        [3, 1],   [1, 3]),
        (Error::PortUnreachable,        [3, 3],   [1, 4]),
        (Error::Prohibited,             [3, 13],  [1, 1]),
        (Error::TooBig(1200),           [3, 4],   [2, 0]),
        (Error::ReassemblyTimeExceeded, [11, 1],  [3, 1]),
    ];
    for (what, in_v4, in_v6) in cases {
        assert_eq!(
            built(what, &v4, &port()).unwrap()[34..36],
            in_v4,
            "{what:?}"
        );
        assert_eq!(
            built(what, &v6, &port()).unwrap()[54..56],
            in_v6,
            "{what:?}"
        );
    }
}

#[test]
fn the_next_hops_mtu_is_told() {
    // Path MTU discovery: RFC 1191 has two bytes for it, RFC 4443 four.
    let v4 = built(Error::TooBig(1200), &testing::udp_v4(b"abcd"), &port()).unwrap();
    assert_eq!(icmp4::next_hop_mtu(&v4[34..]), Some(1200));
    let v6 = built(Error::TooBig(1280), &testing::udp_v6(b"abcd"), &port()).unwrap();
    assert_eq!(icmp6::next_hop_mtu(&v6[54..]), Some(1280));
}

#[test]
fn an_ipv6_error_has_the_right_checksum_and_the_whole_packet() {
    let about = testing::udp_v6(b"abcd");
    let out = built(Error::NoRoute, &about, &port()).unwrap();
    let addrs: [u64; 4] = zerocopy::transmute!(array::<32>(&out, 22).unwrap());
    assert!(icmp6::checksum_ok(addrs, &out[54..]));
    assert_eq!(out[62..], about[14..]);
    assert_eq!(
        out[22..38],
        about[38..54],
        "from the address that the peer's network knows"
    );
}

#[test]
fn quotes_are_cut_to_what_always_gets_through() {
    let long = vec![0xaa; 1400];
    let v4 = built(Error::TtlExceeded, &testing::udp_v4(&long), &port()).unwrap();
    assert_eq!(v4.len(), 14 + 576);
    assert!(icmp4::checksum_ok(&v4[34..]));
    let v6 = built(Error::TtlExceeded, &testing::udp_v6(&long), &port()).unwrap();
    assert_eq!(v6.len(), 14 + 1280);
}

#[test]
fn padding_of_short_frames_is_not_quoted() {
    // Pitfall 6: a trailer in the quote, or in the checksum.
    let about = testing::udp_v4(b"");
    let mut padded = about.clone();
    padded.resize(60, 0xee);
    let out = built(Error::PortUnreachable, &padded, &port()).unwrap();
    assert_eq!(out[42..], about[14..]);
    assert!(icmp4::checksum_ok(&out[34..]));
}

#[test]
fn errors_leave_with_the_ports_tag() {
    let out = built(Error::TtlExceeded, &testing::udp_v4(b""), &tagged(7)).unwrap();
    assert_eq!(out[12..18], [0x81, 0, 0, 7, 8, 0]);
}

#[test]
fn no_errors_about_errors() {
    let error = built(Error::TtlExceeded, &testing::udp_v4(b"abcd"), &port()).unwrap();
    assert_eq!(built(Error::TtlExceeded, &error, &port()), None);
    let error = built(Error::TtlExceeded, &testing::udp_v6(b"abcd"), &port()).unwrap();
    assert_eq!(built(Error::TtlExceeded, &error, &port()), None);
    // But about a ping.
    assert!(built(Error::TtlExceeded, &testing::ping_v4(b"", &[]), &port()).is_some());
}

#[test]
fn no_errors_about_later_fragments() {
    let mut piece = testing::udp_v4(b"0123456789abcdef");
    piece[21] = 2;
    testing::reseal(&mut piece, 14);
    assert_eq!(built(Error::TtlExceeded, &piece, &port()), None);
    piece[20..22].copy_from_slice(&[0x20, 0]);
    testing::reseal(&mut piece, 14);
    assert!(
        built(Error::TtlExceeded, &piece, &port()).is_some(),
        "about the first"
    );
}

#[test]
fn no_errors_to_or_about_broadcasts() {
    let with = |at: usize, address: [u8; 4]| {
        let mut frame = testing::udp_v4(b"");
        frame[at..at + 4].copy_from_slice(&address);
        testing::reseal(&mut frame, 14);
        built(Error::TtlExceeded, &frame, &port())
    };
    assert_eq!(
        with(30, [10, 0, 0, 255]),
        None,
        "to the network's broadcast address"
    );
    assert_eq!(with(26, [10, 0, 0, 255]), None, "smurf");
    assert_eq!(with(26, [10, 0, 0, 1]), None, "from ourselves");
    assert!(
        with(30, [10, 0, 1, 255]).is_some(),
        "a host elsewhere, for all we know"
    );
    let mut from_group = testing::udp_v4(b"");
    from_group[6] |= 1;
    assert_eq!(built(Error::TtlExceeded, &from_group, &port()), None);
}

#[test]
fn without_an_address_of_the_family_there_is_no_error() {
    let mut port = port();
    port.addresses.retain(|own| own.addr().is_ipv6());
    assert_eq!(
        built(Error::TtlExceeded, &testing::udp_v4(b""), &port),
        None
    );
}

#[test]
fn the_rate_is_kept_over_any_second_and_the_clock_may_wrap() {
    let start = u32::MAX - 700;
    let mut limit = RateLimit::new(100, start);
    let sent = |limit: &mut RateLimit, from: u32, to: u32| {
        (from..to)
            .filter(|ms| limit.allow(start.wrapping_add(*ms)))
            .count()
    };
    assert_eq!((0..50).filter(|_| limit.allow(start)).count(), 10, "burst");
    assert_eq!(sent(&mut limit, 1, 1001), 100);
    assert_eq!(sent(&mut limit, 1001, 2001), 100);
    assert_eq!(
        (0..50)
            .filter(|_| limit.allow(start.wrapping_add(90_000)))
            .count(),
        10
    );
    limit.set(0);
    assert_eq!(sent(&mut limit, 90_001, 95_000), 0);
    limit.set(1);
    assert_eq!(sent(&mut limit, 95_000, 105_000), 10);
}
