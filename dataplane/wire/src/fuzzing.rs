//! What must hold for any bytes whatever: the body of the fuzz targets and of a bounded run in the
//! tests.

use crate::bytes::put;
use crate::key::{Family, V4, V6};
use crate::parse::{self, Kind, ParseError};
use crate::{arp, ethernet, icmp4, icmp6, ipv4, ipv6, ndisc, proto, tcp, udp};

/// Gives a frame to the parser, and tells what it was taken for.
///
/// # Panics
/// If the parser does, or if what it says of the frame cannot be.
pub fn exercise(frame: &[u8]) -> Option<Kind> {
    for tagged in [None, Some(0x6064)] {
        for checksum_good in [true, false] {
            frame_holds(frame, tagged, checksum_good);
        }
    }
    let _ = ethernet::Header::parse(frame);
    parse::parse(frame, None, true)
        .ok()
        .map(|parsed| parsed.kind)
}

fn frame_holds(frame: &[u8], tagged: Option<u16>, checksum_good: bool) {
    let result = parse::parse(frame, tagged, checksum_good);
    assert_eq!(
        result,
        parse::slow::parse(frame, tagged, checksum_good),
        "the fast path and the slow path see different packets"
    );
    let Ok(parsed) = result else {
        return;
    };
    if !checksum_good {
        assert_eq!(Ok(parsed), parse::parse(frame, tagged, true));
    }
    let (l3, l4, end) = (
        usize::from(parsed.l3),
        usize::from(parsed.l4),
        usize::from(parsed.end),
    );
    assert!(end <= frame.len());
    if parsed.kind == Kind::Arp {
        let _ = arp::Packet::parse(parsed.packet(frame));
        return;
    }
    assert!(l3 + 20 <= l4 && l4 <= end, "{parsed:?}");
    assert_eq!(parsed.packet(frame).len(), usize::from(parsed.ip_len()));
    assert_eq!(
        parse::parse(&frame[..end], tagged, checksum_good),
        Ok(parsed),
        "padding changed something"
    );
    assert_eq!(
        parse::parse(&frame[..end - 1], tagged, checksum_good),
        Err(ParseError::Truncated)
    );
    if parsed.v6 {
        key_holds::<V6>(&parsed, frame);
    } else {
        key_holds::<V4>(&parsed, frame);
    }

    let fragment = parsed.fragment(frame);
    assert_eq!(fragment.is_some(), parsed.is_fragment());
    if let Some(fragment) = fragment {
        assert_eq!(fragment.offset == 0, parsed.kind == Kind::FragmentFirst);
        assert!(u32::from(fragment.offset) + u32::from(fragment.len) <= 65_535);
        assert!(fragment.len > 0 && (!fragment.more || fragment.len.is_multiple_of(8)));
        let mut renamed = frame.to_vec();
        parsed.set_fragment_id(&mut renamed, 0xbeef);
        assert_eq!(parse::parse(&renamed, tagged, checksum_good), Ok(parsed));
        assert_eq!(
            parsed.fragment(&renamed),
            Some(parse::Fragment {
                id: 0xbeef,
                ..fragment
            })
        );
    }
    let inner = parsed.inner(frame);
    assert_eq!(inner.is_some(), parsed.kind == Kind::IcmpError);
    if let Some(inner) = inner {
        assert!(parsed.l4 + 8 <= inner.l3 && inner.l3 + 20 <= inner.l4);
        assert!(inner.l4 <= inner.end && inner.end <= parsed.end);
        assert_eq!(inner.proto, parsed.key_proto);
    }
    let has_tcp = parsed.proto == proto::TCP && parsed.kind != Kind::FragmentRest;
    assert_eq!(parsed.tcp(frame).is_some(), has_tcp, "{parsed:?}");
    transport(parsed.transport(frame));
    if let Ok(header) = ipv6::parse(parsed.packet(frame)) {
        let _ = ndisc::Message::parse(header.addrs, 255, parsed.transport(frame));
    }
}

/// What the parser said must be what the readable tuple says.
fn key_holds<F: Family>(parsed: &parse::Parsed, frame: &[u8]) {
    let key = parsed.key::<F>(frame, 3);
    assert_eq!(key.reverse::<F>().reverse::<F>(), key);
    assert_eq!(
        key.reverse::<F>().tuple::<F>(),
        key.tuple::<F>().reverse(),
        "{parsed:?}"
    );
    assert_eq!((key.zone, key.zero), (3, 0));
}

/// Gives a TCP segment, UDP datagram or message to all that reads and changes such.
///
/// # Panics
/// As [`exercise`] does.
pub fn transport(bytes: &[u8]) {
    let _ = udp::Header::parse(bytes);
    let _ = icmp4::next_hop_mtu(bytes);
    let _ = icmp6::next_hop_mtu(bytes);
    let segment = tcp::Segment::parse(bytes);
    let options = tcp::Options::parse(bytes);
    let mut clamped = bytes.to_vec();
    if tcp::clamp_mss(&mut clamped, 1000) {
        assert!(options.mss.is_some());
        assert_eq!(
            tcp::Options::parse(&clamped).mss.map(|mss| mss <= 1000),
            Some(true)
        );
        assert_eq!(tcp::Segment::parse(&clamped), segment);
    }
    let _ = ipv4::options_ok(bytes);
    let mut resealed = bytes.to_vec();
    ipv4::reseal(&mut resealed);
    let _ = icmp4::answer_echo(&mut resealed);
}

/// Gives the parser an ICMP error with correct lengths, checksums and destination about a packet
/// that is `bytes` from its second byte on. The first one chooses family, type and tag.
///
/// # Panics
/// As [`exercise`] does.
pub fn icmp_error(bytes: &[u8]) -> Option<Kind> {
    let (&choice, about) = bytes.split_first()?;
    let about = &about[..about.len().min(1400)];
    let v6 = choice & 1 != 0;
    let kinds = if v6 { [1, 2, 3, 4] } else { [3, 11, 12, 3] };
    let mut message = vec![kinds[usize::from(choice >> 1 & 3)], 0, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(about);
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    if choice & 8 != 0 {
        frame.extend([0x81, 0, 0, 7]);
    }
    if v6 {
        let mut addrs = [0; 32];
        put(&mut addrs, 0, [0x20, 1, 0xd, 0xb8]);
        if let Some(sender) = about.get(8..24) {
            addrs[16..].copy_from_slice(sender);
        }
        let addrs = zerocopy::transmute!(addrs);
        icmp6::seal(addrs, &mut message);
        let header = ipv6::Build {
            traffic_class: 0,
            payload_len: message.len() as u16,
            next: proto::ICMPV6,
            hop_limit: 64,
            addrs,
        };
        frame.extend([0x86, 0xdd]);
        frame.extend(header.bytes());
    } else {
        let mut addrs = [192, 0, 2, 1, 0, 0, 0, 0];
        if let Some(sender) = about.get(12..16) {
            addrs[4..].copy_from_slice(sender);
        }
        if let Some(inner) = message.get_mut(8..) {
            ipv4::reseal(inner);
        }
        icmp4::seal(&mut message);
        let header = ipv4::Build {
            total_len: 20 + message.len() as u16,
            tos: 0,
            id: 0,
            fragment: 0,
            ttl: 64,
            proto: proto::ICMP,
            addrs: u64::from_ne_bytes(addrs),
        };
        frame.extend([0x08, 0]);
        frame.extend(header.bytes());
    }
    frame.extend(message);
    exercise(&frame)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::samples;

    /// xorshift64*: the run is the same every time, on every machine.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
        }
    }

    /// Spoils some bytes, cuts, or grows.
    fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
        const TELLING: [u8; 12] = [0, 1, 2, 4, 5, 6, 7, 17, 0x40, 0x7f, 0x80, 0xff];
        for _ in 0..random.below(4) {
            let at = random.below(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte = match random.below(3) {
                    0 => *byte ^ 1 << random.below(8),
                    1 => TELLING[random.below(TELLING.len())],
                    _ => random.below(256) as u8,
                };
            }
        }
        match random.below(4) {
            0 => bytes.truncate(random.below(bytes.len() + 1)),
            1 => bytes.resize(bytes.len() + random.below(30), 0xee),
            _ => {}
        }
    }

    #[test]
    fn spoilt_frames_never_panic_and_never_contradict() {
        let mut random = Random(0x51u64 << 40 | 1);
        let mut seen = HashMap::<_, u32>::new();
        for _ in 0..400 {
            for sample in samples::ALL {
                let mut frame = samples::bytes(sample);
                mutate(&mut frame, &mut random);
                *seen.entry(exercise(&frame)).or_default() += 1;
            }
        }
        // All seven kinds and none: the run is not spent on frames that die at their first bytes.
        assert!(
            seen.len() == 8 && seen.values().all(|n| *n > 100),
            "{seen:?}"
        );
    }

    #[test]
    fn errors_about_spoilt_packets_never_panic_and_never_contradict() {
        let mut random = Random(0x1cu64 << 40 | 1);
        let mut understood = 0;
        for _ in 0..400 {
            for sample in samples::ALL {
                // From the last byte of the Ethernet header on, which becomes the choice.
                let mut bytes = samples::bytes(sample).split_off(13);
                mutate(&mut bytes, &mut random);
                if let Some(choice) = bytes.first_mut() {
                    let v6 = sample.lines().any(|line| line.ends_with("020286dd"));
                    *choice = (random.below(16) & !1) as u8 | u8::from(v6);
                }
                understood += u32::from(icmp_error(&bytes) == Some(Kind::IcmpError));
            }
        }
        assert!(understood > 1000, "{understood}");
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut random = Random(0x7au64 << 40 | 1);
        for _ in 0..20_000 {
            let len = random.below(120);
            let bytes: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
            exercise(&bytes);
            transport(&bytes);
            icmp_error(&bytes);
        }
    }
}
