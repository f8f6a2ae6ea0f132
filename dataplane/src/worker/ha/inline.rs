//! First packets that travel with their session's record: `sync = "inline"`.
//!
//! The packet that opened a session goes into the stream to another node, behind the record of the
//! session. That one hears the record first and sends the packet on by a port of its own, so whatever
//! answers it finds two nodes that know the session: neither can a reply come too early, nor does a
//! crash of either node lose the session. So do the opener's further packets, until the other node has
//! acknowledged the record or something was answered; then they take the short way.
//!
//! Of more than two nodes it is the one that the session falls to when its owner dies: that one has to
//! know, and all others find the session by asking.
//!
//! A node that cannot send a packet (its next hop is not known there, or there is no such way) gives it
//! back, and the node that opened the session sends it: by then the other one knows the session. Nothing
//! waits for any of this. Where the stream has no room, the other node is out of reach or slow, or the
//! packet is too long for a frame of the stream, packets leave directly, as with `async`, and are
//! counted. What is not acknowledged in time the node that opened the session sends itself, so a packet
//! may arrive twice then.

use std::net::IpAddr;

use sluice_ha::NodeSet;
use sluice_ha::hello::capability;
use sluice_ha::lane::{Lane, Mark, Sink, Take};
use sluice_ha::record::{Item, PacketRecord, Record, Records};

use super::super::burst::Packet;
use super::super::forward::encapsulate;
use super::super::host::{framed, macs};
use super::super::tables::PerFamily;
use super::super::{Worker, plan};
use super::mapped::heir_hash;
use super::{ETHERNET, Peer};
use crate::handoff::{LaneOf, Seat};
use crate::io::{Frame, Io};
use crate::path::{Path, UNTAGGED};
use crate::published::WorkerCounter;
use crate::session::flow::{UNTOLD, flags};
use crate::session::table::{Direction, FlowRef, SessionId};
use crate::shared_names::SyncMode;
use crate::snapshot::ServerId;
use crate::stack::neighbour::Reach;

/// Bytes of packets that are to be given back to a node with the next datagrams.
const RETURNS: usize = 16 << 10;
/// Frames of which packets are taken back in one poll at most.
const RECALLS: u32 = 16;

/// Packets that another node asked for in vain, as records.
pub(super) struct Returns {
    bytes: Box<[u8]>,
    len: usize,
}

impl Default for Returns {
    fn default() -> Self {
        Self {
            bytes: vec![0; RETURNS].into(),
            len: 0,
        }
    }
}

impl Returns {
    /// Keeps a packet; false if there is no room.
    fn keep(&mut self, packet: &PacketRecord<'_>) -> bool {
        let place = self.bytes.get_mut(self.len..).unwrap_or_default();
        let written = packet.encode(place);
        self.len += written.unwrap_or(0);
        written.is_some()
    }
}

/// What comes in a lane's stream, and the worker that listens.
pub(super) struct Hearing<'a, I: Io> {
    pub(super) worker: &'a mut Worker<I>,
    pub(super) of: LaneOf,
}

impl<I: Io> Sink for Hearing<'_, I> {
    #[inline]
    fn foresee(&mut self, record: &Record) {
        self.worker.foresee_told(record);
    }

    #[inline]
    fn record(&mut self, record: &Record) -> Take {
        let take = self.worker.apply(self.of, record, None);
        let taken = u64::from(take == Take::Taken);
        self.worker
            .counters
            .add(WorkerCounter::HaRecordsReceived, taken);
        take
    }

    fn packet(&mut self, packet: &PacketRecord<'_>) -> Take {
        self.worker.packet_told(self.of.seat, packet);
        Take::Taken
    }
}

impl Peer {
    /// The lane that packets may go by to be sent on there. `budget`: how long it may take for what is
    /// said to be acknowledged, milliseconds.
    fn inline_lane(&self, now: u32, budget: u32) -> Option<&Lane> {
        let link = self.link.as_ref().filter(|link| !link.yields)?;
        let lane = self.lanes.first()?.as_deref()?;
        let able = link.session.capabilities & capability::INLINE != 0;
        (able && lane.keeps_up(now, budget)).then_some(lane)
    }
}

impl<I: Io> Worker<I> {
    /// A session was opened, and the others were told of it: its opener's packets go by one of them
    /// from now on, if they are to and can.
    pub(in super::super) fn begin_inline<F: PerFamily>(&mut self, id: SessionId) {
        let names = self.snapshot.shared_names.as_ref();
        let cold = F::table(&self.tables).cold(id);
        let mode = names
            .zip(cold)
            .map(|(names, cold)| names.mode(cold.service));
        if mode != Some(SyncMode::Inline) {
            return;
        }
        // Of a connection that was taken up in the middle both sides are there already.
        let session = F::table(&self.tables).session(id);
        if session.is_none_or(|session| session.flows[1].flags & flags::TCP_KNOWN != 0) {
            return;
        }
        match self.inline_way::<F>(id) {
            Some((seat, mark)) => self.leave_untold::<F>(id, seat, mark),
            None => self.counters.count(WorkerCounter::InlineDirect),
        }
    }

    /// By which node the packets of a session go that was just told of, and the place of its record in
    /// the stream to there: by the one that the session falls to when this node dies, if it can.
    fn inline_way<F: PerFamily>(&self, id: SessionId) -> Option<(Seat, Mark)> {
        let ha = self.ha.as_ref().filter(|ha| ha.parts.sync)?;
        let table = F::table(&self.tables);
        let hash = heir_hash(table.session(id)?, table.cold(id)?);
        let lane = |peer: &Peer| {
            let lane = peer.inline_lane(self.now, ha.parts.inline_budget_ms);
            lane.map(Lane::mark)
        };
        let able = ha.peers.iter().filter(|peer| lane(peer).is_some());
        let able: NodeSet = able.map(|peer| peer.id).collect();
        // Of others than its backup none is told more than whose it is.
        let able = match ha.backs_up() {
            true => able.and(self.holders::<F>(id)),
            false => able,
        };
        let heirs = match able.and(ha.heirs) {
            none if none.is_empty() => able,
            heirs => heirs,
        };
        let seat = ha.seat_of(heirs.heir(hash)?)?;
        Some((seat, lane(ha.peers.get(usize::from(seat.0))?)?))
    }

    /// Marks a session as one that no other node may know of. Until a reply comes, nothing else is in
    /// the fields that have the place of its record.
    fn leave_untold<F: PerFamily>(&mut self, id: SessionId, seat: Seat, mark: Mark) {
        let table = F::table_mut(&mut self.tables);
        if let Some((original, reply)) = table.pair_mut(id.flow(Direction::Original)) {
            original.epoch = UNTOLD;
            (reply.tcp_end, reply.tcp_max_win) = (mark.frame, mark.generation);
            reply.tcp_acked = u32::from(seat.0);
        }
    }

    /// A packet met a session whose record was on its way when it was last looked at.
    #[cold]
    pub(in super::super) fn meet_untold<F: PerFamily>(
        &mut self,
        packet: Packet<I::Frame>,
        at: FlowRef,
    ) {
        let id = at.session();
        let original = id.flow(Direction::Original);
        let Some((this, other)) = F::table_mut(&mut self.tables).pair_mut(original) else {
            return self.hit::<F>(packet, at);
        };
        let mark = Mark {
            generation: other.tcp_max_win,
            frame: other.tcp_end,
        };
        let seat = Seat(other.tcp_acked as u8);
        // What is answered the other node has sent, or has at least heard of. Both flows were last
        // checked under the same snapshot.
        let answered = other.packets != 0 || at.direction() == Direction::Reply;
        this.epoch = other.epoch;
        if !answered {
            (other.tcp_end, other.tcp_acked, other.tcp_max_win) = (0, 0, 0);
        }
        if answered || !self.is_on_its_way(seat, mark) {
            return self.hit::<F>(packet, at);
        }
        self.by_peer = Some(seat);
        self.hit::<F>(packet, at);
        self.by_peer = None;
        let session = F::table(&self.tables).session(id);
        let still = session.is_some_and(|session| {
            let [original, reply] = &session.flows;
            original.epoch == reply.epoch && reply.packets == 0 && !session.is_replica()
        });
        if still {
            self.leave_untold::<F>(id, seat, mark);
        }
    }

    /// Whether a record is on its way to a node that sends packets on. Counts a packet that cannot go
    /// that way any more.
    fn is_on_its_way(&mut self, seat: Seat, mark: Mark) -> bool {
        let (now, Some(ha)) = (self.now, &self.ha) else {
            return false;
        };
        let peer = ha.peers.get(usize::from(seat.0));
        let lane = peer.and_then(|peer| peer.lanes.first()?.as_deref());
        if !lane.is_some_and(|lane| lane.is_under_way(mark)) {
            return false;
        }
        let budget = ha.parts.inline_budget_ms;
        let goes = peer.is_some_and(|peer| peer.inline_lane(now, budget).is_some());
        if !goes {
            self.counters.count(WorkerCounter::InlineDirect);
        }
        goes
    }

    /// Puts a packet that is ready to leave by `path` into the stream to the node by which it goes.
    /// Gives it back if that cannot be.
    #[cold]
    pub(in super::super) fn send_by_peer(
        &mut self,
        frame: I::Frame,
        path: &Path,
        l3: u8,
        seat: Seat,
    ) -> Option<I::Frame> {
        if self.push_packet(&frame, path, l3, seat).is_none() {
            self.counters.count(WorkerCounter::InlineDirect);
            return Some(frame);
        }
        self.counters.count(WorkerCounter::RedirectedInline);
        self.counters.count(WorkerCounter::Redirected);
        None
    }

    fn push_packet(&mut self, frame: &I::Frame, path: &Path, l3: u8, seat: Seat) -> Option<()> {
        let packet = ip_packet(frame.bytes().get(usize::from(l3)..)?)?;
        let server = self.snapshot.servers.get(usize::from(path.server.0));
        let server = server.and_then(Option::as_ref);
        // With direct server return it is not the server that the packet names.
        let hop = match server.filter(|_| path.server != ServerId::NONE) {
            Some(server) => server.address,
            None => destination(packet)?,
        };
        let zone = plan::port(&self.snapshot, path.port)?.zone;
        let zone = self.snapshot.shared_names.as_ref()?.zone(zone);
        let now = self.now;
        let peer = self.peer_at(seat)?;
        peer.busy = true;
        let told = PacketRecord {
            hop,
            zone,
            returned: false,
            recalled: false,
            packet,
        };
        peer.own_lane()?.push_packet(&told, now).ok()
    }

    /// Another node wants a packet to be sent, or could not send one of ours.
    fn packet_told(&mut self, from: Seat, told: &PacketRecord<'_>) {
        if told.recalled {
            return;
        }
        if self.send_for_peer(told).is_some() {
            return self.counters.count(WorkerCounter::InlineSent);
        }
        let back = PacketRecord {
            returned: true,
            ..*told
        };
        let returns = self.peer_at(from).map(|peer| &mut peer.returns);
        let kept = !told.returned && returns.is_some_and(|returns| returns.keep(&back));
        self.counters.count(if kept {
            WorkerCounter::InlineReturned
        } else {
            WorkerCounter::InlineLost
        });
    }

    /// Sends a packet of another node's by a port of this one; `None` if it cannot be, for now.
    fn send_for_peer(&mut self, told: &PacketRecord<'_>) -> Option<()> {
        let names = self.snapshot.shared_names.as_ref()?;
        let way = plan::way(&self.snapshot, told.hop).ok()?;
        let port = plan::port(&self.snapshot, way.hop.port)?;
        let packet = ip_packet(told.packet)?;
        let v6 = packet.first()? >> 4 == 6;
        if names.zone_of(told.zone) != Some(way.zone)
            || packet.len() > usize::from(port.mtu)
            || v6 != told.hop.is_ipv6()
        {
            return None;
        }
        let (mac, device, vlan) = (port.mac, port.device, port.vlan.unwrap_or(UNTAGGED));
        let sought = self.neighbours.seek(way.hop.port, way.neighbour, self.now);
        let Reach::At(to) = sought else { return None };
        let mut frame = framed(self.io.alloc()?, packet)?;
        if !encapsulate(&mut frame, &macs(to, mac), vlan, ETHERNET as u8, v6) {
            return None;
        }
        self.originate(frame, device);
        Some(())
    }

    /// Gives packets back that a node asked for in vain.
    pub(super) fn give_back(&mut self, seat: Seat) {
        let now = self.now;
        let Some(peer) = self.peer_at(seat).filter(|peer| peer.returns.len > 0) else {
            return;
        };
        let returns = std::mem::take(&mut peer.returns.len);
        let mut lane = peer.lanes.first_mut().and_then(Option::as_deref_mut);
        let mut lost = 0;
        let mut items = Records::new(&peer.returns.bytes[..returns], 0);
        while let Some(item) = items.next_item() {
            let Item::Packet(packet) = item else { continue };
            let pushed = lane.as_mut().map(|lane| lane.push_packet(&packet, now));
            lost += u64::from(!matches!(pushed, Some(Ok(()))));
        }
        peer.busy = true;
        self.counters.add(WorkerCounter::InlineLost, lost);
    }

    /// Sends packets itself that a node was to send and has not acknowledged for too long, or cannot
    /// any more.
    pub(super) fn recall_some(&mut self, seat: Seat) {
        let Some(ha) = &self.ha else { return };
        let Some(peer) = ha.peers.get(usize::from(seat.0)) else {
            return;
        };
        let budget = match peer.link {
            Some(_) => ha.parts.inline_budget_ms,
            None => 0,
        };
        self.recall(seat, budget, RECALLS);
    }

    /// The same of what was to be sent `budget` milliseconds ago, from `frames` frames at most.
    pub(super) fn recall(&mut self, seat: Seat, budget: u32, frames: u32) {
        let now = self.now;
        let Some(peer) = self.peer_at(seat) else {
            return;
        };
        let lane = peer.own_lane();
        if !lane.is_some_and(|lane| lane.is_overdue(now, budget)) {
            return;
        }
        let Some(mut lane) = peer.take_lane(0) else {
            return;
        };
        lane.recall(now, budget, frames, |packet| {
            let sent = !packet.returned && self.send_for_peer(packet).is_some();
            self.counters.count(if sent {
                WorkerCounter::InlineRecalled
            } else {
                WorkerCounter::InlineLost
            });
        });
        if let Some(peer) = self.peer_at(seat) {
            peer.put_lane(0, lane);
        }
    }
}

/// Where an IP packet is addressed to.
fn destination(packet: &[u8]) -> Option<IpAddr> {
    if packet.first()? >> 4 == 4 {
        let address: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
        Some(address.into())
    } else {
        let address: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
        Some(address.into())
    }
}

/// The IP packet that bytes begin with, without what pads a short frame.
fn ip_packet(bytes: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| {
        Some(usize::from(u16::from_be_bytes([
            *bytes.get(at)?,
            *bytes.get(at + 1)?,
        ])))
    };
    match bytes.first()? >> 4 {
        4 => bytes.get(..word(2)?),
        6 => bytes.get(..word(4)?.checked_add(40)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
