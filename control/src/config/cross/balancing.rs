//! Virtual servers and their pools together.

use sluice_dataplane::snapshot::LbMode;

use super::super::place::Place;
use super::super::value::family;
use super::super::{Config, Server, VirtualServer};
use super::nat::{not_in_mappings, same_family};

pub(super) fn virtual_servers(config: &Config, top: &Place<'_>) {
    let list = top.key("virtual_server");
    for (index, vs) in config.virtual_servers.iter().enumerate() {
        let place = list.index(index);
        let pool = &config.pools[vs.pool.0];
        let pool_name = pool.name.as_str();
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
        if let Some(member) = pool.family()
            && member.is_ipv4() != vs.address.is_ipv4()
        {
            place.key("pool").wrong::<()>(
                format_args!(
                    "{} is {}, and the servers of pool {pool_name:?} are {}",
                    vs.address,
                    family(vs.address),
                    family(member)
                ),
                "name a pool of the same family",
            );
        }
        if let Some(snat_pool) = vs.snat_pool {
            let snat_pool = &config.snat_pools[snat_pool.0];
            same_family(snat_pool, vs.address, "`address`", &place.key("snat_pool"));
        }
        for (at, server) in pool.servers.iter().enumerate() {
            let server_place = top.key("pool").index(vs.pool.0).key("server").index(at);
            if server.address == vs.address || config.is_own(server.address) {
                server_place.key("address").wrong::<()>(
                    format_args!("{} is an address of this appliance", server.address),
                    "write the address of the server",
                );
                continue;
            }
            let one_port = vs.ports.filter(|(first, last)| first == last);
            if let Some(port) = server.port
                && one_port.is_none()
            {
                server_place.key("port").wrong::<()>(
                    format_args!(
                        "virtual server {:?} has many ports, and {port} is one",
                        vs.name.as_str()
                    ),
                    "take `port` out: the client's destination port is kept",
                );
            }
            if vs.mode == LbMode::Dsr {
                direct_return(config, vs, server, &server_place);
            }
        }
    }
}

fn direct_return(config: &Config, vs: &VirtualServer, server: &Server, place: &Place<'_>) {
    let name = vs.name.as_str();
    if config.port_towards(server.address).is_none() {
        place.key("address").wrong::<()>(
            format_args!(
                "{} is not on a connected network, and virtual server {name:?} is \"dsr\"",
                server.address
            ),
            "give a port an address on the server's network, or use mode = \"dnat\"",
        );
    }
    if let Some(port) = server.port
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
