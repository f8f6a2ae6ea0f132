//! What became of stamped packets: lost, late, twice, or damaged; and how long they took.

use hdrhistogram::Histogram;

use crate::stamp::Stamp;

/// How far back an early packet is remembered, in packets of its stream.
pub(crate) const WINDOW: u64 = 1 << 16;
/// Longest latency that is told apart from longer ones, in ticks of any clock: half a minute.
const LONGEST: u64 = 1 << 37;

/// Which packets must keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of a stream: what one queue and one core forward.
    Stream,
    /// Those of one flow, of so many that send in turn.
    Flow(u32),
}

/// Counts of one direction of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Packets that came, duplicates not counted.
    pub(crate) unique: u64,
    /// Packets that came again.
    pub(crate) duplicates: u64,
    /// Packets that came after one with a higher number (RFC 4737 section 3).
    pub(crate) reordered: u64,
    /// Packets so late, by more than [`WINDOW`], that it cannot be said whether they came before;
    /// counted as reordered and as unique too.
    pub(crate) very_late: u64,
    /// Packets whose payload was not as it was sent.
    pub(crate) corrupted: u64,
    /// Packets with a wrong IP, UDP or TCP checksum.
    pub(crate) bad_checksums: u64,
    /// Packets of an earlier phase of the run.
    pub(crate) stale: u64,
}

/// Follows one direction of a stream.
#[derive(Debug)]
pub(crate) struct Tracker {
    /// What was found.
    pub(crate) counts: Counts,
    /// Ticks from a packet's making to its reception.
    pub(crate) latency: Option<Histogram<u64>>,
    scope: Scope,
    phase: u8,
    /// One above the highest sequence number that came.
    next: u64,
    /// A bit for each of the last [`WINDOW`] sequence numbers; unused for flows.
    seen: Vec<u64>,
    /// One above the last round that came, for each flow.
    rounds: Vec<u32>,
}

impl Tracker {
    /// Nothing has come yet.
    pub(crate) fn new(scope: Scope, latency: bool) -> Self {
        let (bits, flows) = match scope {
            Scope::Stream => (WINDOW / 64, 0),
            Scope::Flow(flows) => (0, flows),
        };
        Self {
            counts: Counts::default(),
            latency: latency.then(Self::histogram).flatten(),
            scope,
            phase: 0,
            next: 0,
            seen: vec![0; bits as usize],
            rounds: vec![0; flows as usize],
        }
    }

    /// Empty, for ticks.
    pub(crate) fn histogram() -> Option<Histogram<u64>> {
        // Three digits, and bounds that fit: never refused.
        Histogram::new_with_bounds(1, LONGEST, 3).ok()
    }

    /// Begins anew, with the packets of this phase.
    pub(crate) fn restart(&mut self, phase: u8) {
        self.counts = Counts::default();
        if let Some(latency) = &mut self.latency {
            latency.reset();
        }
        self.phase = phase;
        self.next = 0;
        self.seen.fill(0);
        self.rounds.fill(0);
    }

    /// A packet came. True if it was the first of its number, and of this phase.
    #[inline]
    pub(crate) fn came(&mut self, stamp: &Stamp, now: u64) -> bool {
        if stamp.phase != self.phase {
            self.counts.stale += 1;
            return false;
        }
        if let Some(latency) = &mut self.latency {
            latency.saturating_record(now.saturating_sub(stamp.ticks).max(1));
        }
        let new = match self.scope {
            Scope::Stream => self.in_stream(stamp.sequence),
            Scope::Flow(flows) => self.in_flow(stamp.sequence, u64::from(flows.max(1))),
        };
        if new {
            self.counts.unique += 1;
        } else {
            self.counts.duplicates += 1;
        }
        new
    }

    #[inline]
    fn in_stream(&mut self, sequence: u64) -> bool {
        let bit = 1 << (sequence % 64);
        let word = (sequence % WINDOW / 64) as usize;
        if sequence >= self.next {
            self.forget(sequence);
            self.next = sequence + 1;
            if let Some(word) = self.seen.get_mut(word) {
                *word |= bit;
            }
            return true;
        }
        if self.next - sequence > WINDOW {
            self.counts.reordered += 1;
            self.counts.very_late += 1;
            return true;
        }
        let Some(word) = self.seen.get_mut(word) else {
            return true;
        };
        if *word & bit != 0 {
            return false;
        }
        *word |= bit;
        self.counts.reordered += 1;
        true
    }

    /// Clears the bits from the next expected number up to `sequence`.
    #[inline]
    fn forget(&mut self, sequence: u64) {
        if sequence - self.next >= WINDOW {
            self.seen.fill(0);
            return;
        }
        for number in self.next..=sequence {
            if let Some(word) = self.seen.get_mut((number % WINDOW / 64) as usize) {
                *word &= !(1 << (number % 64));
            }
        }
    }

    #[inline]
    fn in_flow(&mut self, sequence: u64, flows: u64) -> bool {
        let round = (sequence / flows + 1) as u32;
        let Some(last) = self.rounds.get_mut((sequence % flows) as usize) else {
            return true;
        };
        match round.cmp(last) {
            std::cmp::Ordering::Greater => *last = round,
            std::cmp::Ordering::Equal => return false,
            // It may have come before; that is not remembered by flow.
            std::cmp::Ordering::Less => self.counts.reordered += 1,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(scope: Scope, sequence: impl IntoIterator<Item = u64>) -> Counts {
        let mut tracker = Tracker::new(scope, false);
        tracker.restart(1);
        for sequence in sequence {
            tracker.came(
                &Stamp {
                    stream: 0,
                    phase: 1,
                    sequence,
                    ticks: 0,
                },
                0,
            );
        }
        tracker.counts
    }

    #[test]
    fn gaps_are_neither_reordering_nor_duplicates() {
        let counts = run(Scope::Stream, [0, 1, 5, 6, 200_000, 200_001]);
        assert_eq!(
            counts,
            Counts {
                unique: 6,
                ..Counts::default()
            }
        );
    }

    #[test]
    fn an_overtaken_packet_counts_once_and_its_copy_as_duplicate() {
        let counts = run(Scope::Stream, [0, 2, 1, 1, 2, 3, 3]);
        assert_eq!(
            counts,
            Counts {
                unique: 4,
                duplicates: 3,
                reordered: 1,
                ..Counts::default()
            }
        );
    }

    #[test]
    fn old_bits_do_not_look_like_duplicates() {
        // The same place in the window, one and three windows later.
        let counts = run(
            Scope::Stream,
            [5, WINDOW + 4, WINDOW + 5, 4 * WINDOW + 5, 4 * WINDOW + 4],
        );
        assert_eq!(
            (counts.unique, counts.duplicates, counts.reordered),
            (5, 0, 1)
        );
    }

    #[test]
    fn what_comes_very_late_is_said_to() {
        let counts = run(Scope::Stream, [WINDOW * 2, 1]);
        assert_eq!(
            (counts.unique, counts.reordered, counts.very_late),
            (2, 1, 1)
        );
    }

    #[test]
    fn flows_may_overtake_each_other_but_not_themselves() {
        // Three flows: numbers 0, 3, 6 are of the first.
        let counts = run(Scope::Flow(3), [1, 0, 2, 5, 4, 3]);
        assert_eq!((counts.unique, counts.reordered), (6, 0));
        let counts = run(Scope::Flow(3), [0, 6, 3, 9, 9]);
        assert_eq!(
            (counts.unique, counts.reordered, counts.duplicates),
            (4, 1, 1)
        );
    }

    #[test]
    fn an_earlier_phase_does_not_count() {
        let mut tracker = Tracker::new(Scope::Stream, true);
        tracker.restart(2);
        let stamp = Stamp {
            stream: 0,
            phase: 1,
            sequence: 0,
            ticks: 0,
        };
        assert!(!tracker.came(&stamp, 5));
        assert_eq!((tracker.counts.stale, tracker.counts.unique), (1, 0));
        assert_eq!(tracker.latency.unwrap().len(), 0);
    }
}
