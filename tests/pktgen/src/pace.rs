//! How many packets are due.

/// Most packets that one round of a stream sends.
pub(crate) const BURST: usize = 64;

/// Lets packets go at a rate, or as many as the device takes.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    /// Packets per tick of the clock; `None` is flat out.
    per_tick: Option<f64>,
    start: u64,
    sent: u64,
    /// What may be made up for, in packets, after a stall: a millisecond's worth, a burst at least.
    backlog: u64,
}

impl Pace {
    /// `rate` in packets per second, from `now` on.
    pub(crate) fn new(rate: Option<f64>, hz: u64, now: u64) -> Self {
        Self {
            per_tick: rate.map(|rate| rate / hz as f64),
            start: now,
            sent: 0,
            backlog: rate
                .map_or(0, |rate| (rate / 1000.0) as u64)
                .max(BURST as u64),
        }
    }

    /// How many packets may be sent now, at most a burst.
    #[inline]
    pub(crate) fn due(&mut self, now: u64) -> usize {
        let Some(per_tick) = self.per_tick else {
            return BURST;
        };
        let allowed = (now.saturating_sub(self.start) as f64 * per_tick) as u64;
        let due = allowed.saturating_sub(self.sent);
        if due > self.backlog {
            // A device or a core that fell behind must not be followed by a blast.
            self.sent = allowed - self.backlog;
        }
        due.min(BURST as u64) as usize
    }

    /// So many have been sent.
    #[inline]
    pub(crate) fn took(&mut self, count: usize) {
        self.sent += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_over_many_rounds() {
        let mut pace = Pace::new(Some(1000.0), 1_000_000, 500);
        let mut sent = 0;
        // A tick is a microsecond: ten seconds, asked every 0.3 ms.
        for now in (500..10_000_500).step_by(300) {
            let due = pace.due(now);
            pace.took(due);
            sent += due;
        }
        assert!((9_998..=10_000).contains(&sent), "{sent}");
    }

    #[test]
    fn a_stall_is_made_up_for_within_bounds() {
        let mut pace = Pace::new(Some(1_000_000.0), 1_000_000, 0);
        let mut sent = 0;
        loop {
            let due = pace.due(5_000_000);
            if due == 0 {
                break;
            }
            pace.took(due);
            sent += due;
        }
        assert_eq!(sent, 1000, "a millisecond's worth of five seconds");
    }

    #[test]
    fn flat_out_is_always_due() {
        let mut pace = Pace::new(None, 1000, 0);
        pace.took(1_000_000);
        assert_eq!(pace.due(0), BURST);
    }
}
