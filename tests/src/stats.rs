//! Sluice's counters, as its API shows them.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `GET /api/v1/stats`, as far as tests read it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Stats {
    /// In the order of the configured cores.
    pub workers: Vec<Worker>,
}

/// Where one worker's frames ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Worker {
    /// Taken from devices.
    pub received: u64,
    /// Sent on, translated or not.
    pub forwarded: u64,
    /// Handed to the other node.
    pub redirected: u64,
    /// Handed to the host stack.
    pub punted: u64,
    /// Meant for the appliance itself: ARP, echo, and the like.
    pub consumed: u64,
    /// Waiting for a neighbour, a fragment, or in a ring between workers.
    pub held: i64,
    /// Dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
}

impl Worker {
    /// All drops.
    pub fn drops(&self) -> u64 {
        self.dropped.values().sum()
    }
}

impl Stats {
    /// All workers as one.
    pub fn total(&self) -> Worker {
        let mut total = Worker::default();
        for worker in &self.workers {
            total.received += worker.received;
            total.forwarded += worker.forwarded;
            total.redirected += worker.redirected;
            total.punted += worker.punted;
            total.consumed += worker.consumed;
            total.held += worker.held;
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

    /// Received frames that are in no other counter (negative: counted twice). 0 is right.
    ///
    /// # Panics
    /// If a counter does not fit.
    pub fn unaccounted(&self) -> i64 {
        let total = self.total();
        let signed = |count: u64| i64::try_from(count).expect("a counter of a sane size");
        let ended = total.forwarded + total.redirected + total.punted + total.consumed;
        signed(total.received) - signed(ended + total.drops()) - total.held
    }
}

#[cfg(test)]
mod tests {
    use super::Stats;

    #[test]
    fn a_frame_missing_on_one_worker_and_one_too_many_on_another_cancel_only_as_handoff() {
        let stats: Stats = serde_json::from_str(
            r#"{"workers": [
                {"received": 10, "forwarded": 5, "redirected": 0, "punted": 0, "consumed": 2,
                 "held": 1, "dropped": {"no_route": 1, "denied": 0}},
                {"received": 3, "forwarded": 4, "redirected": 0, "punted": 0, "consumed": 0,
                 "held": 0, "dropped": {}}]}"#,
        )
        .expect("the API's shape");
        assert_eq!(stats.unaccounted(), 0);
        assert_eq!(stats.dropped("no_route"), 1);
    }
}
