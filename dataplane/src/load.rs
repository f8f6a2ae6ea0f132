//! How busy a worker is: the sizes of its bursts, the time of its rounds, and how long sessions lived.
//!
//! The first two are counted in classes of powers of two, once per burst and once per round, never per
//! packet; ages in the classes of [`AGES_MS`], once per session that ended.
//! The time comes from whoever calls [`Worker::poll`](crate::worker::Worker::poll), who reads the
//! clock once per round anyway.

use crate::published::{Slot, Writer};

/// Classes of burst sizes: at most 1, 2, 4, ... 64 frames.
pub const BURST_CLASSES: usize = 7;
/// Classes of round times: at most [`ROUND_BASE_NS`], twice, four times ... as long; the last class
/// has no end.
pub const ROUND_CLASSES: usize = 16;
/// Upper end of the first class of round times, in nanoseconds.
pub const ROUND_BASE_NS: u64 = 500;

/// The longest that a session of each class lived, in milliseconds; those of one more class, the last,
/// lived longer.
pub const AGES_MS: [u32; 10] = [
    10, 100, 1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000, 21_600_000, 86_400_000,
];
/// Classes of ages.
pub const AGE_CLASSES: usize = AGES_MS.len() + 1;

/// The most frames that a burst of this class has.
pub const fn burst_bound(class: usize) -> u64 {
    1 << class
}

/// The most nanoseconds that a round of this class takes; `None` for the last class.
pub const fn round_bound(class: usize) -> Option<u64> {
    if class + 1 < ROUND_CLASSES {
        Some(ROUND_BASE_NS << class)
    } else {
        None
    }
}

/// The first class of `classes` whose bound, `base` doubled as often as its number, is not below
/// `value`; or the last.
#[inline]
fn class(value: u64, base: u64, classes: usize) -> usize {
    let times = value.saturating_sub(1) / base;
    ((u64::BITS - times.leading_zeros()) as usize).min(classes - 1)
}

/// What one worker has counted.
#[derive(Debug, Default)]
pub(crate) struct Load {
    bursts: [u64; BURST_CLASSES],
    rounds: [u64; ROUND_CLASSES],
    ages: [u64; AGE_CLASSES],
}

impl Load {
    /// A device gave a burst of frames, at least one.
    #[inline]
    pub(crate) fn burst(&mut self, frames: usize) {
        self.bursts[class(frames as u64, 1, BURST_CLASSES)] += 1;
    }

    /// A round that found something took so long.
    #[inline]
    pub(crate) fn round(&mut self, ns: u64) {
        self.rounds[class(ns, ROUND_BASE_NS, ROUND_CLASSES)] += 1;
    }

    /// A session ended so many milliseconds after it was opened.
    #[inline]
    pub(crate) fn ended(&mut self, age_ms: u32) {
        self.ages[AGES_MS.partition_point(|&most| most < age_ms)] += 1;
    }

    pub(crate) fn publish(&self, writer: &mut Writer<'_>) {
        for (class, &count) in self.bursts.iter().enumerate() {
            writer.set(Slot::Burst(class), count);
        }
        for (class, &count) in self.rounds.iter().enumerate() {
            writer.set(Slot::Round(class), count);
        }
        for (class, &count) in self.ages.iter().enumerate() {
            writer.set(Slot::Age(class), count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_counted_in_the_first_class_that_holds_it() {
        let mut load = Load::default();
        for age in [0, 10, 11, 86_400_000, 86_400_001, u32::MAX] {
            load.ended(age);
        }
        assert_eq!(load.ages, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    }

    #[test]
    fn a_bound_belongs_to_its_class_and_the_next_value_to_the_next() {
        for at in 0..BURST_CLASSES {
            assert_eq!(class(burst_bound(at), 1, BURST_CLASSES), at);
        }
        assert_eq!(class(3, 1, BURST_CLASSES), 2);
        assert_eq!(class(65, 1, BURST_CLASSES), BURST_CLASSES - 1);
        let of = |ns| class(ns, ROUND_BASE_NS, ROUND_CLASSES);
        for at in 0..ROUND_CLASSES - 1 {
            let bound = round_bound(at).expect("it has an end");
            assert_eq!((of(bound), of(bound + 1)), (at, at + 1));
        }
        assert_eq!((of(0), of(u64::MAX)), (0, ROUND_CLASSES - 1));
        assert_eq!(round_bound(ROUND_CLASSES - 1), None);
    }
}
