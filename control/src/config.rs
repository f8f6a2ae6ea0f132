//! Configuration: text, to [`RawConfig`] (what is written), to [`Config`] (what is meant, every
//! value checked). `docs/configuration.md` says it key by key.
//!
//! One section a file: its raw form, its checked form, and the check between them. A check writes
//! down everything that is wrong, each with its place, what was found and what would do.

mod alg;
mod api;
mod cross;
pub mod diff;
mod duration;
pub mod edit;
mod firewall;
mod forward;
mod ha;
mod ha_group;
mod ha_tunnel;
mod health_check;
mod host;
mod icmp;
mod list;
mod log;
mod names;
mod passive;
mod place;
mod pool;
mod port;
mod raw;
mod redirect;
mod route;
pub mod secrets;
mod snat;
mod snat_pool;
mod source;
mod static_nat;
mod system;
mod tcp;
pub mod text;
mod timeouts;
mod value;
mod virtual_server;

use std::net::IpAddr;

use sluice_dataplane::alg::AlgPolicy;
use sluice_dataplane::snapshot::TcpPolicy;
use sluice_dataplane::timeouts::Timeouts;

pub use alg::RawAlg;
pub use api::{Api, RawApi};
pub use cross::MAX_MEMBERS;
pub use duration::parse as duration_ms;
pub use firewall::{Firewall, RawFirewall, RawOpen, RawRule, Rule};
pub use forward::{Forward, RawForward};
pub use ha::{Copies, Ha, MAX_NODES, RawHa, Sync};
pub use ha_group::{HaGroup, HaTrack, RawHaGroup, RawHaTrack, Tracked};
pub use ha_tunnel::{HaTunnel, RawHaTunnel, RawHaTunnelNode};
pub use health_check::{
    CheckKind, Dns, Grpc, HealthCheck, Http, MAX_CHECKS, RawHealthCheck, Record, Tls, Words,
};
pub use host::{Allow, Host, RawAllow, RawHost};
pub use icmp::{Icmp, RawIcmp};
pub use list::{List, RawList};
pub use log::{Log, RawLog, RawSyslog, Syslog, Transport};
pub(crate) use names::nearest;
pub use names::{CheckIndex, Name, PoolIndex, PortIndex, SnatPoolIndex, ZoneIndex};
use place::{Book, optional};
pub use place::{Finding, Path, Step};
pub use pool::{Pool, RawPool, RawServer, Server};
pub use port::{DeviceName, DeviceSettings, Port, RawPort, Rss};
pub use raw::RawConfig;
pub use redirect::{RawRedirect, Redirect};
pub use route::{RawRoute, Route};
pub use snat::{NewSource, RawSnat, Snat};
pub use snat_pool::{RawSnatPool, SnatPool};
pub use source::{ConfigError, Format, Problem, Source};
pub(crate) use source::{explain_json, path_of};
pub use static_nat::{RawStaticNat, StaticNat};
pub use system::{Idle, MAX_WORKERS, RawSystem, System};
pub use tcp::RawTcp;
pub use timeouts::{RawTimeouts, TimeoutOverrides};
pub use value::{Loose, PortRange, Several, protocol_name, protocol_number};
pub use virtual_server::{
    RawPersistence, RawSorryServer, RawVirtualServer, Scheduler, SorryServer, VirtualServer,
};

#[cfg(test)]
mod tests;

/// A configuration, every value checked, and all of them against each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// As it was written.
    pub source: Source,
    /// What was read there.
    pub raw: RawConfig,
    /// `[system]`
    pub system: System,
    /// `[api]`
    pub api: Api,
    /// `[log]`
    pub log: Log,
    /// `[ha]`
    pub ha: Option<Ha>,
    /// `[[ha.group]]`
    pub ha_groups: Vec<HaGroup>,
    /// `[[ha.track]]`
    pub ha_tracks: Vec<HaTrack>,
    /// Zones, in the order in which ports name them.
    pub zones: Vec<Name>,
    /// `[[port]]`
    pub ports: Vec<Port>,
    /// `[[route]]`
    pub routes: Vec<Route>,
    /// `[[list]]`
    pub lists: Vec<List>,
    /// `[firewall]`
    pub firewall: Firewall,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[tcp]`
    pub tcp: TcpPolicy,
    /// `[icmp]`
    pub icmp: Icmp,
    /// `[alg]`
    pub alg: AlgPolicy,
    /// The host interface, if it is on.
    pub host: Option<Host>,
    /// `[[snat_pool]]`
    pub snat_pools: Vec<SnatPool>,
    /// `[[snat]]`
    pub snat: Vec<Snat>,
    /// `[[static_nat]]`
    pub static_nat: Vec<StaticNat>,
    /// `[[forward]]`
    pub forwards: Vec<Forward>,
    /// `[[health_check]]`
    pub health_checks: Vec<HealthCheck>,
    /// `[[pool]]`
    pub pools: Vec<Pool>,
    /// `[[virtual_server]]`
    pub virtual_servers: Vec<VirtualServer>,
}

/// A device, with what its ports say of it put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// As DPDK wants it.
    pub name: DeviceName,
    /// Receive queues; one for each worker unless given.
    pub queues: u16,
    /// Whether `queues` was given, so that fewer will not do.
    pub queues_given: bool,
    /// What packets are spread over workers by.
    pub rss: Rss,
    /// Toeplitz key.
    pub rss_key: Option<Vec<u8>>,
    /// MAC address instead of the device's own.
    pub mac: Option<sluice_wire::MacAddr>,
    /// Largest IP packet of its ports.
    pub mtu: u16,
    /// Some of its ports are VLANs.
    pub tagged: bool,
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// [`ConfigError`] lists everything that is wrong with it.
    pub fn read(source: Source) -> Result<Self, ConfigError> {
        let raw = source.parse()?;
        Self::of(source, raw)
    }

    /// Checks a configuration with a part changed, of which `base` is what the other sections are.
    /// `sent` is the changed section, as [`edit::Edited::source`] is.
    ///
    /// # Errors
    /// [`ConfigError`] lists everything that is wrong with it.
    pub fn edited(
        edited: &edit::Edited,
        sent: Source,
        base: &RawConfig,
    ) -> Result<Self, ConfigError> {
        let raw = edited.over(base, sent.parse()?);
        Self::of(sent, raw)
    }

    fn of(source: Source, raw: RawConfig) -> Result<Self, ConfigError> {
        let book = Book::new(names::Names::of(&raw));
        let config = Self::check(&raw, &book);
        if let Some(config) = &config {
            cross::check(config, &book.top());
        }
        let findings = book.into_findings();
        match config {
            Some(config) if findings.is_empty() => Ok(Self {
                source,
                raw,
                ..config
            }),
            _ => Err(source.locate(findings)),
        }
    }

    /// Reads and checks a TOML file.
    ///
    /// # Errors
    /// [`ConfigError`] lists everything that is wrong with it.
    pub fn load(path: &std::path::Path) -> Result<Self, ConfigError> {
        Self::read(Source::file(path)?)
    }

    fn check(raw: &RawConfig, book: &Book) -> Option<Self> {
        let top = book.top();
        let system = raw.system.check(&top.key("system"));
        let api = raw.api.check(&top.key("api"));
        let ha = place::optional(raw.ha.as_ref(), |ha| ha.check(&top.key("ha")));
        let parts = place::optional(raw.ha.as_ref(), |ha| ha.parts(&top.key("ha")));
        let log = raw.log.check(&top.key("log"));
        let ports = top.key("port").each(&raw.port, RawPort::check);
        let routes = top.key("route").each(&raw.route, RawRoute::check);
        let lists = top.key("list").each(&raw.list, RawList::check);
        let firewall = raw.firewall.check(&top.key("firewall"));
        let timeouts = raw.timeouts.overrides(&top.key("timeouts"));
        let tcp = raw.tcp.check(&top.key("tcp"));
        let icmp = raw.icmp.check(&top.key("icmp"));
        let alg = raw.alg.check(&top.key("alg"));
        let name = system.as_ref().map(|system| &system.name);
        let host = optional(raw.host.as_ref().zip(name), |(host, name)| {
            host.check(name, &top.key("host"))
        });
        let snat_pools = top
            .key("snat_pool")
            .each(&raw.snat_pool, RawSnatPool::check);
        let snat = top.key("snat").each(&raw.snat, RawSnat::check);
        let static_nat = top
            .key("static_nat")
            .each(&raw.static_nat, RawStaticNat::check);
        let forwards = top.key("forward").each(&raw.forward, RawForward::check);
        let health_checks = top
            .key("health_check")
            .each(&raw.health_check, RawHealthCheck::check);
        let pools = top.key("pool").each(&raw.pool, RawPool::check);
        let virtual_servers = top
            .key("virtual_server")
            .each(&raw.virtual_server, RawVirtualServer::check);
        // Zones that are not names are reported at their ports.
        let silent = Book::default();
        let zones = book.names.zones.iter();
        let zones: Option<_> = zones.map(|zone| Name::check(zone, &silent.top())).collect();
        let (ha_groups, ha_tracks) = parts?.unwrap_or_default();
        Some(Self {
            source: Source::toml(""),
            raw: RawConfig::default(),
            system: system?,
            api: api?,
            log: log?,
            ha: ha?,
            ha_groups,
            ha_tracks,
            zones: zones?,
            ports: ports?,
            routes: routes?,
            lists: lists?,
            firewall: firewall?,
            timeouts: timeouts?.over(&Timeouts::default()),
            tcp: tcp?,
            icmp: icmp?,
            alg: alg?,
            host: host?,
            snat_pools: snat_pools?,
            snat: snat?,
            static_nat: static_nat?,
            forwards: forwards?,
            health_checks: health_checks?,
            pools: pools?,
            virtual_servers: virtual_servers?,
        })
    }

    /// The devices of all ports, each once, in the order in which ports name them; last, that of the
    /// HA link.
    pub fn devices(&self) -> Vec<Device> {
        let mut devices: Vec<Device> = Vec::new();
        for port in &self.ports {
            let known = devices.iter().position(|device| device.name == port.device);
            let at = known.unwrap_or_else(|| {
                devices.push(Device {
                    name: port.device.clone(),
                    queues: u16::try_from(self.system.workers.len()).unwrap_or(u16::MAX),
                    queues_given: false,
                    rss: Rss::default(),
                    rss_key: None,
                    mac: None,
                    mtu: 0,
                    tagged: false,
                });
                devices.len() - 1
            });
            let device = &mut devices[at];
            let settings = &port.settings;
            device.queues = settings.queues.unwrap_or(device.queues);
            device.queues_given |= settings.queues.is_some();
            device.rss = settings.rss.unwrap_or(device.rss);
            device.rss_key = settings.rss_key.clone().or(device.rss_key.take());
            device.mac = settings.mac.or(device.mac);
            device.mtu = device.mtu.max(port.mtu);
            device.tagged |= port.vlan.is_some();
        }
        if let Some(ha) = &self.ha {
            // A corrected packet travels with every byte that it came with, unless a tunnel is narrower.
            let widest = devices.iter().map(|device| device.mtu).max();
            let least = widest.unwrap_or_default().max(1500);
            let mtu = match &ha.tunnel {
                Some(tunnel) => ha.mtu.unwrap_or(least) + tunnel.overhead(),
                None => ha.mtu.unwrap_or_default().max(least),
            };
            devices.push(Device {
                name: ha.device.clone(),
                queues: u16::try_from(self.system.workers.len()).unwrap_or(u16::MAX),
                queues_given: false,
                rss: Rss::default(),
                rss_key: None,
                mac: None,
                mtu,
                tagged: true,
            });
        }
        devices
    }

    /// The first port on whose networks `address` is.
    pub fn port_towards(&self, address: IpAddr) -> Option<PortIndex> {
        let port = self
            .ports
            .iter()
            .position(|port| port.is_connected(address));
        port.map(PortIndex)
    }

    /// Whether `address` is one of our ports' own.
    pub fn is_own(&self, address: IpAddr) -> bool {
        let mut own = self.ports.iter().flat_map(|port| &port.addresses);
        own.any(|own| own.addr() == address)
    }

    /// Whether `address` is one that services or translations have.
    pub fn is_translated(&self, address: IpAddr) -> bool {
        self.virtual_servers.iter().any(|vs| vs.address == address)
            || self
                .snat_pools
                .iter()
                .any(|pool| pool.addresses.contains(&address))
            || self.static_nat.iter().any(|nat| nat.external == address)
            || self
                .forwards
                .iter()
                .any(|forward| forward.address == address)
    }

    /// Real servers that no pool has.
    pub fn sorry_servers(&self) -> impl Iterator<Item = &SorryServer> {
        let virtual_servers = self.virtual_servers.iter();
        virtual_servers.filter_map(|vs| vs.sorry_server.as_ref())
    }

    /// What services and rules change of the timeouts.
    pub fn timeout_overrides(&self) -> impl Iterator<Item = &TimeoutOverrides> {
        let virtual_servers = self.virtual_servers.iter().map(|x| &x.timeouts);
        let forwards = self.forwards.iter().map(|x| &x.timeouts);
        let snat = self.snat.iter().map(|x| &x.timeouts);
        let rules = self.firewall.rules.iter().map(|x| &x.timeouts);
        virtual_servers.chain(forwards).chain(snat).chain(rules)
    }

    /// The configuration as TOML: the very text, comments included, if it was given so.
    pub fn to_toml(&self) -> String {
        match self.source.format {
            Format::Toml => self.source.text.clone(),
            // Serialising plain structs of texts and numbers cannot fail.
            Format::Json => toml::to_string_pretty(&self.raw).unwrap_or_default(),
        }
    }
}
