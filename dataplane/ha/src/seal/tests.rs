use super::*;
use crate::frame::{Kind, peek};

fn secret(byte: u8) -> Secret {
    Secret::Key([byte; KEY_LEN])
}

const HEADER_OF_TESTS: Header = Header {
    version: 1,
    kind: Kind::Stream,
    from: 0,
    to: 1,
    lane: 3,
    key_id: 7,
    session: 0xabcd,
    len: 0,
    counter: 0,
};

fn sealed(sealer: &mut Sealer, body: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0; HEADER + body.len() + TAG];
    datagram[HEADER..][..body.len()].copy_from_slice(body);
    let len = sealer.seal(&HEADER_OF_TESTS, &mut datagram, body.len());
    assert_eq!(len, Some(datagram.len()));
    datagram
}

fn open(opener: &mut Opener, datagram: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut datagram = datagram.to_vec();
    let header = peek(&datagram)?;
    opener
        .open(&header, &mut datagram)
        .map(|body| body.to_vec())
}

#[test]
fn what_is_sealed_is_opened_once() {
    for secret in [secret(1), Secret::Plaintext] {
        let mut sealer = Sealer::new(&secret, 0, 1, 3);
        let mut opener = Opener::new(&secret, 0, 1, 3);
        for body in [&b""[..], b"first", b"second"] {
            let datagram = sealed(&mut sealer, body);
            assert_eq!(open(&mut opener, &datagram).as_deref(), Ok(body));
            assert_eq!(open(&mut opener, &datagram), Err(Refused::Replayed));
        }
    }
}

#[test]
fn sealed_bytes_are_the_same_in_every_release() {
    let mut sealer = Sealer::new(&secret(1), 0, 1, 3);
    let datagram = sealed(&mut sealer, b"sluice");
    let expected: [u8; 46] = [
        0x53, 0x4c, 1, 2, 0, 1, 3, 7, 0, 0, 0xab, 0xcd, 0, 22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 130,
        17, 66, 85, 167, 81, 40, 129, 46, 240, 181, 194, 67, 116, 189, 122, 232, 206, 228, 5, 181,
        11,
    ];
    assert_eq!(datagram, expected);
}

#[test]
fn a_changed_bit_anywhere_is_noticed() {
    for secret in [secret(1), Secret::Plaintext] {
        let mut sealer = Sealer::new(&secret, 0, 1, 3);
        let mut opener = Opener::new(&secret, 0, 1, 3);
        let datagram = sealed(&mut sealer, b"body");
        for at in 0..datagram.len() {
            let mut damaged = datagram.clone();
            damaged[at] ^= 4;
            assert!(open(&mut opener, &damaged).is_err(), "byte {at}");
        }
        assert!(
            open(&mut opener, &datagram).is_ok(),
            "damage used up nothing"
        );
    }
}

#[test]
fn the_key_of_another_lane_direction_or_secret_does_not_open() {
    let datagram = sealed(&mut Sealer::new(&secret(1), 0, 1, 3), b"body");
    for (key, from, to, lane) in [(1, 0, 1, 4), (1, 1, 0, 3), (1, 0, 2, 3), (2, 0, 1, 3)] {
        let mut opener = Opener::new(&secret(key), from, to, lane);
        assert_eq!(open(&mut opener, &datagram), Err(Refused::Forged));
    }
}

#[test]
fn a_keyring_finds_both_keys_of_a_rotation() {
    let key = |id, byte| PreShared {
        id,
        secret: [byte; KEY_LEN],
    };
    let ring = Keyring::Sealed {
        current: key(1, 10),
        also: Some(key(2, 20)),
    };
    assert!(ring.secret(1) == Ok(secret(10)) && ring.secret(2) == Ok(secret(20)));
    assert!(ring.secret(3) == Err(Refused::Key));
    assert!(Keyring::Plaintext.secret(1) == Err(Refused::Key));
    assert!(ring.secret(PLAINTEXT_ID) == Err(Refused::Key));
    assert_eq!(format!("{:?}", key(1, 10)), "PreShared { id: 1, .. }");
}
