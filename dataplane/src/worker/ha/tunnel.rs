//! Tunnels to nodes that are not neighbours on the HA link (`sluice_ha::tunnel`): frames are wrapped as
//! they leave and opened as they come, so that everything else is as on a cable.
//!
//! The HA link's device has an address of its own for that, answers ARP for it, and finds its next hops by
//! ARP: worker 0 asks, whoever hears an answer tells the others.

use std::net::Ipv4Addr;

use arrayvec::ArrayVec;
use sluice_ha::frame::MAX_NODES;
use sluice_ha::tunnel::{Arrived, End, Way};
use sluice_wire::proto::ETHERTYPE_ARP;
use sluice_wire::{MacAddr, arp, ethernet};

use super::super::Worker;
use super::super::burst::Packet;
use super::{ETHERNET, Errand, Ha};
use crate::counters::DropReason;
use crate::handoff::{Message, Seat};
use crate::io::{Frame, Io, RxBurst};
use crate::published::WorkerCounter;
use crate::stack::{icmp, split};
use sluice_ha::correct::Turn;

#[cfg(test)]
mod tests;

/// Time between two questions for a next hop, milliseconds.
const ASK_MS: u32 = 500;
/// How long an answer is good for before it is asked for again, milliseconds.
const FRESH_MS: u32 = 20_000;
/// After so long without one the next hop is not known any more, milliseconds.
const LOST_MS: u32 = 30_000;

/// The tunnels of the HA link, as control tells of them.
#[derive(Clone, Debug)]
pub struct TunnelParts {
    /// This end of them.
    pub end: End,
    /// Nodes that are reached so: the number of each, its address, and the next hop to it, which is the
    /// same where it is a neighbour.
    pub nodes: Vec<(u8, Ipv4Addr, Ipv4Addr)>,
}

/// A router, or a node on the same network.
#[derive(Debug)]
struct Hop {
    address: Ipv4Addr,
    mac: Option<MacAddr>,
    /// When it was heard last; what stands here before it was means nothing.
    heard: u32,
    /// When it was asked for last; `None`: never.
    asked: Option<u32>,
}

/// What a worker knows of the tunnels.
#[derive(Debug)]
pub(super) struct Tunnel {
    end: End,
    /// By seat: headers, and which of the next hops. `None`: a neighbour.
    ways: ArrayVec<Option<(Way, usize)>, { MAX_NODES as usize }>,
    hops: ArrayVec<Hop, { MAX_NODES as usize }>,
}

impl Tunnel {
    /// For nodes in the order of their seats.
    pub(super) fn new(parts: &TunnelParts, nodes: impl IntoIterator<Item = u8>) -> Self {
        let mut tunnel = Self {
            end: parts.end,
            ways: ArrayVec::new(),
            hops: ArrayVec::new(),
        };
        for node in nodes.into_iter().take(usize::from(MAX_NODES)) {
            let known = parts.nodes.iter().find(|(number, ..)| *number == node);
            let way = known.map(|&(_, address, next)| (parts.end.way(address), tunnel.hop(next)));
            tunnel.ways.push(way);
        }
        tunnel
    }

    fn hop(&mut self, address: Ipv4Addr) -> usize {
        let known = self.hops.iter().position(|hop| hop.address == address);
        known.unwrap_or_else(|| {
            // One for each way at most, so there is room.
            self.hops.push(Hop {
                address,
                mac: None,
                heard: 0,
                asked: None,
            });
            self.hops.len() - 1
        })
    }

    /// How a frame to a node is wrapped, and where it goes then. `Ok(None)`: it goes as it is.
    ///
    /// # Errors
    /// If there is no way now.
    #[inline]
    fn way(&self, to: Seat) -> Result<Option<(&Way, MacAddr)>, NoWay> {
        match self.ways.get(usize::from(to.0)) {
            Some(Some((way, hop))) => {
                let mac = self.hops.get(*hop).and_then(|hop| hop.mac);
                mac.map(|mac| Some((way, mac))).ok_or(NoWay)
            }
            _ => Ok(None),
        }
    }

    /// Somebody says that an address is at `mac`, or (`None`) nobody does any more. Which of the next
    /// hops that concerns, if it is news.
    fn note(&mut self, address: Ipv4Addr, mac: Option<MacAddr>, now: u32) -> Option<usize> {
        let at = self.hops.iter().position(|hop| hop.address == address)?;
        let hop = self.hops.get_mut(at)?;
        hop.heard = now;
        (std::mem::replace(&mut hop.mac, mac) != mac).then_some(at)
    }

    /// The next hop that is to be asked for now, and where it was last.
    fn wanted(&mut self, now: u32) -> Option<(Ipv4Addr, Option<MacAddr>)> {
        let due = self.hops.iter_mut().find(|hop| {
            let fresh = hop.mac.is_some() && now.wrapping_sub(hop.heard) < FRESH_MS;
            let asked = hop
                .asked
                .is_some_and(|then| now.wrapping_sub(then) < ASK_MS);
            !fresh && !asked
        })?;
        due.asked = Some(now);
        Some((due.address, due.mac))
    }

    /// A next hop that has been silent for too long.
    fn lost(&self, now: u32) -> Option<Ipv4Addr> {
        let mut hops = self.hops.iter();
        let silent = |hop: &&Hop| hop.mac.is_some() && now.wrapping_sub(hop.heard) >= LOST_MS;
        hops.find(silent).map(|hop| hop.address)
    }
}

/// The next hop is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NoWay;

impl Ha {
    /// Whether a frame could leave for a node.
    #[inline]
    pub(super) fn has_way(&self, to: Seat) -> bool {
        self.tunnel
            .as_ref()
            .is_none_or(|tunnel| tunnel.way(to).is_ok())
    }

    /// Whether it could at once, and whole: where there are tunnels, one with a VLAN tag may be found to
    /// be too long though it is not.
    #[inline]
    pub(super) fn has_way_for<F: Frame>(&self, to: Seat, frame: &F) -> bool {
        self.tunnel.as_ref().is_none_or(|tunnel| {
            let fits = frame.bytes().len() <= ETHERNET + usize::from(self.parts.mtu);
            fits && tunnel.way(to).is_ok()
        })
    }
}

impl<I: Io> Worker<I> {
    /// Sends a frame by the HA link, in a tunnel if one leads to that node. A received frame
    /// (`originated` is false) is counted if it cannot go.
    #[inline]
    pub(super) fn send_ha(&mut self, mut frame: I::Frame, to: Seat, originated: bool) {
        let Some(ha) = self.ha.as_deref() else { return };
        let device = ha.parts.device;
        if let Some(tunnel) = &ha.tunnel {
            let sent = match tunnel.way(to) {
                Ok(None) => true,
                Ok(Some((way, mac))) => {
                    frame.grow_front(way.overhead())
                        && way.write(frame.bytes_mut(), mac, ha.parts.mac)
                }
                Err(NoWay) => false,
            };
            if !sent {
                if !originated {
                    self.counters.drop(DropReason::NeighbourUnresolved);
                }
                return;
            }
        }
        self.egress
            .push(&mut self.io, &self.rings, device, frame, originated);
    }

    /// Hands over a packet that is larger than a tunnel takes, in pieces; or tells its sender how large
    /// they may be. `mtu`: bytes of an IP packet.
    #[cold]
    pub(super) fn correct_in_pieces(
        &mut self,
        packet: Packet<I::Frame>,
        errand: Errand,
        turn: Turn,
        mtu: u16,
    ) {
        if packet.parsed.dont_fragment(packet.frame.bytes()) {
            self.answer(&packet, icmp::Error::TooBig(mtu));
            return self.reject(packet, DropReason::TooBig);
        }
        let Some(zone) = self.zone(packet.port) else {
            return self.reject(packet, DropReason::Internal);
        };
        let Packet {
            frame,
            parsed,
            port,
            ..
        } = packet;
        // It is not translated here, so the pieces keep its identification.
        let l3 = usize::from(parsed.l3);
        let mut pieces = match split::split(frame, l3, mtu, None, || self.io.alloc()) {
            Ok(pieces) => pieces,
            Err((frame, split::Refusal::NoBuffer)) => {
                return self.drop(frame, port, DropReason::NoBuffer);
            }
            Err((frame, _)) => return self.drop(frame, port, DropReason::TooBig),
        };
        self.counters.count(errand.why.counter());
        for (at, mut piece) in pieces.drain(..).enumerate() {
            let peer = self.ha.as_deref().and_then(|ha| {
                let peer = ha.peers.get(usize::from(errand.to.0))?;
                Some((peer, peer.link.as_ref()?))
            });
            let marked = peer.is_some_and(|(peer, link)| {
                let to = link.mac.0;
                peer.codec.wrap(piece.bytes_mut(), to, zone, turn)
            });
            match (marked, at) {
                // One frame came; the others are made here.
                (true, _) => self.send_ha(piece, errand.to, at > 0),
                (false, 0) => self.drop(piece, port, DropReason::Internal),
                (false, _) => {}
            }
        }
    }

    /// Takes frames out of their tunnels. What is no node's is counted and goes no further.
    #[cold]
    #[inline(never)]
    pub(super) fn open_tunnels(&mut self, frames: &mut RxBurst<I::Frame>) {
        let arrived = std::mem::take(frames);
        frames.extend(
            arrived
                .into_iter()
                .filter_map(|frame| self.open_tunnel(frame)),
        );
    }

    /// The same for one.
    pub(super) fn open_tunnel(&mut self, mut frame: I::Frame) -> Option<I::Frame> {
        let Some(tunnel) = self.ha.as_ref().and_then(|ha| ha.tunnel.as_ref()) else {
            return Some(frame);
        };
        if frame.meta().segmented {
            self.counters.drop(DropReason::Segmented);
            return None;
        }
        match tunnel.end.look(frame.bytes()) {
            Arrived::Bare => return Some(frame),
            Arrived::Within(at, len) => {
                frame.open(at, len);
                return Some(frame);
            }
            Arrived::Arp => self.tunnel_arp(frame),
            Arrived::Refused => self.counters.drop(DropReason::HaRefused),
        }
        None
    }

    /// ARP on the HA link: our address is answered for, next hops are learned of.
    fn tunnel_arp(&mut self, mut frame: I::Frame) {
        let now = self.now;
        let packet = frame.bytes().get(ETHERNET..).and_then(arp::Packet::parse);
        let Some(ha) = self.ha.as_deref_mut() else {
            return;
        };
        let (own, device) = (ha.parts.mac, ha.parts.device);
        let (Some(packet), Some(tunnel)) = (packet, &mut ha.tunnel) else {
            return self.counters.drop(DropReason::BadArp);
        };
        self.counters.count(WorkerCounter::Consumed);
        let address = tunnel.end.address;
        if packet.sender_mac == own || packet.sender_ip == address {
            return;
        }
        let mac = Some(packet.sender_mac);
        if tunnel.note(packet.sender_ip, mac, now).is_some() {
            let address = packet.sender_ip;
            self.spread(|| Message::TunnelHop { address, mac });
        } else if self.id != 0 {
            // Worker 0 asks again otherwise.
            let address = packet.sender_ip;
            let _ = self.rings.push(0, Message::TunnelHop { address, mac });
        }
        if packet.op == arp::Op::Request && packet.target_ip == address {
            let reply = packet.reply(own).bytes();
            if write_arp(&mut frame, packet.sender_mac, own, reply) {
                self.originate(frame, device);
            }
        }
    }

    /// Another worker heard of a next hop.
    pub(in super::super) fn tunnel_hop(&mut self, address: Ipv4Addr, mac: Option<MacAddr>) {
        let now = self.now;
        if let Some(tunnel) = self.ha.as_mut().and_then(|ha| ha.tunnel.as_mut()) {
            tunnel.note(address, mac, now);
        }
    }

    /// Once a millisecond, on worker 0: asks for next hops.
    pub(super) fn tunnel_tick(&mut self) {
        let now = self.now;
        let Some(ha) = self.ha.as_deref_mut() else {
            return;
        };
        let (own, device) = (ha.parts.mac, ha.parts.device);
        let Some(tunnel) = &mut ha.tunnel else { return };
        let from = tunnel.end.address;
        let lost = tunnel.lost(now);
        let wanted = tunnel.wanted(now);
        if let Some(address) = lost {
            tunnel.note(address, None, now);
            self.spread(|| Message::TunnelHop { address, mac: None });
        }
        let Some((address, last)) = wanted else {
            return;
        };
        let Some(mut frame) = self.io.alloc() else {
            return;
        };
        let request = arp::Packet::request(own, from, address).bytes();
        if write_arp(&mut frame, last.unwrap_or(MacAddr::BROADCAST), own, request) {
            self.originate(frame, device);
        }
    }
}

/// Makes a frame one of ARP. False if it has no room.
fn write_arp<F: Frame>(frame: &mut F, to: MacAddr, from: MacAddr, packet: [u8; arp::LEN]) -> bool {
    let header = ethernet::Header {
        dst: to,
        src: from,
        tci: None,
        ethertype: ETHERTYPE_ARP,
    };
    frame.set_len(ETHERNET + arp::LEN)
        && header.write(frame.bytes_mut())
        && sluice_wire::bytes::put(frame.bytes_mut(), ETHERNET, packet)
}
