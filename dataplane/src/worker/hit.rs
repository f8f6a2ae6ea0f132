//! A packet that has a session.

use sluice_wire::parse::{Kind, Parsed};
use sluice_wire::{Family, proto, tcp as wire};

use super::Worker;
use super::burst::Packet;
use super::farewell::Outlook;
use super::tables::PerFamily;
use super::tally::Fate;
use crate::counters::DropReason;
use crate::io::{Frame, Io};
use crate::lb;
use crate::published::WorkerCounter;
use crate::rewrite;
use crate::session::flow::{Cold, Flow, Session, flags};
use crate::session::state;
use crate::session::table::{Direction, FlowRef, SessionId};
use crate::snapshot::ServerId;
use crate::tcp::{self, state::State};

/// A server has so long to answer a SYN before that counts as silence. Hosts repeat SYNs after a second.
const NO_ANSWER_MS: u32 = 500;

impl<I: Io> Worker<I> {
    /// Checks that the flow is still what it was, and that nothing stands in the packet's way.
    #[inline]
    pub(super) fn hit<F: PerFamily>(&mut self, packet: Packet<I::Frame>, at: FlowRef) {
        self.hit_if::<F, false>(packet, at);
    }

    /// The same, and `WATCHED` for a watched session, which was checked.
    #[inline(always)]
    pub(super) fn hit_if<F: PerFamily, const WATCHED: bool>(
        &mut self,
        mut packet: Packet<I::Frame>,
        at: FlowRef,
    ) {
        let Some((this, other)) = F::table_mut(&mut self.tables).pair_mut(at) else {
            return self.reject(packet, DropReason::Internal);
        };
        if !WATCHED && this.epoch != self.snapshot.epoch {
            return self.meet_newer_snapshot::<F>(packet, at);
        }
        let limit = self.snapshot.timeout(this.timeouts, this.proto, this.state);
        if self.now.wrapping_sub(this.seen) >= limit && self.now.wrapping_sub(other.seen) >= limit {
            return self.meet_expired::<F>(packet, at);
        }
        if packet.parsed.kind == Kind::IcmpError {
            return self.pass_icmp_error::<F>(packet, at);
        }
        let path_id = this.path;
        if asks_again(this, other, at.direction(), &packet.parsed) && self.gives_up::<F>(at) {
            return self.reopen::<F>(packet, at);
        }
        let Some(path) = self.paths.get(path_id) else {
            return self.reject(packet, DropReason::Internal);
        };
        if packet.parsed.ttl <= 1 || !path.resolved || packet.parsed.ip_len() > path.mtu {
            match self.obstacle(packet, path_id) {
                Some(unhindered) => packet = unhindered,
                None => return,
            }
        }
        if WATCHED {
            return self.proceed_watched::<F>(packet, at);
        }
        self.proceed::<F>(packet, at);
    }

    /// State, accounting, rewrite, next hop.
    #[inline(always)]
    fn proceed<F: PerFamily>(&mut self, mut packet: Packet<I::Frame>, at: FlowRef) {
        let parsed = packet.parsed;
        let length = parsed.ip_len();
        let Some((this, other)) = F::table_mut(&mut self.tables).pair_mut(at) else {
            return self.reject(packet, DropReason::Internal);
        };
        let moved = if this.proto != proto::TCP {
            state::step(this, other, at.direction())
        } else if parsed.kind != Kind::Session {
            // Fragments of TCP pass as they are; only whole segments are judged.
            false
        } else {
            let Some(segment) = segment(packet.frame.bytes(), &parsed) else {
                return self.reject(packet, DropReason::BadL4Header);
            };
            match tcp::step(this, other, at.direction(), &segment, self.now) {
                tcp::Verdict::Pass => false,
                tcp::Verdict::Moved => true,
                tcp::Verdict::OutOfWindow => {
                    self.counters.count(WorkerCounter::TcpOutOfWindow);
                    if self.snapshot.tcp.strict_window {
                        return self.reject(packet, DropReason::TcpOutOfWindow);
                    }
                    false
                }
                tcp::Verdict::Invalid => return self.reject(packet, DropReason::TcpInvalid),
                tcp::Verdict::Reopen => return self.reopen::<F>(packet, at),
            }
        };
        this.count(length, self.now);
        let Some(path) = self.paths.get_mut(this.path) else {
            return self.reject(packet, DropReason::Internal);
        };
        path.packets = path.packets.wrapping_add(1);
        path.bytes += u64::from(length);
        let syn = parsed.tcp_flags & wire::flag::SYN != 0;
        if packet.datagram.is_some()
            || length > path.mtu
            || (syn && this.flags & flags::CLAMP_MSS != 0)
        {
            return self.rewrite_specially::<F>(packet, at, moved);
        }
        rewrite::apply(this, packet.frame.bytes_mut(), &parsed);
        let path = *path;
        if moved {
            self.moved::<F>(at.session());
        }
        self.send(packet.frame, &path, parsed.l3, parsed.v6);
    }

    /// A client asks again, and its server has not answered yet. True if another one should: this one gets
    /// no new sessions any more.
    #[cold]
    fn gives_up<F: PerFamily>(&mut self, at: FlowRef) -> bool {
        let table = F::table(&self.tables);
        let id = at.session();
        let Some((session, cold)) = table.session(id).zip(table.cold(id)) else {
            return false;
        };
        if cold.server == ServerId::NONE {
            return false;
        }
        if lb::share(&self.snapshot.servers, cold.server) == 0 {
            // As the session's end it is counted.
            return true;
        }
        let original = &session.flows[0];
        if original.packets == 1 && self.now.wrapping_sub(original.seen) >= NO_ANSWER_MS {
            self.tally
                .session(cold.service, cold.server, Fate::Unanswered);
        }
        false
    }

    /// Counts a session that ends without having been answered, if that was not counted before.
    pub(super) fn account_silence<F: PerFamily>(&mut self, session: &Session<F>, cold: &Cold) {
        let [original, reply] = &session.flows;
        if cold.server != ServerId::NONE
            && is_unanswered(original, reply)
            && original.packets == 1
            && self.now.wrapping_sub(original.seen) >= NO_ANSWER_MS
        {
            self.tally
                .session(cold.service, cold.server, Fate::Unanswered);
        }
    }

    /// The session's state changed, and with it the time it has left.
    #[cold]
    pub(super) fn reschedule<F: PerFamily>(&mut self, id: SessionId) {
        let Some(session) = F::table(&self.tables).session(id) else {
            return;
        };
        let left = match self.outlook::<F>(session) {
            Outlook::Over => 0,
            Outlook::Probe { again, .. } | Outlook::Later(again) => again,
        };
        F::table_mut(&mut self.tables).set_deadline(id, self.now, left);
    }

    /// The same, and the peer is told. A real server is rid of a session that is over.
    #[cold]
    pub(super) fn moved<F: PerFamily>(&mut self, id: SessionId) {
        let table = F::table(&self.tables);
        if let Some((session, cold)) = table.session(id).zip(table.cold(id))
            && cold.server != ServerId::NONE
        {
            if session.is_over() {
                self.balancer.closed(cold.server);
            }
            if let Some(fate) = answer(session) {
                self.tally.session(cold.service, cold.server, fate);
            }
        }
        self.reschedule::<F>(id);
        self.tell_change::<F>(id);
    }
}

/// Whether a packet is a client's SYN that was sent before, and got no answer.
#[inline(always)]
pub(super) fn asks_again<F: Family>(
    this: &Flow<F>,
    other: &Flow<F>,
    direction: Direction,
    parsed: &Parsed,
) -> bool {
    parsed.tcp_flags & (wire::flag::SYN | wire::flag::ACK) == wire::flag::SYN
        && direction == Direction::Original
        && is_unanswered(this, other)
}

/// Whether a session is a SYN at least, and no answer.
#[inline(always)]
fn is_unanswered<F: Family>(original: &Flow<F>, reply: &Flow<F>) -> bool {
    original.state == State::SynSent as u8
        && original.proto == proto::TCP
        && original.packets != 0
        && reply.packets == 0
}

/// What a real server has just said to a SYN, if its session's new state tells.
fn answer<F: Family>(session: &Session<F>) -> Option<Fate> {
    let [original, reply] = &session.flows;
    if original.proto != proto::TCP {
        return None;
    }
    match State::from_u8(original.state) {
        State::SynReceived => Some(Fate::Answered),
        // Of direct server return only the opener is seen: its ACK says so.
        State::Established if original.flags & flags::ONE_WAY != 0 => Some(Fate::Answered),
        State::Closed if reply.packets != 0 && reply.flags & flags::TCP_KNOWN == 0 => {
            Some(Fate::Rejected)
        }
        _ => None,
    }
}

/// What TCP tracking reads of a segment. Its options are looked at only where a SYN may have some.
#[inline(always)]
pub(super) fn segment(frame: &[u8], parsed: &Parsed) -> Option<tcp::Segment> {
    let header = wire::Segment::parse(parsed.transport(frame))?;
    let wscale = match parsed.tcp_flags & wire::flag::SYN {
        0 => None,
        _ => wire::Options::parse(parsed.transport(frame)).window_scale,
    };
    Some(tcp::Segment {
        seq: header.seq,
        ack: header.ack,
        window: header.window,
        data_len: header.len,
        flags: parsed.tcp_flags,
        wscale,
    })
}
