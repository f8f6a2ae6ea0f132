//! Numbers for names, the same as long as the process lives.
//!
//! Sessions and counters hold these numbers, so a name that comes back after a change of
//! configuration gets the number it had, and no number is ever given to another name.

use std::collections::HashMap;

use sluice_dataplane::published::Layout;
use sluice_dataplane::snapshot::{PortId, ServerId, ServiceId, ServiceName};

use super::CompileError;
use crate::config::{Device, DeviceName, Pool, Server};

/// Room for zones: a session's key holds the zone in a byte, and policy counts them in one.
const ZONES: usize = 255;
/// Timeout sets besides the default: a session holds the set in a byte.
const TIMEOUT_SETS: u8 = 255;

/// The numbers given out so far, and room for more.
#[derive(Debug, Clone)]
pub struct Registry {
    layout: Layout,
    /// In the order of the first configuration: this is the order of their queues.
    devices: Vec<DeviceName>,
    zones: Vec<String>,
    ports: Vec<String>,
    services: HashMap<(&'static str, String), ServiceId>,
    /// By number, less one.
    service_names: Vec<ServiceName>,
    servers: HashMap<String, ServerId>,
    /// By number, less one.
    server_names: Vec<String>,
    timeout_sets: HashMap<ServiceId, u8>,
}

impl Registry {
    /// Nothing yet, and room as counters have it.
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            devices: Vec::new(),
            zones: Vec::new(),
            ports: Vec::new(),
            services: HashMap::new(),
            service_names: Vec::new(),
            servers: HashMap::new(),
            server_names: Vec::new(),
            timeout_sets: HashMap::new(),
        }
    }

    /// All zones that ever were, by number.
    pub fn zones(&self) -> &[String] {
        &self.zones
    }

    /// All ports that ever were, by number.
    pub fn ports(&self) -> &[String] {
        &self.ports
    }

    /// How many numbers for services and real servers there are in use, 0 (none) included.
    pub fn used(&self) -> (usize, usize) {
        (self.services.len() + 1, self.servers.len() + 1)
    }

    /// Puts devices in the order that they were first given in, whatever the order of ports is now.
    pub(super) fn in_order(&mut self, devices: Vec<Device>) -> Result<Vec<Device>, CompileError> {
        if self.devices.is_empty() {
            self.devices = devices.iter().map(|device| device.name.clone()).collect();
        }
        let wanted = devices.len();
        let ordered: Vec<Device> = self
            .devices
            .iter()
            .filter_map(|name| devices.iter().find(|device| device.name == *name).cloned())
            .collect();
        if ordered.len() != wanted || wanted != self.devices.len() {
            return Err(CompileError::Facts {
                given: self.devices.len(),
                wanted,
            });
        }
        Ok(ordered)
    }

    pub(super) fn zone(&mut self, name: &str) -> Result<u8, CompileError> {
        let at = number(&mut self.zones, name, ZONES, "zones")?;
        Ok(at as u8)
    }

    pub(super) fn port(&mut self, name: &str) -> Result<PortId, CompileError> {
        let at = number(&mut self.ports, name, self.layout.ports, "ports")?;
        Ok(PortId(at as u16))
    }

    /// What a number stands for, even if the configuration no longer has it.
    pub fn service_name(&self, service: ServiceId) -> Option<&ServiceName> {
        self.service_names
            .get(usize::from(service.0).checked_sub(1)?)
    }

    /// All services that are or were.
    pub fn service_names(&self) -> impl Iterator<Item = &ServiceName> {
        self.service_names.iter()
    }

    /// `pool/name` of all real servers that are or were.
    pub fn server_names(&self) -> impl Iterator<Item = &str> {
        self.server_names.iter().map(String::as_str)
    }

    /// The number of a service that is or was.
    pub fn service_by_name(&self, kind: &str, name: &str) -> Option<ServiceId> {
        let same = |known: &ServiceName| known.kind == kind && known.name == name;
        let at = self.service_names.iter().position(same)?;
        Some(ServiceId(at as u16 + 1))
    }

    /// `pool/name` of a real server that is or was.
    pub fn server_name(&self, server: ServerId) -> Option<&str> {
        let at = usize::from(server.0).checked_sub(1)?;
        self.server_names.get(at).map(String::as_str)
    }

    /// The number of a real server that is or was.
    pub fn server_by_name(&self, name: &str) -> Option<ServerId> {
        self.servers.get(name).copied()
    }

    /// The real servers of a pool, as far as they have numbers: all of them once it was compiled.
    pub fn servers_of<'a>(
        &'a self,
        pool: &'a Pool,
    ) -> impl Iterator<Item = (ServerId, &'a Server)> + 'a {
        let number = |server| self.server_by_name(&pool.full_name(server));
        let servers = pool.servers.iter();
        servers.filter_map(move |server| Some((number(server)?, server)))
    }

    pub(super) fn service(&mut self, service: &ServiceName) -> Result<ServiceId, CompileError> {
        let key = (service.kind, service.name.clone());
        if let Some(&id) = self.services.get(&key) {
            return Ok(id);
        }
        let next = self.service_names.len() + 1;
        let id = ServiceId(free(next, self.layout.services, "services and rules")?);
        self.services.insert(key, id);
        self.service_names.push(service.clone());
        Ok(id)
    }

    pub(super) fn server(&mut self, name: &str) -> Result<ServerId, CompileError> {
        if let Some(&id) = self.servers.get(name) {
            return Ok(id);
        }
        let next = self.server_names.len() + 1;
        let id = ServerId(free(next, self.layout.servers, "real servers")?);
        self.servers.insert(name.to_owned(), id);
        self.server_names.push(name.to_owned());
        Ok(id)
    }

    /// The number of the timeout set of a service. Those that are not among `living` are free again:
    /// sessions look their set up anew when they meet the next snapshot.
    pub(super) fn timeout_set(&mut self, service: ServiceId) -> Result<u8, CompileError> {
        if let Some(&set) = self.timeout_sets.get(&service) {
            return Ok(set);
        }
        let taken = |set: &u8| self.timeout_sets.values().any(|used| used == set);
        let set = (1..=TIMEOUT_SETS).find(|set| !taken(set));
        let set = set.ok_or(CompileError::Full {
            what: "services with timeouts of their own",
            limit: usize::from(TIMEOUT_SETS),
        })?;
        self.timeout_sets.insert(service, set);
        Ok(set)
    }

    pub(super) fn forget_timeout_sets_but(&mut self, living: &[ServiceId]) {
        self.timeout_sets
            .retain(|service, _| living.contains(service));
    }
}

fn number(
    known: &mut Vec<String>,
    name: &str,
    limit: usize,
    what: &'static str,
) -> Result<usize, CompileError> {
    if let Some(at) = known.iter().position(|earlier| earlier == name) {
        return Ok(at);
    }
    if known.len() >= limit {
        return Err(CompileError::Full { what, limit });
    }
    known.push(name.to_owned());
    Ok(known.len() - 1)
}

fn free(next: usize, limit: usize, what: &'static str) -> Result<u16, CompileError> {
    let full = CompileError::Full { what, limit };
    if next >= limit {
        return Err(full);
    }
    u16::try_from(next).map_err(|_| full)
}
