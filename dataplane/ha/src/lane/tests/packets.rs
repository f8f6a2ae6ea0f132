//! Packets in the stream.

use std::net::IpAddr;

use super::*;

/// What comes out of a lane, in order: numbers of records, and first bytes of packets with what is
/// said of them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Out {
    all: Vec<(char, u16)>,
}

impl Sink for Out {
    fn record(&mut self, record: &Record) -> Take {
        self.all.push(('r', number(record)));
        Take::Taken
    }

    fn packet(&mut self, packet: &PacketRecord<'_>) -> Take {
        let kind = if packet.recalled { 'x' } else { 'p' };
        self.all.push((kind, first(packet)));
        Take::Taken
    }
}

fn first(packet: &PacketRecord<'_>) -> u16 {
    u16::from_be_bytes([packet.packet[0], packet.packet[1]])
}

/// A packet of `len` bytes that begins with a number.
fn packet(number: u16, len: usize, bytes: &mut [u8]) -> PacketRecord<'_> {
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    PacketRecord {
        hop: IpAddr::from([10, 0, 0, 1]),
        zone: 7,
        returned: false,
        recalled: false,
        packet: &bytes[..len],
    }
}

impl Pair {
    fn push_packet(&mut self, from: usize, number: u16, len: usize) -> Result<(), NotSent> {
        let mut bytes = [0; 600];
        let now = self.now;
        self.lanes[from].push_packet(&packet(number, len, &mut bytes), now)
    }

    /// A millisecond passes; what leaves the first lane is lost or arrives, and so with answers.
    fn step(&mut self, out: &mut Out, arrives: bool) {
        self.now += 1;
        while let Some(mut datagram) = self.send(0) {
            if arrives {
                let handled = self.lanes[1].handle(&mut datagram, self.now, out);
                assert_eq!(handled, Ok(()));
            }
        }
        while let Some(datagram) = self.send(1) {
            if arrives {
                assert_eq!(self.deliver(0, &datagram), Ok(()));
            }
        }
    }

    /// What a lane takes back.
    fn recall(&mut self, budget: u32, frames: u32) -> Vec<u16> {
        let mut back = vec![];
        self.lanes[0].recall(self.now, budget, frames, |packet| back.push(first(packet)));
        back
    }
}

#[test]
fn a_packet_comes_out_behind_the_record_before_it_and_before_the_one_behind_it() {
    let mut pair = Pair::open();
    for number in 0..20 {
        pair.push(0, number..number + 1);
        assert_eq!(pair.push_packet(0, number, 100), Ok(()));
    }
    let (mut out, mut losses) = (Out::default(), 0);
    // Every third datagram is lost.
    while pair.lanes[0].lag() > 0 {
        losses += 1;
        pair.step(&mut out, losses % 3 != 0);
    }
    let expected: Vec<_> = (0..20).flat_map(|at| [('r', at), ('p', at)]).collect();
    assert_eq!(out.all, expected);
    assert_eq!(pair.lanes[1].counters().packets_received, 20);
    assert_eq!(pair.lanes[0].counters().packets_sent, 20);
    assert!(pair.recall(0, 99).is_empty(), "all have arrived");
}

#[test]
fn a_mark_says_how_long_a_record_is_under_way() {
    let mut pair = Pair::open();
    let mut out = Out::default();
    pair.push(0, 0..1);
    let mark = pair.lanes[0].mark();
    assert!(pair.lanes[0].is_under_way(mark));
    pair.step(&mut out, false);
    assert!(pair.lanes[0].is_under_way(mark), "it was sent, and lost");
    // The mark is of the frame before the empty one.
    assert_eq!(pair.lanes[0].mark(), mark);
    while pair.lanes[0].lag() > 0 {
        pair.step(&mut out, true);
    }
    assert!(!pair.lanes[0].is_under_way(mark));
    pair.push(0, 1..2);
    let mark = pair.lanes[0].mark();
    pair.run(CONFIG.patience + 1, |_, _| false);
    assert!(!pair.lanes[0].is_open());
    assert!(!pair.lanes[0].is_under_way(mark), "it was forgotten");
    pair.run(60, |_, _| true);
    assert!(pair.lanes[0].is_open());
    assert!(!pair.lanes[0].is_under_way(mark), "of another generation");
}

#[test]
fn packets_leave_half_of_the_room_to_records_and_close_no_lane() {
    let mut pair = Pair::open();
    let mut pushed = 0;
    while pair.push_packet(0, pushed, 300).is_ok() {
        pushed += 1;
        assert!(pushed < 100);
    }
    assert!(pushed >= CONFIG.slots / 2, "{pushed}");
    pair.push(0, 0..100);
    assert!(pair.lanes[0].is_open());
    assert_eq!(pair.lanes[0].counters().records_lost, 0);
}

#[test]
fn a_packet_that_no_frame_has_room_for_is_refused_at_once() {
    let mut pair = Pair::open();
    let room = usize::from(CONFIG.mtu) - HEADER - TAG - wire::MAX_HEAD;
    let longest = room - PacketRecord::overhead(IpAddr::from([0; 4]));
    assert_eq!(pair.push_packet(0, 1, longest + 1), Err(NotSent));
    assert!(pair.lanes[0].is_open());
    assert_eq!(pair.push_packet(0, 2, longest), Ok(()));
    let mut out = Out::default();
    pair.step(&mut out, true);
    assert_eq!(out.all, [('p', 2)]);
}

#[test]
fn what_takes_too_long_is_taken_back_once_and_not_sent_by_both() {
    let mut pair = Pair::open();
    for number in 0..6 {
        pair.push(0, number..number + 1);
        assert_eq!(pair.push_packet(0, number, 380), Ok(()));
        pair.now += 10;
    }
    let mut out = Out::default();
    pair.step(&mut out, false);
    assert!(pair.recall(100, 99).is_empty(), "none is so old");
    // At 61: those of 0, 10 and 20.
    assert_eq!(pair.recall(40, 2), [0, 1]);
    assert!(pair.lanes[0].is_overdue(pair.now, 40), "there is one more");
    assert_eq!(pair.recall(40, 2), [2]);
    assert!(!pair.lanes[0].is_overdue(pair.now, 40));
    assert!(pair.recall(40, 99).is_empty(), "once each");
    while pair.lanes[0].lag() > 0 {
        pair.step(&mut out, true);
    }
    let kinds: Vec<_> = out.all.iter().filter(|(kind, _)| *kind != 'r').collect();
    let expected = [('x', 0), ('x', 1), ('x', 2), ('p', 3), ('p', 4), ('p', 5)];
    assert_eq!(kinds, expected.iter().collect::<Vec<_>>());
    assert_eq!(out.all.len(), 12, "all records have come");
}

#[test]
fn what_is_forgotten_is_counted_unless_it_was_taken_back() {
    let mut pair = Pair::open();
    assert_eq!(pair.push_packet(0, 0, 400), Ok(()));
    pair.now += 50;
    assert_eq!(pair.push_packet(0, 1, 400), Ok(()));
    assert_eq!(pair.recall(50, 99), [0]);
    pair.run(CONFIG.patience + 1, |_, _| false);
    assert_eq!(pair.lanes[0].counters().packets_lost, 1);
    assert_eq!(pair.lanes[0].counters().records_lost, 0);
    assert!(pair.recall(0, 99).is_empty());
}

#[test]
fn a_peer_that_answers_late_or_not_at_all_does_not_keep_up() {
    let mut pair = Pair::open();
    assert!(pair.lanes[0].keeps_up(pair.now, 40), "nothing is known");
    pair.push(0, 0..1);
    let mut out = Out::default();
    for _ in 0..40 {
        pair.step(&mut out, false);
    }
    assert!(pair.lanes[0].keeps_up(pair.now, 40));
    pair.step(&mut out, false);
    pair.step(&mut out, false);
    assert!(!pair.lanes[0].keeps_up(pair.now, 40), "it is silent");
    while pair.lanes[0].lag() > 0 {
        pair.step(&mut out, true);
    }
    assert!(pair.lanes[0].keeps_up(pair.now, 40), "once is not always");
    // Each answer takes 60 milliseconds.
    for number in 1..30 {
        pair.push(0, number..number + 1);
        let mut buffer = [0; 700];
        let len = pair.lanes[0].poll_transmit(pair.now, &mut buffer);
        pair.now += 60;
        let datagram = &buffer[..len.expect("there is a record")];
        assert_eq!(pair.deliver(1, datagram), Ok(()));
        pair.now += 1;
        let answer = pair.send(1).expect("an acknowledgement");
        assert_eq!(pair.deliver(0, &answer), Ok(()));
    }
    assert_eq!(pair.lanes[0].lag(), 0);
    assert!(!pair.lanes[0].keeps_up(pair.now, 40), "it is slow");
    assert!(pair.lanes[0].keeps_up(pair.now, 100));
}
