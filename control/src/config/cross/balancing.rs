//! Virtual servers and their pools together.

use std::net::IpAddr;

use sluice_dataplane::snapshot::LbMode;
use sluice_wire::proto;

use super::super::place::Place;
use super::super::value::family;
use super::super::{Config, PoolIndex, Sync, VirtualServer};
use super::nat::{not_in_mappings, same_family};

pub(super) fn virtual_servers(config: &Config, top: &Place<'_>) {
    let list = top.key("virtual_server");
    for (index, vs) in config.virtual_servers.iter().enumerate() {
        let place = list.index(index);
        not_in_mappings(config, vs.address, vs.ports, &place.key("address"));
        if vs.protocol.is_none() && config.is_own(vs.address) {
            place.key("address").wrong::<()>(
                format_args!(
                    "{} is a port's own address, and would go away whole",
                    vs.address
                ),
                "write another address, or name protocol and port",
            );
        }
        if let Some(snat_pool) = vs.snat_pool {
            let snat_pool = &config.snat_pools[snat_pool.0];
            same_family(snat_pool, vs.address, "`address`", &place.key("snat_pool"));
        }
        let pools = [("pool", Some(vs.pool)), ("backup_pool", vs.backup_pool)];
        for (key, at) in pools {
            let Some(at) = at else { continue };
            pool(config, vs, at, &place.key(key));
            for (index, server) in config.pools[at.0].servers.iter().enumerate() {
                let list = top.key("pool").index(at.0).key("server");
                let server = (server.address, server.port);
                real_server(config, vs, server, &list.index(index));
            }
        }
        if vs.sync == Sync::None && vs.mode == LbMode::Dnat && vs.protocol != Some(proto::TCP) {
            place.key("sync").wrong::<()>(
                "answers of the servers that come by the other appliance could not be told from \
                 questions of theirs",
                "write mode = \"fullnat\", or take `sync` out",
            );
        }
        if vs.backup_pool == Some(vs.pool) {
            place.key("backup_pool").wrong::<()>(
                "it is the pool itself",
                "name another pool, or take `backup_pool` out",
            );
        }
        if let Some(sorry) = vs.sorry_server {
            let place = place.key("sorry_server");
            if sorry.address.is_ipv4() != vs.address.is_ipv4() {
                place.key("address").wrong::<()>(
                    format_args!(
                        "{} is {}, and {} is {}",
                        vs.address,
                        family(vs.address),
                        sorry.address,
                        family(sorry.address)
                    ),
                    "write an address of the same family",
                );
            }
            real_server(config, vs, (sorry.address, sorry.port), &place);
        }
    }
}

fn pool(config: &Config, vs: &VirtualServer, at: PoolIndex, place: &Place<'_>) {
    let pool = &config.pools[at.0];
    if let Some(member) = pool.family()
        && member.is_ipv4() != vs.address.is_ipv4()
    {
        place.wrong::<()>(
            format_args!(
                "{} is {}, and the servers of pool {:?} are {}",
                vs.address,
                family(vs.address),
                pool.name.as_str(),
                family(member)
            ),
            "name a pool of the same family",
        );
    }
}

/// A real server, by address and port, that is to serve a virtual server.
fn real_server(
    config: &Config,
    vs: &VirtualServer,
    server: (IpAddr, Option<u16>),
    place: &Place<'_>,
) {
    let (address, port) = server;
    if address == vs.address || config.is_own(address) {
        place.key("address").wrong::<()>(
            format_args!("{address} is an address of this appliance"),
            "write the address of the server",
        );
        return;
    }
    let one_port = vs.ports.filter(|(first, last)| first == last);
    if let Some(port) = port
        && one_port.is_none()
    {
        place.key("port").wrong::<()>(
            format_args!(
                "virtual server {:?} has many ports, and {port} is one",
                vs.name.as_str()
            ),
            "take `port` out: the client's destination port is kept",
        );
    }
    if vs.mode == LbMode::Dsr {
        direct_return(config, vs, server, place);
    }
}

fn direct_return(
    config: &Config,
    vs: &VirtualServer,
    (address, port): (IpAddr, Option<u16>),
    place: &Place<'_>,
) {
    let name = vs.name.as_str();
    if config.port_towards(address).is_none() {
        place.key("address").wrong::<()>(
            format_args!(
                "{address} is not on a connected network, and virtual server {name:?} is \"dsr\""
            ),
            "give a port an address on the server's network, or use mode = \"dnat\"",
        );
    }
    if let Some(port) = port
        && vs
            .ports
            .is_some_and(|(first, last)| (first, last) != (port, port))
    {
        place.key("port").wrong::<()>(
            format_args!("virtual server {name:?} is \"dsr\", which cannot change the port"),
            "take `port` out",
        );
    }
}
