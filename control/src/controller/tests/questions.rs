//! Questions to workers: sessions and neighbours.

use sluice_dataplane::mailbox::{NeighbourRow, TupleFilter};
use sluice_dataplane::tcp::state::State;

use super::*;
use crate::testing::session;

fn list(filter: SessionFilter, limit: usize, from: SessionCursor) -> Action {
    Action::ListSessions(SessionQuery {
        filter,
        limit,
        from,
    })
}

fn sessions(outcome: Result<Outcome, ActionError>) -> SessionList {
    match outcome {
        Ok(Outcome::Sessions(list)) => list,
        other => panic!("{other:?}"),
    }
}

#[test]
fn pages_cover_every_session_of_every_worker_once() {
    let (mut controller, mut workers) = controller(WHOLE);
    workers[0].sessions = (0..7).map(|n| Some(session(n, 2))).collect();
    workers[1].sessions = (7..12).map(|n| Some(session(n, 2))).collect();
    // A page may come back before it is full, because the worker has other things to do.
    workers[1].slice = 2;
    let mut seen = Vec::new();
    let mut from = SessionCursor::default();
    let mut pages = 0;
    loop {
        let answered = submit(&mut controller, list(SessionFilter::default(), 5, from));
        settle(&mut controller, &mut workers);
        let page = sessions(answer(answered));
        let ports = page.sessions.iter().map(|s| s.original.source_port);
        seen.extend(ports);
        pages += 1;
        match page.next {
            Some(next) => from = next.parse().expect("a cursor"),
            None => break,
        }
        assert!(pages < 10);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..12).collect::<Vec<u16>>());
    assert_eq!(pages, 3);
}

#[test]
fn sessions_are_shown_with_their_names() {
    let (mut controller, mut workers) = controller(WHOLE);
    let snapshot = Arc::clone(&workers[0].side.snapshot);
    let vs = &snapshot.virtual_servers[0];
    let row = sluice_dataplane::mailbox::SessionRow {
        service: vs.service,
        server: vs.tiers[0].members[0],
        ..session(40_000, State::Established as u8)
    };
    workers[1].sessions = vec![Some(row)];
    let answered = submit(
        &mut controller,
        list(SessionFilter::default(), 10, SessionCursor::default()),
    );
    settle(&mut controller, &mut workers);
    let page = sessions(answer(answered));
    let json = serde_json::to_value(&page).expect("plain values");
    assert_eq!(
        json,
        serde_json::json!({ "sessions": [{
            "worker": 1, "protocol": "tcp", "state": "established",
            "service": "virtual_server/web", "server": "web/web1",
            "original": { "zone": "outside", "source": "198.51.100.7", "source_port": 40000,
                "destination": "203.0.113.80", "destination_port": 80, "packets": 7, "bytes": 700 },
            "reply": { "zone": "inside", "source": "10.0.0.11", "source_port": 8080,
                "destination": "198.51.100.7", "destination_port": 40000, "packets": 5, "bytes": 5000 },
            "age_ms": 3000, "idle_ms": 1000, "expires_ms": 5000, "owner": "this",
        }] })
    );
}

#[test]
fn filters_go_by_name_and_unknown_names_are_refused() {
    let (mut controller, mut workers) = controller(WHOLE);
    let snapshot = Arc::clone(&workers[0].side.snapshot);
    let vs = &snapshot.virtual_servers[0];
    let mut rows: Vec<_> = (0..4)
        .map(|n| session(n, State::Established as u8))
        .collect();
    rows[1].state = State::TimeWait as u8;
    rows[2].service = vs.service;
    rows[3].server = vs.tiers[0].members[1];
    rows[0].service = snapshot.nat.forwards[0].service;
    workers[0].sessions = rows.into_iter().map(Some).collect();
    let base = SessionFilter::default;
    let named = |text: &str| Some(text.to_owned());
    let cases = [
        (
            SessionFilter {
                state: named("time_wait"),
                ..base()
            },
            vec![1],
        ),
        (
            SessionFilter {
                state: named("new"),
                ..base()
            },
            vec![],
        ),
        (
            SessionFilter {
                service: named("web"),
                ..base()
            },
            vec![2],
        ),
        (
            SessionFilter {
                service: named("forward/ssh"),
                ..base()
            },
            vec![0],
        ),
        (
            SessionFilter {
                server: named("web/web2"),
                ..base()
            },
            vec![3],
        ),
        (
            SessionFilter {
                original: TupleFilter {
                    sport: Some(1),
                    ..TupleFilter::default()
                },
                ..base()
            },
            vec![1],
        ),
    ];
    for (filter, wanted) in cases {
        let answered = submit(
            &mut controller,
            list(filter.clone(), 10, SessionCursor::default()),
        );
        settle(&mut controller, &mut workers);
        let page = sessions(answer(answered));
        let seen: Vec<u16> = page
            .sessions
            .iter()
            .map(|s| s.original.source_port)
            .collect();
        assert_eq!(seen, wanted, "{filter:?}");
    }
    for (filter, kind) in [
        (
            SessionFilter {
                state: named("open"),
                ..base()
            },
            "state",
        ),
        (
            SessionFilter {
                service: named("ssh"),
                ..base()
            },
            "service",
        ),
        (
            SessionFilter {
                server: named("web1"),
                ..base()
            },
            "real server",
        ),
    ] {
        let refused = answer(submit(
            &mut controller,
            list(filter, 10, SessionCursor::default()),
        ));
        assert!(matches!(refused, Err(ActionError::Unknown { kind: k, .. }) if k == kind));
    }
}

#[test]
fn ending_sessions_adds_up_what_workers_ended() {
    let (mut controller, mut workers) = controller(WHOLE);
    workers[0].sessions = (0..3).map(|n| Some(session(n, 2))).collect();
    workers[1].sessions = (0..5).map(|n| Some(session(n, 2))).collect();
    let filter = SessionFilter {
        port: Some(2),
        ..SessionFilter::default()
    };
    let answered = submit(
        &mut controller,
        Action::EndSessions {
            filter,
            reset: false,
        },
    );
    settle(&mut controller, &mut workers);
    assert!(matches!(
        answer(answered),
        Ok(Outcome::Ended(Ended {
            id: 1,
            ended: 2,
            going_on: false
        }))
    ));
    assert_eq!(workers[1].sessions.iter().flatten().count(), 4);
}

#[test]
fn ending_that_takes_long_goes_on_and_can_be_asked_about() {
    let (mut controller, mut workers) = controller(WHOLE);
    for worker in &mut workers {
        worker.sessions = (0..3).map(|n| Some(session(n, 2))).collect();
    }
    let filter = SessionFilter::default();
    let reset = true;
    let answered = submit(&mut controller, Action::EndSessions { filter, reset });
    workers[0].poll();
    let later = Instant::now() + Duration::from_secs(11);
    controller.poll(later);
    let ended = |outcome| match outcome {
        Ok(Outcome::Ended(ended)) => ended,
        other => panic!("{other:?}"),
    };
    let first = ended(answer(answered));
    assert_eq!((first.ended, first.going_on), (3, true));
    let find = |controller: &mut Controller, id| answer(submit(controller, Action::FindEnding(id)));
    assert_eq!(ended(find(&mut controller, first.id)), first);
    settle(&mut controller, &mut workers);
    let last = ended(find(&mut controller, first.id));
    assert_eq!((last.ended, last.going_on), (6, false));
    let unknown = find(&mut controller, first.id + 1);
    assert!(matches!(unknown, Err(ActionError::NoSuchEnding(_))));
}

#[test]
fn a_worker_that_never_answers_is_named() {
    let (mut controller, mut workers) = controller(WHOLE);
    let answered = submit(
        &mut controller,
        list(SessionFilter::default(), 10, SessionCursor::default()),
    );
    workers[0].poll();
    controller.poll(Instant::now());
    controller.poll(Instant::now() + PATIENCE);
    assert_eq!(answer(answered).err(), Some(ActionError::Silent(1)));
    // Its answer comes when nobody waits any more: it is dropped.
    settle(&mut controller, &mut workers);
    assert!(controller.pending.is_empty());
}

#[test]
fn too_many_questions_at_once_are_refused() {
    let (mut controller, _workers) = controller(WHOLE);
    let question = || list(SessionFilter::default(), 10, SessionCursor::default());
    let open: Vec<Answered> = (0..MAX_PENDING)
        .map(|_| submit(&mut controller, question()))
        .collect();
    let refused = answer(submit(&mut controller, question()));
    assert_eq!(refused.err(), Some(ActionError::Busy));
    // What needs no worker is answered all the same, and nobody is kept from confirming a change.
    assert_eq!(status(&mut controller).epoch, 1);
    for action in [
        Action::Confirm("olga".to_owned()),
        Action::Revert("olga".to_owned()),
    ] {
        let decided = answer(submit(&mut controller, action));
        assert_eq!(decided.err(), Some(ActionError::NothingToConfirm));
    }
    // Who has gone away does not count.
    drop(open);
    controller.poll(Instant::now());
    assert!(controller.pending.is_empty());
}

#[test]
fn neighbours_of_all_workers_are_one_list() {
    let (mut controller, mut workers) = controller(WHOLE);
    let row = |last: u8, mac: bool, age_ms| NeighbourRow {
        port: PortId(1),
        address: std::net::Ipv4Addr::new(10, 0, 0, last).into(),
        mac: mac.then_some(sluice_wire::MacAddr([2, 0, 0, 0, 0, last])),
        state: if mac { "reachable" } else { "resolving" },
        age_ms,
    };
    workers[0].neighbours = (0..200)
        .chain([201])
        .map(|last| row(last, last != 7, 100))
        .chain((0..100).map(|last| row(last, true, 50_000)))
        .collect();
    workers[1].neighbours = vec![row(7, true, 9000), row(202, true, 1)];
    let answered = submit(&mut controller, Action::ListNeighbours);
    settle(&mut controller, &mut workers);
    let Ok(Outcome::Neighbours(neighbours)) = answer(answered) else {
        panic!("neighbours");
    };
    assert_eq!(neighbours.len(), 202);
    assert_eq!(neighbours[7].address, row(7, true, 0).address);
    assert_eq!(
        (neighbours[7].state, neighbours[7].age_ms),
        ("reachable", 9000)
    );
    assert_eq!(neighbours[8].age_ms, 100);
    assert_eq!(neighbours[201].port, "inside");
}

#[test]
fn cursors_are_text_that_comes_back() {
    use sluice_dataplane::mailbox::{Cursor, Table};
    let cursor = SessionCursor {
        worker: 3,
        entry: Cursor {
            table: Table::V6,
            index: 99,
        },
    };
    assert_eq!(cursor.to_string(), "3.6.99");
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
    for text in [
        "",
        "3",
        "3.6",
        "3.5.9",
        "3.6.9.9",
        "3.6.-1",
        "x.4.0",
        "3.4.4294967296",
    ] {
        assert_eq!(text.parse::<SessionCursor>(), Err(()), "{text:?}");
    }
}
