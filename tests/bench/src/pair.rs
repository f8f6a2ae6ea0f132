//! Two appliances of one worker each, by turns in this thread, and the link between them in memory.
//!
//! Frames are made and taken away outside of what is timed, so each node's time is its own.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sluice_dataplane::io::{DeviceId, Frame, Io, Memory, RxBurst, RxMeta, TxBurst};
use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::worker::HaParts;
use sluice_wire::checksum::Sum;
use sluice_wire::{Family, MacAddr, V4, proto};

use crate::appliance::Appliance;
use crate::groups::Failed;
use crate::packets::{MACS, arp_answer};
use crate::scenario::{self, Tuple};

const HEADROOM: usize = 128;
const BUFFER: usize = 2048;
/// The device of the link.
pub(crate) const LINK: usize = 2;
/// Milliseconds that two nodes take to meet, and some.
const MEETING_MS: u32 = 400;
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A frame in a buffer that goes back to where it came from.
pub(crate) struct Large {
    bytes: Box<[u8; BUFFER]>,
    start: usize,
    len: usize,
}

impl Large {
    fn new() -> Self {
        Self {
            bytes: Box::new([0; BUFFER]),
            start: HEADROOM,
            len: 0,
        }
    }

    fn holding(mut self, frame: &[u8]) -> Self {
        (self.start, self.len) = (HEADROOM, frame.len());
        self.bytes[HEADROOM..HEADROOM + frame.len()].copy_from_slice(frame);
        self
    }
}

impl Frame for Large {
    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
    #[inline]
    fn meta(&self) -> RxMeta {
        RxMeta::default()
    }
    fn grow_front(&mut self, n: usize) -> bool {
        let grown = self.start.checked_sub(n);
        if let Some(start) = grown {
            (self.start, self.len) = (start, self.len + n);
        }
        grown.is_some()
    }
    fn cut_front(&mut self, n: usize) {
        let n = n.min(self.len);
        (self.start, self.len) = (self.start + n, self.len - n);
    }
    fn set_len(&mut self, len: usize) -> bool {
        let fits = self.start + len <= self.bytes.len();
        if fits {
            self.len = len;
        }
        fits
    }
}

/// Frames on their way to one node, and when they arrive.
type Wire = Rc<RefCell<VecDeque<(u32, Large)>>>;

/// One node's devices: inside, outside, and the link.
pub(crate) struct Ports {
    waiting: [VecDeque<Large>; 2],
    pub(crate) sent: [VecDeque<Large>; 2],
    free: Vec<Large>,
    from_peer: Wire,
    to_peer: Wire,
    now: u32,
    /// Of the link, milliseconds.
    delay: u32,
}

impl Ports {
    fn take(&mut self) -> Large {
        self.free.pop().unwrap_or_else(Large::new)
    }

    /// A frame comes in by a device.
    pub(crate) fn offer(&mut self, device: usize, frame: &[u8]) {
        let buffer = self.take().holding(frame);
        self.waiting[device].push_back(buffer);
    }

    /// Takes what was sent by a device.
    pub(crate) fn drain(&mut self, device: usize, mut visit: impl FnMut(&[u8])) {
        while let Some(frame) = self.sent[device].pop_front() {
            visit(frame.bytes());
            self.free.push(frame);
        }
    }
}

impl Io for Ports {
    type Frame = Large;

    fn rx(&mut self, device: DeviceId, burst: &mut RxBurst<Large>) {
        let device = usize::from(device.0);
        if device == LINK {
            let mut wire = self.from_peer.borrow_mut();
            while burst.remaining_capacity() > 0
                && wire.front().is_some_and(|(when, _)| *when <= self.now)
            {
                burst.extend(wire.pop_front().map(|(_, frame)| frame));
            }
        } else if let Some(waiting) = self.waiting.get_mut(device) {
            let count = waiting.len().min(burst.remaining_capacity());
            burst.extend(waiting.drain(..count));
        }
    }

    fn tx(&mut self, device: DeviceId, burst: &mut TxBurst<Large>) {
        let device = usize::from(device.0);
        for frame in burst.drain(..) {
            if device == LINK {
                let when = self.now + self.delay;
                self.to_peer.borrow_mut().push_back((when, frame));
            } else if let Some(answer) = arp_answer(frame.bytes()) {
                self.waiting[device].push_back(frame.holding(&answer));
            } else {
                self.sent[device].push_back(frame);
            }
        }
    }

    fn can_tx(&self, _device: DeviceId) -> bool {
        true
    }

    fn alloc(&mut self) -> Option<Large> {
        let mut buffer = self.take();
        (buffer.start, buffer.len) = (HEADROOM, 0);
        Some(buffer)
    }

    fn free(&mut self, frames: &mut TxBurst<Large>) {
        self.free.extend(frames.drain(..));
    }
}

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
        let frame = udp(&scenario::flow(1 << 20));
        self.io().offer(0, &frame);
        for _ in 0..50 {
            *now += 1;
            self.poll(*now);
        }
        self.io().drain(1, |_| {});
    }
}

/// Nodes 1 and 2; a dead one is `None`.
pub(crate) struct Pair {
    pub(crate) nodes: [Option<Node>; 2],
    wires: [Wire; 2],
    sessions: usize,
    boots: u64,
    pub(crate) now: u32,
    pub(crate) delay: u32,
}

impl Pair {
    /// Two nodes that translate the sources of so many sessions and have met.
    pub(crate) fn new(sessions: usize, memory: &mut impl Memory) -> Result<Self, Failed> {
        let mut pair = Self {
            nodes: [None, None],
            wires: Default::default(),
            sessions,
            boots: 0,
            now: 0,
            delay: 0,
        };
        pair.start(0, memory)?;
        pair.start(1, memory)?;
        pair.run(MEETING_MS);
        for node in [0, 1] {
            let now = &mut pair.now.clone();
            pair.node(node).resolve(now);
        }
        pair.now += 50;
        pair.run(1000);
        for node in pair.nodes.iter().flatten() {
            if node.sum(WorkerCounter::PeerState) != 3 {
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
        Ports {
            waiting: Default::default(),
            sent: Default::default(),
            free: (0..4096).map(|_| Large::new()).collect(),
            from_peer: Rc::clone(&self.wires[node]),
            to_peer: Rc::clone(&self.wires[1 - node]),
            now: self.now,
            delay: self.delay,
        }
    }

    fn appliance(
        &self,
        node: Option<usize>,
        ports: Ports,
        memory: &mut impl Memory,
    ) -> Result<Appliance<Ports>, Failed> {
        let number = node.unwrap_or(0) as u8 + 1;
        let peer = 3 - number;
        let ha = match node {
            Some(_) => format!(
                "\n[ha]\nnode = {number}\npeer = {peer}\ndevice = \"net_null2\"\nkey = \"{KEY}\"\n"
            ),
            None => String::new(),
        };
        let text = scenario::nat44(
            &[0],
            self.sessions,
            ["net_null0", "net_null1"],
            &format!("{}{ha}", scenario::LONG),
        );
        let mut seed = [number; 32];
        seed[..8].copy_from_slice(&self.boots.to_be_bytes());
        let parts = |ha: &sluice_control::config::Ha| HaParts {
            node: ha.node,
            peer: ha.peer,
            device: DeviceId(LINK as u16),
            mac: MacAddr([2, 0, 0, 0, 1, number]),
            mtu: 1500,
            key: ha.key.0,
            next_key: None,
            boot: self.boots,
            seed,
            peer_workers: 1,
            sync: true,
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

    /// Both nodes do one round.
    pub(crate) fn poll(&mut self) {
        let (now, delay) = (self.now, self.delay);
        for node in self.nodes.iter_mut().flatten() {
            node.io().delay = delay;
            node.poll(now);
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, ms: u32) {
        for _ in 0..ms {
            self.now += 1;
            self.poll();
            self.poll();
        }
    }

    /// A node dies.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node] = None;
        self.wires.iter().for_each(|wire| wire.borrow_mut().clear());
    }
}

/// A frame of a flow, as it comes in from inside.
pub(crate) fn udp(tuple: &Tuple) -> Vec<u8> {
    frame(
        tuple,
        proto::UDP,
        MACS[0],
        &[0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
    )
}

/// A TCP segment; `device` is the one that it comes in by.
pub(crate) fn tcp(tuple: &Tuple, device: usize, flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    let mut rest = vec![];
    rest.extend(seq.to_be_bytes());
    rest.extend(ack.to_be_bytes());
    rest.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    frame(tuple, proto::TCP, MACS[device], &rest)
}

/// `rest`: what follows the ports, checksum zero.
fn frame(tuple: &Tuple, number: u8, to: MacAddr, rest: &[u8]) -> Vec<u8> {
    let mut body = vec![];
    body.extend(tuple.sport.to_be_bytes());
    body.extend(tuple.dport.to_be_bytes());
    body.extend(rest);
    let pair = V4::pack(tuple.src.into(), tuple.dst.into());
    let sum = Sum::default().pseudo::<V4>(pair, number, body.len() as u32);
    let sum = sum.bytes(&body);
    let (at, sum) = if number == proto::UDP {
        (6, sum.checksum_udp())
    } else {
        (16, sum.checksum())
    };
    body[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
    let mut frame = vec![];
    frame.extend(to.0);
    frame.extend([2, 0, 0, 0, 0, 9, 8, 0, 0x45, 0]);
    frame.extend((20 + body.len() as u16).to_be_bytes());
    frame.extend([0, 1, 0, 0, 64, number, 0, 0]);
    frame.extend(tuple.src.octets());
    frame.extend(tuple.dst.octets());
    let sum = Sum::default().bytes(&frame[14..34]).checksum();
    frame[24..26].copy_from_slice(&sum.to_ne_bytes());
    frame.extend(body);
    frame
}

/// Addresses and ports of a frame without options.
pub(crate) fn tuple(frame: &[u8]) -> Tuple {
    let address = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    Tuple {
        src: address(26),
        dst: address(30),
        sport: port(34),
        dport: port(36),
    }
}

/// The tuple of the answer.
pub(crate) fn reverse(tuple: &Tuple) -> Tuple {
    Tuple {
        src: tuple.dst,
        dst: tuple.src,
        sport: tuple.dport,
        dport: tuple.sport,
    }
}
