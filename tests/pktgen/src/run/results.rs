//! What a run has to tell: counts of two moments, and what lies between them.

use sluice_dataplane::io::Io;

use super::Run;
use crate::check::Tracker;
use crate::engine::PortCounts;
use crate::report::{CheckReport, Latency, PortReport, StreamReport, Window, round};
use crate::station::Station;
use crate::stream::{Check, StreamCounts};

/// What a frame has on the wire besides its bytes: preamble and gap.
const GAP: u64 = 20;

/// Packets of all streams, at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    sent: u64,
    sent_bytes: u64,
    received: u64,
    reflected: u64,
    returned: u64,
}

impl<I: Io, C: Fn() -> u64> Run<'_, I, C> {
    /// Packets of all streams, now.
    pub(super) fn totals(&self) -> Totals {
        let add = |all: Totals, counts: &StreamCounts| Totals {
            sent: all.sent + counts.sent,
            sent_bytes: all.sent_bytes + counts.sent_bytes,
            received: all.received + counts.received,
            reflected: all.reflected + counts.reflected,
            returned: all.returned + counts.returned,
        };
        let counts = self.engine.streams.iter().map(|stream| &stream.counts);
        counts.fold(Totals::default(), add)
    }

    /// What came between two moments, `ticks` apart.
    pub(super) fn window(&self, ticks: u64, from: &Totals, to: &Totals) -> Window {
        let seconds = ticks as f64 / self.engine.hz() as f64;
        let per_second = |count: u64| round(count as f64 / seconds, 1);
        let sent = to.sent - from.sent;
        let received = to.received - from.received;
        let reflected = to.reflected - from.reflected;
        let returned = to.returned - from.returned;
        let bytes = to.sent_bytes - from.sent_bytes + sent * GAP;
        let lost = (sent + reflected) as i64 - (received + returned) as i64;
        Window {
            ms: round(seconds * 1000.0, 3),
            sent,
            received,
            returned,
            sent_pps: per_second(sent),
            received_pps: per_second(received),
            returned_pps: per_second(returned),
            sent_bps: per_second(bytes * 8),
            lost,
            loss: lost as f64 / (sent + reflected).max(1) as f64,
        }
    }

    /// Each stream since its counts were these.
    pub(super) fn streams(&self, before: &[StreamCounts]) -> Vec<StreamReport> {
        let hz = self.engine.hz();
        let streams = self.engine.streams.iter().zip(before);
        streams
            .map(|(stream, before)| {
                let counts = &stream.counts;
                let (sent, received) =
                    (counts.sent - before.sent, counts.received - before.received);
                let reflected = counts.reflected - before.reflected;
                let returned = counts.returned - before.returned;
                let stamped = stream.spec.check > Check::Count;
                let reflects = stream.spec.reflect.is_some();
                // Without stamps a duplicate cannot be told from a packet of its own.
                let lost = |sent: u64, received: u64, tracker: &Tracker| match stamped {
                    true => sent.saturating_sub(tracker.counts.unique),
                    false => sent.saturating_sub(received),
                };
                StreamReport {
                    name: stream.spec.name.clone(),
                    flows: stream.spec.space.flows(),
                    sent,
                    received,
                    reflected,
                    returned,
                    lost: lost(sent, received, &stream.forward)
                        + match reflects {
                            true => lost(reflected, returned, &stream.back),
                            false => 0,
                        },
                    refusals: counts.refusals - before.refusals,
                    reflect_refused: counts.reflect_refused - before.reflect_refused,
                    no_buffer: counts.no_buffer - before.no_buffer,
                    forward: stamped.then(|| found(&stream.forward, hz)),
                    back: (stamped && reflects).then(|| found(&stream.back, hz)),
                }
            })
            .collect()
    }
}

/// What else came to each port.
pub(crate) fn ports(stations: &[Station], counts: &[PortCounts]) -> Vec<PortReport> {
    let ports = stations.iter().zip(counts);
    ports
        .map(|(station, counts)| PortReport {
            name: station.name.clone(),
            arp_answered: counts.arp_answered,
            foreign: counts.foreign,
        })
        .collect()
}

/// Packets that should have come since `from` and did not.
pub(super) fn missing(from: &Totals, to: &Totals) -> u64 {
    let there = (to.sent - from.sent).saturating_sub(to.received - from.received);
    let back = (to.reflected - from.reflected).saturating_sub(to.returned - from.returned);
    there + back
}

fn found(tracker: &Tracker, hz: u64) -> CheckReport {
    let counts = tracker.counts;
    CheckReport {
        unique: counts.unique,
        duplicates: counts.duplicates,
        reordered: counts.reordered,
        very_late: counts.very_late,
        corrupted: counts.corrupted,
        bad_checksums: counts.bad_checksums,
        stale: counts.stale,
        latency_us: tracker.latency.as_ref().map(|ticks| Latency::of(ticks, hz)),
    }
}
