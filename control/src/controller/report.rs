//! What there is to know without asking workers.

use std::sync::Arc;
use std::time::Instant;

use sluice_dataplane::io::DeviceId;
use sluice_dataplane::published::{Slot, WorkerCounter};
use sluice_dataplane::snapshot::{Port, PortId, ServerId, ServiceId};

use super::Controller;
use super::action::Route;
use super::stats::{DeviceStats, Reading, ServiceStats, SnatPoolStats, Stats};
use super::status::{PortStatus, SessionStatus, Status, WorkerStatus};

impl Controller {
    fn uptime_ms(&self, now: Instant) -> u64 {
        let uptime = now.saturating_duration_since(self.started);
        u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)
    }

    /// Logical ports that the configuration has, by number.
    pub(super) fn living_ports(&self) -> impl Iterator<Item = (PortId, &Port)> {
        let names = self.config.ports.iter().map(|port| port.name.as_str());
        names.filter_map(|name| {
            let mut ports = (0..).map(PortId).zip(&self.snapshot.ports);
            ports.find(|(_, port)| port.name == name)
        })
    }

    pub(super) fn status(&mut self, now: Instant) -> Status {
        let buffers = self.devices.buffers();
        let of_worker = |worker: usize, counter| {
            let slot = Slot::Worker(counter);
            self.published.one(worker, slot)
        };
        let sum = |counter| self.published.sum(Slot::Worker(counter));
        let system = &self.config.system;
        let workers = self.workers.iter().zip(&system.workers).enumerate();
        let ports = self.living_ports().map(|(_, port)| PortStatus {
            name: port.name.clone(),
            zone: self
                .snapshot
                .zones
                .get(usize::from(port.zone))
                .cloned()
                .unwrap_or_default(),
            device: self
                .snapshot
                .devices
                .get(usize::from(port.device.0))
                .map(|device| device.name.clone())
                .unwrap_or_default(),
            vlan: port.vlan,
            mac: port.mac.to_string(),
            mtu: port.mtu,
            addresses: port.addresses.clone(),
            link: self
                .links
                .get(usize::from(port.device.0))
                .copied()
                .unwrap_or_default(),
        });
        Status {
            name: system.name.to_string(),
            version: self.version.clone(),
            uptime_ms: self.uptime_ms(now),
            revision: self.ledger.revision(),
            confirmation: self.ledger.confirmation(),
            next: self.ledger.store.next().cloned(),
            epoch: self.epoch_in_force(),
            latest_epoch: self.snapshot.epoch,
            workers: workers
                .map(|(at, (worker, &core))| WorkerStatus {
                    core,
                    epoch: worker.epoch,
                    sessions: of_worker(at, WorkerCounter::SessionsV4)
                        + of_worker(at, WorkerCounter::SessionsV6),
                })
                .collect(),
            ports: ports.collect(),
            sessions: SessionStatus {
                v4: sum(WorkerCounter::SessionsV4),
                limit_v4: system.sessions,
                v6: sum(WorkerCounter::SessionsV6),
                limit_v6: system.sessions_v6,
            },
            buffers,
        }
    }

    pub(super) fn stats(&mut self, now: Instant) -> Stats {
        let reading = Reading::of(&self.published);
        let snapshot = Arc::clone(&self.snapshot);
        let mut devices = Vec::new();
        for (at, device) in (0..).map(DeviceId).zip(&snapshot.devices) {
            devices.push(DeviceStats {
                name: device.name.clone(),
                link: self.devices.link(at),
                counters: self.devices.counters(at),
            });
        }
        let services = self.service_stats(&reading);
        let servers = (0..).map(ServerId).zip(&snapshot.servers);
        Stats {
            uptime_ms: self.uptime_ms(now),
            total: reading.total(),
            workers: reading.workers(),
            ports: self
                .living_ports()
                .map(|(id, port)| reading.port(&port.name, id))
                .collect(),
            devices,
            syslog: self.logs.servers(),
            snat_pools: SnatPoolStats::of(&self.config, &services),
            services,
            servers: servers
                .filter_map(|(id, server)| {
                    let health = self.standings.get(id).active;
                    Some(reading.server(id, server.as_ref()?, health))
                })
                .collect(),
        }
    }

    pub(super) fn service_stats(&self, reading: &Reading) -> Vec<ServiceStats> {
        let services = (0..).map(ServiceId).zip(&self.snapshot.service_names);
        services
            .filter(|(_, name)| name.is_some())
            .filter_map(|(id, _)| reading.service(id, &self.registry))
            .collect()
    }

    pub(super) fn routes(&self) -> Vec<Route> {
        let routes = self.snapshot.routes.iter();
        routes
            .map(|(to, hop)| Route {
                to,
                via: hop.gateway,
                port: self.port_name(hop.port),
            })
            .collect()
    }
}
