//! Results: for programs as JSON, for people as lines.

use std::fmt::Write;

use hdrhistogram::Histogram;
use serde::Serialize;

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// `stateless`, `search` or `tcp`.
    pub(crate) mode: &'static str,
    /// The run was interrupted, and what follows covers a part of it.
    pub(crate) interrupted: bool,
    /// What the sessions' opening came to, where it was asked for.
    pub(crate) warm_up: Option<WarmUpReport>,
    /// Windows of time, all streams together.
    pub(crate) windows: Vec<Window>,
    /// The window in which most packets came back.
    pub(crate) best: Option<Window>,
    /// Packets received per second in the middle one of the windows.
    pub(crate) median_received_pps: f64,
    /// All windows, and what was under way after the last.
    pub(crate) total: Window,
    /// Each stream over all windows.
    pub(crate) streams: Vec<StreamReport>,
    /// What else came to each port, since the start.
    pub(crate) ports: Vec<PortReport>,
    /// The search's result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) search: Option<SearchReport>,
}

/// Packets in a window of time.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Window {
    /// Its length.
    pub(crate) ms: f64,
    /// Packets that devices took.
    pub(crate) sent: u64,
    /// Packets that came where they should.
    pub(crate) received: u64,
    /// Packets that came back to where they were sent from.
    pub(crate) returned: u64,
    /// Per second.
    pub(crate) sent_pps: f64,
    /// Per second.
    pub(crate) received_pps: f64,
    /// Per second.
    pub(crate) returned_pps: f64,
    /// Bits per second sent, with preamble and gap.
    pub(crate) sent_bps: f64,
    /// Sent and not received, reflected and not returned. In one window it may be off, below 0 even,
    /// by what was under way at its ends.
    pub(crate) lost: i64,
    /// Its share of what was sent and reflected.
    pub(crate) loss: f64,
}

/// The pass in which each flow sends one packet.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WarmUpReport {
    /// Flows of all streams.
    pub(crate) flows: u64,
    /// Passes made.
    pub(crate) passes: u32,
    /// Packets missing in the last.
    pub(crate) missing: u64,
    /// No more were missing than allowed.
    pub(crate) complete: bool,
    /// How long the last pass took.
    pub(crate) ms: f64,
}

/// A stream's packets.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StreamReport {
    /// Its name.
    pub(crate) name: String,
    /// Its flows.
    pub(crate) flows: u32,
    /// Packets that the device took.
    pub(crate) sent: u64,
    /// Packets that came where they should.
    pub(crate) received: u64,
    /// Packets sent back from there.
    pub(crate) reflected: u64,
    /// Packets that came back.
    pub(crate) returned: u64,
    /// Sent and never received, reflected and never returned.
    pub(crate) lost: u64,
    /// Bursts that the device did not take whole.
    pub(crate) refusals: u64,
    /// Packets to be sent back that the device did not take.
    pub(crate) reflect_refused: u64,
    /// Bursts that packet buffers were missing for.
    pub(crate) no_buffer: u64,
    /// What was found on the way there, if packets are stamped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) forward: Option<CheckReport>,
    /// What was found on the way back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) back: Option<CheckReport>,
}

/// What stamps tell.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CheckReport {
    /// Packets, duplicates not counted.
    pub(crate) unique: u64,
    /// Packets that came again.
    pub(crate) duplicates: u64,
    /// Packets that came after later ones.
    pub(crate) reordered: u64,
    /// Of these, so late that they may be duplicates.
    pub(crate) very_late: u64,
    /// Packets with a payload that is not as it was sent; they count as lost, too.
    pub(crate) corrupted: u64,
    /// Packets with a wrong checksum, where those are looked at.
    pub(crate) bad_checksums: u64,
    /// Packets of an earlier phase.
    pub(crate) stale: u64,
    /// From a packet's making to its reception.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_us: Option<Latency>,
}

/// A distribution of times in microseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Latency {
    /// How many were taken.
    pub(crate) count: u64,
    /// The shortest.
    pub(crate) min: f64,
    /// Half are shorter.
    pub(crate) p50: f64,
    /// 90 of 100 are shorter.
    pub(crate) p90: f64,
    /// 99 of 100 are shorter.
    pub(crate) p99: f64,
    /// 999 of 1,000 are shorter.
    pub(crate) p999: f64,
    /// The longest.
    pub(crate) max: f64,
    /// The average.
    pub(crate) mean: f64,
}

/// Frames at a port that belong to no stream.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PortReport {
    /// Its name.
    pub(crate) name: String,
    /// ARP requests answered.
    pub(crate) arp_answered: u64,
    /// Frames that no stream expects here.
    pub(crate) foreign: u64,
}

/// The throughput that was searched for.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SearchReport {
    /// The highest rate with no more loss than allowed, packets per second of each stream. `None` if
    /// even the lowest lost more.
    pub(crate) rate: Option<f64>,
    /// Packets received per second at that rate, all streams together.
    pub(crate) received_pps: f64,
    /// Share of packets that was allowed to be lost.
    pub(crate) allowed_loss: f64,
    /// All that was tried, in order.
    pub(crate) trials: Vec<Trial>,
}

/// One rate, tried.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Trial {
    /// Packets per second of each stream asked for.
    pub(crate) rate: f64,
    /// Sent per second, all streams together.
    pub(crate) sent_pps: f64,
    /// Received per second, all streams together.
    pub(crate) received_pps: f64,
    /// Share lost.
    pub(crate) loss: f64,
    /// No more was lost than allowed, and the rate was reached.
    pub(crate) passed: bool,
}

impl Latency {
    /// From ticks of a clock.
    pub(crate) fn of(ticks: &Histogram<u64>, hz: u64) -> Self {
        let us = |ticks: u64| round(ticks as f64 * 1e6 / hz as f64, 3);
        Self {
            count: ticks.len(),
            min: us(ticks.min()),
            p50: us(ticks.value_at_quantile(0.5)),
            p90: us(ticks.value_at_quantile(0.9)),
            p99: us(ticks.value_at_quantile(0.99)),
            p999: us(ticks.value_at_quantile(0.999)),
            max: us(ticks.max()),
            mean: us(ticks.mean() as u64),
        }
    }
}

/// To so many digits behind the point.
pub(crate) fn round(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).round() / factor
}

impl Report {
    /// Lines for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        if let Some(warm_up) = &self.warm_up {
            writeln!(
                out,
                "warm-up    {} flows, {} passes, {} missing, {:.0} ms",
                warm_up.flows, warm_up.passes, warm_up.missing, warm_up.ms
            )?;
        }
        if let Some(search) = &self.search {
            writeln!(
                out,
                "{:>14} {:>14} {:>14} {:>10}",
                "rate", "sent/s", "received/s", "loss"
            )?;
            for trial in &search.trials {
                writeln!(
                    out,
                    "{:>14.0} {:>14.0} {:>14.0} {:>9.4}% {}",
                    trial.rate,
                    trial.sent_pps,
                    trial.received_pps,
                    trial.loss * 100.0,
                    if trial.passed { "passed" } else { "failed" }
                )?;
            }
            match search.rate {
                Some(rate) => writeln!(
                    out,
                    "throughput {rate:.0} packets/s of each stream with at most {} % lost",
                    search.allowed_loss * 100.0
                )?,
                None => writeln!(out, "throughput: even the lowest rate lost more")?,
            }
            return Ok(());
        }
        writeln!(
            out,
            "{:>8} {:>14} {:>14} {:>14} {:>12}",
            "window", "sent/s", "received/s", "returned/s", "lost"
        )?;
        for (number, window) in self.windows.iter().enumerate() {
            window.write(out, &number.to_string())?;
        }
        if let Some(best) = &self.best {
            best.write(out, "best")?;
        }
        self.total.write(out, "total")?;
        for stream in &self.streams {
            writeln!(
                out,
                "stream {}: {} flows, {} sent, {} received, {} returned, {} lost",
                stream.name,
                stream.flows,
                stream.sent,
                stream.received,
                stream.returned,
                stream.lost
            )?;
            for (way, check) in [("forward", &stream.forward), ("back", &stream.back)] {
                let Some(check) = check else { continue };
                writeln!(
                    out,
                    "  {way}: {} reordered, {} duplicates, {} corrupted, {} bad checksums",
                    check.reordered, check.duplicates, check.corrupted, check.bad_checksums
                )?;
                if let Some(latency) = &check.latency_us {
                    writeln!(
                        out,
                        "  {way}: latency us p50 {} p90 {} p99 {} p999 {} max {}",
                        latency.p50, latency.p90, latency.p99, latency.p999, latency.max
                    )?;
                }
            }
        }
        Ok(())
    }
}

impl Window {
    fn write(&self, out: &mut String, name: &str) -> std::fmt::Result {
        writeln!(
            out,
            "{name:>8} {:>14.0} {:>14.0} {:>14.0} {:>12}",
            self.sent_pps, self.received_pps, self.returned_pps, self.lost
        )
    }
}
