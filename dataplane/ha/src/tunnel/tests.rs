use proptest::prelude::*;

use super::*;

const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 1, 0xfe]);
const US: MacAddr = MacAddr([2, 0, 0, 0, 1, 2]);
const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// UDP from 10.0.0.7 to 198.51.100.9, and the same in both tunnels, as scapy makes them.
const INNER: &str = "02000000010102000000010208004500001e000000004011468c0a000007c633640903e80035\
    000a5f106869";
const VXLAN: &str = "0200000001fe0200000001020800450000500000400040114e67c0000201c6336401c00012b5\
    003c00000800000012345600";
const GRE_KEYED: &str = "0200000001fe02000000010208004500004800004000402f4e51c0000201c6336401\
    2000655812345678";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect();
    let bytes = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]);
    bytes.collect()
}

fn ends() -> [(End, Vec<u8>); 2] {
    let end = |kind, id| End {
        kind,
        id,
        address: HERE,
    };
    [
        (end(Kind::Vxlan, 0x12_3456), hex(VXLAN)),
        (end(Kind::Gre, 0x1234_5678), hex(GRE_KEYED)),
    ]
}

fn wrapped(end: &End, inner: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; end.kind.overhead()];
    frame.extend_from_slice(inner);
    assert!(end.way(THERE).write(&mut frame, ROUTER, US));
    frame
}

/// The same as the other end sees it.
fn there(end: &End) -> End {
    End {
        address: THERE,
        ..*end
    }
}

#[test]
fn frames_are_wrapped_as_others_wrap_them() {
    for (end, outer) in ends() {
        let mut frame = wrapped(&end, &hex(INNER));
        assert_eq!(outer.len(), end.kind.overhead());
        if end.kind == Kind::Vxlan {
            let port = be16(&frame, L4).expect("a port");
            assert!(port >= PORTS, "{port}");
            put_be16(&mut frame, L4, PORTS);
        }
        assert_eq!(frame, [outer, hex(INNER)].concat());
    }
}

#[test]
fn only_whole_packets_of_the_tunnel_are_opened() {
    for (end, _) in ends() {
        let frame = wrapped(&end, &hex(INNER));
        let there = there(&end);
        let at = end.kind.overhead();
        let within = Arrived::Within(at, hex(INNER).len());
        assert_eq!(there.look(&frame), within);
        let padded = [&*frame, &[0; 30]].concat();
        assert_eq!(there.look(&padded), within, "padding is none of it");
        assert_eq!(end.look(&frame), Arrived::Bare, "it is for another node");
        let other = End {
            id: end.id ^ 1,
            ..there
        };
        assert_eq!(other.look(&frame), Arrived::Refused, "another tunnel's");
        for len in L3 + 20..frame.len() {
            assert_eq!(there.look(&frame[..len]), Arrived::Refused, "{len} bytes");
        }
        // Every bit counts of the header that comes first, but for the MAC addresses and what is
        // not looked at.
        for at in L3..L4 {
            for bit in 0..8 {
                let mut damaged = frame.clone();
                damaged[at] ^= 1 << bit;
                assert_ne!(there.look(&damaged), within, "bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn fragments_are_refused() {
    for (end, _) in ends() {
        for word in [ipv4::MORE_FRAGMENTS, 1] {
            let mut frame = wrapped(&end, &hex(INNER));
            put_be16(&mut frame, L3 + ipv4::field::FRAGMENT, word);
            ipv4::reseal(&mut frame[L3..]);
            assert_eq!(there(&end).look(&frame), Arrived::Refused);
        }
    }
}

#[test]
fn what_is_no_packet_to_this_node_is_left_alone() {
    let (end, _) = ends()[0].clone();
    let mut frame = hex(INNER);
    assert_eq!(end.look(&frame), Arrived::Bare);
    put_be16(&mut frame, ETHERTYPE, 0x88b5);
    assert_eq!(end.look(&frame), Arrived::Bare);
    put_be16(&mut frame, ETHERTYPE, ETHERTYPE_ARP);
    assert_eq!(end.look(&frame), Arrived::Arp);
    assert_eq!(end.look(&frame[..13]), Arrived::Bare);
}

#[test]
fn packets_of_a_flow_have_one_source_port_and_flows_many() {
    let (end, _) = ends()[0].clone();
    let port = |sport: u16, id: u16| {
        let mut inner = hex(INNER);
        put_be16(&mut inner, L4, sport);
        put_be16(&mut inner, L3 + ipv4::field::ID, id);
        be16(&wrapped(&end, &inner), L4)
    };
    assert_eq!(port(1000, 1), port(1000, 2));
    let all: std::collections::HashSet<_> = (1000..2000).map(|sport| port(sport, 1)).collect();
    assert!(all.len() > 900, "{} ports for 1,000 flows", all.len());
}

#[test]
fn what_is_too_short_or_too_long_is_not_wrapped() {
    for (end, _) in ends() {
        let way = end.way(THERE);
        for len in [0, 10, way.overhead() - 1, L3 + 65_536] {
            assert!(!way.write(&mut vec![0; len], ROUTER, US), "{len} bytes");
        }
    }
}

proptest! {
    #[test]
    fn what_is_wrapped_comes_out_as_it_was(
        inner in proptest::collection::vec(any::<u8>(), 14..1600),
        vxlan: bool,
    ) {
        let (end, _) = ends()[usize::from(!vxlan)].clone();
        let frame = wrapped(&end, &inner);
        let Arrived::Within(at, len) = there(&end).look(&frame) else {
            panic!("it is refused");
        };
        prop_assert_eq!(&frame[at..at + len], &inner[..]);
    }

    #[test]
    fn no_garbage_makes_it_fall(mut frame in proptest::collection::vec(any::<u8>(), 0..200)) {
        for (end, _) in ends() {
            end.look(&frame);
            put_be16(&mut frame, ETHERTYPE, ETHERTYPE_IPV4);
            put(&mut frame, L3 + 16, HERE.octets());
            end.look(&frame);
        }
    }
}
