//! Routers that are asked all the time whether they are there: a node that has lost one is less fit to
//! hold groups.

use super::super::Worker;
use crate::io::Io;
use crate::published::WorkerCounter;
use crate::stack::neighbour::Learned;

/// Routers asked at most.
pub(super) const MAX: usize = 32;
/// Between two questions, milliseconds.
const INTERVAL: u32 = 300;
/// A router that was silent for so long is lost, milliseconds.
const LOST: u32 = 1000;

/// When routers were asked and heard, by their number in the snapshot.
#[derive(Debug)]
pub(super) struct Probes {
    asked: u32,
    heard: [u32; MAX],
}

impl Probes {
    /// All are there until they have had time to answer.
    pub(super) fn new(now: u32) -> Self {
        Self {
            asked: now,
            heard: [now; MAX],
        }
    }

    /// Bit n: the n-th of `count` routers is lost.
    fn lost(&self, count: usize, now: u32) -> u64 {
        let heard = self.heard.iter().take(count).enumerate();
        heard.fold(0, |mask, (at, &heard)| {
            mask | u64::from(now.wrapping_sub(heard) >= LOST) << at
        })
    }
}

impl<I: Io> Worker<I> {
    /// Asks the routers, if it is time.
    pub(super) fn probe_gateways(&mut self) {
        let now = self.now;
        let count = self.snapshot.groups.gateways.len().min(MAX);
        let Some(speaker) = self.speaker() else {
            return;
        };
        let lost = speaker.probes.lost(count, now);
        let due = now.wrapping_sub(speaker.probes.asked) >= INTERVAL;
        if due {
            speaker.probes.asked = now;
        }
        self.counters.set(WorkerCounter::HaGatewaysLost, lost);
        for at in (0..count).filter(|_| due) {
            let Some(&(port, address)) = self.snapshot.groups.gateways.get(at) else {
                return;
            };
            let known = self.neighbours.find(port, address);
            let mac = known.and_then(|id| self.neighbours.get(id));
            self.solicit(port, address, mac.filter(|_| lost >> at & 1 == 0));
        }
    }

    /// Other routers are asked from now on: they have time to answer.
    pub(super) fn reset_probes(&mut self) {
        let now = self.now;
        if let Some(speaker) = self.speaker() {
            speaker.probes = Probes::new(now);
        }
    }

    /// A station was heard, here or by another worker.
    pub(in super::super) fn heard_gateway(&mut self, learned: &Learned) {
        let now = self.now;
        let mut gateways = self.snapshot.groups.gateways.iter().take(MAX);
        let at = gateways.position(|&known| known == (learned.port, learned.addr));
        if let (Some(at), Some(_)) = (at, learned.mac)
            && let Some(speaker) = self.speaker()
        {
            speaker.probes.heard[at] = now;
        }
    }
}
