//! A received burst: parsed frame by frame, looked up as a whole, so that the cache misses of its
//! table accesses overlap, then worked on in the order of arrival.

use arrayvec::ArrayVec;
use sluice_wire::parse::{Kind, Parsed, parse, parse_plain};
use sluice_wire::{Family, Key, MacAddr, V4, V6};

use super::Worker;
use super::plain::Lane;
use super::tables::{PerFamily, Tables};
use crate::counters::DropReason;
use crate::groups::{GroupId, GroupSet};
use crate::handoff::{Passed, Why};
use crate::io::{Checksum, DeviceId, Frame, Io, RX_BURST, RxBurst, RxMeta};
use crate::published::WorkerCounter;
use crate::session::table::Candidate;
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
    /// The other appliance handed it to us: it goes there no second time.
    pub(super) corrected: bool,
}

/// What is next for a frame of the burst.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// Nothing special about it; its key is the n-th of the burst's IPv4 keys.
    PlainV4(PortId, u8),
    /// The same for IPv6.
    PlainV6(PortId, u8),
    /// Drop it.
    Drop(DropReason, PortId),
    /// Not a packet of a session: ARP, neighbour discovery, fragments.
    Special(Parsed, PortId),
    /// Its key is the n-th of the burst's IPv4 keys.
    V4(Parsed, PortId, u8),
    /// Its key is the n-th of the burst's IPv6 keys.
    V6(Parsed, PortId, u8),
}

/// Keys of one family, with hashes and what the table says.
#[derive(Debug)]
struct Batch<F: Family> {
    keys: [Key<F::Addrs>; RX_BURST],
    hashes: [u64; RX_BURST],
    candidates: [Candidate; RX_BURST],
    len: usize,
}

/// So that an index cut to the size of a burst needs no other check.
const _: () = assert!(RX_BURST.is_power_of_two());

impl<F: Family> Default for Batch<F> {
    fn default() -> Self {
        Self {
            keys: [Key::default(); RX_BURST],
            hashes: [0; RX_BURST],
            candidates: [Candidate::default(); RX_BURST],
            len: 0,
        }
    }
}

/// The arrays that a burst is worked on in, kept between bursts.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    frames: ArrayVec<Next, RX_BURST>,
    v4: Batch<V4>,
    v6: Batch<V6>,
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
        scratch.v4.probe(&self.tables);
        scratch.v6.probe(&self.tables);
        self.gathering = true;
        for (frame, &next) in frames.drain(..).zip(&scratch.frames) {
            let (parsed, port) = match next {
                Next::PlainV4(port, at) => {
                    self.plain(device, frame, port, &scratch.v4, at);
                    continue;
                }
                Next::PlainV6(port, at) => {
                    self.plain(device, frame, port, &scratch.v6, at);
                    continue;
                }
                Next::Drop(reason, port) => {
                    self.drop_unless_heartbeat(device, frame, port, reason);
                    continue;
                }
                Next::V4(parsed, port, _)
                | Next::V6(parsed, port, _)
                | Next::Special(parsed, port) => (parsed, port),
            };
            // What is not plain may mean sessions of packets before it.
            self.admit_firsts();
            let packet = Packet::arrived(frame, parsed, port);
            match next {
                Next::V4(_, _, at) => self.dispatch(packet, &scratch.v4, at),
                Next::V6(_, _, at) => self.dispatch(packet, &scratch.v6, at),
                _ => self.special(packet),
            }
        }
        self.gathering = false;
        self.admit_firsts();
        self.scratch = Some(scratch);
    }

    /// Parses all frames and collects the keys of those that belong to sessions.
    fn classify(&mut self, device: DeviceId, frames: &RxBurst<I::Frame>, scratch: &mut Scratch) {
        scratch.frames.clear();
        scratch.v4.clear();
        scratch.v6.clear();
        for frame in frames.iter().take(AHEAD) {
            frame.prefetch();
        }
        let held = self.taken();
        let mut lane = Lane::of(&self.snapshot, device, None, held);
        for (i, frame) in frames.iter().enumerate() {
            if let Some(ahead) = frames.get(i + AHEAD) {
                ahead.prefetch();
            }
            let meta = frame.meta();
            if lane.is_none_or(|lane| lane.tci != meta.vlan_tci) {
                self.leave(lane);
                lane = Lane::of(&self.snapshot, device, meta.vlan_tci, held);
            }
            if let Some(lane) = &mut lane
                && let Some(next) = scratch.take_plain(&self.tables, lane, frame, &meta)
            {
                lane.count(frame.bytes().len());
                scratch.frames.push(next);
                continue;
            }
            let (parsed, port) = match arrive(&self.snapshot, device, frame, held) {
                Ok(arrived) => arrived,
                Err((reason, port)) => {
                    let port = port.unwrap_or(NOWHERE);
                    self.tally.received(port, frame.bytes().len());
                    scratch.frames.push(Next::Drop(reason, port));
                    continue;
                }
            };
            self.tally.received(port, frame.bytes().len());
            let zone = self.snapshot.ports[usize::from(port.0)].zone;
            let next = match parsed.kind {
                Kind::Session | Kind::IcmpError if !parsed.v6 => {
                    let at = scratch.v4.add(&self.tables, &parsed, frame.bytes(), zone);
                    Next::V4(parsed, port, at)
                }
                Kind::Session | Kind::IcmpError => {
                    let at = scratch.v6.add(&self.tables, &parsed, frame.bytes(), zone);
                    Next::V6(parsed, port, at)
                }
                _ => Next::Special(parsed, port),
            };
            scratch.frames.push(next);
        }
        self.leave(lane);
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
        device: DeviceId,
        frame: I::Frame,
        port: PortId,
        batch: &Batch<F>,
        at: u8,
    ) {
        let (key, _, candidate) = batch.get(at);
        if let Err(frame) = self.forward_plain::<F>(frame, key, candidate) {
            self.not_so_plain(device, frame, port, batch, at);
        }
    }

    /// What has proved to need more than the short way.
    #[inline(never)]
    fn not_so_plain<F: PerFamily>(
        &mut self,
        device: DeviceId,
        frame: I::Frame,
        port: PortId,
        batch: &Batch<F>,
        at: u8,
    ) {
        match arrive(&self.snapshot, device, &frame, self.taken()) {
            Ok((parsed, port)) => self.dispatch(Packet::arrived(frame, parsed, port), batch, at),
            Err((reason, _)) => self.drop(frame, port, reason),
        }
    }

    #[inline]
    fn dispatch<F: PerFamily>(&mut self, packet: Packet<I::Frame>, batch: &Batch<F>, at: u8) {
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
        } = passed;
        if corrected {
            return Self::unpack_corrected(frame, port, why, datagram);
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
            }),
            Err((reason, _)) => Err((frame, port, reason)),
        }
    }

    /// The same for one that the other appliance received: its MAC addresses and its tag, if it has
    /// one, are those of a port over there.
    fn unpack_corrected(
        frame: I::Frame,
        port: PortId,
        why: Why,
        datagram: Option<Datagram>,
    ) -> Result<Packet<I::Frame>, (I::Frame, PortId, DropReason)> {
        let meta = frame.meta();
        match parse(frame.bytes(), None, meta.ip_checksum == Checksum::Good) {
            Ok(parsed) => Ok(Packet {
                frame,
                parsed,
                port,
                why,
                datagram,
                corrected: true,
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

impl Scratch {
    /// Takes the key of a frame that came by a lane, if there is nothing special about the frame.
    #[inline(always)]
    fn take_plain<F: Frame>(
        &mut self,
        tables: &Tables,
        lane: &Lane,
        frame: &F,
        meta: &RxMeta,
    ) -> Option<Next> {
        let bytes = frame.bytes();
        if meta.segmented | (meta.ip_checksum == Checksum::Bad) | !lane.leads_here(bytes) {
            return None;
        }
        let good = meta.ip_checksum == Checksum::Good;
        if let Some(parsed) = parse_plain::<V4>(bytes, meta.vlan_tci, good) {
            let at = self.v4.add(tables, &parsed, bytes, lane.zone);
            return Some(Next::PlainV4(lane.port, at));
        }
        let parsed = parse_plain::<V6>(bytes, meta.vlan_tci, good)?;
        let at = self.v6.add(tables, &parsed, bytes, lane.zone);
        Some(Next::PlainV6(lane.port, at))
    }
}

impl<F: PerFamily> Batch<F> {
    fn clear(&mut self) {
        self.len = 0;
    }

    /// Key, hash and guess of a packet of this burst.
    #[inline(always)]
    fn get(&self, at: u8) -> (&Key<F::Addrs>, u64, Candidate) {
        let at = usize::from(at) % RX_BURST;
        (&self.keys[at], self.hashes[at], self.candidates[at])
    }

    /// Takes a packet's key, and has its bucket fetched. There is room for one key a frame.
    #[inline(always)]
    fn add(&mut self, tables: &Tables, parsed: &Parsed, bytes: &[u8], zone: u8) -> u8 {
        let key = parsed.key::<F>(bytes, zone);
        let table = F::table(tables);
        let hash = table.hash(&key);
        table.prefetch_bucket(hash);
        let at = self.len % RX_BURST;
        self.keys[at] = key;
        self.hashes[at] = hash;
        self.len = at + 1;
        at as u8
    }

    #[inline]
    fn probe(&mut self, tables: &Tables) {
        let len = self.len.min(RX_BURST);
        if len > 0 {
            let (keys, hashes) = (&self.keys[..len], &self.hashes[..len]);
            F::table(tables).probe_burst(keys, hashes, &mut self.candidates);
        }
    }
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
            corrected: false,
        }
    }
}
