//! Path correction: packets that came to one appliance and belong to the other.
//!
//! A packet that this node cannot judge goes to the one that may be able to, as it came; only its MAC
//! addresses tell which zone it came in by, and that nobody else sent it. It goes there once. What the
//! other node does not know either is judged there.

use sluice_wire::parse::{Kind, parse};
use sluice_wire::{MacAddr, Tuple, V4, V6, proto, tcp as wire};

use super::super::Worker;
use super::super::burst::Packet;
use super::super::plan;
use crate::counters::DropReason;
use crate::handoff::Why;
use crate::io::{Checksum, Frame, Io};
use crate::published::WorkerCounter;
use crate::snapshot::{Local, PortId};
use crate::tcp::{self, Opening};

/// Why a packet goes to the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Correction {
    /// The peer owns its session.
    Replica,
    /// It has no session here, and is none that opens one.
    NoSession,
    /// It answers to an address and port that NAT gives away, and no session of ours has it; or the
    /// peer has the mapping of its source or destination.
    Port,
    /// An ICMP error about no packet of ours.
    Error,
    /// Policy does not let it open a session; it may answer one of the peer's.
    Refused,
    /// The peer was here before us and has not told all that it knows.
    Joining,
}

impl Correction {
    const fn counter(self) -> WorkerCounter {
        match self {
            Self::Replica => WorkerCounter::RedirectedReplica,
            Self::NoSession => WorkerCounter::RedirectedNoSession,
            Self::Port => WorkerCounter::RedirectedPort,
            Self::Error => WorkerCounter::RedirectedError,
            Self::Refused => WorkerCounter::RedirectedRefused,
            Self::Joining => WorkerCounter::RedirectedJoining,
        }
    }
}

impl<I: Io> Worker<I> {
    /// Gives a packet to the peer. Gives it back if there is no peer to give it to, or if it comes
    /// from there.
    pub(in super::super) fn correct(
        &mut self,
        mut packet: Packet<I::Frame>,
        why: Correction,
    ) -> Option<Packet<I::Frame>> {
        let zone = self.zone(packet.port);
        let Some((ha, zone)) = self.ha.as_ref().zip(zone) else {
            return Some(packet);
        };
        let Some(peer) = ha.peer.as_ref().filter(|_| !packet.corrected) else {
            return Some(packet);
        };
        if !ha.codec.wrap(packet.frame.bytes_mut(), peer.mac.0, zone) {
            return Some(packet);
        }
        let device = ha.device();
        self.counters.count(why.counter());
        self.egress
            .push(&mut self.io, &self.rings, device, packet.frame, false);
        None
    }

    /// The same if there is a reason to.
    pub(in super::super) fn correct_if(
        &mut self,
        packet: Packet<I::Frame>,
        why: Option<Correction>,
    ) -> Option<Packet<I::Frame>> {
        match why {
            Some(why) => self.correct(packet, why),
            None => Some(packet),
        }
    }

    /// Whether a packet that no session is known for must not be judged: this node has just started,
    /// or did nothing for a while, and its peer may have had the session all the time. A peer that
    /// was met and is silent again is still finding out that this node is another one than before.
    pub(in super::super) fn awaits_peer(&self, tuple: &Tuple) -> bool {
        let since = |then: u32| self.now.wrapping_sub(then);
        let waits = |ha: &super::Ha| {
            let within = |then: Option<u32>, ms| then.is_some_and(|then| since(then) < ms);
            !ha.settled && ha.peer.is_none() && within(ha.waiting, super::WAIT_MS)
                || ha.is_stale(self.now)
                || within(ha.woke, super::WAKE_MS)
        };
        self.ha.as_ref().is_some_and(|ha| waits(ha))
            && !matches!(self.snapshot.local.get(tuple.dst), Some(Local::Own(_)))
    }

    /// Why a packet that no session is known for should go to the peer before anything is decided
    /// about it here.
    pub(in super::super) fn is_for_peer<T>(
        &self,
        packet: &Packet<T>,
        tuple: &Tuple,
    ) -> Option<Correction> {
        let ha = self.ha.as_ref().filter(|ha| ha.peer.is_some())?;
        if packet.corrected || matches!(self.snapshot.local.get(tuple.dst), Some(Local::Own(_))) {
            return None;
        }
        if packet.parsed.kind == Kind::IcmpError {
            return Some(Correction::Error);
        }
        if plan::answers_echo(&self.snapshot, tuple.dst) && is_echo_request(tuple) {
            return None;
        }
        if !ha.has_joined(self.now) {
            return Some(Correction::Joining);
        }
        let opens = match tuple.proto {
            proto::ICMP | proto::ICMPV6 => tuple.sport != 0 || tuple.dport == 0,
            proto::TCP if packet.parsed.kind == Kind::FragmentRest => false,
            // What no stack sends is judged here.
            proto::TCP => matches!(
                tcp::opening(packet.parsed.tcp_flags),
                Opening::Syn | Opening::Invalid
            ),
            _ => true,
        };
        (!opens).then_some(Correction::NoSession)
    }

    /// The same for a packet that was refused a session here.
    pub(in super::super) fn is_for_peer_though<T>(
        &self,
        packet: &Packet<T>,
        tuple: &Tuple,
        reason: DropReason,
    ) -> Option<Correction> {
        self.ha.as_ref().filter(|ha| ha.peer.is_some())?;
        if packet.corrected || matches!(self.snapshot.local.get(tuple.dst), Some(Local::Own(_))) {
            return None;
        }
        // A SYN answers nothing, and both nodes have the same policy; but the peer may have a mapping.
        let is_syn = tuple.proto == proto::TCP && packet.parsed.tcp_flags & wire::flag::SYN != 0;
        match reason {
            DropReason::NatNoMapping if is_syn => {
                let mapped = self.snapshot.nat.has_mappings(tuple.dst);
                mapped.then_some(Correction::Port)
            }
            _ if is_syn => None,
            DropReason::NatNoMapping => Some(Correction::Port),
            DropReason::Denied => Some(Correction::Refused),
            _ => None,
        }
    }

    /// A frame of the HA link that is not of its protocol: the peer received it, and it may belong
    /// to a session of ours.
    pub(super) fn take_corrected(&mut self, mut frame: I::Frame) {
        let zone = self.ha.as_ref().and_then(|ha| {
            // What it sent before it could not be reached any more is as good as ever.
            let session = ha.agreed.as_ref()?;
            let origin = ha.codec.unwrap(frame.bytes()).ok()?;
            let hash = session.zones.hash(origin.port)?;
            self.snapshot.shared_names.as_ref()?.zone_of(hash)
        });
        let Some(zone) = zone else {
            self.counters.drop(DropReason::HaForged);
            return;
        };
        self.counters.count(WorkerCounter::CorrectedReceived);
        let meta = frame.meta();
        if meta.segmented {
            self.counters.drop(DropReason::Segmented);
            return;
        }
        let parsed = match parse(frame.bytes(), None, meta.ip_checksum == Checksum::Good) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.counters.drop(error.into());
                return;
            }
        };
        let key = if parsed.v6 {
            parsed.key::<V6>(frame.bytes(), zone).tuple::<V6>()
        } else {
            parsed.key::<V4>(frame.bytes(), zone).tuple::<V4>()
        };
        let Some(port) = self.port_of(zone, &key) else {
            self.counters.drop(DropReason::UnknownVlan);
            return;
        };
        if let Some(to) = frame.bytes_mut().first_chunk_mut() {
            let MacAddr(own) = self.snapshot.ports[usize::from(port.0)].mac;
            *to = own;
        }
        let packet = Packet {
            frame,
            parsed,
            port,
            why: Why::Arrived,
            datagram: None,
            corrected: true,
        };
        match packet.parsed.kind {
            Kind::Session | Kind::IcmpError => self.find(packet, zone),
            Kind::FragmentFirst | Kind::FragmentRest => self.fragment(packet),
            _ => self.reject(packet, DropReason::HaForged),
        }
    }

    /// The port of a zone that a packet would have come in by: the one that its source is routed to,
    /// or else the first.
    fn port_of(&self, zone: u8, tuple: &Tuple) -> Option<PortId> {
        let snapshot = &self.snapshot;
        let in_zone = |port: PortId| {
            let port = snapshot.ports.get(usize::from(port.0));
            port.is_some_and(|port| port.zone == zone && port.mtu != 0)
        };
        let routed = snapshot.routes.lookup(tuple.src).map(|hop| hop.port);
        let all = (0..snapshot.ports.len() as u16).map(PortId);
        routed
            .filter(|&port| in_zone(port))
            .or_else(|| all.into_iter().find(|&port| in_zone(port)))
    }

    /// The neighbour that a packet of the peer's came from, as far as it is known here: answers
    /// cannot go to the MAC address that the frame came with.
    pub(in super::super) fn neighbour_behind(&self, packet: &Packet<I::Frame>) -> Option<MacAddr> {
        let (bytes, parsed) = (packet.frame.bytes(), &packet.parsed);
        let source = if parsed.v6 {
            parsed.key::<V6>(bytes, 0).tuple::<V6>().src
        } else {
            parsed.key::<V4>(bytes, 0).tuple::<V4>().src
        };
        let way = plan::way(&self.snapshot, source).ok()?;
        let id = self.neighbours.find(way.hop.port, way.neighbour)?;
        self.neighbours.get(id)
    }
}

/// Of an echo request the identifier is the source port.
fn is_echo_request(tuple: &Tuple) -> bool {
    matches!(tuple.proto, proto::ICMP | proto::ICMPV6) && tuple.sport != 0
}
