//! An appliance in memory for tests: any number of workers, two ports, and the hosts around them.
//!
//! Frames go in and come out as literal bytes; neighbours answer ARP and neighbour solicitations by
//! themselves unless told not to. After every exchange all counters must add up.
#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod packet;
pub mod pair;
pub mod redirecting;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::firewall::{Firewall, Rule};
use sluice_dataplane::groups::Groups;
use sluice_dataplane::handoff::Rings;
use sluice_dataplane::host::{self, HostEnd, HostPolicy};
use sluice_dataplane::io::memory::{Heap, MemoryIo, VecFrame};
use sluice_dataplane::io::{DeviceId, Frame};
use sluice_dataplane::lb::loads::{Loads, Tally};
use sluice_dataplane::mailbox::{ControlEnd, FromWorker, ToWorker, mailbox};
use sluice_dataplane::nat::rules::{Forward, Nat, SnatPool, SnatRule, StaticNat};
use sluice_dataplane::published::{Layout, Published, Slot, WorkerCounter};
use sluice_dataplane::services::{Definition, ServiceMap};
use sluice_dataplane::shared_names::{SharedNames, SyncMode};
pub use sluice_dataplane::snapshot::PortId;
use sluice_dataplane::snapshot::{
    Device, Local, LocalAddresses, Port, RealServer, ServiceId, ServiceName, Snapshot, TcpPolicy,
    VirtualServer,
};
use sluice_dataplane::stack::routes::{NextHop, Routes};
use sluice_dataplane::steer::{Fields, Spread, Steering};
use sluice_dataplane::timeouts::Timeouts;
use sluice_dataplane::worker::{Limits, Parts, Worker};
use sluice_wire::MacAddr;
use sluice_wire::toeplitz::SYMMETRIC_KEY;

pub const INSIDE: PortId = PortId(0);
pub const OUTSIDE: PortId = PortId(1);
pub const INSIDE_ZONE: u8 = 0;
pub const OUTSIDE_ZONE: u8 = 1;

/// A port's MAC address.
pub fn own_mac(port: PortId) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, port.0 as u8])
}

/// The MAC address of whoever has this address.
pub fn host_mac(address: IpAddr) -> MacAddr {
    let tail: [u8; 4] = match address {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(v6) => v6.octets()[12..].try_into().unwrap(),
    };
    MacAddr([6, 0, tail[0], tail[1], tail[2], tail[3]])
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

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
    pub fields: [Fields; 2],
    pub limits: Limits,
    pub host: Option<HostPolicy>,
    pub epoch: u32,
    /// Its number, from 1 on, where there are several appliances.
    pub node: Option<u8>,
    /// How many there are.
    pub nodes: u16,
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
            fields: [Fields::Tuple; 2],
            limits: Limits {
                sessions_v4: 4096,
                sessions_v6: 1024,
                registrations: 4096,
                mappings: 256,
                ..Limits::default()
            },
            host: None,
            epoch: 1,
            node: None,
            nodes: 2,
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

pub struct World {
    pub workers: Vec<Worker<MemoryIo>>,
    pub control: Vec<ControlEnd>,
    /// The kernel's ends of the host interface.
    pub host: Vec<HostEnd>,
    pub published: Arc<Published>,
    pub now: u32,
    /// Hosts that do not answer ARP or neighbour solicitations.
    pub silent: Vec<IpAddr>,
    /// Frames sent, neighbour protocols left out, by port.
    pub sent: Vec<VecDeque<Vec<u8>>>,
    /// Announcements and answers of the appliance itself, by port.
    pub spoken: Vec<VecDeque<Vec<u8>>>,
    /// The worker whose queue the next frame comes by.
    pub arrive_at: usize,
    /// It was not asked, so its counters need not add up.
    pub dead: bool,
}

impl World {
    fn new(setup: &Setup) -> Self {
        let snapshot = Arc::new(setup.snapshot());
        let layout = Layout {
            ports: 4,
            services: 64,
            servers: 64,
            peers: 15,
        };
        let count = usize::from(setup.workers);
        let (published, publishers) = Published::new(count, layout);
        let mut tallies: Vec<_> = (0..count)
            .map(|_| Tally::new(&mut Heap, 64).unwrap())
            .collect();
        let boards: Vec<_> = tallies.iter().map(Tally::board).collect();
        let (mut workers, mut control, mut hosts) = (vec![], vec![], vec![]);
        for (rings, publisher) in Rings::mesh(setup.workers).into_iter().zip(publishers) {
            let (control_end, worker_end) = mailbox();
            control.push(control_end);
            let (host_end, host) = host::queues();
            host_end.stock(1500);
            hosts.push(host_end);
            let me = usize::from(rings.me());
            let others = boards
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != me)
                .map(|(_, b)| *b);
            let own = tallies.remove(0);
            let loads = Loads::new(&mut Heap, own, others.collect::<Vec<_>>()).unwrap();
            let parts = Parts {
                limits: setup.limits,
                snapshot: Arc::clone(&snapshot),
                rings,
                mailbox: worker_end,
                host,
                publisher,
                loads,
                secret: setup.secret,
                cookies: pair::cookies(setup),
                ha: setup.node.map(|node| pair::parts(node, setup)),
            };
            workers.push(Worker::new(MemoryIo::new(3), &mut Heap, parts, setup.start).unwrap());
        }
        let mut world = Self {
            workers,
            control,
            host: hosts,
            published,
            now: setup.start,
            silent: vec![],
            sent: vec![VecDeque::new(); 2],
            spoken: vec![VecDeque::new(); 2],
            arrive_at: 0,
            dead: false,
        };
        world.settle();
        world.sent.iter_mut().for_each(VecDeque::clear);
        world
    }

    /// Polls all workers until nothing moves, a millisecond a round; neighbours answer meanwhile.
    pub fn settle(&mut self) {
        for _ in 0..100 {
            self.now = self.now.wrapping_add(1);
            let mut busy = false;
            for worker in &mut self.workers {
                busy |= worker.poll(self.now);
            }
            busy |= self.collect();
            if !busy {
                return;
            }
        }
        panic!("the appliance does not come to rest");
    }

    /// Takes what was sent, and lets neighbours answer what was asked.
    pub fn collect(&mut self) -> bool {
        let mut moved = false;
        for worker in 0..self.workers.len() {
            for port in 0..2 {
                while let Some(frame) = self.workers[worker].io().tx[port].pop_front() {
                    moved = true;
                    match packet::neighbour_answer(frame.bytes()) {
                        packet::Neighbourly::Answer(target, answer) => {
                            if !self.silent.contains(&target) {
                                self.workers[0].io().rx[port]
                                    .push_back(VecFrame::new(&answer, 2048));
                            }
                        }
                        packet::Neighbourly::Ignore => {
                            self.spoken[port].push_back(frame.bytes().to_vec());
                        }
                        packet::Neighbourly::No => {
                            self.sent[port].push_back(frame.bytes().to_vec())
                        }
                    }
                }
            }
        }
        moved
    }

    /// Lets a frame come in by a port, and everything happen that follows.
    pub fn arrive(&mut self, port: PortId, bytes: &[u8]) {
        let at = self.arrive_at % self.workers.len();
        self.workers[at].io().rx[usize::from(port.0)].push_back(VecFrame::new(bytes, 2048));
        self.settle();
    }

    /// The oldest frame sent by a port; there must be one.
    pub fn left(&mut self, port: PortId) -> Vec<u8> {
        let frame = self.sent[usize::from(port.0)].pop_front();
        frame.unwrap_or_else(|| panic!("nothing left by port {}: {}", port.0, self.drops()))
    }

    /// Nothing was sent that the test has not seen.
    pub fn assert_quiet(&self) {
        for (port, sent) in self.sent.iter().enumerate() {
            assert!(sent.is_empty(), "port {port} sent {sent:02x?}");
        }
    }

    /// Sends one frame through and gives what leaves by the other port.
    pub fn through(&mut self, port: PortId, bytes: &[u8]) -> Vec<u8> {
        self.arrive(port, bytes);
        let frame = self.left(PortId(1 - port.0));
        self.assert_quiet();
        frame
    }

    /// The frame must be dropped for this reason, without an answer.
    pub fn dropped(&mut self, port: PortId, bytes: &[u8], reason: DropReason) {
        let before = self.drop_count(reason);
        self.arrive(port, bytes);
        self.assert_quiet();
        let after = self.drop_count(reason);
        assert_eq!(after - before, 1, "{}: {}", reason.name(), self.drops());
    }

    /// Lets time pass, with a poll every millisecond.
    pub fn pass_time(&mut self, ms: u32) {
        let until = self.now.wrapping_add(ms);
        while until.wrapping_sub(self.now).cast_signed() > 0 {
            self.settle();
        }
    }

    /// Publishes, and checks that every frame is accounted for.
    pub fn accounts(&mut self) {
        self.settle();
        let (mut out, mut taken) = (0, 0);
        for worker in 0..self.workers.len() {
            let values = self.published.worker(worker);
            assert_eq!(values.unaccounted(), 0, "worker {worker}: {}", self.drops());
            out += values.get(Slot::Worker(WorkerCounter::HandedOver));
            taken += values.get(Slot::Worker(WorkerCounter::TakenOver));
        }
        assert_eq!(out, taken, "frames are left between workers");
    }

    pub fn count(&mut self, counter: WorkerCounter) -> u64 {
        self.accounts();
        self.published.sum(Slot::Worker(counter))
    }

    pub fn drop_count(&mut self, reason: DropReason) -> u64 {
        self.accounts();
        self.published.sum(Slot::Drop(reason))
    }

    /// Drops by reason, for messages.
    pub fn drops(&self) -> String {
        let counted = DropReason::ALL
            .iter()
            .map(|&r| (r.name(), self.published.sum(Slot::Drop(r))));
        let counted: Vec<_> = counted.filter(|(_, n)| *n > 0).collect();
        format!("dropped {counted:?}")
    }

    /// Changes the configuration on all workers.
    pub fn swap(&mut self, setup: &Setup) {
        let snapshot = Arc::new(setup.snapshot());
        for control in &self.control {
            control.send(ToWorker::Swap(Arc::clone(&snapshot))).unwrap();
        }
        self.settle();
        for control in &self.control {
            let told = std::iter::from_fn(|| control.receive());
            let mut retired = told.filter(|told| !matches!(told, FromWorker::Event(_)));
            let Some(FromWorker::Retired(_)) = retired.next() else {
                panic!("the old snapshot did not come back");
            };
        }
        self.sent.iter_mut().for_each(VecDeque::clear);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !self.dead && !std::thread::panicking() {
            self.accounts();
        }
    }
}
