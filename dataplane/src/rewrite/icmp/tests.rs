use std::net::IpAddr;

use proptest::prelude::*;
use sluice_wire::{Key, Tuple, V4, V6, proto};

use super::super::testing::*;
use super::super::tests::{any_ip, any_pair};
use super::super::vectors::*;
use super::*;

const REMOTE: &str = "198.51.100.7";

/// The pair's first error finds the flow that arrives as `arrives`, and becomes the second.
fn check<F: Family>(pair: Pair, arrives: Tuple, leaves: Tuple) {
    let mut frame = hex(pair.0);
    let parsed = parsed(&frame);
    let flow = flow::<F>(&arrives, &leaves);
    assert!(flow.matches(&parsed.key::<F>(&frame, 0)), "{arrives}");
    assert!(apply(&flow, &mut frame, &parsed));
    assert_eq!(dump(&frame), pair.1);
}

/// 10.0.0.5:4660 as 192.0.2.1:40000, to a port of REMOTE.
fn session(proto: u8, dport: u16) -> (Tuple, Tuple) {
    (
        tuple(proto, "10.0.0.5", 4660, REMOTE, dport),
        tuple(proto, "192.0.2.1", 40000, REMOTE, dport),
    )
}

/// An error from outside, about what went out.
fn from_outside(pair: Pair, proto: u8, dport: u16) {
    let (inside, outside) = session(proto, dport);
    check::<V4>(pair, outside.reverse(), inside.reverse());
}

/// RFC 5508 REQ-4. Pitfall 6: the router's address stays, so that traceroute shows it, and what
/// follows the IP packet is neither summed nor touched.
#[test]
fn time_exceeded_from_a_router_outside() {
    from_outside(TE_ROUTER, proto::UDP, 53);
}

#[test]
fn port_unreachable_from_the_peer_about_udp_without_checksum() {
    from_outside(PU_PEER_UDP0, proto::UDP, 53);
}

/// Path MTU discovery: many routers quote eight bytes of TCP, without its checksum.
#[test]
fn fragmentation_needed_with_eight_bytes_of_tcp() {
    from_outside(FN_TCP8, proto::TCP, 443);
}

#[test]
fn time_exceeded_about_an_echo() {
    let inside = tuple(proto::ICMP, "10.0.0.5", 0x1111, REMOTE, 0);
    let outside = tuple(proto::ICMP, "192.0.2.1", 0x2222, REMOTE, 0);
    check::<V4>(TE_ECHO, outside.reverse(), inside.reverse());
}

/// RFC 5508 REQ-5, from the host itself.
#[test]
fn port_unreachable_from_the_host_inside() {
    let (inside, outside) = session(proto::UDP, 53);
    check::<V4>(PU_INSIDE_HOST, inside, outside);
}

/// RFC 5508 REQ-5 d: a router inside is hidden as its hosts are; nobody outside could believe its
/// private address.
#[test]
fn fragmentation_needed_from_a_router_inside() {
    let (inside, outside) = session(proto::UDP, 53);
    check::<V4>(FN_INSIDE_ROUTER, inside, outside);
}

/// Pitfall 23: an error to the virtual address reaches the real server that the session is with.
#[test]
fn fragmentation_needed_to_a_virtual_server() {
    let client = tuple(proto::TCP, "198.51.100.20", 5000, "192.0.2.80", 80);
    let server = tuple(proto::TCP, "198.51.100.20", 5000, "10.0.0.8", 8080);
    check::<V4>(FN_VIP, client, server);
}

#[test]
fn packet_too_big_through_ipv6_full_nat() {
    let client = tuple(proto::UDP, "2001:db8::5", 4660, "2001:db8:f::80", 80);
    let server = tuple(proto::UDP, "2001:db8:f::1", 40000, "2001:db8:1::9", 8080);
    check::<V6>(PTB6, server.reverse(), client.reverse());
}

#[test]
fn what_is_no_error_is_refused() {
    let mut frame = hex(ECHO.0);
    let parsed = parsed(&frame);
    let own = tuple(proto::ICMP, "10.0.0.5", 0x1111, REMOTE, 0);
    assert!(!apply(&flow::<V4>(&own, &own), &mut frame, &parsed));
    assert_eq!(dump(&frame), ECHO.0);
}

fn quoting<F: Family>(
    (arrives, leaves): (Tuple, Tuple),
    router: IpAddr,
    cut: usize,
    payload: &[u8],
    checksum: bool,
) -> Result<(), TestCaseError> {
    // The error goes the way of `arrives`, so it quotes a packet of the reverse.
    let build = |tuple: &Tuple, src, ttl| {
        let mut quoted = packet(&tuple.reverse(), 1, payload, checksum);
        let header = if F::IS_V6 { 40 } else { 20 };
        // Half a TCP checksum is no use to anybody, and stays.
        let cut = if cut == header + 17 { header + 18 } else { cut };
        quoted.truncate((header + 8).max(cut));
        let mut frame = ethernet(F::IS_V6, &error(src, tuple.dst, ttl, &quoted));
        frame.extend([0x5a; 3]);
        frame
    };
    let mut frame = build(&arrives, router, 64);
    let parsed = parsed(&frame);
    prop_assert_eq!(parsed.key::<F>(&frame, 0), Key::new::<F>(&arrives, 0));
    prop_assert!(apply(&flow::<F>(&arrives, &leaves), &mut frame, &parsed));
    let src = if arrives.src == leaves.src {
        router
    } else {
        leaves.src
    };
    prop_assert_eq!(dump(&frame), dump(&build(&leaves, src, 63)));
    Ok(())
}

proptest! {
    /// An edited error is, byte for byte, the error that quotes the packet that was sent, wherever
    /// the quotation was cut.
    #[test]
    fn editing_is_quoting_the_original(
        (arrives, leaves) in any_pair(), hide in any::<bool>(), v4 in any_ip(false),
        v6 in any_ip(true), cut in 0usize..120,
        payload in prop::collection::vec(any::<u8>(), 8..60), checksum in any::<bool>(),
    ) {
        let leaves = if hide { leaves } else { Tuple { src: arrives.src, ..leaves } };
        if arrives.src.is_ipv4() {
            quoting::<V4>((arrives, leaves), v4, cut, &payload, checksum)?;
        } else {
            quoting::<V6>((arrives, leaves), v6, cut, &payload, checksum)?;
        }
    }
}
