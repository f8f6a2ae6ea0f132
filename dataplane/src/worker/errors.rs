//! ICMP errors and resets: those that pass through, and our own.

use sluice_wire::MacAddr;

use super::Worker;
use super::burst::Packet;
use super::tables::PerFamily;
use crate::counters::DropReason;
use crate::handoff::Passed;
use crate::io::{Frame, Io};
use crate::published::WorkerCounter;
use crate::rewrite;
use crate::session::table::FlowRef;
use crate::stack::{icmp, reset};

impl<I: Io> Worker<I> {
    /// An ICMP error about a packet of the flow opposite to `at` goes the way of `at`. It neither
    /// keeps the session alive nor changes its state (RFC 5508 REQ-7 and REQ-10).
    #[cold]
    pub(super) fn pass_icmp_error<F: PerFamily>(
        &mut self,
        mut packet: Packet<I::Frame>,
        at: FlowRef,
    ) {
        let Some(flow) = F::table(&self.tables).flow(at).copied() else {
            return self.reject(packet, DropReason::Internal);
        };
        let Some(path) = self.paths.get(flow.path).copied() else {
            return self.reject(packet, DropReason::Internal);
        };
        if packet.parsed.ttl <= 1 || !path.resolved || packet.parsed.ip_len() > path.mtu {
            match self.obstacle(packet, flow.path) {
                Some(unhindered) => packet = unhindered,
                None => return,
            }
        }
        let Packet {
            mut frame,
            parsed,
            port,
            ..
        } = packet;
        if !rewrite::icmp::apply(&flow, frame.bytes_mut(), &parsed) {
            return self.drop(frame, port, DropReason::IcmpUnrelated);
        }
        if let Some(path) = self.paths.get_mut(flow.path) {
            path.packets = path.packets.wrapping_add(1);
            path.bytes += u64::from(parsed.ip_len());
        }
        self.send_along(frame, port, flow.path, &parsed);
    }

    /// Drops a packet, and tells its sender where that helps.
    #[cold]
    pub(super) fn refuse(&mut self, packet: Packet<I::Frame>, reason: DropReason) {
        let error = match reason {
            DropReason::TtlExceeded => Some(icmp::Error::TtlExceeded),
            DropReason::NoRoute => Some(icmp::Error::NoRoute),
            DropReason::NeighbourUnresolved => Some(icmp::Error::HostUnreachable),
            // Silence towards strangers is the point of a firewall; who may be inside is told.
            _ => None,
        };
        if let Some(error) = error {
            self.answer(&packet, error);
        }
        self.reject(packet, reason);
    }

    /// Sends an ICMP error about a packet to its sender, if one is due and the rate allows it.
    pub(super) fn answer(&mut self, packet: &Packet<I::Frame>, error: icmp::Error) {
        let Some(port) = self.snapshot.ports.get(usize::from(packet.port.0)) else {
            return;
        };
        let about = packet.frame.bytes();
        if packet.hosted || !icmp::may_answer(error, about, &packet.parsed, port) {
            return;
        }
        if !self.error_limit.allow(self.now) {
            return self.counters.count(WorkerCounter::IcmpErrorsLimited);
        }
        let sender = packet.corrected.is().then(|| self.neighbour_behind(packet));
        if sender == Some(None) {
            return;
        }
        let Some(mut frame) = self.io.alloc() else {
            return;
        };
        if icmp::error(error, about, &packet.parsed, port, &mut frame) {
            if let Some((Some(MacAddr(sender)), to)) =
                sender.zip(frame.bytes_mut().first_chunk_mut())
            {
                *to = sender;
            }
            let device = port.device;
            self.counters.count(WorkerCounter::IcmpErrorsSent);
            self.originate(frame, device);
        }
    }

    /// Drops a TCP segment that has no session, and tells its sender so by a reset, for which its
    /// frame is used.
    pub(super) fn refuse_by_reset(&mut self, packet: Packet<I::Frame>) {
        let Packet {
            mut frame,
            parsed,
            port,
            corrected,
            hosted,
            ..
        } = packet;
        let known = self.snapshot.ports.get(usize::from(port.0));
        if let Some(known) = known
            // Who sent it is known only to the node that received it.
            && !corrected.is()
            && !hosted
            && self.error_limit.allow(self.now)
            && reset::reply(&mut frame, &parsed, known)
        {
            let device = known.device;
            self.counters.drop(DropReason::OutOfState);
            self.tally.dropped(port);
            self.counters.count(WorkerCounter::ResetsSent);
            return self.originate(frame, device);
        }
        self.drop(frame, port, DropReason::OutOfState);
    }

    /// Drops a packet whose next hop does not answer, and tells its sender.
    pub(super) fn unreachable(&mut self, passed: Passed<I::Frame>) {
        match self.unpack(passed) {
            Ok(packet) => self.refuse(packet, DropReason::NeighbourUnresolved),
            Err((frame, port, _)) => self.drop(frame, port, DropReason::NeighbourUnresolved),
        }
    }
}
