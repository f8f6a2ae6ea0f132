use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn hop(port: u16) -> NextHop {
    NextHop {
        port: PortId(port),
        gateway: None,
    }
}

fn routes(list: &[(&str, u16)]) -> Routes {
    Routes::build(
        list.iter()
            .map(|&(prefix, port)| (prefix.parse().unwrap(), hop(port))),
    )
    .unwrap()
}

fn port(routes: &Routes, dst: &str) -> Option<u16> {
    routes.lookup(dst.parse().unwrap()).map(|hop| hop.port.0)
}

#[test]
fn the_longest_prefix_wins_and_gives_way_behind_its_end() {
    let routes = routes(&[
        ("0.0.0.0/0", 1),
        ("10.0.0.0/8", 2),
        ("10.1.0.0/16", 3),
        ("10.1.0.0/24", 4),
        ("10.1.255.255/32", 5),
        ("255.255.255.255/32", 6),
    ]);
    for (dst, expected) in [
        ("9.255.255.255", 1),
        ("10.0.0.0", 2),
        ("10.1.0.0", 4),
        ("10.1.0.255", 4),
        ("10.1.1.0", 3),
        ("10.1.255.254", 3),
        ("10.1.255.255", 5),
        ("10.2.0.0", 2),
        ("11.0.0.0", 1),
        ("255.255.255.254", 1),
        ("255.255.255.255", 6),
    ] {
        assert_eq!(port(&routes, dst), Some(expected), "{dst}");
    }
    assert_eq!(port(&routes, "2001:db8::1"), None);
}

#[test]
fn without_a_default_there_are_holes() {
    let routes = routes(&[("192.0.2.0/24", 1), ("2001:db8::/32", 2), ("fe80::/64", 3)]);
    assert_eq!(port(&routes, "192.0.1.255"), None);
    assert_eq!(port(&routes, "192.0.2.7"), Some(1));
    assert_eq!(port(&routes, "192.0.3.0"), None);
    assert_eq!(port(&routes, "2001:db8:ffff::1"), Some(2));
    assert_eq!(port(&routes, "2001:db9::"), None);
    assert_eq!(port(&routes, "::"), None);
    assert_eq!(port(&Routes::default(), "192.0.2.7"), None);
}

#[test]
fn a_prefix_given_twice_is_an_error_even_with_other_host_bits() {
    let twice = ["10.0.0.1/8", "10.2.0.0/8"].map(|prefix| (prefix.parse().unwrap(), hop(1)));
    assert_eq!(
        Routes::build(twice).unwrap_err().to_string(),
        "two routes to 10.0.0.0/8"
    );
}

#[test]
fn listing_gives_back_what_was_built() {
    let routes = routes(&[("2001:db8::/32", 2), ("10.0.0.0/8", 1), ("0.0.0.0/0", 3)]);
    let listed: Vec<_> = routes
        .iter()
        .map(|(prefix, _)| prefix.to_string())
        .collect();
    assert_eq!(listed, ["0.0.0.0/0", "10.0.0.0/8", "2001:db8::/32"]);
}

/// What longest prefix match means.
fn scan(list: &[(IpNet, NextHop)], dst: IpAddr) -> Option<NextHop> {
    list.iter()
        .filter(|(prefix, _)| prefix.contains(&dst))
        .max_by_key(|(prefix, _)| prefix.prefix_len())
        .map(|&(_, hop)| hop)
}

fn unique(list: Vec<(IpNet, u16)>) -> Vec<(IpNet, NextHop)> {
    let mut list: Vec<_> = list
        .into_iter()
        .map(|(prefix, port)| (prefix.trunc(), hop(port)))
        .collect();
    list.sort_by_key(|&(prefix, _)| prefix);
    list.dedup_by_key(|&mut (prefix, _)| prefix);
    list
}

/// The ends of every prefix and their neighbours outside: where an off-by-one shows.
fn edges(list: &[(IpNet, NextHop)]) -> Vec<IpAddr> {
    let mut edges = Vec::new();
    for (prefix, _) in list {
        match prefix {
            IpNet::V4(net) => {
                let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
                let around = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
                edges.extend(around.map(|a| IpAddr::from(Ipv4Addr::from(a))));
            }
            IpNet::V6(net) => {
                let (first, last) = (u128::from(net.network()), u128::from(net.broadcast()));
                let around = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
                edges.extend(around.map(|a| IpAddr::from(Ipv6Addr::from(a))));
            }
        }
    }
    edges
}

/// Prefixes crowded into a few networks, so that they nest.
fn prefix() -> impl Strategy<Value = IpNet> {
    let crowd = prop_oneof![
        Just(0u32),
        Just(0x0a00_0000),
        Just(0xffff_0000),
        any::<u32>()
    ];
    prop_oneof![
        (crowd.clone(), 0u32..0x300, 0u8..=32).prop_map(|(high, low, len)| {
            IpNet::new(Ipv4Addr::from(high | low).into(), len).unwrap()
        }),
        (crowd, any::<u8>(), 0u8..=128).prop_map(|(high, low, len)| {
            let address = u128::from(high) << 96 | u128::from(low) << 64 | u128::from(low);
            IpNet::new(Ipv6Addr::from(address).into(), len).unwrap()
        }),
    ]
}

proptest! {
    #[test]
    fn lookup_is_a_linear_scan(
        list in prop::collection::vec((prefix(), 0u16..5), 0..60),
        random in prop::collection::vec(any::<u32>(), 20),
    ) {
        let list = unique(list);
        let routes = Routes::build(list.iter().copied()).unwrap();
        let random = random.into_iter().map(|a| IpAddr::from(Ipv4Addr::from(a)));
        for dst in edges(&list).into_iter().chain(random) {
            prop_assert_eq!(routes.lookup(dst), scan(&list, dst), "{}", dst);
        }
    }
}

#[test]
fn many_routes_answer_as_few_do() {
    // Enough ranges for the table by upper bits; a multiplicative walk spreads them.
    let list: Vec<_> = (1..4000u32)
        .map(|i| {
            let address = i.wrapping_mul(2_654_435_761);
            let net = IpNet::new(Ipv4Addr::from(address).into(), 9 + (i % 24) as u8).unwrap();
            (net, (i % 7) as u16)
        })
        .collect();
    let list = unique(list);
    let routes = Routes::build(list.iter().copied()).unwrap();
    assert!(!routes.v4.index.is_empty() && routes.v6.index.is_empty());
    for dst in edges(&list) {
        assert_eq!(routes.lookup(dst), scan(&list, dst), "{dst}");
    }
}
