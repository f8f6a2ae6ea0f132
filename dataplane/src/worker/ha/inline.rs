//! First packets that travel with their session's record: `sync = "inline"`.
//!
//! The packet that opened a session goes into the stream to the peer, behind the record of the session.
//! The peer hears the record first and sends the packet on by a port of its own, so whatever answers it
//! meets nodes that both know the session: neither can a reply come too early, nor does a crash of
//! either node lose the session. So do the opener's further packets, until the peer has acknowledged
//! the record or something was answered; then they take the short way.
//!
//! A peer that cannot send a packet (its next hop is not known there, or there is no such way) gives it
//! back, and the node that opened the session sends it: by then the peer knows the session. Nothing
//! waits for any of this. Where the stream has no room, the peer is out of reach, or the packet is too
//! long for a frame of it, packets leave directly, as with `async`, and are counted.

use std::net::IpAddr;

use super::super::burst::Packet;
use super::super::forward::encapsulate;
use super::super::host::{framed, macs};
use super::super::tables::PerFamily;
use super::super::{Worker, plan};
use crate::io::{Frame, Io};
use crate::path::{Path, UNTAGGED};
use crate::published::WorkerCounter;
use crate::session::flow::{UNTOLD, flags};
use crate::session::table::{Direction, FlowRef, SessionId};
use crate::shared_names::SyncMode;
use crate::snapshot::ServerId;
use crate::stack::neighbour::Reach;
use sluice_ha::hello::capability;
use sluice_ha::lane::{Mark, Sink, Take};
use sluice_ha::record::{Item, PacketRecord, Record, Records};

use super::ETHERNET;

/// Bytes of packets that are to be given back with the next datagrams.
const RETURNS: usize = 16 << 10;

/// Packets that the peer asked for in vain, as records.
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
    pub(super) lane: u8,
}

impl<I: Io> Sink for Hearing<'_, I> {
    #[inline]
    fn record(&mut self, record: &Record) -> Take {
        let take = self.worker.apply(self.lane, record, None);
        let taken = u64::from(take == Take::Taken);
        self.worker
            .counters
            .add(WorkerCounter::HaRecordsReceived, taken);
        take
    }

    fn packet(&mut self, packet: &PacketRecord<'_>) -> Take {
        self.worker.packet_told(packet);
        Take::Taken
    }
}

impl<I: Io> Worker<I> {
    /// A session was opened, and the peer is told of it: its opener's packets go by the peer from now
    /// on, if they are to and can.
    pub(super) fn begin_inline<F: PerFamily>(&mut self, id: SessionId) {
        let names = self.snapshot.shared_names.as_ref();
        let cold = F::table(&self.tables).cold(id);
        let mode = names.zip(cold).map(|(names, cold)| names.mode(cold.service));
        if mode != Some(SyncMode::Inline) {
            return;
        }
        match self.inline_mark::<F>(id) {
            Some(mark) => self.leave_untold::<F>(id, mark),
            None => self.counters.count(WorkerCounter::InlineDirect),
        }
    }

    /// The place in the stream of a record that was just pushed, if its session's packets can follow
    /// it.
    fn inline_mark<F: PerFamily>(&self, id: SessionId) -> Option<Mark> {
        let ha = self.ha.as_ref()?;
        let session = &ha.peer.as_ref()?.session;
        let lane = ha.lanes.first()?.as_ref()?;
        // Of a connection that was taken up in the middle both sides are there already.
        let [_, reply] = &F::table(&self.tables).session(id)?.flows;
        let able = session.capabilities & capability::INLINE != 0
            && lane.is_open()
            && reply.flags & flags::TCP_KNOWN == 0;
        able.then(|| lane.mark())
    }

    /// Marks a session as one that the peer may not know of. Until a reply comes, nothing else is in
    /// the fields that have the place of its record.
    fn leave_untold<F: PerFamily>(&mut self, id: SessionId, mark: Mark) {
        let table = F::table_mut(&mut self.tables);
        if let Some((original, reply)) = table.pair_mut(id.flow(Direction::Original)) {
            original.epoch = UNTOLD;
            (reply.tcp_end, reply.tcp_max_win) = (mark.frame, mark.generation);
        }
    }

    /// A packet met a session whose record was on its way to the peer when it was last looked at.
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
        // What is answered the peer has sent, or has at least heard of. Both flows were last checked
        // under the same snapshot.
        let answered = other.packets != 0 || at.direction() == Direction::Reply;
        this.epoch = other.epoch;
        if !answered {
            (other.tcp_end, other.tcp_max_win) = (0, 0);
        }
        let lane = self.ha.as_ref().and_then(|ha| ha.lanes.first()?.as_ref());
        let under_way = lane.is_some_and(|lane| lane.is_under_way(mark));
        if answered || !under_way {
            return self.hit::<F>(packet, at);
        }
        self.by_peer = true;
        self.hit::<F>(packet, at);
        self.by_peer = false;
        let session = F::table(&self.tables).session(id);
        let still = session.is_some_and(|session| {
            let [original, reply] = &session.flows;
            original.epoch == reply.epoch && reply.packets == 0 && !session.is_replica()
        });
        if still {
            self.leave_untold::<F>(id, mark);
        }
    }

    /// Puts a packet that is ready to leave by `path` into the stream to the peer. Gives it back if
    /// that cannot be.
    #[cold]
    pub(in super::super) fn send_by_peer(
        &mut self,
        frame: I::Frame,
        path: &Path,
        l3: u8,
    ) -> Option<I::Frame> {
        if self.push_packet(&frame, path, l3).is_none() {
            self.counters.count(WorkerCounter::InlineDirect);
            return Some(frame);
        }
        self.counters.count(WorkerCounter::RedirectedInline);
        self.counters.count(WorkerCounter::Redirected);
        None
    }

    fn push_packet(&mut self, frame: &I::Frame, path: &Path, l3: u8) -> Option<()> {
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
        let ha = self.ha.as_mut()?;
        let lane = ha.lanes.first_mut()?.as_mut()?;
        ha.busy = true;
        let told = PacketRecord {
            hop,
            zone,
            returned: false,
            packet,
        };
        lane.push_packet(&told).ok()
    }

    /// The peer wants a packet to be sent, or could not send one of ours.
    fn packet_told(&mut self, told: &PacketRecord<'_>) {
        if self.send_for_peer(told).is_some() {
            return self.counters.count(WorkerCounter::InlineSent);
        }
        let back = PacketRecord {
            returned: true,
            ..*told
        };
        let returns = self.ha.as_mut().map(|ha| &mut ha.returns);
        let kept = !told.returned && returns.is_some_and(|returns| returns.keep(&back));
        self.counters.count(if kept {
            WorkerCounter::InlineReturned
        } else {
            WorkerCounter::InlineLost
        });
    }

    /// Sends a packet of the peer's by a port of this node; `None` if it cannot be, for now.
    fn send_for_peer(&mut self, told: &PacketRecord<'_>) -> Option<()> {
        let names = self.snapshot.shared_names.as_ref()?;
        let way = plan::way(&self.snapshot, told.hop).ok()?;
        let port = plan::port(&self.snapshot, way.hop.port)?;
        let packet = ip_packet(told.packet)?;
        if names.zone_of(told.zone) != Some(way.zone) || packet.len() > usize::from(port.mtu) {
            return None;
        }
        let (mac, device, vlan) = (port.mac, port.device, port.vlan.unwrap_or(UNTAGGED));
        let neighbour = self
            .neighbours
            .resolve(way.hop.port, way.neighbour, self.now)
            .ok()?;
        let reach = self.neighbours.used(neighbour, self.now);
        self.neighbours.release(neighbour);
        let Reach::At(to) = reach else { return None };
        let mut frame = framed(self.io.alloc()?, packet)?;
        let v6 = told.hop.is_ipv6();
        if !encapsulate(&mut frame, &macs(to, mac), vlan, ETHERNET as u8, v6) {
            return None;
        }
        self.originate(frame, device);
        Some(())
    }

    /// Gives packets back that the peer asked for in vain.
    pub(super) fn give_back(&mut self) {
        let Some(ha) = self.ha.as_mut().filter(|ha| ha.returns.len > 0) else {
            return;
        };
        let len = std::mem::take(&mut ha.returns.len);
        let mut lost = 0;
        let mut items = Records::new(&ha.returns.bytes[..len], 0);
        let mut lane = ha.lanes.first_mut().and_then(Option::as_mut);
        while let Some(item) = items.next_item() {
            let Item::Packet(packet) = item else { continue };
            let pushed = lane.as_mut().map(|lane| lane.push_packet(&packet));
            lost += u64::from(!matches!(pushed, Some(Ok(()))));
        }
        ha.busy = true;
        self.counters.add(WorkerCounter::InlineLost, lost);
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
