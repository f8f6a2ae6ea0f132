use super::*;
use crate::icmp4;
use samples::*;

#[test]
fn echo_requests_and_replies_have_reverse_keys() {
    for (request, reply, proto, src, dst) in [
        (
            V4_ECHO_REQUEST,
            V4_ECHO_REPLY,
            1,
            "10.0.0.5:4660",
            "198.51.100.7:0",
        ),
        (
            V6_ECHO_REQUEST,
            V6_ECHO_REPLY,
            58,
            "[2001:db8::5]:4660",
            "[2001:db8:1::7]:0",
        ),
    ] {
        let (frame, parsed) = sample(request);
        assert_eq!(parsed.kind, Kind::Session);
        assert_eq!(tuple_of(&frame, &parsed), tuple(proto, src, dst));
        let (frame, parsed) = sample(reply);
        assert_eq!(tuple_of(&frame, &parsed), tuple(proto, dst, src));
    }
}

#[test]
fn an_error_has_the_key_of_replies_to_the_packet_within() {
    for (text, proto, replier, sender) in [
        (V4_TIME_EXCEEDED_TCP, 6, "198.51.100.7:443", A),
        (V4_UNREACHABLE_UDP, 17, B, A),
        (V4_FRAGMENTATION_NEEDED, 17, B, A),
        (V4_UNREACHABLE_ECHO, 1, "198.51.100.7:0", "10.0.0.5:4660"),
        (V4_UNREACHABLE_GRE, 47, "198.51.100.7", "10.0.0.5"),
        (V6_TOO_BIG_TCP, 6, "[2001:db8:1::7]:443", A6),
        (V6_UNREACHABLE_UDP, 17, B6, A6),
        (
            V6_TIME_EXCEEDED_ECHO,
            58,
            "[2001:db8:1::7]:0",
            "[2001:db8::5]:4660",
        ),
    ] {
        let (frame, parsed) = sample(text);
        assert_eq!(parsed.kind, Kind::IcmpError, "{text}");
        assert_eq!(parsed.proto, if parsed.v6 { 58 } else { 1 });
        assert_eq!(
            tuple_of(&frame, &parsed),
            tuple(proto, replier, sender),
            "{text}"
        );
        let inner = parsed.inner(&frame).unwrap();
        assert_eq!((inner.proto, inner.l3), (proto, parsed.l4 + 8));
    }
}

#[test]
fn inner_options_and_extension_headers_are_walked() {
    let (frame, parsed) = sample(V4_FRAGMENTATION_NEEDED);
    let inner = parsed.inner(&frame).unwrap();
    assert_eq!(
        (inner.l3, inner.l4, inner.end),
        (42, 66, parsed.end),
        "24 bytes of header"
    );
    assert_eq!(icmp4::next_hop_mtu(parsed.transport(&frame)), Some(1200));
    let (frame, parsed) = sample(V6_UNREACHABLE_UDP);
    let inner = parsed.inner(&frame).unwrap();
    assert_eq!((inner.l3, inner.l4), (62, 110));
}

#[test]
fn a_trailer_is_neither_checked_nor_part_of_the_inner_packet() {
    // Pitfall 6.
    let mut frame = samples::bytes(V4_UNREACHABLE_UDP);
    assert_eq!(frame.len(), 80);
    frame[70..].fill(0xee);
    let parsed = parse(&frame, None, false).unwrap();
    assert_eq!(parsed.inner(&frame).unwrap().end, 70);
}

#[test]
fn errors_about_what_cannot_be_a_session_are_unrelated() {
    for text in [
        V4_ERROR_ABOUT_ERROR,
        V4_ERROR_ABOUT_FRAGMENT,
        V4_ERROR_TO_ANOTHER,
        V6_ERROR_ABOUT_FRAGMENT,
    ] {
        assert_eq!(error(text), ParseError::IcmpUnrelated, "{text}");
    }
}

/// An error with some bytes changed or cut off, and its checksums made right.
fn error_with(text: &str, change: impl FnOnce(&mut Vec<u8>)) -> Result<Kind, ParseError> {
    changed(text, |frame| {
        change(frame);
        let len = frame.len() as u16 - 14;
        put_be16(frame, 16, len);
        icmp4::seal(&mut frame[34..]);
    })
    .map(|parsed| parsed.kind)
}

#[test]
fn less_than_eight_bytes_of_the_inner_transport_header_tell_no_session() {
    // RFC 792 promises eight.
    assert_eq!(
        error_with(V4_TIME_EXCEEDED_TCP, |_| {}),
        Ok(Kind::IcmpError)
    );
    for len in 42..70 {
        assert_eq!(
            error_with(V4_TIME_EXCEEDED_TCP, |frame| frame.truncate(len)),
            Err(ParseError::IcmpUnrelated),
            "{len}"
        );
    }
    for len in 34..42 {
        assert_eq!(
            error_with(V4_TIME_EXCEEDED_TCP, |frame| frame.truncate(len)),
            Err(ParseError::BadL4Header),
            "{len}"
        );
    }
}

#[test]
fn damaged_errors_are_not_acted_on() {
    // RFC 5508 requirement 3: of the message,
    for text in [V4_TIME_EXCEEDED_TCP, V6_TOO_BIG_TCP] {
        let damaged = changed(text, |frame| frame[80 - 14] ^= 1);
        assert_eq!(damaged, Err(ParseError::BadL4Header), "{text}");
    }
    // and of the inner header.
    assert_eq!(
        error_with(V4_TIME_EXCEEDED_TCP, |frame| frame[50] ^= 1),
        Err(ParseError::IcmpUnrelated)
    );
    // The inner transport checksum is not verified.
    assert_eq!(
        error_with(V4_UNREACHABLE_UDP, |frame| {
            frame.truncate(70);
            frame[68] ^= 1;
        }),
        Ok(Kind::IcmpError)
    );
}

#[test]
fn other_messages_are_not_supported() {
    assert_eq!(error(V4_TIMESTAMP), ParseError::IcmpUnsupported);
    // Source quench and redirect.
    for kind in [4, 5] {
        assert_eq!(
            error_with(V4_TIME_EXCEEDED_TCP, |frame| frame[34] = kind),
            Err(ParseError::IcmpUnsupported)
        );
    }
}

#[test]
fn fragmented_echo_is_keyed_and_fragmented_errors_are_refused() {
    // Pitfall 10.
    let first = |text: &str| {
        changed(text, |frame| {
            frame[20] = 0x20;
            frame.truncate(14 + 20 + 8);
            frame[16..18].copy_from_slice(&[0, 28]);
        })
    };
    let parsed = first(V4_ECHO_REQUEST).unwrap();
    assert_eq!(parsed.kind, Kind::FragmentFirst);
    assert_eq!(parsed.ports.to_ne_bytes(), [0x12, 0x34, 0, 0]);
    assert_eq!(
        first(V4_TIME_EXCEEDED_TCP),
        Err(ParseError::IcmpUnsupported)
    );
}
