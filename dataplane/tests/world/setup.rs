//! What an appliance in memory is configured with.

use std::net::IpAddr;

use sluice_dataplane::alg::AlgPolicy;
use sluice_dataplane::firewall::{Firewall, Rule};
use sluice_dataplane::groups::Groups;
use sluice_dataplane::host::HostPolicy;
use sluice_dataplane::io::DeviceId;
use sluice_dataplane::nat::rules::{Forward, Nat, SnatPool, SnatRule, SourceNat, StaticNat};
use sluice_dataplane::networks::Networks;
use sluice_dataplane::services::{Definition, ServiceMap};
use sluice_dataplane::shared_names::{SharedNames, SyncMode};
use sluice_dataplane::snapshot::{
    Device, LbMode, Local, LocalAddresses, Port, PortId, RealServer, Scheduler, ServerId,
    ServiceId, ServiceName, Snapshot, TcpPolicy, Tier, TierKind, VirtualServer,
};
use sluice_dataplane::stack::routes::{NextHop, Routes};
use sluice_dataplane::steer::{Fields, Spread, Steering};
use sluice_dataplane::timeouts::Timeouts;
use sluice_dataplane::worker::{Limits, TunnelKind};
use sluice_wire::toeplitz::SYMMETRIC_KEY;

use super::{INSIDE, INSIDE_ZONE, OUTSIDE, OUTSIDE_ZONE, World, ip, own_mac};

/// What a test says about its configuration; the rest is the same for all.
pub struct Setup {
    pub workers: u16,
    pub ports: Vec<Port>,
    pub routes: Vec<(&'static str, PortId, Option<&'static str>)>,
    pub rules: Vec<Rule>,
    pub open: Vec<(u8, u8)>,
    pub services: Vec<Definition>,
    pub local: Vec<(IpAddr, Local)>,
    pub virtual_servers: Vec<VirtualServer>,
    pub servers: Vec<Option<RealServer>>,
    pub snat_rules: Vec<SnatRule>,
    pub snat_pools: Vec<SnatPool>,
    pub forwards: Vec<Forward>,
    pub statics: Vec<StaticNat>,
    pub timeouts: Vec<Timeouts>,
    pub tcp: TcpPolicy,
    pub alg: AlgPolicy,
    pub fields: [Fields; 2],
    pub limits: Limits,
    pub host: Option<HostPolicy>,
    pub epoch: u32,
    /// Its number, from 1 on, where there are several appliances.
    pub node: Option<u8>,
    /// How many there are.
    pub nodes: u16,
    /// Of more than two, one has the copy of each session.
    pub backup: bool,
    /// Of such a node: services whose sessions the other one is told of otherwise than by default.
    pub modes: Vec<(ServiceId, SyncMode)>,
    /// Of such a node: what makes this start of it another than all others; drawn if not given.
    pub boot: Option<u64>,
    /// Of its hashes.
    pub secret: [u64; 4],
    /// What its clock says at the start, milliseconds.
    pub start: u32,
    /// The time of day then, of nodes that share cookies.
    pub clock: u32,
    pub groups: Groups,
    /// Tunnels to the others, and the largest IP packet that goes by them, or by the HA link.
    pub tunnel: Option<TunnelKind>,
    pub link_mtu: u16,
    /// A third zone.
    pub extra_zone: Option<String>,
}

/// Inside 10.0.0.1/24 and 2001:db8:a::1/64, outside 192.0.2.1/24 and 2001:db8:b::1/64 with a router
/// at .254 (::fe), inside may open sessions to outside.
impl Default for Setup {
    fn default() -> Self {
        let port = |id: PortId, name: &str, addresses: &[&str]| Port {
            name: name.into(),
            device: DeviceId(id.0),
            vlan: None,
            zone: id.0 as u8,
            mac: own_mac(id),
            mtu: 1500,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            clamp_mss: false,
        };
        Self {
            workers: 1,
            ports: vec![
                port(INSIDE, "inside", &["10.0.0.1/24", "2001:db8:a::1/64"]),
                port(OUTSIDE, "outside", &["192.0.2.1/24", "2001:db8:b::1/64"]),
            ],
            routes: vec![
                ("0.0.0.0/0", OUTSIDE, Some("192.0.2.254")),
                ("::/0", OUTSIDE, Some("2001:db8:b::fe")),
            ],
            rules: vec![],
            open: vec![(INSIDE_ZONE, OUTSIDE_ZONE)],
            services: vec![],
            local: vec![],
            virtual_servers: vec![],
            servers: vec![None],
            snat_rules: vec![],
            snat_pools: vec![],
            forwards: vec![],
            statics: vec![],
            timeouts: vec![Timeouts::default()],
            tcp: TcpPolicy {
                out_of_state: Default::default(),
                strict_window: false,
            },
            alg: AlgPolicy::default(),
            fields: [Fields::Tuple; 2],
            limits: Limits {
                sessions_v4: 4096,
                sessions_v6: 1024,
                registrations: 4096,
                pointers: 8192,
                mappings: 256,
                ..Limits::default()
            },
            host: None,
            epoch: 1,
            node: None,
            nodes: 2,
            tunnel: None,
            link_mtu: 1500,
            backup: false,
            modes: vec![],
            boot: None,
            secret: [1, 2, 3, 4],
            start: 0,
            clock: 0,
            groups: Groups::default(),
            extra_zone: None,
        }
    }
}

impl Setup {
    pub fn snapshot(&self) -> Snapshot {
        let mut routes: Vec<_> = self
            .routes
            .iter()
            .map(|&(net, port, via)| {
                let gateway = via.map(ip);
                (net.parse().unwrap(), NextHop { port, gateway })
            })
            .collect();
        let mut local = self.local.clone();
        for (port, id) in self.ports.iter().zip((0..).map(PortId)) {
            for own in &port.addresses {
                routes.push((
                    own.trunc(),
                    NextHop {
                        port: id,
                        gateway: None,
                    },
                ));
                local.push((own.addr(), Local::Own(id)));
            }
        }
        let spread = |fields| Spread {
            key: SYMMETRIC_KEY.to_vec(),
            fields,
            table: (0..128).map(|i| i % self.workers).collect(),
        };
        let device = |port: &Port, id: PortId| Device {
            name: port.name.clone(),
            untagged: port.vlan.is_none().then_some(id),
            vlans: port.vlan.map(|vlan| (vlan, id)).into_iter().collect(),
            tx_worker: (0..self.workers).collect(),
        };
        let mut devices: Vec<_> = self
            .ports
            .iter()
            .zip((0..).map(PortId))
            .map(|(p, i)| device(p, i))
            .collect();
        let mut spreads = self.fields.map(spread).to_vec();
        let mut nat = Nat::new(
            self.snat_rules.clone(),
            self.snat_pools.clone(),
            self.forwards.clone(),
            self.statics.clone(),
        );
        let mut zones = vec!["inside".to_owned(), "outside".to_owned()];
        zones.extend(self.extra_zone.clone());
        if let Some(node) = self.node {
            nat.divide(u16::from(node) - 1, self.nodes);
            spreads.push(spread(Fields::Tuple));
            devices.push(Device {
                name: "ha".into(),
                untagged: None,
                vlans: vec![],
                tx_worker: (0..self.workers).collect(),
            });
        }
        let service = ServiceName {
            kind: "virtual_server",
            name: "web".into(),
        };
        let shared_names = self
            .node
            .map(|_| SharedNames::new(&zones, &[Some(service)], &self.servers));
        let shared_names = shared_names.map(|names| names.with_modes(&self.modes));
        let zone_count = zones.len() as u8;
        Snapshot {
            epoch: self.epoch,
            devices,
            ports: self.ports.clone(),
            zones,
            local: LocalAddresses::new(local),
            routes: Routes::build(routes).unwrap(),
            firewall: Firewall::new(zone_count, self.rules.clone(), self.open.clone()),
            services: ServiceMap::build(&self.services).unwrap(),
            virtual_servers: self.virtual_servers.clone(),
            servers: self.servers.clone(),
            nat,
            timeouts: self.timeouts.clone(),
            steering: Steering::new(self.workers, &spreads).unwrap(),
            tcp: self.tcp,
            alg: self.alg.clone(),
            host: self.host.clone(),
            icmp_errors_per_s: 1000,
            service_names: vec![None],
            shared_names,
            groups: self.groups.clone(),
        }
    }

    pub fn start(&self) -> World {
        World::new(self)
    }
}

/// Sources of what goes from inside to outside are translated.
pub fn snat(to_source: SourceNat) -> SnatRule {
    SnatRule {
        service: ServiceId(1),
        from: Some(INSIDE_ZONE),
        to: Some(OUTSIDE_ZONE),
        source: Networks::default(),
        destination: Networks::default(),
        proto: None,
        to_source,
        timeouts: 0,
        clamp_mss: None,
    }
}

/// A virtual server with the first real server in its pool, and nothing else to it.
pub fn round_robin(service: ServiceId, name: &str, port: u16, mode: LbMode) -> VirtualServer {
    VirtualServer {
        service,
        name: name.into(),
        ports: Some((port, port)),
        mode,
        tiers: vec![Tier {
            kind: TierKind::Pool,
            scheduler: Scheduler::RoundRobin,
            members: vec![ServerId(1)],
        }],
        persistence: None,
        redirect: None,
        snat_pool: None,
        timeouts: 0,
        clamp_mss: None,
    }
}
