use proptest::prelude::*;

use super::*;
use crate::io::Frame;
use crate::io::memory::VecFrame;
use crate::stack::split::split;
use crate::stack::testing;

const SECRET: [u64; 4] = [1, 2, 3, 4];
const PORTS: u32 = u32::from_ne_bytes([0x03, 0xe8, 0, 53]);

fn table(limits: Limits) -> Reassembly<Vec<u8>> {
    Reassembly::new(limits, 0, 2, SECRET)
}

/// A fragment of the peer's datagram `id`: payload from `from` to `to` of a UDP datagram.
fn v4(id: u16, from: usize, to: usize, more: bool) -> Vec<u8> {
    let whole = testing::udp_v4(&[0x55; 2000]);
    let mut piece = [&whole[..34], &whole[34 + from..34 + to]].concat();
    piece[16..18].copy_from_slice(&((20 + to - from) as u16).to_be_bytes());
    piece[18..20].copy_from_slice(&id.to_be_bytes());
    let word = (from / 8) as u16 | if more { 0x2000 } else { 0 };
    piece[20..22].copy_from_slice(&word.to_be_bytes());
    testing::reseal(&mut piece, 14);
    piece
}

fn v6(id: u32, from: usize, to: usize, more: bool) -> Vec<u8> {
    let whole = testing::udp_v6(&[0x55; 2000]);
    let mut payload = vec![17, 0];
    payload.extend((from as u16 | u16::from(more)).to_be_bytes());
    payload.extend(id.to_be_bytes());
    payload.extend(&whole[54 + from..54 + to]);
    testing::v6(44, &payload)
}

fn input_in(table: &mut Reassembly<Vec<u8>>, frame: &[u8], zone: u8, now: u32) -> Outcome<Vec<u8>> {
    let parsed = sluice_wire::parse(frame, None, false).unwrap();
    let piece = Piece::of(&parsed, frame, zone).unwrap();
    table.input(&piece, frame.to_vec(), frame.len() as u32, now)
}

fn input(table: &mut Reassembly<Vec<u8>>, frame: &[u8], now: u32) -> Outcome<Vec<u8>> {
    input_in(table, frame, 0, now)
}

fn popped(table: &mut Reassembly<Vec<u8>>) -> Vec<Released<Vec<u8>>> {
    std::iter::from_fn(|| table.pop()).collect()
}

/// The datagram that a fragment passes as.
fn passes(outcome: Outcome<Vec<u8>>, frame: &[u8]) -> Datagram {
    match outcome {
        Outcome::Pass(same, datagram) if same == frame => datagram,
        other => panic!("does not pass: {other:?}"),
    }
}

#[test]
fn in_order_all_pass_at_once_with_the_ports_of_the_first() {
    for cut in [v4_cut, v6_cut] {
        let mut table = table(Limits::default());
        let [first, middle, last] = cut();
        let datagram = passes(input(&mut table, &first, 0), &first);
        assert_eq!((datagram.proto, datagram.ports), (17, PORTS));
        assert_eq!(passes(input(&mut table, &middle, 1), &middle), datagram);
        assert_eq!(table.datagrams(), 1);
        assert_eq!(passes(input(&mut table, &last, 2), &last), datagram);
        assert_eq!(
            (table.datagrams(), table.frames()),
            (0, 0),
            "complete: forgotten"
        );
    }
}

fn v4_cut() -> [Vec<u8>; 3] {
    [
        v4(1, 0, 1000, true),
        v4(1, 1000, 1800, true),
        v4(1, 1800, 2008, false),
    ]
}

fn v6_cut() -> [Vec<u8>; 3] {
    [
        v6(1, 0, 1000, true),
        v6(1, 1000, 1800, true),
        v6(1, 1800, 2008, false),
    ]
}

#[test]
fn before_the_first_they_wait_and_leave_in_the_order_they_came() {
    // Pitfall 10; some stacks send the last fragment first.
    for cut in [v4_cut, v6_cut] {
        let mut table = table(Limits::default());
        let [first, middle, last] = cut();
        assert_eq!(input(&mut table, &last, 0), Outcome::Held);
        assert_eq!(input(&mut table, &middle, 1), Outcome::Held);
        assert_eq!((table.frames(), table.pop()), (2, None));
        let datagram = passes(input(&mut table, &first, 2), &first);
        let released = popped(&mut table);
        assert_eq!(released.len(), 2);
        for (released, frame) in released.into_iter().zip([last, middle]) {
            assert_eq!(released.cookie, frame.len() as u32);
            assert_eq!((released.frame, released.fate), (frame, Ok(datagram)));
        }
        assert_eq!((table.datagrams(), table.frames()), (0, 0));
    }
}

#[test]
fn datagrams_are_told_apart_by_all_that_names_them() {
    let mut table = table(Limits::default());
    passes(
        input(&mut table, &v4(1, 0, 1000, true), 0),
        &v4(1, 0, 1000, true),
    );
    let rest = v4(1, 1000, 2008, false);
    assert_eq!(
        input(&mut table, &v4(2, 1000, 2008, false), 0),
        Outcome::Held,
        "id"
    );
    assert_eq!(input_in(&mut table, &rest, 1, 0), Outcome::Held, "zone");
    for (at, what) in [(23, "protocol"), (29, "source"), (33, "destination")] {
        let mut other = rest.clone();
        other[at] ^= 2;
        testing::reseal(&mut other, 14);
        assert_eq!(input(&mut table, &other, 0), Outcome::Held, "{what}");
    }
    passes(input(&mut table, &rest, 0), &rest);
}

#[test]
fn an_overlap_poisons_the_datagram_until_its_time_is_over() {
    // Pitfall 11; RFC 5722, and RFC 1858's overlapping attack for IPv4.
    for make in [
        v4 as fn(u16, usize, usize, bool) -> Vec<u8>,
        |id, from, to, more| v6(u32::from(id), from, to, more),
    ] {
        let mut table = table(Limits::default());
        assert_eq!(
            input(&mut table, &make(1, 1000, 1800, true), 0),
            Outcome::Held
        );
        let overlap = make(1, 1600, 2008, false);
        let refused = Outcome::Drop(overlap.clone(), DropReason::FragmentOverlap);
        assert_eq!(input(&mut table, &overlap, 0), refused);
        let released = popped(&mut table);
        assert_eq!(released.len(), 1, "what waited goes down with it");
        assert_eq!(released[0].fate, Err(DropReason::FragmentOverlap));
        let first = make(1, 0, 1000, true);
        let refused = Outcome::Drop(first.clone(), DropReason::FragmentOverlap);
        assert_eq!(input(&mut table, &first, 4999), refused);
        passes(input(&mut table, &first, 5000), &first);
    }
}

#[test]
fn a_second_first_fragment_cannot_change_the_ports() {
    let mut table = table(Limits::default());
    passes(
        input(&mut table, &v4(1, 0, 1000, true), 0),
        &v4(1, 0, 1000, true),
    );
    for to in [1000, 504] {
        let again = v4(1, 0, to, true);
        let refused = Outcome::Drop(again.clone(), DropReason::FragmentDuplicate);
        assert_eq!(input(&mut table, &again, 0), refused);
    }
    let longer = v4(1, 0, 1800, true);
    let refused = Outcome::Drop(longer.clone(), DropReason::FragmentOverlap);
    assert_eq!(input(&mut table, &longer, 0), refused);
}

#[test]
fn what_waits_is_given_up_in_time_also_where_the_clock_wraps() {
    let mut table = table(Limits::default());
    let start = u32::MAX - 100;
    input(&mut table, &v4(1, 1000, 2008, false), start);
    input(
        &mut table,
        &v4(2, 1000, 2008, false),
        start.wrapping_add(200),
    );
    table.expire(start.wrapping_add(4999), 100);
    assert_eq!((table.frames(), table.pop()), (2, None));
    table.expire(start.wrapping_add(5000), 100);
    let released = popped(&mut table);
    assert_eq!(released.len(), 1);
    assert_eq!(released[0].fate, Err(DropReason::FragmentTimeout));
    assert_eq!((table.datagrams(), table.frames()), (1, 1));
    // Not swept yet, but its time is over: its first fragment opens a new datagram.
    let first = v4(2, 0, 1000, true);
    passes(input(&mut table, &first, start.wrapping_add(6000)), &first);
    assert_eq!(popped(&mut table)[0].fate, Err(DropReason::FragmentTimeout));
    assert_eq!((table.datagrams(), table.frames()), (1, 0));
}

#[test]
fn room_is_bounded_and_comes_back() {
    let mut table = table(Limits {
        datagrams: 2,
        frames: 3,
        frames_per_datagram: 2,
        ..Limits::default()
    });
    let refused = |frame: &[u8]| Outcome::Drop(frame.to_vec(), DropReason::FragmentTableFull);
    for (from, to) in [(8, 16), (16, 24)] {
        assert_eq!(input(&mut table, &v4(1, from, to, true), 0), Outcome::Held);
    }
    let third = v4(1, 24, 32, true);
    assert_eq!(
        input(&mut table, &third, 0),
        refused(&third),
        "for one datagram"
    );
    assert_eq!(input(&mut table, &v4(2, 8, 16, true), 0), Outcome::Held);
    let fourth = v4(2, 16, 24, true);
    assert_eq!(input(&mut table, &fourth, 0), refused(&fourth), "in all");
    let other = v4(3, 0, 16, true);
    assert_eq!(input(&mut table, &other, 0), refused(&other), "datagrams");
    // A refused fragment was not seen: sent again, it is no duplicate.
    let first = v4(1, 0, 8, true);
    passes(input(&mut table, &first, 1), &first);
    assert_eq!(popped(&mut table).len(), 2);
    passes(input(&mut table, &third, 1), &third);
    table.expire(5001, 100);
    assert_eq!(popped(&mut table).len(), 1);
    assert_eq!((table.datagrams(), table.frames()), (0, 0));
    passes(input(&mut table, &other, 5001), &other);
}

#[test]
fn refusing_to_hold_leaves_no_empty_datagram_behind() {
    let mut table = table(Limits {
        frames: 0,
        ..Limits::default()
    });
    let rest = v4(1, 8, 16, true);
    for _ in 0..2 {
        let refused = Outcome::Drop(rest.clone(), DropReason::FragmentTableFull);
        assert_eq!(input(&mut table, &rest, 0), refused);
        assert_eq!(table.datagrams(), 0);
    }
}

#[test]
fn each_datagram_has_an_identification_of_its_own_and_workers_share_none() {
    let mut seen = std::collections::HashSet::new();
    for worker in 0..2 {
        let mut table = Reassembly::new(Limits::default(), worker, 2, SECRET);
        for id in 0..500 {
            let first = v4(id, 0, 1000, true);
            let datagram = passes(input(&mut table, &first, 0), &first);
            assert!(datagram.new_id <= 0xffff && seen.insert(datagram.new_id));
        }
        assert!(seen.insert(u32::from(table.next_id_v4())));
    }
}

#[test]
fn clearing_gives_every_frame_back() {
    let mut table = table(Limits::default());
    for id in 0..5 {
        input(&mut table, &v4(id, 8, 16, true), 0);
    }
    table.clear(DropReason::FragmentTimeout);
    assert_eq!(popped(&mut table).len(), 5);
    assert_eq!((table.datagrams(), table.frames()), (0, 0));
}

fn pieces_of(len: usize, mtu: u16, id: u16) -> Vec<Vec<u8>> {
    let data: Vec<u8> = (0..len).map(|i| (i * 7 + usize::from(id)) as u8).collect();
    let mut whole = testing::udp_v4(&data);
    whole[18..20].copy_from_slice(&id.to_be_bytes());
    testing::reseal(&mut whole, 14);
    let alloc = || Some(VecFrame::new(&[], 2048));
    let pieces = split(VecFrame::new(&whole, 9000), 14, mtu, None, alloc).unwrap();
    pieces.iter().map(|piece| piece.bytes().to_vec()).collect()
}

proptest! {
    /// Whatever the order, and with duplicates in between, every byte passes exactly once and with
    /// the right ports, and nothing stays behind.
    #[test]
    fn shuffled_datagrams_pass_whole_and_once(
        sizes in prop::collection::vec((600usize..3000, 296u16..600), 1..4),
        order in prop::collection::vec(any::<prop::sample::Index>(), 200),
        duplicates in prop::collection::vec(any::<bool>(), 60),
    ) {
        let mut table = table(Limits::default());
        let mut waiting: Vec<(usize, Vec<u8>)> = Vec::new();
        let mut missing: Vec<usize> = Vec::new();
        for (nth, &(len, mtu)) in sizes.iter().enumerate() {
            let pieces = pieces_of(len, mtu, nth as u16);
            missing.push(pieces.len());
            waiting.extend(pieces.into_iter().map(|piece| (nth, piece)));
        }
        let total = waiting.len();
        let mut sent: Vec<(usize, Vec<u8>)> = Vec::new();
        let mut passed: Vec<Vec<u8>> = Vec::new();
        for (step, at) in order.iter().enumerate() {
            if waiting.is_empty() {
                break;
            }
            let (nth, piece) = waiting.swap_remove(at.index(waiting.len()));
            match input(&mut table, &piece, step as u32) {
                Outcome::Pass(frame, datagram) => {
                    prop_assert_eq!(datagram.ports, PORTS);
                    passed.push(frame);
                }
                Outcome::Held => {}
                Outcome::Drop(_, reason) => prop_assert!(false, "{:?}", reason),
            }
            while let Some(released) = table.pop() {
                prop_assert_eq!(released.fate.map(|datagram| datagram.ports), Ok(PORTS));
                passed.push(released.frame);
            }
            missing[nth] -= 1;
            sent.push((nth, piece));
            // One more copy of something sent, of a datagram still under way.
            let (nth, copy) = &sent[at.index(sent.len())];
            if duplicates[step % duplicates.len()] && missing[*nth] > 0 {
                let refused = Outcome::Drop(copy.clone(), DropReason::FragmentDuplicate);
                prop_assert_eq!(input(&mut table, copy, step as u32), refused);
            }
        }
        let mut sent: Vec<_> = sent.into_iter().map(|(_, piece)| piece).collect();
        sent.sort();
        passed.sort();
        prop_assert_eq!(passed.len(), total);
        prop_assert_eq!(passed, sent);
        prop_assert_eq!((table.datagrams(), table.frames()), (0, 0));
    }

    /// Random pieces of one datagram, overlapping as they will: no byte passes twice, nothing
    /// passes before the first fragment or after an overlap, and every frame comes out again.
    #[test]
    fn overlaps_never_pass_a_byte_twice(
        pieces in prop::collection::vec((0usize..30, 1usize..8, prop::bool::weighted(0.9)), 1..40)
    ) {
        let mut table = table(Limits { frames: 8, frames_per_datagram: 6, ..Limits::default() });
        let mut bytes = [0u8; 400];
        let (mut given, mut poisoned, mut first_came) = (0usize, false, false);
        let mut pass = |frame: &[u8]| {
            let header = sluice_wire::ipv4::parse(&frame[14..]).unwrap();
            let from = header.offset();
            for byte in &mut bytes[from..from + header.total_len - 20] {
                *byte += 1;
            }
            bytes.iter().all(|times| *times <= 1)
        };
        let (mut inputs, mut complete) = (0usize, false);
        for (at, len, more) in pieces {
            let frame = v4(7, at * 8, (at + len) * 8, more);
            let Ok(parsed) = sluice_wire::parse(&frame, None, false) else { continue };
            let Some(piece) = Piece::of(&parsed, &frame, 0) else { continue };
            inputs += 1;
            match table.input(&piece, frame, 0, 0) {
                Outcome::Pass(frame, _) => {
                    first_came |= at == 0;
                    prop_assert!(first_came && !poisoned);
                    prop_assert!(pass(&frame));
                    given += 1;
                    complete = table.datagrams() == 0;
                }
                Outcome::Held => prop_assert!(!first_came && !poisoned),
                Outcome::Drop(_, reason) => {
                    poisoned |= reason == DropReason::FragmentOverlap;
                    given += 1;
                }
            }
            while let Some(released) = table.pop() {
                given += 1;
                match released.fate {
                    Ok(_) => prop_assert!(first_came && pass(&released.frame)),
                    Err(reason) => prop_assert_eq!(reason, DropReason::FragmentOverlap),
                }
            }
            prop_assert_eq!(given + table.frames(), inputs, "to the frame");
            if complete {
                break;
            }
        }
        table.clear(DropReason::FragmentTimeout);
        prop_assert_eq!(given + popped(&mut table).len(), inputs);
    }
}
