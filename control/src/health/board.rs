//! What checks found, for the controller to read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::target::{Key, Target};
use super::{Failure, Machine, Reason, Verdict};
use crate::clock::unix_ms;

/// Upper bounds of the classes that durations are counted in, in milliseconds. The last class has
/// none.
pub const CLASSES_MS: [u64; 11] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500];

/// What one check knows of one server.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// What is checked.
    pub target: Target,
    /// Checks in a row, and what they say.
    pub machine: Machine,
    /// When it began to say so, milliseconds since 1970.
    pub since: u64,
    /// When the last check ended, milliseconds since 1970.
    pub last: Option<u64>,
    /// How long the last good one took.
    pub latency: Option<Duration>,
    /// Why the last one failed, if it did.
    pub error: Option<Failure>,
    /// Checks that ended.
    pub checks: u64,
    /// Those that failed, by reason.
    pub failures: BTreeMap<Reason, u64>,
    /// Good ones by duration: as [`CLASSES_MS`], and longer ones.
    pub durations: [u64; CLASSES_MS.len() + 1],
    /// The sum of their durations.
    pub total: Duration,
}

impl Status {
    fn new(target: Target, verdict: Verdict, since: u64) -> Self {
        Self {
            target,
            machine: Machine::new(verdict),
            since,
            last: None,
            latency: None,
            error: None,
            checks: 0,
            failures: BTreeMap::new(),
            durations: Default::default(),
            total: Duration::ZERO,
        }
    }

    /// Takes a result; true if the verdict is another one now.
    fn take(&mut self, result: Result<(), Failure>, took: Duration, now: u64) -> bool {
        self.last = Some(now);
        self.checks += 1;
        let good = result.is_ok();
        match result {
            Ok(()) => {
                let ms = took.as_millis() as u64;
                let class = CLASSES_MS.iter().position(|&bound| ms <= bound);
                self.durations[class.unwrap_or(CLASSES_MS.len())] += 1;
                self.total += took;
                self.latency = Some(took);
                self.error = None;
            }
            Err(failure) => {
                *self.failures.entry(failure.reason).or_default() += 1;
                let local = failure.reason == Reason::Local;
                self.error = Some(failure);
                if local {
                    // The server is not to blame.
                    return false;
                }
            }
        }
        let check = Arc::clone(&self.target.check);
        let changed = self.machine.take(good, &check);
        if changed {
            self.since = now;
        }
        changed
    }
}

/// Where the checks write, and the controller reads.
#[derive(Debug, Default)]
pub struct Board {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<Key, Status>,
    /// Servers of which something else holds than when they were last taken.
    changed: Vec<Key>,
}

impl Board {
    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic left behind is whole: rows are changed by plain stores.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a row for each of these and no others. What is known of a server goes on to hold as long as
    /// it is at its address; how it is checked may change.
    pub(super) fn set_rows<'a>(&self, targets: impl Iterator<Item = (&'a Key, &'a Target)>) {
        let mut state = self.state();
        let mut old = std::mem::take(&mut state.rows);
        for (key, target) in targets {
            let row = match old.remove(key) {
                Some(row) if row.target == *target => row,
                Some(row) if row.target.address == target.address => Status {
                    target: target.clone(),
                    machine: Machine::new(row.machine.verdict()),
                    ..row
                },
                _ => Status::new(target.clone(), Verdict::Unknown, unix_ms()),
            };
            state.rows.insert(key.clone(), row);
        }
    }

    /// Writes a result down, unless it is about something that is not checked any more.
    pub(super) fn take(
        &self,
        key: &Key,
        target: &Target,
        result: Result<(), Failure>,
        took: Duration,
    ) {
        let mut state = self.state();
        let Some(row) = state.rows.get_mut(key) else {
            return;
        };
        if row.target != *target {
            return;
        }
        if row.take(result, took, unix_ms()) {
            state.changed.push(key.clone());
            self.changed.notify_one();
        }
    }

    /// Checks in a row of one server.
    pub(super) fn machine(&self, key: &Key) -> Machine {
        let state = self.state();
        let row = state.rows.get(key);
        row.map(|row| row.machine).unwrap_or_default()
    }

    /// What has another verdict since the last call, and what holds of it now.
    pub fn changes(&self) -> Vec<(Key, Status)> {
        let mut state = self.state();
        let changed = std::mem::take(&mut state.changed);
        let rows = &state.rows;
        let known = |key: Key| rows.get(&key).cloned().map(|row| (key, row));
        changed.into_iter().filter_map(known).collect()
    }

    /// Everything that is known.
    pub fn rows(&self) -> BTreeMap<Key, Status> {
        self.state().rows.clone()
    }

    /// What all checks of a server [say together](together).
    pub fn verdict(&self, server: &str) -> Verdict {
        let state = self.state();
        let first = Key {
            server: server.to_owned(),
            check: String::new(),
        };
        let rows = state.rows.range(first..);
        let rows = rows.take_while(|(key, _)| key.server == server);
        together(rows.map(|(_, row)| (row.machine.verdict(), row.target.check.wait)))
    }

    /// Waits until [`Board::changes`] has something.
    pub async fn wait(&self) {
        self.changed.notified().await;
    }
}

/// Of several checks, each with whether it is to be waited for: down if any is; unknown if one that
/// is to be waited for is, or all are; otherwise up. One that begins to check a server that others have
/// found up takes nothing from it, unless it says so.
pub fn together(verdicts: impl Iterator<Item = (Verdict, bool)>) -> Verdict {
    let (mut up, mut waits) = (false, false);
    for (verdict, wait) in verdicts {
        match verdict {
            Verdict::Down => return Verdict::Down,
            Verdict::Unknown => waits |= wait,
            Verdict::Up => up = true,
        }
    }
    match up && !waits {
        true => Verdict::Up,
        false => Verdict::Unknown,
    }
}
