//! What a worker has counted of its ports, services and real servers since it published last.

use crate::published::{FlowCounter, PortCounter, Slot, Writer};
use crate::snapshot::{PortId, ServerId, ServiceId};

/// What happened to sessions of one service or real server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Opened,
    Ended,
    Refused,
    /// No NAT port was free.
    Exhausted,
    /// It went to a tier after the first.
    Overflowed,
    /// A request was answered by a redirect.
    HttpRedirected,
    /// A real server took the connection.
    Answered,
    /// It said nothing.
    Unanswered,
    /// It answered by a reset.
    Rejected,
}

/// How many there are.
const FATES: usize = 9;

/// Counts by id, and which ids have any.
#[derive(Debug)]
struct Fates {
    counts: Box<[[u32; FATES]]>,
    touched: Vec<u16>,
}

impl Fates {
    fn new(ids: usize) -> Self {
        Self {
            counts: vec![[0; FATES]; ids].into(),
            touched: Vec::with_capacity(ids),
        }
    }

    fn count(&mut self, id: u16, fate: Fate) {
        let Some(counts) = self.counts.get_mut(usize::from(id)) else {
            return;
        };
        if *counts == [0; FATES] {
            self.touched.push(id);
        }
        counts[fate as usize] += 1;
    }

    fn publish(&mut self, writer: &mut Writer<'_>, slot: impl Fn(u16, FlowCounter) -> Slot) {
        for id in self.touched.drain(..) {
            let counts = std::mem::take(&mut self.counts[usize::from(id)]);
            let names = [
                FlowCounter::Opened,
                FlowCounter::Ended,
                FlowCounter::Refused,
                FlowCounter::NatExhausted,
                FlowCounter::Overflowed,
                FlowCounter::HttpRedirects,
                FlowCounter::Answered,
                FlowCounter::Unanswered,
                FlowCounter::Rejected,
            ];
            for (name, count) in names.into_iter().zip(counts) {
                writer.add(slot(id, name), u64::from(count));
            }
        }
    }
}

/// One port's receive side.
#[derive(Clone, Copy, Debug, Default)]
struct PortTally {
    frames: u64,
    bytes: u64,
    dropped: u64,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Tally {
    ports: Box<[PortTally]>,
    services: Fates,
    servers: Fates,
}

impl Tally {
    pub(super) fn new(ports: usize, services: usize, servers: usize) -> Self {
        Self {
            ports: vec![PortTally::default(); ports].into(),
            services: Fates::new(services),
            servers: Fates::new(servers),
        }
    }

    /// A frame came in by a port.
    #[inline]
    pub(super) fn received(&mut self, port: PortId, bytes: usize) {
        if let Some(tally) = self.ports.get_mut(usize::from(port.0)) {
            tally.frames += 1;
            tally.bytes += bytes as u64;
        }
    }

    /// Several frames came in by a port; together they have so many bytes.
    #[inline]
    pub(super) fn received_many(&mut self, port: PortId, frames: u64, bytes: u64) {
        if let Some(tally) = self.ports.get_mut(usize::from(port.0)) {
            tally.frames += frames;
            tally.bytes += bytes;
        }
    }

    /// A frame that came in by a port was dropped.
    #[inline]
    pub(super) fn dropped(&mut self, port: PortId) {
        if let Some(tally) = self.ports.get_mut(usize::from(port.0)) {
            tally.dropped += 1;
        }
    }

    /// Something became of a session.
    pub(super) fn session(&mut self, service: ServiceId, server: ServerId, fate: Fate) {
        self.services.count(service.0, fate);
        if server != ServerId::NONE {
            self.servers.count(server.0, fate);
        }
    }

    /// Adds everything to the published counters.
    pub(super) fn publish(&mut self, writer: &mut Writer<'_>) {
        for (tally, port) in self.ports.iter_mut().zip((0..).map(PortId)) {
            if tally.frames != 0 || tally.dropped != 0 {
                let tally = std::mem::take(tally);
                writer.add(Slot::Port(port, PortCounter::RxFrames), tally.frames);
                writer.add(Slot::Port(port, PortCounter::RxBytes), tally.bytes);
                writer.add(Slot::Port(port, PortCounter::RxDropped), tally.dropped);
            }
        }
        self.services
            .publish(writer, |id, name| Slot::Service(ServiceId(id), name));
        self.servers
            .publish(writer, |id, name| Slot::Server(ServerId(id), name));
    }
}
