//! Two appliances or more in memory, with a switch between their HA devices that delays, loses and can be
//! cut.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use sluice_dataplane::cookie::Cookies;
use sluice_dataplane::counters::DropReason;
use sluice_dataplane::io::memory::VecFrame;
use sluice_dataplane::io::{DeviceId, Frame};
use sluice_dataplane::mailbox::{RoleOrders, ToWorker};
use sluice_dataplane::nat::rules::{Filtering, Mapping, SnatPool, SnatRule, SourceNat};
use sluice_dataplane::published::{Slot, WorkerCounter};
use sluice_dataplane::snapshot::{Local, ServiceId};
use sluice_dataplane::worker::HaParts;
use sluice_wire::MacAddr;

use super::router::{Router, tunnels};
use super::{PortId, Setup, World, ip};

/// The device of the HA link.
const LINK: usize = 2;
/// Longer than greetings and a bulk sync of a small table take on a wire without delay.
const MEETING_MS: u32 = 400;
/// Longer than a heartbeat may be missing.
pub const SILENCE_MS: u32 = 150;

/// The MAC address of a node on the HA link.
pub fn link_mac(node: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, node])
}

/// The nodes, of `count`, that a frame on the HA link is for, but for the one that it comes from; by
/// their places, which are one less than their numbers.
pub fn receivers(frame: &[u8], from: usize, count: usize) -> Vec<usize> {
    let is_for = |at: &usize| frame[0] & 1 == 1 || frame[..6] == link_mac(*at as u8 + 1).0;
    let others = (0..count).filter(|&at| at != from);
    others.filter(is_for).collect()
}

/// What node `node` is told of the others.
pub fn parts(node: u8, setup: &Setup) -> HaParts {
    let drawn = || BOOTS.fetch_add(1, Ordering::Relaxed);
    let boot = setup.boot.unwrap_or_else(drawn);
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&boot.to_be_bytes());
    HaParts {
        node,
        peers: (1..=setup.nodes as u8)
            .filter(|&peer| peer != node)
            .collect(),
        shares: setup.nodes,
        device: DeviceId(LINK as u16),
        mac: link_mac(node),
        mtu: setup.link_mtu,
        tunnel: setup.tunnel.map(|kind| tunnels(kind, node, setup.nodes)),
        key: [7; 32],
        next_key: None,
        boot,
        seed,
        peer_workers: setup.workers.max(4),
        sync: true,
        inline_budget_ms: 200,
        backup: setup.backup,
        heartbeat_ms: 20,
        dead_after: 5,
    }
}

/// What its connections without a session are known by.
pub fn cookies(setup: &Setup) -> Cookies {
    match setup.node {
        Some(_) => Cookies::shared(&[7; 32], None, setup.clock.wrapping_sub(setup.start)),
        None => Cookies::new([setup.secret[0], setup.secret[1]]),
    }
}

/// So that a node that starts again is another one.
static BOOTS: AtomicU64 = AtomicU64::new(1);

/// A host inside, and a server outside.
pub const HOST: &str = "10.0.0.7";
pub const SERVER: &str = "198.51.100.9";
/// What the inside is translated to, and its ports.
pub const EXTERNAL: &str = "192.0.2.10";
pub const POOL: (u16, u16) = (1024, 65535);

/// A node that translates sources of the inside.
pub fn snat(node: u8) -> Setup {
    Setup {
        snat_rules: vec![SnatRule {
            service: ServiceId(0),
            ..super::snat(SourceNat::Pool(0))
        }],
        snat_pools: vec![SnatPool {
            name: "wan".into(),
            addresses: vec![ip(EXTERNAL)],
            ports: POOL,
            mapping: Mapping::EndpointDependent,
            filtering: Filtering::EndpointDependent,
            parity: true,
        }],
        local: vec![(ip(EXTERNAL), Local::Nat)],
        node: Some(node),
        ..Setup::default()
    }
}

/// Source port of a frame without options.
pub fn sport(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[34], frame[35]])
}

pub struct Pair {
    /// Nodes 1, 2 and so on; `None` is dead.
    pub nodes: Vec<Option<World>>,
    /// What is on its way to each node, and when it arrives.
    wire: Vec<VecDeque<(u32, Vec<u8>)>>,
    /// The same of the network inside, where heartbeats go as well.
    witness: Vec<VecDeque<(u32, Vec<u8>)>>,
    pub witness_cut: bool,
    /// A node that is not heard by the witness, and hears.
    pub mute: Option<u8>,
    pub now: u32,
    /// Of the wire, milliseconds.
    pub delay: u32,
    pub cut: bool,
    /// Nodes that cannot hear each other by the wire.
    pub severed: Vec<(u8, u8)>,
    /// Every n-th frame of the HA protocol is lost; 0: none.
    pub lose_every: u32,
    carried: u32,
    /// Between their HA links, where they are no neighbours.
    pub router: Option<Router>,
}

impl Pair {
    /// Nodes that have met: as many as the first one thinks.
    pub fn new(setup: impl Fn(u8) -> Setup) -> Self {
        let count = setup(1).nodes as u8;
        let nodes: Vec<_> = (1..=count).map(|node| Some(setup(node).start())).collect();
        let mut pair = Self {
            wire: nodes.iter().map(|_| VecDeque::new()).collect(),
            witness: nodes.iter().map(|_| VecDeque::new()).collect(),
            nodes,
            witness_cut: false,
            mute: None,
            now: 0,
            delay: 0,
            cut: false,
            severed: vec![],
            lose_every: 0,
            carried: 0,
            router: setup(1).tunnel.map(|kind| Router {
                mtu: usize::from(setup(1).link_mtu) + kind.overhead(),
                ..Router::default()
            }),
        };
        pair.run(MEETING_MS);
        for node in 1..=count {
            assert_eq!(
                pair.sum(node, WorkerCounter::PeerState) % 3,
                0,
                "node {node} has met the others"
            );
        }
        pair
    }

    pub fn node(&mut self, node: u8) -> &mut World {
        self.nodes[usize::from(node) - 1]
            .as_mut()
            .expect("it lives")
    }

    /// Lets time pass on all nodes and on the wire.
    pub fn run(&mut self, ms: u32) {
        for _ in 0..ms {
            self.now += 1;
            for at in 0..self.nodes.len() {
                self.step(at);
            }
        }
    }

    fn step(&mut self, at: usize) {
        let Some(world) = &mut self.nodes[at] else {
            self.wire[at].clear();
            self.witness[at].clear();
            return;
        };
        while let Some((when, _)) = self.wire[at].front() {
            if *when > self.now {
                break;
            }
            let (_, frame) = self.wire[at].pop_front().expect("it is there");
            let worker = self.carried as usize % world.workers.len();
            world.workers[worker].io().rx[LINK].push_back(VecFrame::new(&frame, 2048));
        }
        while let Some((when, _)) = self.witness[at].front() {
            if *when > self.now {
                break;
            }
            let (_, frame) = self.witness[at].pop_front().expect("it is there");
            let last = world.workers.len() - 1;
            world.workers[last].io().rx[0].push_back(VecFrame::new(&frame, 2048));
        }
        world.settle();
        let (beats, rest) = std::mem::take(&mut world.sent[0])
            .into_iter()
            .partition::<VecDeque<_>, _>(|frame| frame[12..14] == [0x88, 0xb5]);
        world.sent[0] = rest;
        let workers = world.workers.iter_mut();
        let frames = workers.flat_map(|worker| std::mem::take(&mut worker.io().tx[LINK]));
        let frames: Vec<_> = frames.map(|frame| frame.bytes().to_vec()).collect();
        let count = self.nodes.len();
        let silent = self.witness_cut || self.mute.map(usize::from) == Some(at + 1);
        for frame in beats.iter().filter(|_| !silent) {
            for to in (0..count).filter(|&to| to != at) {
                self.witness[to].push_back((self.now, frame.clone()));
            }
        }
        for frame in frames {
            self.carried += 1;
            let ours = frame[12..14] == [0x88, 0xb5];
            let lost = ours && self.lose_every > 0 && self.carried.is_multiple_of(self.lose_every);
            if self.cut || lost {
                continue;
            }
            let to = match &mut self.router {
                Some(router) => router.carry(&frame, at),
                None => receivers(&frame, at, count)
                    .into_iter()
                    .map(|to| (to, frame.clone()))
                    .collect(),
            };
            for (to, frame) in to {
                if !self.is_severed(at, to) {
                    self.wire[to].push_back((self.now + self.delay, frame));
                }
            }
        }
    }

    fn is_severed(&self, from: usize, to: usize) -> bool {
        let ends = [(from, to), (to, from)];
        let ends = ends.map(|(a, b)| (a as u8 + 1, b as u8 + 1));
        ends.iter().any(|ends| self.severed.contains(ends))
    }

    /// A frame comes to a node, and everything follows that does within a few milliseconds more than
    /// the wire takes twice.
    pub fn arrive(&mut self, node: u8, port: PortId, frame: &[u8]) {
        self.put(node, port, frame);
        self.run(4 + 2 * self.delay);
    }

    /// A frame comes to a node, and no time passes.
    pub fn put(&mut self, node: u8, port: PortId, frame: &[u8]) {
        let world = self.node(node);
        let worker = world.arrive_at % world.workers.len();
        world.workers[worker].io().rx[usize::from(port.0)].push_back(VecFrame::new(frame, 2048));
    }

    /// The oldest frame that a node sent by a port; there must be one.
    pub fn left(&mut self, node: u8, port: PortId) -> Vec<u8> {
        self.node(node).left(port)
    }

    /// A frame comes to one node and leaves by one; nothing else leaves anywhere.
    pub fn through(&mut self, by: (u8, PortId), frame: &[u8], leaves: (u8, PortId)) -> Vec<u8> {
        self.arrive(by.0, by.1, frame);
        let out = self.left(leaves.0, leaves.1);
        self.nodes.iter().flatten().for_each(World::assert_quiet);
        out
    }

    /// A node dies on the spot.
    pub fn kill(&mut self, node: u8) {
        // Its counters need not add up: it was not asked.
        std::mem::forget(self.nodes[usize::from(node) - 1].take());
    }

    /// A node starts that was dead, and meets the other.
    pub fn start(&mut self, node: u8, setup: &Setup) {
        self.nodes[usize::from(node) - 1] = Some(setup.start());
        self.run(MEETING_MS);
    }

    /// Control asks something of a node's roles.
    pub fn order(&mut self, node: u8, orders: RoleOrders) {
        let sent = self.node(node).control[0].send(ToWorker::Roles(orders));
        sent.expect("there is room");
    }

    /// A node is to go away, as soon as others have what it has.
    pub fn drain(&mut self, node: u8) {
        let draining = true;
        self.order(
            node,
            RoleOrders {
                draining,
                ..RoleOrders::default()
            },
        );
    }

    /// Whether a node may go.
    pub fn may_go(&mut self, node: u8) -> bool {
        let workers = self.node(node).workers.len() as u64;
        self.sum(node, WorkerCounter::HaPassed) == workers
    }

    /// A counter of a node.
    pub fn sum(&mut self, node: u8, counter: WorkerCounter) -> u64 {
        self.node(node).published.sum(Slot::Worker(counter))
    }

    pub fn drops(&mut self, node: u8, reason: DropReason) -> u64 {
        self.node(node).published.sum(Slot::Drop(reason))
    }
}
