use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use sluice_wire::key;

use super::*;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
const POOL: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 3));
const CLIENT6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
const SERVER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));

const PROGRESS: Progress = Progress {
    state: 2,
    timeout_left: 0x0001_0203,
    sides: [
        Side {
            end: 0x1111_1111,
            acked: 0x2222_2222,
            max_window: 0x3333,
            scale: 7,
            flags: side::KNOWN | side::SCALE_KNOWN,
        },
        Side {
            end: 0x4444_4444,
            acked: 0x5555_5555,
            max_window: 0x6666,
            scale: 8,
            flags: side::SEEN,
        },
    ],
};

fn identity<F: Family>(src: IpAddr, dst: IpAddr) -> Identity<F> {
    Identity {
        addrs: F::pack(src, dst),
        ports: key::pack_ports(0x1234, 443),
        proto: 6,
        zone: 0xa0a1_a2a3,
    }
}

const STAMP: Stamp = Stamp {
    version: 0x0102_0304,
    owner: 9,
};

fn session<F: Family>(src: IpAddr, dst: IpAddr, new_src: IpAddr) -> SessionRecord<F> {
    SessionRecord {
        stamp: STAMP,
        identity: identity(src, dst),
        new_addrs: F::pack(new_src, dst),
        new_ports: key::pack_ports(0x4321, 443),
        reply_zone: 0xb0b1_b2b3,
        service: 0xc0c1_c2c3_c4c5_c6c7,
        server: 0xd0d1_d2d3_d4d5_d6d7,
        flags: session::CLAMP_MSS,
        age: 0x0e0e_0e0e,
        progress: PROGRESS,
        shifts: [0; 2],
    }
}

fn encoded(record: &Record) -> Vec<u8> {
    let mut buffer = [0xee; MAX_LEN];
    let len = encode(record, &mut buffer).expect("room");
    assert!(buffer[len..].iter().all(|&byte| byte == 0xee));
    buffer[..len].to_vec()
}

fn agree(record: Record, bytes: &[u8]) {
    assert_eq!(encoded(&record), bytes);
    assert_eq!(
        decode(bytes),
        Some((Some(Item::Record(record)), bytes.len()))
    );
}

#[rustfmt::skip]
const PROGRESS_BYTES: [u8; 28] = [
    0x00, 0x01, 0x02, 0x03,
    0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x22, 0x22, 0x33, 0x33, 7, 3,
    0x44, 0x44, 0x44, 0x44, 0x55, 0x55, 0x55, 0x55, 0x66, 0x66, 8, 16,
];

#[test]
fn an_ipv4_session_is_these_bytes() {
    #[rustfmt::skip]
    let start: &[u8] = &[
        2, 0, 0, 92,                    // type, flags, length
        1, 2, 3, 4, 9, 6, 2, 2,         // version, owner, protocol, state, flags
        192, 0, 2, 1, 198, 51, 100, 2,  // arrives
        0x12, 0x34, 0x01, 0xbb,
        0xa0, 0xa1, 0xa2, 0xa3,         // zone
        203, 0, 113, 3, 198, 51, 100, 2,// leaves
        0x43, 0x21, 0x01, 0xbb,
        0xb0, 0xb1, 0xb2, 0xb3,         // zone of replies
        0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7,
        0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7,
        0x0e, 0x0e, 0x0e, 0x0e,
    ];
    let bytes = [start, &PROGRESS_BYTES].concat();
    agree(Record::Session4(session(CLIENT, SERVER, POOL)), &bytes);
}

#[test]
fn a_control_connection_of_ipv6_is_the_longest_record() {
    let mut told = session::<V6>(CLIENT6, SERVER6, SERVER6);
    told.flags |= session::WATCHED;
    told.shifts = [5, (-3_i32).cast_unsigned()];
    let record = Record::Session6(told);
    let bytes = encoded(&record);
    assert_eq!(bytes.len(), MAX_LEN);
    assert_eq!(bytes[140..], [0, 0, 0, 5, 0xff, 0xff, 0xff, 0xfd]);
    assert_eq!(decode(&bytes), Some((Some(Item::Record(record)), MAX_LEN)));
    // Without the numbers it says nothing that can be used.
    let mut short = bytes[..140].to_vec();
    short[3] = 140;
    assert!(!matches!(decode(&short), Some((Some(_), _))));
}

#[test]
fn an_ipv6_session_has_140_bytes() {
    let record = Record::Session6(session(CLIENT6, SERVER6, SERVER6));
    let bytes = encoded(&record);
    assert_eq!(bytes.len(), 140);
    assert_eq!(bytes[..4], [3, 0, 0, 140]);
    assert_eq!(bytes[12..16], [0x20, 0x01, 0x0d, 0xb8]);
    assert_eq!(bytes[112..], PROGRESS_BYTES);
    assert_eq!(decode(&bytes), Some((Some(Item::Record(record)), 140)));
}

#[rustfmt::skip]
const DEATH_BYTES: [u8; 28] = [
    6, 0, 0, 28,
    1, 2, 3, 4, 9, 6, 0, 0,
    192, 0, 2, 1, 198, 51, 100, 2,
    0x12, 0x34, 0x01, 0xbb,
    0xa0, 0xa1, 0xa2, 0xa3,
];

fn death() -> Record {
    Record::Death4(DeathRecord {
        stamp: STAMP,
        identity: identity(CLIENT, SERVER),
    })
}

#[test]
fn change_and_death_are_these_bytes() {
    agree(death(), &DEATH_BYTES);
    let mut change = [&DEATH_BYTES[..], &PROGRESS_BYTES].concat();
    (change[0], change[3], change[10]) = (4, 56, 2);
    let record = Record::Change4(ChangeRecord {
        stamp: STAMP,
        identity: identity(CLIENT, SERVER),
        progress: PROGRESS,
    });
    agree(record, &change);
}

#[test]
fn a_pointer_is_these_bytes() {
    #[rustfmt::skip]
    let mut bytes = [
        12, 0, 0, 44,
        1, 2, 3, 4, 9, 6, 0, 0,
        192, 0, 2, 1, 198, 51, 100, 2,
        0x12, 0x34, 0x01, 0xbb,
        0xa0, 0xa1, 0xa2, 0xa3,
        203, 0, 113, 3, 198, 51, 100, 2,
        0x43, 0x21, 0x01, 0xbb,
        0xb0, 0xb1, 0xb2, 0xb3,
    ];
    let mut pointer = PointerRecord::to(&session::<V4>(CLIENT, SERVER, POOL));
    agree(Record::Pointer4(pointer), &bytes);
    (pointer.is_gone, bytes[11]) = (true, 1);
    agree(Record::Pointer4(pointer), &bytes);
    let pointer = PointerRecord::to(&session::<V6>(CLIENT6, SERVER6, SERVER6));
    let bytes = encoded(&Record::Pointer6(pointer));
    assert_eq!(bytes[..4], [13, 0, 0, 92]);
    let item = Item::Record(Record::Pointer6(pointer));
    assert_eq!(decode(&bytes), Some((Some(item), 92)));
}

#[test]
fn a_client_and_a_mapping_are_these_bytes() {
    #[rustfmt::skip]
    let client = [
        8, 0, 0, 40,
        1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, // service, server
        192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0x03, 0xe8,
    ];
    let record = Record::Client(ClientRecord {
        service: 0x0101_0101_0101_0101,
        network: CLIENT,
        server: 0x0202_0202_0202_0202,
        timeout_left: 1000,
    });
    agree(record, &client);
    #[rustfmt::skip]
    let mapping = [
        10, 0, 0, 60,
        1, 2, 3, 4, 9, 17, 1, 0,
        3, 3, 3, 3, 3, 3, 3, 3,
        192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        203, 0, 113, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 53, 0x10, 0x00,
        0, 0, 0x03, 0xe8,
    ];
    let record = Record::Mapping(MappingRecord {
        stamp: STAMP,
        proto: 17,
        filtering: 1,
        service: 0x0303_0303_0303_0303,
        internal: (CLIENT, 53),
        external: (POOL, 4096),
        timeout_left: 1000,
    });
    agree(record, &mapping);
}

#[test]
fn marks_of_bulk_and_repair_are_these_bytes() {
    agree(Record::BulkBegin { round: 258 }, &[16, 0, 0, 8, 1, 2, 0, 0]);
    let end = Record::BulkEnd {
        round: 258,
        sessions: 3,
    };
    agree(end, &[17, 0, 0, 16, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
    let request = Record::RepairRequest { bucket: 5 };
    agree(request, &[19, 0, 0, 8, 0, 5, 0, 0]);
    let begin = Record::RepairBegin {
        bucket: 5,
        round: 6,
    };
    agree(begin, &[20, 0, 0, 8, 0, 5, 0, 6]);
    let end = Record::RepairEnd {
        bucket: 5,
        round: 6,
    };
    agree(end, &[21, 0, 0, 8, 0, 5, 0, 6]);
    let digest = Record::Digest {
        first: 16,
        sums: [7; DIGEST_CHUNK],
    };
    let mut bytes = vec![18, 0, 0, 136, 0, 16, 0, 0];
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 7].repeat(DIGEST_CHUNK));
    agree(digest, &bytes);
}

#[test]
fn records_of_a_later_release_are_skipped_and_what_it_appended_is_ignored() {
    let mut longer = DEATH_BYTES.to_vec();
    longer.extend([1, 2, 3, 4]);
    longer[3] += 4;
    let unknown = [99, 0, 0, 6, 1, 2];
    let short = [6, 0, 0, 8, 0, 0, 0, 0];
    let frame = [&unknown[..], &longer, &short, &unknown, &DEATH_BYTES].concat();
    let mut records = Records::new(&frame, 0);
    let read: Vec<_> = records.by_ref().collect();
    assert_eq!(read, [death(), death()]);
    assert_eq!((records.unknown(), records.offset()), (3, frame.len()));
}

#[test]
fn a_length_without_sense_ends_the_frame() {
    for len in [0, 3, 29] {
        let mut frame = [DEATH_BYTES, DEATH_BYTES].concat();
        frame[28 + 3] = len;
        let mut records = Records::new(&frame, 0);
        assert_eq!(records.by_ref().count(), 1);
        assert_eq!(records.unknown(), 1);
    }
}

#[test]
fn what_does_not_fit_is_not_written() {
    let mut buffer = [0; 27];
    assert_eq!(encode(&death(), &mut buffer), None);
}

#[test]
fn the_newer_statement_replaces_the_older_one_across_the_wrap() {
    let old = Stamp {
        version: u32::MAX,
        owner: 3,
    };
    assert!(old.next().replaces(old) && !old.replaces(old.next()));
    assert!(old.replaces(old), "said twice");
    let taken = old.taken_over_by(1);
    let late = Stamp {
        version: old.version.wrapping_add(1000),
        ..old
    };
    assert!(taken.replaces(late) && !late.replaces(taken));
    let both = old.taken_over_by(2);
    assert!(both.replaces(taken) && !taken.replaces(both));
}

proptest! {
    #[test]
    fn random_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut records = Records::new(&bytes, 0);
        for record in records.by_ref() {
            let mut buffer = [0; MAX_LEN];
            prop_assert!(encode(&record, &mut buffer).is_some());
        }
        prop_assert!(records.offset() <= bytes.len());
    }
}
