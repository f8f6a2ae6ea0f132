//! The HA link and everything else.

use std::collections::HashMap;

use super::super::place::Place;
use super::super::{Config, Sync, Tracked};
use super::unique;

/// Fewest ports that a pool has for each node.
const MIN_PORTS: u32 = 64;
/// Most things that are tracked.
const MAX_TRACKS: usize = 32;

/// Services whose first packets are to travel with what nobody is told.
pub(super) fn modes(config: &Config, top: &Place<'_>) {
    if config.ha.as_ref().is_none_or(|ha| ha.sync != Sync::None) {
        return;
    }
    let rules = config.snat.iter().map(|rule| rule.sync).enumerate();
    let rules = rules.map(|(at, sync)| ("snat", at, sync));
    let servers = config.virtual_servers.iter().map(|vs| vs.sync).enumerate();
    let servers = servers.map(|(at, sync)| ("virtual_server", at, sync));
    for (list, at, sync) in rules.chain(servers) {
        if sync == Sync::Inline {
            top.key(list).index(at).key("sync").wrong::<()>(
                "`[ha]` says that nobody is told of any session",
                "take `sync` out, here or there",
            );
        }
    }
}

pub(super) fn groups(config: &Config, top: &Place<'_>) {
    let place = top.key("ha").key("group");
    let numbers = config.ha_groups.iter().map(|group| group.id);
    let remedy = "give each group a number of its own";
    unique(numbers, &place, "number", |id| id.0.to_string(), remedy);
    let mut seen = HashMap::new();
    for (index, group) in config.ha_groups.iter().enumerate() {
        let place = place.index(index).key("addresses");
        for &address in &group.addresses {
            if let Some(first) = seen.insert(address, &group.name) {
                place.wrong::<()>(
                    format_args!("{address} is in group {:?} as well", first.as_str()),
                    "leave it in one of the two",
                );
            }
            if config.is_own(address) {
                place.wrong::<()>(
                    format_args!("{address} is a port's own"),
                    "give the port another address, and the group this one",
                );
            }
            if config.port_towards(address).is_none() && !config.is_translated(address) {
                place.wrong::<()>(
                    format_args!("{address} is on no network of a port"),
                    "write an address of a port's network, of a virtual server or of a SNAT pool",
                );
            }
        }
    }
    for (index, track) in config.ha_tracks.iter().enumerate() {
        if let Tracked::Gateway(gateway) = track.what
            && config.port_towards(gateway).is_none()
        {
            let place = top.key("ha").key("track").index(index).key("gateway");
            place.wrong::<()>(
                format_args!("{gateway} is on no network of a port"),
                "write the address of a router that is a neighbour",
            );
        }
    }
    if config.ha_tracks.len() > MAX_TRACKS {
        top.key("ha").key("track").wrong::<()>(
            format_args!("more than {MAX_TRACKS}"),
            "track what many things depend on",
        );
    }
}

pub(super) fn link(config: &Config, top: &Place<'_>) {
    let Some(ha) = &config.ha else { return };
    let place = top.key("ha");
    if let Some(port) = config.ports.iter().find(|port| port.device == ha.device) {
        place.key("device").wrong::<()>(
            format_args!("this device is port {:?}", port.name.as_str()),
            "give the HA link a device of its own",
        );
    }
    let widest = config.ports.iter().max_by_key(|port| port.mtu);
    // What a tunnel does not take whole goes in pieces, or its sender is told.
    if let (Some(mtu), Some(port), None) = (ha.mtu, widest, &ha.tunnel)
        && mtu < port.mtu
    {
        place.key("mtu").wrong::<()>(
            format_args!(
                "{mtu} is less than the {} of port {:?}",
                port.mtu,
                port.name.as_str()
            ),
            "write at least as much: packets go from one node to the other as they came",
        );
    }
    for (index, pool) in config.snat_pools.iter().enumerate() {
        let (first, last) = pool.ports;
        let least = u32::from(ha.shares) * MIN_PORTS;
        if u32::from(last) - u32::from(first) + 1 < least {
            top.key("snat_pool").index(index).key("ports").wrong::<()>(
                format_args!("too few ports for {} nodes to share", ha.shares),
                format_args!("write {least} or more"),
            );
        }
    }
}
