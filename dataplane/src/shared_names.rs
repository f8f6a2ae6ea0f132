//! What two appliances call the same things.
//!
//! Zones, services and servers have numbers that each process gives out by itself. Between nodes they
//! go by their names, or what is made of them: see [`sluice_ha::name`].

use sluice_ha::name::{hash32, hash64};

use crate::snapshot::{RealServer, ServerId, ServiceId, ServiceName};

/// When the other node is told of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncMode {
    /// In the burst where it is opened, changes or ends.
    #[default]
    Async,
    /// The same, and the packet that opened it travels with the record, through the other node.
    Inline,
    /// Never.
    None,
}

/// Names in both directions: from our numbers, and to them.
#[derive(Debug, Clone, Default)]
pub struct SharedNames {
    zones: Vec<u32>,
    services: Vec<u64>,
    service_of: Vec<(u64, u16)>,
    servers: Vec<u64>,
    server_of: Vec<(u64, u16)>,
    /// By service, as far as it matters.
    modes: Vec<SyncMode>,
}

impl SharedNames {
    /// From what a snapshot holds, each by its number.
    pub fn new(
        zones: &[String],
        services: &[Option<ServiceName>],
        servers: &[Option<RealServer>],
    ) -> Self {
        let services = services.iter().map(|service| {
            let name =
                |service: &ServiceName| hash64(&format!("{} {}", service.kind, service.name));
            service.as_ref().map_or(0, name)
        });
        let servers = servers.iter();
        let servers = servers.map(|server| server.as_ref().map_or(0, |known| hash64(&known.name)));
        let (services, servers): (Vec<_>, Vec<_>) = (services.collect(), servers.collect());
        Self {
            zones: zones.iter().map(|name| hash32(name)).collect(),
            service_of: inverse(&services),
            services,
            server_of: inverse(&servers),
            servers,
            modes: Vec::new(),
        }
    }

    /// The same, with these services' sessions told of otherwise than by default.
    #[must_use]
    pub fn with_modes(mut self, modes: &[(ServiceId, SyncMode)]) -> Self {
        for &(service, mode) in modes {
            let at = usize::from(service.0);
            if self.modes.len() <= at {
                self.modes.resize(at + 1, SyncMode::default());
            }
            self.modes[at] = mode;
        }
        self
    }

    /// How the other node is told of a service's sessions.
    pub fn mode(&self, service: ServiceId) -> SyncMode {
        let mode = self.modes.get(usize::from(service.0));
        mode.copied().unwrap_or_default()
    }

    /// The hash of a zone's name; 0 for none.
    pub fn zone(&self, zone: u8) -> u32 {
        self.zones.get(usize::from(zone)).copied().unwrap_or(0)
    }

    /// The zone whose name hashes so.
    pub fn zone_of(&self, hash: u32) -> Option<u8> {
        let at = self.zones.iter().position(|&zone| zone == hash)?;
        Some(at as u8)
    }

    /// The hashes of all zones' names, by our numbers.
    pub fn zones(&self) -> &[u32] {
        &self.zones
    }

    /// The hash of a service's kind and name; 0 for none.
    pub fn service(&self, id: ServiceId) -> u64 {
        self.services.get(usize::from(id.0)).copied().unwrap_or(0)
    }

    /// The service whose kind and name hash so.
    pub fn service_of(&self, hash: u64) -> Option<ServiceId> {
        find(&self.service_of, hash).map(ServiceId)
    }

    /// The hash of a server's name; 0 for none.
    pub fn server(&self, id: ServerId) -> u64 {
        self.servers.get(usize::from(id.0)).copied().unwrap_or(0)
    }

    /// The server whose name hashes so.
    pub fn server_of(&self, hash: u64) -> Option<ServerId> {
        find(&self.server_of, hash).map(ServerId)
    }
}

fn inverse(hashes: &[u64]) -> Vec<(u64, u16)> {
    let numbered = hashes.iter().copied().zip(0..);
    let mut inverse: Vec<_> = numbered.filter(|&(hash, _)| hash != 0).collect();
    inverse.sort_unstable();
    inverse
}

fn find(sorted: &[(u64, u16)], hash: u64) -> Option<u16> {
    let at = sorted
        .binary_search_by_key(&hash, |&(known, _)| known)
        .ok()?;
    Some(sorted[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> Option<ServiceName> {
        Some(ServiceName {
            kind: "virtual_server",
            name: name.into(),
        })
    }

    #[test]
    fn nodes_with_other_numbers_mean_the_same() {
        let zones = |names: [&str; 3]| names.map(str::to_owned).to_vec();
        let here = SharedNames::new(
            &zones(["inside", "outside", "dmz"]),
            &[None, service("web"), service("mail")],
            &[None],
        );
        let there = SharedNames::new(
            &zones(["outside", "dmz", "inside"]),
            &[None, service("mail"), None, service("web")],
            &[None],
        );
        for (ours, theirs) in [(0, 2), (1, 0), (2, 1)] {
            assert_eq!(there.zone_of(here.zone(ours)), Some(theirs));
        }
        let web = here.service(ServiceId(1));
        assert_eq!(there.service_of(web), Some(ServiceId(3)));
        assert_eq!(
            here.service_of(there.service(ServiceId(1))),
            Some(ServiceId(2))
        );
        assert_eq!(there.service_of(0), None, "no service has no name");
    }
}
