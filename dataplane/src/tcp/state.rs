//! The TCP state table: [state][who sends][kind of segment] -> what happens.
//!
//! The states are those of the connection as seen from between the hosts, not of a host. Whether a
//! segment's numbers fit is checked besides (see `tcp::step`); the table says what a segment of its
//! kind does if they do.

use super::{ACK, FIN, RST, SYN};
use crate::session::table::Direction;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// The opener's SYN was seen.
    SynSent = 0,
    /// SYNs of both sides were seen.
    SynReceived = 1,
    /// Open in both directions.
    Established = 2,
    /// The opener sent FIN; the other side may go on.
    FinWait = 3,
    /// The other side sent FIN; the opener may go on.
    CloseWait = 4,
    /// Both sent FIN, and not both were acknowledged.
    Closing = 5,
    /// Both sent FIN, and both were acknowledged.
    TimeWait = 6,
    /// Reset.
    Closed = 7,
}

impl State {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait,
        Self::CloseWait,
        Self::Closing,
        Self::TimeWait,
        Self::Closed,
    ];

    /// The state with this number; numbers that none has count modulo 8.
    #[inline(always)]
    pub const fn from_u8(state: u8) -> Self {
        Self::ALL[(state & 7) as usize]
    }

    /// The name in the API and in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SynSent => "syn_sent",
            Self::SynReceived => "syn_received",
            Self::Established => "established",
            Self::FinWait => "fin_wait",
            Self::CloseWait => "close_wait",
            Self::Closing => "closing",
            Self::TimeWait => "time_wait",
            Self::Closed => "closed",
        }
    }
}

/// Kinds of segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Event {
    /// SYN alone.
    Syn = 0,
    /// SYN and ACK.
    SynAck = 1,
    /// ACK, with or without data.
    Ack = 2,
    /// FIN and ACK.
    Fin = 3,
    /// RST, with or without ACK.
    Rst = 4,
    /// What no stack sends: none of SYN, ACK and RST; FIN without ACK; SYN or FIN with RST, or both.
    Invalid = 5,
}

impl Event {
    /// The kind of a segment with this flag byte. PSH, URG, ECE and CWR make no difference.
    #[inline]
    pub const fn of(flags: u8) -> Self {
        const S: u8 = SYN;
        match flags & (SYN | ACK | FIN | RST) {
            S => Self::Syn,
            f if f == SYN | ACK => Self::SynAck,
            f if f == ACK => Self::Ack,
            f if f == FIN | ACK => Self::Fin,
            f if f == RST || f == RST | ACK => Self::Rst,
            _ => Self::Invalid,
        }
    }
}

/// What a segment does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The connection is in this state now (or still), and the numbers advance.
    To(State),
    /// Forward it and remember nothing: the hosts will sort it out, and what they answer tells.
    Forward,
    /// It doesn't belong here: out of window.
    Odd,
    /// A SYN before the connection is open: a retransmission, or a new attempt.
    Retry,
    /// A SYN after the connection is over: a new one, if its numbers say so.
    Reopen,
    /// A reset: the end, if it is at the very place that the receiver expects.
    Reset,
    /// Drop it.
    Invalid,
}

use Action::{Forward, Invalid, Odd, Reopen, Reset, Retry, To};
use State::{CloseWait, Closing, Established, FinWait, SynReceived, TimeWait};

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Row {
    /// The opener.
    Original = 0,
    /// The other side.
    Reply = 1,
    /// The opener, where the other side is never seen (direct server return).
    Alone = 2,
}

impl Row {
    /// The row for a direction of a session.
    #[inline]
    pub const fn of(direction: Direction, one_way: bool) -> Self {
        match (direction, one_way) {
            (Direction::Original, false) => Self::Original,
            (Direction::Reply, _) => Self::Reply,
            (Direction::Original, true) => Self::Alone,
        }
    }

    /// What a segment does in this state.
    #[inline]
    pub const fn action(self, state: State, event: Event) -> Action {
        TABLE[state as usize][self as usize][event as usize]
    }

    /// The state after it, where it leads to one.
    pub const fn after(self, state: State, event: Event) -> Option<State> {
        match self.action(state, event) {
            To(state) => Some(state),
            _ => None,
        }
    }
}

/// Columns: Syn, SynAck, Ack, Fin, Rst, Invalid.
#[rustfmt::skip]
const TABLE: [[[Action; 6]; 3]; 8] = [
    // SynSent: the opener asks.
    [
        // The opener repeats its SYN, or tries anew. An ACK is a challenge that its host answers (or
        // the handshake's end, of which the answer went another way): not to be believed.
        [Retry, Odd, Odd, Odd, Reset, Invalid],
        // A SYN crosses the opener's: simultaneous open. A bare ACK comes from a host that still has
        // the connection before; the opener will reset that one and repeat its SYN.
        [To(SynReceived), To(SynReceived), Forward, Odd, Reset, Invalid],
        // Only the opener is seen: its ACK says that it was answered.
        [Retry, Odd, To(Established), To(Closing), Reset, Invalid],
    ],
    // SynReceived: both have sent SYN.
    [
        // ACK ends the handshake, SYN+ACK does so after a simultaneous open, FIN may come with it.
        [Retry, To(Established), To(Established), To(FinWait), Reset, Invalid],
        // SYN and SYN+ACK are repeated. Data may come before the handshake's end has passed here.
        [To(SynReceived), To(SynReceived), To(SynReceived), To(CloseWait), Reset, Invalid],
        // Not reached: it takes two.
        [Retry, Odd, To(Established), To(Closing), Reset, Invalid],
    ],
    // Established.
    [
        // A SYN on a live connection: one that starts anew, or an attack. The challenge ACK that it
        // evokes passes, and so does the RST that a true opener answers with; that one closes.
        [Forward, To(Established), To(Established), To(FinWait), Reset, Invalid],
        // SYN+ACK is repeated where the handshake's last ACK was lost beyond us.
        [Forward, To(Established), To(Established), To(CloseWait), Reset, Invalid],
        // Without the other side's FIN in sight, the opener's is taken for the end.
        [Forward, Odd, To(Established), To(Closing), Reset, Invalid],
    ],
    // FinWait: the opener has closed its direction.
    [
        // It acknowledges what still comes, and repeats its FIN.
        [Forward, Odd, To(FinWait), To(FinWait), Reset, Invalid],
        // The other side sends on, until its own FIN.
        [Forward, Forward, To(FinWait), To(Closing), Reset, Invalid],
        // Not reached.
        [Forward, Odd, To(FinWait), To(Closing), Reset, Invalid],
    ],
    // CloseWait: the other side has closed its direction.
    [
        // The opener sends on, until its own FIN.
        [Forward, Odd, To(CloseWait), To(Closing), Reset, Invalid],
        // The other side acknowledges, and repeats its FIN.
        [Forward, Forward, To(CloseWait), To(CloseWait), Reset, Invalid],
        // Not reached.
        [Forward, Odd, To(CloseWait), To(Closing), Reset, Invalid],
    ],
    // Closing: both have closed; TimeWait once both FINs are acknowledged.
    [
        // FINs and ACKs are repeated. The last ACK may be lost before us, so SYN is heard.
        [Reopen, Odd, To(Closing), To(Closing), Reset, Invalid],
        [Reopen, Forward, To(Closing), To(Closing), Reset, Invalid],
        // The other side may send for long, and the opener acknowledge it.
        [Reopen, Odd, To(Closing), To(Closing), Reset, Invalid],
    ],
    // TimeWait: all is said. A reset changes nothing (RFC 1337).
    [
        // The other side repeats its FIN, and is acknowledged again. SYN opens anew.
        [Reopen, Odd, To(TimeWait), To(TimeWait), Forward, Invalid],
        [Reopen, Forward, To(TimeWait), To(TimeWait), Forward, Invalid],
        // Not reached.
        [Reopen, Odd, To(TimeWait), To(TimeWait), Forward, Invalid],
    ],
    // Closed by RST: what was on its way still arrives, and changes nothing.
    [
        [Reopen, Odd, Forward, Forward, Forward, Invalid],
        [Reopen, Forward, Forward, Forward, Forward, Invalid],
        [Reopen, Odd, Forward, Forward, Forward, Invalid],
    ],
];
