//! What befalls the nodes: drawn from the seed before anything happens.

use std::net::IpAddr;

use sluice_dataplane::nat::rules::{Filtering, Mapping, SnatPool, SnatRule, SourceNat};
use sluice_dataplane::services::{Definition, Target};
use sluice_dataplane::shared_names::SyncMode;
use sluice_dataplane::snapshot::{
    LbMode, Local, Persistence, RealServer, Scheduler, ServerId, ServerState, ServiceId,
    SessionLimits, Tier, TierKind, VirtualServer,
};
use sluice_dataplane::worker::Limits;

use crate::rng::Rng;
use crate::wire::Faults;
use crate::world::{Setup, ip};

pub(crate) const VIP: &str = "192.0.2.100";
pub(crate) const REALS: [&str; 2] = ["10.0.0.11", "10.0.0.12"];
/// How long things happen, milliseconds; after that there is peace.
pub(crate) const TROUBLE_MS: u64 = 4000;

/// Something that happens.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// Nodes of one half hear nothing of those of the other for so long, or neither hears the other:
    /// bit n of `half` is node n.
    Cut { half: u32, ms: u64, both: bool },
    /// The wire between two nodes is dead for so long.
    Sever { ends: [usize; 2], ms: u64 },
    /// A node does nothing for so long.
    Stall { node: usize, ms: u64 },
    /// A node dies, and starts again after that.
    Crash { node: usize, ms: u64 },
    /// The link becomes another one.
    Faults(Faults),
}

/// What the nodes do with packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Forward,
    Pool,
    /// The same with few ports, so that they are used again, and the other node's while it is dead.
    FewPorts,
    /// Each internal endpoint has one external endpoint.
    Mapped,
    Balance,
    /// The same, and clients come back to the server that they had.
    Persist,
}

impl Policy {
    pub(crate) fn balances(self) -> bool {
        matches!(self, Self::Balance | Self::Persist)
    }
}

#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) policy: Policy,
    pub(crate) nodes: usize,
    /// One node has the copy of each session.
    pub(crate) backup: bool,
    pub(crate) workers: Vec<u16>,
    pub(crate) clocks: Vec<u32>,
    pub(crate) faults: Faults,
    pub(crate) events: Vec<(u64, Event)>,
    /// First packets travel with their session's record.
    pub(crate) inline: bool,
}

impl Story {
    pub(crate) fn new(nodes: usize, backup: bool, rng: &mut Rng) -> Self {
        let policy = rng.pick(&[
            Policy::Forward,
            Policy::Pool,
            Policy::FewPorts,
            Policy::Mapped,
            Policy::Balance,
            Policy::Persist,
        ]);
        let workers = (0..nodes).map(|_| 1 + rng.below(3) as u16).collect();
        let clocks = (0..nodes).map(|_| match rng.below(3) {
            0 => 0,
            1 => u32::MAX - rng.below(6000),
            _ => rng.next() as u32,
        });
        let clocks = clocks.collect();
        let mut faults = faults(rng);
        let mut events = vec![];
        let mut at = 600 + u64::from(rng.below(300));
        while at < TROUBLE_MS {
            events.push((at, event(nodes, rng)));
            at += 100 + u64::from(rng.below(1500));
        }
        if policy == Policy::FewPorts {
            // A node that thinks its peer dead leases that one's ports when its own are exhausted. If
            // the peer lives, both do, and nothing can keep them apart.
            events.retain(|(_, event)| matches!(event, Event::Crash { .. }));
            faults.lost = 0;
        }
        Self {
            inline: rng.chance(400),
            policy,
            nodes,
            backup,
            workers,
            clocks,
            faults,
            events,
        }
    }

    pub(crate) fn setup(&self, node: usize, boot: u64) -> Setup {
        let mut setup = Setup {
            workers: self.workers[node],
            node: Some(node as u8 + 1),
            nodes: self.nodes as u16,
            backup: self.backup,
            boot: Some(boot),
            secret: [boot, 2, 3, boot ^ 0x1234_5678],
            start: self.clocks[node],
            limits: Limits {
                sessions_v4: 512,
                sessions_v6: 16,
                registrations: 2048,
                pointers: 4096,
                paths: 256,
                neighbours: 64,
                host_connections: 16,
                held: 64,
                mappings: 64,
                contacts: 64,
                balancer: sluice_dataplane::lb::Limits {
                    services: 64,
                    servers: 64,
                    members: 64,
                    clients: 64,
                },
                ..Limits::default()
            },
            ..Setup::default()
        };
        match self.policy {
            Policy::Forward => {}
            Policy::Pool => pool(&mut setup, 512),
            Policy::FewPorts => pool(&mut setup, 40 * self.nodes as u16),
            Policy::Mapped => {
                pool(&mut setup, 512);
                setup.snat_pools[0].mapping = Mapping::EndpointIndependent;
                setup.snat_pools[0].filtering = Filtering::EndpointIndependent;
            }
            Policy::Balance | Policy::Persist => balance(&mut setup, node),
        }
        if self.inline {
            setup.modes = vec![(ServiceId(0), SyncMode::Inline)];
        }
        if self.policy == Policy::Persist {
            setup.virtual_servers[0].persistence = Some(Persistence {
                prefix_v4: 32,
                prefix_v6: 128,
                timeout_ms: 600_000,
            });
        }
        setup
    }
}

fn faults(rng: &mut Rng) -> Faults {
    let badly = |rng: &mut Rng, most: u32| {
        let worse = rng.below(most) + 1;
        rng.pick(&[0, 0, worse])
    };
    Faults {
        lost: badly(rng, 200),
        doubled: badly(rng, 200),
        damaged: badly(rng, 100),
        delay: rng.pick(&[0, 0, 1, 5, 20]),
        jitter: rng.pick(&[0, 0, 1, 10]),
    }
}

fn event(nodes: usize, rng: &mut Rng) -> Event {
    let ms = u64::from(rng.pick(&[20, 200, 1500]) + rng.below(100));
    let node = rng.below(nodes as u32) as usize;
    match rng.below(4) {
        0 if nodes > 2 && rng.chance(500) => {
            let other = (node + 1 + rng.below(nodes as u32 - 1) as usize) % nodes;
            Event::Sever {
                ends: [node, other],
                ms,
            }
        }
        0 => Event::Cut {
            // Neither empty nor all.
            half: 1 + rng.below((1 << nodes) - 2),
            ms,
            both: rng.chance(700),
        },
        1 => Event::Stall { node, ms },
        2 => Event::Crash { node, ms },
        _ => Event::Faults(faults(rng)),
    }
}

fn pool(setup: &mut Setup, ports: u16) {
    setup.snat_rules = vec![SnatRule {
        service: ServiceId(0),
        ..crate::world::snat(SourceNat::Pool(0))
    }];
    setup.snat_pools = vec![SnatPool {
        name: "wan".into(),
        addresses: vec![ip("192.0.2.10")],
        ports: (1024, 1024 + ports - 1),
        mapping: Mapping::EndpointDependent,
        filtering: Filtering::EndpointDependent,
        parity: true,
    }];
    setup.local = vec![(ip("192.0.2.10"), Local::Nat)];
}

fn balance(setup: &mut Setup, node: usize) {
    let server = |host: &&str| {
        Some(RealServer {
            name: format!("web/{host}"),
            address: ip(host),
            port: Some(8080),
            weight: 1,
            state: ServerState::Up,
            limits: SessionLimits::default(),
        })
    };
    setup.servers = [None].into_iter().chain(REALS.iter().map(server)).collect();
    if node == 1 {
        // Numbers are each node's own.
        setup.servers.swap(1, 2);
    }
    setup.virtual_servers = vec![VirtualServer {
        service: ServiceId(0),
        name: "web".into(),
        ports: Some((80, 80)),
        mode: LbMode::Dnat,
        tiers: vec![Tier {
            kind: TierKind::Pool,
            scheduler: Scheduler::RoundRobin,
            members: vec![ServerId(1), ServerId(2)],
        }],
        persistence: None,
        redirect: None,
        snat_pool: None,
        timeouts: 0,
        clamp_mss: None,
    }];
    // What a server sends of itself opens nothing, so its answers are known as such by either node.
    setup.open = vec![];
    let vip: IpAddr = ip(VIP);
    setup.services = [sluice_wire::proto::TCP, sluice_wire::proto::UDP]
        .map(|proto| Definition {
            address: vip,
            proto: Some(proto),
            ports: Some((80, 80)),
            target: Target::VirtualServer(0),
        })
        .to_vec();
    setup.local = vec![(vip, Local::Vip)];
}
