//! The controller without threads: what workers say is moved by hand.

mod health;
mod next;
mod passive;
mod questions;
mod tiers;
mod transactions;

use sluice_dataplane::published::{FlowCounter, PortCounter, Slot, WorkerCounter};
use sluice_dataplane::snapshot::ServerId;
use tokio::sync::oneshot;

use super::*;
use crate::config::Source;
use crate::testing::{FakeWorker, WHOLE, controller};

type Answered = oneshot::Receiver<Result<Outcome, ActionError>>;

fn submit(controller: &mut Controller, action: Action) -> Answered {
    let (answer, answered) = oneshot::channel();
    controller.submit(action, answer, Instant::now());
    answered
}

fn answer(mut answered: Answered) -> Result<Outcome, ActionError> {
    answered.try_recv().expect("an answer")
}

/// Lets mail go back and forth until nothing moves any more.
fn settle(controller: &mut Controller, workers: &mut [FakeWorker]) {
    for _ in 0..100 {
        for worker in workers.iter_mut() {
            worker.poll();
        }
        controller.poll(Instant::now());
    }
}

fn change(what: What, terms: Terms) -> Action {
    let target = Target::Running;
    let terms = Terms {
        author: "ann".to_owned(),
        ..terms
    };
    Action::Change(Box::new(Change {
        what,
        target,
        terms,
    }))
}

fn replace(text: &str) -> Action {
    change(What::Replace(Source::toml(text)), Terms::default())
}

/// The same values in another text, different for each `n`.
fn another(n: usize) -> String {
    format!("{WHOLE}\n# {n}\n")
}

fn committed(answered: Answered) -> Committed {
    match answer(answered) {
        Ok(Outcome::Committed(committed)) => *committed,
        other => panic!("{other:?}"),
    }
}

fn status(controller: &mut Controller) -> Status {
    match answer(submit(controller, Action::Status)) {
        Ok(Outcome::Status(status)) => *status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_change_is_in_force_once_every_worker_has_taken_it() {
    let (mut controller, mut workers) = controller(WHOLE);
    let text = WHOLE.replace("weight = 3", "weight = 4");
    let mut answered = submit(&mut controller, replace(&text));
    workers[0].poll();
    controller.poll(Instant::now());
    assert!(answered.try_recv().is_err(), "worker 1 has not");
    let now = status(&mut controller);
    assert_eq!((now.epoch, now.latest_epoch), (1, 2));
    assert_eq!((now.workers[0].epoch, now.workers[1].epoch), (2, 1));

    settle(&mut controller, &mut workers);
    let done = committed(answered);
    assert_eq!((done.epoch, done.revision, done.in_force), (2, 2, true));
    assert_eq!(done.result, Verdict::Committed);
    assert_eq!(status(&mut controller).epoch, 2);
    let Ok(Outcome::Config { config, epoch, .. }) =
        answer(submit(&mut controller, Action::ReadConfig))
    else {
        panic!("a configuration");
    };
    assert_eq!((config.to_toml(), epoch), (text, 2));
}

#[test]
fn old_snapshots_are_dropped_by_control_and_nobody_else() {
    let (mut controller, mut workers) = controller(WHOLE);
    let first = Arc::downgrade(&workers[0].side.snapshot);
    submit(&mut controller, replace(&another(1)));
    for worker in &mut workers {
        worker.poll();
    }
    // Both workers gave it back, and it lives on in their mailboxes.
    assert_eq!(first.strong_count(), 2);
    controller.poll(Instant::now());
    assert_eq!(first.strong_count(), 0);
}

#[test]
fn a_worker_that_does_not_take_a_change_delays_the_answer_but_not_for_ever() {
    let (mut controller, mut workers) = controller(WHOLE);
    let answered = submit(&mut controller, replace(&another(1)));
    workers[0].poll();
    controller.poll(Instant::now() + ADOPTION);
    let done = committed(answered);
    assert_eq!((done.epoch, done.in_force), (2, false));
    // It takes it later, together with the next one.
    submit(&mut controller, replace(&another(2)));
    settle(&mut controller, &mut workers);
    assert_eq!(status(&mut controller).epoch, 3);
}

#[test]
fn a_wrong_configuration_changes_nothing() {
    let (mut controller, mut workers) = controller(WHOLE);
    let wrong = WHOLE.replace("pool = \"web\"", "pool = \"wbe\"");
    let refused = answer(submit(&mut controller, replace(&wrong)));
    assert!(
        matches!(refused, Err(ActionError::Config(_))),
        "{refused:?}"
    );
    let refused = answer(submit(
        &mut controller,
        replace(&WHOLE.replace("workers = [0, 1]", "workers = [0, 2]")),
    ));
    assert!(
        matches!(refused, Err(ActionError::NeedsRestart { .. })),
        "{refused:?}"
    );
    let refused = answer(submit(
        &mut controller,
        change(
            What::Replace(Source::toml(another(1))),
            Terms {
                expected: Expected::Tags(vec!["7".to_owned()]),
                ..Terms::default()
            },
        ),
    ));
    assert!(
        matches!(refused, Err(ActionError::Stale { current: Some(_) })),
        "{refused:?}"
    );
    settle(&mut controller, &mut workers);
    assert_eq!(workers[0].side.snapshot.epoch, 1);
    assert_eq!(status(&mut controller).latest_epoch, 1);
}

#[test]
fn more_changes_than_a_mailbox_holds_arrive_in_order() {
    let (mut controller, mut workers) = controller(WHOLE);
    for n in 0..40 {
        submit(&mut controller, replace(&another(n)));
    }
    // Nobody waits for those answers any more, and the next ones find room.
    controller.poll(Instant::now());
    for n in 40..80 {
        submit(&mut controller, replace(&another(n)));
    }
    controller.poll(Instant::now());
    settle(&mut controller, &mut workers);
    assert_eq!(workers[1].side.snapshot.epoch, 81);
    assert_eq!(status(&mut controller).epoch, 81);
}

#[test]
fn counters_are_shown_by_name_and_add_up() {
    let (mut controller, mut workers) = controller(WHOLE);
    let count = |worker: &mut FakeWorker, counts: &[(Slot, u64)]| {
        worker.side.publisher.publish(|writer| {
            for &(slot, n) in counts {
                writer.add(slot, n);
            }
        });
    };
    use WorkerCounter::{Forwarded, HandedOver, Held, Received, SessionsV4, TakenOver};
    let drop = Slot::Drop(sluice_dataplane::counters::DropReason::Denied);
    let vs = workers[0].side.snapshot.virtual_servers[0].service;
    count(
        &mut workers[0],
        &[
            (Slot::Worker(Received), 10),
            (Slot::Worker(Forwarded), 5),
            (Slot::Worker(HandedOver), 4),
            (drop, 1),
            (Slot::Worker(SessionsV4), 3),
            (Slot::Port(PortId(2), PortCounter::RxFrames), 10),
            (Slot::Service(vs, FlowCounter::Opened), 9),
            (Slot::Service(vs, FlowCounter::Ended), 2),
        ],
    );
    count(
        &mut workers[1],
        &[
            (Slot::Worker(TakenOver), 3),
            (Slot::Worker(Held), 1),
            (Slot::Worker(Forwarded), 2),
            (Slot::Server(ServerId(2), FlowCounter::PacketsReply), 6),
        ],
    );
    let Ok(Outcome::Stats(stats)) = answer(submit(&mut controller, Action::Stats)) else {
        panic!("stats");
    };
    let json = serde_json::to_value(&stats).expect("plain values");
    let total = &json["total"];
    // Four were handed over and three taken: one is in the ring, and one waits.
    assert_eq!((&total["held"], &total["waiting"]), (&2.into(), &1.into()));
    assert_eq!(
        (&total["received"], &total["forwarded"]),
        (&10.into(), &7.into())
    );
    assert_eq!(total["dropped"]["denied"], 1);
    assert_eq!(total["dropped"]["no_route"], 0);
    let workers: Vec<&serde_json::Value> =
        json["workers"].as_array().expect("a list").iter().collect();
    assert_eq!(
        (&workers[0]["held"], &workers[1]["held"]),
        (&4.into(), &(-2).into())
    );
    for worker in workers.into_iter().chain([total]) {
        let n = |key: &str| worker[key].as_i64().expect("a number");
        let dropped = worker["dropped"].as_object().expect("a table").values();
        let dropped: i64 = dropped.filter_map(serde_json::Value::as_i64).sum();
        let ended = n("forwarded") + n("redirected") + n("punted") + n("consumed");
        assert_eq!(n("received"), ended + dropped + n("held"), "{worker:#}");
    }
    assert_eq!(json["ports"][2]["name"], "dmz");
    assert_eq!(json["ports"][2]["rx_frames"], 10);
    let services = json["services"].as_array().expect("a list");
    let web = services
        .iter()
        .find(|s| s["kind"] == "virtual_server")
        .expect("web");
    assert_eq!((&web["name"], &web["sessions"]), (&"web".into(), &7.into()));
    assert_eq!(json["servers"][1]["name"], "web/web2");
    assert_eq!(json["servers"][1]["packets_reply"], 6);
    assert_eq!(json["servers"][0]["state"], "draining");
    assert_eq!(status(&mut controller).sessions.v4, 3);
}

#[test]
fn what_a_frame_costs_is_told_in_time_and_in_cycles_where_their_rate_is_known() {
    /// A counter of 2.5 GHz, and nothing else.
    struct Counter(NoDevices);
    impl Devices for Counter {
        fn link(&mut self, device: DeviceId) -> Link {
            self.0.link(device)
        }
        fn counters(&mut self, device: DeviceId) -> DeviceCounters {
            self.0.counters(device)
        }
        fn extended(&mut self, device: DeviceId) -> Vec<(String, u64)> {
            self.0.extended(device)
        }
        fn buffers(&mut self) -> Buffers {
            self.0.buffers()
        }
        fn tsc_hz(&self) -> Option<u64> {
            Some(2_500_000_000)
        }
    }
    let (mut controller, mut workers) = controller(WHOLE);
    workers[1].side.publisher.publish(|writer| {
        writer.add(Slot::Worker(WorkerCounter::Received), 10);
        writer.add(Slot::Worker(WorkerCounter::BusyNs), 1200);
        writer.add(Slot::Worker(WorkerCounter::Polls), 8);
        writer.add(Slot::Worker(WorkerCounter::BusyPolls), 2);
    });
    let states = |controller: &mut Controller| {
        let Ok(Outcome::Workers(states)) = answer(submit(controller, Action::ListWorkers)) else {
            panic!("workers");
        };
        serde_json::to_value(&states).expect("plain values")
    };
    let unknown = states(&mut controller);
    assert_eq!(unknown[1]["ns_per_frame"], 120.0);
    assert_eq!(unknown[1]["busy_share"], 0.25);
    assert_eq!(unknown[1]["cycles_per_frame"], serde_json::Value::Null);
    controller.devices = Box::new(Counter(NoDevices));
    let known = states(&mut controller);
    assert_eq!(known[1]["cycles_per_frame"], 300.0);
    // One that has received nothing.
    assert_eq!(known[0]["cycles_per_frame"], 0.0);
    assert_eq!(known[0]["tsc_hz"], 2_500_000_000_u64);
}

#[test]
fn a_port_that_was_taken_out_is_not_shown() {
    let (mut controller, mut workers) = controller(WHOLE);
    let (head, tail) = WHOLE
        .split_once("[[port]]\nname = \"inside\"")
        .expect("it is there");
    let (_, tail) = tail
        .split_once("[[port]]\nname = \"dmz\"")
        .expect("it is there");
    let text = format!("{head}[[port]]\nname = \"dmz\"{tail}")
        .replace("\"inside\"", "\"dmz\"")
        .replace(
            "{ from = \"dmz\", to = \"dmz\" }",
            "{ from = \"dmz\", to = \"outside\" }",
        );
    submit(&mut controller, replace(&text));
    settle(&mut controller, &mut workers);
    let now = status(&mut controller);
    assert_eq!(now.epoch, 2);
    let names: Vec<&str> = now.ports.iter().map(|port| port.name.as_str()).collect();
    assert_eq!(names, ["outside", "dmz"]);
}

#[test]
fn events_of_workers_are_harmless() {
    let (mut controller, mut workers) = controller(WHOLE);
    workers[0].tell(Event::NeighbourLost {
        port: PortId(77),
        address: std::net::Ipv4Addr::new(10, 0, 0, 9).into(),
    });
    settle(&mut controller, &mut workers);
    assert_eq!(status(&mut controller).epoch, 1);
}
