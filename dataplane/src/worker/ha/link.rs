//! The HA link: who is there, what it says, and what is said to it.
//!
//! Datagrams of a lane go to the worker that has the lane, all others to worker 0, which tells the
//! rest when the peer comes and goes (`pulse`).

use sluice_ha::frame::{CONTROL_LANE, ETHERTYPE, peek};
use sluice_ha::heartbeat::Path;
use sluice_ha::lane;
use sluice_ha::record::Record;
use sluice_wire::MacAddr;

use super::super::Worker;
use super::inline::Hearing;
use super::tell::Telling;
use super::{ETHERNET, Ha, Peer, SILENT};
use crate::counters::DropReason;
use crate::handoff::{Message, PeerUp};
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
        for frame in frames.drain(..) {
            let head = frame.bytes().get(ETHERNET - 2..ETHERNET);
            if head == Some(&ETHERTYPE.to_be_bytes()) {
                self.ha_datagram(frame);
            } else {
                self.take_corrected(frame);
            }
        }
    }

    /// Works on a datagram of the HA link, or gives it to the worker that it is for.
    #[cold]
    pub(in super::super) fn ha_datagram(&mut self, mut frame: I::Frame) {
        let header = frame.bytes().get(ETHERNET..).map(peek);
        let Some(Ok(header)) = header else {
            return self.counters.drop(DropReason::HaRefused);
        };
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
        let accepted = match header.lane {
            CONTROL_LANE => self.hear_control(&mut frame, ETHERNET, header.kind, Path::HaLink),
            lane => self.hear_lane(lane, &mut frame),
        };
        if accepted {
            self.counters.count(WorkerCounter::Consumed);
        } else {
            self.counters.drop(DropReason::HaRefused);
        }
    }

    /// Tells all other workers. False if one's ring is full.
    pub(super) fn spread(&mut self, message: impl Fn() -> Message<I::Frame>) -> bool {
        let mut all = true;
        for worker in (0..self.rings.workers()).filter(|&worker| worker != self.id) {
            all &= self.rings.push(worker, message()).is_ok();
        }
        all
    }

    /// The peer can be reached by the HA link.
    pub(in super::super) fn peer_up(&mut self, up: &PeerUp) {
        let Some(ha) = &mut self.ha else { return };
        ha.lives = true;
        ha.agreed = Some(up.session);
        ha.peer = Some(Peer {
            session: up.session,
            mac: up.mac,
        });
        if ha.session == Some(up.session.id) {
            return;
        }
        ha.session = Some(up.session.id);
        ha.codec.associate(&up.session);
        if ha.boot != Some(up.session.peer_boot) {
            ha.settled |= ha.boot.is_none() && ha.waiting.is_none();
            // What it knew before is gone, and what it knows now has not been told.
            ha.boot = Some(up.session.peer_boot);
            ha.meeting += 1;
            ha.met = self.now;
            (ha.told, ha.applied) = (0, 0);
            ha.applied_by.fill(0);
            ha.telling = Telling::default();
            ha.sums.forget_theirs();
            let now = self.now;
            ha.heard.iter_mut().for_each(|heard| heard.restart(now));
        }
        ha.lanes
            .iter_mut()
            .flatten()
            .filter(|lane| lane.id() < up.session.lanes)
            .for_each(|lane| lane.associate(&up.session));
        ha.busy = true;
    }

    /// The peer is dead, or (`lives`) cannot be reached by the HA link.
    pub(in super::super) fn peer_down(&mut self, lives: bool) {
        if let Some(ha) = &mut self.ha {
            if ha.peer.take().is_some() {
                ha.waiting = Some(self.now);
            }
            ha.lives = lives;
        }
    }

    /// Records of the peer. False if the datagram was refused.
    fn hear_lane(&mut self, id: u8, frame: &mut I::Frame) -> bool {
        let Some(mut lane) = self.ha.as_mut().and_then(|ha| ha.take_lane(id)) else {
            return false;
        };
        let now = self.now;
        let datagram = frame.bytes_mut().get_mut(ETHERNET..).unwrap_or_default();
        let mut hearing = Hearing {
            worker: self,
            lane: id,
        };
        let accepted = lane.handle(datagram, now, &mut hearing);
        if let Some(ha) = &mut self.ha {
            ha.put_lane(lane);
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
        self.resume_lanes();
        self.confirm_told();
        self.sweep_some();
        self.give_back();
        self.bulk_some();
        self.tell_digest();
        let Some(ha) = &mut self.ha else { return };
        let busy = std::mem::take(&mut ha.busy);
        for at in 0..ha.lanes.len() {
            self.flush_lane(at, busy);
        }
    }

    /// Offers again what found no room in another worker's ring.
    fn resume_lanes(&mut self) {
        let Some(ha) = &self.ha else { return };
        let mut lanes = ha.lanes.iter();
        let blocked = lanes.position(|lane| lane.as_ref().is_some_and(|lane| lane.is_blocked()));
        let Some(at) = blocked else { return };
        let Some(mut lane) = self.ha.as_mut().and_then(|ha| ha.lanes[at].take()) else {
            return;
        };
        let id = lane.id();
        let mut hearing = Hearing {
            worker: self,
            lane: id,
        };
        lane.resume(&mut hearing);
        if let Some(ha) = &mut self.ha {
            ha.put_lane(lane);
        }
    }

    /// Sends what a lane has to send, and hears what has become of it.
    fn flush_lane(&mut self, at: usize, busy: bool) {
        let now = self.now;
        for _ in 0..DATAGRAMS {
            let Some(ha) = &mut self.ha else { return };
            let Some(lane) = ha.lanes.get_mut(at).and_then(Option::as_mut) else {
                return;
            };
            let mut alone = None;
            while let Some(event) = lane.poll_event() {
                match event {
                    lane::Event::Open if at == 0 => {
                        ha.telling.begin();
                        ha.sums.reopen();
                        alone = Some(false);
                    }
                    lane::Event::Alone(_) if at == 0 => {
                        ha.telling.stop();
                        alone = Some(true);
                    }
                    lane::Event::PeerRestarted => ha.heard[at].restart(now),
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
                let worker = self.id;
                self.tell(Event::Ha(HaEvent::Alone { worker, alone }));
            }
            if !due {
                return;
            }
            let Some(ha) = &mut self.ha else { return };
            let Some(lane) = ha.lanes.get_mut(at).and_then(Option::as_mut) else {
                return;
            };
            let (device, mac) = (ha.parts.device, ha.parts.mac);
            let Some(to) = ha.peer.as_ref().map(|peer| peer.mac) else {
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
                self.originate(frame, device);
            }
        }
    }
}

impl Ha {
    fn take_lane(&mut self, id: u8) -> Option<Box<sluice_ha::Lane>> {
        let at = usize::from(id) / usize::from(self.workers.max(1));
        self.busy = true;
        self.lanes.get_mut(at)?.take()
    }

    fn put_lane(&mut self, lane: Box<sluice_ha::Lane>) {
        let at = usize::from(lane.id()) / usize::from(self.workers.max(1));
        if let Some(place) = self.lanes.get_mut(at) {
            *place = Some(lane);
        }
    }
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
