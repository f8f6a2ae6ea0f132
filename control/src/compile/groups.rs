//! Groups of virtual addresses, and gateways that are watched.

use sluice_dataplane::groups::{Group, Groups};

use super::ports::Ports;
use crate::config::{Config, Tracked};

pub(super) fn compile(config: &Config, ports: &Ports) -> Groups {
    let Some(ha) = &config.ha else {
        return Groups::default();
    };
    let mut groups: Vec<Group> = config
        .ha_groups
        .iter()
        .map(|group| Group {
            id: group.id,
            name: group.name.as_str().to_owned(),
            priority: group.priority,
            preempt: group.preempt,
        })
        .collect();
    groups.sort_by_key(|group| group.id);
    let addresses = config.ha_groups.iter();
    let addresses = addresses.flat_map(|group| {
        let id = group.id;
        group.addresses.iter().map(move |&address| (address, id))
    });
    let witness = ha.witness.map(|port| ports.id(port));
    let gateways = config
        .ha_tracks
        .iter()
        .filter_map(|track| match track.what {
            Tracked::Gateway(gateway) => {
                let port = config.port_towards(gateway)?;
                Some((ports.id(port), gateway))
            }
            Tracked::Port(_) => None,
        });
    let gateways = gateways.collect();
    let mut groups = Groups::new(groups, ha.virtual_mac, witness, addresses);
    groups.gateways = gateways;
    groups
}
