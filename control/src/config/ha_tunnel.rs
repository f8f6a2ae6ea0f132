//! `[ha.tunnel]`: nodes that are not neighbours on the HA link.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use sluice_dataplane::worker::{TunnelEnd as End, TunnelKind as Kind, TunnelParts};

use super::ha::MAX_NODES;
use super::place::{Place, optional};
use super::raw::section;
use super::value::{address, number, word};

section! {
    /// `[ha.tunnel]`
    pub struct RawHaTunnel {
        /// `vxlan` or `gre`.
        kind: String,
        /// This node's address on the HA link, with the length of its network's prefix.
        address: String,
        /// The router to nodes that are not in this network.
        gateway: String,
        /// VNI or key, the same on all nodes.
        id: i64,
        /// `[[ha.tunnel.node]]`
        node: Vec<RawHaTunnelNode>,
    }
}

section! {
    /// `[[ha.tunnel.node]]`
    pub struct RawHaTunnelNode {
        /// Its number.
        node: i64,
        /// Its address on its own HA link.
        address: String,
    }
}

/// Tunnels to other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaTunnel {
    /// This end of them.
    pub end: End,
    /// Nodes, their addresses, and the next hops to them.
    pub nodes: Vec<(u8, Ipv4Addr, Ipv4Addr)>,
}

impl HaTunnel {
    /// For workers.
    pub fn parts(&self) -> TunnelParts {
        TunnelParts {
            end: self.end,
            nodes: self.nodes.clone(),
        }
    }

    /// Bytes that a frame of the HA link grows by.
    pub const fn overhead(&self) -> u16 {
        self.end.kind.overhead() as u16
    }
}

/// An IPv4 address that a host can have.
fn station(text: &str, place: &Place<'_>) -> Option<Ipv4Addr> {
    match address(text, place)? {
        IpAddr::V4(address) => Some(address),
        _ => place.wrong(
            format_args!("{text:?} is no IPv4 address"),
            "write one like \"192.0.2.1\": tunnels go by IPv4, whatever goes within",
        ),
    }
}

impl RawHaTunnel {
    /// `peers`: numbers of the other nodes.
    pub(super) fn check(&self, peers: &[u8], place: &Place<'_>) -> Option<HaTunnel> {
        let kinds = [("vxlan", Kind::Vxlan), ("gre", Kind::Gre)];
        let kind = self.kind.as_deref().unwrap_or("vxlan");
        let kind = word(kind, &kinds, &place.key("kind"));
        let id = kind.and_then(|kind| {
            let limits = 0..=kind.largest_id();
            number::<u32>(self.id.unwrap_or(1), limits, &place.key("id"))
        });
        let network = place
            .required("address", &self.address, "\"192.0.2.1/30\"")
            .and_then(|text| network(text, &place.key("address")));
        let gateway = optional(self.gateway.as_deref(), |text| {
            station(text, &place.key("gateway"))
        });
        let (network, gateway) = (network?, gateway?);
        let own = network.0;
        if let Some(gateway) = gateway
            && (!network.1.contains(&IpAddr::V4(gateway)) || gateway == own)
        {
            return place.key("gateway").wrong(
                format_args!("{gateway} is no other station of {}", network.1),
                "write the address of a router on the HA link",
            );
        }
        let place_of = place.key("node");
        let given = self.node.as_deref().unwrap_or_default();
        if given.is_empty() {
            return place_of.wrong(
                "there is none",
                "write a [[ha.tunnel.node]] for each node that a tunnel leads to",
            );
        }
        let check = |node: &RawHaTunnelNode, place: &Place<'_>| {
            let (node, address) = node.check(peers, place)?;
            let next = match (network.1.contains(&IpAddr::V4(address)), gateway) {
                (true, _) => address,
                (false, Some(gateway)) => gateway,
                (false, None) => {
                    return place.key("address").wrong(
                        format_args!("{address} is not in {}, and there is no gateway", network.1),
                        "write `gateway`, the router to it, in [ha.tunnel]",
                    );
                }
            };
            if address == own {
                return place.key("address").wrong(
                    format_args!("{address} is this node's own"),
                    "write the address that the other node has on its HA link",
                );
            }
            Some((node, address, next))
        };
        let nodes = place_of.each(given, check)?;
        for (at, (node, address, _)) in nodes.iter().enumerate() {
            let same = |other: &&(u8, Ipv4Addr, Ipv4Addr)| other.0 == *node || other.1 == *address;
            if nodes[..at].iter().any(|other| same(&other)) {
                return place_of.index(at).wrong(
                    "this node, or this address, is there twice",
                    "give each node one address of its own",
                );
            }
        }
        let (kind, id) = (kind?, id?);
        Some(HaTunnel {
            end: End {
                kind,
                id,
                address: own,
            },
            nodes,
        })
    }
}

impl RawHaTunnelNode {
    fn check(&self, peers: &[u8], place: &Place<'_>) -> Option<(u8, Ipv4Addr)> {
        let node = place
            .required("node", &self.node, "2")
            .and_then(|&node| number::<u8>(node, 0..=MAX_NODES - 1, &place.key("node")));
        let address = place
            .required("address", &self.address, "\"198.51.100.1\"")
            .and_then(|text| station(text, &place.key("address")));
        let node = node?;
        if !peers.contains(&node) {
            return place.key("node").wrong(
                format_args!("node {node} is none of the others"),
                "write a number that `peer` or `peers` has",
            );
        }
        Some((node, address?))
    }
}

/// An address with its network.
fn network(text: &str, place: &Place<'_>) -> Option<(Ipv4Addr, IpNet)> {
    let remedy = "write address and prefix length, like \"192.0.2.1/30\"";
    let Some(network) = text.parse::<IpNet>().ok() else {
        return place.wrong(
            format_args!("{text:?} is no address with a network"),
            remedy,
        );
    };
    let own = station(&network.addr().to_string(), place)?;
    if network.prefix_len() < 31 && (network.network() == own || network.broadcast() == own) {
        return place.wrong(
            format_args!("{own} is the network's own address, or its broadcast address"),
            "write the address of a station",
        );
    }
    Some((own, network))
}
