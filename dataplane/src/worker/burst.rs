//! A received burst: parsed frame by frame, looked up as a whole, so that the cache misses of its
//! table accesses overlap, then worked on in the order of arrival.

use sluice_wire::parse::{Kind, Parsed, parse, parse_plain};
use sluice_wire::{MacAddr, V4, V6};

use super::Worker;
use super::plain::Lane;
use super::scratch::{Batch, GROUP, Next, Scratch};
use super::tables::PerFamily;
use crate::counters::DropReason;
use crate::groups::{GroupId, GroupSet};
use crate::handoff::{Corrected, Passed, Why};
use crate::io::{Checksum, DeviceId, Frame, Io, RX_BURST, RxBurst, RxMeta};
use crate::published::WorkerCounter;
use crate::snapshot::{PortId, Snapshot};
use crate::stack::fragment::Datagram;

/// Stands for the port of a frame that belongs to none.
pub(super) const NOWHERE: PortId = crate::capture::NO_PORT;
/// How many frames ahead of parsing their first bytes are fetched.
const AHEAD: usize = 4;

/// A packet with what parsing told of it.
#[derive(Debug)]
pub(super) struct Packet<F> {
    /// The frame as it came.
    pub(super) frame: F,
    /// Its headers.
    pub(super) parsed: Parsed,
    /// The port it came in by.
    pub(super) port: PortId,
    /// Which workers have seen it.
    pub(super) why: Why,
    /// Fragments: what is known of the datagram.
    pub(super) datagram: Option<Datagram>,
    /// Whether another appliance received it, and handed it to us.
    pub(super) corrected: Corrected,
    /// The host's kernel sends it to a service.
    pub(super) hosted: bool,
}

impl<I: Io> Worker<I> {
    /// Works on what `device` delivered.
    pub(super) fn burst(&mut self, device: DeviceId, frames: &mut RxBurst<I::Frame>) {
        if self.egress.taps.are_there() {
            return self.burst_captured(device, frames);
        }
        self.counters
            .add(WorkerCounter::Received, frames.len() as u64);
        let mut scratch = self.scratch.take().unwrap_or_default();
        self.classify(device, frames, &mut scratch);
        scratch.probe(&self.tables, 0);
        scratch.probe(&self.tables, GROUP);
        self.gathering = true;
        let mut others = 0;
        for (at, frame) in frames.drain(..).enumerate() {
            if at % GROUP == 0 {
                scratch.probe(&self.tables, at + 2 * GROUP);
            }
            if scratch.v4.plain >> at & 1 == 1 {
                self.plain(frame, &scratch.v4, &scratch.ports, at);
            } else if scratch.v6.plain >> at & 1 == 1 {
                self.plain_v6(frame, &scratch.v6, &scratch.ports, at);
            } else {
                self.not_plain(device, frame, &scratch, at, others);
                others += 1;
            }
        }
        self.gathering = false;
        self.admit_firsts();
        self.scratch = Some(scratch);
    }

    /// Works on frame `at` of the burst, number `other` of those that are not plain.
    #[inline(never)]
    fn not_plain(
        &mut self,
        device: DeviceId,
        frame: I::Frame,
        scratch: &Scratch,
        at: usize,
        other: usize,
    ) {
        let (parsed, port, has_key) = match scratch.others.get(other) {
            Some(&Next::Key(parsed, port)) => (parsed, port, true),
            Some(&Next::Special(parsed, port)) => (parsed, port, false),
            Some(&Next::Drop(reason, port)) => {
                return self.drop_unless_heartbeat(device, frame, port, reason);
            }
            None => return self.drop(frame, NOWHERE, DropReason::Internal),
        };
        // What is not plain may mean sessions of packets before it.
        self.admit_firsts();
        let packet = Packet::arrived(frame, parsed, port);
        match (has_key, parsed.v6) {
            (true, false) => self.dispatch(packet, &scratch.v4, at),
            (true, true) => self.dispatch(packet, &scratch.v6, at),
            (false, _) => self.special(packet),
        }
    }

    /// Parses all frames and collects the keys of those that belong to sessions.
    fn classify(&mut self, device: DeviceId, frames: &RxBurst<I::Frame>, scratch: &mut Scratch) {
        scratch.clear();
        for frame in frames.iter().take(AHEAD) {
            frame.prefetch();
        }
        let held = self.taken();
        let mut lane = Lane::of(&self.snapshot, device, None, held);
        for (at, frame) in frames.iter().enumerate() {
            if let Some(ahead) = frames.get(at + AHEAD) {
                ahead.prefetch();
            }
            let meta = frame.meta();
            if lane.is_none_or(|lane| lane.tci != meta.vlan_tci) {
                self.leave(lane);
                lane = Lane::of(&self.snapshot, device, meta.vlan_tci, held);
            }
            let bytes = frame.bytes();
            if let Some(lane) = &mut lane
                && scratch.take_plain(&self.tables, lane, bytes, &meta, at)
            {
                lane.count(bytes.len());
            } else {
                let next = self.classify_other(device, frame, scratch, at);
                scratch.others.push(next);
            }
        }
        self.leave(lane);
    }

    /// Parses a frame that is not plain, and takes its key if it has one.
    #[inline(never)]
    fn classify_other(
        &mut self,
        device: DeviceId,
        frame: &I::Frame,
        scratch: &mut Scratch,
        at: usize,
    ) -> Next {
        let bytes = frame.bytes();
        let (parsed, port) = match arrive(&self.snapshot, device, frame, self.taken()) {
            Ok(arrived) => arrived,
            Err((reason, port)) => {
                let port = port.unwrap_or(NOWHERE);
                self.tally.received(port, bytes.len());
                return Next::Drop(reason, port);
            }
        };
        self.tally.received(port, bytes.len());
        if !matches!(parsed.kind, Kind::Session | Kind::IcmpError) {
            return Next::Special(parsed, port);
        }
        let zone = self.snapshot.ports[usize::from(port.0)].zone;
        if parsed.v6 {
            scratch.v6.add_other(&self.tables, &parsed, bytes, zone, at);
        } else {
            scratch.v4.add_other(&self.tables, &parsed, bytes, zone, at);
        }
        Next::Key(parsed, port)
    }

    /// Adds up what a lane has counted.
    fn leave(&mut self, lane: Option<Lane>) {
        if let Some(lane) = lane {
            let (frames, bytes) = lane.counted();
            self.tally.received_many(lane.port, frames, bytes);
        }
    }

    #[cold]
    pub(super) fn drop_unless_heartbeat(
        &mut self,
        device: DeviceId,
        frame: I::Frame,
        port: PortId,
        reason: DropReason,
    ) {
        let left = match reason {
            DropReason::EtherType => self.witness_frame(device, frame),
            _ => Err(frame),
        };
        if let Err(frame) = left {
            self.drop(frame, port, reason);
        }
    }

    /// Takes the short way if it can be taken, and the long way if not.
    #[inline(always)]
    fn plain<F: PerFamily>(
        &mut self,
        frame: I::Frame,
        batch: &Batch<F>,
        ports: &[PortId; RX_BURST],
        at: usize,
    ) {
        let (key, _, candidate) = batch.get(at);
        if let Err(frame) = self.forward_plain::<F>(frame, key, candidate) {
            self.not_so_plain(frame, ports[at % RX_BURST], batch, at);
        }
    }

    /// Out of line, for the registers of the loop that calls it.
    #[inline(never)]
    fn plain_v6(
        &mut self,
        frame: I::Frame,
        batch: &Batch<V6>,
        ports: &[PortId; RX_BURST],
        at: usize,
    ) {
        self.plain(frame, batch, ports, at);
    }

    /// What has proved to need more than the short way.
    #[inline(never)]
    fn not_so_plain<F: PerFamily>(
        &mut self,
        frame: I::Frame,
        port: PortId,
        batch: &Batch<F>,
        at: usize,
    ) {
        let (key, _, candidate) = batch.get(at);
        let Err(frame) = self.correct_plain::<F>(frame, (key, candidate), port) else {
            return;
        };
        // Its checksum was looked at when its key was taken.
        match parse_plain::<F>(frame.bytes(), frame.meta().vlan_tci, true) {
            Some(parsed) => self.dispatch(Packet::arrived(frame, parsed, port), batch, at),
            None => self.drop(frame, port, DropReason::Internal),
        }
    }

    #[inline]
    fn dispatch<F: PerFamily>(&mut self, packet: Packet<I::Frame>, batch: &Batch<F>, at: usize) {
        let (key, hash, candidate) = batch.get(at);
        match F::table(&self.tables).confirm(candidate, key, hash) {
            Some(flow) => self.hit::<F>(packet, flow),
            None => self.miss::<F>(packet, key, hash),
        }
    }

    /// Works on one packet that waited or came from another worker.
    pub(super) fn resume(&mut self, passed: Passed<I::Frame>) {
        if passed.why == Why::Injected {
            return self.send_for_host(passed.frame);
        }
        let packet = match self.unpack(passed) {
            Ok(packet) => packet,
            Err((frame, port, reason)) => return self.drop(frame, port, reason),
        };
        let whole = matches!(packet.parsed.kind, Kind::Session | Kind::IcmpError);
        match self.zone(packet.port) {
            Some(zone) if whole || packet.datagram.is_some() => self.find(packet, zone),
            _ => self.special(packet),
        }
    }

    /// Parses a packet that waited or came from another worker.
    pub(super) fn unpack(
        &self,
        passed: Passed<I::Frame>,
    ) -> Result<Packet<I::Frame>, (I::Frame, PortId, DropReason)> {
        let Passed {
            frame,
            port,
            why,
            datagram,
            corrected,
            hosted,
        } = passed;
        if corrected.is() {
            return Self::unpack_corrected(frame, port, why, datagram, corrected);
        }
        let Some(known) = self.snapshot.ports.get(usize::from(port.0)) else {
            return Err((frame, port, DropReason::UnknownVlan));
        };
        match arrive(&self.snapshot, known.device, &frame, self.taken()) {
            Ok((parsed, port)) => Ok(Packet {
                frame,
                parsed,
                port,
                why,
                datagram,
                corrected,
                hosted,
            }),
            Err((reason, _)) => Err((frame, port, reason)),
        }
    }

    /// The same for one that another appliance received: its MAC addresses and its tag, if it has
    /// one, are those of a port over there.
    fn unpack_corrected(
        frame: I::Frame,
        port: PortId,
        why: Why,
        datagram: Option<Datagram>,
        corrected: Corrected,
    ) -> Result<Packet<I::Frame>, (I::Frame, PortId, DropReason)> {
        let meta = frame.meta();
        match parse(frame.bytes(), None, meta.ip_checksum == Checksum::Good) {
            Ok(parsed) => Ok(Packet {
                frame,
                parsed,
                port,
                why,
                datagram,
                corrected,
                hosted: false,
            }),
            Err(error) => Err((frame, port, error.into())),
        }
    }

    /// Looks a single packet up, and works on it.
    pub(super) fn find(&mut self, packet: Packet<I::Frame>, zone: u8) {
        if packet.parsed.v6 {
            self.find_in::<V6>(packet, zone);
        } else {
            self.find_in::<V4>(packet, zone);
        }
    }

    fn find_in<F: PerFamily>(&mut self, packet: Packet<I::Frame>, zone: u8) {
        let mut key = packet.parsed.key::<F>(packet.frame.bytes(), zone);
        if let Some(datagram) = packet.datagram {
            (key.proto, key.ports) = (datagram.proto, datagram.ports);
        }
        let hash = F::table(&self.tables).hash(&key);
        match F::table(&self.tables).lookup(&key, hash) {
            Some(flow) => self.hit::<F>(packet, flow),
            None => self.miss::<F>(packet, &key, hash),
        }
    }

    /// Everything that no session is looked up for at first.
    pub(super) fn special(&mut self, packet: Packet<I::Frame>) {
        match packet.parsed.kind {
            Kind::Arp => self.arp(packet),
            Kind::NeighbourDiscovery => self.neighbour_discovery(packet),
            Kind::FragmentFirst | Kind::FragmentRest => self.fragment(packet),
            Kind::Session | Kind::IcmpError => self.reject(packet, DropReason::Internal),
            Kind::MulticastListener => self.listener_message(packet),
        }
    }
}

/// Parses a frame and finds its port. Errors come with the port if there is one.
#[inline(always)]
pub(super) fn arrive<F: Frame>(
    snapshot: &Snapshot,
    device: DeviceId,
    frame: &F,
    held: GroupSet,
) -> Result<(Parsed, PortId), (DropReason, Option<PortId>)> {
    judge_arrival(snapshot, device, frame.bytes(), &frame.meta(), held)
}

/// The same for a frame's bytes, and what its device says of them.
#[inline(always)]
pub(super) fn judge_arrival(
    snapshot: &Snapshot,
    device: DeviceId,
    bytes: &[u8],
    meta: &RxMeta,
    held: GroupSet,
) -> Result<(Parsed, PortId), (DropReason, Option<PortId>)> {
    if meta.segmented {
        return Err((DropReason::Segmented, None));
    }
    if meta.ip_checksum == Checksum::Bad {
        return Err((DropReason::BadIpChecksum, None));
    }
    let parsed = parse(bytes, meta.vlan_tci, meta.ip_checksum == Checksum::Good);
    let vlan = match &parsed {
        Ok(parsed) => parsed.vlan,
        Err(_) => None,
    };
    let known = snapshot
        .devices
        .get(usize::from(device.0))
        .and_then(|device| device.port(vlan));
    let parsed = parsed.map_err(|error| (error.into(), known))?;
    let port = known.ok_or((DropReason::UnknownVlan, None))?;
    let to = MacAddr([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]]);
    let own = to == snapshot.ports[usize::from(port.0)].mac
        || snapshot.groups.macs.has(to) && held.has(GroupId(to.0[5]));
    if !own && !group_is_welcome(to, &parsed) {
        let group = to.is_group();
        let reason = if group {
            DropReason::Multicast
        } else {
            DropReason::NotOurMac
        };
        return Err((reason, Some(port)));
    }
    Ok((parsed, port))
}

/// Broadcast and multicast frames are for us only where a protocol of ours uses them.
fn group_is_welcome(to: MacAddr, parsed: &Parsed) -> bool {
    to.is_group()
        && matches!(
            parsed.kind,
            Kind::Arp | Kind::NeighbourDiscovery | Kind::MulticastListener
        )
}

impl<F> Packet<F> {
    #[inline]
    pub(super) fn arrived(frame: F, parsed: Parsed, port: PortId) -> Self {
        Self {
            frame,
            parsed,
            port,
            why: Why::Arrived,
            datagram: None,
            corrected: Corrected::NO,
            hosted: false,
        }
    }
}
