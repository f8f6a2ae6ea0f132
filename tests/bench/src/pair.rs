//! Two appliances of one worker each, by turns in this thread, and the link between them in memory.
//!
//! Frames are made and taken away outside of what is timed, so each node's time is its own.

use std::time::{Duration, Instant};

use sluice_dataplane::io::{DeviceId, Memory};
use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::worker::HaParts;
use sluice_wire::MacAddr;

use crate::appliance::Appliance;
use crate::groups::Failed;
use crate::scenario;

pub(crate) mod frames;
mod ports;

use ports::{Ports, Wire};

/// The device of the link.
const LINK: usize = 2;
/// Milliseconds that two nodes take to meet, and some.
const MEETING_MS: u32 = 1500;
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// What a worker counts of a peer that has told everything.
const PRESENT: u64 = 3;

/// A node, and the time that its worker took.
pub(crate) struct Node {
    appliance: Appliance<Ports>,
    pub(crate) took: Duration,
}

impl Node {
    pub(crate) fn io(&mut self) -> &mut Ports {
        self.appliance.workers[0].io()
    }

    /// One round, timed.
    pub(crate) fn poll(&mut self, now: u32) {
        self.io().now = now;
        let start = Instant::now();
        self.appliance.workers[0].poll(now);
        self.took += start.elapsed();
    }

    pub(crate) fn sum(&self, counter: WorkerCounter) -> u64 {
        self.appliance.sum(counter)
    }

    /// Has all next hops known.
    fn resolve(&mut self, now: &mut u32) {
        let frame = frames::udp(&scenario::flow(1 << 20));
        self.io().offer(0, &frame);
        for _ in 0..50 {
            *now += 1;
            self.poll(*now);
        }
        self.io().drain(1, |_| {});
    }
}

/// How a pair is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Sessions that each node has room for.
    pub(crate) sessions: usize,
    /// Between two heartbeats, milliseconds.
    pub(crate) heartbeat_ms: u32,
    /// Heartbeats that may be missing.
    pub(crate) dead_after: u32,
}

impl Shape {
    /// The same with room for so many sessions.
    pub(crate) const fn with_room(self, sessions: usize) -> Self {
        Self { sessions, ..self }
    }
}

/// Nodes 1 and 2; a dead one is `None`.
pub(crate) struct Pair {
    pub(crate) nodes: [Option<Node>; 2],
    wires: [Wire; 2],
    shape: Shape,
    boots: u64,
    pub(crate) now: u32,
    pub(crate) delay: u32,
}

impl Pair {
    /// Two nodes that translate sources and have met.
    pub(crate) fn new(shape: Shape, memory: &mut impl Memory) -> Result<Self, Failed> {
        let mut pair = Self {
            nodes: [None, None],
            wires: Default::default(),
            shape,
            boots: 0,
            now: 0,
            delay: 0,
        };
        pair.start(0, memory)?;
        pair.start(1, memory)?;
        pair.run(MEETING_MS);
        // Both know their next hops, each by a session of its own that is told of.
        let mut now = pair.now;
        for node in [0, 1] {
            let mut until = now;
            pair.node(node).resolve(&mut until);
            pair.now = pair.now.max(until);
            now = until;
        }
        pair.run(MEETING_MS);
        for node in pair.nodes.iter().flatten() {
            if node.sum(WorkerCounter::PeerState) != PRESENT {
                return Err(Failed("the nodes did not meet".into()));
            }
        }
        Ok(pair)
    }

    /// A node starts.
    pub(crate) fn start(&mut self, node: usize, memory: &mut impl Memory) -> Result<(), Failed> {
        self.boots += 1;
        self.wires.iter().for_each(|wire| wire.borrow_mut().clear());
        let ports = self.ports(node);
        self.nodes[node] = Some(Node {
            appliance: self.appliance(Some(node), ports, memory)?,
            took: Duration::ZERO,
        });
        Ok(())
    }

    fn ports(&self, node: usize) -> Ports {
        let wires = [&self.wires[node], &self.wires[1 - node]];
        Ports::new(wires, self.now)
    }

    fn appliance(
        &self,
        node: Option<usize>,
        ports: Ports,
        memory: &mut impl Memory,
    ) -> Result<Appliance<Ports>, Failed> {
        let number = node.unwrap_or(0) as u8 + 1;
        let peer = 3 - number;
        let Shape {
            sessions,
            heartbeat_ms,
            dead_after,
        } = self.shape;
        let ha = match node {
            Some(_) => format!(
                "\n[ha]\nnode = {number}\npeer = {peer}\ndevice = \"net_null2\"\nkey = \"{KEY}\"\n\
                 heartbeat_ms = {heartbeat_ms}\ndead_after = {dead_after}\n"
            ),
            None => String::new(),
        };
        let text = scenario::nat44(
            &[0],
            sessions,
            ["net_null0", "net_null1"],
            &format!("{}{ha}", scenario::LONG),
        );
        let mut seed = [number; 32];
        seed[..8].copy_from_slice(&self.boots.to_be_bytes());
        let parts = |ha: &sluice_control::config::Ha| HaParts {
            node: ha.node,
            peers: ha.peers.clone(),
            shares: ha.shares,
            device: DeviceId(LINK as u16),
            mac: MacAddr([2, 0, 0, 0, 1, number]),
            mtu: 1500,
            tunnel: None,
            key: ha.key.0,
            next_key: None,
            boot: self.boots,
            seed,
            peer_workers: 1,
            sync: true,
            inline_budget_ms: ha.inline_budget_ms,
            backup: false,
            heartbeat_ms: ha.heartbeat_ms,
            dead_after: ha.dead_after,
        };
        Appliance::paired(&text, vec![ports], memory, self.now, parts)
    }

    /// The same appliance with no other one to speak to, its next hops known.
    pub(crate) fn single(&self, memory: &mut impl Memory) -> Result<Node, Failed> {
        let mut node = Node {
            appliance: self.appliance(None, self.ports(0), memory)?,
            took: Duration::ZERO,
        };
        let mut now = self.now;
        node.resolve(&mut now);
        Ok(node)
    }

    pub(crate) fn node(&mut self, node: usize) -> &mut Node {
        self.nodes[node].as_mut().expect("it lives")
    }

    /// One node does one round.
    pub(crate) fn poll_one(&mut self, node: usize) {
        let (now, delay) = (self.now, self.delay);
        if let Some(node) = &mut self.nodes[node] {
            node.io().delay = delay;
            node.poll(now);
        }
    }

    /// Both nodes do one round.
    pub(crate) fn poll(&mut self) {
        self.poll_one(0);
        self.poll_one(1);
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, ms: u32) {
        for _ in 0..ms {
            self.now += 1;
            self.poll();
            self.poll();
        }
    }

    /// The times that both took begin anew. Gives those so far.
    pub(crate) fn restart_clocks(&mut self) -> [Duration; 2] {
        let clock = |node: &mut Option<Node>| {
            node.as_mut()
                .map_or(Duration::ZERO, |node| std::mem::take(&mut node.took))
        };
        self.nodes.each_mut().map(clock)
    }

    /// A node dies.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node] = None;
        self.wires.iter().for_each(|wire| wire.borrow_mut().clear());
    }
}
