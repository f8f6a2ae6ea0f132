//! TCP tracking: what a segment of a known session does to the session.
//!
//! [`step`] answers with a [`Verdict`] and keeps the state in both flows. What a segment may do
//! depends on the state ([`state`]: a table) and on whether its numbers fit ([`window`]: a few
//! compares). A segment whose numbers don't fit changes nothing; whether it is dropped or passed on,
//! translated as any other, is the policy's to say. It must never leave untranslated.

pub mod state;
pub mod window;

use sluice_wire::Family;

use crate::session::Flow;
use crate::session::flow::flags::ONE_WAY;
use crate::session::table::Direction;
use state::{Action, Event, Row, State};
pub(crate) use window::after;

/// FIN: no more data from the sender (RFC 9293 3.1).
pub const FIN: u8 = 0x01;
/// SYN: synchronise sequence numbers.
pub const SYN: u8 = 0x02;
/// RST: reset the connection.
pub const RST: u8 = 0x04;
/// PSH: push.
pub const PSH: u8 = 0x08;
/// ACK: the acknowledgement number counts.
pub const ACK: u8 = 0x10;
/// URG: the urgent pointer counts.
pub const URG: u8 = 0x20;

/// What tracking needs of a TCP segment, in host byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segment {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; counts only with ACK.
    pub ack: u32,
    /// Window, as it stands in the header.
    pub window: u16,
    /// Bytes of payload.
    pub data_len: u16,
    /// The flag byte of the header.
    pub flags: u8,
    /// The shift of the window scale option (RFC 7323); only read on SYNs.
    pub wscale: Option<u8>,
}

impl Segment {
    /// The sequence number after the segment: SYN and FIN count one each.
    #[inline(always)]
    pub fn end(&self) -> u32 {
        let extra = (self.flags & SYN != 0) as u32 + (self.flags & FIN != 0) as u32;
        self.seq
            .wrapping_add(u32::from(self.data_len))
            .wrapping_add(extra)
    }
}

/// What becomes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Forward it.
    Pass,
    /// Forward it; the session's state changed, and with it its timeout.
    Moved,
    /// Its numbers, or its kind in this state, don't fit. Nothing was changed; policy decides.
    OutOfWindow,
    /// No stack sends such flags: drop it.
    Invalid,
    /// It opens a new connection where the session's is over. End the session, and treat the segment
    /// as the first one of a new session.
    Reopen,
}

/// What the first segment means for the session that it would open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// A SYN: the start of a connection.
    Syn,
    /// Anything else that is legal: from the middle of a connection, if it is one at all.
    Middle,
    /// RST, or SYN+ACK: nothing that a session could start from.
    Reply,
    /// No stack sends such flags.
    Invalid,
}

/// Judges a segment that has no session.
#[inline]
pub fn opening(flags: u8) -> Opening {
    match Event::of(flags) {
        Event::Syn => Opening::Syn,
        Event::Ack | Event::Fin => Opening::Middle,
        Event::SynAck | Event::Rst => Opening::Reply,
        Event::Invalid => Opening::Invalid,
    }
}

/// Starts tracking: `segment` is the first of `original`. Anything but a SYN takes the connection up
/// in the middle, with windows still unknown. [`ONE_WAY`] must be set before, on both flows, where
/// it applies.
pub fn open<F: Family>(original: &mut Flow<F>, reply: &mut Flow<F>, segment: &Segment) {
    let state = if segment.flags & SYN != 0 {
        window::start(original, segment);
        State::SynSent
    } else {
        window::adopt(original, reply, segment);
        let row = Row::of(Direction::Original, original.flags & ONE_WAY != 0);
        row.after(State::Established, Event::of(segment.flags))
            .unwrap_or(State::Established)
    };
    set_state(original, reply, state);
}

/// Goes on with a connection whose numbers may have moved on unseen: those of `segment`, of `this`
/// flow, count. False if it says nothing about them. A connection that was still being opened needs
/// none, unless what opened it was not seen either.
pub fn resume<F: Family>(this: &mut Flow<F>, other: &mut Flow<F>, segment: &Segment) -> bool {
    let says = segment.flags & (SYN | RST | ACK) == ACK;
    match State::from_u8(this.state) {
        State::Closed => true,
        State::SynSent | State::SynReceived => {
            let both = this.flags & other.flags & window::KNOWN != 0;
            let seen = both && window::fits(this, other, segment);
            if says && !seen && window::may_follow(this, other, segment) {
                window::adopt(this, other, segment);
                set_state(this, other, State::Established);
            }
            true
        }
        _ => {
            if says {
                window::adopt(this, other, segment);
            }
            says
        }
    }
}

/// Whether the numbers of both directions are known, and both pass here.
pub fn both_known<F: Family>(original: &Flow<F>, reply: &Flow<F>) -> bool {
    original.flags & reply.flags & window::KNOWN != 0 && original.flags & ONE_WAY == 0
}

/// How long a connection that is over refuses a SYN with an older sequence number. Hosts forget
/// sooner than that, and initial numbers (RFC 6528) come round within minutes, so later they say
/// nothing.
const QUIET: u32 = 60_000;

/// Takes a segment of `this` flow into account.
///
/// Call it before the packet is counted: it looks at when the flows were last seen.
#[inline]
pub fn step<F: Family>(
    this: &mut Flow<F>,
    other: &mut Flow<F>,
    direction: Direction,
    segment: &Segment,
    now: u32,
) -> Verdict {
    if step_usual(this, other, direction, segment) {
        return Verdict::Pass;
    }
    slow_step(this, other, direction, segment, now)
}

/// Nearly every segment: an acknowledgement, with or without data, on an open connection, with
/// numbers that fit. True if it was one of these; otherwise nothing has changed, and [`step`] says
/// what it is.
#[inline(always)]
pub fn step_usual<F: Family>(
    this: &mut Flow<F>,
    other: &mut Flow<F>,
    direction: Direction,
    segment: &Segment,
) -> bool {
    if segment.flags & (SYN | FIN | RST | ACK) != ACK || this.state != State::Established as u8 {
        return false;
    }
    if this.flags & other.flags & window::KNOWN != 0 && this.flags & ONE_WAY == 0 {
        let fits = window::fits(this, other, segment);
        if fits {
            window::advance(this, other, segment);
        }
        return fits;
    }
    let alone = this.flags & ONE_WAY != 0 && direction == Direction::Original;
    if alone {
        window::advance_alone(this, segment);
    }
    alone
}

fn slow_step<F: Family>(
    this: &mut Flow<F>,
    other: &mut Flow<F>,
    direction: Direction,
    segment: &Segment,
    now: u32,
) -> Verdict {
    let state = State::from_u8(this.state);
    let event = Event::of(segment.flags);
    let row = Row::of(direction, this.flags & ONE_WAY != 0);
    let next = match row.action(state, event) {
        Action::Forward => return Verdict::Pass,
        Action::Odd => return Verdict::OutOfWindow,
        Action::Invalid => return Verdict::Invalid,
        Action::Reset => match judge_reset(this, other, row, state, segment) {
            Ok(()) => State::Closed,
            Err(verdict) => return verdict,
        },
        Action::Reopen => return judge_reopen(this, other, state, segment, now),
        Action::Retry if window::is_same_syn(this, segment) => return Verdict::Pass,
        Action::Retry => {
            // The opener gave up and tries anew from the same port. What was seen of the attempt
            // before must not stand in the way of this one.
            window::start(this, segment);
            window::forget(other);
            State::SynSent
        }
        Action::To(next) => {
            let fits = match (row, event, state) {
                (Row::Alone, ..) => {
                    window::advance_alone(this, segment);
                    true
                }
                (_, Event::Syn | Event::SynAck, State::SynSent | State::SynReceived) => {
                    shake_hands(this, other, state, segment)
                }
                _ => take(this, other, row, state, segment),
            };
            if !fits {
                return Verdict::OutOfWindow;
            }
            let both_acked = this.tcp_acked == this.tcp_end && other.tcp_acked == other.tcp_end;
            if next == State::Closing && both_acked && row != Row::Alone {
                State::TimeWait
            } else {
                next
            }
        }
    };
    if next == state {
        return Verdict::Pass;
    }
    set_state(this, other, next);
    Verdict::Moved
}

fn set_state<F: Family>(this: &mut Flow<F>, other: &mut Flow<F>, state: State) {
    this.state = state as u8;
    other.state = state as u8;
}

/// A segment with ACK after the SYNs. False if its numbers don't fit.
fn take<F: Family>(
    this: &mut Flow<F>,
    other: &mut Flow<F>,
    row: Row,
    state: State,
    segment: &Segment,
) -> bool {
    let known = this.flags & other.flags & window::KNOWN != 0;
    // The handshake's end must acknowledge the other side's SYN; whoever can't see that one would
    // have to guess.
    let opens = state == State::SynReceived && row == Row::Original;
    let fits = known
        && window::fits(this, other, segment)
        && (!opens || window::after(segment.ack, other.tcp_acked));
    if fits {
        window::advance(this, other, segment);
    }
    fits
}

/// A SYN or SYN+ACK that answers or crosses the other side's SYN. False if it does not.
fn shake_hands<F: Family>(
    this: &mut Flow<F>,
    other: &mut Flow<F>,
    state: State,
    segment: &Segment,
) -> bool {
    let again = window::is_same_syn(this, segment);
    if segment.flags & ACK != 0 {
        let acks_syn = window::after(segment.ack, other.tcp_acked)
            || state == State::SynReceived && segment.ack == other.tcp_acked;
        if !acks_syn || window::after(segment.ack, other.tcp_end) {
            return false;
        }
    } else if state == State::SynReceived && !again {
        return false;
    }
    if !again {
        window::start(this, segment);
        window::agree(this, other);
    }
    if segment.flags & ACK != 0 {
        other.tcp_acked = segment.ack;
    }
    true
}

/// Whether a reset closes the connection: only if it is what its receiver must believe, and that is
/// the case at one place (RFC 5961 3). What the receiver expects next is, as far as can be seen from
/// here, what it acknowledged last, or else the end of all that was sent.
fn judge_reset<F: Family>(
    this: &Flow<F>,
    other: &Flow<F>,
    row: Row,
    state: State,
    segment: &Segment,
) -> Result<(), Verdict> {
    let (this_known, other_known) = (
        this.flags & window::KNOWN != 0,
        other.flags & window::KNOWN != 0,
    );
    if !this_known {
        // The answer to a SYN, by a host that has sent nothing yet (RFC 9293 3.10.7.3).
        let answers = segment.flags & ACK != 0 && other_known && segment.ack == other.tcp_end;
        return if answers {
            Ok(())
        } else {
            Err(Verdict::OutOfWindow)
        };
    }
    let opening = matches!(state, State::SynSent | State::SynReceived);
    let acked = !opening && row != Row::Alone && segment.seq == this.tcp_acked;
    if segment.seq == this.tcp_end || acked {
        return Ok(());
    }
    // Within the window it evokes a challenge ACK; before the handshake's end, and where only one
    // side is seen, it may be meant for a connection that we know nothing of. Not ours to judge.
    if opening || !other_known || window::within(this, other, segment) {
        Err(Verdict::Pass)
    } else {
        Err(Verdict::OutOfWindow)
    }
}

/// Whether a SYN opens a new connection where one is over: if it cannot be an old duplicate
/// (RFC 1122 4.2.2.13; RFC 6191 allows more, by timestamps).
fn judge_reopen<F: Family>(
    this: &Flow<F>,
    other: &Flow<F>,
    state: State,
    segment: &Segment,
    now: u32,
) -> Verdict {
    let idle = now
        .wrapping_sub(this.seen)
        .min(now.wrapping_sub(other.seen));
    let newer = !window::after(this.tcp_end, segment.seq);
    let known = this.flags & window::KNOWN != 0;
    if state == State::Closed || !known || newer || idle >= QUIET {
        Verdict::Reopen
    } else {
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests;
