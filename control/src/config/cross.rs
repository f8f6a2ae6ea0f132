//! Checks that need more than one section: what each says is right, and do they fit together?

mod balancing;
mod ha;
mod nat;
mod ports;
mod services;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use super::place::Place;
use super::{Config, Name, health_check};

/// Most zones: a session's key holds the zone in a byte.
const MAX_ZONES: usize = 255;
/// Most sets of timeouts besides the default: a session holds their index in a byte.
const MAX_TIMEOUT_SETS: usize = 255;

/// Most real servers, counted once for each virtual server that has them: what load balancers take
/// memory for at start.
pub const MAX_MEMBERS: usize = 16_384;

/// Writes down at `top` what does not fit together.
pub(super) fn check(config: &Config, top: &Place<'_>) {
    names(config, top);
    ports::devices(config, top);
    ports::addresses(config, top);
    ports::routes(config, top);
    ha::link(config, top);
    ha::groups(config, top);
    ha::modes(config, top);
    nat::snat_pools(config, top);
    nat::snat_rules(config, top);
    nat::statics(config, top);
    nat::forwards(config, top);
    balancing::virtual_servers(config, top);
    services::services(config, top);
    health_check::cross(config, top);
    limits(config, top);
}

/// Reports at `(list, index).key` every item that equals an earlier one.
fn unique<T: Eq + Hash>(
    items: impl Iterator<Item = T>,
    list: &Place<'_>,
    key: &str,
    text: impl Fn(&T) -> String,
    remedy: &str,
) {
    let mut seen: HashMap<T, usize> = HashMap::new();
    for (index, item) in items.enumerate() {
        match seen.entry(item) {
            Entry::Vacant(free) => {
                free.insert(index);
            }
            Entry::Occupied(taken) => {
                let (item, first) = (taken.key(), taken.get());
                list.index(index).key(key).wrong::<()>(
                    format_args!("{} is taken by number {first} (from 0)", text(item)),
                    remedy,
                );
            }
        }
    }
}

fn names(config: &Config, top: &Place<'_>) {
    let firewall = top.key("firewall");
    let lists: [(Place<'_>, Vec<&Name>); 10] = [
        (
            top.key("ha").key("group"),
            config.ha_groups.iter().map(|x| &x.name).collect(),
        ),
        (
            top.key("list"),
            config.lists.iter().map(|x| &x.name).collect(),
        ),
        (
            top.key("port"),
            config.ports.iter().map(|x| &x.name).collect(),
        ),
        (
            firewall.key("rule"),
            config.firewall.rules.iter().map(|x| &x.name).collect(),
        ),
        (
            top.key("snat_pool"),
            config.snat_pools.iter().map(|x| &x.name).collect(),
        ),
        (
            top.key("snat"),
            config.snat.iter().map(|x| &x.name).collect(),
        ),
        (
            top.key("static_nat"),
            config.static_nat.iter().map(|x| &x.name).collect(),
        ),
        (
            top.key("forward"),
            config.forwards.iter().map(|x| &x.name).collect(),
        ),
        (
            top.key("health_check"),
            config.health_checks.iter().map(|x| &x.name).collect(),
        ),
        (
            top.key("pool"),
            config.pools.iter().map(|x| &x.name).collect(),
        ),
    ];
    let virtual_servers = config.virtual_servers.iter().map(|x| &x.name).collect();
    let last = (top.key("virtual_server"), virtual_servers);
    for (place, names) in lists.into_iter().chain([last]) {
        let text = |name: &&Name| format!("the name {:?}", name.as_str());
        unique(
            names.into_iter(),
            &place,
            "name",
            text,
            "give each a name of its own",
        );
    }
}

fn limits(config: &Config, top: &Place<'_>) {
    if config.zones.len() > MAX_ZONES {
        top.wrong::<()>(
            format_args!("{} zones", config.zones.len()),
            format_args!("use {MAX_ZONES} at most"),
        );
    }
    let sets = config.timeout_overrides().filter(|set| !set.is_empty());
    let sets = sets.count();
    if sets > MAX_TIMEOUT_SETS {
        top.wrong::<()>(
            format_args!("{sets} services and rules with timeouts of their own"),
            format_args!("use {MAX_TIMEOUT_SETS} at most"),
        );
    }
    let members = config.virtual_servers.iter();
    let members: usize = members
        .map(|vs| {
            let pools = [Some(vs.pool), vs.backup_pool];
            let pools = pools.iter().flatten();
            let servers = pools.map(|pool| config.pools[pool.0].servers.len());
            servers.sum::<usize>() + usize::from(vs.sorry_server.is_some())
        })
        .sum();
    if members > MAX_MEMBERS {
        top.key("virtual_server").wrong::<()>(
            format_args!("{members} servers of virtual servers, counted once for each"),
            format_args!("use {MAX_MEMBERS} at most"),
        );
    }
    let most = usize::from(u16::MAX);
    let lists = [
        ("port", config.ports.len(), 1024),
        ("snat_pool", config.snat_pools.len(), most),
        ("snat", config.snat.len(), most),
        ("static_nat", config.static_nat.len(), most),
        ("forward", config.forwards.len(), most),
        ("health_check", config.health_checks.len(), most),
        ("pool", config.pools.len(), most),
        ("virtual_server", config.virtual_servers.len(), most),
    ];
    for (key, len, most) in lists {
        if len > most {
            top.key(key).wrong::<()>(
                format_args!("{len} entries"),
                format_args!("use {most} at most"),
            );
        }
    }
}
