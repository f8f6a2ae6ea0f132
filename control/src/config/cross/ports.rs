//! Devices, addresses and routes together.

use sluice_dataplane::snapshot::is_link_local;

use super::super::place::Place;
use super::super::{Config, Port};
use super::unique;

pub(super) fn devices(config: &Config, top: &Place<'_>) {
    let list = top.key("port");
    if config.ports.is_empty() {
        top.wrong::<()>("there is no port", "write a [[port]] for each network");
    }
    let workers = config.system.workers.len();
    for (index, port) in config.ports.iter().enumerate() {
        let place = list.index(index);
        if let Some(queues) = port.settings.queues
            && usize::from(queues) > workers
        {
            place.key("queues").wrong::<()>(
                format_args!("{queues} queues for {workers} workers"),
                format_args!("write {workers} or less, or name more cores in system.workers"),
            );
        }
        let same_device = |other: &&Port| other.device == port.device;
        for other in config.ports[..index].iter().filter(same_device) {
            let other_name = other.name.as_str();
            if other.vlan == port.vlan {
                let what = match port.vlan {
                    Some(id) => format!("VLAN {id} of this device is port {other_name:?} already"),
                    None => format!("this device is port {other_name:?} already"),
                };
                place
                    .key("device")
                    .wrong::<()>(what, "give each port a `vlan` of its own");
            }
            contradiction(port, other, &place);
        }
    }
}

/// Ports of one device say the same of it, or one of them says nothing.
fn contradiction(port: &Port, other: &Port, place: &Place<'_>) {
    fn differ<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
        one.zip(other).is_some_and(|(one, other)| one != other)
    }
    let (ours, theirs) = (&port.settings, &other.settings);
    let keys = [
        (
            "queues",
            differ(ours.queues.as_ref(), theirs.queues.as_ref()),
        ),
        ("rss", differ(ours.rss.as_ref(), theirs.rss.as_ref())),
        (
            "rss_key",
            differ(ours.rss_key.as_ref(), theirs.rss_key.as_ref()),
        ),
        ("mac", differ(ours.mac.as_ref(), theirs.mac.as_ref())),
    ];
    for (key, _) in keys.into_iter().filter(|&(_, differs)| differs) {
        place.key(key).wrong::<()>(
            format_args!(
                "port {:?} says otherwise of the same device",
                other.name.as_str()
            ),
            format_args!("write `{key}` in one of them only"),
        );
    }
}

pub(super) fn addresses(config: &Config, top: &Place<'_>) {
    let list = top.key("port");
    let all: Vec<_> = config
        .ports
        .iter()
        .enumerate()
        .flat_map(|(port, p)| {
            p.addresses
                .iter()
                .enumerate()
                .map(move |(at, own)| (port, at, own))
        })
        .collect();
    for (n, &(port, at, own)) in all.iter().enumerate() {
        let place = list.index(port).key("addresses").index(at);
        for &(other, _, earlier) in &all[..n] {
            let name = config.ports[other].name.as_str();
            let link_local = is_link_local(own.addr());
            if earlier.addr() == own.addr() {
                place.wrong::<()>(
                    format_args!("{} is on port {name:?} already", own.addr()),
                    "write every address once",
                );
            } else if other != port && earlier.trunc() == own.trunc() && !link_local {
                place.wrong::<()>(
                    format_args!("the network {} is on port {name:?} already", own.trunc()),
                    "give each port a network of its own",
                );
            }
        }
    }
}

pub(super) fn routes(config: &Config, top: &Place<'_>) {
    let list = top.key("route");
    unique(
        config.routes.iter().map(|route| route.to),
        &list,
        "to",
        |to| format!("the route to {to}"),
        "write one route for each network",
    );
    for (index, route) in config.routes.iter().enumerate() {
        let place = list.index(index);
        let on = |port: &&Port| {
            port.addresses
                .iter()
                .any(|own| own.trunc() == route.to.trunc())
        };
        if let Some(port) = config.ports.iter().find(on) {
            place.key("to").wrong::<()>(
                format_args!("{} is connected to port {:?}", route.to, port.name.as_str()),
                "take the route out",
            );
        }
        let Some(via) = route.via else { continue };
        let place = place.key("via");
        if is_link_local(via) {
            if route.port.is_none() {
                place.wrong::<()>(
                    format_args!("{via} is link-local, and may be on any port"),
                    "write port = the port's name as well",
                );
            }
            continue;
        }
        let connected = match route.port {
            Some(port) => config.ports[port.0].is_connected(via),
            None => config.port_towards(via).is_some(),
        };
        if config.is_own(via) {
            place.wrong::<()>(
                format_args!("{via} is an address of this appliance"),
                "write the address of the next router",
            );
        } else if !connected {
            place.wrong::<()>(
                format_args!(
                    "{via} is not on a network of {}",
                    match route.port {
                        Some(port) => format!("port {:?}", config.ports[port.0].name.as_str()),
                        None => "any port".to_owned(),
                    }
                ),
                "give a port an address on the router's network",
            );
        }
    }
}
