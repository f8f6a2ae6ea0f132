//! A run as it is seen from outside, while it lasts.

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

/// Counters that the generating thread writes and others read.
#[derive(Debug)]
pub(crate) struct Live {
    phase: AtomicU8,
    sent: AtomicU64,
    received: AtomicU64,
    returned: AtomicU64,
    next: AtomicU64,
    /// Ticks between two looks.
    every: u64,
    /// What the three counters count.
    names: [&'static str; 3],
}

impl Live {
    /// Looked at some hundred times a second.
    pub(crate) fn new(hz: u64, names: [&'static str; 3]) -> Self {
        Self {
            phase: AtomicU8::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            next: AtomicU64::new(0),
            every: hz / 100,
            names,
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

    /// Publishes counters.
    pub(crate) fn publish(&self, now: u64, sent: u64, received: u64, returned: u64) {
        self.next.store(now + self.every, Ordering::Relaxed);
        self.sent.store(sent, Ordering::Relaxed);
        self.received.store(received, Ordering::Relaxed);
        self.returned.store(returned, Ordering::Relaxed);
    }

    fn counters(&self) -> [u64; 3] {
        [&self.sent, &self.received, &self.returned].map(|counter| counter.load(Ordering::Relaxed))
    }

    fn phase(&self) -> &'static str {
        match self.phase.load(Ordering::Relaxed) {
            0 => "looking for the appliance",
            1 => "warm-up",
            _ => "measuring",
        }
    }
}

/// A line on a terminal that shows how things stand.
#[derive(Debug)]
pub(crate) struct Line {
    before: [u64; 3],
    shown: bool,
}

impl Line {
    /// Nothing shown yet; nothing ever, where standard error is no terminal.
    pub(crate) fn new(quiet: bool) -> Option<Self> {
        (!quiet && std::io::stderr().is_terminal()).then_some(Self {
            before: [0; 3],
            shown: false,
        })
    }

    /// Shows what happened in the `seconds` since the last time.
    pub(crate) fn show(&mut self, live: &Live, seconds: f64) {
        let now = live.counters();
        let rate = |at: usize| (now[at] - self.before[at]) as f64 / seconds / 1e6;
        let mut error = std::io::stderr().lock();
        // Where standard error is gone there is nobody to show anything to.
        let _ = write!(
            error,
            "\r\x1b[K{}: {:.3} M/s {}, {:.3} M/s {}, {:.3} M/s {}; {} {}",
            live.phase(),
            rate(0),
            live.names[0],
            rate(1),
            live.names[1],
            rate(2),
            live.names[2],
            now[0],
            live.names[0]
        );
        let _ = error.flush();
        self.before = now;
        self.shown = true;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.shown {
            eprintln!();
        }
    }
}
