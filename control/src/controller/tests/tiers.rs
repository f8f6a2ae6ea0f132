//! Who takes new sessions, and what is told of it.

use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::health::Verdict;

const WEB: [ServerId; 2] = [ServerId(1), ServerId(2)];

/// web1 of priority 9, web2 of 5 and with two sessions at most, and what else the virtual server says.
fn grouped(settings: &str) -> String {
    let text = WHOLE.replace("state = \"draining\"\n", "");
    let text = text.replace(
        "address = \"10.0.0.11\"\n",
        "address = \"10.0.0.11\"\npriority = 9\n",
    );
    let text = text.replace(
        "address = \"10.0.0.12\"\n",
        "address = \"10.0.0.12\"\npriority = 5\nmax_sessions = 2\n",
    );
    let wanted = format!("pool = \"web\"\nmode = \"fullnat\"\n{settings}\n");
    text.replace("pool = \"web\"\nmode = \"fullnat\"\n", &wanted)
}

fn opened(worker: &mut FakeWorker, server: ServerId, more: u64) {
    let slot = Slot::Server(server, FlowCounter::Opened);
    worker
        .side
        .publisher
        .publish(|writer| writer.add(slot, more));
}

fn ended(worker: &mut FakeWorker, server: ServerId, more: u64) {
    let slot = Slot::Server(server, FlowCounter::Ended);
    worker
        .side
        .publisher
        .publish(|writer| writer.add(slot, more));
}

fn come(controller: &mut Controller, workers: &mut [FakeWorker], now: Instant) {
    for _ in 0..4 {
        controller.poll(now);
        workers.iter_mut().for_each(FakeWorker::poll);
    }
}

fn ask(controller: &mut Controller) -> Tiers {
    let Ok(Outcome::Tiers(mut all)) = answer(submit(controller, Action::ListTiers(None))) else {
        panic!("tiers");
    };
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// What was told since event `after`: severity and message.
fn told(controller: &Controller, after: &mut u64) -> Vec<(Severity, String)> {
    let events = controller.events().after(*after, 100);
    *after = controller.events().last();
    let of = |kind: &'static str| move |event: &&Arc<crate::events::Event>| event.kind == kind;
    let ours = events.iter().filter(of("virtual_server.tier"));
    ours.map(|event| {
        assert_eq!(event.details["virtual_server"], Value::from("web"));
        (event.severity, event.message.clone())
    })
    .collect()
}

#[test]
fn each_change_of_who_takes_sessions_is_told_with_the_reason() {
    let redirect = "redirect = { url = \"https://status.example.com/\" }";
    let (mut controller, mut workers) = controller(&grouped(redirect));
    let begin = Instant::now();
    let at = |ms: u64| begin + Duration::from_millis(ms);
    let mut seen = 0;
    come(&mut controller, &mut workers, at(10));
    assert_eq!(told(&controller, &mut seen), [], "it has always been so");
    let first = ask(&mut controller);
    assert_eq!((first.taker, first.why.as_str()), (Taker::Pool, ""));
    assert_eq!((first.available, first.min_up), (1, 1));
    let tiers: Vec<_> = first
        .tiers
        .iter()
        .map(|tier| (tier.priorities.clone(), tier.in_use, tier.servers.len()))
        .collect();
    assert_eq!(tiers, [(vec![9], true, 1), (vec![5], false, 1)]);

    // The lower group comes in at once, and takes two.
    controller.standings().set_active(WEB[0], Verdict::Down);
    come(&mut controller, &mut workers, at(20));
    let (warning, info) = (Severity::Warning, Severity::Info);
    let joined = "web: new sessions go to its pool, priorities 9, 5";
    assert_eq!(told(&controller, &mut seen), [(info, joined.to_owned())]);
    opened(&mut workers[0], WEB[1], 1);
    opened(&mut workers[1], WEB[1], 1);
    come(&mut controller, &mut workers, at(30));
    assert_eq!(
        told(&controller, &mut seen),
        [],
        "limits are looked at once a second"
    );
    come(&mut controller, &mut workers, at(2_000));
    let full = "web: its clients are redirected; \
                pool, priorities 9, 5: 1 of 1 that take sessions are full";
    assert_eq!(told(&controller, &mut seen), [(warning, full.to_owned())]);
    let now = ask(&mut controller);
    assert_eq!(now.taker, Taker::Redirect);
    assert!(full.ends_with(&now.why), "{}", now.why);
    assert!(now.since >= first.since);
    assert!(now.tiers.iter().all(|tier| !tier.in_use));

    // One goes: for five seconds nobody says so, and only if none comes in its place.
    ended(&mut workers[0], WEB[1], 1);
    for ms in [3_100, 7_900] {
        come(&mut controller, &mut workers, at(ms));
        assert_eq!(told(&controller, &mut seen), []);
    }
    opened(&mut workers[0], WEB[1], 1);
    come(&mut controller, &mut workers, at(9_000));
    ended(&mut workers[0], WEB[1], 1);
    for ms in [10_100, 12_000, 15_000] {
        come(&mut controller, &mut workers, at(ms));
        assert_eq!(told(&controller, &mut seen), []);
    }
    come(&mut controller, &mut workers, at(16_100));
    assert_eq!(told(&controller, &mut seen), [(info, joined.to_owned())]);

    // Both are down, and then the first is back.
    controller.standings().set_active(WEB[1], Verdict::Down);
    come(&mut controller, &mut workers, at(16_110));
    let none = "web: its clients are redirected; \
                pool, priorities 9, 5: none of 2 takes sessions";
    assert_eq!(told(&controller, &mut seen), [(warning, none.to_owned())]);
    controller.standings().set_active(WEB[0], Verdict::Up);
    come(&mut controller, &mut workers, at(16_120));
    let back = "web: new sessions go to its pool, priority 9";
    assert_eq!(told(&controller, &mut seen), [(info, back.to_owned())]);
}

#[test]
fn a_commit_that_takes_the_last_resort_away_leaves_nobody() {
    let sorry = "sorry_server = { address = \"10.0.0.99\" }";
    let (mut controller, mut workers) = controller(&grouped(sorry));
    let mut seen = 0;
    settle(&mut controller, &mut workers);
    for id in WEB {
        controller.standings().set_active(id, Verdict::Down);
    }
    settle(&mut controller, &mut workers);
    let why = "pool, priorities 9, 5: none of 2 takes sessions";
    let message = |what: &str| format!("web: {what}; {why}");
    let sorry = message("new sessions go to its sorry server");
    assert_eq!(told(&controller, &mut seen), [(Severity::Warning, sorry)]);
    let tiers = ask(&mut controller).tiers;
    assert_eq!(
        tiers.last().map(|tier| tier.servers[0].name.as_str()),
        Some("sorry:web")
    );
    submit(&mut controller, replace(&grouped("")));
    settle(&mut controller, &mut workers);
    let nobody = message("nobody takes new sessions");
    assert_eq!(told(&controller, &mut seen), [(Severity::Error, nobody)]);
    let tiers = ask(&mut controller);
    assert_eq!((tiers.taker, tiers.tiers.len()), (Taker::Nobody, 1));
    // Also after the states of servers were taken up again.
    controller.standings().set_active(WEB[0], Verdict::Up);
    settle(&mut controller, &mut workers);
    controller.standings().set_active(WEB[0], Verdict::Down);
    settle(&mut controller, &mut workers);
    assert_eq!(ask(&mut controller).tiers.len(), 1);
}
