//! Sluice's counters, as its API shows them.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Deserialize;

/// `GET /api/v1/stats`, as far as tests read it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Stats {
    /// In the order of the configured cores.
    pub workers: Vec<Worker>,
    /// Of all pools.
    #[serde(default)]
    pub servers: Vec<Server>,
}

/// Where one worker's frames ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Worker {
    /// Taken from devices.
    pub received: u64,
    /// Taken over from another worker.
    pub taken_over: u64,
    /// Taken from the host stack, to be sent.
    pub injected: u64,
    /// Sent on, translated or not.
    pub forwarded: u64,
    /// Handed to the other node.
    pub redirected: u64,
    /// Handed to the host stack.
    pub punted: u64,
    /// Meant for the appliance itself: ARP, echo, and the like.
    pub consumed: u64,
    /// Waiting for a neighbour or a fragment.
    #[serde(rename = "waiting")]
    pub held: u64,
    /// Handed over to another worker.
    pub handed_over: u64,
    /// Dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Sessions opened so far.
    pub sessions_opened: u64,
    /// IPv4 sessions now.
    pub sessions_v4: u64,
    /// IPv6 sessions now.
    pub sessions_v6: u64,
}

/// A real server's share.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Server {
    /// `POOL/NAME`
    pub name: String,
    /// Its weight.
    #[serde(default)]
    pub weight: u64,
    /// Sessions opened so far.
    pub sessions_opened: u64,
    /// Sessions ended so far.
    pub sessions_ended: u64,
}

impl Worker {
    /// All drops.
    pub fn drops(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Sessions now.
    pub fn sessions(&self) -> u64 {
        self.sessions_v4 + self.sessions_v6
    }

    /// Frames that came to this worker and are in no other counter (negative: counted twice).
    ///
    /// # Panics
    /// If a counter does not fit.
    pub fn unaccounted(&self) -> i64 {
        let signed = |count: u64| i64::try_from(count).expect("a counter of a sane size");
        let ended = self.forwarded + self.redirected + self.punted + self.consumed + self.drops();
        signed(self.received + self.taken_over + self.injected)
            - signed(ended + self.held + self.handed_over)
    }
}

impl Stats {
    /// All workers as one.
    pub fn total(&self) -> Worker {
        let mut total = Worker::default();
        for worker in &self.workers {
            total.received += worker.received;
            total.taken_over += worker.taken_over;
            total.injected += worker.injected;
            total.forwarded += worker.forwarded;
            total.redirected += worker.redirected;
            total.punted += worker.punted;
            total.consumed += worker.consumed;
            total.held += worker.held;
            total.handed_over += worker.handed_over;
            total.sessions_opened += worker.sessions_opened;
            total.sessions_v4 += worker.sessions_v4;
            total.sessions_v6 += worker.sessions_v6;
            for (reason, count) in &worker.dropped {
                *total.dropped.entry(reason.clone()).or_default() += count;
            }
        }
        total
    }

    /// Drops for one reason.
    pub fn dropped(&self, reason: &str) -> u64 {
        self.total().dropped.get(reason).copied().unwrap_or(0)
    }

    /// Why the books are not balanced and closed, if they are not: on every worker every frame must
    /// have ended somewhere, and none may wait in a ring, for a neighbour or for a fragment.
    ///
    /// # Errors
    /// Says what is missing or too much.
    pub fn balanced(&self) -> Result<(), String> {
        for (number, worker) in self.workers.iter().enumerate() {
            match worker.unaccounted() {
                0 => (),
                count => return Err(format!("{count} frames unaccounted for on worker {number}")),
            }
        }
        let total = self.total();
        if total.handed_over != total.taken_over {
            return Err(format!(
                "{} frames handed over, {} taken over",
                total.handed_over, total.taken_over
            ));
        }
        if total.held != 0 {
            Err(format!("{} frames held", total.held))
        } else {
            Ok(())
        }
    }
}

/// Counters at a moment, for rates.
#[derive(Debug, Clone)]
pub struct Report {
    /// When they were read.
    pub at: Instant,
    /// The counters.
    pub stats: Stats,
}

impl Report {
    /// The time between two, in seconds; never 0.
    pub fn seconds_since(&self, before: &Self) -> f64 {
        self.at
            .saturating_duration_since(before.at)
            .as_secs_f64()
            .max(0.001)
    }
}

#[cfg(test)]
mod tests {
    use super::{Stats, Worker};

    #[test]
    fn books_are_balanced_per_worker_and_rings_must_be_empty() {
        let first = Worker {
            received: 10,
            forwarded: 5,
            consumed: 2,
            handed_over: 2,
            dropped: [("no_route".to_owned(), 1)].into(),
            ..Worker::default()
        };
        let second = Worker {
            received: 3,
            taken_over: 2,
            forwarded: 5,
            ..Worker::default()
        };
        let mut stats = Stats {
            workers: vec![first, second],
            servers: Vec::new(),
        };
        assert_eq!(stats.balanced(), Ok(()));
        assert_eq!(stats.dropped("no_route"), 1);

        stats.workers[1].taken_over = 1;
        stats.workers[1].forwarded = 4;
        assert_eq!(
            stats.balanced(),
            Err("2 frames handed over, 1 taken over".to_owned())
        );

        stats.workers[1].forwarded = 5;
        assert_eq!(
            stats.balanced(),
            Err("-1 frames unaccounted for on worker 1".to_owned())
        );
    }
}
