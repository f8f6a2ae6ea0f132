//! The HA link: who is there, what it says, and what is said to it.
//!
//! Datagrams of a lane go to the worker that has the lane, all others to worker 0, which tells the
//! rest when another node comes and goes (`pulse`).

use sluice_ha::frame::{CONTROL_LANE, ETHERTYPE, peek};
use sluice_ha::heartbeat::Path;
use sluice_ha::record::Record;
use sluice_ha::{digest, lane};
use sluice_wire::MacAddr;

use super::super::Worker;
use super::inline::Hearing;
use super::{ETHERNET, SILENT};
use crate::counters::DropReason;
use crate::handoff::{LaneOf, Message, Seat};
use crate::io::{Frame, Io, RxBurst};
use crate::mailbox::{Event, HaEvent};
use crate::published::WorkerCounter;

/// Datagrams that one poll writes to one lane at most.
const DATAGRAMS: usize = 64;

impl<I: Io> Worker<I> {
    /// Works on what the device of the HA link delivered.
    pub(in super::super) fn ha_burst(&mut self, frames: &mut RxBurst<I::Frame>) {
        self.counters
            .add(WorkerCounter::Received, frames.len() as u64);
        if self.egress.taps.are_there() {
            return self.ha_burst_captured(frames);
        }
        if self.ha.as_ref().is_some_and(|ha| ha.tunnel.is_some()) {
            self.open_tunnels(frames);
        }
        self.corrected_burst(frames);
    }

    /// Works on a frame as the device of the HA link delivered it.
    pub(in super::super) fn ha_arrived(&mut self, frame: I::Frame) {
        if let Some(frame) = self.open_tunnel(frame) {
            self.ha_frame(frame);
        }
    }

    /// Works on a frame of the HA link.
    pub(in super::super) fn ha_frame(&mut self, frame: I::Frame) {
        if is_datagram(frame.bytes()) {
            self.ha_datagram(frame);
        } else {
            self.take_corrected(frame);
        }
    }

    /// Works on a datagram of the HA link, or gives it to the worker that it is for.
    #[cold]
    pub(in super::super) fn ha_datagram(&mut self, mut frame: I::Frame) {
        let header = frame.bytes().get(ETHERNET..).map(peek);
        let (Some(Ok(header)), Some(ha)) = (header, &self.ha) else {
            return self.counters.drop(DropReason::HaRefused);
        };
        if header.to != ha.parts.node {
            return self.drop_not_ours(&frame);
        }
        let workers = self.rings.workers();
        let to = match header.lane {
            CONTROL_LANE => 0,
            lane => u16::from(lane) % workers,
        };
        if to != self.id {
            return match self.rings.push(to, Message::HaDatagram(frame)) {
                Ok(()) => self.counters.count(WorkerCounter::HandedOver),
                Err(_) => self.counters.drop(DropReason::HandoffFull),
            };
        }
        let accepted = match (header.lane, ha.seat_of(header.from)) {
            (_, None) => false,
            (CONTROL_LANE, Some(seat)) => {
                let by = (seat, Path::HaLink);
                self.hear_control(&mut frame, ETHERNET, header.kind, by)
            }
            (lane, Some(seat)) => self.hear_lane(LaneOf { seat, lane }, &mut frame),
        };
        if accepted {
            self.counters.count(WorkerCounter::Consumed);
        } else {
            self.counters.drop(DropReason::HaRefused);
        }
    }

    /// A datagram for another node: a greeting or a heartbeat that is sent to all, or one that has no
    /// business here.
    pub(super) fn drop_not_ours(&mut self, frame: &I::Frame) {
        let group = frame.bytes().first().is_some_and(|first| first & 1 != 0);
        self.counters.drop(match group {
            true => DropReason::Multicast,
            false => DropReason::HaRefused,
        });
    }

    /// Tells all other workers. False if one's ring is full.
    pub(super) fn spread(&mut self, message: impl Fn() -> Message<I::Frame>) -> bool {
        let mut all = true;
        for worker in (0..self.rings.workers()).filter(|&worker| worker != self.id) {
            all &= self.rings.push(worker, message()).is_ok();
        }
        all
    }

    /// Records of another node. False if the datagram was refused.
    fn hear_lane(&mut self, of: LaneOf, frame: &mut I::Frame) -> bool {
        let Some(mut lane) = self.ha.as_mut().and_then(|ha| ha.take_lane(of)) else {
            return false;
        };
        let now = self.now;
        let datagram = frame.bytes_mut().get_mut(ETHERNET..).unwrap_or_default();
        let mut hearing = Hearing { worker: self, of };
        let accepted = lane.handle(datagram, now, &mut hearing);
        if let Some(ha) = &mut self.ha {
            ha.put_lane(of, lane);
        }
        accepted.is_ok()
    }

    /// Once per poll: what lanes have to say, and what is due.
    #[inline]
    pub(in super::super) fn ha_poll(&mut self) {
        if self.ha.is_some() {
            self.ha_work();
        }
    }

    fn ha_work(&mut self) {
        let now = self.now;
        if let Some(ha) = &mut self.ha {
            if ha.is_stale(now) {
                ha.woke = Some(now);
            }
            ha.polled = now;
            ha.forget_times(now);
        }
        for seat in self.seats() {
            self.resume_lanes(seat);
        }
        self.confirm_told();
        self.sweep_some();
        for seat in self.seats() {
            self.give_back(seat);
            self.recall_some(seat);
            self.bulk_some(seat);
            self.tell_digest(seat);
        }
        self.refill_some();
        for seat in self.seats() {
            self.flush_lanes(seat);
        }
    }

    /// All other nodes' places.
    pub(super) fn seats(&self) -> impl Iterator<Item = Seat> + use<I> {
        let count = self.ha.as_ref().map_or(0, |ha| ha.peers.len());
        (0..count as u8).map(Seat)
    }

    /// Offers again what found no room in another worker's ring.
    fn resume_lanes(&mut self, seat: Seat) {
        let peer = self
            .ha
            .as_ref()
            .and_then(|ha| ha.peers.get(usize::from(seat.0)));
        let Some(peer) = peer else { return };
        let mut lanes = peer.lanes.iter().flatten();
        let Some(lane) = lanes.find(|lane| lane.is_blocked()).map(|lane| lane.id()) else {
            return;
        };
        let of = LaneOf { seat, lane };
        let Some(mut lane) = self.ha.as_mut().and_then(|ha| ha.take_lane(of)) else {
            return;
        };
        let mut hearing = Hearing { worker: self, of };
        lane.resume(&mut hearing);
        if let Some(ha) = &mut self.ha {
            ha.put_lane(of, lane);
        }
    }

    fn flush_lanes(&mut self, seat: Seat) {
        let peers = self.ha.as_mut().map(|ha| &mut ha.peers);
        let Some(peer) = peers.and_then(|peers| peers.get_mut(usize::from(seat.0))) else {
            return;
        };
        let busy = std::mem::take(&mut peer.busy);
        let lanes = peer.lanes.len();
        for at in 0..lanes {
            self.flush_lane(seat, at, busy);
        }
    }

    /// Sends what a lane has to send, and hears what has become of it.
    fn flush_lane(&mut self, seat: Seat, at: usize, busy: bool) {
        let now = self.now;
        for _ in 0..DATAGRAMS {
            let Some(ha) = &mut self.ha else { return };
            let Some(peer) = ha.peers.get_mut(usize::from(seat.0)) else {
                return;
            };
            let Some(lane) = peer.lanes.get_mut(at).and_then(Option::as_mut) else {
                return;
            };
            let mut alone = None;
            while let Some(event) = lane.poll_event() {
                match event {
                    lane::Event::Open if at == 0 => {
                        peer.telling.begin();
                        // Everything will be told, and the digest after that.
                        peer.teller = digest::Teller::default();
                        alone = Some(false);
                    }
                    lane::Event::Alone(_) if at == 0 => {
                        peer.telling.stop();
                        let lost = lane.counters().packets_lost;
                        let before = std::mem::replace(&mut peer.packets_lost, lost);
                        self.counters.add(WorkerCounter::InlineLost, lost - before);
                        alone = Some(true);
                    }
                    lane::Event::PeerRestarted => peer.heard[at].restart(now),
                    // Nobody here speaks on this lane, and that is all there is to tell on it.
                    lane::Event::Open => {
                        let _ = lane.push(&Record::BulkEnd {
                            round: SILENT,
                            sessions: 0,
                        });
                    }
                    _ => {}
                }
            }
            let due = busy || lane.poll_timeout(now) == Some(0);
            if let Some(alone) = alone {
                let (worker, node) = (self.id, peer.id);
                self.tell(Event::Ha(HaEvent::Alone {
                    node,
                    worker,
                    alone,
                }));
            }
            if !due {
                return;
            }
            let Some(ha) = &mut self.ha else { return };
            let Some(peer) = ha.peers.get_mut(usize::from(seat.0)) else {
                return;
            };
            let Some(lane) = peer.lanes.get_mut(at).and_then(Option::as_mut) else {
                return;
            };
            let mac = ha.parts.mac;
            let Some(to) = peer.link.as_ref().map(|link| link.mac) else {
                return;
            };
            let Some(mut frame) = self.io.alloc() else {
                return;
            };
            if !frame.set_len(ETHERNET + usize::from(ha.parts.mtu)) {
                return;
            }
            let written = frame
                .bytes_mut()
                .get_mut(ETHERNET..)
                .and_then(|buffer| lane.poll_transmit(now, buffer));
            let Some(len) = written else { return };
            if frame_to(&mut frame, to, mac, len) {
                self.send_ha(frame, seat, true);
            }
        }
    }
}

/// Whether a frame of the HA link is of its protocol.
#[inline]
pub(super) fn is_datagram(frame: &[u8]) -> bool {
    frame.get(ETHERNET - 2..ETHERNET) == Some(&ETHERTYPE.to_be_bytes())
}

/// Puts an Ethernet header before `len` bytes, and cuts the frame after them.
pub(super) fn frame_to<F: Frame>(frame: &mut F, to: MacAddr, from: MacAddr, len: usize) -> bool {
    if !frame.set_len(ETHERNET + len) {
        return false;
    }
    let Some(head) = frame.bytes_mut().first_chunk_mut::<ETHERNET>() else {
        return false;
    };
    head[..6].copy_from_slice(&to.0);
    head[6..12].copy_from_slice(&from.0);
    head[12..].copy_from_slice(&ETHERTYPE.to_be_bytes());
    true
}
