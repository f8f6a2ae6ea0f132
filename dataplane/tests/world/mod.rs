//! An appliance in memory for tests: any number of workers, two ports, and the hosts around them.
//!
//! Frames go in and come out as literal bytes; neighbours answer ARP and neighbour solicitations by
//! themselves unless told not to. After every exchange all counters must add up.
#![allow(dead_code, missing_docs, unreachable_pub)]

mod kernel;
pub mod packet;
pub mod pair;
pub mod redirecting;
pub mod router;
mod setup;
pub mod talk;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

// Not of all programs that have the world in them.
#[allow(unused_imports)]
pub use kernel::{kernel_got, kernel_sends};
#[allow(unused_imports)]
pub use setup::{Setup, round_robin, snat};
use sluice_dataplane::counters::DropReason;
use sluice_dataplane::handoff::Rings;
use sluice_dataplane::host::{self, HostEnd};
use sluice_dataplane::io::Frame;
use sluice_dataplane::io::memory::{Heap, MemoryIo, VecFrame};
use sluice_dataplane::lb::loads::{Loads, Tally};
use sluice_dataplane::mailbox::{ControlEnd, FromWorker, ToWorker, mailbox};
use sluice_dataplane::published::{Layout, Published, Slot, WorkerCounter};
pub use sluice_dataplane::snapshot::PortId;
use sluice_dataplane::worker::{Parts, Worker};
use sluice_wire::MacAddr;

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
