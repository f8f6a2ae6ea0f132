//! What both ends of a TCP session are told when it ends by itself or by an operator: a reset, or
//! before that a probe, which an end that is still there answers.
//!
//! A probe is what hosts send for keepalive (RFC 9293 section 3.8.4): no data, and the number before
//! the one that is expected. The answer passes through as any packet of the session does, and so
//! keeps it. Whoever has forgotten the connection answers by a reset, which ends it for both.

use arrayvec::ArrayVec;
use sluice_wire::{proto, tcp as wire};

use super::Worker;
use super::tables::PerFamily;
use crate::io::{Frame, Io};
use crate::path::Path;
use crate::published::WorkerCounter;
use crate::session::flow::{Flow, PathId, Session, UNCHECKED};
use crate::session::table::SessionId;
use crate::stack::neighbour::Reach;
use crate::stack::segment::{self, Bare};
use crate::tcp::{self, state::State};
use crate::timeouts::OnExpiry;

/// Segments that a worker sends per second to tell of sessions that end, or to probe. What is more
/// waits, where it can, or is not said.
pub(super) const PER_S: u32 = 100_000;
/// Probes before a session's time is over.
const PROBES: u32 = 3;
/// Milliseconds between two of them, at most.
const BETWEEN: u32 = 5_000;
/// Length of an Ethernet header without a tag.
const L3: u8 = 14;
/// Most segments that one session ends or is probed with.
const MOST: usize = 4;

/// What is to become of a session that is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outlook {
    /// Its time is over.
    Over,
    /// Ends that were quiet for so many milliseconds are to be probed, and it is to be looked at
    /// again in so many.
    Probe { quiet: u32, again: u32 },
    /// It is to be looked at again in so many milliseconds.
    Later(u32),
}

/// A segment, by which path, and between which addresses.
type Out<F> = (PathId, <F as sluice_wire::Family>::Addrs, Bare);

impl<I: Io> Worker<I> {
    /// How long a session has, by what was seen of it.
    pub(super) fn outlook<F: PerFamily>(&self, session: &Session<F>) -> Outlook {
        let [original, reply] = &session.flows;
        let timeouts = self.snapshot.timeout_set(original.timeouts);
        let limit = timeouts.map_or(0, |set| set.of(original.proto, original.state));
        let probed = timeouts.is_some_and(|set| set.on_expiry == OnExpiry::Probe)
            && original.proto == proto::TCP
            && original.state == State::Established as u8
            && original.packets != 0
            && reply.packets != 0
            && tcp::both_known(original, reply);
        let idle = session.idle(self.now);
        if !probed {
            return match limit.checked_sub(idle) {
                None | Some(0) => Outlook::Over,
                Some(left) => Outlook::Later(left),
            };
        }
        // Of either end alone: one that answers must not hide that the other is gone.
        let quiet = |flow: &Flow<F>| self.now.wrapping_sub(flow.seen);
        let quiet = quiet(original).max(quiet(reply));
        let lead = (limit / 2).min(PROBES * BETWEEN);
        if quiet >= limit {
            Outlook::Over
        } else if quiet >= limit - lead / (2 * PROBES) {
            // Too late for another answer.
            Outlook::Later(limit - quiet)
        } else if quiet >= limit - lead {
            Outlook::Probe {
                quiet: limit - lead,
                again: (lead / PROBES).clamp(1, limit - quiet),
            }
        } else {
            Outlook::Later(limit - lead - quiet)
        }
    }

    /// Ends a session whose time is over, and tells its ends if its service wants that.
    pub(super) fn run_out<F: PerFamily>(&mut self, id: SessionId) {
        let session = F::table(&self.tables).session(id);
        let set = session.and_then(|it| self.snapshot.timeout_set(it.flows[0].timeouts));
        let tell = set.is_some_and(|set| set.on_expiry != OnExpiry::Silent);
        if tell && !self.reset_ends::<F>(id) {
            self.counters.count(WorkerCounter::ExpiryLimited);
        }
        self.end_session::<F>(id);
    }

    /// Tells both ends of a session that it is over, if they can be told: TCP that is open or
    /// closing, of which both directions pass here. False, and nobody is told, if that would exceed
    /// the rate.
    pub(super) fn reset_ends<F: PerFamily>(&mut self, id: SessionId) -> bool {
        let Some(session) = F::table(&self.tables).session(id) else {
            return true;
        };
        let [original, reply] = &session.flows;
        let open = matches!(
            State::from_u8(original.state),
            State::SynReceived
                | State::Established
                | State::FinWait
                | State::CloseWait
                | State::Closing
        );
        if original.proto != proto::TCP
            || !open
            || session.is_replica()
            || original.epoch == UNCHECKED
            || !tcp::both_known(original, reply)
        {
            return true;
        }
        let mut out = ArrayVec::<Out<F>, MOST>::new();
        let (key, now) = (original.key(), self.now);
        for (this, other, back) in [(original, reply, false), (reply, original, true)] {
            // A reset counts only at the very number that its receiver expects (RFC 5961 section 3):
            // what it acknowledged last or, if its last acknowledgement never came by, the end of
            // what it was sent.
            let mut reset = Bare {
                ports: this.new_ports,
                seq: self.alg.out::<F>(&key, back, this.tcp_acked, now),
                ack: other.tcp_end,
                flags: wire::flag::RST | wire::flag::ACK,
                window: 0,
            };
            out.push((this.path, this.new_addrs, reset));
            if this.tcp_end != this.tcp_acked {
                reset.seq = self.alg.out::<F>(&key, back, this.tcp_end, now);
                out.push((this.path, this.new_addrs, reset));
            }
        }
        self.say::<F>(&out, WorkerCounter::ExpiryResets)
    }

    /// Probes those ends of a session that were `quiet` for so long, milliseconds. False if that
    /// would exceed the rate.
    pub(super) fn probe_ends<F: PerFamily>(&mut self, id: SessionId, quiet: u32) -> bool {
        let Some(session) = F::table(&self.tables).session(id) else {
            return true;
        };
        let [original, reply] = &session.flows;
        let mut out = ArrayVec::<Out<F>, MOST>::new();
        let (key, now) = (original.key(), self.now);
        for (this, other, back) in [(original, reply, false), (reply, original, true)] {
            // The one that `other` comes from gets it.
            if self.now.wrapping_sub(other.seen) >= quiet {
                let probe = Bare {
                    ports: this.new_ports,
                    seq: self
                        .alg
                        .out::<F>(&key, back, this.tcp_acked, now)
                        .wrapping_sub(1),
                    ack: other.tcp_acked,
                    flags: wire::flag::ACK,
                    window: this.tcp_max_win,
                };
                out.push((this.path, this.new_addrs, probe));
            }
        }
        self.say::<F>(&out, WorkerCounter::ExpiryProbes)
    }

    /// Sends all of these or, if that would exceed the rate, none.
    fn say<F: PerFamily>(&mut self, all: &[Out<F>], counter: WorkerCounter) -> bool {
        if !self.farewells.allow_many(self.now, all.len() as u32) {
            return false;
        }
        for (path, addrs, segment) in all {
            if self.say_one::<F>(*path, *addrs, segment) {
                self.counters.count(counter);
            } else {
                self.counters.count(WorkerCounter::ExpiryUnsent);
            }
        }
        true
    }

    fn say_one<F: PerFamily>(&mut self, path: PathId, addrs: F::Addrs, segment: &Bare) -> bool {
        let Some(path) = self.resolved_path(path) else {
            return false;
        };
        let Some(mut frame) = self.io.alloc() else {
            return false;
        };
        let l3 = usize::from(L3);
        if !frame.set_len(l3 + segment::len::<F>()) {
            return false;
        }
        let bytes = frame.bytes_mut();
        sluice_wire::bytes::put_be16(bytes, l3 - 2, F::ETHERTYPE);
        let Some(packet) = bytes.get_mut(l3..) else {
            return false;
        };
        segment.write::<F>(packet, addrs);
        self.send_as(frame, &path, L3, F::IS_V6, true);
        true
    }

    /// The path, if its next hop is known. If it is not, it is asked for: the next segment will find
    /// it.
    fn resolved_path(&mut self, id: PathId) -> Option<Path> {
        let path = *self.paths.get(id)?;
        if path.resolved {
            return Some(path);
        }
        match self.neighbours.used(path.neighbour, self.now) {
            Reach::At(mac) => {
                self.paths.set_mac(path.neighbour, Some(mac));
                self.paths.get(id).copied()
            }
            Reach::Wait | Reach::Unreachable => None,
        }
    }
}
