//! Path correction: packets that came to one appliance and belong to another.
//!
//! A packet that this node cannot judge goes to the one that may be able to, as it came; only its MAC
//! addresses tell which zone it came in by, and that nobody else sent it. Where it is known whose its
//! session is it goes there once. Of two nodes the other one judges what it does not know either; where
//! there are more, one after the other is asked, and the last one judges (`sluice_ha::correct::Turn`).

use sluice_ha::correct::{self, Turn};
use sluice_wire::parse::{Kind, parse};
use sluice_wire::{MacAddr, Tuple, V4, V6, proto, tcp as wire};

use super::super::Worker;
use super::super::burst::Packet;
use super::super::plan;
use super::Ha;
use crate::counters::DropReason;
use crate::handoff::{Corrected, Seat, Why};
use crate::io::{Checksum, Frame, Io};
use crate::nat::rules::Nat;
use crate::published::WorkerCounter;
use crate::snapshot::{Local, PortId};
use crate::tcp::{self, Opening};

/// Why a packet goes to another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Correction {
    /// Another node owns its session, or is to take it over.
    Replica,
    /// It has no session here, and is none that opens one.
    NoSession,
    /// It answers to an address and port that NAT gives away, and no session of ours has it; or
    /// another node has the mapping of its source or destination.
    Port,
    /// An ICMP error about no packet of ours.
    Error,
    /// Policy does not let it open a session; it may answer one of another node's.
    Refused,
    /// Others were here before us and have not told all that they know.
    Joining,
    /// It would open a session, and this node is about to go.
    Leaving,
}

impl Correction {
    pub(super) const fn counter(self) -> WorkerCounter {
        match self {
            Self::Replica => WorkerCounter::RedirectedReplica,
            Self::NoSession => WorkerCounter::RedirectedNoSession,
            Self::Port => WorkerCounter::RedirectedPort,
            Self::Error => WorkerCounter::RedirectedError,
            Self::Refused => WorkerCounter::RedirectedRefused,
            Self::Joining => WorkerCounter::RedirectedJoining,
            Self::Leaving => WorkerCounter::RedirectedLeaving,
        }
    }
}

/// A packet that goes to another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct Errand {
    /// Why.
    pub(in super::super) why: Correction,
    /// To whom.
    pub(in super::super) to: Seat,
    /// What is to be done with it there.
    pub(in super::super) turn: Turn,
}

impl Ha {
    /// To whom a packet goes whose owner is not known: to the only other node, or to one after the
    /// other.
    pub(super) fn ask(&self, why: Correction) -> Option<Errand> {
        let to = self.seat_of(self.linked.first()?)?;
        let turn = match self.is_cluster() {
            true => Turn::Asked,
            false => Turn::Owner,
        };
        Some(Errand { why, to, turn })
    }

    /// What is to be done with a packet that goes on from here; `None` if it may not.
    fn turn_after(&self, corrected: Corrected, errand: Errand) -> Option<Turn> {
        match corrected.from() {
            None | Some((_, Turn::Asked)) => Some(errand.turn),
            // Whoever sent it took us for the owner.
            Some((from, Turn::Owner)) => {
                let to = self.peers.get(usize::from(errand.to.0))?;
                (self.is_cluster() && from != to.id).then_some(Turn::Last)
            }
            Some((_, Turn::Last)) => None,
        }
    }

    /// Who is asked next about a packet that a node asks us about; `None` if everybody was.
    fn ask_next(&self, from: u8) -> Option<Errand> {
        let next = self.linked.without(from).above(self.parts.node)?;
        Some(Errand {
            why: Correction::NoSession,
            to: self.seat_of(next)?,
            turn: Turn::Asked,
        })
    }

    /// Whom a packet goes to that answers to a port which NAT gives away: the node that gives it away,
    /// if that lives.
    fn ask_giver(&self, nat: &Nat, tuple: &Tuple) -> Option<Errand> {
        let why = Correction::Port;
        let share = nat.share_with(tuple.dst, tuple.dport);
        match share.and_then(|share| self.giver(share)) {
            Some(to) => Some(Errand {
                why,
                to,
                turn: Turn::Owner,
            }),
            None => self.ask(why),
        }
    }
}

impl<I: Io> Worker<I> {
    /// Gives a packet to another node. Gives it back if there is no way, or if that has had its turn.
    pub(in super::super) fn correct(
        &mut self,
        mut packet: Packet<I::Frame>,
        errand: Errand,
    ) -> Option<Packet<I::Frame>> {
        let zone = self.zone(packet.port);
        let Some((ha, zone)) = self.ha.as_ref().zip(zone) else {
            return Some(packet);
        };
        if packet.hosted {
            return Some(packet);
        }
        let peer = ha.peers.get(usize::from(errand.to.0));
        let Some((peer, link)) = peer.and_then(|peer| Some((peer, peer.link.as_ref()?))) else {
            return Some(packet);
        };
        let Some(turn) = ha.turn_after(packet.corrected, errand) else {
            return Some(packet);
        };
        if !ha.has_way(errand.to) {
            return Some(packet);
        }
        let mtu = ha.parts.mtu;
        if packet.parsed.ip_len() > mtu {
            self.correct_in_pieces(packet, errand, turn, mtu);
            return None;
        }
        let mac = link.mac.0;
        if !peer.codec.wrap(packet.frame.bytes_mut(), mac, zone, turn) {
            return Some(packet);
        }
        self.counters.count(errand.why.counter());
        self.send_ha(packet.frame, errand.to, false);
        None
    }

    /// Whether nobody else is to be asked about a packet whose session is not known.
    pub(in super::super) fn is_judged_here(&self, corrected: Corrected) -> bool {
        let Some(ha) = self.ha.as_ref().filter(|ha| !ha.linked.is_empty()) else {
            return true;
        };
        match corrected.from() {
            None => false,
            Some((from, Turn::Asked)) => ha.ask_next(from).is_none(),
            Some(_) => true,
        }
    }

    /// Whether a packet may go to another node from here.
    pub(in super::super) fn may_go_on(&self, corrected: Corrected, errand: Errand) -> bool {
        let ha = self.ha.as_ref();
        ha.is_some_and(|ha| ha.turn_after(corrected, errand).is_some())
    }

    /// The same if there is a reason to.
    pub(in super::super) fn correct_if(
        &mut self,
        packet: Packet<I::Frame>,
        errand: Option<Errand>,
    ) -> Option<Packet<I::Frame>> {
        match errand {
            Some(errand) => self.correct(packet, errand),
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
            !ha.settled && ha.linked.is_empty() && within(ha.waiting, super::WAIT_MS)
                || ha.is_stale(self.now)
                || within(ha.woke, super::WAKE_MS)
        };
        self.ha.as_ref().is_some_and(|ha| waits(ha))
            && !matches!(self.snapshot.local.get(tuple.dst), Some(Local::Own(_)))
    }

    /// To whom a packet that no session is known for should go before anything is decided about it
    /// here, and why.
    pub(in super::super) fn is_for_peer<T>(
        &self,
        packet: &Packet<T>,
        tuple: &Tuple,
    ) -> Option<Errand> {
        let ha = self.ha.as_ref().filter(|ha| !ha.linked.is_empty())?;
        let own = matches!(self.snapshot.local.get(tuple.dst), Some(Local::Own(_)));
        if packet.hosted || own {
            return None;
        }
        match packet.corrected.from() {
            Some((from, Turn::Asked)) => return ha.ask_next(from),
            Some(_) => return None,
            None => {}
        }
        if packet.parsed.kind == Kind::IcmpError {
            return ha.ask(Correction::Error);
        }
        if plan::answers_echo(&self.snapshot, tuple.dst) && is_echo_request(tuple) {
            return None;
        }
        if !ha.settled {
            return ha.ask(Correction::Joining);
        }
        let opens = match tuple.proto {
            proto::ICMP | proto::ICMPV6 => tuple.sport != 0 || tuple.dport == 0,
            proto::TCP if packet.parsed.kind == Kind::FragmentRest => false,
            proto::TCP => match tcp::opening(packet.parsed.tcp_flags) {
                Opening::Syn => true,
                // What no stack sends is judged here.
                Opening::Invalid => return None,
                _ => false,
            },
            _ => true,
        };
        match opens {
            // Whose mapping it is for decides about it.
            true if self.snapshot.nat.has_mappings(tuple.dst) => None,
            true => ha.successor(),
            false => ha.ask(Correction::NoSession),
        }
    }

    /// The same for a packet that was refused a session here.
    pub(in super::super) fn is_for_peer_though<T>(
        &self,
        packet: &Packet<T>,
        tuple: &Tuple,
        reason: DropReason,
    ) -> Option<Errand> {
        let ha = self.ha.as_ref().filter(|ha| !ha.linked.is_empty())?;
        let is_own = matches!(self.snapshot.local.get(tuple.dst), Some(Local::Own(_)));
        if packet.corrected.is() || packet.hosted || is_own {
            return None;
        }
        let nat = &self.snapshot.nat;
        // A SYN answers nothing, and both nodes have the same policy; but the peer may have a mapping.
        let is_syn = tuple.proto == proto::TCP && packet.parsed.tcp_flags & wire::flag::SYN != 0;
        match reason {
            DropReason::NatNoMapping if is_syn && !nat.has_mappings(tuple.dst) => None,
            DropReason::NatNoMapping => ha.ask_giver(nat, tuple),
            _ if is_syn => None,
            DropReason::Denied => ha.ask(Correction::Refused),
            _ => None,
        }
    }

    /// A frame of the HA link that is not of its protocol: another node received it, and it may belong
    /// to a session of ours.
    pub(super) fn take_corrected(&mut self, frame: I::Frame) {
        match self.came_from(frame.bytes()) {
            Some(came) => self.judge_corrected(frame, came),
            None => self.counters.drop(DropReason::HaForged),
        }
    }

    /// The zone that a frame of the HA link came in by, and who handed it over; `None` if nobody did.
    #[inline]
    pub(super) fn came_from(&self, frame: &[u8]) -> Option<(u8, Corrected)> {
        let ha = self.ha.as_ref()?;
        // What it sent before it could not be reached any more is as good as ever.
        let (peer, session) = ha.agreed_with(correct::sender(frame)?)?;
        let origin = peer.codec.unwrap(frame).ok()?;
        // Between two nodes nobody is asked.
        let known = origin.turn == Turn::Owner || ha.is_cluster();
        let hash = session.zones.hash(origin.zone).filter(|_| known)?;
        let zone = self.snapshot.shared_names.as_ref()?.zone_of(hash)?;
        Some((zone, Corrected::by(origin.node, origin.turn)))
    }

    /// The long way of a packet that another node received.
    pub(super) fn judge_corrected(
        &mut self,
        mut frame: I::Frame,
        (zone, corrected): (u8, Corrected),
    ) {
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
            corrected,
            hosted: false,
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

    /// The neighbour that a packet of another node's came from, as far as it is known here: answers
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
