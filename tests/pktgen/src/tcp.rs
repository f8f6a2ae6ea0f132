//! TCP connections through the appliance: clients and servers of one core.
//!
//! Clients keep sixteen bytes per connection, found by computing, not by searching: addresses and
//! ports of a client give its number, and connections that are under way lie side by side. Servers
//! keep nothing: what a server answers follows from the segment that it got, as each client sends
//! one thing at a time and sends it again until it is answered.

pub(crate) mod client;
pub(crate) mod run;
pub(crate) mod segment;

use std::net::Ipv4Addr;

use hdrhistogram::Histogram;
use sluice_dataplane::io::{DeviceId, Frame, Io, RxBurst, TxBurst};
use sluice_wire::MacAddr;
use sluice_wire::tcp::flag;

use crate::check::Tracker;
use crate::engine::{PortCounts, outside, put};
use crate::flows::{Space, TupleBytes};
use crate::pace::{BURST, Pace};
use crate::stamp;
use crate::station::Station;
use client::{Connection, Event, Script, Send, Step};
use segment::{Segment, Writer};

/// Full bursts that one round takes from a port.
const BURSTS: usize = 4;
/// Frames that one segment from a server may cause.
const MOST_ANSWERS: usize = 2;

/// What connections are to be made.
#[derive(Debug, Clone)]
pub(crate) struct TcpSpec {
    /// The port of the clients.
    pub(crate) client: usize,
    /// The port of the servers.
    pub(crate) server: usize,
    /// The port that servers send into: theirs, or another one.
    pub(crate) replies: usize,
    /// Clients' addresses and ports, and what they connect to.
    pub(crate) space: Space,
    /// Connections opened per second; as many as possible, if `None`.
    pub(crate) rate: Option<f64>,
    /// Most connections under way.
    pub(crate) concurrent: u32,
    /// What each of them does.
    pub(crate) script: Script,
}

/// What happened since the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TcpCounts {
    /// Connections begun.
    pub(crate) opened: u64,
    /// Connections that the server accepted.
    pub(crate) established: u64,
    /// Responses received.
    pub(crate) answered: u64,
    /// Connections closed by both sides.
    pub(crate) completed: u64,
    /// Connections given up.
    pub(crate) timed_out: u64,
    /// Connections reset.
    pub(crate) reset: u64,
    /// Segments that clients sent again.
    pub(crate) retransmitted: u64,
    /// Segments that fit no connection's state, duplicates of answers among them.
    pub(crate) stray: u64,
    /// Segments handed to devices.
    pub(crate) sent: u64,
    /// Segments received, damaged ones not counted.
    pub(crate) received: u64,
    /// TCP segments or data that were damaged.
    pub(crate) corrupted: u64,
    /// Segments that the device had no room for.
    pub(crate) refused: u64,
    /// Segments that there was no packet buffer for.
    pub(crate) no_buffer: u64,
    /// Connections that servers saw begin: SYNs, repeated ones too.
    pub(crate) server_syns: u64,
}

/// Clients and servers on ports.
pub(crate) struct TcpEngine<I: Io> {
    io: I,
    hz: u64,
    ticks_per_ms: u64,
    /// What stands behind each port.
    pub(crate) stations: Vec<Station>,
    /// What else came.
    pub(crate) ports: Vec<PortCounts>,
    /// What is to be done.
    pub(crate) spec: TcpSpec,
    /// What has been done.
    pub(crate) counts: TcpCounts,
    /// Ticks from a connection's SYN to the server's, to 256.
    pub(crate) setup: Option<Histogram<u64>>,
    connections: Vec<Connection>,
    /// The oldest connection that may be under way.
    oldest: u32,
    /// The next to be opened.
    next: u32,
    /// Connections between the two.
    span: u32,
    /// Connections under way.
    pub(crate) active: u32,
    /// How far past `oldest` timers have been looked at.
    watched: u32,
    watched_ms: u32,
    pace: Pace,
    writer: Writer,
    request: Vec<u8>,
    response: Vec<u8>,
    out: Vec<TxBurst<I::Frame>>,
    spare: TxBurst<I::Frame>,
    done: TxBurst<I::Frame>,
}

impl<I: Io> TcpEngine<I> {
    /// All at rest. `hz` is the ticks per second of every `now`.
    pub(crate) fn new(io: I, hz: u64, stations: Vec<Station>, spec: TcpSpec) -> Self {
        let flows = spec.space.flows() as usize;
        Self {
            io,
            hz,
            ticks_per_ms: (hz / 1000).max(1),
            ports: vec![PortCounts::default(); stations.len()],
            out: stations.iter().map(|_| TxBurst::new()).collect(),
            stations,
            counts: TcpCounts::default(),
            setup: Tracker::histogram(),
            connections: vec![Connection::default(); flows],
            oldest: 0,
            next: 0,
            span: 0,
            active: 0,
            watched: 0,
            watched_ms: 0,
            pace: Pace::new(Some(0.0), hz, 0),
            writer: Writer::default(),
            request: stamp::filler(spec.script.request as usize),
            response: stamp::filler(spec.script.response as usize),
            spec,
            spare: TxBurst::new(),
            done: TxBurst::new(),
        }
    }

    /// Ticks per second.
    pub(crate) fn hz(&self) -> u64 {
        self.hz
    }

    /// Opens connections at the wanted rate from now on.
    pub(crate) fn start(&mut self, now: u64) {
        self.pace = Pace::new(self.spec.rate, self.hz, now);
        if let Some(setup) = &mut self.setup {
            setup.reset();
        }
    }

    /// Asks for the appliance's MAC addresses that are not known. True if there are none.
    pub(crate) fn resolve(&mut self) -> bool {
        let mut known = true;
        for (port, station) in self.stations.iter().enumerate() {
            if let Some(question) = station.question() {
                known = false;
                put(&mut self.io, &mut self.out[port], &question);
            }
        }
        known
    }

    /// One round.
    #[inline]
    pub(crate) fn round(&mut self, now: u64, opening: bool) {
        let now_ms = (now / self.ticks_per_ms) as u32;
        for port in 0..self.stations.len() {
            self.receive(port, now, now_ms);
        }
        if opening {
            self.open(now, now_ms);
        }
        if self.watched_ms != now_ms {
            self.watch(now_ms.wrapping_sub(self.watched_ms), now_ms);
            self.watched_ms = now_ms;
        }
        for port in 0..self.out.len() {
            self.flush(port);
        }
    }

    /// Opens what is due, and what there is room for.
    fn open(&mut self, now: u64, now_ms: u32) {
        let flows = self.spec.space.flows();
        let room = self.out[self.spec.client].remaining_capacity();
        // Answers need room as well.
        let room = room.saturating_sub(BURST) as u32;
        let free = self.spec.concurrent.saturating_sub(self.active);
        let due = self.pace.due(now) as u32;
        let mut opened = 0;
        while opened < due.min(free).min(room) && self.span < flows {
            let number = self.next;
            let Some(connection) = self.connections.get_mut(number as usize) else {
                break;
            };
            let send = connection.open(number, &self.spec.script, now_ms, now);
            self.next = if number + 1 < flows { number + 1 } else { 0 };
            self.span += 1;
            self.active += 1;
            opened += 1;
            let tuple = self.spec.space.tuple(number);
            self.stage(tuple, &send, None);
        }
        self.counts.opened += u64::from(opened);
        self.pace.took(opened as usize);
    }

    /// Looks at the timers of a share of the connections under way: at all of them four times in
    /// the time after which a segment is sent again.
    fn watch(&mut self, elapsed_ms: u32, now_ms: u32) {
        let flows = self.spec.space.flows();
        while self.span > 0 && !self.connections[self.oldest as usize].state.is_active() {
            self.oldest = if self.oldest + 1 < flows {
                self.oldest + 1
            } else {
                0
            };
            self.span -= 1;
            self.watched = self.watched.saturating_sub(1);
        }
        let share = self.span / (self.spec.script.retransmit_ms / 4).max(1) + 1;
        let count = share.saturating_mul(elapsed_ms).min(self.span);
        for _ in 0..count {
            if self.watched >= self.span {
                self.watched = 0;
            }
            let number = (u64::from(self.oldest) + u64::from(self.watched)) % u64::from(flows);
            let number = number as u32;
            self.watched += 1;
            let step = self.connections[number as usize].watch(number, &self.spec.script, now_ms);
            if step != Step::default() {
                self.follow(number, &step, None);
            }
        }
    }

    fn receive(&mut self, port: usize, now: u64, now_ms: u32) {
        let mut burst = RxBurst::new();
        for _ in 0..BURSTS {
            // What comes is answered, so that there must be room.
            for out in [self.spec.client, self.spec.replies] {
                if self.out[out].remaining_capacity() < BURST * MOST_ANSWERS {
                    self.flush(out);
                }
            }
            self.io.rx(DeviceId(port as u16), &mut burst);
            let full = burst.is_full();
            for frame in burst.drain(..) {
                self.take(port, frame, now, now_ms);
            }
            self.io.free(&mut self.done);
            if !full {
                return;
            }
        }
    }

    #[inline]
    fn take(&mut self, port: usize, frame: I::Frame, now: u64, now_ms: u32) {
        let Some(segment) = Segment::parse(frame.bytes()) else {
            if crate::engine::payload(frame.bytes()).is_some() {
                self.counts.corrupted += 1;
            } else {
                outside(
                    &mut self.io,
                    &mut self.stations[port],
                    &mut self.ports[port],
                    &mut self.out[port],
                    frame.bytes(),
                );
            }
            self.done.push(frame);
            return;
        };
        self.counts.received += 1;
        let [.., e, f, g, h, _, _, _, _] = segment.tuple;
        if self.spec.space.is_source(Ipv4Addr::new(e, f, g, h)) {
            let tuple = segment::reverse(&segment.tuple);
            match self.spec.space.flow(&tuple) {
                Some(number) => self.deliver(number, &segment, frame, now, now_ms),
                None => {
                    self.counts.stray += 1;
                    self.done.push(frame);
                }
            }
        } else {
            self.serve(&segment, frame);
        }
    }

    /// A client's segment at a server, which answers it in the frame that it came in.
    #[inline]
    fn serve(&mut self, segment: &Segment, frame: I::Frame) {
        let len = segment.len();
        let intact = frame.bytes().get(segment.data.0..segment.data.1);
        let intact = len == 0 || intact == Some(&self.request[..]);
        if segment.has(flag::RST) || !intact {
            self.counts.corrupted += u64::from(!intact);
            self.done.push(frame);
            return;
        }
        let syn = segment.has(flag::SYN);
        let counted = len + u32::from(syn) + u32::from(segment.has(flag::FIN));
        if counted == 0 {
            self.done.push(frame);
            return;
        }
        self.counts.server_syns += u64::from(syn);
        let (seq, flags) = if syn {
            (
                segment.seq.rotate_left(16) ^ 0x5a5a_1234,
                flag::SYN | flag::ACK,
            )
        } else if segment.has(flag::FIN) {
            (segment.ack, flag::FIN | flag::ACK)
        } else {
            (segment.ack, flag::ACK | flag::PSH)
        };
        let answer = Segment {
            tuple: segment::reverse(&segment.tuple),
            seq,
            ack: segment.seq.wrapping_add(counted),
            flags,
            data: (0, 0),
        };
        let with_data = len > 0;
        self.put(
            self.spec.replies,
            &answer,
            Data::response(with_data),
            Some(frame),
        );
    }

    /// A server's segment at a client.
    #[inline]
    fn deliver(&mut self, number: u32, segment: &Segment, frame: I::Frame, now: u64, now_ms: u32) {
        let data = frame.bytes().get(segment.data.0..segment.data.1);
        if segment.len() > 0 && data != Some(&self.response[..]) {
            self.counts.corrupted += 1;
            self.done.push(frame);
            return;
        }
        let Some(connection) = self.connections.get_mut(number as usize) else {
            return;
        };
        let step = connection.hear(number, segment, &self.spec.script, now_ms);
        if step.event == Event::Established {
            let opened = connection.opened;
            let ticks = ((now >> 8) as u32).wrapping_sub(opened);
            if let Some(setup) = &mut self.setup {
                setup.saturating_record((u64::from(ticks) << 8).max(1));
            }
        }
        self.follow(number, &step, Some(frame));
    }

    /// Does what a step asks for.
    #[inline]
    fn follow(&mut self, number: u32, step: &Step, frame: Option<I::Frame>) {
        let counts = &mut self.counts;
        match step.event {
            Event::None => {}
            Event::Established => counts.established += 1,
            Event::Answered => counts.answered += 1,
            Event::Completed => {
                counts.completed += 1;
                self.active -= 1;
            }
            Event::Retransmitted => counts.retransmitted += 1,
            Event::TimedOut => {
                counts.timed_out += 1;
                self.active -= 1;
            }
            Event::Reset => {
                counts.reset += 1;
                self.active -= 1;
            }
            Event::Stray => counts.stray += 1,
        }
        let Some(first) = step.first else {
            self.done.extend(frame);
            return;
        };
        let tuple = self.spec.space.tuple(number);
        self.stage(tuple, &first, frame);
        if let Some(second) = step.second {
            self.stage(tuple, &second, None);
        }
    }

    #[inline]
    fn stage(&mut self, tuple: TupleBytes, send: &Send, frame: Option<I::Frame>) {
        let segment = Segment {
            tuple,
            seq: send.seq,
            ack: send.ack,
            flags: send.flags,
            data: (0, 0),
        };
        let data = if send.request {
            Data::Request
        } else {
            Data::None
        };
        self.put(self.spec.client, &segment, data, frame);
    }

    /// Stages a segment, in a frame that is there or a new one.
    #[inline]
    fn put(&mut self, port: usize, segment: &Segment, data: Data, frame: Option<I::Frame>) {
        let Some(mut frame) = frame.or_else(|| self.fresh()) else {
            self.counts.no_buffer += 1;
            return;
        };
        let data = match data {
            Data::None => &[][..],
            Data::Request => &self.request,
            Data::Response => &self.response,
        };
        let out = &mut self.out[port];
        if out.is_full() || !frame.set_len(Writer::frame_len(data.len())) {
            self.counts.refused += 1;
            return;
        }
        let station = &self.stations[port];
        let macs: (MacAddr, MacAddr) = (station.next_hop(), station.mac);
        self.writer.write(frame.bytes_mut(), macs, segment, data);
        out.push(frame);
    }

    #[inline]
    fn fresh(&mut self) -> Option<I::Frame> {
        if self.spare.is_empty() {
            self.io.alloc_burst(&mut self.spare, BURST);
        }
        self.spare.pop()
    }

    /// Hands staged frames to a device. What it does not take waits for the next round.
    #[inline]
    fn flush(&mut self, port: usize) {
        let out = &mut self.out[port];
        if out.is_empty() {
            return;
        }
        let before = out.len();
        self.io.tx(DeviceId(port as u16), out);
        self.counts.sent += (before - out.len()) as u64;
    }
}

/// What a segment carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Data {
    None,
    Request,
    Response,
}

impl Data {
    fn response(wanted: bool) -> Self {
        if wanted { Self::Response } else { Self::None }
    }
}

#[cfg(test)]
mod tests;
