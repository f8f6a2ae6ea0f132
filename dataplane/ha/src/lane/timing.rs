//! How long to wait for an acknowledgement: as RFC 6298 has it, but for its bounds.

/// Bounds of the wait, and what it is before anything was measured, milliseconds. The longest is what may be
/// tried twice before a lane gives up ([`super::LaneConfig::patience`]).
const MIN: u32 = 6;
const FIRST: u32 = 50;
const MAX: u32 = 480;
/// How often the wait is doubled at most: from the shortest beyond the longest. Else a link whose round trip
/// becomes longer would repeat every frame before its acknowledgement can come, and never find out.
const DOUBLINGS: u32 = 7;

/// Round trips, smoothed, and how often the wait was doubled.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Timing {
    /// Eight times the round trip, and four times how much it varies, milliseconds.
    measured: Option<(u32, u32)>,
    doubled: u32,
}

impl Timing {
    /// An acknowledgement took so long. Only a frame that was sent once can tell (Karn's algorithm,
    /// RFC 6298 section 3); until one does, the longer wait stays.
    pub(super) fn measure(&mut self, took: u32) {
        self.doubled = 0;
        self.measured = Some(match self.measured {
            None => (8 * took, 2 * took),
            Some((smooth, varies)) => (
                smooth - smooth / 8 + took,
                varies - varies / 4 + (smooth / 8).abs_diff(took),
            ),
        });
    }

    /// None came in time.
    pub(super) fn double(&mut self) {
        self.doubled = (self.doubled + 1).min(DOUBLINGS);
    }

    /// The wait, in milliseconds.
    pub(super) fn wait(&self) -> u32 {
        let base = match self.measured {
            Some((smooth, varies)) => (smooth / 8 + varies.max(4)).max(MIN),
            None => FIRST,
        };
        (base << self.doubled).min(MAX.max(base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_follows_the_link() {
        let mut timing = Timing::default();
        assert_eq!(timing.wait(), FIRST);
        timing.double();
        assert_eq!(timing.wait(), 2 * FIRST);
        (0..50).for_each(|_| timing.measure(0));
        assert_eq!(timing.wait(), MIN);
        (0..50).for_each(|_| timing.measure(200));
        assert!((199..=210).contains(&timing.wait()), "{timing:?}");
        (0..50).for_each(|_| timing.measure(0));
        assert!(
            timing.wait() < 2 * MIN,
            "what is over is forgotten: {timing:?}"
        );
        (0..9).for_each(|_| timing.double());
        assert!(timing.wait() > 50);
        (0..50).for_each(|_| timing.measure(200));
        (0..9).for_each(|_| timing.double());
        assert_eq!(timing.wait(), MAX);
        timing.measure(1000);
        assert!(timing.wait() > MAX, "a link may be longer than that");
    }

    #[test]
    fn a_round_trip_that_becomes_much_longer_is_learned() {
        let mut timing = Timing::default();
        (0..50).for_each(|_| timing.measure(0));
        // Nothing that was sent once is acknowledged before this wait is over.
        let mut doublings = 0;
        while timing.wait() <= 400 {
            timing.double();
            doublings += 1;
            assert!(doublings < 10, "{timing:?}");
        }
        timing.measure(400);
        (0..60).for_each(|_| timing.measure(400));
        assert!((400..MAX).contains(&timing.wait()), "{timing:?}");
    }
}
