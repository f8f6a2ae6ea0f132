//! `[ha.tunnel]`: what is needed of it, and what cannot be.

use sluice_dataplane::worker::TunnelKind;

use super::*;

const EXAMPLE: &str = include_str!("../../../../examples/ha-tunnel.toml");

#[test]
fn the_example_leads_to_the_other_node_by_a_router() {
    let config = Config::read(Source::toml(EXAMPLE)).expect("the example is right");
    let device = config.devices().pop().expect("that of the HA link");
    assert_eq!(device.mtu, 1500, "1,450 and VXLAN's 50");
    let tunnel = config.ha.and_then(|ha| ha.tunnel).expect("a tunnel");
    assert_eq!(tunnel.end.kind, TunnelKind::Vxlan);
    assert_eq!(tunnel.end.id, 1);
    let [there, router] = [[198, 51, 100, 1], [192, 0, 2, 2]].map(Into::into);
    assert_eq!(tunnel.nodes, [(2, there, router)]);
}

#[test]
fn a_node_on_the_same_network_needs_no_router() {
    let text = EXAMPLE.replacen("address = \"198.51.100.1\"", "address = \"192.0.2.2\"", 1);
    let text = text.replacen("gateway = \"192.0.2.2\"\n", "", 1);
    let text = text.replacen("mtu = 1450\n", "", 1);
    let text = text.replacen("kind = \"vxlan\"", "kind = \"gre\"\nid = 4294967295", 1);
    let config = Config::read(Source::toml(&text)).expect("it is right");
    let device = config.devices().pop().expect("that of the HA link");
    assert_eq!(device.mtu, 1542, "the ports' 1,500, and GRE's 42");
    let tunnel = config.ha.and_then(|ha| ha.tunnel).expect("a tunnel");
    let there = [192, 0, 2, 2].into();
    assert_eq!(tunnel.nodes, [(2, there, there)]);
}

#[test]
fn what_cannot_be_is_said_with_its_place() {
    let own = "address = \"192.0.2.1/30\"";
    let there = "address = \"198.51.100.1\"";
    let cases = [
        (
            "\"vxlan\"",
            "\"ipip\"",
            "ha.tunnel.kind: \"ipip\" is unknown",
        ),
        (
            "\"vxlan\"",
            "\"vxlan\"\nid = 16777216",
            "ha.tunnel.id: 16777216 is out of range",
        ),
        (own, "", "ha.tunnel: `address` is missing"),
        (
            own,
            "address = \"192.0.2.1\"",
            "ha.tunnel.address: \"192.0.2.1\" is no address with a network",
        ),
        (
            own,
            "address = \"192.0.2.0/30\"",
            "ha.tunnel.address: 192.0.2.0 is the network's own",
        ),
        (
            own,
            "address = \"2001:db8::1/64\"",
            "ha.tunnel.address: \"2001:db8::1\" is no IPv4",
        ),
        (
            "gateway = \"192.0.2.2\"",
            "gateway = \"192.0.2.9\"",
            "ha.tunnel.gateway: 192.0.2.9 is no other station",
        ),
        (
            "gateway = \"192.0.2.2\"",
            "gateway = \"192.0.2.1\"",
            "ha.tunnel.gateway: 192.0.2.1 is no other station",
        ),
        (
            "gateway = \"192.0.2.2\"",
            "",
            "ha.tunnel.node[0].address: 198.51.100.1 is not in",
        ),
        (
            "node = 2\naddress",
            "node = 3\naddress",
            "ha.tunnel.node[0].node: node 3 is none of the others",
        ),
        (
            there,
            "address = \"192.0.2.1\"",
            "ha.tunnel.node[0].address: 192.0.2.1 is this node's own",
        ),
        (
            there,
            "address = \"224.0.0.1\"",
            "ha.tunnel.node[0].address: \"224.0.0.1\" is a multicast",
        ),
        (
            there,
            "address = \"198.51.100.1\"\n[[ha.tunnel.node]]\nnode = 2\naddress = \"198.51.100.2\"",
            "ha.tunnel.node[1]: this node, or this address, is there twice",
        ),
        (
            "[[ha.tunnel.node]]\nnode = 2\naddress = \"198.51.100.1\"",
            "",
            "ha.tunnel.node: there is none",
        ),
        ("mtu = 1450", "mtu = 1279", "ha.mtu: 1279 is out of range"),
    ];
    for (from, to, expected) in cases {
        assert!(EXAMPLE.contains(from), "{from}");
        let problems = problems(&EXAMPLE.replacen(from, to, 1));
        assert!(
            problems.iter().any(|problem| problem.contains(expected)),
            "{to}: {problems:?}"
        );
    }
    // Without a tunnel the link takes what the ports take.
    let (bare, _) = EXAMPLE.split_once("\n[ha.tunnel]").expect("a tunnel");
    let (_, rest) = EXAMPLE.split_once("[[port]]").expect("a port");
    let problems = problems(&format!("{bare}[[port]]{rest}").replacen("1450", "1500", 1));
    assert!(problems.is_empty(), "{problems:?}");
}
