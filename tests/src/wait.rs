//! Waiting for something to become true, with a deadline that a loaded machine can keep.

use std::time::{Duration, Instant};

/// Long enough for anything that takes a second on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks `probe` every 50 ms until it says `Ok`, at most for `patience`.
///
/// # Errors
/// What `probe` said last.
pub fn until<T, E>(patience: Duration, mut probe: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let deadline = Instant::now() + patience;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(why) if Instant::now() >= deadline => return Err(why),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Like [`until`] for a condition, and panics with `what` if it never holds.
///
/// # Panics
/// If it does not hold within [`PATIENCE`].
#[track_caller]
pub fn expect(what: &str, mut holds: impl FnMut() -> bool) {
    let outcome = until(PATIENCE, || if holds() { Ok(()) } else { Err(()) });
    assert!(outcome.is_ok(), "waited {PATIENCE:?} in vain: {what}");
}
