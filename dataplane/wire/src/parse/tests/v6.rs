use super::*;
use crate::ndisc;
use samples::*;

#[test]
fn a_udp_datagram_to_the_last_field() {
    let (frame, parsed) = sample(V6_UDP);
    let expected = Parsed {
        ports: u32::from_ne_bytes([0x9c, 0x40, 0, 53]),
        l4: 54,
        end: 67,
        vlan: None,
        addrs_at: 22,
        fragment_at: 0,
        l3: 14,
        kind: Kind::Session,
        v6: true,
        proto: 17,
        key_proto: 17,
        ttl: 64,
        tcp_flags: 0,
    };
    assert_eq!(parsed, expected);
    assert_eq!(tuple_of(&frame, &parsed), tuple(17, A6, B6));
    assert!(parsed.dont_fragment(&frame));
}

#[test]
fn tcp_with_traffic_class_and_flow_label() {
    let (frame, parsed) = sample(V6_TCP_SYN);
    assert_eq!(parsed.tcp_flags, tcp::flag::SYN);
    assert_eq!(parsed.traffic_class(&frame), 0x2e);
    assert_eq!(
        tuple_of(&frame, &parsed),
        tuple(6, A6, "[2001:db8:1::7]:443")
    );
}

#[test]
fn extension_headers_are_walked() {
    // Pitfall 11.
    for (text, l4) in [
        (V6_OPTIONS, 70),
        (V6_AUTH, 78),
        (V6_ROUTING_USED, 62),
        (V6_FRAGMENT_ATOMIC, 62),
    ] {
        let (frame, parsed) = sample(text);
        assert_eq!((parsed.kind, parsed.l4), (Kind::Session, l4), "{text}");
        assert_eq!(tuple_of(&frame, &parsed), tuple(17, A6, B6), "{text}");
        assert_eq!(parsed.fragment(&frame), None);
    }
    let (_, parsed) = sample(V6_NO_NEXT);
    assert_eq!(
        (parsed.kind, parsed.proto, parsed.ports),
        (Kind::Session, 59, 0)
    );
}

#[test]
fn routing_headers_that_still_route_are_refused() {
    assert_eq!(error(V6_ROUTING_0), ParseError::ExtensionHeader);
    assert_eq!(error(V6_ROUTING_LEFT), ParseError::ExtensionHeader);
}

/// A packet whose payload is `chain`, from header number `next` on.
fn chained(next: u8, chain: &[u8]) -> Result<Kind, ParseError> {
    let mut frame = samples::bytes(V6_NO_NEXT);
    frame[20] = next;
    put_be16(&mut frame, 18, chain.len() as u16);
    frame.extend(chain);
    parse(&frame, None, false).map(|parsed| parsed.kind)
}

#[test]
fn chains_that_make_no_sense_are_refused() {
    let options = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let of = |count: usize, last: u8| {
        let mut chain = [60u8; 8].map(|_| options(60)).repeat(2);
        chain.truncate(count);
        chain[count - 1][0] = last;
        chain.concat()
    };
    assert_eq!(chained(60, &of(8, 59)), Ok(Kind::Session));
    assert_eq!(
        chained(60, &of(9, 59)),
        Err(ParseError::ExtensionHeader),
        "nine headers"
    );
    assert_eq!(
        chained(60, &[options(0), options(59)].concat()),
        Err(ParseError::ExtensionHeader),
        "hop-by-hop options not in front"
    );
    let atomic = |next: u8| [next, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(
        chained(44, &[atomic(44), atomic(59)].concat()),
        Err(ParseError::ExtensionHeader),
        "two fragment headers"
    );
}

#[test]
fn headers_longer_than_the_packet_are_refused() {
    for (next, header) in [
        (0, [59, 1, 1, 4, 0, 0, 0, 0]),
        (60, [59, 255, 1, 4, 0, 0, 0, 0]),
        (43, [59, 1, 4, 0, 0, 0, 0, 0]),
        (51, [59, 1, 0, 0, 0, 0, 0, 1]),
    ] {
        assert_eq!(chained(next, &header), Err(ParseError::Truncated), "{next}");
        for len in 0..8 {
            let result = chained(next, &header[..len]);
            assert_eq!(result, Err(ParseError::Truncated), "{next} cut to {len}");
        }
    }
}

#[test]
fn fragments_by_their_place() {
    let (frame, first) = sample(V6_FRAGMENT_FIRST);
    assert_eq!(first.kind, Kind::FragmentFirst);
    assert_eq!(tuple_of(&frame, &first), tuple(17, A6, B6));
    let expected = Fragment {
        id: 0xdead_beef,
        offset: 0,
        len: 16,
        more: true,
    };
    assert_eq!(first.fragment(&frame), Some(expected));

    let (frame, middle) = sample(V6_FRAGMENT_MIDDLE);
    assert_eq!(middle.kind, Kind::FragmentRest);
    assert_eq!(
        tuple_of(&frame, &middle),
        tuple(17, "2001:db8::5", "2001:db8:1::7")
    );
    let offset = 16;
    assert_eq!(
        middle.fragment(&frame),
        Some(Fragment { offset, ..expected })
    );

    let (frame, last) = sample(V6_FRAGMENT_LAST);
    let fields = last.fragment(&frame).unwrap();
    assert_eq!((fields.offset, fields.len, fields.more), (32, 12, false));

    // The length counts from the fragment header, the transport header is behind the options.
    let (frame, first) = sample(V6_FRAGMENT_OPTIONS);
    assert_eq!((first.kind, first.l4), (Kind::FragmentFirst, 70));
    assert_eq!(tuple_of(&frame, &first), tuple(17, A6, B6));
    assert_eq!(first.fragment(&frame).unwrap().len, 24);
}

#[test]
fn fragments_that_no_datagram_can_have_are_refused() {
    let piece = |word: u16, next: u8, len: usize| {
        let [high, low] = word.to_be_bytes();
        let mut chain = vec![next, 0, high, low, 0, 0, 0, 1];
        chain.resize(8 + len, 0);
        chained(44, &chain)
    };
    let refused = Err(ParseError::FragmentInvalid);
    assert_eq!(piece(16 | 1, 17, 16), Ok(Kind::FragmentRest));
    assert_eq!(piece(16 | 1, 17, 15), refused, "uneven");
    assert_eq!(piece(16, 17, 15), Ok(Kind::FragmentRest), "the last may be");
    assert_eq!(piece(16 | 1, 17, 0), refused, "empty");
    assert_eq!(piece(0xfff8, 17, 7), Ok(Kind::FragmentRest));
    assert_eq!(piece(0xfff8, 17, 8), refused, "more than 65,535 bytes");
    assert_eq!(piece(8, 6, 8), refused, "into the TCP header");
    // RFC 7112: the chain must end within the first fragment.
    assert_eq!(piece(1, 60, 8), Err(ParseError::ExtensionHeader));
    assert_eq!(piece(1, 6, 16), refused, "TCP header cut");
    // RFC 6980: a neighbour solicitation.
    let (frame, _) = sample(V6_SOLICITATION);
    let chain = [&[58, 0, 0, 1, 0, 0, 0, 1], &frame[54..86]].concat();
    assert_eq!(chained(44, &chain), refused);
}

#[test]
fn neighbour_discovery_passes_with_the_addresses_that_it_uses() {
    for text in [V6_SOLICITATION, V6_DUPLICATE_CHECK, V6_ADVERTISEMENT] {
        let (frame, parsed) = sample(text);
        assert_eq!(parsed.kind, Kind::NeighbourDiscovery);
        let header = ipv6::parse(parsed.packet(&frame)).unwrap();
        let message =
            ndisc::Message::parse(header.addrs, header.hop_limit, parsed.transport(&frame));
        assert!(message.is_some(), "{text}");
    }
    let (_, parsed) = sample(V6_LISTENER_REPORT);
    assert_eq!((parsed.kind, parsed.ttl), (Kind::MulticastListener, 1));
    assert_eq!(error(V6_REDIRECT), ParseError::IcmpUnsupported);
}

#[test]
fn addresses_that_no_host_can_have_are_refused() {
    let with = |at: usize, addr: &str| {
        let addr: std::net::Ipv6Addr = addr.parse().unwrap();
        changed(V6_UDP, |frame| {
            frame[at..at + 16].copy_from_slice(&addr.octets());
        })
        .map(|parsed| parsed.kind)
    };
    for addr in ["::", "::1", "::ffff:10.0.0.1", "::10.0.0.1", "ff02::1"] {
        assert_eq!(with(22, addr), Err(ParseError::MartianSource), "{addr}");
    }
    for addr in ["::", "::1", "::ffff:10.0.0.1"] {
        assert_eq!(
            with(38, addr),
            Err(ParseError::MartianDestination),
            "{addr}"
        );
    }
    assert_eq!(with(38, "ff02::1"), Err(ParseError::Multicast));
    assert_eq!(with(22, "64:ff9b::10.0.0.1"), Ok(Kind::Session));
    // An advertisement must come from somewhere.
    let nowhere = changed(V6_ADVERTISEMENT, |frame| frame[22..38].fill(0));
    assert_eq!(nowhere, Err(ParseError::MartianSource));
}

#[test]
fn multicast_is_not_for_us() {
    assert_eq!(error(V6_MULTICAST), ParseError::Multicast);
    let link_layer = changed(V6_UDP, |frame| frame[..2].fill(0x33));
    assert_eq!(link_layer, Err(ParseError::Multicast));
}

#[test]
fn impossible_versions_and_lengths_are_refused() {
    let bad = |at: usize, value: u8| changed(V6_UDP, |frame| frame[at] = value).unwrap_err();
    assert_eq!(bad(14, 0x40), ParseError::BadIpHeader);
    assert_eq!(bad(18, 1), ParseError::Truncated);
    assert_eq!(bad(19, 14), ParseError::Truncated);
    assert_eq!(
        bad(19, 0),
        ParseError::BadL4Header,
        "a jumbogram, or nothing"
    );
    assert_eq!(bad(19, 12), ParseError::BadL4Header, "UDP length past it");
    assert_eq!(bad(20, 1), ParseError::BadL4Header, "ICMP of IPv4");
}
