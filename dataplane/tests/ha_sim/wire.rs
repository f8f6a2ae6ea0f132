//! The wires of the HA link, one each way, and what they do to frames.

use std::collections::BTreeMap;

use crate::rng::Rng;

/// Of a thousand frames, how many; and times in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) lost: u32,
    pub(crate) doubled: u32,
    pub(crate) damaged: u32,
    pub(crate) delay: u32,
    pub(crate) jitter: u32,
}

pub(crate) struct Wire {
    pub(crate) faults: Faults,
    pub(crate) cut: bool,
    under_way: BTreeMap<(u64, u64), Vec<u8>>,
    count: u64,
    rng: Rng,
}

impl Wire {
    pub(crate) fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults,
            cut: false,
            under_way: BTreeMap::new(),
            count: 0,
            rng: Rng::new(seed),
        }
    }

    pub(crate) fn send(&mut self, frame: &[u8], now: u64) {
        let faults = self.faults;
        if self.cut || self.rng.chance(faults.lost) {
            return;
        }
        for _ in 0..1 + u32::from(self.rng.chance(faults.doubled)) {
            let mut bytes = frame.to_vec();
            if self.rng.chance(faults.damaged) {
                let at = self.rng.below(bytes.len() as u32) as usize;
                bytes[at] ^= 1 << self.rng.below(8);
                if self.rng.chance(200) {
                    bytes.truncate(at.max(14));
                }
            }
            let late = faults.delay + self.rng.below(faults.jitter + 1);
            self.count += 1;
            self.under_way
                .insert((now + u64::from(late), self.count), bytes);
        }
    }

    /// The next frame that has arrived.
    pub(crate) fn receive(&mut self, now: u64) -> Option<Vec<u8>> {
        let first = self.under_way.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// What was under way is lost.
    pub(crate) fn clear(&mut self) {
        self.under_way.clear();
    }
}
