//! Configurations that wait for the next start.

use super::transactions::{done, weight, weight_of};
use super::*;
use crate::store::Store;
use crate::store::power_cut::{Luck, PowerCut};

/// A controller whose configurations outlive it, on a disk that works.
fn lasting() -> (Controller, Vec<FakeWorker>, PowerCut) {
    let disk = PowerCut::default();
    disk.after(usize::MAX);
    let mut store = Store::open(Box::new(disk.clone())).expect("power");
    store.commit("file", "", WHOLE).expect("power");
    let (controller, workers) = controller(WHOLE);
    (controller.with_store(store, None), workers, disk)
}

fn at_restart() -> Terms {
    Terms {
        author: "ann".to_owned(),
        at_restart: true,
        ..Terms::default()
    }
}

/// What a process cannot follow.
fn more_sessions() -> What {
    What::Replace(Source::toml(
        WHOLE.replace("sessions = 2000000", "sessions = 3000000"),
    ))
}

#[test]
fn what_a_process_cannot_follow_waits_for_the_next_start() {
    let (mut controller, mut workers, disk) = lasting();
    let mut done = |what, terms| done(&mut controller, &mut workers, change(what, terms));
    let refused = done(more_sessions(), Terms::default());
    assert!(
        matches!(refused, Err(ActionError::NeedsRestart { .. })),
        "{refused:?}"
    );
    let dry = Terms {
        dry_run: true,
        ..at_restart()
    };
    for (terms, verdict) in [(dry, Verdict::Valid), (at_restart(), Verdict::AtRestart)] {
        let Ok(Outcome::Committed(committed)) = done(more_sessions(), terms) else {
            panic!("it is right");
        };
        assert_eq!((committed.result, committed.changes.len()), (verdict, 1));
    }
    // Another edit is made in what waits, and one of what is in use in both.
    assert!(done(weight(7), at_restart()).is_ok());
    assert!(matches!(
        done(What::Rollback(1), Terms::default()),
        Ok(Outcome::Committed(_))
    ));
    let edited = done(weight(9), Terms::default());
    assert!(edited.is_ok(), "{edited:?}");
    let trial = Terms {
        confirm_seconds: Some(60),
        ..Terms::default()
    };
    for (what, terms) in [
        (weight(4), trial),
        (What::Replace(Source::toml(WHOLE)), Terms::default()),
    ] {
        let refused = done(what, terms);
        assert!(
            matches!(refused, Err(ActionError::NextWaits)),
            "{refused:?}"
        );
    }
    assert_eq!(weight_of(&controller), 9);
    let next = Store::open(Box::new(disk.restart(Luck::All)))
        .expect("power")
        .next_text();
    let next = next.expect("power").expect("it waits");
    assert!(
        next.contains("sessions = 3000000") && next.contains("weight = 9"),
        "{next}"
    );
    let waits = |controller: &mut Controller| {
        let told = status(controller)
            .next
            .map(|next| (next.number, next.author));
        assert_eq!(controller.revisions().next.is_some(), told.is_some());
        told
    };
    assert_eq!(waits(&mut controller), Some((0, "ann".to_owned())));
    assert!(controller.drop_next().is_ok());
    assert_eq!(waits(&mut controller), None);
    let none = controller.drop_next();
    assert!(matches!(none, Err(ActionError::NothingWaits)), "{none:?}");
}

#[test]
fn nothing_waits_where_nothing_outlives_the_process() {
    let (mut controller, mut workers) = controller(WHOLE);
    let refused = done(
        &mut controller,
        &mut workers,
        change(more_sessions(), at_restart()),
    );
    assert!(
        matches!(refused, Err(ActionError::NotLasting)),
        "{refused:?}"
    );
}
