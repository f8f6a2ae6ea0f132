//! Counters that workers publish and control reads.
//!
//! Every worker has a block of its own cache lines and is its only writer, by type: there is one
//! [`Publisher`] for each. Stores are relaxed, no line is written by two cores, and no read-modify-
//! write instruction is used. All stores of one [`Publisher::publish`] become visible together: a
//! reader that meets a block half written reads it again, so that for each worker, at any moment
//! and to the frame,
//!
//! received + taken over + injected
//!     = forwarded + redirected + punted + consumed + dropped + held + handed over
//!
//! Summed over workers, what was handed over and not yet taken over lies in a ring between them.
//! All values count up from the start of the process and never go back, except those that say they
//! are what is there at the moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

use crate::counters::DropReason;
use crate::load;
use crate::snapshot::{PortId, ServerId, ServiceId};

mod names;

pub use names::{FlowCounter, PeerCounter, PortCounter, WorkerCounter};

/// How many ports, services and real servers there is room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Logical ports.
    pub ports: usize,
    /// Services, [`ServiceId::NONE`] included.
    pub services: usize,
    /// Real servers, [`ServerId::NONE`] included.
    pub servers: usize,
    /// Other nodes.
    pub peers: usize,
}

const DROPS_AT: usize = WorkerCounter::COUNT;
const BURSTS_AT: usize = DROPS_AT + DropReason::COUNT;
const ROUNDS_AT: usize = BURSTS_AT + load::BURST_CLASSES;
const AGES_AT: usize = ROUNDS_AT + load::ROUND_CLASSES;
const PORTS_AT: usize = AGES_AT + load::AGE_CLASSES;

impl Layout {
    fn services_at(&self) -> usize {
        PORTS_AT + self.ports * PortCounter::COUNT
    }

    fn servers_at(&self) -> usize {
        self.services_at() + self.services * FlowCounter::COUNT
    }

    fn peers_at(&self) -> usize {
        self.servers_at() + self.servers * FlowCounter::COUNT
    }

    fn len(&self) -> usize {
        self.peers_at() + self.peers * PeerCounter::COUNT
    }

    fn slot(&self, at: Slot) -> Option<usize> {
        let within = |index: usize, limit: usize| (index < limit).then_some(index);
        Some(match at {
            Slot::Worker(counter) => counter as usize,
            Slot::Drop(reason) => DROPS_AT + reason as usize,
            Slot::Burst(class) => BURSTS_AT + within(class, load::BURST_CLASSES)?,
            Slot::Round(class) => ROUNDS_AT + within(class, load::ROUND_CLASSES)?,
            Slot::Age(class) => AGES_AT + within(class, load::AGE_CLASSES)?,
            Slot::Port(port, counter) => {
                let port = within(usize::from(port.0), self.ports)?;
                PORTS_AT + port * PortCounter::COUNT + counter as usize
            }
            Slot::Service(service, counter) => {
                let service = within(usize::from(service.0), self.services)?;
                self.services_at() + service * FlowCounter::COUNT + counter as usize
            }
            Slot::Server(server, counter) => {
                let server = within(usize::from(server.0), self.servers)?;
                self.servers_at() + server * FlowCounter::COUNT + counter as usize
            }
            Slot::Peer(peer, counter) => {
                let peer = within(peer, self.peers)?;
                self.peers_at() + peer * PeerCounter::COUNT + counter as usize
            }
        })
    }
}

/// One counter of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// Of the worker as a whole.
    Worker(WorkerCounter),
    /// Frames dropped for a reason.
    Drop(DropReason),
    /// Bursts received, by the class of their size; see [`load`].
    Burst(usize),
    /// Rounds that found something, by the class of the time that they took; see [`load`].
    Round(usize),
    /// Sessions that ended, by the class of their age; see [`load`].
    Age(usize),
    /// Of a logical port.
    Port(PortId, PortCounter),
    /// Of a service.
    Service(ServiceId, FlowCounter),
    /// Of a real server.
    Server(ServerId, FlowCounter),
    /// Of another node, by its place in the configuration.
    Peer(usize, PeerCounter),
}

/// Two cache lines, because adjacent-line prefetchers fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Line([AtomicU64; LINE]);

const LINE: usize = 16;

struct Block {
    /// Odd while the worker is writing.
    version: AtomicU32,
    lines: Box<[Line]>,
}

impl Block {
    #[inline]
    fn counter(&self, slot: usize) -> Option<&AtomicU64> {
        self.lines.get(slot / LINE)?.0.get(slot % LINE)
    }

    fn read(&self, into: &mut [u64]) {
        for (value, counter) in into
            .iter_mut()
            .zip(self.lines.iter().flat_map(|line| &line.0))
        {
            *value = counter.load(Ordering::Relaxed);
        }
    }
}

/// The counters of all workers, for reading.
pub struct Published {
    layout: Layout,
    blocks: Box<[Block]>,
}

impl Published {
    /// Room for the counters of `workers` workers, and the writing end of each.
    pub fn new(workers: usize, layout: Layout) -> (Arc<Self>, Vec<Publisher>) {
        let block = |_| Block {
            version: AtomicU32::new(0),
            lines: (0..layout.len().div_ceil(LINE))
                .map(|_| Line::default())
                .collect(),
        };
        let published = Arc::new(Self {
            layout,
            blocks: (0..workers).map(block).collect(),
        });
        let publishers = (0..workers)
            .map(|worker| Publisher {
                published: Arc::clone(&published),
                worker,
            })
            .collect();
        (published, publishers)
    }

    /// What there is room for.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.blocks.len()
    }

    /// All counters of one worker, of one moment. Zeros for a worker that is not there.
    ///
    /// May sleep for some milliseconds when the worker lost its core in the middle of publishing, and
    /// then takes what it has: a worker that was stopped for good can still be read.
    pub fn worker(&self, worker: usize) -> Values {
        let mut values = Values::zero(self.layout);
        let Some(block) = self.blocks.get(worker) else {
            return values;
        };
        for attempt in 0..READ_TRIES {
            let before = block.version.load(Ordering::Acquire);
            if before % 2 == 0 {
                block.read(&mut values.values);
                fence(Ordering::Acquire);
                if block.version.load(Ordering::Relaxed) == before {
                    return values;
                }
            }
            if attempt < SPIN_TRIES {
                std::hint::spin_loop();
            } else {
                std::thread::sleep(Duration::from_micros(20));
            }
        }
        block.read(&mut values.values);
        values
    }

    /// One counter of one worker; 0 for a worker that is not there. May be taken in the middle of a burst.
    /// [`worker`](Self::worker) copies all that there are, for one it is too much.
    pub fn one(&self, worker: usize, at: Slot) -> u64 {
        let slot = self.layout.slot(at);
        let counter = self
            .blocks
            .get(worker)
            .zip(slot)
            .and_then(|(block, slot)| block.counter(slot));
        counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// One counter, summed over workers. May be taken in the middle of a burst.
    pub fn sum(&self, at: Slot) -> u64 {
        let Some(slot) = self.layout.slot(at) else {
            return 0;
        };
        self.blocks
            .iter()
            .filter_map(|block| block.counter(slot))
            .fold(0, |sum, counter| {
                sum.wrapping_add(counter.load(Ordering::Relaxed))
            })
    }

    /// Sessions that a real server has now, on all workers together.
    pub fn sessions_of(&self, server: ServerId) -> u64 {
        let ended = self.sum(Slot::Server(server, FlowCounter::Ended));
        self.sum(Slot::Server(server, FlowCounter::Opened))
            .saturating_sub(ended)
    }
}

const SPIN_TRIES: usize = 100;
const READ_TRIES: usize = 1000;

impl std::fmt::Debug for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Published")
            .field("layout", &self.layout)
            .field("workers", &self.blocks.len())
            .finish()
    }
}

/// The writing end of one worker's counters.
#[derive(Debug)]
pub struct Publisher {
    published: Arc<Published>,
    worker: usize,
}

impl Publisher {
    /// The counters of all workers.
    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// Lets `write` change counters; readers see all of its changes or none.
    #[inline]
    pub fn publish(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        let Some(block) = self.published.blocks.get(self.worker) else {
            return;
        };
        let version = block.version.load(Ordering::Relaxed);
        block
            .version
            .store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        write(&mut Writer {
            layout: &self.published.layout,
            block,
        });
        block
            .version
            .store(version.wrapping_add(2), Ordering::Release);
    }
}

/// Changes counters of one worker. Slots that the layout has no room for are ignored.
pub struct Writer<'a> {
    layout: &'a Layout,
    block: &'a Block,
}

impl Writer<'_> {
    /// Adds to a counter.
    #[inline]
    pub fn add(&mut self, at: Slot, n: u64) {
        if let Some(counter) = self.counter(at) {
            counter.store(
                counter.load(Ordering::Relaxed).wrapping_add(n),
                Ordering::Relaxed,
            );
        }
    }

    /// Sets a counter that the worker keeps the value of.
    #[inline]
    pub fn set(&mut self, at: Slot, value: u64) {
        if let Some(counter) = self.counter(at) {
            counter.store(value, Ordering::Relaxed);
        }
    }

    #[inline]
    fn counter(&self, at: Slot) -> Option<&AtomicU64> {
        self.block.counter(self.layout.slot(at)?)
    }
}

/// A copy of counters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Values {
    layout: Layout,
    values: Vec<u64>,
}

impl Values {
    /// All zero.
    pub fn zero(layout: Layout) -> Self {
        Self {
            layout,
            values: vec![0; layout.len()],
        }
    }

    /// One counter; 0 where the layout has no room for it.
    pub fn get(&self, at: Slot) -> u64 {
        let value = self
            .layout
            .slot(at)
            .and_then(|slot| self.values.get(slot).copied());
        value.unwrap_or(0)
    }

    /// Adds the counters of another worker, of the same layout.
    pub fn add(&mut self, other: &Self) {
        for (value, other) in self.values.iter_mut().zip(&other.values) {
            *value = value.wrapping_add(*other);
        }
    }

    /// Frames dropped, for any reason.
    pub fn dropped(&self) -> u64 {
        let drops = DropReason::ALL
            .iter()
            .map(|&reason| self.get(Slot::Drop(reason)));
        drops.fold(0, u64::wrapping_add)
    }

    /// What came in less what is accounted for, in frames: 0, or a frame was lost or counted twice.
    pub fn unaccounted(&self) -> i64 {
        let count = |counter| self.get(Slot::Worker(counter));
        let came = [
            WorkerCounter::Received,
            WorkerCounter::TakenOver,
            WorkerCounter::Injected,
        ];
        let went = [
            WorkerCounter::Forwarded,
            WorkerCounter::Redirected,
            WorkerCounter::Punted,
            WorkerCounter::Consumed,
            WorkerCounter::Held,
            WorkerCounter::HandedOver,
        ];
        let came = came.map(count).into_iter().fold(0, u64::wrapping_add);
        let went = went
            .map(count)
            .into_iter()
            .fold(self.dropped(), u64::wrapping_add);
        came.wrapping_sub(went).cast_signed()
    }
}

#[cfg(test)]
mod tests;
