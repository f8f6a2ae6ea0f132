//! The store across restarts and power cuts.

use super::power_cut::{Luck, PowerCut};
use super::*;

const EVERY_LUCK: [Luck; 3] = [Luck::None, Luck::Names, Luck::All];

fn open(disk: &PowerCut) -> Store {
    Store::open(Box::new(disk.clone())).expect("a disk that works")
}

fn text(store: &Store) -> String {
    let running = store.running().expect("a running configuration");
    store.text(running.number).expect("its text")
}

/// A disk with the revisions 1 and 2, whose texts are their numbers.
fn disk() -> PowerCut {
    let disk = PowerCut::default();
    disk.after(usize::MAX);
    let mut store = open(&disk);
    store.commit("ann", "first", "1").expect("power");
    store.commit("bob", "second", "2").expect("power");
    disk
}

/// Does something with the power cut after each number of steps, until it comes to its end.
fn at_every_step(
    prepare: impl Fn(&mut Store),
    doing: impl Fn(&mut Store) -> Result<(), StoreError>,
    check: impl Fn(&Store, bool),
) {
    for steps in 0.. {
        assert!(steps < 100, "it never comes to its end");
        let disk = disk();
        let mut store = open(&disk);
        prepare(&mut store);
        disk.after(steps);
        let done = doing(&mut store).is_ok();
        for luck in EVERY_LUCK {
            let found = disk.restart(luck);
            let store = open(&found);
            check(&store, done);
            // What was found is put in order: a second start finds the same.
            let again = open(&found.restart(Luck::None));
            assert_eq!(again.running(), store.running());
            assert_eq!(again.trial(), store.trial());
            assert!(again.history().eq(store.history()));
        }
        if done {
            return;
        }
    }
}

#[test]
fn a_power_cut_at_any_step_of_a_commit_leaves_the_old_or_the_new() {
    at_every_step(
        |_| {},
        |store| store.commit("cid", "third", "3").map(drop),
        |store, done| {
            let running = store.running().expect("one or the other").clone();
            match running.number {
                2 => assert!(!done, "it was said to be done"),
                3 => assert_eq!(
                    (running.author.as_str(), running.comment.as_str()),
                    ("cid", "third")
                ),
                other => panic!("{other}"),
            }
            for revision in store.history() {
                let number = revision.number;
                assert_eq!(store.text(number), Ok(number.to_string()));
            }
            assert_eq!(store.history().count() as u64, running.number);
            assert_eq!(store.trial(), None);
        },
    );
}

#[test]
fn a_power_cut_at_the_very_first_commit_leaves_nothing_or_all_of_it() {
    for steps in 0..8 {
        let disk = PowerCut::default();
        disk.after(usize::MAX);
        let mut store = open(&disk);
        disk.after(steps);
        let done = store.commit("ann", "", "1").is_ok();
        for luck in EVERY_LUCK {
            let store = open(&disk.restart(luck));
            match store.running() {
                Some(_) => assert_eq!(text(&store), "1"),
                None => assert!(!done),
            }
        }
    }
}

#[test]
fn a_power_cut_at_any_step_of_a_trial_leaves_it_whole_or_none() {
    at_every_step(
        |_| {},
        |store| store.begin_trial("cid", "try", "3", 60).map(drop),
        |store, done| {
            assert_eq!(text(store), "2");
            match store.trial() {
                Some(trial) => {
                    assert_eq!(store.text(trial.revision.number), Ok("3".to_owned()));
                    assert!(trial.left_ms() <= 60_000);
                }
                None => assert!(!done),
            }
        },
    );
}

#[test]
fn a_power_cut_at_any_step_of_a_confirmation_leaves_the_trial_or_its_end() {
    at_every_step(
        |store| {
            store.begin_trial("cid", "try", "3", 60).expect("power");
        },
        Store::confirm_trial,
        |store, done| match store.trial() {
            Some(_) => assert!(!done && text(store) == "2"),
            None => assert_eq!(text(store), "3"),
        },
    );
}

#[test]
fn a_trial_that_was_given_up_is_gone_and_its_number_not_used_again() {
    let disk = disk();
    let mut store = open(&disk);
    store.begin_trial("cid", "try", "3", 60).expect("power");
    store.end_trial().expect("power");
    assert_eq!(text(&store), "2");
    let next = store.commit("cid", "", "4").expect("power").number;
    assert_eq!(next, 4);
    let store = open(&disk.restart(Luck::None));
    assert_eq!((text(&store).as_str(), store.trial()), ("4", None));
    let numbers: Vec<u64> = store.history().map(|revision| revision.number).collect();
    assert_eq!(numbers, [1, 2, 4]);
}

#[test]
fn fifty_revisions_are_kept() {
    let disk = disk();
    let mut store = open(&disk);
    for n in 3..=60 {
        store.commit("ann", "", &n.to_string()).expect("power");
    }
    for store in [store, open(&disk.restart(Luck::None))] {
        assert_eq!(store.history().count(), HISTORY);
        assert_eq!(store.text(10), Err(StoreError::NoRevision(10)));
        assert_eq!(store.text(11), Ok("11".to_owned()));
    }
    let files = disk.list().expect("power");
    assert_eq!(files.len(), HISTORY + 1, "{files:?}");
}

#[test]
fn what_authors_write_does_not_leave_the_comment() {
    let disk = PowerCut::default();
    disk.after(usize::MAX);
    let comment = "two\nlines\r\n\u{7f}\u{1}[system]";
    open(&disk)
        .commit("a\nb", comment, "x = 1\n")
        .expect("power");
    let content = disk.read("running.toml").expect("it is there");
    let content = String::from_utf8(content).expect("text");
    assert_eq!(content.lines().count(), 2, "{content}");
    assert_eq!(
        toml::from_str::<toml::Table>(&content).expect("TOML").len(),
        1
    );
    let store = open(&disk);
    assert_eq!(
        store.running().map(|running| running.comment.as_str()),
        Some(comment)
    );
    assert_eq!(text(&store), "x = 1\n");
}

#[test]
fn a_file_written_by_hand_is_the_running_configuration() {
    let disk = disk();
    let mut by_hand = disk.clone();
    by_hand.write("running.toml", b"by hand").expect("power");
    let store = open(&disk);
    assert_eq!(text(&store), "by hand");
    assert_eq!(store.running().map(|running| running.number), Some(3));
}

#[test]
fn a_directory_is_of_one_process_and_of_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("state");
    let first = Directory::open(&path).expect("it is made");
    assert!(Directory::open(&path).is_err(), "it is taken");
    let mut store = Store::open(Box::new(first)).expect("an empty directory");
    store.commit("ann", "", "1").expect("room");
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path)
            .map(|meta| meta.permissions().mode() & 0o777)
            .expect("it is there")
    };
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("running.toml")), 0o600);
    drop(store);
    let again = Directory::open(&path).expect("it is free again");
    assert_eq!(
        text(&Store::open(Box::new(again)).expect("it is whole")),
        "1"
    );
}

#[test]
fn what_waits_for_the_next_start_is_tried_once() {
    let disk = disk();
    let mut store = open(&disk);
    let running = text(&store);
    store.set_next("ann", "more", "new").expect("power");
    assert_eq!(text(&store), running, "nothing is in use by it");
    drop(store);
    let mut store = open(&disk);
    assert_eq!(store.next().map(|next| next.author.as_str()), Some("ann"));
    assert_eq!(store.take_next(), Ok(Some("new".to_owned())));
    assert_eq!(text(&store), running);
    drop(store);
    // That start came to no end.
    let mut store = open(&disk);
    assert_eq!(store.next(), None);
    let failed = store.put_away().expect("power").expect("it failed");
    assert_eq!(failed.author, "ann");
    assert_eq!(store.take_next(), Ok(None));
    assert_eq!((text(&store), store.put_away()), (running, Ok(None)));
    assert!(disk.read("failed.toml").is_ok());
    // This one does.
    store.set_next("bob", "", "newer").expect("power");
    let mut store = open(&disk);
    assert_eq!(store.take_next(), Ok(Some("newer".to_owned())));
    store.keep_next().expect("power");
    let by = |store: &Store| store.running().map(|running| running.author.clone());
    assert_eq!(
        (text(&store).as_str(), by(&store).as_deref()),
        ("newer", Some("bob"))
    );
    assert_eq!(store.keep_next(), Ok(()), "once");
    let mut store = open(&disk);
    assert_eq!(
        (text(&store).as_str(), store.take_next()),
        ("newer", Ok(None))
    );
    assert_eq!(store.put_away(), Ok(None));
    store.set_next("ann", "", "more").expect("power");
    store.drop_next().expect("power");
    assert_eq!((store.next(), open(&disk).next()), (None, None));
}

/// Wherever the power is cut, the next start has the old or the new one, whole, and a start that was cut
/// off is not repeated with what it was tried with.
#[test]
fn a_power_cut_at_any_step_of_a_start_leaves_the_old_or_the_new_one() {
    for steps in 0..40 {
        for luck in [Luck::None, Luck::All] {
            let disk = disk();
            let mut store = open(&disk);
            let running = text(&store);
            store.set_next("ann", "", "new").expect("power");
            drop(store);
            disk.after(steps);
            let begin = || {
                let mut store = Store::open(Box::new(disk.clone()))?;
                store.put_away()?;
                store.take_next()?;
                store.keep_next()
            };
            let whole = begin().is_ok();
            let after = disk.restart(luck);
            let mut store = open(&after);
            let found = text(&store);
            assert!(found == running || found == "new", "{steps}: {found}");
            if whole {
                assert_eq!(found, "new");
                return;
            }
            let is_tried = store.put_away().expect("power").is_some();
            let waits = store.take_next().expect("power").is_some();
            assert!(!(is_tried && waits), "{steps}: tried twice");
            assert!(is_tried || waits || found == "new", "{steps}: it is lost");
        }
    }
    panic!("a start takes more than 40 steps");
}
