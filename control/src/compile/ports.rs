//! Devices, logical ports, addresses and routes.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv6Net};
use sluice_dataplane::io::DeviceId;
use sluice_dataplane::snapshot::{Device, Local, LocalAddresses, Port, PortId, is_link_local};
use sluice_dataplane::stack::routes::{NextHop, Routes};
use sluice_wire::MacAddr;

use super::{CompileError, DeviceFacts, Registry};
use crate::config::{self, Config};

/// The smallest MTU that IPv6 works with (RFC 8200 section 5).
const IPV6_MIN_MTU: u16 = 1280;

pub(super) struct Ports {
    pub(super) devices: Vec<Device>,
    pub(super) ports: Vec<Port>,
    /// By index in the configuration.
    ids: Vec<PortId>,
}

impl Ports {
    pub(super) fn compile(
        config: &Config,
        known: &[config::Device],
        facts: &[DeviceFacts],
        zones: &[u8],
        registry: &mut Registry,
    ) -> Result<Self, CompileError> {
        if known.len() != facts.len() {
            return Err(CompileError::Facts {
                given: facts.len(),
                wanted: known.len(),
            });
        }
        let mut devices: Vec<Device> = known
            .iter()
            .zip(facts)
            .map(|(device, facts)| Device {
                name: device.name.as_str().to_owned(),
                untagged: None,
                vlans: Vec::new(),
                tx_worker: facts.tx_worker.clone(),
            })
            .collect();
        let mut ids = Vec::new();
        let mut living: BTreeMap<PortId, Port> = BTreeMap::new();
        for port in &config.ports {
            let id = registry.port(port.name.as_str())?;
            let at = known.iter().position(|device| device.name == port.device);
            let at = at.unwrap_or_default();
            match port.vlan {
                None => devices[at].untagged = Some(id),
                Some(vlan) => devices[at].vlans.push((vlan, id)),
            }
            let mac = facts[at].mac;
            let mut addresses = port.addresses.clone();
            let has_link_local = addresses
                .iter()
                .any(|own| own.addr().is_ipv6() && is_link_local(own.addr()));
            if !has_link_local && port.mtu >= IPV6_MIN_MTU {
                addresses.push(link_local(mac, port.vlan));
            }
            let compiled = Port {
                name: port.name.as_str().to_owned(),
                device: DeviceId(at as u16),
                vlan: port.vlan,
                zone: zones[port.zone.0],
                mac,
                mtu: port.mtu,
                addresses,
                clamp_mss: port.clamp_mss,
            };
            living.insert(id, compiled);
            ids.push(id);
        }
        for device in &mut devices {
            device.vlans.sort_unstable();
        }
        let ports = registry.ports().iter().zip((0..).map(PortId));
        let ports = ports
            .map(|(name, id)| living.remove(&id).unwrap_or_else(|| gone(name)))
            .collect();
        Ok(Self {
            devices,
            ports,
            ids,
        })
    }

    pub(super) fn local(&self, config: &Config) -> LocalAddresses {
        let own = self.ids.iter().flat_map(|&id| {
            let addresses = &self.ports[usize::from(id.0)].addresses;
            addresses
                .iter()
                .map(move |own| (own.addr(), Local::Own(id)))
        });
        let vips = config.virtual_servers.iter().map(|vs| vs.address);
        let pools = config.snat_pools.iter().flat_map(|pool| &pool.addresses);
        let nat = pools
            .copied()
            .chain(config.static_nat.iter().map(|nat| nat.external))
            .chain(config.forwards.iter().map(|forward| forward.address));
        let groups = config.ha_groups.iter().flat_map(|group| &group.addresses);
        LocalAddresses::new(
            own.chain(vips.map(|address| (address, Local::Vip)))
                .chain(nat.map(|address| (address, Local::Nat)))
                .chain(groups.map(|&address| (address, Local::Virtual))),
        )
    }

    /// The number of a port of the configuration.
    pub(super) fn id(&self, port: config::PortIndex) -> PortId {
        self.ids[port.0]
    }

    pub(super) fn routes(&self, config: &Config) -> Result<Routes, CompileError> {
        let mut routes: BTreeMap<IpNet, NextHop> = BTreeMap::new();
        for &port in &self.ids {
            let addresses = &self.ports[usize::from(port.0)].addresses;
            for own in addresses.iter().filter(|own| !is_link_local(own.addr())) {
                let hop = NextHop {
                    port,
                    gateway: None,
                };
                routes.entry(own.trunc()).or_insert(hop);
            }
        }
        let mut routes: Vec<(IpNet, NextHop)> = routes.into_iter().collect();
        for route in &config.routes {
            let towards = route.via.and_then(|via| config.port_towards(via));
            let Some(port) = route.port.or(towards) else {
                continue;
            };
            let hop = NextHop {
                port: self.ids[port.0],
                gateway: route.via,
            };
            routes.push((route.to, hop));
        }
        Ok(Routes::build(routes)?)
    }
}

/// Keeps the number of a port that the configuration no longer has: no frame reaches it.
fn gone(name: &str) -> Port {
    Port {
        name: name.to_owned(),
        device: DeviceId::default(),
        vlan: None,
        zone: 0,
        mac: MacAddr::ZERO,
        mtu: 0,
        addresses: Vec::new(),
        clamp_mss: false,
    }
}

/// The link-local address of a port: modified EUI-64 of its MAC address (RFC 4291 appendix A). VLANs
/// of one device have one MAC address and yet an address each: their id takes the place of ff:fe.
fn link_local(mac: MacAddr, vlan: Option<u16>) -> IpNet {
    let [a, b, c, d, e, f] = mac.0;
    let [g, h] = vlan.unwrap_or(0xfffe).to_be_bytes();
    let address = Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, g, h, d, e, f]);
    Ipv6Net::new_assert(address, 64).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses_follow_rfc_4291_and_differ_by_vlan() {
        let mac = MacAddr([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]);
        let wanted: IpNet = "fe80::3656:78ff:fe9a:bcde/64".parse().expect("a network");
        assert_eq!(link_local(mac, None), wanted);
        let on_vlan: IpNet = "fe80::3656:7800:649a:bcde/64".parse().expect("a network");
        assert_eq!(link_local(mac, Some(100)), on_vlan);
    }
}
