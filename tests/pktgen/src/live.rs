//! A run as it is seen from outside, while it lasts.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What the generator is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Looking for the appliance.
    Find,
    /// Opening sessions.
    WarmUp,
    /// Measuring.
    Measure,
}

/// Values of a row: three counters, shown per second, and one that is shown as it is.
pub(crate) const COLUMNS: usize = 4;

/// Counters that the generating thread writes and others read.
#[derive(Debug)]
pub(crate) struct Live {
    phase: AtomicU8,
    rows: Vec<(String, [AtomicU64; COLUMNS])>,
    columns: [&'static str; COLUMNS],
    next: AtomicU64,
    /// Ticks between two looks.
    every: u64,
}

impl Live {
    /// Looked at some hundred times a second.
    pub(crate) fn new(hz: u64, columns: [&'static str; COLUMNS], rows: Vec<String>) -> Self {
        let row = |name| (name, std::array::from_fn(|_| AtomicU64::new(0)));
        Self {
            phase: AtomicU8::new(0),
            rows: rows.into_iter().map(row).collect(),
            columns,
            next: AtomicU64::new(0),
            every: hz / 100,
        }
    }

    /// Another phase.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Whether counters are worth publishing again.
    #[inline]
    pub(crate) fn is_due(&self, now: u64) -> bool {
        now >= self.next.load(Ordering::Relaxed)
    }

    /// Publishes counters, in the order of the rows.
    pub(crate) fn publish(&self, now: u64, rows: impl Iterator<Item = [u64; COLUMNS]>) {
        self.next.store(now + self.every, Ordering::Relaxed);
        for ((_, row), values) in self.rows.iter().zip(rows) {
            for (place, value) in row.iter().zip(values) {
                place.store(value, Ordering::Relaxed);
            }
        }
    }

    fn values(&self) -> Vec<[u64; COLUMNS]> {
        let row = |row: &[AtomicU64; COLUMNS]| row.each_ref().map(|at| at.load(Ordering::Relaxed));
        self.rows.iter().map(|(_, values)| row(values)).collect()
    }

    fn phase(&self) -> &'static str {
        match self.phase.load(Ordering::Relaxed) {
            0 => "looking for the appliance",
            1 => "warm-up",
            _ => "measuring",
        }
    }

    /// The table, given what the counters were so many seconds ago.
    fn table(&self, before: &[[u64; COLUMNS]], now: &[[u64; COLUMNS]], seconds: f64) -> String {
        let [a, b, c, d] = self.columns;
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:<26}{:>16}{:>16}{:>16}{d:>16}",
            self.phase(),
            format!("{a}/s"),
            format!("{b}/s"),
            format!("{c}/s")
        );
        for (((name, _), now), before) in self.rows.iter().zip(now).zip(before) {
            let rate = |at: usize| now[at].saturating_sub(before[at]) as f64 / seconds;
            let _ = writeln!(
                text,
                "{name:<26}{:>16.0}{:>16.0}{:>16.0}{:>16}",
                rate(0),
                rate(1),
                rate(2),
                now[COLUMNS - 1]
            );
        }
        text
    }
}

/// A table on a terminal that shows how things stand.
#[derive(Debug)]
pub(crate) struct Table {
    before: Vec<[u64; COLUMNS]>,
    shown: usize,
}

impl Table {
    /// Nothing shown yet; nothing ever, where standard error is no terminal.
    pub(crate) fn new(live: &Live, quiet: bool) -> Option<Self> {
        (!quiet && std::io::stderr().is_terminal()).then(|| Self {
            before: live.values(),
            shown: 0,
        })
    }

    /// Shows what happened in the `seconds` since the last time, over what was shown then.
    pub(crate) fn show(&mut self, live: &Live, seconds: f64) {
        let now = live.values();
        let mut text = String::new();
        if self.shown > 0 {
            // Up to the table's first line.
            let _ = write!(text, "\x1b[{}A", self.shown);
        }
        for line in live.table(&self.before, &now, seconds).lines() {
            let _ = writeln!(text, "\x1b[K{line}");
        }
        // Where standard error is gone there is nobody to show anything to.
        let _ = std::io::stderr().write_all(text.as_bytes());
        self.shown = now.len() + 1;
        self.before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_rates_and_what_is_missing() {
        let columns = ["sent", "received", "returned", "not back"];
        let live = Live::new(1000, columns, vec!["up".into(), "down".into()]);
        live.enter(Phase::Measure);
        let before = live.values();
        live.publish(0, [[500, 400, 0, 100], [2_000_000, 0, 7, 3]].into_iter());
        assert!(!live.is_due(9) && live.is_due(10));
        let table = live.table(&before, &live.values(), 0.5);
        let words: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            words[0],
            [
                "measuring",
                "sent/s",
                "received/s",
                "returned/s",
                "not",
                "back"
            ]
        );
        assert_eq!(words[1], ["up", "1000", "800", "0", "100"]);
        assert_eq!(words[2], ["down", "4000000", "0", "14", "3"]);
    }
}
