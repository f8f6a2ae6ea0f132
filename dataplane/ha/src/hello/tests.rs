use super::*;
use crate::seal::PreShared;

fn node(id: u8, boot: u64) -> Node {
    Node {
        id,
        boot,
        workers: 1 + id,
        capabilities: 0b111 << id,
        window: 64,
        mtu: 1500 + 100 * u16::from(id),
        config: 5,
        zones: Zones::new([10, 20 + u32::from(id)]),
    }
}

fn key(id: u8) -> PreShared {
    PreShared {
        id,
        secret: [id; KEY_LEN],
    }
}

fn ring(current: u8, also: Option<u8>) -> Keyring {
    Keyring::Sealed {
        current: key(current),
        also: also.map(key),
    }
}

fn association(id: u8, boot: u64, keyring: Keyring) -> Association {
    Association::new(node(id, boot), 1 - id, keyring, [boot as u8; KEY_LEN])
}

fn hello(from: &mut Association, now: u32) -> Option<Vec<u8>> {
    let mut buffer = [0; 1000];
    let len = from.poll_transmit(now, &mut buffer)?;
    Some(buffer[..len].to_vec())
}

/// Lets both talk until neither has anything to say; gives the sessions that came of it.
fn talk(a: &mut Association, b: &mut Association, now: &mut u32) -> [Vec<Session>; 2] {
    let mut sessions = [vec![], vec![]];
    for _ in 0..50 {
        *now += SPACING;
        for (from, to, got) in
            [(0, 1, 1), (1, 0, 0)].map(|(f, t, g): (usize, usize, usize)| (f, t, g))
        {
            let _ = to;
            let (from, to) = if from == 0 {
                (&mut *a, &mut *b)
            } else {
                (&mut *b, &mut *a)
            };
            while let Some(datagram) = hello(from, *now) {
                if let Ok(Some(Event::Session(session))) = to.handle(&datagram, *now) {
                    sessions[got].push(*session);
                }
            }
        }
    }
    sessions
}

#[test]
fn two_nodes_agree_and_fall_silent() {
    for keyring in [ring(1, None), Keyring::Plaintext] {
        let (mut a, mut b) = (
            association(0, 100, keyring.clone()),
            association(1, 200, keyring),
        );
        let mut now = 0;
        let [of_a, of_b] = talk(&mut a, &mut b, &mut now);
        let (&[of_a], &[of_b]) = (&of_a[..], &of_b[..]) else {
            panic!("{of_a:?} {of_b:?}");
        };
        assert_eq!((of_a.me, of_a.peer, of_a.peer_boot), (0, 1, 200));
        assert_eq!((of_b.me, of_b.peer, of_b.peer_boot), (1, 0, 100));
        assert!(of_a.secret == of_b.secret && of_a.id == of_b.id);
        assert_eq!((of_a.lanes, of_b.lanes), (2, 2));
        assert_eq!((of_a.capabilities, of_b.capabilities), (0b110, 0b110));
        assert_eq!((of_a.mtu, of_b.mtu), (1500, 1500));
        assert_eq!(of_a.zones.as_slice(), [10, 21]);
        assert_eq!(of_b.zones.number(20), Some(1));
        assert!(a.is_settled() && b.is_settled());
        assert_eq!(hello(&mut a, now + 10_000), None);
    }
}

#[test]
fn a_lost_hello_is_repeated() {
    for lost in 0..6 {
        let (mut a, mut b) = (
            association(0, 1, ring(1, None)),
            association(1, 2, ring(1, None)),
        );
        let (mut count, mut now) = (0, 0);
        while !(a.is_settled() && b.is_settled()) {
            now += 1;
            assert!(now < 1000, "losing {lost}");
            if let Some(datagram) = hello(&mut a, now) {
                count += 1;
                if count != lost {
                    b.handle(&datagram, now).expect("accepted");
                }
            }
            if let Some(datagram) = hello(&mut b, now) {
                count += 1;
                if count != lost {
                    a.handle(&datagram, now).expect("accepted");
                }
            }
        }
        assert!(a.session().expect("session").secret == b.session().expect("session").secret);
    }
}

#[test]
fn a_restart_is_noticed_and_keys_are_new() {
    let (mut a, mut b) = (
        association(0, 1, ring(1, None)),
        association(1, 2, ring(1, None)),
    );
    let mut now = 0;
    talk(&mut a, &mut b, &mut now);
    let before = *a.session().expect("session");
    let mut b = association(1, 3, ring(1, None));
    let [of_a, of_b] = talk(&mut a, &mut b, &mut now);
    assert_eq!((of_a.len(), of_b.len()), (1, 1));
    assert_eq!((before.peer_boot, of_a[0].peer_boot), (2, 3));
    assert!(of_a[0].secret == of_b[0].secret && of_a[0].secret != before.secret);
}

#[test]
fn hellos_that_were_recorded_bring_no_session_back() {
    let (mut a, mut b) = (
        association(0, 1, ring(1, None)),
        association(1, 2, ring(1, None)),
    );
    let mut recorded = vec![];
    for now in 0..200 {
        for (from, to) in [(true, false), (false, true)] {
            let _ = to;
            let (from, to) = if from {
                (&mut a, &mut b)
            } else {
                (&mut b, &mut a)
            };
            if let Some(datagram) = hello(from, now * SPACING) {
                to.handle(&datagram, now * SPACING).expect("accepted");
                recorded.push(datagram);
            }
        }
    }
    let mut now = 1000;
    let mut a = association(0, 5, ring(1, None));
    talk(&mut a, &mut b, &mut now);
    let session = *b.session().expect("session");
    assert_eq!(session.peer_boot, 5);
    for datagram in &recorded {
        now += SPACING;
        if let Ok(event) = b.handle(datagram, now) {
            assert_eq!(event, None);
        }
        let answer = hello(&mut b, now);
        assert!(answer.is_none_or(|answer| !recorded.contains(&answer)));
    }
    assert_eq!(b.session(), Some(&session));
    talk(&mut a, &mut b, &mut now);
    assert!(a.session().map(|it| it.secret) == b.session().map(|it| it.secret));
}

#[test]
fn keys_are_rotated_without_a_gap() {
    let (mut a, mut b) = (
        association(0, 1, ring(1, None)),
        association(1, 2, ring(1, None)),
    );
    let mut now = 0;
    talk(&mut a, &mut b, &mut now);
    for (of_a, of_b, key_id, new) in [
        (ring(1, Some(2)), ring(1, None), 1, false),
        (ring(1, Some(2)), ring(1, Some(2)), 1, false),
        (ring(2, Some(1)), ring(1, Some(2)), 2, true),
        (ring(2, Some(1)), ring(2, Some(1)), 2, true),
        (ring(2, None), ring(2, None), 2, false),
    ] {
        a.set_keyring(of_a);
        b.set_keyring(of_b);
        let [sessions, _] = talk(&mut a, &mut b, &mut now);
        assert_eq!(!sessions.is_empty(), new, "towards key {key_id}");
        assert!(a.is_settled() && b.is_settled());
        let [of_a, of_b] = [&a, &b].map(|it| *it.session().expect("session"));
        assert_eq!((of_a.key_id, of_b.key_id), (key_id, key_id));
        assert!(of_a.secret == of_b.secret);
        assert_eq!((of_a.peer_boot, of_b.peer_boot), (2, 1));
    }
}

#[test]
fn nodes_that_want_different_keys_at_once_agree_on_one() {
    for delay in [0, 30, 150] {
        let (mut a, mut b) = (
            association(0, 1, ring(1, Some(2))),
            association(1, 2, ring(1, Some(2))),
        );
        let mut wire = std::collections::VecDeque::new();
        for now in 0..4000 {
            if now == 1000 {
                a.set_keyring(ring(2, Some(1)));
                b.set_keyring(ring(3, Some(2)));
            }
            if now == 1001 {
                b.set_keyring(ring(1, Some(2)));
            }
            wire.extend(hello(&mut a, now).map(|datagram| (now + delay, 1, datagram)));
            wire.extend(hello(&mut b, now).map(|datagram| (now + delay, 0, datagram)));
            while let Some((_, to, datagram)) = wire.pop_front_if(|(at, ..)| *at <= now) {
                let to = if to == 0 { &mut a } else { &mut b };
                let _ = to.handle(&datagram, now);
            }
        }
        assert!(a.is_settled() && b.is_settled(), "delay {delay}");
        let [of_a, of_b] = [&a, &b].map(|it| *it.session().expect("session"));
        assert!(of_a.secret == of_b.secret && of_a.key_id == 2);
    }
}

#[test]
fn a_node_that_lacks_the_key_asked_for_is_met_with_the_other_one() {
    let (mut a, mut b) = (
        association(0, 1, ring(1, Some(2))),
        association(1, 2, ring(2, None)),
    );
    let mut now = 0;
    for _ in 0..10 {
        talk(&mut a, &mut b, &mut now);
    }
    assert!(a.is_settled() && b.is_settled());
    assert_eq!(a.session().expect("session").key_id, 2);
}

#[test]
fn keys_grow_old() {
    let (mut a, mut b) = (
        association(0, 1, ring(1, None)),
        association(1, 2, ring(1, None)),
    );
    let mut now = 0;
    talk(&mut a, &mut b, &mut now);
    let before = a.session().expect("session").id;
    let wait = a.poll_timeout(now).expect("it will ask for a new session");
    assert!(wait > REKEY_AFTER / 2);
    now += wait;
    let [of_a, of_b] = talk(&mut a, &mut b, &mut now);
    assert!(!of_a.is_empty() && !of_b.is_empty());
    assert_ne!(a.session().expect("session").id, before);
    assert!(a.is_settled() && b.is_settled());
}

#[test]
fn strangers_and_damage_are_refused() {
    let mut a = association(0, 1, ring(1, None));
    let mut b = association(1, 2, ring(2, None));
    let datagram = hello(&mut b, 0).expect("hello");
    assert_eq!(a.handle(&datagram, 0), Err(Refused::Key));
    let mut b = association(1, 2, ring(1, None));
    let datagram = hello(&mut b, 0).expect("hello");
    assert_eq!(b.handle(&datagram, 0), Err(Refused::Node));
    for at in 0..datagram.len() {
        let mut damaged = datagram.clone();
        damaged[at] ^= 0x20;
        assert!(a.handle(&damaged, 0).is_err(), "byte {at}");
        assert!(a.handle(&datagram[..at], 0).is_err(), "{at} bytes");
    }
    assert_eq!(a.handle(&datagram, 0), Ok(None));
}

#[test]
fn a_flood_of_hellos_is_answered_within_bounds() {
    let mut a = association(0, 1, ring(1, None));
    let mut b = association(1, 2, ring(1, None));
    let datagram = hello(&mut b, 0).expect("hello");
    let mut answers = 0;
    for now in 0..100 {
        for _ in 0..10 {
            assert_eq!(a.handle(&datagram, now), Ok(None));
            answers += usize::from(hello(&mut a, now).is_some());
        }
    }
    assert_eq!(answers, 100 / SPACING as usize);
}
