use super::*;
use crate::testing::sessions;

mod packets;

/// Two lanes and what is between them.
struct Pair {
    lanes: [Lane; 2],
    got: [Vec<u16>; 2],
    now: u32,
}

const CONFIG: LaneConfig = LaneConfig {
    mtu: 600,
    slots: 16,
    reorder: 8,
    patience: 500,
};

fn number(record: &Record) -> u16 {
    match record {
        Record::RepairRequest { bucket } => *bucket,
        other => panic!("{other:?}"),
    }
}

fn numbered(bucket: u16) -> Record {
    Record::RepairRequest { bucket }
}

impl Pair {
    fn new() -> Self {
        let lanes = sessions([1, 2]).map(|session| {
            let mut lane = Lane::new(0, &CONFIG);
            lane.associate(&session);
            lane
        });
        Self {
            lanes,
            got: [vec![], vec![]],
            now: 0,
        }
    }

    /// With both directions open.
    fn open() -> Self {
        let mut pair = Self::new();
        pair.run(200, |_, _| true);
        assert!(pair.lanes.iter().all(Lane::is_open));
        for lane in &mut pair.lanes {
            assert_eq!(lane.poll_event(), Some(Event::PeerRestarted));
            assert_eq!(lane.poll_event(), Some(Event::Open));
            assert_eq!(lane.poll_event(), None);
        }
        pair
    }

    fn send(&mut self, from: usize) -> Option<Vec<u8>> {
        let mut buffer = [0; 700];
        let len = self.lanes[from].poll_transmit(self.now, &mut buffer)?;
        Some(buffer[..len].to_vec())
    }

    fn deliver(&mut self, to: usize, datagram: &[u8]) -> Result<(), Refused> {
        let got = &mut self.got[to];
        self.lanes[to].handle(&mut datagram.to_vec(), self.now, &mut |record: &Record| {
            got.push(number(record));
            Take::Taken
        })
    }

    /// For so many milliseconds; `passes` says which datagrams arrive, by sender and number.
    fn run(&mut self, time: u32, mut passes: impl FnMut(usize, usize) -> bool) -> usize {
        let mut count = [0, 0];
        for _ in 0..time {
            self.now += 1;
            for from in [0, 1] {
                while let Some(datagram) = self.send(from) {
                    count[from] += 1;
                    if passes(from, count[from]) {
                        self.deliver(1 - from, &datagram).expect("accepted");
                    }
                }
            }
        }
        count[0] + count[1]
    }

    fn push(&mut self, from: usize, numbers: std::ops::Range<u16>) {
        for number in numbers {
            assert_eq!(self.lanes[from].push(&numbered(number)), Ok(()));
        }
    }
}

#[test]
fn nothing_is_accepted_before_the_peer_answers() {
    let mut pair = Pair::new();
    assert_eq!(pair.lanes[0].push(&numbered(1)), Err(NotSent));
    assert_eq!(pair.lanes[0].counters().records_lost, 1);
    pair.run(100, |from, _| from == 0);
    assert!(!pair.lanes[0].is_open(), "the peer hears but is not heard");
}

#[test]
fn an_open_lane_without_records_is_silent() {
    let mut pair = Pair::open();
    assert_eq!(pair.run(10_000, |_, _| true), 0);
    assert_eq!(pair.lanes[0].poll_timeout(pair.now), None);
}

#[test]
fn records_arrive_in_order_both_ways_and_are_acknowledged() {
    let mut pair = Pair::open();
    pair.push(0, 0..300);
    pair.push(1, 1000..1100);
    assert!(pair.lanes[0].lag() > 0);
    pair.run(3, |_, _| true);
    assert_eq!(pair.got[1], (0..300).collect::<Vec<_>>());
    assert_eq!(pair.got[0], (1000..1100).collect::<Vec<_>>());
    assert_eq!((pair.lanes[0].lag(), pair.lanes[1].lag()), (0, 0));
    let counters = pair.lanes[0].counters();
    assert_eq!(
        (counters.records_sent, counters.records_received),
        (300, 100)
    );
    assert_eq!((counters.repeated, counters.records_lost), (0, 0));
}

#[test]
fn any_one_lost_datagram_is_made_up_for() {
    for lost in 1..20 {
        let mut pair = Pair::open();
        pair.push(0, 0..400);
        pair.run(400, |from, number| from == 1 || number != lost);
        assert_eq!(pair.got[1], (0..400).collect::<Vec<_>>(), "losing {lost}");
        let mut pair = Pair::open();
        pair.push(0, 0..400);
        pair.run(400, |from, number| from == 0 || number != lost);
        assert_eq!(
            pair.got[1],
            (0..400).collect::<Vec<_>>(),
            "losing ack {lost}"
        );
        assert_eq!(pair.lanes[0].lag(), 0);
    }
}

#[test]
fn a_gap_is_repaired_without_waiting_for_a_timer() {
    let mut pair = Pair::open();
    pair.push(0, 0..400);
    pair.run(3, |from, number| from == 1 || number != 2);
    assert_eq!(pair.got[1], (0..400).collect::<Vec<_>>());
    assert_eq!(pair.lanes[0].counters().repeated, 1);
    assert!(pair.lanes[1].counters().early > 0);
}

#[test]
fn a_long_link_is_learnt_and_nothing_is_repeated_in_vain() {
    let mut pair = Pair::open();
    let mut wire = std::collections::VecDeque::new();
    for now in 0..10_000 {
        pair.now += 1;
        if now % 20 == 0 {
            pair.push(0, 0..1);
        }
        for from in [0, 1] {
            while let Some(datagram) = pair.send(from) {
                wire.push_back((now + 75, 1 - from, datagram));
            }
        }
        while let Some((_, to, datagram)) = wire.pop_front_if(|(at, ..)| *at <= now) {
            assert_eq!(pair.deliver(to, &datagram), Ok(()));
        }
    }
    let counters = pair.lanes[0].counters();
    assert!(counters.repeated < 15, "{counters:?}");
    assert_eq!(counters.records_lost, 0);
}

#[test]
fn duplicates_and_replays_are_delivered_once() {
    let mut pair = Pair::open();
    pair.push(0, 0..100);
    let datagrams: Vec<_> = std::iter::from_fn(|| pair.send(0)).collect();
    for datagram in datagrams.iter().rev() {
        assert_eq!(pair.deliver(1, datagram), Ok(()));
        assert_eq!(pair.deliver(1, datagram), Err(Refused::Replayed));
    }
    assert_eq!(pair.got[1], (0..100).collect::<Vec<_>>());
    // The acknowledgements are lost, so everything is sent once more, under new counters.
    pair.run(60, |from, _| from == 0);
    assert!(pair.lanes[1].counters().duplicates > 0);
    assert_eq!(pair.got[1].len(), 100);
}

#[test]
fn a_silent_peer_is_given_up_and_taken_back() {
    let mut pair = Pair::open();
    pair.push(0, 0..10);
    pair.run(CONFIG.patience + 1, |_, _| false);
    assert_eq!(
        pair.lanes[0].poll_event(),
        Some(Event::Alone(Alone::Silent))
    );
    assert_eq!(pair.lanes[0].push(&numbered(10)), Err(NotSent));
    assert_eq!(pair.lanes[0].counters().records_lost, 11);
    assert_eq!(pair.lanes[0].lag(), 0);
    pair.run(60, |_, _| true);
    assert_eq!(pair.lanes[0].poll_event(), Some(Event::Open));
    assert_eq!(pair.lanes[1].poll_event(), Some(Event::PeerRestarted));
    pair.push(0, 20..30);
    pair.run(3, |_, _| true);
    assert_eq!(pair.got[1], (20..30).collect::<Vec<_>>());
}

#[test]
fn a_full_lane_stands_alone_instead_of_waiting() {
    let mut pair = Pair::open();
    let mut pushed = 0;
    while pair.lanes[0].push(&numbered(pushed)).is_ok() {
        pushed += 1;
        assert!(pushed < 10_000);
    }
    assert!(pushed > 500);
    assert_eq!(pair.lanes[0].poll_event(), Some(Event::Alone(Alone::Full)));
    assert_eq!(pair.lanes[0].counters().records_lost, u64::from(pushed) + 1);
    pair.run(60, |_, _| true);
    assert_eq!(pair.lanes[0].poll_event(), Some(Event::Open));
    assert!(pair.got[1].is_empty());
}

#[test]
fn a_bulk_sync_leaves_room_for_changes() {
    let mut pair = Pair::open();
    while pair.lanes[0].has_room() {
        pair.push(0, 0..1);
    }
    pair.push(0, 0..100);
    assert_eq!(pair.lanes[0].poll_event(), None);
}

#[test]
fn a_restarted_peer_begins_from_the_start() {
    let mut pair = Pair::open();
    pair.push(0, 0..10);
    pair.run(3, |_, _| true);
    let [of_a, of_b] = sessions([1, 3]);
    pair.lanes[1] = Lane::new(0, &CONFIG);
    pair.lanes[1].associate(&of_b);
    pair.lanes[0].associate(&of_a);
    assert_eq!(
        pair.lanes[0].poll_event(),
        Some(Event::Alone(Alone::Restarted))
    );
    pair.run(60, |_, _| true);
    assert!(pair.lanes.iter().all(Lane::is_open));
    pair.push(0, 10..20);
    pair.push(1, 20..30);
    pair.run(3, |_, _| true);
    assert_eq!(pair.got[1], (0..20).collect::<Vec<_>>());
    assert_eq!(pair.got[0], (20..30).collect::<Vec<_>>());
}

#[test]
fn new_keys_do_not_interrupt_the_stream() {
    let mut pair = Pair::open();
    pair.push(0, 0..100);
    let under_way: Vec<_> = std::iter::from_fn(|| pair.send(0)).collect();
    let [mut of_a, mut of_b] = sessions([1, 7]);
    (of_a.peer_boot, of_b.peer_boot) = (2, 1);
    pair.lanes[0].associate(&of_a);
    pair.lanes[1].associate(&of_b);
    for datagram in &under_way {
        assert_eq!(pair.deliver(1, datagram), Ok(()));
    }
    pair.push(0, 100..200);
    pair.run(10, |_, _| true);
    assert_eq!(pair.got[1], (0..200).collect::<Vec<_>>());
    assert_eq!(pair.lanes[0].poll_event(), None);
}

#[test]
fn a_sink_without_room_holds_the_peer_back_and_loses_nothing() {
    let mut pair = Pair::open();
    let (mut room, mut got) = (7, vec![]);
    pair.push(0, 0..400);
    for _ in 0..400 {
        pair.now += 1;
        room += 3;
        let mut sink = |record: &Record| {
            if room == 0 {
                return Take::Later;
            }
            room -= 1;
            got.push(number(record));
            Take::Taken
        };
        pair.lanes[1].resume(&mut sink);
        let mut buffer = [0; 700];
        while let Some(len) = pair.lanes[0].poll_transmit(pair.now, &mut buffer) {
            let taken = pair.lanes[1].handle(&mut buffer[..len], pair.now, &mut sink);
            assert_eq!(taken, Ok(()));
        }
        while let Some(datagram) = pair.send(1) {
            assert_eq!(pair.deliver(0, &datagram), Ok(()));
        }
    }
    assert_eq!(got, (0..400).collect::<Vec<_>>());
    assert_eq!(
        (pair.lanes[0].lag(), pair.lanes[0].counters().alone),
        (0, 0)
    );
    assert!(!pair.lanes[1].is_blocked());
}

#[test]
fn what_does_not_belong_to_the_lane_is_refused_and_counted() {
    let mut pair = Pair::open();
    pair.push(0, 0..1);
    let datagram = pair.send(0).expect("datagram");
    let changed = |at: usize, value: u8| {
        let mut datagram = datagram.clone();
        datagram[at] = value;
        datagram
    };
    for (datagram, refused) in [
        (changed(0, 0), Refused::Malformed),
        (changed(3, 3), Refused::Malformed),
        (changed(2, 9), Refused::Version),
        (changed(4, 7), Refused::Node),
        (changed(5, 7), Refused::Node),
        (changed(6, 7), Refused::Node),
        (changed(8, datagram[8] ^ 1), Refused::Session),
        (changed(30, datagram[30] ^ 1), Refused::Forged),
        (datagram[..40].to_vec(), Refused::Malformed),
    ] {
        let before = pair.lanes[1].counters().refused[refused as usize];
        assert_eq!(pair.deliver(1, &datagram), Err(refused));
        assert_eq!(
            pair.lanes[1].counters().refused[refused as usize],
            before + 1
        );
    }
    assert_eq!(pair.deliver(1, &datagram), Ok(()));
}

#[test]
fn numbers_wrap() {
    let mut pair = Pair::open();
    let near = u32::MAX - 3;
    pair.lanes[0].sender.start_at(near);
    pair.lanes[1].receiver.start_at(near);
    pair.push(0, 0..400);
    pair.run(50, |from, number| from == 1 || number != 3);
    assert_eq!(pair.got[1], (0..400).collect::<Vec<_>>());
    assert_eq!(pair.lanes[0].lag(), 0);
}

#[test]
fn a_mark_is_passed_when_the_peer_has_what_was_pushed_before_it() {
    let mut pair = Pair::open();
    assert_eq!(pair.lanes[0].has_passed(pair.lanes[0].mark()), Some(true));
    pair.lanes[0].push(&numbered(1)).expect("room");
    let mark = pair.lanes[0].mark();
    assert_eq!(pair.lanes[0].has_passed(mark), Some(false));
    pair.run(5, |from, _| from != 0);
    assert_eq!(pair.lanes[0].has_passed(mark), Some(false), "it was lost");
    pair.lanes[0].push(&numbered(2)).expect("room");
    pair.run(400, |_, _| true);
    assert_eq!(pair.lanes[0].has_passed(mark), Some(true));
    pair.lanes[0].push(&numbered(3)).expect("room");
    let mark = pair.lanes[0].mark();
    pair.run(1000, |_, _| false);
    assert_eq!(pair.lanes[0].has_passed(mark), None, "it stands alone");
    pair.run(1000, |_, _| true);
    assert!(pair.lanes[0].is_open());
    assert_eq!(pair.lanes[0].has_passed(mark), None, "another stream");
}
