//! Every state, either sender, every kind of segment whose numbers fit: what comes of it.

use super::*;

/// A connection in this state, and the next sequence number of each side.
fn in_state(state: State) -> (Tracked, [u32; 2]) {
    let mut tracked = match state {
        SynSent | SynReceived => Tracked::open(segment(SYN, 100, 0, 0)),
        _ => Tracked::established(),
    };
    let mut next = [101, 501];
    match state {
        SynSent | Established => {}
        SynReceived => {
            tracked.expect(Reply, segment(SYN | ACK, 500, 101, 0), Moved, SynReceived);
        }
        Closed => {
            tracked.expect(Reply, segment(RST, 501, 0, 0), Moved, Closed);
        }
        CloseWait => {
            tracked.expect(Reply, segment(FIN | ACK, 501, 101, 0), Moved, CloseWait);
            next[1] = 502;
        }
        FinWait | Closing | TimeWait => {
            tracked.expect(Original, segment(FIN | ACK, 101, 501, 0), Moved, FinWait);
            next[0] = 102;
            if state != FinWait {
                // Crossing FINs: neither is acknowledged yet.
                tracked.expect(Reply, segment(FIN | ACK, 501, 101, 0), Moved, Closing);
                next[1] = 502;
            }
            if state == TimeWait {
                tracked.expect(Original, segment(ACK, 102, 502, 0), Pass, Closing);
                tracked.expect(Reply, segment(ACK, 502, 102, 0), Moved, TimeWait);
            }
        }
    }
    assert_eq!(tracked.state(), state);
    (tracked, next)
}

#[test]
fn each_kind_of_segment_in_each_state() {
    const ODD: Verdict = OutOfWindow;
    // From the opener, then from the other side: a new SYN, its SYN+ACK again, ACK, FIN, RST.
    let expected = [
        (
            SynSent,
            [
                (Pass, SynSent),
                (ODD, SynSent),
                (ODD, SynSent),
                (ODD, SynSent),
                (Moved, Closed),
            ],
            [
                (Moved, SynReceived),
                (Moved, SynReceived),
                (Pass, SynSent),
                (ODD, SynSent),
                (Moved, Closed),
            ],
        ),
        (
            SynReceived,
            [
                (Moved, SynSent),
                (Moved, Established),
                (Moved, Established),
                (Moved, FinWait),
                (Moved, Closed),
            ],
            [
                (ODD, SynReceived),
                (Pass, SynReceived),
                (Pass, SynReceived),
                (Moved, CloseWait),
                (Moved, Closed),
            ],
        ),
        (
            Established,
            [
                (Pass, Established),
                (Pass, Established),
                (Pass, Established),
                (Moved, FinWait),
                (Moved, Closed),
            ],
            [
                (Pass, Established),
                (Pass, Established),
                (Pass, Established),
                (Moved, CloseWait),
                (Moved, Closed),
            ],
        ),
        (
            FinWait,
            [
                (Pass, FinWait),
                (ODD, FinWait),
                (Pass, FinWait),
                (Pass, FinWait),
                (Moved, Closed),
            ],
            [
                (Pass, FinWait),
                (Pass, FinWait),
                (Pass, FinWait),
                (Moved, Closing),
                (Moved, Closed),
            ],
        ),
        (
            CloseWait,
            [
                (Pass, CloseWait),
                (ODD, CloseWait),
                (Pass, CloseWait),
                (Moved, Closing),
                (Moved, Closed),
            ],
            [
                (Pass, CloseWait),
                (Pass, CloseWait),
                (Pass, CloseWait),
                (Pass, CloseWait),
                (Moved, Closed),
            ],
        ),
        (
            Closing,
            [
                (Reopen, Closing),
                (ODD, Closing),
                (Pass, Closing),
                (Pass, Closing),
                (Moved, Closed),
            ],
            [
                (Reopen, Closing),
                (Pass, Closing),
                (Pass, Closing),
                (Pass, Closing),
                (Moved, Closed),
            ],
        ),
        (
            TimeWait,
            [
                (Reopen, TimeWait),
                (ODD, TimeWait),
                (Pass, TimeWait),
                (Pass, TimeWait),
                (Pass, TimeWait),
            ],
            [
                (Reopen, TimeWait),
                (Pass, TimeWait),
                (Pass, TimeWait),
                (Pass, TimeWait),
                (Pass, TimeWait),
            ],
        ),
        (
            Closed,
            [
                (Reopen, Closed),
                (ODD, Closed),
                (Pass, Closed),
                (Pass, Closed),
                (Pass, Closed),
            ],
            [
                (Reopen, Closed),
                (Pass, Closed),
                (Pass, Closed),
                (Pass, Closed),
                (Pass, Closed),
            ],
        ),
    ];
    for (state, original, reply) in expected {
        for (i, (from, row)) in [(Original, original), (Reply, reply)]
            .into_iter()
            .enumerate()
        {
            for (kind, expected) in row.into_iter().enumerate() {
                let (mut tracked, next) = in_state(state);
                let (seq, ack, isn) = (next[i], next[1 - i], [100, 500][i]);
                let sent = match kind {
                    0 => segment(SYN, 1_000_000, 0, 0),
                    1 => segment(SYN | ACK, isn, ack.min([501, 101][i]), 0),
                    2 => segment(ACK, seq, ack, 0),
                    3 => segment(FIN | ACK, seq, ack, 0),
                    _ => segment(RST | ACK, seq, ack, 0),
                };
                let got = (tracked.step(from, sent), tracked.state());
                assert_eq!(got, expected, "{state:?} {from:?} {sent:?}");
            }
        }
    }
}

#[test]
fn states_keep_their_numbers() {
    // Timeouts, sync records and the API go by them.
    for (number, state) in (0..).zip(State::ALL) {
        assert_eq!((state as u8, State::from_u8(number)), (number, state));
    }
}
