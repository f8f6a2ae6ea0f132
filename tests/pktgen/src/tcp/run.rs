//! A run of TCP connections, and its results.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use sluice_dataplane::io::Io;

use super::{TcpCounts, TcpEngine};
use crate::live::{Live, Phase};
use crate::profile::Measure;
use crate::report::{Latency, PortReport, round};
use crate::run::{PATIENCE_MS, Rounds, RunError, engine_ticks, find, ports};
use crate::station::Station;

/// Connections per second that find out whether there is a way.
const SCOUT_RATE: f64 = 1000.0;
/// Connections that must come to their end before measuring.
const SCOUTS: u64 = 100;

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TcpReport {
    /// `tcp`.
    pub(crate) mode: &'static str,
    /// The run was interrupted, and what follows covers a part of it.
    pub(crate) interrupted: bool,
    /// Windows of time.
    pub(crate) windows: Vec<TcpWindow>,
    /// The window in which most connections were completed.
    pub(crate) best: Option<TcpWindow>,
    /// Connections completed per second in the middle one of the windows.
    pub(crate) median_cps: f64,
    /// All windows, and what was under way after the last.
    pub(crate) total: TcpTotal,
    /// From a client's SYN to the server's.
    pub(crate) setup_us: Option<Latency>,
    /// What else came to each port, since the start.
    pub(crate) ports: Vec<PortReport>,
}

/// Connections in a window of time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TcpWindow {
    /// Its length.
    pub(crate) ms: f64,
    /// Connections begun.
    pub(crate) opened: u64,
    /// Connections closed by both sides.
    pub(crate) completed: u64,
    /// These, per second.
    pub(crate) cps: f64,
    /// Connections given up or reset.
    pub(crate) failed: u64,
    /// Segments sent again.
    pub(crate) retransmitted: u64,
    /// Connections under way at its end.
    pub(crate) active: u32,
}

/// Sums over all windows. See [`TcpCounts`] for the single values.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TcpTotal {
    pub(crate) opened: u64,
    pub(crate) established: u64,
    pub(crate) answered: u64,
    pub(crate) completed: u64,
    pub(crate) timed_out: u64,
    pub(crate) reset: u64,
    pub(crate) unfinished: u32,
    pub(crate) retransmitted: u64,
    pub(crate) stray: u64,
    pub(crate) segments_sent: u64,
    pub(crate) segments_received: u64,
    pub(crate) corrupted: u64,
    pub(crate) refused: u64,
    pub(crate) no_buffer: u64,
}

/// Takes an engine through its phases.
pub(crate) struct TcpRun<'a, I: Io, C> {
    /// Clients and servers.
    pub(crate) engine: TcpEngine<I>,
    /// Ticks, now.
    pub(crate) clock: C,
    /// Set when the user has enough.
    pub(crate) stop: &'a AtomicBool,
    /// For who watches.
    pub(crate) live: &'a Live,
}

impl<I: Io> Rounds for TcpEngine<I> {
    fn hz(&self) -> u64 {
        TcpEngine::hz(self)
    }

    fn round(&mut self, clock: &impl Fn() -> u64, sending: bool) {
        TcpEngine::round(self, clock(), sending);
    }

    fn resolve(&mut self) -> bool {
        TcpEngine::resolve(self)
    }

    fn stations(&self) -> &[Station] {
        &self.stations
    }
}

impl<I: Io, C: Fn() -> u64> TcpRun<'_, I, C> {
    fn ms(&self, ms: u32) -> u64 {
        engine_ticks(self.engine.hz(), u64::from(ms))
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Runs rounds until `done` says so, or it is `end`. Returns when it was.
    fn until(&mut self, end: u64, opening: bool, done: impl Fn(&TcpEngine<I>) -> bool) -> u64 {
        loop {
            let now = (self.clock)();
            if now >= end || self.stopped() || done(&self.engine) {
                return now;
            }
            self.engine.round(now, opening);
            if self.live.is_due(now) {
                let counts = &self.engine.counts;
                let failed = counts.timed_out + counts.reset;
                let active = u64::from(self.engine.active);
                let row = [counts.opened, counts.completed, failed, active];
                self.live.publish(now, std::iter::once(row));
            }
        }
    }

    /// One round without opening connections.
    pub(crate) fn rest(&mut self) {
        self.engine.round((self.clock)(), false);
    }

    /// Finds the appliance, and sees that connections get through it.
    pub(crate) fn find(&mut self) -> Result<(), RunError> {
        self.live.enter(Phase::Find);
        find(&mut self.engine, &self.clock, self.stop)?;
        self.live.enter(Phase::WarmUp);
        let rate = self.engine.spec.rate.replace(SCOUT_RATE);
        let now = (self.clock)();
        self.engine.start(now);
        self.engine.spec.rate = rate;
        let end = now + engine_ticks(self.engine.hz(), PATIENCE_MS);
        self.until(end, true, |engine| engine.counts.completed >= SCOUTS);
        if self.stopped() {
            return Err(RunError::Interrupted);
        }
        let counts = self.engine.counts;
        if counts.completed == 0 {
            let server = self.engine.stations.get(self.engine.spec.server);
            return Err(RunError::NoConnection {
                opened: counts.opened,
                reset: counts.reset,
                timed_out: counts.timed_out,
                server: server
                    .map(|station| station.name.clone())
                    .unwrap_or_default(),
            });
        }
        Ok(())
    }

    /// Measures windows of steady traffic.
    pub(crate) fn measure(&mut self, measure: &Measure) -> TcpReport {
        self.live.enter(Phase::Measure);
        let start = (self.clock)();
        self.engine.start(start);
        let settled = self.until(start + self.ms(measure.settle_ms), true, |_| false);
        self.engine.start(settled);
        let first = self.engine.counts;
        let active = u64::from(self.engine.active);
        let (mut before, mut at) = (first, settled);
        let mut windows = Vec::new();
        for _ in 0..measure.windows {
            let due = at + self.ms(measure.window_ms);
            let end = self.until(due, true, |_| false);
            if end < due {
                break;
            }
            let counts = self.engine.counts;
            windows.push(self.window(end - at, &before, &counts));
            (before, at) = (counts, end);
        }
        let end = (self.clock)() + self.ms(measure.drain_ms);
        self.until(end, false, |engine| engine.active == 0);
        let counts = self.engine.counts;
        let mut rates: Vec<f64> = windows.iter().map(|window| window.cps).collect();
        rates.sort_by(f64::total_cmp);
        let best = |a: &&TcpWindow, b: &&TcpWindow| a.cps.total_cmp(&b.cps);
        TcpReport {
            mode: "tcp",
            interrupted: self.stopped(),
            best: windows.iter().max_by(best).cloned(),
            median_cps: rates.get(rates.len() / 2).copied().unwrap_or(0.0),
            windows,
            total: TcpTotal {
                // Those that were under way at the beginning end within.
                opened: counts.opened - first.opened + active,
                established: counts.established - first.established,
                answered: counts.answered - first.answered,
                completed: counts.completed - first.completed,
                timed_out: counts.timed_out - first.timed_out,
                reset: counts.reset - first.reset,
                unfinished: self.engine.active,
                retransmitted: counts.retransmitted - first.retransmitted,
                stray: counts.stray - first.stray,
                segments_sent: counts.sent - first.sent,
                segments_received: counts.received - first.received,
                corrupted: counts.corrupted - first.corrupted,
                refused: counts.refused - first.refused,
                no_buffer: counts.no_buffer - first.no_buffer,
            },
            setup_us: self
                .engine
                .setup
                .as_ref()
                .map(|ticks| Latency::of(ticks, self.engine.hz())),
            ports: ports(&self.engine.stations, &self.engine.ports),
        }
    }

    fn window(&self, ticks: u64, from: &TcpCounts, to: &TcpCounts) -> TcpWindow {
        let seconds = ticks as f64 / self.engine.hz() as f64;
        let completed = to.completed - from.completed;
        TcpWindow {
            ms: round(seconds * 1000.0, 3),
            opened: to.opened - from.opened,
            completed,
            cps: round(completed as f64 / seconds, 1),
            failed: to.timed_out + to.reset - from.timed_out - from.reset,
            retransmitted: to.retransmitted - from.retransmitted,
            active: self.engine.active,
        }
    }
}

impl TcpReport {
    /// Lines for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "{:>8} {:>14} {:>12} {:>14} {:>12}",
            "window", "connections/s", "failed", "retransmitted", "active"
        )?;
        let mut line = |name: &str, window: &TcpWindow| {
            writeln!(
                out,
                "{name:>8} {:>14.0} {:>12} {:>14} {:>12}",
                window.cps, window.failed, window.retransmitted, window.active
            )
        };
        for (number, window) in self.windows.iter().enumerate() {
            line(&number.to_string(), window)?;
        }
        if let Some(best) = &self.best {
            line("best", best)?;
        }
        let total = &self.total;
        writeln!(
            out,
            "total: {} opened, {} completed, {} timed out, {} reset, {} unfinished, {} segments \
             sent again, {} corrupted",
            total.opened,
            total.completed,
            total.timed_out,
            total.reset,
            total.unfinished,
            total.retransmitted,
            total.corrupted
        )?;
        if let Some(setup) = &self.setup_us {
            writeln!(
                out,
                "set-up us: p50 {} p90 {} p99 {} p999 {} max {}",
                setup.p50, setup.p90, setup.p99, setup.p999, setup.max
            )?;
        }
        Ok(())
    }
}
