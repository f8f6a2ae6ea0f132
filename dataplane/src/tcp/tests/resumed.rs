//! Connections that another node has tracked, and told of how they stood a while ago.

use super::*;

impl Tracked {
    /// The first segment after that.
    fn resume(&mut self, direction: Direction, segment: Segment) -> Verdict {
        let [original, reply] = &mut self.flows;
        let (this, other) = match direction {
            Original => (original, reply),
            Reply => (reply, original),
        };
        assert!(resume(this, other, &segment), "{segment:?} says enough");
        self.step(direction, segment)
    }
}

/// Only the SYN was told of, and the connection is open.
#[test]
fn a_connection_whose_handshake_was_not_seen_is_open_with_the_first_segment_of_either_side() {
    let opener = segment(ACK, 101, 501, 0);
    let data = segment(ACK | PSH, 40_101, 90_501, 400);
    let other_side = segment(ACK | PSH, 90_501, 40_101, 700);
    for (direction, first) in [(Original, opener), (Original, data), (Reply, other_side)] {
        let mut tracked = Tracked::open(segment(SYN, 100, 0, 0));
        assert_eq!(tracked.resume(direction, first), Pass);
        assert_eq!(tracked.state(), Established, "{first:?}");
        tracked.expect(
            Original,
            segment(ACK, first_of(first).0, first_of(first).1, 10),
            Pass,
            Established,
        );
    }
}

/// Where the opener goes on after a segment of either side: its number, and what it acknowledges.
fn first_of(segment: Segment) -> (u32, u32) {
    if segment.seq == 90_501 {
        (40_101, 91_201)
    } else {
        (segment.end(), segment.ack)
    }
}

#[test]
fn what_does_not_follow_the_syn_opens_nothing() {
    // Of a connection before this one: the challenge that its host sends, and what comes late.
    for (direction, old) in [
        (Reply, segment(ACK, 7_000, 0xf000_0000, 0)),
        (Original, segment(ACK, 0xf000_0000, 501, 0)),
    ] {
        let mut tracked = Tracked::open(segment(SYN, 100, 0, 0));
        tracked.resume(direction, old);
        assert_eq!(tracked.state(), SynSent, "{old:?}");
    }
    // What says nothing of both sides is judged as ever.
    let mut tracked = Tracked::open(segment(SYN, 100, 0, 0));
    tracked.resume(Reply, segment(SYN | ACK, 500, 101, 0));
    assert_eq!(tracked.state(), SynReceived);
}

#[test]
fn the_end_of_a_handshake_is_taken_as_it_is_and_what_comes_long_after_it_too() {
    let answered = || {
        let mut tracked = Tracked::open(segment(SYN, 100, 0, 0));
        tracked.expect(Reply, segment(SYN | ACK, 500, 101, 0), Moved, SynReceived);
        tracked
    };
    let mut tracked = answered();
    assert_eq!(tracked.resume(Original, segment(ACK, 101, 501, 0)), Moved);
    let adopted = crate::session::flow::flags::ADOPTED;
    assert_eq!(
        (tracked.state(), tracked.flows[0].flags & adopted),
        (Established, 0)
    );
    let mut tracked = answered();
    assert_eq!(
        tracked.resume(Original, segment(ACK, 900_101, 800_501, 0)),
        Pass
    );
    assert_eq!(tracked.state(), Established);
    let mut tracked = answered();
    assert_eq!(
        tracked.resume(Original, segment(FIN | ACK, 900_101, 800_501, 0)),
        Moved
    );
    assert_eq!(tracked.state(), FinWait);
}
