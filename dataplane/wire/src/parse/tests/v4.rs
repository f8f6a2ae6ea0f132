use super::*;
use samples::*;

#[test]
fn a_udp_datagram_to_the_last_field() {
    let (frame, parsed) = sample(V4_UDP);
    let expected = Parsed {
        ports: u32::from_ne_bytes([0x9c, 0x40, 0, 53]),
        l4: 34,
        end: 47,
        vlan: None,
        addrs_at: 26,
        fragment_at: 0,
        l3: 14,
        kind: Kind::Session,
        v6: false,
        proto: 17,
        key_proto: 17,
        ttl: 64,
        tcp_flags: 0,
    };
    assert_eq!(parsed, expected);
    assert_eq!(tuple_of(&frame, &parsed), tuple(17, A, B));
    assert_eq!(parsed.key_v4(&frame, 9).zone, 9);
    assert_eq!(parsed.ip_len(), 33);
    assert_eq!(parsed.transport(&frame).get(8..), Some(&b"query"[..]));
    assert_eq!(
        (parsed.fragment(&frame), parsed.inner(&frame)),
        (None, None)
    );
}

#[test]
fn ethernet_padding_is_no_part_of_the_packet() {
    let (frame, parsed) = sample(V4_UDP_PADDED);
    assert_eq!((frame.len(), parsed.end), (60, 47));
}

#[test]
fn tcp_with_and_without_options() {
    let (frame, parsed) = sample(V4_TCP_SYN);
    assert_eq!(parsed.tcp_flags, tcp::flag::SYN);
    assert_eq!(tuple_of(&frame, &parsed), tuple(6, A, "198.51.100.7:443"));
    assert_eq!(
        tcp::Options::parse(parsed.transport(&frame)).mss,
        Some(1460)
    );
    assert!(!parsed.dont_fragment(&frame));

    let (frame, parsed) = sample(V4_TCP_DATA);
    let segment = parsed.tcp(&frame).unwrap();
    assert_eq!((segment.seq, segment.ack, segment.len), (2, 9, 5));
    assert_eq!(parsed.traffic_class(&frame), 3);
}

#[test]
fn ip_options_shift_the_transport_header() {
    // Pitfall 9.
    let (frame, parsed) = sample(V4_TCP_OPTIONS);
    assert_eq!((parsed.l4, parsed.tcp_flags), (42, tcp::flag::ACK));
    assert_eq!(tuple_of(&frame, &parsed), tuple(6, A, "198.51.100.7:443"));
    assert_eq!(parsed.tcp(&frame).unwrap().len, 1);
}

#[test]
fn source_routes_and_malformed_options_are_refused() {
    assert_eq!(error(V4_LOOSE_ROUTE), ParseError::BadIpHeader);
    for len in [0, 1, 9, 255] {
        let result = changed(V4_TCP_OPTIONS, |frame| frame[35] = len);
        assert_eq!(result, Err(ParseError::BadIpHeader), "length {len}");
    }
}

#[test]
fn a_wrong_header_checksum_counts_unless_the_device_checked_it() {
    for text in [V4_UDP, V4_TCP_OPTIONS] {
        let mut frame = samples::bytes(text);
        frame[24] ^= 1;
        assert_eq!(parse(&frame, None, false), Err(ParseError::BadIpChecksum));
        assert!(parse(&frame, None, true).is_ok());
    }
}

#[test]
fn impossible_versions_and_lengths_are_refused() {
    let bad = |at: usize, value: u8| changed(V4_UDP, |frame| frame[at] = value).unwrap_err();
    assert_eq!(bad(14, 0x65), ParseError::BadIpHeader, "version 6");
    assert_eq!(bad(14, 0x44), ParseError::BadIpHeader, "header of 16 bytes");
    assert_eq!(
        bad(14, 0x4f),
        ParseError::BadIpHeader,
        "header past the packet"
    );
    assert_eq!(
        bad(17, 19),
        ParseError::BadIpHeader,
        "packet within its header"
    );
    assert_eq!(bad(17, 34), ParseError::Truncated, "packet past the frame");
    assert_eq!(bad(16, 255), ParseError::Truncated);
    assert_eq!(bad(17, 20), ParseError::BadL4Header, "no transport header");
}

#[test]
fn udp_lengths_that_lie_are_refused() {
    for len in [0, 7, 14, 65_535] {
        let result = changed(V4_UDP, |frame| {
            put_be16(frame, 38, len);
        });
        assert_eq!(result, Err(ParseError::BadL4Header), "length {len}");
    }
    // Less than the packet has room for is odd, but legal.
    assert!(changed(V4_UDP, |frame| frame[39] = 8).is_ok());
}

#[test]
fn tcp_data_offsets_that_lie_are_refused() {
    for offset in [0x00, 0x40, 0xb0, 0xf0] {
        let result = changed(V4_TCP_SYN, |frame| frame[46] = offset);
        assert_eq!(result, Err(ParseError::BadL4Header), "{offset:x}");
    }
    let cut = changed(V4_TCP_SYN, |frame| frame[17] = 39);
    assert_eq!(cut, Err(ParseError::BadL4Header));
}

#[test]
fn sources_that_no_host_can_have_are_refused() {
    for source in [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [239, 255, 255, 255],
        [255, 255, 255, 255],
    ] {
        let result = changed(V4_UDP, |frame| frame[26..30].copy_from_slice(&source));
        assert_eq!(result, Err(ParseError::MartianSource), "{source:?}");
    }
    for source in [
        [1, 0, 0, 1],
        [126, 1, 1, 1],
        [128, 0, 0, 1],
        [223, 1, 1, 1],
        [240, 0, 0, 1],
    ] {
        let result = changed(V4_UDP, |frame| frame[26..30].copy_from_slice(&source));
        assert!(result.is_ok(), "{source:?}");
    }
}

#[test]
fn destinations_that_must_not_be_on_the_wire_are_refused() {
    for dst in [[0, 0, 0, 0], [127, 0, 0, 1]] {
        let result = changed(V4_UDP, |frame| frame[30..34].copy_from_slice(&dst));
        assert_eq!(result, Err(ParseError::MartianDestination), "{dst:?}");
    }
}

#[test]
fn multicast_and_broadcast_are_not_for_us() {
    assert_eq!(error(V4_MULTICAST), ParseError::Multicast);
    let broadcast = changed(V4_UDP, |frame| frame[30..34].fill(255));
    assert_eq!(broadcast, Err(ParseError::Multicast));
    let link_layer = changed(V4_UDP, |frame| frame[..6].fill(255));
    assert_eq!(link_layer, Err(ParseError::Multicast), "RFC 1812, 5.3.4");
}

#[test]
fn other_protocols_go_by_their_addresses() {
    let (frame, parsed) = sample(V4_GRE);
    assert_eq!(parsed.kind, Kind::Session);
    assert_eq!(
        tuple_of(&frame, &parsed),
        tuple(47, "10.0.0.5", "198.51.100.7")
    );
    // Pitfall 26: any number, and with an empty payload too.
    for proto in (0..=255).filter(|proto| ![1, 6, 17, 58].contains(proto)) {
        let empty = changed(V4_GRE, |frame| {
            frame[23] = proto;
            frame[17] = 20;
        });
        assert_eq!(empty.map(|p| (p.kind, p.ports)), Ok((Kind::Session, 0)));
    }
    let icmpv6 = changed(V4_GRE, |frame| frame[23] = 58);
    assert_eq!(icmpv6, Err(ParseError::BadL4Header));
}

#[test]
fn fragments_by_their_place() {
    let (frame, first) = sample(V4_FRAGMENT_FIRST);
    assert_eq!(first.kind, Kind::FragmentFirst);
    assert_eq!(tuple_of(&frame, &first), tuple(17, A, B));
    let fields = |frame: &[u8], parsed: &Parsed| parsed.fragment(frame).unwrap();
    let expected = Fragment {
        id: 0x1234,
        offset: 0,
        len: 16,
        more: true,
    };
    assert_eq!(fields(&frame, &first), expected);

    let (frame, middle) = sample(V4_FRAGMENT_MIDDLE);
    assert_eq!(middle.kind, Kind::FragmentRest);
    assert_eq!(
        tuple_of(&frame, &middle),
        tuple(17, "10.0.0.5", "198.51.100.7")
    );
    assert_eq!(
        fields(&frame, &middle),
        Fragment {
            offset: 16,
            ..expected
        }
    );

    let (frame, last) = sample(V4_FRAGMENT_LAST);
    assert_eq!(last.kind, Kind::FragmentRest);
    assert_eq!(
        fields(&frame, &last),
        Fragment {
            offset: 32,
            len: 12,
            more: false,
            ..expected
        },
        "padding does not count"
    );
}

#[test]
fn fragments_that_no_datagram_can_have_are_refused() {
    let with = |word: u16, len: u8| {
        changed(V4_FRAGMENT_MIDDLE, |frame| {
            put_be16(frame, 20, word);
            frame[17] = len;
        })
        .map(|parsed| parsed.kind)
    };
    assert_eq!(with(0x2001, 36), Ok(Kind::FragmentRest));
    assert_eq!(with(0x2001, 35), Err(ParseError::FragmentInvalid), "uneven");
    assert_eq!(with(0x0001, 35), Ok(Kind::FragmentRest), "the last may be");
    assert_eq!(with(0x2001, 20), Err(ParseError::FragmentInvalid), "empty");
    assert_eq!(
        with(0x1fff, 36),
        Err(ParseError::FragmentInvalid),
        "a datagram of more than 65,535 bytes"
    );
    // 65,512 before it, 20 of header: three bytes are left.
    assert_eq!(with(0x1ffd, 23), Ok(Kind::FragmentRest));
    assert_eq!(with(0x1ffd, 24), Err(ParseError::FragmentInvalid));
    assert_eq!(with(0xc001, 36), Ok(Kind::FragmentRest), "flags besides MF");
}

#[test]
fn transport_headers_cannot_be_spread_over_fragments() {
    let first = |proto: u8, len: u8| {
        changed(V4_FRAGMENT_FIRST, |frame| {
            frame[23] = proto;
            frame[17] = 20 + len;
        })
        .map(|parsed| parsed.kind)
    };
    assert_eq!(first(17, 8), Ok(Kind::FragmentFirst));
    assert_eq!(first(6, 8), Err(ParseError::FragmentInvalid), "RFC 1858");
    assert_eq!(first(6, 16), Err(ParseError::FragmentInvalid));
    // RFC 3128: a later fragment would overwrite the TCP header.
    let over = changed(V4_FRAGMENT_MIDDLE, |frame| frame[23] = 6);
    assert_eq!(over, Err(ParseError::FragmentInvalid));
}
