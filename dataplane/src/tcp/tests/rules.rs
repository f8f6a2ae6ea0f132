//! Pitfalls 1 to 5, windows, adoption and one-way sessions.

use super::*;

/// Pitfall 1: the challenge ACK of RFC 5961 is the receiver's business; the session stays.
#[test]
fn a_reset_closes_at_the_exact_sequence_number_only() {
    for (seq, verdict) in [
        (102, Pass),
        (900, Pass),
        (1_101, Pass),
        (100, Pass),
        (1_102, OutOfWindow),
        (0x8000_0000, OutOfWindow),
    ] {
        let mut tracked = Tracked::established();
        tracked.expect(Original, segment(RST, seq, 0, 0), verdict, Established);
        tracked.expect(Reply, segment(ACK, 501, 101, 0), Pass, Established);
        tracked.expect(Original, segment(RST, 101, 0, 0), Moved, Closed);
    }
    // In answer to a segment that came late: at what was acknowledged, though more was sent since.
    let mut tracked = Tracked::established();
    tracked.expect(Original, segment(ACK, 101, 501, 700), Pass, Established);
    tracked.expect(Original, segment(RST, 500, 0, 0), Pass, Established);
    tracked.expect(Original, segment(RST | ACK, 101, 501, 0), Moved, Closed);
}

#[test]
fn a_refused_connection_is_closed_and_may_be_tried_again() {
    let mut tracked = Tracked::open(segment(SYN, 100, 0, 0));
    // A reset that does not answer our SYN (RFC 9293 3.10.7.3).
    tracked.expect(Reply, segment(RST, 0, 0, 0), OutOfWindow, SynSent);
    tracked.expect(Reply, segment(RST | ACK, 0, 99, 0), OutOfWindow, SynSent);
    tracked.expect(Reply, segment(RST | ACK, 0, 101, 0), Moved, Closed);
    tracked.expect(Original, segment(SYN, 5, 0, 0), Reopen, Closed);
}

/// Pitfall 2: a host that starts anew on a tuple that is live elsewhere.
#[test]
fn a_syn_on_a_live_tuple_is_sorted_out_by_the_hosts() {
    for state in [Established, FinWait, CloseWait] {
        let (mut tracked, mut seq, mut ack) = (Tracked::established(), 101, 501);
        match state {
            FinWait => {
                tracked.expect(Original, segment(FIN | ACK, 101, 501, 0), Moved, FinWait);
                tracked.expect(Reply, segment(ACK, 501, 102, 0), Pass, FinWait);
                seq = 102;
            }
            CloseWait => {
                tracked.expect(Reply, segment(FIN | ACK, 501, 101, 0), Moved, CloseWait);
                ack = 502;
            }
            _ => {}
        }
        let before = tracked.flows[0].tcp_end;
        tracked.expect(Original, segment(SYN, 0x7000_0000, 0, 0), Pass, state);
        assert_eq!(tracked.flows[0].tcp_end, before);
        // The challenge ACK, then the reset that it provokes, at its acknowledgement number.
        tracked.expect(Reply, segment(ACK, ack, seq, 0), Pass, state);
        tracked.expect(Original, segment(RST, seq, 0, 0), Moved, Closed);
        tracked.expect(Original, segment(SYN, 0x7000_0000, 0, 0), Reopen, Closed);
    }
    // The connection of an opener that did not ask for anything goes on.
    let mut tracked = Tracked::established();
    tracked.expect(Original, segment(SYN, 9, 0, 0), Pass, Established);
    tracked.expect(Reply, segment(SYN, 9, 0, 0), Pass, Established);
    tracked.expect(Original, segment(ACK, 101, 501, 500), Pass, Established);
}

/// Pitfall 2, where only the other host still has the old connection (RFC 9293 figure 9).
#[test]
fn a_half_open_connection_of_the_other_host_is_reset_by_the_opener() {
    let mut tracked = Tracked::open(segment(SYN, 100, 0, 0));
    tracked.expect(Reply, segment(ACK, 77, 55, 0), Pass, SynSent);
    tracked.expect(Original, segment(RST, 55, 0, 0), Pass, SynSent);
    tracked.expect(Original, segment(SYN, 100, 0, 0), Pass, SynSent);
    tracked.expect(Reply, segment(SYN | ACK, 500, 101, 0), Moved, SynReceived);
    // But the opener may give up.
    tracked.expect(Original, segment(RST, 101, 0, 0), Moved, Closed);
}

/// Pitfall 3: what was not meant, or was not seen to the end, does not live for hours.
#[test]
fn a_spurious_fin_or_reset_leaves_no_immortal_session() {
    // Outside the window nothing happens.
    let mut tracked = Tracked::established();
    tracked.expect(
        Original,
        segment(FIN | ACK, 60_000, 501, 0),
        OutOfWindow,
        Established,
    );
    tracked.expect(
        Reply,
        segment(FIN | ACK, 501, 40_000, 0),
        OutOfWindow,
        Established,
    );
    // Within it, the session leaves the state with the long timeout for good: what follows does not
    // bring it back, and it never counts as closed from both sides either.
    tracked.expect(Original, segment(FIN | ACK, 900, 501, 0), Moved, FinWait);
    tracked.expect(Original, segment(ACK, 101, 501, 100), Pass, FinWait);
    tracked.expect(Reply, segment(ACK, 501, 201, 0), Pass, FinWait);
    // After a reset, stragglers pass, and change nothing.
    let mut tracked = Tracked::established();
    tracked.expect(Reply, segment(RST | ACK, 501, 101, 0), Moved, Closed);
    tracked.expect(Original, segment(ACK, 101, 501, 100), Pass, Closed);
    tracked.expect(Original, segment(FIN | ACK, 201, 501, 0), Pass, Closed);
    tracked.expect(Reply, segment(RST, 501, 0, 0), Pass, Closed);
}

/// Pitfall 3: RFC 1122 4.2.2.13.
#[test]
fn time_wait_is_reopened_by_a_valid_syn() {
    let closed = || {
        let mut tracked = Tracked::established();
        tracked.expect(Original, segment(FIN | ACK, 101, 501, 0), Moved, FinWait);
        tracked.expect(Reply, segment(FIN | ACK, 501, 102, 0), Moved, Closing);
        tracked.expect(Original, segment(ACK, 102, 502, 0), Moved, TimeWait);
        tracked
    };
    let mut tracked = closed();
    // An old duplicate: the host in TIME-WAIT judges it, and its answer passes.
    tracked.expect(Original, segment(SYN, 100, 0, 0), Pass, TimeWait);
    tracked.expect(Reply, segment(ACK, 502, 102, 0), Pass, TimeWait);
    // RFC 1337: a reset does not cut TIME-WAIT short.
    tracked.expect(Original, segment(RST, 102, 0, 0), Pass, TimeWait);
    tracked.expect(Original, segment(SYN, 102, 0, 0), Reopen, TimeWait);
    tracked.expect(Original, segment(SYN, 0x6000_0000, 0, 0), Reopen, TimeWait);
    // Initial numbers come round: after a minute of silence an older one is as good.
    let mut tracked = closed();
    tracked.now = QUIET - 1;
    let [original, reply] = tracked.flows;
    tracked.expect(Original, segment(SYN, 0xf000_0000, 0, 0), Pass, TimeWait);
    tracked.flows = [original, reply];
    tracked.now = QUIET;
    tracked.expect(Original, segment(SYN, 0xf000_0000, 0, 0), Reopen, TimeWait);
    // The last ACK was lost before us, so that the end was not seen.
    let mut tracked = Tracked::established();
    tracked.expect(Original, segment(FIN | ACK, 101, 501, 0), Moved, FinWait);
    tracked.expect(Reply, segment(FIN | ACK, 501, 102, 0), Moved, Closing);
    tracked.expect(Original, segment(SYN, 5_000, 0, 0), Reopen, Closing);
}

/// Pitfall 4: an attempt that was never finished, here or on the node that failed.
#[test]
fn a_stale_half_open_session_does_not_block_the_next_attempt() {
    let mut tracked = Tracked::open(segment(SYN, 100, 0, 0));
    tracked.expect(Reply, segment(SYN | ACK, 500, 101, 0), Moved, SynReceived);
    // Another attempt from the same port, with another number, and an answer likewise.
    tracked.expect(Original, segment(SYN, 9_000, 0, 0), Moved, SynSent);
    tracked.expect(Reply, segment(SYN | ACK, 500, 101, 0), OutOfWindow, SynSent);
    tracked.expect(
        Reply,
        segment(SYN | ACK, 70_000, 9_001, 0),
        Moved,
        SynReceived,
    );
    tracked.expect(
        Original,
        segment(ACK, 9_001, 70_001, 300),
        Moved,
        Established,
    );
    tracked.expect(Reply, segment(ACK, 70_001, 9_301, 300), Pass, Established);
    // The opener's SYN is the same, but the other host came back with another number.
    let mut tracked = Tracked::open(segment(SYN, 100, 0, 0));
    tracked.expect(Reply, segment(SYN | ACK, 500, 101, 0), Moved, SynReceived);
    tracked.expect(Reply, segment(SYN | ACK, 8_000, 101, 0), Pass, SynReceived);
    tracked.expect(Original, segment(ACK, 101, 8_001, 0), Moved, Established);
}

/// Pitfall 5: what is out of window is named as such, and leaves no trace.
#[test]
fn segments_outside_the_window_change_nothing() {
    let mut tracked = Tracked::established();
    let mut check = |from, segment| tracked.expect(from, segment, OutOfWindow, Established);
    // More than the receiver's window of 1000 ahead.
    check(Original, segment(ACK, 101, 501, 1_001));
    check(Original, segment(ACK, 1_102, 501, 0));
    // Older than any window.
    check(
        Original,
        segment(ACK, 101_u32.wrapping_sub(67_001), 501, 10),
    );
    // An acknowledgement of what was not sent, and of what was long ago.
    check(Original, segment(ACK, 101, 502, 0));
    check(Original, segment(ACK, 101, 501_u32.wrapping_sub(67_001), 0));
    check(Reply, segment(ACK, 0x8000_0000, 101, 0));
}

#[test]
fn the_edges_of_the_window_are_inside() {
    let mut tracked = Tracked::established();
    let mut check = |from, segment| tracked.expect(from, segment, Pass, Established);
    check(Original, segment(ACK, 101, 501, 1_000));
    // A retransmission, a keepalive one before the end (RFC 1122 4.2.3.6), and its answer.
    check(Original, segment(ACK, 101, 501, 1_000));
    check(Original, segment(ACK, 1_100, 501, 0));
    check(Reply, segment(ACK, 501, 1_101, 0));
    check(Original, segment(ACK, 1_100, 501, 1));
    // Old acknowledgements, as they come out of order.
    check(Reply, segment(ACK, 501, 101, 20));
    check(Original, segment(ACK, 1_101, 501, 0));
    check(Original, segment(ACK, 101, 501, 0));
}

#[test]
fn a_zero_window_is_probed_by_one_byte() {
    let mut tracked = Tracked::open(segment(SYN, 100, 0, 0));
    let zero = |segment| Segment {
        window: 0,
        ..segment
    };
    tracked.expect(
        Reply,
        zero(segment(SYN | ACK, 500, 101, 0)),
        Moved,
        SynReceived,
    );
    tracked.expect(Original, segment(ACK, 101, 501, 0), Moved, Established);
    tracked.expect(Original, segment(ACK, 101, 501, 1), Pass, Established);
    tracked.expect(
        Original,
        segment(ACK, 101, 501, 2),
        OutOfWindow,
        Established,
    );
    tracked.expect(Reply, zero(segment(ACK, 501, 101, 0)), Pass, Established);
    // It opens.
    tracked.expect(Reply, segment(ACK, 501, 101, 0), Pass, Established);
    tracked.expect(Original, segment(ACK, 101, 501, 1_000), Pass, Established);
}

#[test]
fn windows_are_scaled_if_both_ask_for_it() {
    let with = |wscale, segment| Segment { wscale, ..segment };
    for (ours, theirs, room) in [
        (Some(7), Some(5), 1_000 << 5),
        (Some(7), None, 1_000),
        (None, Some(5), 1_000),
        // RFC 7323 2.3: more than 14 counts as 14.
        (Some(7), Some(200), 1_000 << 14),
    ] {
        let mut tracked = Tracked::open(with(ours, segment(SYN, 100, 0, 0)));
        let answer = with(theirs, segment(SYN | ACK, 500, 101, 0));
        tracked.expect(Reply, answer, Moved, SynReceived);
        // The window of a SYN is never scaled (RFC 7323 2.2).
        tracked.expect(
            Original,
            segment(ACK, 101, 501, 1_001),
            OutOfWindow,
            SynReceived,
        );
        tracked.expect(Original, segment(ACK, 101, 501, 1_000), Moved, Established);
        tracked.expect(Reply, segment(ACK, 501, 1_101, 0), Pass, Established);
        let last = 1_101_u32.wrapping_add(room);
        tracked.expect(
            Original,
            segment(ACK, last, 501, 1),
            OutOfWindow,
            Established,
        );
        tracked.expect(Original, segment(ACK, last - 1, 501, 1), Pass, Established);
    }
}

#[test]
fn numbers_wrap_in_mid_connection() {
    let mut tracked = Tracked::open(segment(SYN, u32::MAX - 1, 0, 0));
    let answer = segment(SYN | ACK, u32::MAX, u32::MAX, 0);
    tracked.expect(Reply, answer, Moved, SynReceived);
    tracked.expect(Original, segment(ACK, u32::MAX, 0, 800), Moved, Established);
    tracked.expect(Reply, segment(ACK, 0, 799, 100), Pass, Established);
    tracked.expect(
        Original,
        segment(ACK, u32::MAX, 100, 800),
        Pass,
        Established,
    );
    tracked.expect(Original, segment(RST, u32::MAX, 0, 0), Pass, Established);
    tracked.expect(Original, segment(FIN | ACK, 799, 100, 0), Moved, FinWait);
    tracked.expect(Reply, segment(RST, 100, 0, 0), Moved, Closed);
}

/// A connection taken up in the middle: after a restart, a failover, or a change of routes.
#[test]
fn an_adopted_connection_goes_on_and_ends() {
    // The other side may have sent, and been acknowledged, much that was not seen.
    let mut tracked = Tracked::open(segment(ACK, 100_000, 700_000, 1_400));
    assert_eq!(tracked.state(), Established);
    tracked.expect(
        Reply,
        segment(ACK, 760_000, 101_400, 1_400),
        Pass,
        Established,
    );
    tracked.expect(
        Reply,
        segment(ACK, 720_000, 101_400, 1_400),
        Pass,
        Established,
    );
    tracked.expect(
        Original,
        segment(ACK, 101_400, 790_000, 0),
        Pass,
        Established,
    );
    tracked.expect(
        Original,
        segment(ACK, 2_000_000, 790_000, 100),
        Pass,
        Established,
    );
    // Yet numbers from elsewhere are told apart.
    tracked.expect(
        Reply,
        segment(ACK, 0x9000_0000, 101_400, 0),
        OutOfWindow,
        Established,
    );
    tracked.expect(
        Reply,
        segment(RST, 0x9000_0000, 0, 0),
        OutOfWindow,
        Established,
    );
    tracked.expect(Reply, segment(RST, 780_000, 0, 0), Pass, Established);
    tracked.expect(Reply, segment(RST, 790_000, 0, 0), Moved, Closed);
    // By its FIN, from which the end follows as usual.
    let mut tracked = Tracked::open(segment(FIN | ACK, 100, 900, 0));
    assert_eq!(tracked.state(), FinWait);
    tracked.expect(Reply, segment(FIN | ACK, 900, 101, 0), Moved, Closing);
    tracked.expect(Original, segment(ACK, 101, 901, 0), Moved, TimeWait);
}

/// Direct server return: the server's side is never seen.
#[test]
fn one_way_sessions_live_by_what_the_client_sends() {
    let mut tracked = Tracked::open_with(segment(SYN, 100, 0, 0), ONE_WAY);
    tracked.expect(Original, segment(SYN, 100, 0, 0), Pass, SynSent);
    tracked.expect(Original, segment(ACK, 101, 77_777, 0), Moved, Established);
    // Windows and acknowledgements can't be known.
    tracked.expect(
        Original,
        segment(ACK, 101, 9_000_000, 60_000),
        Pass,
        Established,
    );
    tracked.expect(Original, segment(SYN, 5, 0, 0), Pass, Established);
    // A blind reset does not close; the client's own does.
    tracked.expect(Original, segment(RST, 60_000, 0, 0), Pass, Established);
    let mut reset = Tracked { ..tracked };
    tracked.expect(
        Original,
        segment(FIN | ACK, 60_101, 9_000_001, 0),
        Moved,
        Closing,
    );
    tracked.expect(Original, segment(ACK, 60_102, 9_100_000, 0), Pass, Closing);
    tracked.expect(Original, segment(SYN, 1_000_000, 0, 0), Reopen, Closing);
    reset.expect(Original, segment(RST, 60_101, 0, 0), Moved, Closed);
    reset.expect(Original, segment(SYN, 1, 0, 0), Reopen, Closed);
    // Taken up in the middle.
    let mut tracked = Tracked::open_with(segment(ACK, 100, 7, 0), ONE_WAY);
    assert_eq!(tracked.state(), Established);
    tracked.expect(Original, segment(ACK, 5_000_000, 9, 100), Pass, Established);
    tracked.expect(
        Original,
        segment(FIN | ACK, 5_000_100, 9, 0),
        Moved,
        Closing,
    );
}
