//! Packets while some are captured: all take the long way, one at a time, so that it can be told what
//! became of each.
//!
//! What became of a packet is read off the counters, which every end of a packet counts in. A packet
//! that is handed to another worker is captured there, so that it is in the capture once.

use sluice_wire::parse::Kind;

use super::Worker;
use super::burst::{NOWHERE, Packet, arrive};
use crate::capture::Fate;
use crate::counters::DropReason;
use crate::handoff::Passed;
use crate::io::{DeviceId, Frame, Io, RxBurst};
use crate::published::WorkerCounter;

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
            let copies = self.egress.taps.copy(at_ns, port, &frame);
            let before = self.ends();
            match arrived {
                Ok((parsed, port)) => self.one(Packet::arrived(frame, parsed, port)),
                Err((reason, _)) => self.drop_unless_heartbeat(device, frame, port, reason),
            }
            let fate = self.fate_since(&before);
            self.egress.taps.finish(copies, fate);
        }
    }

    /// Works on a packet that another worker handed over, at this time.
    #[cold]
    #[inline(never)]
    pub(super) fn resume_captured(&mut self, passed: Passed<I::Frame>, at_ns: u64) {
        let copies = self.egress.taps.copy(at_ns, passed.port, &passed.frame);
        let before = self.ends();
        self.resume(passed);
        let fate = self.fate_since(&before);
        self.egress.taps.finish(copies, fate);
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
            punted: self.counters.get(WorkerCounter::Punted),
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
