//! A stream: flows that send from one port, and what comes of their packets.

use sluice_dataplane::io::{DeviceId, Frame, Io, TxBurst};
use sluice_wire::MacAddr;

use crate::check::{Scope, Tracker};
use crate::flows::{Cursor, Order, Space};
use crate::pace::{BURST, Pace};
use crate::stamp::{self, Stamp};
use crate::template::{Protocol, Template};

/// What is looked at in a packet that comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Check {
    /// That it came.
    Count,
    /// Its number and its payload, too.
    Stamp,
    /// And its checksums.
    Full,
}

/// What a stream is to do.
#[derive(Debug, Clone)]
pub(crate) struct StreamSpec {
    /// Its name.
    pub(crate) name: String,
    /// The port that it sends from.
    pub(crate) from: usize,
    /// The port that its packets come to.
    pub(crate) to: usize,
    /// The port that packets are sent back into, addresses and ports swapped. They return to `from`.
    pub(crate) reflect: Option<usize>,
    /// UDP, or single TCP segments.
    pub(crate) protocol: Protocol,
    /// Sizes of frames in bytes, FCS included, in the order in which they are sent.
    pub(crate) sizes: Vec<u16>,
    /// Its flows.
    pub(crate) space: Space,
    /// The order in which they send.
    pub(crate) order: Order,
    /// Packets per second; as many as the device takes, if `None`.
    pub(crate) rate: Option<f64>,
    /// What is looked at.
    pub(crate) check: Check,
    /// Which packets must keep their order.
    pub(crate) scope: Scope,
    /// Whether time is taken.
    pub(crate) latency: bool,
}

/// Packets of a stream since the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StreamCounts {
    /// Taken by the device.
    pub(crate) sent: u64,
    /// Bytes of these on the wire, FCS included, preamble and gap not.
    pub(crate) sent_bytes: u64,
    /// Received where they should.
    pub(crate) received: u64,
    /// Sent back from there.
    pub(crate) reflected: u64,
    /// Received where they were sent from.
    pub(crate) returned: u64,
    /// To be sent back, and refused by the device.
    pub(crate) reflect_refused: u64,
    /// Times that the device did not take all that was due.
    pub(crate) refusals: u64,
    /// Times that there was no packet buffer.
    pub(crate) no_buffer: u64,
}

/// A stream at work.
pub(crate) struct Stream<F> {
    /// What it is to do.
    pub(crate) spec: StreamSpec,
    /// Its place among the streams, which its packets carry.
    number: u8,
    /// What it has done.
    pub(crate) counts: StreamCounts,
    /// What came where it should.
    pub(crate) forward: Tracker,
    /// What came back to where it was sent.
    pub(crate) back: Tracker,
    /// One per size that occurs.
    templates: Vec<Template>,
    /// Indices of templates, in the order in which sizes are sent.
    schedule: Vec<u16>,
    at: usize,
    cursor: Cursor,
    pace: Pace,
    /// What is left to be sent of a phase that has an end.
    budget: Option<u64>,
    sequence: u64,
    phase: u8,
    out: TxBurst<F>,
}

impl<F: Frame> Stream<F> {
    /// The stream of this number, which sends nothing yet.
    pub(crate) fn new(number: u8, spec: StreamSpec) -> Self {
        let mut sizes = spec.sizes.clone();
        sizes.sort_unstable();
        sizes.dedup();
        let place = |size: &u16| sizes.binary_search(size).unwrap_or(0) as u16;
        let stamped = spec.check > Check::Count;
        Self {
            number,
            counts: StreamCounts::default(),
            forward: Tracker::new(spec.scope, spec.latency),
            back: Tracker::new(spec.scope, spec.latency && spec.reflect.is_some()),
            schedule: spec.sizes.iter().map(place).collect(),
            templates: sizes
                .iter()
                .map(|&size| Template::new(spec.protocol, usize::from(size), stamped))
                .collect(),
            at: 0,
            cursor: Cursor::new(spec.space.flows(), spec.order),
            pace: Pace::new(Some(0.0), 1, 0),
            budget: Some(0),
            sequence: 0,
            phase: 0,
            out: TxBurst::new(),
            spec,
        }
    }

    /// Whom its packets go to from now on.
    pub(crate) fn set_macs(&mut self, dst: MacAddr, src: MacAddr) {
        for template in &mut self.templates {
            template.set_macs(dst, src);
        }
    }

    /// Begins a phase: from the first flow on, in this order, at this rate, so many packets.
    pub(crate) fn start(
        &mut self,
        phase: u8,
        order: Order,
        rate: Option<f64>,
        budget: Option<u64>,
        clock: (u64, u64),
    ) {
        let (now, hz) = clock;
        self.cursor = Cursor::new(self.spec.space.flows(), order);
        self.pace = Pace::new(rate, hz, now);
        self.budget = budget;
        self.sequence = 0;
        self.at = 0;
        self.phase = phase;
        self.forward.restart(phase);
        self.back.restart(phase);
        self.out.clear();
    }

    /// All of the phase's packets have been sent.
    pub(crate) fn is_done(&self) -> bool {
        self.budget == Some(0) && self.out.is_empty()
    }

    /// Sends what is due.
    #[inline]
    pub(crate) fn send(&mut self, io: &mut impl Io<Frame = F>, now: u64) {
        if self.out.is_empty() {
            let mut due = self.pace.due(now);
            if let Some(budget) = &mut self.budget {
                due = due.min(usize::try_from(*budget).unwrap_or(BURST));
            }
            if due == 0 {
                return;
            }
            let made = io.alloc_burst(&mut self.out, due);
            if made < due {
                self.counts.no_buffer += 1;
            }
            self.fill(now);
            self.pace.took(made);
            if let Some(budget) = &mut self.budget {
                *budget -= made as u64;
            }
        }
        let offered = self.out.len();
        let bytes = |out: &TxBurst<F>| match &self.templates[..] {
            [one] => out.len() * one.len(),
            _ => out.iter().map(|frame| frame.bytes().len()).sum(),
        };
        let before = bytes(&self.out);
        io.tx(DeviceId(self.spec.from as u16), &mut self.out);
        let sent = offered - self.out.len();
        let sent_bytes = before - bytes(&self.out) + sent * crate::template::FCS;
        self.counts.sent += sent as u64;
        self.counts.sent_bytes += sent_bytes as u64;
        self.counts.refusals += u64::from(sent < offered);
    }

    /// Makes packets of the frames in `out`, which are empty.
    #[inline]
    fn fill(&mut self, now: u64) {
        let stamped = self.spec.check > Check::Count;
        for frame in &mut self.out {
            let tuple = self.spec.space.tuple(self.cursor.next());
            let template = match self.schedule.get(self.at) {
                Some(&place) => self.templates.get(usize::from(place)),
                None => None,
            };
            self.at = if self.at + 1 < self.schedule.len() {
                self.at + 1
            } else {
                0
            };
            let Some(template) = template else {
                continue;
            };
            if !frame.set_len(template.len()) {
                continue;
            }
            if stamped {
                let stamp = Stamp {
                    stream: self.number,
                    phase: self.phase,
                    sequence: self.sequence,
                    ticks: now,
                };
                self.sequence += 1;
                let bytes: [u8; stamp::LEN] = stamp.bytes(template.rest);
                template.write(frame.bytes_mut(), &tuple, Some(&bytes));
            } else {
                template.write(frame.bytes_mut(), &tuple, None);
            }
        }
    }
}
