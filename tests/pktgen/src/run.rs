//! A run, from finding the appliance to the results.

use std::sync::atomic::{AtomicBool, Ordering};

use sluice_dataplane::io::Io;

use crate::engine::Engine;
use crate::flows::Order;
use crate::live::{Live, Phase};
use crate::profile::{Measure, Search, WarmUp};
use crate::report::{Report, SearchReport, Trial, WarmUpReport, Window, round};
use crate::station::Station;
use crate::stream::StreamCounts;

mod results;

pub(crate) use results::ports;
use results::{Totals, missing};

/// Flows that open the way (neighbours, first of all) before every flow is to come back.
const SCOUTS: u32 = 1024;
/// Packets per second of these.
const SCOUT_RATE: f64 = 20_000.0;
/// How long the appliance and all next hops may take to be found, in milliseconds.
pub(crate) const PATIENCE_MS: u64 = 10_000;
/// A run cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RunError {
    /// No ARP reply.
    #[error("no answer to ARP within ten seconds from {0}; is the appliance up?")]
    NoGateway(String),
    /// Sessions were not opened.
    #[error(
        "warm-up: {missing} of {flows} packets did not come back in {passes} passes; look at the \
         appliance's counters, or allow it with warm_up.may_miss"
    )]
    WarmUp {
        /// Packets of the last pass that are missing.
        missing: u64,
        /// Packets of a pass.
        flows: u64,
        /// Passes made.
        passes: u32,
    },
    /// No TCP connection came about.
    #[error(
        "not one of {opened} connections was opened and closed within ten seconds ({reset} were \
         reset, {timed_out} timed out); does the appliance forward {server} here?"
    )]
    NoConnection {
        /// Connections tried.
        opened: u64,
        /// Of these, refused.
        reset: u64,
        /// Of these, not answered.
        timed_out: u64,
        /// The port of the servers.
        server: String,
    },
    /// Stopped by the user before there was anything to tell.
    #[error("interrupted")]
    Interrupted,
}

/// What every engine does.
pub(crate) trait Rounds {
    /// Ticks per second.
    fn hz(&self) -> u64;
    /// One round.
    fn round(&mut self, clock: &impl Fn() -> u64, sending: bool);
    /// Asks for the appliance's MAC addresses that are not known. True if there are none.
    fn resolve(&mut self) -> bool;
    /// What stands behind each port.
    fn stations(&self) -> &[Station];
}

impl<I: Io> Rounds for Engine<I> {
    fn hz(&self) -> u64 {
        Engine::hz(self)
    }

    #[inline]
    fn round(&mut self, clock: &impl Fn() -> u64, sending: bool) {
        if sending {
            self.send(clock());
        }
        // Latency ends where a packet is looked at, so after what was just sent.
        self.receive(clock());
    }

    fn resolve(&mut self) -> bool {
        Engine::resolve(self)
    }

    fn stations(&self) -> &[Station] {
        &self.stations
    }
}

/// Finds the appliance by ARP.
pub(crate) fn find(
    engine: &mut impl Rounds,
    clock: &impl Fn() -> u64,
    stop: &AtomicBool,
) -> Result<(), RunError> {
    let ticks = |ms: u64| engine_ticks(engine.hz(), ms);
    let (patience, pause) = (ticks(PATIENCE_MS), ticks(50));
    let end = clock() + patience;
    while !engine.resolve() {
        let next = clock() + pause;
        loop {
            let now = clock();
            if stop.load(Ordering::Relaxed) {
                return Err(RunError::Interrupted);
            }
            engine.round(clock, false);
            if now >= next {
                break;
            }
        }
        if next >= end {
            let silent = engine.stations().iter();
            let silent = silent.filter(|station| station.question().is_some());
            let names = silent.map(|station| {
                let gateway = station.gateway.map(|gateway| gateway.to_string());
                format!("{} on port {}", gateway.unwrap_or_default(), station.name)
            });
            return Err(RunError::NoGateway(names.collect::<Vec<_>>().join(", ")));
        }
    }
    Ok(())
}

/// Milliseconds in ticks.
pub(crate) fn engine_ticks(hz: u64, ms: u64) -> u64 {
    hz * ms / 1000
}

/// Takes an engine through its phases.
pub(crate) struct Run<'a, I: Io, C> {
    /// The streams.
    pub(crate) engine: Engine<I>,
    /// Ticks, now.
    pub(crate) clock: C,
    /// Set when the user has enough.
    pub(crate) stop: &'a AtomicBool,
    /// For who watches.
    pub(crate) live: &'a Live,
}

impl<I: Io, C: Fn() -> u64> Run<'_, I, C> {
    fn ms(&self, ms: u64) -> u64 {
        engine_ticks(self.engine.hz(), ms)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Runs rounds until it is `end`. Returns when it was.
    fn until(&mut self, end: u64, sending: bool) -> u64 {
        loop {
            let now = (self.clock)();
            if now >= end || self.stopped() {
                return now;
            }
            self.engine.round(&self.clock, sending);
            self.publish(now);
        }
    }

    /// One round without sending.
    pub(crate) fn rest(&mut self) {
        self.engine.round(&self.clock, false);
    }

    fn publish(&mut self, now: u64) {
        if self.live.is_due(now) {
            let row = |counts: &StreamCounts| {
                let due = counts.sent + counts.reflected;
                let came = counts.received + counts.returned;
                [
                    counts.sent,
                    counts.received,
                    counts.returned,
                    due.saturating_sub(came),
                ]
            };
            let streams = self.engine.streams.iter();
            self.live
                .publish(now, streams.map(|stream| row(&stream.counts)));
        }
    }

    /// Waits for what is under way since `from`, at most so long. Returns what never came.
    fn drain(&mut self, from: &Totals, ms: u32) -> u64 {
        let end = (self.clock)() + self.ms(u64::from(ms));
        let mut before = u64::MAX;
        loop {
            let missing = missing(from, &self.totals());
            // What lies there already is taken, even if the time is over.
            let over = (self.clock)() >= end && missing == before;
            if missing == 0 || over {
                return missing;
            }
            before = missing;
            self.engine.round(&self.clock, false);
        }
    }

    /// Finds the appliance by ARP.
    pub(crate) fn find(&mut self) -> Result<(), RunError> {
        self.live.enter(Phase::Find);
        find(&mut self.engine, &self.clock, self.stop)
    }

    /// Opens a session for every flow, and sees that all came back.
    pub(crate) fn warm_up(&mut self, warm_up: &WarmUp) -> Result<WarmUpReport, RunError> {
        self.live.enter(Phase::WarmUp);
        let end = (self.clock)() + self.ms(PATIENCE_MS);
        while self.once(Order::Random, SCOUTS, SCOUT_RATE).0 > 0 && (self.clock)() < end {}
        let flows = self.engine.streams.iter();
        let flows = flows
            .map(|stream| u64::from(stream.spec.space.flows()))
            .sum();
        let mut report = WarmUpReport {
            flows,
            passes: 0,
            missing: flows,
            complete: false,
            ms: 0.0,
        };
        while report.passes < warm_up.passes && !report.complete {
            let (missing, ms) = self.once(Order::Sequential, u32::MAX, warm_up.rate);
            if self.stopped() {
                return Err(RunError::Interrupted);
            }
            report.passes += 1;
            report.missing = missing;
            report.ms = ms;
            report.complete = missing <= warm_up.may_miss;
        }
        if report.complete {
            return Ok(report);
        }
        Err(RunError::WarmUp {
            missing: report.missing,
            flows,
            passes: report.passes,
        })
    }

    /// One packet of each of the first flows. Returns how many are missing, and milliseconds.
    fn once(&mut self, order: Order, most: u32, rate: f64) -> (u64, f64) {
        let from = self.totals();
        let start = (self.clock)();
        self.engine.start_once(start, order, most, rate);
        while !self.engine.streams.iter().all(|stream| stream.is_done()) && !self.stopped() {
            let now = (self.clock)();
            self.engine.round(&self.clock, true);
            self.publish(now);
        }
        let end = (self.clock)();
        let ms = (end - start) as f64 * 1000.0 / self.engine.hz() as f64;
        (self.drain(&from, 200), round(ms, 3))
    }

    /// Measures windows of steady traffic.
    pub(crate) fn measure(&mut self, measure: &Measure) -> Report {
        self.live.enter(Phase::Measure);
        if measure.settle_ms > 0 {
            let from = self.totals();
            let now = (self.clock)();
            self.engine.start(now);
            self.until(now + self.ms(u64::from(measure.settle_ms)), true);
            self.drain(&from, measure.drain_ms);
        }
        let counts: Vec<_> = self
            .engine
            .streams
            .iter()
            .map(|stream| stream.counts)
            .collect();
        let first = self.totals();
        let start = (self.clock)();
        self.engine.start(start);
        let (mut before, mut at) = (first, start);
        let mut windows = Vec::new();
        for _ in 0..measure.windows {
            let end = self.until(at + self.ms(u64::from(measure.window_ms)), true);
            let totals = self.totals();
            if self.stopped() && end < at + self.ms(u64::from(measure.window_ms)) {
                break;
            }
            windows.push(self.window(end - at, &before, &totals));
            (before, at) = (totals, end);
        }
        self.drain(&first, measure.drain_ms);
        let total = self.window(at.saturating_sub(start).max(1), &first, &self.totals());
        let mut received: Vec<f64> = windows.iter().map(|window| window.received_pps).collect();
        received.sort_by(f64::total_cmp);
        let best = |a: &&Window, b: &&Window| {
            let rate = |window: &Window| window.received_pps + window.returned_pps;
            let received = rate(a).total_cmp(&rate(b));
            received.then(a.sent_pps.total_cmp(&b.sent_pps))
        };
        Report {
            mode: "stateless",
            interrupted: self.stopped(),
            warm_up: None,
            best: windows.iter().max_by(best).cloned(),
            median_received_pps: received.get(received.len() / 2).copied().unwrap_or(0.0),
            windows,
            total,
            streams: self.streams(&counts),
            ports: ports(&self.engine.stations, &self.engine.ports),
            search: None,
        }
    }

    /// Looks for the highest rate without more loss than allowed, by halves.
    pub(crate) fn search(&mut self, search: &Search, measure: &Measure) -> Report {
        let trial = Measure {
            windows: 1,
            window_ms: search.trial_ms,
            ..*measure
        };
        let (mut low, mut high) = (search.from, search.to);
        let mut found = SearchReport {
            rate: None,
            received_pps: 0.0,
            allowed_loss: search.loss,
            trials: Vec::new(),
        };
        let mut report = None;
        // RFC 2544 begins with the highest rate; the lowest tells whether there is any.
        let mut next = Some(high);
        while let Some(rate) = next {
            for stream in &mut self.engine.streams {
                stream.spec.rate = Some(rate);
            }
            let result = self.measure(&trial);
            let total = &result.total;
            let asked = rate * self.engine.streams.len() as f64;
            // A sender that does not reach its rate has not offered it.
            let reached = total.sent_pps >= asked * 0.99;
            let lost: u64 = result.streams.iter().map(|stream| stream.lost).sum();
            let offered: u64 = result
                .streams
                .iter()
                .map(|stream| stream.sent + stream.reflected)
                .sum();
            let loss = lost as f64 / offered.max(1) as f64;
            let passed = reached && loss <= search.loss && offered > 0;
            found.trials.push(Trial {
                rate: round(rate, 0),
                sent_pps: total.sent_pps,
                received_pps: total.received_pps,
                loss,
                passed,
            });
            if passed {
                low = rate;
                found.rate = Some(round(rate, 0));
                found.received_pps = total.received_pps;
                report = Some(result);
            } else {
                high = rate;
                report.get_or_insert(result);
            }
            let tried_all = found.rate.is_some_and(|rate| rate >= search.to.round());
            let narrow = high - low <= high * search.resolution;
            next = match (tried_all || narrow || self.stopped(), found.rate) {
                (false, _) => Some((low + high) / 2.0),
                (true, _) => None,
            };
        }
        let mut report = report.unwrap_or_else(|| {
            self.measure(&Measure {
                windows: 0,
                ..trial
            })
        });
        report.mode = "search";
        report.search = Some(found);
        report
    }
}

#[cfg(test)]
mod tests;
