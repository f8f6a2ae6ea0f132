//! The process is killed where it hurts: in the middle of commits, and while one waits to be
//! confirmed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_tests::alone::Alone;
use sluice_tests::wait;

const SERVER: &str = "/api/v1/config/pool/web/server/web1";

fn weight(alone: &Alone) -> u64 {
    alone.json(SERVER)["weight"].as_u64().expect("a weight")
}

#[test]
fn kill_9_in_the_middle_of_commits_leaves_the_old_or_the_new() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut alone = Alone::start(directory.path(), "");
    for round in 1..=4_u64 {
        let (asked, done) = (AtomicU64::new(0), AtomicU64::new(0));
        let (api, pid) = (alone.api(), alone.pid());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for weight in round * 200..1000 {
                    asked.store(weight, Ordering::SeqCst);
                    let body = format!("{{\"weight\":{weight}}}");
                    let answer = sluice_tests::http::request(api, "PATCH", SERVER, body.as_bytes());
                    // It is dead.
                    let Ok(answer) = answer else { return };
                    assert!([200, 202].contains(&answer.status), "{}", answer.text());
                    done.store(weight, Ordering::SeqCst);
                }
            });
            // It is at some step of the next one when it is killed.
            wait::expect("some commits", || {
                done.load(Ordering::SeqCst) > round * 200 + 5
            });
            alone.kill();
        });
        let (asked, done) = (asked.into_inner(), done.into_inner());
        alone.start_again();
        let now = weight(&alone);
        assert!(
            now == done || now == asked,
            "process {pid}: {now} is in use, {done} was done and {asked} asked for"
        );
        let history = alone.json("/api/v1/config/revisions");
        let revisions = history["revisions"].as_array().expect("revisions");
        assert_eq!(history["running"], revisions[0]["number"]);
        for revision in revisions {
            alone.json(&format!("/api/v1/config/revisions/{}", revision["number"]));
        }
    }
    alone.stop();
}

/// Whether an event of this kind has happened in this process.
fn happened(alone: &Alone, kind: &str) -> bool {
    let events = alone.json("/api/v1/events?limit=1000");
    let events = events["events"].as_array().expect("events");
    events.iter().any(|event| event["kind"] == kind)
}

fn put_on_trial(alone: &Alone, weight: u64, seconds: u64) {
    let path = format!("{SERVER}?confirm_seconds={seconds}");
    let answer = alone.ask("PATCH", &path, "", &format!("{{\"weight\":{weight}}}"));
    let answer = answer.expect("an answer");
    assert!([200, 202].contains(&answer.status), "{}", answer.text());
    let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(answer["result"], "trial");
}

#[test]
fn a_commit_that_nobody_confirms_goes_back_also_across_restarts_and_a_confirmed_one_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut alone = Alone::start(directory.path(), "");
    put_on_trial(&alone, 7, 1);
    wait::expect("it to go back", || weight(&alone) == 1);
    assert!(happened(&alone, "configuration.rolled_back"));

    // The process ends within the time: the rest of it is left.
    let begun = Instant::now();
    let seconds = 20;
    put_on_trial(&alone, 8, seconds);
    alone.kill();
    alone.start_again();
    if begun.elapsed() < Duration::from_secs(seconds - 1) {
        assert_eq!(weight(&alone), 8, "it is still on trial");
    }
    wait::expect("it to go back", || weight(&alone) == 1);
    assert!(
        begun.elapsed() >= Duration::from_secs(seconds - 1),
        "too early"
    );
    assert!(happened(&alone, "configuration.rolled_back"));

    // It is over before the process is back.
    put_on_trial(&alone, 9, 1);
    alone.kill();
    std::thread::sleep(Duration::from_secs(1));
    alone.start_again();
    assert_eq!(weight(&alone), 1, "nobody confirmed it");

    put_on_trial(&alone, 10, 600);
    let confirmed = alone.ask("POST", "/api/v1/config/confirm", "", "");
    assert_eq!(confirmed.expect("an answer").status, 200);
    alone.kill();
    alone.start_again();
    assert_eq!(weight(&alone), 10);
    alone.stop();
}
