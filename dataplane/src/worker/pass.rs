//! Packets that belong to another worker, and what workers tell each other.

use super::Worker;
use super::burst::Packet;
use super::ha::Passing;
use crate::counters::DropReason;
use crate::handoff::{Message, Passed, RING_SIZE, Why};
use crate::io::Io;
use crate::published::WorkerCounter;

/// Messages taken from the ring at a time: as many as it holds, so that whatever was in it when a
/// burst was received is dealt with before the burst is. Fewer would let a reply overtake the
/// registration of its session.
const BUDGET: usize = RING_SIZE;

impl<I: Io> Worker<I> {
    /// Hands a packet to another worker.
    pub(super) fn pass(&mut self, to: u16, packet: Packet<I::Frame>, why: Why) {
        let passed = Passed {
            frame: packet.frame,
            port: packet.port,
            why,
            datagram: packet.datagram,
            corrected: packet.corrected,
            hosted: packet.hosted,
        };
        match self.rings.push(to, Message::Packet(passed)) {
            Ok(()) => {
                self.counters.count(WorkerCounter::HandedOver);
                if why == Why::Home {
                    self.counters.count(WorkerCounter::Steered);
                }
            }
            Err(Message::Packet(passed)) => {
                self.drop(passed.frame, passed.port, DropReason::HandoffFull);
            }
            Err(_) => {}
        }
    }

    /// Works on what the other workers sent. Returns the number of messages.
    pub(super) fn take_messages(&mut self) -> usize {
        if self.egress.taps.are_there() {
            return self.take_all_messages::<true>();
        }
        self.take_all_messages::<false>()
    }

    fn take_all_messages<const CAPTURED: bool>(&mut self) -> usize {
        let at_ns = if CAPTURED { self.io.wall_ns() } else { 0 };
        for taken in 0..BUDGET {
            let Some(message) = self.rings.pop() else {
                return taken;
            };
            match message {
                Message::Packet(passed) => {
                    self.counters.count(WorkerCounter::TakenOver);
                    match CAPTURED {
                        true => self.resume_captured(passed, at_ns),
                        false => self.resume(passed),
                    }
                }
                Message::Transmit {
                    frame,
                    device,
                    originated,
                } => {
                    self.counters
                        .add(WorkerCounter::TakenOver, u64::from(!originated));
                    self.egress
                        .push(&mut self.io, &self.rings, device, frame, originated);
                }
                Message::Register { key, owner } => {
                    self.tables.register(key, owner, self.now);
                    self.opened_elsewhere(&key, owner);
                }
                Message::Unregister { key, owner } => self.tables.unregister(key, owner, self.now),
                Message::Expect { key, by, expects } => {
                    self.alg.told(key, by, expects, self.now);
                }
                Message::Neighbour(learned) => self.hear(&learned),
                Message::HaDatagram(frame) => {
                    self.counters.count(WorkerCounter::TakenOver);
                    match CAPTURED {
                        true => self.ha_datagram_captured(frame, at_ns),
                        false => self.ha_datagram(frame),
                    }
                }
                Message::HaWitness { frame, at } => {
                    self.counters.count(WorkerCounter::TakenOver);
                    match CAPTURED {
                        true => self.witness_captured(frame, at, at_ns),
                        false => self.hear_witness(frame, at),
                    }
                }
                Message::HaRecords {
                    frame,
                    of,
                    mark,
                    judged,
                } => self.apply_passed_records(&frame, of, Passing { mark, judged }),
                Message::HaSweep { of, sweep } => self.sweep_lane(of, sweep),
                Message::HaSumsWanted {
                    of,
                    first,
                    number,
                    by,
                } => self.sums_wanted(of, first, number, by),
                Message::HaSums {
                    frame,
                    of,
                    number,
                    from,
                } => self.sums_heard(&frame, of, number, from),
                Message::PeerUp(up) => self.peer_up(&up),
                Message::TunnelHop { address, mac } => self.tunnel_hop(address, mac),
                Message::PeerDown { seat, lives } => self.peer_down(seat, lives),
                Message::Held(groups) => self.set_held(groups),
                Message::Ready(nodes) => self.set_ready(nodes),
                Message::Going(going) => self.set_going(going),
                Message::PeerTold(of) => self.peer_told(of),
                Message::PeerApplied { of, worker } => self.peer_applied(of, worker),
            }
        }
        BUDGET
    }
}
