//! Dry runs, trials, candidates, history, and changes of parts.

use serde_json::json;

use super::*;
use crate::config::edit::{Address, Edit, Operation, Part, Position};
use crate::security::{Audit, Search};
use crate::store::power_cut::{Luck, PowerCut};
use crate::store::{HISTORY, Store};

const SERVER: [&str; 2] = ["web", "web1"];

fn server(pool: &str, name: &str) -> Address {
    Address(vec![
        Part::Key("pool"),
        Part::Item(pool.to_owned()),
        Part::Key("server"),
        Part::Item(name.to_owned()),
    ])
}

fn edit(address: Address, operation: Operation) -> What {
    What::Edit(Edit {
        address,
        operation,
        position: Position::Keep,
    })
}

pub(super) fn weight(weight: u16) -> What {
    let [pool, name] = SERVER;
    edit(
        server(pool, name),
        Operation::Merge(json!({ "weight": weight })),
    )
}

/// Does it, and lets it come into force.
pub(super) fn done(
    controller: &mut Controller,
    workers: &mut [FakeWorker],
    action: Action,
) -> Result<Outcome, ActionError> {
    let answered = submit(controller, action);
    settle(controller, workers);
    answer(answered)
}

fn result(outcome: Result<Outcome, ActionError>) -> Verdict {
    match outcome {
        Ok(Outcome::Committed(committed)) => committed.result,
        other => panic!("{other:?}"),
    }
}

fn text(controller: &mut Controller) -> String {
    match answer(submit(controller, Action::ReadConfig)) {
        Ok(Outcome::Config { config, .. }) => config.to_toml(),
        other => panic!("{other:?}"),
    }
}

pub(super) fn weight_of(controller: &Controller) -> u16 {
    controller.config.pools[0].servers[0].weight
}

fn kinds(controller: &Controller) -> Vec<&'static str> {
    let events = controller.events().after(0, usize::MAX);
    let kinds = events.iter().map(|event| event.kind);
    kinds
        .filter(|kind| kind.starts_with("configuration"))
        .collect()
}

#[test]
fn the_same_again_changes_nothing() {
    let (mut controller, mut workers) = controller(WHOLE);
    let mut again = |what| {
        let (controller, workers) = (&mut controller, &mut workers);
        result(done(controller, workers, change(what, Terms::default())))
    };
    assert_eq!(again(What::Replace(Source::toml(WHOLE))), Verdict::NoChange);
    let json = serde_json::to_string(&toml::from_str::<toml::Table>(WHOLE).expect("TOML"));
    let json = json.expect("plain values");
    assert_eq!(again(What::Replace(Source::json(json))), Verdict::NoChange);
    assert_eq!(again(weight(3)), Verdict::NoChange);
    assert_eq!(again(weight(4)), Verdict::Committed);
    assert_eq!(again(weight(4)), Verdict::NoChange);
    assert_eq!(status(&mut controller).latest_epoch, 2);
}

#[test]
fn a_dry_run_says_what_would_be_and_does_nothing() {
    let (mut controller, mut workers) = controller(WHOLE);
    let pool = controller
        .registry
        .server_by_name("web/web1")
        .expect("it is there");
    workers[0].side.publisher.publish(|writer| {
        writer.add(Slot::Server(pool, FlowCounter::Opened), 9);
        writer.add(Slot::Server(pool, FlowCounter::Ended), 2);
        writer.add(Slot::Worker(WorkerCounter::SessionsV4), 20);
    });
    let dry = || Terms {
        dry_run: true,
        ..Terms::default()
    };
    let [pool, name] = SERVER;
    let down = edit(
        server(pool, name),
        Operation::Merge(json!({ "state": "down" })),
    );
    let would = committed(submit(&mut controller, change(down, dry())));
    assert_eq!(would.result, Verdict::Valid);
    assert_eq!(
        json!(would.changes)[0]["path"],
        "pool[web].server[web1].state"
    );
    assert_eq!(
        json!(would.touched),
        json!({ "sessions_at_most": 7, "policy": false, "services": [],
                "servers": [{ "name": "web/web1", "sessions": 7 }] })
    );
    let wrong = answer(submit(&mut controller, change(weight(2000), dry())));
    assert!(matches!(wrong, Err(ActionError::Part { .. })), "{wrong:?}");
    settle(&mut controller, &mut workers);
    assert_eq!(text(&mut controller), WHOLE);
    assert_eq!(
        (workers[0].side.snapshot.epoch, kinds(&controller).len()),
        (1, 0)
    );
}

#[test]
fn a_trial_that_nobody_confirms_is_undone_by_itself() {
    let (controller, mut workers) = controller(WHOLE);
    let audit = Arc::new(Audit::open(None).expect("memory"));
    let mut controller = controller.with_audit(Arc::clone(&audit));
    let terms = |seconds| Terms {
        confirm_seconds: Some(seconds),
        ..Terms::default()
    };
    let tried = done(&mut controller, &mut workers, change(weight(9), terms(60)));
    assert_eq!(result(tried), Verdict::Trial);
    let other = answer(submit(&mut controller, change(weight(8), Terms::default())));
    assert_eq!(other.err(), Some(ActionError::Unconfirmed));
    controller.poll(Instant::now() + Duration::from_secs(59));
    assert_eq!(weight_of(&controller), 9);
    controller.poll(Instant::now() + Duration::from_secs(61));
    settle(&mut controller, &mut workers);
    assert_eq!(text(&mut controller), WHOLE);
    assert_eq!(
        workers[1].side.snapshot.epoch, 3,
        "the workers have heard of it"
    );
    let weights: Vec<u16> = workers[1]
        .side
        .snapshot
        .servers
        .iter()
        .flatten()
        .map(|server| server.weight)
        .collect();
    assert_eq!(weights[0], 3);
    assert_eq!(
        kinds(&controller),
        ["configuration.trial", "configuration.rolled_back"]
    );
    let records = audit.find(&Search::default(), 9).0;
    let told = records
        .iter()
        .map(|it| (it.user.as_str(), it.path.as_str(), it.status));
    let wanted = ("timer", "revision 2 of ann, not confirmed in time", 200);
    assert_eq!(told.collect::<Vec<_>>(), [wanted], "nobody asked for it");
    let late = answer(submit(&mut controller, Action::Confirm("ann".to_owned())));
    assert_eq!(late.err(), Some(ActionError::NothingToConfirm));
}

#[test]
fn a_trial_is_confirmed_or_reverted_by_hand() {
    let (mut controller, mut workers) = controller(WHOLE);
    let terms = || Terms {
        confirm_seconds: Some(60),
        comment: "more".to_owned(),
        ..Terms::default()
    };
    let long_after = Instant::now() + Duration::from_secs(3600);
    done(&mut controller, &mut workers, change(weight(9), terms())).expect("a trial");
    let confirm = Action::Confirm("bob".to_owned());
    assert_eq!(
        result(done(&mut controller, &mut workers, confirm)),
        Verdict::Committed
    );
    controller.poll(long_after);
    assert_eq!(weight_of(&controller), 9);
    let revisions = controller.revisions();
    let running = &revisions.revisions[0];
    assert_eq!((running.number, running.author.as_str()), (2, "ann"));
    assert_eq!(
        (running.comment.as_str(), revisions.confirmation),
        ("more", None)
    );

    done(&mut controller, &mut workers, change(weight(5), terms())).expect("a trial");
    let revert = Action::Revert("bob".to_owned());
    assert_eq!(
        result(done(&mut controller, &mut workers, revert)),
        Verdict::RolledBack
    );
    assert_eq!(weight_of(&controller), 9);
}

#[test]
fn every_revision_can_be_had_again() {
    let (mut controller, mut workers) = controller(WHOLE);
    for n in 1..=60 {
        done(
            &mut controller,
            &mut workers,
            change(weight(n), Terms::default()),
        )
        .expect("good");
    }
    let revisions = controller.revisions();
    let numbers: Vec<u64> = revisions
        .revisions
        .iter()
        .map(|known| known.number)
        .collect();
    assert_eq!((numbers.len(), numbers[0]), (HISTORY, 61));
    let back = change(What::Rollback(30), Terms::default());
    let back = done(&mut controller, &mut workers, back);
    assert_eq!(result(back), Verdict::Committed);
    assert_eq!(weight_of(&controller), 29);
    let gone = answer(submit(
        &mut controller,
        change(What::Rollback(2), Terms::default()),
    ));
    assert_eq!(gone.err(), Some(ActionError::NoRevision(2)));
    let from = Which::Revision(40);
    let Ok(Outcome::Differences(changes)) = answer(submit(
        &mut controller,
        Action::Compare {
            from,
            to: Which::Running,
        },
    )) else {
        panic!("differences");
    };
    assert_eq!(
        json!(changes),
        json!([{ "op": "change", "path": "pool[web].server[web1].weight", "old": 39, "new": 29 }])
    );
}

#[test]
fn a_candidate_is_prepared_in_peace_and_committed_at_once() {
    let (mut controller, mut workers) = controller(WHOLE);
    let prepare = |what| {
        let Action::Change(mut change) = change(what, Terms::default()) else {
            panic!("a change");
        };
        change.target = Target::Candidate;
        Action::Change(change)
    };
    let commit = |terms| change(What::Candidate, terms);
    let nothing = answer(submit(&mut controller, commit(Terms::default())));
    assert_eq!(nothing.err(), Some(ActionError::NoCandidate));

    assert_eq!(
        result(answer(submit(&mut controller, prepare(weight(5))))),
        Verdict::Candidate
    );
    let pool = Address(vec![Part::Key("pool"), Part::Item("mail".to_owned())]);
    let unfinished = edit(
        pool.clone(),
        Operation::Put(json!({ "server": [{ "name": "m" }] })),
    );
    answer(submit(&mut controller, prepare(unfinished))).expect("values are checked later");
    let wrong = answer(submit(&mut controller, commit(Terms::default())));
    assert!(matches!(wrong, Err(ActionError::Config(_))), "{wrong:?}");
    answer(submit(
        &mut controller,
        prepare(edit(pool, Operation::Delete)),
    ))
    .expect("it is there");
    assert_eq!(text(&mut controller), WHOLE, "nothing is in use yet");

    let dry = Terms {
        dry_run: true,
        ..Terms::default()
    };
    assert_eq!(
        committed(submit(&mut controller, commit(dry)))
            .changes
            .len(),
        1
    );
    let done_at_last = done(&mut controller, &mut workers, commit(Terms::default()));
    assert_eq!(result(done_at_last), Verdict::Committed);
    assert_eq!(weight_of(&controller), 5);

    // Somebody else is faster.
    answer(submit(&mut controller, prepare(weight(6)))).expect("a candidate");
    done(
        &mut controller,
        &mut workers,
        change(weight(7), Terms::default()),
    )
    .expect("good");
    let late = answer(submit(&mut controller, commit(Terms::default())));
    assert_eq!(late.err(), Some(ActionError::Outrun));
    assert_eq!(weight_of(&controller), 7);
}

#[test]
fn a_tag_is_of_its_part_alone() {
    let (mut controller, mut workers) = controller(WHOLE);
    let part = |name: &str| {
        Action::ReadPart(PartOf {
            which: Which::Running,
            address: server("web", name),
        })
    };
    let tag = |controller: &mut Controller, name| match answer(submit(controller, part(name))) {
        Ok(Outcome::Part(part)) => part.tag,
        other => panic!("{other:?}"),
    };
    let (first, second) = (tag(&mut controller, "web1"), tag(&mut controller, "web2"));
    let expecting = |tag: &str| Terms {
        expected: Expected::Tags(vec![tag.to_owned()]),
        ..Terms::default()
    };
    done(
        &mut controller,
        &mut workers,
        change(weight(4), expecting(&first)),
    )
    .expect("it is so");
    assert_eq!(
        tag(&mut controller, "web2"),
        second,
        "the other one did not change"
    );
    let late = answer(submit(
        &mut controller,
        change(weight(5), expecting(&first)),
    ));
    assert!(matches!(late, Err(ActionError::Stale { .. })), "{late:?}");
}

#[test]
fn parts_come_and_go_and_faults_point_into_what_was_sent() {
    let (mut controller, mut workers) = controller(WHOLE);
    let mut act = |what| {
        done(
            &mut controller,
            &mut workers,
            change(what, Terms::default()),
        )
    };
    let new = json!({ "address": "10.0.0.13", "weight": 2 });
    let made = act(edit(server("web", "web3"), Operation::Put(new)));
    assert!(matches!(made, Ok(Outcome::Committed(done)) if done.created));
    let renamed = act(edit(
        server("web", "web3"),
        Operation::Put(json!({ "name": "web4" })),
    ));
    assert!(
        matches!(&renamed, Err(ActionError::Body { pointer, .. }) if pointer == "/name"),
        "{renamed:?}"
    );
    let wrong = act(edit(
        server("web", "web3"),
        Operation::Merge(json!({ "wieght": 2 })),
    ));
    let Err(ActionError::Part { why, part }) = wrong else {
        panic!("{wrong:?}");
    };
    assert_eq!(why.problems[0].finding.remedy, "did you mean `weight`?");
    assert_eq!(
        part.map(|part| part.pointer()).as_deref(),
        Some("/pool/0/server/2")
    );
    let pool = Address(vec![Part::Key("pool"), Part::Item("web".to_owned())]);
    let used = act(edit(pool, Operation::Delete));
    let Err(ActionError::Part { why, part: None }) = used else {
        panic!("{used:?}");
    };
    assert_eq!(
        why.problems[0].finding.path.to_string(),
        "virtual_server[0].pool"
    );
    act(edit(server("web", "web3"), Operation::Delete)).expect("it is there");
    let gone = act(edit(server("web", "web3"), Operation::Delete));
    assert!(matches!(gone, Err(ActionError::NoPart(_))), "{gone:?}");
    assert_eq!(text(&mut controller), WHOLE, "and not a byte is left of it");
}

#[test]
fn rules_go_where_they_are_put() {
    let (mut controller, mut workers) = controller(WHOLE);
    let mut put = |name: &str, position| {
        let address = Address(vec![Part::Key("snat"), Part::Item(name.to_owned())]);
        let what = What::Edit(Edit {
            address,
            operation: Operation::Put(json!({ "keep": true })),
            position,
        });
        done(
            &mut controller,
            &mut workers,
            change(what, Terms::default()),
        )
    };
    put("a", Position::First).expect("good");
    put("b", Position::Before("internet".to_owned())).expect("good");
    put("c", Position::After("a".to_owned())).expect("good");
    put("d", Position::Keep).expect("good");
    put("a", Position::Last).expect("good");
    let lost = put("e", Position::Before("nobody".to_owned()));
    assert!(matches!(lost, Err(ActionError::NoPart(_))), "{lost:?}");
    let names: Vec<&str> = controller
        .config
        .snat
        .iter()
        .map(|rule| rule.name.as_str())
        .collect();
    assert_eq!(names, ["c", "not-to-dmz", "b", "internet", "d", "a"]);
    let text = text(&mut controller);
    assert_eq!(
        Source::toml(text).parse().as_ref(),
        Ok(&controller.config.raw)
    );
}

#[test]
fn a_disk_that_refuses_keeps_the_configuration_in_use() {
    let disk = PowerCut::default();
    disk.after(usize::MAX);
    let mut store = Store::open(Box::new(disk.clone())).expect("power");
    store.commit("file", "", WHOLE).expect("power");
    let (controller, mut workers) = controller(WHOLE);
    let mut controller = controller.with_store(store, None);
    for steps in 0..8 {
        disk.after(steps);
        for seconds in [None, Some(60)] {
            let terms = Terms {
                confirm_seconds: seconds,
                ..Terms::default()
            };
            let refused = done(&mut controller, &mut workers, change(weight(9), terms));
            // A trial takes four steps, a commit eight.
            if let Ok(Outcome::Committed(committed)) = &refused {
                assert_eq!((committed.result, steps >= 4), (Verdict::Trial, true));
                disk.after(usize::MAX);
                let revert = Action::Revert("ann".to_owned());
                done(&mut controller, &mut workers, revert).expect("power");
                disk.after(0);
                continue;
            }
            assert!(
                matches!(refused, Err(ActionError::NotStored(_))),
                "{refused:?}"
            );
            assert_eq!(weight_of(&controller), 3);
            disk.after(0);
        }
    }
    assert_eq!(
        workers[0].side.snapshot.servers[1]
            .as_ref()
            .map(|server| server.weight),
        Some(3)
    );
    let found = Store::open(Box::new(disk.restart(Luck::None))).expect("power");
    assert_eq!(found.text(1).as_deref(), Ok(WHOLE));
}
