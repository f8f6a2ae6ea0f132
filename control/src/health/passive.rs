//! Passive checks: what the connections of clients show of real servers.
//!
//! Workers count connections that a server answered, left unanswered or refused. Here is what follows, for
//! one server, without a clock: too many that failed within a window take it out for a while. When that is
//! over it is tried again, and each time that it fails again it is out for twice as long.

/// Parts of the window; the oldest is forgotten as a whole.
const SLOTS: usize = 8;
/// By what the time that a server is out is multiplied at most, as a power of two.
const DOUBLINGS: u32 = 4;

/// When servers are taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passive {
    /// Connections that failed within the window, at least.
    pub failures: u32,
    /// Of all connections within the window so many percent, at least.
    pub percent: u8,
    /// How far back connections count, milliseconds.
    pub window_ms: u32,
    /// How long a server is out at first, milliseconds.
    pub out_ms: u32,
    /// Servers of the pool that are out at a time, at most, in percent; but always one.
    pub most_out: u8,
}

impl Passive {
    /// How many of so many servers may be out at a time.
    pub fn most(&self, servers: usize) -> usize {
        (servers * usize::from(self.most_out) / 100).max(1)
    }
}

/// Connections of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Those that it answered.
    pub answered: u64,
    /// Those that it did not, or refused.
    pub failed: u64,
}

/// What is known of a server by its connections. Times are milliseconds of any clock that goes on.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Since start, when last looked.
    last: Seen,
    /// Within parts of the window, by their number modulo [`SLOTS`].
    slots: [Seen; SLOTS],
    slot: u64,
    out_until: Option<u64>,
    /// How long it is or was out.
    out_ms: u64,
    back_since: u64,
    /// Times in a row that it was out.
    times: u32,
}

impl Watch {
    /// A server that has had these connections.
    pub fn new(now: u64, seen: Seen) -> Self {
        Self {
            last: seen,
            slots: Default::default(),
            slot: 0,
            out_until: None,
            out_ms: 0,
            back_since: now,
            times: 0,
        }
    }

    /// Takes what the server has had since start; true if it should be taken out.
    pub fn look(&mut self, now: u64, seen: Seen, rules: &Passive) -> bool {
        let more = Seen {
            answered: seen.answered.wrapping_sub(self.last.answered),
            failed: seen.failed.wrapping_sub(self.last.failed),
        };
        self.last = seen;
        if let Some(until) = self.out_until {
            // What it had before still fails meanwhile, and says nothing new.
            if now < until {
                return false;
            }
            self.out_until = None;
            self.back_since = now;
            self.slots = Default::default();
            return false;
        }
        let slot = now / (u64::from(rules.window_ms) / SLOTS as u64).max(1);
        let stale = slot.saturating_sub(self.slot).min(SLOTS as u64);
        for back in 0..stale {
            self.slots[((slot - back) % SLOTS as u64) as usize] = Seen::default();
        }
        self.slot = slot;
        let current = &mut self.slots[(slot % SLOTS as u64) as usize];
        current.answered += more.answered;
        current.failed += more.failed;
        if self.times > 0 && now.saturating_sub(self.back_since) >= self.out_ms {
            // It has done its work for as long as it was out.
            self.times = 0;
        }
        let Seen { answered, failed } = self.window();
        failed >= u64::from(rules.failures)
            && failed * 100 >= (failed + answered) * u64::from(rules.percent)
    }

    /// Takes it out.
    pub fn take_out(&mut self, now: u64, rules: &Passive) {
        self.out_ms = u64::from(rules.out_ms) << self.times.min(DOUBLINGS);
        self.out_until = Some(now + self.out_ms);
        self.times += 1;
    }

    /// Its connections within the window.
    pub fn window(&self) -> Seen {
        let sum = |of: fn(&Seen) -> u64| self.slots.iter().map(of).sum();
        Seen {
            answered: sum(|slot| slot.answered),
            failed: sum(|slot| slot.failed),
        }
    }

    /// Until when it is out, if it is.
    pub fn out_until(&self) -> Option<u64> {
        self.out_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Passive = Passive {
        failures: 5,
        percent: 50,
        window_ms: 8000,
        out_ms: 30_000,
        most_out: 50,
    };

    /// A server, and what it has had.
    struct Server(Watch, Seen);

    impl Server {
        fn new() -> Self {
            let had = Seen {
                answered: 7,
                failed: 1000,
            };
            Self(Watch::new(0, had), had)
        }

        fn had(&mut self, now: u64, answered: u64, failed: u64) -> bool {
            self.1.answered += answered;
            self.1.failed += failed;
            self.0.look(now, self.1, &RULES)
        }
    }

    #[test]
    fn both_a_number_and_a_share_of_failures_are_needed() {
        for (answered, failed, out) in [
            (0, 4, false),
            (0, 5, true),
            (5, 5, true),
            (6, 5, false),
            (100, 99, false),
        ] {
            assert_eq!(
                Server::new().had(10, answered, failed),
                out,
                "{answered} {failed}"
            );
        }
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let mut server = Server::new();
        assert!(!server.had(100, 0, 4));
        assert!(!server.had(9_100, 0, 4), "the first four are too old");
        assert!(server.had(15_000, 0, 1), "within 8 s there are five");
        let mut server = Server::new();
        assert!(!server.had(100, 0, 4));
        assert!(!server.had(1_000_000, 0, 1), "long after");
        assert_eq!(server.0.window().failed, 1);
        let mut server = Server::new();
        for second in 0..100 {
            assert!(!server.had(second * 2000, 0, 1), "four within the window");
        }
    }

    #[test]
    fn each_time_in_a_row_it_is_out_for_longer_and_comes_back_with_a_clean_record() {
        let mut server = Server::new();
        let mut now = 1000;
        for doubling in [0, 1, 2, 3, 4, 4] {
            assert!(server.had(now, 0, 5));
            server.0.take_out(now, &RULES);
            let back = now + (30_000 << doubling);
            assert_eq!(server.0.out_until(), Some(back));
            assert!(!server.had(back - 1, 0, 50), "it is out already");
            assert!(!server.had(back, 0, 50), "of those from before");
            assert_eq!(server.0.out_until(), None);
            now = back + 100;
            assert!(!server.had(now, 0, 4));
        }
        // It has failed four times, and then works for as long as it was out.
        now += 30_000 << 4;
        assert!(!server.had(now, 100, 0));
        assert!(server.had(now + 1, 0, 100));
        server.0.take_out(now, &RULES);
        assert_eq!(server.0.out_until(), Some(now + 30_000));
    }

    #[test]
    fn not_all_servers_are_out_at_a_time() {
        assert_eq!([1, 2, 3, 4, 10].map(|n| RULES.most(n)), [1, 1, 1, 2, 5]);
    }
}
