//! Packets for the host's kernel, and from it; see [`crate::host`].

use sluice_wire::parse::{Kind, Parsed, parse};
use sluice_wire::{Key, MacAddr, V4, V6, proto};

use super::Worker;
use super::burst::{NOWHERE, Packet};
use super::forward::encapsulate;
use super::plan;
use super::tables::PerFamily;
use crate::counters::DropReason;
use crate::handoff::{Corrected, Passed, Why};
use crate::host;
use crate::io::{Frame, Io};
use crate::path::UNTAGGED;
use crate::published::WorkerCounter;
use crate::snapshot::Local;
use crate::stack::neighbour::{NeighbourId, Reach};
use crate::tcp::{self, Opening};

/// Packets of the host taken per poll.
const BUDGET: usize = 64;

/// Why a packet is the host's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Claim {
    /// It answers the host.
    Reply,
    /// Policy lets its sender speak to the host.
    Stranger,
}

impl<I: Io> Worker<I> {
    /// Whether a packet that has no session is for the host.
    pub(super) fn host_claims<F: PerFamily>(
        &mut self,
        packet: &Packet<I::Frame>,
        key: &Key<F::Addrs>,
    ) -> Option<Claim> {
        let (kind, flags) = (packet.parsed.kind, packet.parsed.tcp_flags);
        let error = kind == Kind::IcmpError;
        if F::host_mut(&mut self.tables).answered(key, flags, error, self.now) {
            return Some(Claim::Reply);
        }
        self.host_admits::<F>(&packet.parsed, key)
            .then_some(Claim::Stranger)
    }

    /// Whether policy lets the packet's sender speak to the host.
    pub(super) fn host_admits<F: PerFamily>(&self, parsed: &Parsed, key: &Key<F::Addrs>) -> bool {
        let tuple = key.tuple::<F>();
        let opens = match tuple.proto {
            proto::TCP => tcp::opening(parsed.tcp_flags) == Opening::Syn,
            // Echo is answered here.
            proto::ICMP | proto::ICMPV6 => false,
            _ => true,
        };
        self.snapshot.host.as_ref().is_some_and(|policy| {
            parsed.kind != Kind::IcmpError
                && opens
                && host::is_own(&self.snapshot, tuple.dst)
                && policy.admits(key.zone, &tuple)
                && plan::inbound(&self.snapshot, &tuple, key.zone).is_for_nobody()
        })
    }

    /// Gives a packet to the host.
    #[cold]
    pub(super) fn punt(&mut self, packet: Packet<I::Frame>, claim: Claim) {
        if claim == Claim::Stranger && !self.strangers.allow(self.now) {
            return self.reject(packet, DropReason::PuntLimited);
        }
        let Some(mut parcel) = self.host.blank() else {
            return self.reject(packet, DropReason::HostQueueFull);
        };
        let (from, to) = (packet.parsed.l3, packet.parsed.end);
        let bytes = packet.frame.bytes().get(usize::from(from)..usize::from(to));
        if !parcel.fill(packet.port, bytes.unwrap_or_default()) {
            self.host.keep(parcel);
            return self.reject(packet, DropReason::TooBig);
        }
        self.host.punt(parcel);
        self.counters.count(WorkerCounter::Punted);
    }

    /// Sends what the host wants sent. Returns whether there was any.
    pub(super) fn take_from_host(&mut self) -> bool {
        for taken in 0..BUDGET {
            let Some(parcel) = self.host.receive() else {
                return taken > 0;
            };
            self.counters.count(WorkerCounter::Injected);
            let frame = self
                .io
                .alloc()
                .and_then(|frame| framed(frame, parcel.bytes()));
            self.host.give_back(parcel);
            match frame {
                Some(frame) => self.send_for_host(frame),
                None => self.counters.drop(DropReason::NoBuffer),
            }
        }
        true
    }

    /// Finds the way of a packet of the host, whose Ethernet header has no addresses yet.
    pub(super) fn send_for_host(&mut self, frame: I::Frame) {
        let parsed = match parse(frame.bytes(), None, true) {
            Ok(parsed) if host::may_leave(parsed.kind) => parsed,
            Ok(_) => return self.drop(frame, NOWHERE, DropReason::Multicast),
            Err(error) => return self.drop(frame, NOWHERE, error.into()),
        };
        let sent = if parsed.v6 {
            self.route_for_host::<V6>(frame, &parsed)
        } else {
            self.route_for_host::<V4>(frame, &parsed)
        };
        if let Err((frame, reason)) = sent {
            self.drop(frame, NOWHERE, reason);
        }
    }

    fn route_for_host<F: PerFamily>(
        &mut self,
        frame: I::Frame,
        parsed: &Parsed,
    ) -> Result<(), (I::Frame, DropReason)> {
        let (from, to) = host::addresses(frame.bytes(), parsed);
        if !host::is_own(&self.snapshot, from) {
            return Err((frame, DropReason::MartianSource));
        }
        match self.snapshot.local.get(to) {
            // The kernel keeps to itself what it has to say to its own addresses.
            Some(Local::Own(_)) => return Err((frame, DropReason::NoRoute)),
            Some(_) => return self.serve_host::<F>(frame, parsed, from),
            None => {}
        }
        let way = match plan::way(&self.snapshot, to) {
            Ok(way) => way,
            Err(reason) => return Err((frame, reason)),
        };
        let port = match plan::port(&self.snapshot, way.hop.port) {
            Some(port) if parsed.ip_len() <= port.mtu => port,
            Some(_) => return Err((frame, DropReason::TooBig)),
            None => return Err((frame, DropReason::Internal)),
        };
        let (mac, device) = (port.mac, port.device);
        let vlan = port.vlan.unwrap_or(UNTAGGED);
        let (hop, now) = (way.hop.port, self.now);
        let Ok(neighbour) = self.neighbours.resolve(hop, way.neighbour, now) else {
            return Err((frame, DropReason::PathTableFull));
        };
        let reach = self.neighbours.used(neighbour, now);
        match self.remember::<F>(&frame, parsed, way.zone, neighbour) {
            Ok(Some(spare)) => self.neighbours.release(spare),
            Ok(None) => {}
            Err(reason) => {
                self.neighbours.release(neighbour);
                return Err((frame, reason));
            }
        }
        match reach {
            Reach::At(to) => {
                let mut frame = frame;
                if !encapsulate(&mut frame, &macs(to, mac), vlan, parsed.l3, parsed.v6) {
                    return Err((frame, DropReason::NoBuffer));
                }
                self.egress
                    .push(&mut self.io, &self.rings, device, frame, false);
                Ok(())
            }
            Reach::Wait => self.wait_for_host(neighbour, frame),
            Reach::Unreachable => Err((frame, DropReason::NeighbourUnresolved)),
        }
    }

    /// Remembers the connection that a packet of the host belongs to. Gives the neighbour to which
    /// there is a reference too many, if any.
    fn remember<F: PerFamily>(
        &mut self,
        frame: &I::Frame,
        parsed: &Parsed,
        zone: u8,
        neighbour: NeighbourId,
    ) -> Result<Option<NeighbourId>, DropReason> {
        // Errors are about somebody else's connection, later fragments are of one that is known.
        if !matches!(parsed.kind, Kind::Session | Kind::FragmentFirst) {
            return Ok(Some(neighbour));
        }
        let key = parsed.key::<F>(frame.bytes(), zone).reverse::<F>();
        if F::table(&self.tables).contains(&key) {
            return Err(DropReason::TupleClash);
        }
        let connections = F::host_mut(&mut self.tables);
        let sent = connections.sent(&key, parsed.tcp_flags, neighbour, self.now);
        sent.map_err(|_| DropReason::HostTableFull)
    }

    fn wait_for_host(
        &mut self,
        neighbour: NeighbourId,
        frame: I::Frame,
    ) -> Result<(), (I::Frame, DropReason)> {
        let passed = Passed {
            frame,
            port: NOWHERE,
            why: Why::Injected,
            datagram: None,
            corrected: Corrected::NO,
            hosted: false,
        };
        let held = self.hold.hold(neighbour, passed, self.now);
        held.map_err(|passed| (passed.frame, DropReason::NeighbourQueueFull))
    }
}

pub(super) fn macs(to: MacAddr, from: MacAddr) -> [u8; 12] {
    let mut macs = [0; 12];
    macs[..6].copy_from_slice(&to.0);
    macs[6..].copy_from_slice(&from.0);
    macs
}

/// Makes a frame of an IP packet.
pub(super) fn framed<F: Frame>(mut frame: F, packet: &[u8]) -> Option<F> {
    let header = host::ethernet_header(packet)?;
    if !frame.set_len(header.len() + packet.len()) {
        return None;
    }
    let (front, rest) = frame.bytes_mut().split_at_mut_checked(header.len())?;
    front.copy_from_slice(&header);
    rest.copy_from_slice(packet);
    Some(frame)
}
