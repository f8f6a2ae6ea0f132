//! The wires between two nodes, and what they do to datagrams.

use std::collections::BTreeMap;

use sluice_ha::heartbeat::Path;

use crate::rng::Rng;

/// Of a thousand datagrams, how many; and times in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) lost: u32,
    pub(crate) doubled: u32,
    pub(crate) damaged: u32,
    pub(crate) delay: u32,
    pub(crate) jitter: u32,
}

#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) to: usize,
    pub(crate) path: Path,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) faults: Faults,
    /// Cut wires: `[from][path]`.
    pub(crate) cut: [[bool; 2]; 2],
    under_way: BTreeMap<(u32, u64), Datagram>,
    count: u64,
    rng: Rng,
}

impl Net {
    pub(crate) fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults,
            cut: Default::default(),
            under_way: BTreeMap::new(),
            count: 0,
            rng: Rng::new(seed),
        }
    }

    pub(crate) fn send(&mut self, from: usize, path: Path, bytes: &[u8], now: u32) {
        let faults = self.faults;
        if self.cut[from][path as usize] || self.rng.chance(faults.lost) {
            return;
        }
        let copies = 1 + u32::from(self.rng.chance(faults.doubled));
        for _ in 0..copies {
            let mut bytes = bytes.to_vec();
            if self.rng.chance(faults.damaged) {
                let at = self.rng.below(bytes.len() as u32) as usize;
                bytes[at] ^= 1 << self.rng.below(8);
                if self.rng.chance(200) {
                    bytes.truncate(at);
                }
            }
            let late = faults.delay + self.rng.below(faults.jitter + 1);
            self.count += 1;
            let datagram = Datagram {
                to: 1 - from,
                path,
                bytes,
            };
            self.under_way.insert((now + late, self.count), datagram);
        }
    }

    /// The next datagram that has arrived.
    pub(crate) fn receive(&mut self, now: u32) -> Option<Datagram> {
        let first = self.under_way.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}
