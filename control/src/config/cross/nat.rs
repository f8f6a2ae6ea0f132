//! SNAT pools, rules, static translations and forwards together.

use std::net::IpAddr;

use sluice_dataplane::nat::rules::Mapping;

use super::super::place::Place;
use super::super::snat::NewSource;
use super::super::value::family;
use super::super::{Config, SnatPool};
use super::unique;

pub(super) fn snat_pools(config: &Config, top: &Place<'_>) {
    let list = top.key("snat_pool");
    for (index, pool) in config.snat_pools.iter().enumerate() {
        let place = list.index(index).key("addresses");
        for other in &config.snat_pools[..index] {
            let overlap = pool.ports.0 <= other.ports.1 && other.ports.0 <= pool.ports.1;
            let shared = pool
                .addresses
                .iter()
                .find(|own| other.addresses.contains(own));
            if let Some(shared) = shared.filter(|_| overlap) {
                place.wrong::<()>(
                    format_args!(
                        "{shared} is in pool {:?} with the same ports",
                        other.name.as_str()
                    ),
                    "take it out of one of them, or divide its `ports`",
                );
            }
        }
    }
}

/// What a pool gives must be of the family that is translated.
pub(super) fn same_family(pool: &SnatPool, address: IpAddr, what: &str, place: &Place<'_>) {
    let Some(&own) = pool.addresses.first() else {
        return;
    };
    if own.is_ipv4() != address.is_ipv4() {
        place.wrong::<()>(
            format_args!(
                "pool {:?} is {}, and {what} is not",
                pool.name.as_str(),
                family(own)
            ),
            format_args!("name a SNAT pool of {} addresses", family(address)),
        );
    }
}

pub(super) fn snat_rules(config: &Config, top: &Place<'_>) {
    let list = top.key("snat");
    for (index, rule) in config.snat.iter().enumerate() {
        let place = list.index(index);
        let NewSource::Pool(pool) = rule.new_source else {
            continue;
        };
        let pool = &config.snat_pools[pool.0];
        for (key, networks) in [("source", &rule.source), ("destination", &rule.destination)] {
            if let Some(net) = networks.first()
                && networks
                    .iter()
                    .all(|other| other.addr().is_ipv4() == net.addr().is_ipv4())
            {
                same_family(pool, net.addr(), &format!("`{key}`"), &place.key("pool"));
            }
        }
    }
}

pub(super) fn statics(config: &Config, top: &Place<'_>) {
    let list = top.key("static_nat");
    unique(
        config.static_nat.iter().map(|nat| nat.internal),
        &list,
        "internal",
        |internal| format!("{internal}"),
        "translate each host once",
    );
    for (index, nat) in config.static_nat.iter().enumerate() {
        let place = list.index(index).key("external");
        if config.is_own(nat.external) {
            place.wrong::<()>(
                format_args!("{} is a port's own address", nat.external),
                "write another address, or use [[forward]] for single ports",
            );
        }
        if let Some(pool) = pool_with(config, nat.external, |_| true) {
            place.wrong::<()>(
                format_args!("{} is in SNAT pool {:?}", nat.external, pool.name.as_str()),
                "take it out of the pool",
            );
        }
        if config.is_own(nat.internal) {
            list.index(index).key("internal").wrong::<()>(
                format_args!("{} is a port's own address", nat.internal),
                "write the address of a host",
            );
        }
    }
}

fn pool_with(
    config: &Config,
    address: IpAddr,
    which: impl Fn(&SnatPool) -> bool,
) -> Option<&SnatPool> {
    config
        .snat_pools
        .iter()
        .find(|pool| which(pool) && pool.addresses.contains(&address))
}

/// An endpoint-independent mapping owns its port towards everybody, so nothing else may listen
/// there.
pub(super) fn not_in_mappings(
    config: &Config,
    address: IpAddr,
    ports: Option<(u16, u16)>,
    place: &Place<'_>,
) {
    let overlaps = |pool: &SnatPool| {
        pool.mapping == Mapping::EndpointIndependent
            && ports.is_none_or(|(first, last)| first <= pool.ports.1 && pool.ports.0 <= last)
    };
    if let Some(pool) = pool_with(config, address, overlaps) {
        let (first, last) = pool.ports;
        place.wrong::<()>(
            format_args!(
                "{address} is in SNAT pool {:?} with ports {first}-{last}",
                pool.name.as_str()
            ),
            "take the address out of the pool, or these ports out of its `ports`",
        );
    }
}

pub(super) fn forwards(config: &Config, top: &Place<'_>) {
    let list = top.key("forward");
    for (index, forward) in config.forwards.iter().enumerate() {
        let place = list.index(index);
        not_in_mappings(
            config,
            forward.address,
            Some(forward.ports),
            &place.key("address"),
        );
        if config.is_own(forward.to.ip()) {
            place.key("to").wrong::<()>(
                format_args!("{} is an address of this appliance", forward.to.ip()),
                "write the address of a host",
            );
        }
        if let NewSource::Pool(pool) = forward.source {
            let pool = &config.snat_pools[pool.0];
            same_family(pool, forward.address, "`address`", &place.key("source"));
        }
    }
}
