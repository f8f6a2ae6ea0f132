//! From what checks find to what workers go by.

use sluice_dataplane::snapshot::{Scheduler, ServerState};

use super::*;
use crate::health::{Board, Checker, Key, Target, Targets, Verdict};
use crate::testing::session;

const WEB1: ServerId = ServerId(1);
const WEB2: ServerId = ServerId(2);

fn state(worker: &FakeWorker, server: ServerId) -> ServerState {
    let servers = &worker.side.snapshot.servers;
    let server = servers[usize::from(server.0)].as_ref();
    server.expect("a server").state
}

fn slots(worker: &FakeWorker) -> usize {
    match &worker.side.snapshot.virtual_servers[0].tiers[0].scheduler {
        Scheduler::Maglev(table) => table.slots().len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_that_is_found_down_gets_no_sessions_and_no_other_session_is_touched() {
    let (mut controller, mut workers) = controller(WHOLE);
    let size = slots(&workers[0]);
    controller.standings().set_active(WEB2, Verdict::Down);
    settle(&mut controller, &mut workers);
    for worker in &workers {
        assert_eq!(state(worker, WEB2), ServerState::Draining);
        assert_eq!(slots(worker), 0, "web1 drains, web2 is down");
        assert_eq!(
            worker.side.snapshot.epoch, 1,
            "sessions are not judged anew"
        );
    }
    // A commit does not make it well.
    submit(&mut controller, replace(&another(1)));
    settle(&mut controller, &mut workers);
    assert_eq!(workers[1].side.snapshot.epoch, 2);
    assert_eq!(state(&workers[1], WEB2), ServerState::Draining);

    controller.standings().set_active(WEB2, Verdict::Up);
    settle(&mut controller, &mut workers);
    for worker in &workers {
        assert_eq!(state(worker, WEB2), ServerState::Up);
        assert_eq!(slots(worker), size);
    }
}

#[test]
fn changes_while_one_is_on_its_way_are_sent_together() {
    let (mut controller, mut workers) = controller(WHOLE);
    let now = Instant::now();
    controller.standings().set_active(WEB2, Verdict::Down);
    controller.poll(now);
    workers[0].poll();
    controller.poll(now);
    let taken = Arc::downgrade(&workers[0].side.snapshot);
    for verdict in [Verdict::Up, Verdict::Down, Verdict::Up] {
        controller.standings().set_active(WEB2, verdict);
        controller.poll(now);
        workers[0].poll();
        assert!(
            taken
                .upgrade()
                .is_some_and(|it| Arc::ptr_eq(&it, &workers[0].side.snapshot))
        );
    }
    workers[1].poll();
    assert_eq!(state(&workers[1], WEB2), ServerState::Draining);
    controller.poll(now);
    for worker in &mut workers {
        worker.poll();
        assert_eq!(state(worker, WEB2), ServerState::Up);
    }
}

#[test]
fn sessions_of_a_dead_server_end_where_the_pool_says_so() {
    let row = |n, server| sluice_dataplane::mailbox::SessionRow {
        server,
        ..session(n, 3)
    };
    for (text, left) in [
        (WHOLE.to_owned(), vec![1, 2, 3]),
        (
            WHOLE.replace(
                "[[pool]]\nname = \"web\"\n",
                "[[pool]]\nname = \"web\"\non_down = \"end\"\n",
            ),
            vec![1, 3],
        ),
    ] {
        let (mut controller, mut workers) = controller(&text);
        for worker in &mut workers {
            let rows = [row(1, WEB1), row(2, WEB2), row(3, ServerId::NONE)];
            worker.sessions = rows.map(Some).to_vec();
        }
        controller.standings().set_active(WEB2, Verdict::Down);
        settle(&mut controller, &mut workers);
        for worker in &workers {
            let ports = worker
                .sessions
                .iter()
                .flatten()
                .map(|row| row.original.sport);
            assert_eq!(ports.collect::<Vec<_>>(), left);
        }
    }
}

#[test]
fn a_server_waits_for_its_first_check_where_it_is_to() {
    let text = include_str!("../../config/tests/health.toml");
    let (_, workers) = crate::testing::controller(text);
    assert_eq!(
        state(&workers[0], ServerId(1)),
        ServerState::Draining,
        "initial = \"down\""
    );
    assert_eq!(state(&workers[0], ServerId(2)), ServerState::Up);
    assert_eq!(
        state(&workers[0], ServerId(3)),
        ServerState::Up,
        "without checks"
    );
}

#[test]
fn a_commit_that_moves_a_server_forgets_its_health_before_workers_hear_of_it() {
    let text = include_str!("../../config/tests/health.toml");
    let (mut controller, mut workers) = crate::testing::controller(text);
    controller.use_checker(Checker::start(None, None).expect("a thread"));
    controller.standings().set_active(ServerId(1), Verdict::Up);
    settle(&mut controller, &mut workers);
    assert_eq!(state(&workers[0], ServerId(1)), ServerState::Up);
    let moved = text.replacen("10.0.0.11", "10.0.0.21", 1);
    submit(&mut controller, replace(&moved));
    // The first snapshot that it is in.
    workers[0].poll();
    let web1 = workers[0].side.snapshot.servers[1].as_ref().expect("web1");
    assert_eq!(web1.address.to_string(), "10.0.0.21");
    assert_eq!(web1.state, ServerState::Draining, "initial = \"down\"");
}

fn await_changes(controller: &mut Controller, workers: &mut [FakeWorker], wanted: ServerState) {
    for _ in 0..3000 {
        controller.poll(Instant::now());
        workers.iter_mut().for_each(FakeWorker::poll);
        if state(&workers[0], WEB2) == wanted {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("web2 does not become {wanted:?}");
}

/// What is found must not wait until somebody looks: here that would take an hour.
#[test]
fn a_verdict_reaches_workers_without_waiting_for_any_interval() {
    let (mut controller, mut workers) = controller(WHOLE);
    controller.later = Duration::from_secs(3600);
    controller.use_checker(Checker::start(None, None).expect("a thread"));
    // Free, and so refused.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let targets = |keys: &str| {
        let check = format!(
            "[system]\nworkers = [0]\n[[port]]\nname = 'p'\ndevice = 'net_null0'\nzone = 'z'\n\
             [[health_check]]\nname = 'alive'\ntype = 'tcp'\n{keys}"
        );
        let config = Config::read(Source::toml(check)).expect("a check");
        let key = Key {
            server: "web/web2".to_owned(),
            check: "alive".to_owned(),
        };
        let target = Target {
            address,
            host: None,
            check: Arc::new(config.health_checks[0].clone()),
        };
        Targets {
            all: [(key, target)].into(),
        }
    };
    let checker = controller.checker.as_ref().expect("it was given");
    checker.apply(targets("interval = '100ms'\nrise = 1\nfall = 1\n"));
    let (_handle, requests) = Handle::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.spawn_local(controller.run(requests));
    // Workers that take what comes, and wake nobody.
    let until = |workers: &mut [FakeWorker], wanted| {
        for _ in 0..6000 {
            if state(&workers[0], WEB2) == wanted {
                return;
            }
            local.block_on(&runtime, async {
                tokio::time::sleep(Duration::from_millis(10)).await
            });
            workers.iter_mut().for_each(FakeWorker::poll);
        }
        panic!("web2 does not become {wanted:?}");
    };
    // It is up in any case until it was found down.
    until(&mut workers, ServerState::Up);
    drop(listener);
    until(&mut workers, ServerState::Draining);
    let _listener = std::net::TcpListener::bind(address).expect("the port is free again");
    until(&mut workers, ServerState::Up);
}

#[test]
fn what_checks_find_reaches_workers_events_and_the_api() {
    let (mut controller, mut workers) = controller(WHOLE);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let check = "[system]\nworkers = [0]\n\
                 [[port]]\nname = 'p'\ndevice = 'net_null0'\nzone = 'z'\n[[health_check]]\nname = 'alive'\ntype = 'tcp'\n\
                 interval = '100ms'\nrise = 1\nfall = 2\n";
    let check = Config::read(Source::toml(check))
        .expect("a check")
        .health_checks[0]
        .clone();
    let key = Key {
        server: "web/web2".to_owned(),
        check: "alive".to_owned(),
    };
    let target = Target {
        address,
        host: None,
        check: Arc::new(check),
    };
    controller.use_checker(Checker::start(None, None).expect("a thread"));
    let targets = Targets {
        all: [(key.clone(), target)].into(),
    };
    let checker = controller.checker.as_ref().expect("it was given");
    checker.apply(targets);
    let board: Arc<Board> = Arc::clone(checker.board());
    let verdict = |board: &Board| board.rows()[&key].machine.verdict();
    while verdict(&board) != Verdict::Up {
        std::thread::sleep(Duration::from_millis(5));
    }
    controller.poll(Instant::now());
    let filter = |health| HealthFilter {
        pool: Some("web".to_owned()),
        health,
    };
    let Ok(Outcome::Health(health)) = answer(submit(
        &mut controller,
        Action::Health(filter(Some(Verdict::Up))),
    )) else {
        panic!("health");
    };
    assert_eq!(health.servers.len(), 1, "web1 has no checks");
    let web2 = &health.servers[0];
    assert_eq!(
        (web2.name.as_str(), web2.configured, web2.state),
        ("web/web2", "up", "up")
    );
    assert_eq!(web2.checks[0].target, address.to_string());
    assert!(web2.checks[0].latency_ms.is_some() && web2.checks[0].error.is_none());

    drop(listener);
    await_changes(&mut controller, &mut workers, ServerState::Draining);
    let Ok(Outcome::Health(health)) = answer(submit(&mut controller, Action::Health(filter(None))))
    else {
        panic!("health");
    };
    let [web1, web2] = &health.servers[..] else {
        panic!("{health:#?}");
    };
    assert_eq!((web1.health, web1.state), (Verdict::Unknown, "draining"));
    assert_eq!((web2.health, web2.state), (Verdict::Down, "down"));
    assert_eq!(web2.passive, None, "nobody looks at its connections");
    assert!(web2.checks[0].error.is_some() && web2.checks[0].failed >= 2);
    assert!(health.checks[0].failures["refused"] >= 2);
    let Ok(Outcome::Stats(stats)) = answer(submit(&mut controller, Action::Stats)) else {
        panic!("stats");
    };
    assert_eq!(
        (stats.servers[1].state, stats.servers[1].health),
        ("down", Verdict::Down)
    );

    let events = controller.events().after(0, 100);
    let checks = events
        .iter()
        .filter(|event| event.kind.starts_with("health."));
    let last = checks.clone().next_back().expect("an event");
    let told: Vec<_> = checks
        .map(|event| (event.kind, event.details["server"].clone()))
        .collect();
    assert_eq!(
        told,
        [
            ("health.up", json!("web/web2")),
            ("health.down", json!("web/web2"))
        ]
    );
    assert_eq!(last.details["reason"], json!("refused"));
    assert_eq!(last.details["server_health"], json!("down"));

    let _listener = std::net::TcpListener::bind(address).expect("the port is free again");
    await_changes(&mut controller, &mut workers, ServerState::Up);
}
