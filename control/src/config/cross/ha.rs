//! The HA link and everything else.

use super::super::Config;
use super::super::place::Place;

/// Fewest ports that a pool has for each node.
const MIN_PORTS: u32 = 64;

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
    if let (Some(mtu), Some(port)) = (ha.mtu, widest)
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
        if u32::from(last) - u32::from(first) + 1 < 2 * MIN_PORTS {
            top.key("snat_pool").index(index).key("ports").wrong::<()>(
                "too few ports to share between two nodes",
                format_args!("write {} or more", 2 * MIN_PORTS),
            );
        }
    }
}
