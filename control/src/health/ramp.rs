//! Slow start: a server that comes, or comes back, gets its share of new sessions by steps.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sluice_dataplane::snapshot::ServerId;

/// Steps to the whole share.
pub const STEPS: u16 = 16;

/// One server's way.
#[derive(Debug, Clone, Copy)]
struct Ramp {
    /// Whether it took sessions when last looked at.
    takes: bool,
    /// When it began to, and how long it is to take; none: it has its whole share.
    under_way: Option<(Instant, Duration)>,
    step: u16,
}

/// The servers that have a slow start.
#[derive(Debug, Default)]
pub struct Ramps {
    by_server: BTreeMap<ServerId, Ramp>,
    /// All have been looked at once: who comes from now on is new.
    started: bool,
    changed: bool,
}

impl Ramps {
    /// How many of [`STEPS`] parts of its share a server gets.
    pub fn step(&self, server: ServerId) -> u16 {
        self.by_server.get(&server).map_or(STEPS, |ramp| ramp.step)
    }

    /// Looks at a server: whether it takes sessions, and how long its start is to take. Servers that take
    /// some when Sluice starts have their share.
    pub fn look(&mut self, server: ServerId, takes: bool, time: Duration, now: Instant) {
        let started = self.started;
        let ramp = self.by_server.entry(server).or_insert(Ramp {
            takes: !started,
            under_way: None,
            step: STEPS,
        });
        if takes && !ramp.takes {
            ramp.under_way = Some((now, time));
        }
        if !takes {
            ramp.under_way = None;
        }
        ramp.takes = takes;
        let step = ramp.under_way.map_or(STEPS, |(since, time)| {
            let gone = now.saturating_duration_since(since).as_millis();
            let step = gone * u128::from(STEPS) / time.as_millis().max(1) + 1;
            STEPS.min(step as u16)
        });
        if step == STEPS {
            ramp.under_way = None;
        }
        if step != ramp.step {
            ramp.step = step;
            self.changed = true;
        }
    }

    /// All servers that have a slow start were looked at, and these are they.
    pub fn keep(&mut self, has: impl Fn(ServerId) -> bool) {
        self.started = true;
        let before = self.by_server.len();
        self.by_server.retain(|&server, _| has(server));
        self.changed |= self.by_server.len() != before;
    }

    /// The snapshot is a new one, in which all servers have their share.
    pub fn renew(&mut self) {
        self.changed |= self.under_way();
    }

    /// Whether a server is on its way.
    pub fn under_way(&self) -> bool {
        self.by_server.values().any(|ramp| ramp.under_way.is_some())
    }

    /// Whether a share is another one than at the last [`Ramps::taken_up`].
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// They are in the snapshot now.
    pub fn taken_up(&mut self) {
        self.changed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_comes_back_gets_more_and_more_and_one_of_the_start_gets_all() {
        let (server, time) = (ServerId(1), Duration::from_secs(16));
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut ramps = Ramps::default();
        let mut step = |takes, seconds| {
            ramps.look(server, takes, time, at(seconds));
            ramps.keep(|_| true);
            (ramps.step(server), ramps.under_way())
        };
        assert_eq!(step(true, 0), (16, false), "the start of all");
        assert_eq!(step(false, 1), (16, false));
        assert_eq!(step(true, 10), (1, true));
        assert_eq!(step(true, 11), (2, true));
        assert_eq!(step(true, 18), (9, true));
        assert_eq!(step(false, 19), (16, false), "down again");
        assert_eq!(step(true, 20), (1, true), "from the beginning");
        assert_eq!(step(true, 34), (15, true));
        assert_eq!(step(true, 35), (16, false));
        assert_eq!(step(true, 99), (16, false));
    }

    #[test]
    fn only_another_share_is_a_change_and_a_new_server_starts_slowly() {
        let time = Duration::from_secs(16);
        let now = Instant::now();
        let mut ramps = Ramps::default();
        ramps.look(ServerId(1), true, time, now);
        ramps.keep(|_| true);
        assert!(!ramps.changed());
        ramps.look(ServerId(2), true, time, now);
        assert!(ramps.changed());
        assert_eq!(ramps.step(ServerId(2)), 1);
        ramps.taken_up();
        ramps.look(ServerId(2), true, time, now);
        assert!(!ramps.changed());
        ramps.keep(|server| server == ServerId(1));
        assert!(ramps.changed(), "it has no slow start any more");
        assert_eq!(ramps.step(ServerId(2)), 16);
    }
}
