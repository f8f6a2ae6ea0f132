//! The clients' side: one small state per connection, in the order in which they are opened.

use sluice_wire::tcp::flag;

use super::segment::Segment;

/// Where a client's connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum State {
    /// Not in use.
    #[default]
    Free,
    /// SYN sent.
    Opening,
    /// Open, with nothing to do before its time is over.
    Held,
    /// Request sent.
    Asking,
    /// FIN sent.
    Closing,
    /// Closed by both sides. The last acknowledgement may have been lost.
    Closed,
}

impl State {
    /// Something is still to come.
    #[inline]
    pub(crate) fn is_active(self) -> bool {
        !matches!(self, Self::Free | Self::Closed)
    }
}

/// One connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Connection {
    /// Where it is.
    pub(crate) state: State,
    /// Times that the last segment has been sent again.
    pub(crate) tries: u8,
    /// How often these addresses and ports have been used.
    pub(crate) generation: u16,
    /// When to do something if nothing comes, in milliseconds of the run.
    pub(crate) deadline: u32,
    /// The first sequence number of the server's data.
    pub(crate) server: u32,
    /// When it was opened, in ticks, without the upper half.
    pub(crate) opened: u32,
}

/// Lengths of data, and times, that all connections share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script {
    /// Bytes of the request; 0 for none.
    pub(crate) request: u32,
    /// Bytes of the response; 0 for none.
    pub(crate) response: u32,
    /// How long a connection is kept open before the request, in milliseconds.
    pub(crate) hold_ms: u32,
    /// Wait before a segment is sent again, in milliseconds; doubled each time.
    pub(crate) retransmit_ms: u32,
    /// Times that it is.
    pub(crate) retries: u8,
}

/// A segment to be sent: flags, sequence and acknowledgement number, and whether with the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Send {
    /// [`flag`].
    pub(crate) flags: u8,
    /// Sequence number.
    pub(crate) seq: u32,
    /// Acknowledgement number.
    pub(crate) ack: u32,
    /// The request is its data.
    pub(crate) request: bool,
}

/// What a segment or the time has brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Step {
    /// To be sent first.
    pub(crate) first: Option<Send>,
    /// To be sent after that.
    pub(crate) second: Option<Send>,
    /// What is to be counted.
    pub(crate) event: Event,
}

/// What happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Event {
    /// Nothing that ends or begins a state.
    #[default]
    None,
    /// The server accepted.
    Established,
    /// The response came whole.
    Answered,
    /// Closed by both sides.
    Completed,
    /// A segment was sent again.
    Retransmitted,
    /// Given up after all retries.
    TimedOut,
    /// The server or the appliance refused.
    Reset,
    /// A segment that does not fit.
    Stray,
}

impl Connection {
    /// The first sequence number, for the connection of this number: higher for each later use, so
    /// that nobody takes its SYN for an old one (RFC 9293 section 3.4.1).
    fn first(&self, number: u32) -> u32 {
        number
            .wrapping_mul(0x9e37_79b1)
            .wrapping_add(u32::from(self.generation) << 22)
    }

    /// Opens it.
    #[inline]
    pub(crate) fn open(&mut self, number: u32, script: &Script, now_ms: u32, ticks: u64) -> Send {
        *self = Self {
            state: State::Opening,
            tries: 0,
            generation: self.generation.wrapping_add(1),
            deadline: now_ms.wrapping_add(script.retransmit_ms),
            server: 0,
            opened: (ticks >> 8) as u32,
        };
        self.last_sent(number, script)
    }

    /// The segment that the connection waits for an answer to.
    fn last_sent(&self, number: u32, script: &Script) -> Send {
        let first = self.first(number);
        let data = first.wrapping_add(1);
        let (flags, seq, ack) = match self.state {
            State::Opening | State::Free => (flag::SYN, first, 0),
            State::Asking => (flag::ACK | flag::PSH, data, self.server),
            State::Held => (flag::ACK, data, self.server),
            State::Closing => (
                flag::ACK | flag::FIN,
                data.wrapping_add(script.request),
                self.server.wrapping_add(script.response),
            ),
            State::Closed => (
                flag::ACK,
                data.wrapping_add(script.request).wrapping_add(1),
                self.server.wrapping_add(script.response).wrapping_add(1),
            ),
        };
        Send {
            flags,
            seq,
            ack,
            request: self.state == State::Asking,
        }
    }

    /// Goes to another state, whose first segment is returned.
    fn enter(&mut self, state: State, number: u32, script: &Script, now_ms: u32) -> Send {
        self.state = state;
        self.tries = 0;
        let wait = match state {
            State::Held => script.hold_ms,
            _ => script.retransmit_ms,
        };
        self.deadline = now_ms.wrapping_add(wait);
        self.last_sent(number, script)
    }

    /// What comes after establishment: a request, or the end.
    fn next(script: &Script) -> State {
        if script.request > 0 {
            State::Asking
        } else {
            State::Closing
        }
    }

    /// A segment from the server.
    #[inline]
    pub(crate) fn hear(
        &mut self,
        number: u32,
        segment: &Segment,
        script: &Script,
        now_ms: u32,
    ) -> Step {
        let stray = Step {
            event: Event::Stray,
            ..Step::default()
        };
        let expected = self.last_sent(number, script);
        let sent_to = expected
            .seq
            .wrapping_add(u32::from(expected.flags & (flag::SYN | flag::FIN) != 0))
            .wrapping_add(if expected.request { script.request } else { 0 });
        if segment.has(flag::RST) {
            if !self.state.is_active() {
                return stray;
            }
            self.state = State::Free;
            return Step {
                event: Event::Reset,
                ..Step::default()
            };
        }
        let acknowledged = segment.has(flag::ACK) && segment.ack == sent_to;
        match self.state {
            State::Opening if acknowledged && segment.has(flag::SYN) => {
                self.server = segment.seq.wrapping_add(1);
                let first = Some(self.enter(State::Held, number, script, now_ms));
                let second = (script.hold_ms == 0)
                    .then(|| self.enter(Self::next(script), number, script, now_ms));
                Step {
                    first,
                    second,
                    event: Event::Established,
                }
            }
            State::Asking
                if acknowledged
                    && segment.len() == script.response
                    && segment.seq == self.server =>
            {
                Step {
                    first: Some(self.enter(State::Closing, number, script, now_ms)),
                    second: None,
                    event: Event::Answered,
                }
            }
            State::Closing
                if acknowledged
                    && segment.has(flag::FIN)
                    && segment.seq == self.server.wrapping_add(script.response) =>
            {
                Step {
                    first: Some(self.enter(State::Closed, number, script, now_ms)),
                    second: None,
                    event: Event::Completed,
                }
            }
            // The server did not get the acknowledgement.
            State::Closed if segment.has(flag::FIN) => Step {
                first: Some(expected),
                ..stray
            },
            State::Held | State::Asking | State::Closing if segment.has(flag::SYN) => Step {
                first: Some(Send {
                    flags: flag::ACK,
                    seq: self.first(number).wrapping_add(1),
                    ack: self.server,
                    request: false,
                }),
                ..stray
            },
            // An acknowledgement ahead of what it is waited for.
            State::Asking | State::Closing if acknowledged && segment.len() == 0 => Step::default(),
            _ => stray,
        }
    }

    /// Looks whether its time has come.
    #[inline]
    pub(crate) fn watch(&mut self, number: u32, script: &Script, now_ms: u32) -> Step {
        if !self.state.is_active() || (now_ms.wrapping_sub(self.deadline) as i32) < 0 {
            return Step::default();
        }
        if self.state == State::Held {
            return Step {
                first: Some(self.enter(Self::next(script), number, script, now_ms)),
                ..Step::default()
            };
        }
        if self.tries >= script.retries {
            self.state = State::Free;
            return Step {
                event: Event::TimedOut,
                ..Step::default()
            };
        }
        self.tries += 1;
        let wait = script.retransmit_ms << self.tries.min(10);
        self.deadline = now_ms.wrapping_add(wait);
        Step {
            first: Some(self.last_sent(number, script)),
            second: None,
            event: Event::Retransmitted,
        }
    }
}
