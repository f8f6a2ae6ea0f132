use std::fs;

use super::book::{FILE_BYTES, SHOWN};
use super::*;

fn record(user: &str, path: &str) -> Record {
    Record::new(user, "192.0.2.1".to_owned(), "PUT", path, 200)
}

/// The latest, latest first.
fn latest(audit: &Audit, limit: usize) -> Vec<Record> {
    audit.find(&Search::default(), limit).0
}

#[test]
fn the_log_outlives_the_process_and_is_bounded() {
    let place = tempfile::tempdir().expect("a directory");
    let audit = Audit::open(Some(place.path())).expect("room");
    let path = |n: usize| format!("/{n}/{}", "x".repeat(200));
    // More than two files have room for.
    let many = 60_000;
    for n in 1..=many {
        audit.done(record("ann", &path(n)));
    }
    for audit in [audit, Audit::open(Some(place.path())).expect("it is there")] {
        let latest = latest(&audit, usize::MAX);
        assert_eq!(latest.len(), SHOWN);
        for (record, n) in latest.iter().zip((1..=many).rev()) {
            assert_eq!((record.id, &record.path), (n as u64, &path(n)));
        }
    }
    for file in [DONE, "audit.log.1"] {
        let size = fs::metadata(place.path().join(file))
            .expect("it is there")
            .len();
        assert!(size < FILE_BYTES + 1000, "{file}: {size}");
    }
}

#[test]
fn what_is_refused_pushes_out_nothing_that_was_done() {
    let place = tempfile::tempdir().expect("a directory");
    let audit = Audit::open(Some(place.path())).expect("room");
    audit.done(record("ann", "/api/v1/users/mallory"));
    for _ in 0..2 * SHOWN {
        audit.refused(record("", &"x".repeat(60_000)));
    }
    for audit in [audit, Audit::open(Some(place.path())).expect("it is there")] {
        let all = latest(&audit, usize::MAX);
        assert_eq!(all.len(), SHOWN + 1);
        let first = all.last().expect("a record");
        assert_eq!((first.id, first.user.as_str()), (1, "ann"));
        let long = &all.first().expect("a record").path;
        assert!(long.len() == MAX_TEXT && long.ends_with("x..."), "{long}");
    }
}

#[test]
fn a_torn_line_costs_no_other_and_old_records_are_numbered() {
    let place = tempfile::tempdir().expect("a directory");
    let old = r#"{"time":"t","user":"ann","client":"c","method":"PUT","path":"/1","status":200}"#;
    let torn = [old.as_bytes(), b"\n", old.as_bytes(), b"\n{\"time\":\"\xc3"].concat();
    fs::write(place.path().join(DONE), torn).expect("room");
    let audit = Audit::open(Some(place.path())).expect("it is there");
    audit.done(record("bob", "/2"));
    for audit in [audit, Audit::open(Some(place.path())).expect("it is there")] {
        let seen = latest(&audit, 9).into_iter();
        let seen: Vec<_> = seen.map(|record| (record.id, record.user)).collect();
        let wanted = [(3, "bob"), (2, "ann"), (1, "ann")];
        assert_eq!(seen, wanted.map(|(id, user)| (id, user.to_owned())));
    }
}
