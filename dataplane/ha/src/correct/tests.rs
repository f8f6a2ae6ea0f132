use super::*;
use crate::testing::sessions;

const HA_PORT: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// An IPv4 packet as it came in by some port.
#[rustfmt::skip]
const FRAME: [u8; 46] = [
    2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0,
    0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2,
    0x12, 0x34, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4,
];

const FROM_A: Origin = Origin {
    node: 0,
    zone: 3,
    turn: Turn::Owner,
};

fn codecs(boot: u64) -> [Codec; 2] {
    sessions([boot, boot]).map(|session| Codec::new(&session))
}

#[test]
fn a_corrected_packet_tells_where_it_came_in() {
    let [a, b] = codecs(1);
    for (zone, turn) in [(0, Turn::Owner), (7, Turn::Asked), (63, Turn::Last)] {
        let mut frame = FRAME;
        assert!(a.wrap(&mut frame, HA_PORT, zone, turn));
        assert_eq!(frame[..6], HA_PORT);
        assert_eq!(frame[6] & 0b11, 0b10, "locally administered, unicast");
        assert_eq!(frame[12..], FRAME[12..], "the packet is left alone");
        assert_eq!(sender(&frame), Some(0));
        let node = 0;
        assert_eq!(b.unwrap(&frame), Ok(Origin { node, zone, turn }));
        let mut back = FRAME;
        assert!(b.wrap(&mut back, HA_PORT, zone, turn));
        let node = 1;
        assert_eq!(a.unwrap(&back), Ok(Origin { node, zone, turn }));
        assert_eq!(a.unwrap(&frame), Err(NotCorrected::Unknown), "our own");
    }
}

#[test]
fn strangers_frames_stay_out() {
    let [a, b] = codecs(1);
    assert_eq!(b.unwrap(&FRAME), Err(NotCorrected::Unmarked));
    let mut frame = FRAME;
    assert!(a.wrap(&mut frame, HA_PORT, 3, Turn::Owner));
    for at in 0..frame.len() {
        let mut changed = frame;
        changed[at] ^= 0x10;
        assert!(b.unwrap(&changed).is_err(), "byte {at}");
    }
    for len in 0..14 {
        assert_eq!(b.unwrap(&frame[..len]), Err(NotCorrected::Unmarked));
        let mut short = frame;
        assert!(!a.wrap(&mut short[..len], HA_PORT, 3, Turn::Owner));
    }
    let [_, other] = codecs(2);
    assert!(other.unwrap(&frame).is_err(), "of another session");
}

#[test]
fn without_a_session_nothing_is_wrapped() {
    let mut frame = FRAME;
    assert!(!Codec::default().wrap(&mut frame, HA_PORT, 3, Turn::Owner));
    assert_eq!(frame, FRAME);
    assert_eq!(Codec::default().unwrap(&frame), Err(NotCorrected::Unmarked));
}

#[test]
fn what_cannot_be_told_is_not_wrapped_and_what_was_not_meant_not_believed() {
    let [a, b] = codecs(1);
    let mut frame = FRAME;
    assert!(!a.wrap(&mut frame, HA_PORT, 64, Turn::Owner));
    assert_eq!(frame, FRAME, "a zone that would be taken for another");
    assert_eq!(sender(&frame), None);
    assert_eq!(sender(&frame[..6]), None);
    assert!(a.wrap(&mut frame, HA_PORT, 3, Turn::Last));
    frame[7] |= 0xc0;
    assert_eq!(b.unwrap(&frame), Err(NotCorrected::Unmarked));
}

/// What a pair of nodes sends is what earlier releases sent.
#[test]
fn between_two_nodes_the_zone_stands_alone_in_its_byte() {
    let [a, _] = codecs(1);
    let mut frame = FRAME;
    assert!(a.wrap(&mut frame, HA_PORT, 3, Turn::Owner));
    assert_eq!(frame[7], 3);
}

#[test]
fn packets_under_the_keys_before_are_still_taken() {
    let ([a, b], [_, newer]) = (codecs(1), codecs(2));
    let mut frame = FRAME;
    assert!(a.wrap(&mut frame, HA_PORT, 3, Turn::Owner));
    let mut both = newer;
    both.before = b.keys;
    assert_eq!(both.unwrap(&frame), Ok(FROM_A));
}

#[test]
fn padding_on_the_way_changes_nothing() {
    let [a, b] = codecs(1);
    let mut frame = FRAME;
    assert!(a.wrap(&mut frame, HA_PORT, 3, Turn::Owner));
    let padded = [&frame[..], &[0xa5; 14]].concat();
    assert_eq!(b.unwrap(&padded), Ok(FROM_A));
    let mut v6 = [0; 58];
    (v6[12], v6[13], v6[19]) = (0x86, 0xdd, 4);
    assert!(a.wrap(&mut v6, HA_PORT, 3, Turn::Owner));
    let padded = [&v6[..], &[0xa5; 2]].concat();
    assert_eq!(b.unwrap(&padded), Ok(FROM_A));
    v6[57] ^= 1;
    assert_eq!(b.unwrap(&v6), Err(NotCorrected::Forged));
}
