//! One appliance of the two.

use std::net::IpAddr;

use sluice_dataplane::io::Frame;
use sluice_dataplane::io::memory::VecFrame;
use sluice_dataplane::mailbox::{
    Cursor, Filter, FromWorker, RequestId, SessionPage, SessionRow, ToWorker,
};
use sluice_dataplane::published::{Slot, WorkerCounter};
use sluice_wire::Tuple;

use crate::world::{PortId, Setup, World};

/// The device of the HA link.
const LINK: usize = 2;
/// Frames that a queue of a device holds.
const QUEUE: usize = 512;
/// Steps after which the accounts are looked at.
const ACCOUNTS_EVERY: u64 = 11;
/// Times that workers look at their queues in a millisecond.
const ROUNDS: usize = 2;

pub(crate) struct Node {
    pub(crate) world: World,
    /// What its clock is ahead of the simulator's.
    ahead: u32,
    /// It does nothing until then.
    pub(crate) stalled_until: u64,
    /// It was told what the other one had when it started.
    pub(crate) told: bool,
    /// First packets that it had to send directly so far, and before its last step.
    direct: [u64; 2],
}

impl Node {
    pub(crate) fn new(setup: &Setup, now: u64) -> Self {
        let world = setup.start();
        Self {
            ahead: world.now.wrapping_sub(now as u32),
            world,
            stalled_until: 0,
            told: false,
            direct: [0; 2],
        }
    }

    /// It dies on the spot: its counters need not add up.
    pub(crate) fn die(mut self) {
        self.world.dead = true;
    }

    /// A frame comes in by a device, at some worker's queue.
    pub(crate) fn receive(&mut self, device: usize, frame: &[u8], random: u32) {
        let workers = self.world.workers.len();
        let io = self.world.workers[random as usize % workers].io();
        if io.rx[device].len() < QUEUE {
            io.rx[device].push_back(VecFrame::new(frame, 2048));
        }
    }

    pub(crate) fn receive_ha(&mut self, frame: &[u8], random: u32) {
        self.receive(LINK, frame, random);
    }

    /// A millisecond passes.
    pub(crate) fn step(&mut self, now: u64, random: u32) {
        if now < self.stalled_until {
            return;
        }
        self.world.now = (now as u32).wrapping_add(self.ahead);
        for round in 0..ROUNDS {
            self.poll(random as usize >> (8 * round));
        }
        self.told |= self
            .world
            .published
            .sum(Slot::Worker(WorkerCounter::PeerState))
            == 3 * self.world.workers.len() as u64;
        let direct = Slot::Worker(WorkerCounter::InlineDirect);
        self.direct = [self.world.published.sum(direct), self.direct[0]];
        // What is published is true at any time; reading it takes longer than a step.
        if !now.is_multiple_of(ACCOUNTS_EVERY) {
            return;
        }
        for worker in 0..self.world.workers.len() {
            let values = self.world.published.worker(worker);
            assert_eq!(
                values.unaccounted(),
                0,
                "worker {worker} lost a packet: {}",
                self.world.drops()
            );
        }
    }

    /// Whether it had to send a first packet directly a moment ago.
    pub(crate) fn was_direct(&self) -> bool {
        self.direct[0] != self.direct[1]
    }

    fn poll(&mut self, first: usize) {
        let (count, now) = (self.world.workers.len(), self.world.now);
        for at in 0..count {
            self.world.workers[(first + at) % count].poll(now);
        }
        self.world.collect();
    }

    /// The nodes that its workers take for the owner of packets of a tuple, without more.
    pub(crate) fn pointed_at(&self, tuple: &Tuple) -> Vec<u8> {
        let workers = self.world.workers.iter();
        workers.filter_map(|one| one.pointed_at(tuple)).collect()
    }

    /// Tuples of which it knows no more than the owner.
    pub(crate) fn pointers(&self) -> u64 {
        let published = &self.world.published;
        published.sum(Slot::Worker(WorkerCounter::HaPointers))
    }

    /// What it sent by a port.
    pub(crate) fn sent(&mut self, port: PortId) -> Vec<Vec<u8>> {
        self.world.sent[usize::from(port.0)].drain(..).collect()
    }

    /// What it sent by the HA link.
    pub(crate) fn sent_ha(&mut self) -> Vec<Vec<u8>> {
        let workers = self.world.workers.iter_mut();
        let frames = workers.flat_map(|worker| std::mem::take(&mut worker.io().tx[LINK]));
        frames.map(|frame| frame.bytes().to_vec()).collect()
    }

    /// All sessions, while nothing is received.
    pub(crate) fn sessions(&mut self) -> Vec<Row> {
        let queues: Vec<_> = self
            .world
            .workers
            .iter_mut()
            .map(|worker| std::mem::take(&mut worker.io().rx))
            .collect();
        for worker in &mut self.world.workers {
            worker.io().rx = (0..3).map(|_| Default::default()).collect();
        }
        let mut rows = vec![];
        for at in 0..self.world.workers.len() {
            let page = SessionPage::new(RequestId(1), Filter::default(), Cursor::default(), 8192);
            let message = ToWorker::ListSessions(Box::new(page));
            self.world.control[at].send(message).expect("there is room");
            let page = loop {
                let now = self.world.now;
                self.world.workers[at].poll(now);
                match self.world.control[at].receive() {
                    Some(FromWorker::Sessions(page)) => break page,
                    Some(FromWorker::Event(_)) | None => {}
                    Some(other) => panic!("{other:?}"),
                }
            };
            assert!(page.cursor.is_none(), "there are more");
            rows.extend(page.rows.iter().map(|row| Row::new(row, at)));
        }
        for (worker, rx) in self.world.workers.iter_mut().zip(queues) {
            worker.io().rx = rx;
        }
        rows
    }
}

/// A session as a node has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) original: Tuple,
    pub(crate) reply: Tuple,
    pub(crate) state: u8,
    pub(crate) replica: bool,
    pub(crate) worker: usize,
}

impl Row {
    fn new(row: &SessionRow, worker: usize) -> Self {
        Self {
            original: row.original,
            reply: row.reply,
            state: row.state,
            replica: row.replica,
            worker,
        }
    }

    /// What tells it apart from all others.
    pub(crate) fn key(&self) -> (u8, IpAddr, u16, IpAddr, u16) {
        let Tuple {
            proto,
            src,
            sport,
            dst,
            dport,
        } = self.original;
        (proto, src, sport, dst, dport)
    }
}
