//! The process is killed in the middle of commits, and what it said was done is there.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use sluice_control::store::{Directory, Store};

const PLACE: &str = "SLUICE_TEST_KILL";

fn text(number: u64) -> String {
    format!(
        "# {number}\n{}",
        "x = 1\n".repeat(number as usize % 7 * 100)
    )
}

/// Commits for ever, and says so each time; only as a child of the test below.
#[test]
fn child() {
    let Some(place) = std::env::var_os(PLACE) else {
        return;
    };
    let directory = Directory::open(place.as_ref()).expect("a directory");
    let mut store = Store::open(Box::new(directory)).expect("a store that is whole");
    loop {
        let next = store.running().map_or(1, |running| running.number + 1);
        let kept = store.commit("child", "", &text(next)).expect("room");
        println!("committed {}", kept.number);
    }
}

#[test]
fn what_was_committed_survives_kill_9_and_what_was_not_leaves_no_trace() {
    let place = tempfile::tempdir().expect("a directory");
    let myself = std::env::current_exe().expect("a test");
    let mut said = 0;
    for round in 0..25 {
        let mut child = Command::new(&myself)
            .args(["--exact", "child", "--nocapture"])
            .env(PLACE, place.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let commits = lines.map_while(Result::ok).filter_map(|line| {
            let (_, number) = line.split_once("committed ")?;
            number.parse::<u64>().ok()
        });
        // It is at some step of the next one when it is killed.
        said = commits.take(1 + round % 5).last().expect("it commits");
        child.kill().expect("SIGKILL");
        child.wait().expect("it is gone");
        let directory = Directory::open(place.path()).expect("nobody has it any more");
        let store = Store::open(Box::new(directory)).expect("a store that is whole");
        let running = store.running().expect("the last commit").number;
        assert!(
            running >= said,
            "{running} is before {said}, which was said to be done"
        );
        for revision in store.history() {
            assert_eq!(store.text(revision.number), Ok(text(revision.number)));
        }
    }
    assert!(said > 25);
}
