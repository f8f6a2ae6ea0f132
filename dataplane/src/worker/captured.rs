//! Packets while some are captured: all take the long way, one at a time, so that it can be told what
//! became of each.
//!
//! What became of a packet is read off the counters, which every end of a packet counts in. A packet
//! that is handed to another worker is captured there, so that it is in the capture once.

use sluice_wire::MacAddr;
use sluice_wire::parse::Kind;

use super::Worker;
use super::burst::{NOWHERE, Packet, arrive};
use crate::capture::{Fate, LINK};
use crate::counters::DropReason;
use crate::handoff::Passed;
use crate::io::{DeviceId, Frame, Io, RxBurst};
use crate::published::WorkerCounter;
use crate::snapshot::PortId;

/// The counters of all ends, before a packet is worked on.
struct Ends {
    consumed: u64,
    punted: u64,
    handed_over: u64,
    redirecting: usize,
    by_peer: u64,
    held: usize,
    dropped: [u64; DropReason::COUNT],
}

impl<I: Io> Worker<I> {
    /// Works on what `device` delivered.
    #[cold]
    #[inline(never)]
    pub(super) fn burst_captured(&mut self, device: DeviceId, frames: &mut RxBurst<I::Frame>) {
        self.counters
            .add(WorkerCounter::Received, frames.len() as u64);
        let at_ns = self.io.wall_ns();
        for frame in frames.drain(..) {
            let arrived = arrive(&self.snapshot, device, &frame, self.taken());
            let port = match &arrived {
                Ok((_, port)) => *port,
                Err((_, port)) => port.unwrap_or(NOWHERE),
            };
            self.tally.received(port, frame.bytes().len());
            self.watch(at_ns, port, frame, |worker, frame| match arrived {
                Ok((parsed, port)) => worker.one(Packet::arrived(frame, parsed, port)),
                Err((reason, _)) => worker.drop_unless_heartbeat(device, frame, port, reason),
            });
        }
    }

    /// Works on what the device of the HA link delivered: datagrams as they are, sealed, and packets that
    /// the other appliance handed to this one.
    #[cold]
    #[inline(never)]
    pub(super) fn ha_burst_captured(&mut self, frames: &mut RxBurst<I::Frame>) {
        let at_ns = self.io.wall_ns();
        for frame in frames.drain(..) {
            self.watch(at_ns, LINK, frame, Self::ha_arrived);
        }
    }

    /// Works on a datagram of the HA link that another worker received, at this time.
    #[cold]
    pub(super) fn ha_datagram_captured(&mut self, frame: I::Frame, at_ns: u64) {
        self.watch(at_ns, LINK, frame, Self::ha_datagram);
    }

    /// Works on a heartbeat that another worker received by a port of ours, at this time. It begins at
    /// byte `begins`.
    #[cold]
    pub(super) fn witness_captured(&mut self, frame: I::Frame, begins: usize, at_ns: u64) {
        let port = self.snapshot.groups.witness.unwrap_or(NOWHERE);
        self.watch(at_ns, port, frame, |worker, frame| {
            worker.hear_witness(frame, begins);
        });
    }

    /// Works on a packet that another worker handed over, at this time.
    #[cold]
    #[inline(never)]
    pub(super) fn resume_captured(&mut self, mut passed: Passed<I::Frame>, at_ns: u64) {
        let copies = match self.link_mac().filter(|_| passed.corrected.is()) {
            // What the other appliance handed over came by the link, and not to the port's MAC address,
            // which it was given since.
            Some(mac) => {
                let own = exchange_mac(&mut passed.frame, mac);
                let copies = self.egress.taps.copy(at_ns, LINK, &passed.frame);
                exchange_mac(&mut passed.frame, own);
                copies
            }
            None => self.egress.taps.copy(at_ns, passed.port, &passed.frame),
        };
        let before = self.ends();
        self.resume(passed);
        let fate = self.fate_since(&before);
        self.egress.taps.finish(copies, fate);
    }

    /// Copies a frame, works on it, and notes what became of it.
    fn watch(
        &mut self,
        at_ns: u64,
        port: PortId,
        frame: I::Frame,
        work: impl FnOnce(&mut Self, I::Frame),
    ) {
        let copies = self.egress.taps.copy(at_ns, port, &frame);
        let before = self.ends();
        work(self, frame);
        let fate = self.fate_since(&before);
        self.egress.taps.finish(copies, fate);
    }

    fn link_mac(&self) -> Option<MacAddr> {
        self.ha.as_ref().map(|ha| ha.mac())
    }

    fn one(&mut self, packet: Packet<I::Frame>) {
        let whole = matches!(packet.parsed.kind, Kind::Session | Kind::IcmpError);
        match self.zone(packet.port) {
            Some(zone) if whole => self.find(packet, zone),
            _ => self.special(packet),
        }
    }

    fn ends(&self) -> Ends {
        Ends {
            consumed: self.counters.get(WorkerCounter::Consumed),
            punted: self.counters.get(WorkerCounter::Punted) + self.egress.for_host(),
            handed_over: self.counters.get(WorkerCounter::HandedOver),
            redirecting: self.egress.redirecting(),
            by_peer: self.counters.get(WorkerCounter::RedirectedInline),
            held: self.hold.len() + self.fragments.frames(),
            dropped: self.counters.all_dropped(),
        }
    }

    /// What became of the packet; `None` if another worker has it. One that ends here may let others
    /// go that waited for it: its own end is looked for first.
    fn fate_since(&self, before: &Ends) -> Option<Fate> {
        let now = self.ends();
        if now.handed_over > before.handed_over {
            return None;
        }
        let dropped = DropReason::ALL
            .iter()
            .find(|&&reason| now.dropped[reason as usize] > before.dropped[reason as usize]);
        Some(if now.consumed > before.consumed {
            Fate::Consumed
        } else if now.punted > before.punted {
            Fate::Punted
        } else if now.redirecting != before.redirecting || now.by_peer > before.by_peer {
            Fate::Redirected
        } else if now.held > before.held {
            Fate::Held
        } else if let Some(&reason) = dropped {
            Fate::Dropped(reason)
        } else {
            Fate::Forwarded
        })
    }
}

/// Gives a frame another destination; its former one.
fn exchange_mac<F: Frame>(frame: &mut F, mac: MacAddr) -> MacAddr {
    match frame.bytes_mut().first_chunk_mut() {
        Some(to) => MacAddr(std::mem::replace(to, mac.0)),
        None => mac,
    }
}
