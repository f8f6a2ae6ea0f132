//! IPv6 neighbour discovery: answering, learning, asking, announcing (RFC 4861, RFC 4862).
//!
//! Addresses and routes are configured, so router advertisements and solicitations are ignored.

use std::net::{IpAddr, Ipv6Addr};

use sluice_wire::bytes::put;
use sluice_wire::ndisc::{HOP_LIMIT, Message, addrs, multicast_mac, solicited_node};
use sluice_wire::parse::Parsed;
use sluice_wire::proto::{self, ETHERTYPE_IPV6};
use sluice_wire::{Family, MacAddr, V6, ipv6};

use crate::io::Frame;
use crate::snapshot::Port;
use crate::stack::ether;
use crate::stack::link::{Heard, Link};
use crate::stack::neighbour::How;

#[cfg(test)]
mod tests;

/// All nodes of a link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Bytes of a neighbour message with one MAC address option, and of its packet.
const MESSAGE_LEN: usize = 32;
const PACKET_LEN: usize = ipv6::HEADER_LEN + MESSAGE_LEN;

/// Deals with a received neighbour discovery frame. A solicitation for an address that we answer for
/// becomes the advertisement. `None` if it must be ignored as invalid (RFC 4861 sections 6.1 and
/// 7.1), with the frame untouched.
pub fn handle<F: Frame>(frame: &mut F, parsed: &Parsed, link: &Link<'_>) -> Option<Heard> {
    let bytes = frame.bytes();
    let between = parsed.key_v6(bytes, 0).addrs;
    let (IpAddr::V6(src), IpAddr::V6(dst)) = V6::unpack(between) else {
        return None;
    };
    match Message::parse(between, parsed.ttl, parsed.transport(bytes))? {
        Message::NeighbourSolicitation { target, source_mac } => {
            let listens = dst == target || dst == solicited_node(target);
            if !listens || !link.answers_for(target.into()) {
                return Some(Heard::default());
            }
            let mut heard = match source_mac {
                Some(_) => link.learn(src.into(), source_mac, How::Request),
                None => Heard::default(),
            };
            let to = source_mac.or_else(|| ether::sender(bytes))?;
            if heard.conflict.is_none() && !link.is_ours(to) {
                heard.answered = answer(frame, parsed, link, target, src, to).is_some();
            }
            Some(heard)
        }
        Message::NeighbourAdvertisement {
            target,
            target_mac,
            router,
            solicited,
            replace,
        } => {
            let how = How::Advert {
                solicited,
                overrides: replace,
                router,
            };
            // Our own announcement comes back on some links, without an option if another made it.
            let ours = ether::sender(bytes).is_some_and(|mac| link.is_ours(mac));
            Some(if ours {
                Heard::default()
            } else {
                link.learn(target.into(), target_mac, how)
            })
        }
        Message::RouterSolicitation { .. } | Message::RouterAdvertisement { .. } => {
            Some(Heard::default())
        }
    }
}

fn answer<F: Frame>(
    frame: &mut F,
    parsed: &Parsed,
    link: &Link<'_>,
    target: Ipv6Addr,
    src: Ipv6Addr,
    to: MacAddr,
) -> Option<()> {
    // Who looks for duplicates of its address has none yet: all nodes are told (RFC 4861 7.2.4).
    let (to_ip, to_mac, solicited) = if src.is_unspecified() {
        (ALL_NODES, multicast_mac(ALL_NODES), false)
    } else {
        (src, to, true)
    };
    let mac = link.mac_of(target.into());
    let l3 = ether::readdress_from(frame, parsed.l3, link.port, mac, to_mac, ETHERTYPE_IPV6)?;
    if !frame.set_len(l3 + PACKET_LEN) {
        return None;
    }
    let packet = frame.bytes_mut().get_mut(l3..)?;
    write(
        packet,
        target,
        to_ip,
        &advertisement(mac, target, solicited),
    )
}

/// We forward packets, so we call ourselves a router in every advertisement.
fn advertisement(mac: MacAddr, target: Ipv6Addr, solicited: bool) -> Message {
    Message::NeighbourAdvertisement {
        target,
        target_mac: Some(mac),
        router: true,
        solicited,
        replace: true,
    }
}

/// Makes `out`, an empty frame, a solicitation for `target`, by multicast or to the MAC address that
/// it had last. False if the port has no IPv6 address to ask from, or the frame no room.
pub fn solicit<F: Frame>(
    port: &Port,
    target: Ipv6Addr,
    unicast: Option<MacAddr>,
    out: &mut F,
) -> bool {
    let Some(IpAddr::V6(from)) = port.source_for(target.into()) else {
        return false;
    };
    let (to_ip, to_mac) = match unicast {
        Some(mac) => (target, mac),
        None => {
            let group = solicited_node(target);
            (group, multicast_mac(group))
        }
    };
    let message = Message::NeighbourSolicitation {
        target,
        source_mac: Some(port.mac),
    };
    ether::compose(out, port, to_mac, ETHERTYPE_IPV6, PACKET_LEN)
        .and_then(|packet| write(packet, from, to_ip, &message))
        .is_some()
}

/// Makes `out`, an empty frame, an announcement to all nodes that `address` is ours, here, at
/// `mac`. False if the frame has no room.
pub fn announce<F: Frame>(port: &Port, mac: MacAddr, address: Ipv6Addr, out: &mut F) -> bool {
    let message = advertisement(mac, address, false);
    ether::compose_from(
        out,
        port,
        mac,
        multicast_mac(ALL_NODES),
        ETHERTYPE_IPV6,
        PACKET_LEN,
    )
    .and_then(|packet| write(packet, address, ALL_NODES, &message))
    .is_some()
}

fn write(packet: &mut [u8], from: Ipv6Addr, to: Ipv6Addr, message: &Message) -> Option<()> {
    let between = addrs(from, to);
    let ip = ipv6::Build {
        traffic_class: 0,
        payload_len: MESSAGE_LEN as u16,
        next: proto::ICMPV6,
        hop_limit: HOP_LIMIT,
        addrs: between,
    };
    put(packet, 0, ip.bytes());
    message.write(between, packet.get_mut(ipv6::HEADER_LEN..)?)?;
    Some(())
}
