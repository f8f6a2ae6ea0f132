//! The short way of corrected packets: plain ones of sessions that are known go from one node to the
//! other, and on from there, without being parsed twice or looked up one by one.
//!
//! What is decided here is decided as `correct` would; whatever there is more to a packet, its frame
//! comes back untouched and goes the long way.

use arrayvec::ArrayVec;
use sluice_ha::correct::Turn;
use sluice_wire::{Key, V4, V6};

use super::super::Worker;
use super::super::scratch::{GROUP, Scratch};
use super::super::tables::PerFamily;
use super::link::is_datagram;
use super::{Correction, Origin};
use crate::handoff::Corrected;
use crate::io::{Frame, Io, RX_BURST, RxBurst};
use crate::published::WorkerCounter;
use crate::session::flow::{Session, flags};
use crate::session::table::{Candidate, FlowRef};
use crate::snapshot::PortId;

/// How many frames ahead of those that are looked at first bytes are fetched.
const AHEAD: usize = 4;

/// What came by the HA link.
#[derive(Clone, Copy)]
enum Came {
    /// A datagram of the protocol.
    Datagram,
    /// A packet by a zone of ours, that a node handed over.
    From(u8, Corrected),
    /// Something else.
    Forged,
}

impl<I: Io> Worker<I> {
    /// Works on what the device of the HA link delivered, in the order of arrival; corrected packets are
    /// looked up as a burst.
    pub(super) fn corrected_burst(&mut self, frames: &mut RxBurst<I::Frame>) {
        let mut scratch = self.scratch.take().unwrap_or_default();
        let came = self.unwrap_burst(frames, &mut scratch);
        scratch.probe(&self.tables, 0);
        scratch.probe(&self.tables, GROUP);
        for (at, (frame, came)) in frames.drain(..).zip(came).enumerate() {
            if at % GROUP == 0 {
                scratch.probe(&self.tables, at + 2 * GROUP);
            }
            let Came::From(zone, corrected) = came else {
                self.ha_frame(frame);
                continue;
            };
            let left = if scratch.v4.plain >> at & 1 == 1 {
                let (key, _, candidate) = scratch.v4.get(at);
                self.forward_plain::<V4>(frame, key, candidate)
            } else if scratch.v6.plain >> at & 1 == 1 {
                let (key, _, candidate) = scratch.v6.get(at);
                self.forward_plain::<V6>(frame, key, candidate)
            } else {
                Err(frame)
            };
            match left {
                Ok(()) => self.counters.count(WorkerCounter::CorrectedReceived),
                Err(frame) => self.judge_corrected(frame, (zone, corrected)),
            }
        }
        self.scratch = Some(scratch);
    }

    /// Finds out what each frame is, and takes the keys of plain packets.
    fn unwrap_burst(
        &self,
        frames: &RxBurst<I::Frame>,
        scratch: &mut Scratch,
    ) -> ArrayVec<Came, RX_BURST> {
        scratch.clear();
        for frame in frames.iter().take(AHEAD) {
            frame.prefetch();
        }
        let mut all = ArrayVec::new();
        for (at, frame) in frames.iter().enumerate() {
            if let Some(ahead) = frames.get(at + AHEAD) {
                ahead.prefetch();
            }
            let bytes = frame.bytes();
            let came = match self.came_from_link(bytes) {
                Came::From(zone, corrected) => {
                    scratch.take_corrected(&self.tables, zone, bytes, &frame.meta(), at);
                    Came::From(zone, corrected)
                }
                came => came,
            };
            all.push(came);
        }
        all
    }

    fn came_from_link(&self, frame: &[u8]) -> Came {
        if is_datagram(frame) {
            return Came::Datagram;
        }
        match self.came_from(frame) {
            Some((zone, corrected)) => Came::From(zone, corrected),
            None => Came::Forged,
        }
    }

    /// Hands a plain packet to the node that owns its session, if that is known, lives and is fit to keep
    /// it.
    ///
    /// # Errors
    /// The frame, unchanged, if there is more to it.
    #[inline(never)]
    pub(in super::super) fn correct_plain<F: PerFamily>(
        &mut self,
        mut frame: I::Frame,
        (key, candidate): (&Key<F::Addrs>, Candidate),
        port: PortId,
    ) -> Result<(), I::Frame> {
        let Some(ha) = self.ha.as_deref() else {
            return Err(frame);
        };
        let table = F::table(&self.tables);
        let guess = table.guess(candidate, key);
        let replica = guess.filter(|(_, flow)| flow.flags & flags::REPLICA != 0);
        let cold = replica.and_then(|(at, _)| table.cold(at.session()));
        let keeper = cold.and_then(|cold| ha.keeper_of(Origin::unpack(cold.extra)));
        // What opens another session in place of one that is over does not go to a node that is about to go.
        let is_over = |(at, _): (FlowRef, &_)| {
            let session = table.session(at.session());
            session.is_some_and(Session::is_over)
        };
        let keeper = keeper.filter(|&seat| ha.stays(seat) || !replica.is_some_and(is_over));
        let peer = keeper.and_then(|seat| ha.peers.get(usize::from(seat.0)));
        let link = peer.and_then(|peer| Some((peer, peer.link.as_ref()?)));
        let (Some((peer, link)), Some(zone)) = (link, self.zone(port)) else {
            return Err(frame);
        };
        let mac = link.mac.0;
        let to = keeper.filter(|&seat| ha.has_way_for(seat, &frame));
        let Some(to) = to else {
            return Err(frame);
        };
        if !peer.codec.wrap(frame.bytes_mut(), mac, zone, Turn::Owner) {
            return Err(frame);
        }
        self.counters.count(Correction::Replica.counter());
        self.send_ha(frame, to, false);
        Ok(())
    }
}
