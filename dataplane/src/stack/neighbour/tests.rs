use std::collections::HashMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const PORT: PortId = PortId(1);
const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);

fn addr(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

fn table(capacity: u16) -> Neighbours {
    let limits = Limits {
        capacity,
        ..Limits::default()
    };
    Neighbours::new(limits, 7)
}

fn heard(last: u8, mac: MacAddr, how: How) -> Learned {
    Learned {
        port: PORT,
        addr: addr(last),
        mac: Some(mac),
        how,
    }
}

fn ticked(table: &mut Neighbours, now: u32) -> Vec<Action> {
    let mut actions = Vec::new();
    table.tick(now, 100, |action| actions.push(action));
    actions
}

fn ask(last: u8, unicast: Option<MacAddr>) -> Action {
    Action::Solicit {
        port: PORT,
        addr: addr(last),
        unicast,
    }
}

fn state(table: &Neighbours, last: u8, now: u32) -> Option<State> {
    table
        .iter(now)
        .find(|listed| listed.addr == addr(last))
        .map(|listed| listed.state)
}

/// Others are forgotten about as soon as nobody refers to them.
#[test]
fn who_is_sought_is_asked_for_though_nobody_refers_to_it() {
    let mut table = table(4);
    assert_eq!(table.seek(PORT, addr(1), 0), Reach::Wait);
    assert_eq!(ticked(&mut table, 0), [ask(1, None)]);
    assert_eq!(ticked(&mut table, 1000), [ask(1, None)], "again");
    table.learn(&heard(1, A, How::Reply), 1001);
    assert_eq!(table.seek(PORT, addr(1), 1002), Reach::At(A));
    assert_eq!(ticked(&mut table, 1002), []);
    // When it was not heard of for long it is asked whether it is still there.
    let later = 3_600_000;
    assert_eq!(table.seek(PORT, addr(1), later), Reach::At(A));
    assert_eq!(ticked(&mut table, later), [ask(1, Some(A))]);
    // Who does not answer has failed.
    assert_eq!(table.seek(PORT, addr(2), later), Reach::Wait);
    for ms in [1, 1001, 2001] {
        let asked = ticked(&mut table, later + ms);
        assert!(asked.contains(&ask(2, None)), "{asked:?}");
    }
    assert_eq!(state(&table, 2, later + 3000), Some(State::Incomplete));
    ticked(&mut table, later + 3001);
    assert_eq!(state(&table, 2, later + 3001), Some(State::Failed));
    let other = table.resolve(PORT, addr(3), later).unwrap();
    table.release(other);
    assert!(!ticked(&mut table, later + 3002).contains(&ask(3, None)));
}

#[test]
fn who_does_not_answer_three_times_has_failed_for_a_while() {
    let mut table = table(4);
    let start = u32::MAX - 500; // The clock wraps on the way.
    let at = |ms: u32| start.wrapping_add(ms);
    let id = table.resolve(PORT, addr(1), start).unwrap();
    for ms in [0, 1000, 2000] {
        assert_eq!(table.used(id, at(ms)), Reach::Wait);
        assert_eq!(ticked(&mut table, at(ms)), [ask(1, None)]);
        assert_eq!(ticked(&mut table, at(ms + 999)), []);
    }
    assert_eq!(ticked(&mut table, at(3000)), [Action::Failed(id)]);
    assert_eq!(table.used(id, at(5999)), Reach::Unreachable);
    assert_eq!(ticked(&mut table, at(5999)), []);
    assert_eq!(table.used(id, at(6000)), Reach::Wait);
    assert_eq!(ticked(&mut table, at(6000)), [ask(1, None)]);
}

#[test]
fn a_reply_completes_and_nothing_is_asked_until_long_after() {
    let mut table = table(4);
    let id = table.resolve(PORT, addr(1), 0).unwrap();
    ticked(&mut table, 0);
    let change = table.learn(&heard(1, A, How::Reply), 10);
    assert_eq!(change, Some(Change { id, mac: A }));
    assert_eq!(table.used(id, 14_999), Reach::At(A));
    assert_eq!(ticked(&mut table, 14_999), []);
    assert_eq!(table.learn(&heard(1, A, How::Reply), 20), None, "no news");
    assert_eq!(
        table.learn(&heard(1, B, How::Reply), 30),
        Some(Change { id, mac: B })
    );
}

#[test]
fn an_old_address_is_asked_by_unicast_when_used_then_lost_then_failed() {
    let mut table = table(4);
    let id = table.resolve(PORT, addr(1), 0).unwrap();
    table.learn(&heard(1, A, How::Reply), 0);
    let old = 45_001;
    assert_eq!(ticked(&mut table, old), [], "not used, not asked");
    assert_eq!(state(&table, 1, old), Some(State::Stale));
    assert_eq!(table.used(id, old), Reach::At(A));
    for ms in [0, 1000, 2000] {
        assert_eq!(ticked(&mut table, old + ms), [ask(1, Some(A))]);
        assert_eq!(table.used(id, old + ms), Reach::At(A), "goes on meanwhile");
    }
    assert_eq!(ticked(&mut table, old + 3000), [Action::Lost(id)]);
    assert_eq!(ticked(&mut table, old + 3000), [ask(1, None)]);
    assert_eq!(
        (table.get(id), table.used(id, old + 3000)),
        (None, Reach::Wait)
    );
    for ms in [4000, 5000] {
        assert_eq!(ticked(&mut table, old + ms), [ask(1, None)]);
    }
    assert_eq!(ticked(&mut table, old + 6000), [Action::Failed(id)]);
    // It comes back, and says so.
    let change = table.learn(&heard(1, B, How::Announce), old + 6500);
    assert_eq!(change, Some(Change { id, mac: B }));
    assert_eq!(table.used(id, old + 6500), Reach::At(B));
}

#[test]
fn a_probe_that_is_answered_ends() {
    let mut table = table(4);
    let id = table.resolve(PORT, addr(1), 0).unwrap();
    table.learn(&heard(1, A, How::Request), 0);
    assert_eq!(table.used(id, 5), Reach::At(A));
    assert_eq!(ticked(&mut table, 5), [ask(1, Some(A))]);
    assert_eq!(table.learn(&heard(1, A, How::Reply), 6), None);
    assert_eq!(ticked(&mut table, 5000), []);
    assert_eq!(state(&table, 1, 5000), Some(State::Reachable));
}

#[test]
fn the_reachable_time_is_within_half_and_one_and_a_half() {
    let mut table = table(200);
    let ids: Vec<_> = (0..200)
        .map(|last| {
            let id = table.resolve(PORT, addr(last), 0).unwrap();
            table.learn(&heard(last, A, How::Reply), 0);
            id
        })
        .collect();
    table.tick(0, 200, |_| {});
    let mut probed = |now| {
        for id in &ids {
            table.used(*id, now);
        }
        table.active.len()
    };
    assert_eq!(probed(14_999), 0);
    assert!(
        (60..140).contains(&probed(30_000)),
        "about half by the mean"
    );
    assert_eq!(probed(45_000), 200);
}

#[test]
fn only_who_asks_for_us_gets_an_entry() {
    let mut table = table(4);
    let advert = How::Advert {
        solicited: true,
        overrides: true,
        router: false,
    };
    for how in [How::Reply, How::Announce, advert] {
        assert_eq!(table.learn(&heard(1, A, how), 0), None);
        assert_eq!(table.find(PORT, addr(1)), None);
    }
    let change = table.learn(&heard(1, A, How::Request), 0).unwrap();
    assert_eq!((change.mac, state(&table, 1, 0)), (A, Some(State::Stale)));
    assert_eq!(table.find(PortId(2), addr(1)), None, "another port");
}

#[test]
fn mac_addresses_that_no_station_has_are_refused() {
    let mut table = table(4);
    let id = table.resolve(PORT, addr(1), 0).unwrap();
    for mac in [
        MacAddr::ZERO,
        MacAddr::BROADCAST,
        MacAddr([1, 0, 0x5e, 0, 0, 1]),
    ] {
        for how in [How::Request, How::Reply, How::Announce] {
            assert_eq!(table.learn(&heard(1, mac, how), 0), None);
            assert_eq!(table.learn(&heard(2, mac, how), 0), None);
        }
    }
    assert_eq!((table.get(id), table.find(PORT, addr(2))), (None, None));
}

/// RFC 4861 7.2.5 and appendix C: (state before, flags and MAC address) -> (state, MAC address).
#[test]
fn advertisements_follow_the_rfc() {
    use State::{Incomplete, Reachable, Stale};
    #[rustfmt::skip]
    let cases = [
        // before      MAC      S      O      after       MAC after
        (Incomplete, None,    true,  true,  Incomplete, None),
        (Incomplete, Some(A), false, false, Stale,      Some(A)),
        (Incomplete, Some(A), true,  false, Reachable,  Some(A)),
        (Reachable,  Some(B), true,  false, Stale,      Some(A)),
        (Stale,      Some(B), true,  false, Stale,      Some(A)),
        (Reachable,  Some(B), false, true,  Stale,      Some(B)),
        (Reachable,  Some(B), true,  true,  Reachable,  Some(B)),
        (Reachable,  Some(A), false, true,  Reachable,  Some(A)),
        (Stale,      Some(A), true,  false, Reachable,  Some(A)),
        (Stale,      None,    true,  false, Reachable,  Some(A)),
        (Stale,      None,    false, true,  Stale,      Some(A)),
    ];
    for (before, mac, solicited, overrides, after, mac_after) in cases {
        let mut table = table(4);
        let id = table.resolve(PORT, addr(1), 0).unwrap();
        match before {
            Reachable => drop(table.learn(&heard(1, A, How::Reply), 0)),
            Stale => drop(table.learn(&heard(1, A, How::Request), 0)),
            _ => {}
        }
        let how = How::Advert {
            solicited,
            overrides,
            router: true,
        };
        let learned = Learned {
            mac,
            ..heard(1, A, how)
        };
        let known = table.get(id);
        let change = table.learn(&learned, 1);
        let case = (before, mac, solicited, overrides);
        assert_eq!(state(&table, 1, 1), Some(after), "{case:?}");
        assert_eq!(table.get(id), mac_after, "{case:?}");
        assert_eq!(change.is_some(), known != mac_after, "{case:?}");
    }
}

#[test]
fn a_full_table_evicts_what_nobody_refers_to_and_failed_ones_first() {
    let mut table = table(3);
    let kept = table.resolve(PORT, addr(1), 0).unwrap();
    table.learn(&heard(2, A, How::Request), 10);
    let failed = table.resolve(PORT, addr(3), 20).unwrap();
    table.release(failed);
    ticked(&mut table, 20);
    table.resolve(PORT, addr(4), 30).unwrap();
    let there = |table: &Neighbours| -> Vec<_> { table.iter(0).map(|l| l.addr).collect() };
    assert_eq!(there(&table), [addr(1), addr(2), addr(4)]);
    table.resolve(PORT, addr(5), 40).unwrap();
    assert_eq!(there(&table), [addr(1), addr(4), addr(5)]);
    assert_eq!(table.resolve(PORT, addr(6), 50), Err(TableFull));
    assert_eq!(
        table.learn(&heard(7, A, How::Request), 50),
        None,
        "no room to learn"
    );
    table.release(kept);
    ticked(&mut table, 2000);
    table.resolve(PORT, addr(6), 2000).unwrap();
    assert_eq!(there(&table), [addr(4), addr(5), addr(6)]);
}

#[test]
fn a_configured_neighbour_is_neither_asked_nor_changed_nor_evicted() {
    let mut table = table(1);
    let change = table.pin(PORT, addr(1), A, 0).unwrap();
    for how in [How::Request, How::Reply, How::Announce] {
        assert_eq!(table.learn(&heard(1, B, how), 1), None);
    }
    assert_eq!(table.used(change.id, u32::MAX / 2), Reach::At(A));
    assert_eq!(ticked(&mut table, u32::MAX / 2), []);
    assert_eq!(table.resolve(PORT, addr(2), 0), Err(TableFull));
    table.unpin(PORT, addr(1));
    assert_eq!(
        table.learn(&heard(1, B, How::Reply), 1),
        Some(Change {
            id: change.id,
            mac: B
        })
    );
}

#[test]
fn a_new_configuration_keeps_neighbours_whose_port_moved_and_cuts_off_the_others() {
    let mut table = table(3);
    let stays = table.resolve(PORT, addr(1), 0).unwrap();
    table.learn(&heard(1, A, How::Reply), 0);
    let gone = table.resolve(PORT, addr(2), 0).unwrap();
    table.learn(&heard(2, B, How::Reply), 0);
    table.renumber(|_, of| (of == addr(1)).then_some(PortId(9)));
    assert_eq!(table.find(PortId(9), addr(1)), Some(stays));
    assert_eq!(table.used(stays, 1), Reach::At(A));
    assert_eq!(table.find(PORT, addr(2)), None);
    assert_eq!(
        table.used(gone, 100_000),
        Reach::Unreachable,
        "and is not asked for again"
    );
    assert_eq!(ticked(&mut table, 100_000), []);
    table.release(gone);
    for last in [3, 4] {
        table.resolve(PORT, addr(last), 0).unwrap();
    }
}

#[derive(Clone, Debug)]
enum Op {
    Resolve(u8),
    Release(u8),
    Learn(u8, bool),
    Use(u8),
    Tick(u32),
    Cut(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0u8..12).prop_map(Op::Resolve),
        (0u8..12).prop_map(Op::Release),
        (0u8..12, any::<bool>()).prop_map(|(a, ask)| Op::Learn(a, ask)),
        (0u8..12).prop_map(Op::Use),
        (0u32..20_000).prop_map(Op::Tick),
        (0u8..12).prop_map(Op::Cut),
    ]
}

proptest! {
    /// Whatever happens, a reference keeps meaning the neighbour that it was taken for.
    #[test]
    fn references_stay_true(ops in prop::collection::vec(op(), 1..200)) {
        let mut table = table(6);
        let mut held: HashMap<u8, Vec<NeighbourId>> = HashMap::new();
        let mut cut: Vec<NeighbourId> = Vec::new();
        let mut now = 0u32;
        for op in ops {
            match op {
                Op::Resolve(a) => if let Ok(id) = table.resolve(PORT, addr(a), now) {
                    held.entry(a).or_default().push(id);
                },
                Op::Release(a) => if let Some(id) = held.get_mut(&a).and_then(Vec::pop) {
                    table.release(id);
                },
                Op::Learn(a, asks) => {
                    let how = if asks { How::Request } else { How::Reply };
                    table.learn(&heard(a, A, how), now);
                }
                Op::Use(a) => if let Some(id) = held.get(&a).and_then(|ids| ids.first()) {
                    table.used(*id, now);
                },
                Op::Tick(ms) => {
                    now = now.wrapping_add(ms);
                    table.tick(now, 3, |_| {});
                }
                Op::Cut(a) => {
                    table.renumber(|port, of| (of != addr(a)).then_some(port));
                    cut.extend(held.remove(&a).unwrap_or_default());
                }
            }
            for (a, ids) in &held {
                for id in ids {
                    prop_assert_eq!(table.find(PORT, addr(*a)), Some(*id));
                }
            }
            let listed: Vec<_> = table.iter(now).map(|l| (l.port, l.addr)).collect();
            prop_assert!(listed.is_sorted() && listed.len() <= 6);
        }
        // All references given back, everything can give way: nothing has leaked.
        for id in held.into_values().flatten().chain(cut) {
            table.release(id);
        }
        table.tick(now.wrapping_add(50_000), 100, |_| {});
        for a in 100..106 {
            prop_assert!(table.resolve(PORT, addr(a), now.wrapping_add(50_000)).is_ok());
        }
    }
}
