//! Connections by name: what is sent, what the tracker says, and where the session stands after.

use proptest::prelude::*;
use sluice_wire::V4;
use zerocopy::FromZeros;

use super::state::State::{
    CloseWait, Closed, Closing, Established, FinWait, SynReceived, SynSent, TimeWait,
};
use super::*;
use Direction::{Original, Reply};
use Verdict::{Invalid, Moved, OutOfWindow, Pass, Reopen};

mod endpoints;
mod matrix;
mod resumed;
mod rules;

/// A tracked connection, seen by the tests.
struct Tracked {
    flows: [Flow<V4>; 2],
    now: u32,
}

/// A segment with a window of 1000.
fn segment(flags: u8, seq: u32, ack: u32, data_len: u16) -> Segment {
    Segment {
        seq,
        ack,
        window: 1_000,
        data_len,
        flags,
        wscale: None,
    }
}

impl Tracked {
    fn open(first: Segment) -> Self {
        Self::open_with(first, 0)
    }

    fn open_with(first: Segment, flags: u16) -> Self {
        let mut flows = [Flow::new_zeroed(), Flow::new_zeroed()];
        for flow in &mut flows {
            flow.flags = flags;
        }
        let [original, reply] = &mut flows;
        open(original, reply, &first);
        Self { flows, now: 0 }
    }

    /// Both SYNs and the last ACK; the opener's next byte is 101, the other side's 501.
    fn established() -> Self {
        let mut tracked = Self::open(segment(SYN, 100, 0, 0));
        tracked.expect(Reply, segment(SYN | ACK, 500, 101, 0), Moved, SynReceived);
        tracked.expect(Original, segment(ACK, 101, 501, 0), Moved, Established);
        tracked
    }

    fn step(&mut self, direction: Direction, segment: Segment) -> Verdict {
        let [original, reply] = &mut self.flows;
        let (this, other) = match direction {
            Original => (original, reply),
            Reply => (reply, original),
        };
        let verdict = step(this, other, direction, &segment, self.now);
        this.count(40, self.now);
        assert_eq!(self.flows[0].state, self.flows[1].state);
        verdict
    }

    #[track_caller]
    fn expect(&mut self, from: Direction, segment: Segment, verdict: Verdict, state: State) {
        let before = self.flows;
        assert_eq!((self.step(from, segment), self.state()), (verdict, state));
        let numbers = |flows: [Flow<V4>; 2]| {
            flows.map(|f| {
                (
                    f.tcp_end,
                    f.tcp_acked,
                    f.tcp_max_win,
                    f.tcp_scale,
                    f.flags,
                    f.state,
                )
            })
        };
        if !matches!(verdict, Pass | Moved) {
            assert_eq!(numbers(self.flows), numbers(before), "it left a trace");
        }
    }

    fn state(&self) -> State {
        State::from_u8(self.flows[0].state)
    }
}

#[test]
fn a_connection_from_its_first_syn_to_time_wait() {
    let mut tracked = Tracked::established();
    tracked.expect(
        Original,
        segment(ACK | PSH, 101, 501, 900),
        Pass,
        Established,
    );
    tracked.expect(Reply, segment(ACK, 501, 1_001, 500), Pass, Established);
    tracked.expect(
        Original,
        segment(FIN | ACK, 1_001, 1_001, 0),
        Moved,
        FinWait,
    );
    // Half closed: the other side goes on, with acknowledgements the other way.
    tracked.expect(Reply, segment(ACK, 1_001, 1_002, 500), Pass, FinWait);
    tracked.expect(Original, segment(ACK, 1_002, 1_501, 0), Pass, FinWait);
    tracked.expect(Reply, segment(FIN | ACK, 1_501, 1_002, 0), Moved, Closing);
    tracked.expect(Original, segment(ACK, 1_002, 1_502, 0), Moved, TimeWait);
    // The last ACK was lost beyond us: FIN and ACK again.
    tracked.expect(Reply, segment(FIN | ACK, 1_501, 1_002, 0), Pass, TimeWait);
    tracked.expect(Original, segment(ACK, 1_002, 1_502, 0), Pass, TimeWait);
}

#[test]
fn the_other_side_may_close_first_or_both_at_once() {
    let mut tracked = Tracked::established();
    tracked.expect(Reply, segment(FIN | ACK, 501, 101, 10), Moved, CloseWait);
    tracked.expect(Original, segment(ACK, 101, 512, 700), Pass, CloseWait);
    tracked.expect(Original, segment(FIN | ACK, 801, 512, 0), Moved, Closing);
    tracked.expect(Reply, segment(ACK, 512, 802, 0), Moved, TimeWait);

    // FINs cross: each is acknowledged on its own.
    let mut tracked = Tracked::established();
    tracked.expect(Original, segment(FIN | ACK, 101, 501, 0), Moved, FinWait);
    tracked.expect(Reply, segment(FIN | ACK, 501, 101, 0), Moved, Closing);
    tracked.expect(Original, segment(ACK, 102, 502, 0), Pass, Closing);
    tracked.expect(Reply, segment(ACK, 502, 102, 0), Moved, TimeWait);

    // A FIN that acknowledges the other one needs but one more ACK; a FIN may end the handshake.
    let mut tracked = Tracked::open(segment(SYN, 100, 0, 0));
    tracked.expect(Reply, segment(SYN | ACK, 500, 101, 0), Moved, SynReceived);
    tracked.expect(Original, segment(FIN | ACK, 101, 501, 5), Moved, FinWait);
    tracked.expect(Reply, segment(FIN | ACK, 501, 107, 0), Moved, Closing);
    tracked.expect(Original, segment(ACK, 107, 502, 0), Moved, TimeWait);
}

#[test]
fn segments_of_the_handshake_may_be_repeated() {
    let mut tracked = Tracked::open(segment(SYN, 100, 0, 0));
    tracked.expect(Original, segment(SYN, 100, 0, 0), Pass, SynSent);
    tracked.expect(Reply, segment(SYN | ACK, 500, 101, 0), Moved, SynReceived);
    tracked.expect(Original, segment(SYN, 100, 0, 0), Pass, SynReceived);
    tracked.expect(Reply, segment(SYN | ACK, 500, 101, 0), Pass, SynReceived);
    tracked.expect(Original, segment(ACK, 101, 501, 0), Moved, Established);
    // Its ACK was lost beyond us.
    tracked.expect(Reply, segment(SYN | ACK, 500, 101, 0), Pass, Established);
    tracked.expect(Original, segment(ACK, 101, 501, 0), Pass, Established);
}

#[test]
fn a_handshake_that_does_not_fit_together_opens_nothing() {
    let mut tracked = Tracked::open(segment(SYN, 100, 0, 0));
    tracked.expect(Original, segment(ACK, 101, 501, 0), OutOfWindow, SynSent);
    tracked.expect(Reply, segment(SYN | ACK, 500, 100, 0), OutOfWindow, SynSent);
    tracked.expect(Reply, segment(SYN | ACK, 500, 102, 0), OutOfWindow, SynSent);
    tracked.expect(Reply, segment(FIN | ACK, 500, 101, 0), OutOfWindow, SynSent);
    tracked.expect(Reply, segment(SYN | ACK, 500, 101, 0), Moved, SynReceived);
    // A flood of guessed ACKs must not turn half-open sessions into long-lived ones.
    tracked.expect(
        Original,
        segment(ACK, 101, 500, 0),
        OutOfWindow,
        SynReceived,
    );
    tracked.expect(
        Original,
        segment(ACK, 101, 502, 0),
        OutOfWindow,
        SynReceived,
    );
    tracked.expect(Original, segment(ACK, 101, 501, 0), Moved, Established);
}

#[test]
fn simultaneous_open() {
    // RFC 9293 figure 8: SYNs cross, and each is answered by SYN and ACK.
    let mut tracked = Tracked::open(segment(SYN, 100, 0, 0));
    tracked.expect(Reply, segment(SYN, 500, 0, 0), Moved, SynReceived);
    tracked.expect(Reply, segment(SYN | ACK, 500, 101, 0), Pass, SynReceived);
    tracked.expect(
        Original,
        segment(SYN | ACK, 100, 501, 0),
        Moved,
        Established,
    );
    tracked.expect(Reply, segment(ACK, 501, 101, 50), Pass, Established);
    // In the other order.
    let mut tracked = Tracked::open(segment(SYN, 100, 0, 0));
    tracked.expect(Reply, segment(SYN, 500, 0, 0), Moved, SynReceived);
    tracked.expect(
        Original,
        segment(SYN | ACK, 100, 501, 0),
        Moved,
        Established,
    );
    tracked.expect(Reply, segment(SYN | ACK, 500, 101, 0), Pass, Established);
}

#[test]
fn data_may_come_with_the_syn() {
    // TCP Fast Open (RFC 7413): the data may be acknowledged, or not, and is then sent again.
    for acked in [151, 101] {
        let mut tracked = Tracked::open(segment(SYN, 100, 0, 50));
        tracked.expect(Original, segment(SYN, 100, 0, 0), Pass, SynSent);
        tracked.expect(Reply, segment(SYN | ACK, 500, acked, 0), Moved, SynReceived);
        tracked.expect(Reply, segment(ACK, 501, acked, 300), Pass, SynReceived);
        tracked.expect(Original, segment(ACK, acked, 801, 50), Moved, Established);
    }
}

#[test]
fn flags_that_no_stack_sends() {
    let bad = [
        0,
        PSH,
        FIN,
        SYN | FIN,
        SYN | RST,
        SYN | ACK | FIN,
        FIN | RST | ACK,
        SYN | FIN | RST | PSH | ACK | URG,
    ];
    for flags in bad {
        let mut tracked = Tracked::established();
        tracked.expect(Original, segment(flags, 101, 501, 0), Invalid, Established);
        assert_eq!(opening(flags), Opening::Invalid);
    }
    // ECN, PSH and URG say nothing about the connection.
    assert_eq!(opening(SYN | 0x40 | 0x80), Opening::Syn);
    assert_eq!(opening(ACK | PSH | URG), Opening::Middle);
    assert_eq!(opening(FIN | ACK), Opening::Middle);
    assert_eq!(opening(RST), Opening::Reply);
    assert_eq!(opening(SYN | ACK), Opening::Reply);
}
