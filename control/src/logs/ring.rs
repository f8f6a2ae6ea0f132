//! The latest lines, and a live stream of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::broadcast;

/// Lines that are remembered. Older ones are forgotten.
pub(super) const REMEMBERED: usize = 2000;
/// Lines that a slow reader of the stream may lag behind before it misses some.
const LAG: usize = 256;

/// How bad it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something does not work.
    Error,
    /// Somebody should look at it.
    Warn,
    /// All is well.
    Info,
    /// For whoever looks for a fault.
    Debug,
    /// Even more of it.
    Trace,
}

impl Level {
    pub(super) fn of(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::TRACE => Self::Trace,
        }
    }

    /// Whether it is as bad as `least` or worse.
    pub(super) fn is_within(self, least: tracing::Level) -> bool {
        self <= Self::of(least)
    }

    /// Severity of RFC 5424, table 2.
    pub(super) fn severity(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warn => 4,
            Self::Info => 6,
            Self::Debug | Self::Trace => 7,
        }
    }
}

/// A log line.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Line {
    /// Counts up from 1 while the process lives.
    pub id: u64,
    /// When (RFC 3339, UTC).
    pub time: String,
    /// How bad it is.
    pub level: Level,
    /// The part of the program that says so.
    pub target: String,
    /// What it says.
    pub message: String,
    /// Names and numbers that belong to it.
    pub fields: Map<String, Value>,
}

/// The latest lines. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Lines {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    latest: Mutex<Latest>,
    live: broadcast::Sender<Arc<Line>>,
}

#[derive(Debug, Default)]
struct Latest {
    last: u64,
    lines: VecDeque<Arc<Line>>,
}

impl Default for Lines {
    fn default() -> Self {
        let (live, _) = broadcast::channel(LAG);
        Self {
            inner: Arc::new(Inner {
                latest: Mutex::default(),
                live,
            }),
        }
    }
}

impl Lines {
    /// Gives a line its number and remembers it.
    pub(super) fn push(&self, mut line: Line) -> Arc<Line> {
        let mut latest = self.latest();
        latest.last += 1;
        line.id = latest.last;
        let line = Arc::new(line);
        if latest.lines.len() == REMEMBERED {
            latest.lines.pop_front();
        }
        latest.lines.push_back(Arc::clone(&line));
        // Sent under the lock, so that listeners get lines in their order. Nobody may be listening.
        let _ = self.inner.live.send(Arc::clone(&line));
        line
    }

    /// Remembered lines after `id` that are as bad as `least` or worse, oldest first, `limit` at most.
    pub fn after(&self, id: u64, least: Level, limit: usize) -> Vec<Arc<Line>> {
        let latest = self.latest();
        let later = latest.lines.iter().filter(|line| line.id > id);
        let later = later.filter(|line| line.level <= least);
        later.take(limit).cloned().collect()
    }

    /// The last `limit` remembered lines that are as bad as `least` or worse, oldest first.
    pub fn latest_of(&self, least: Level, limit: usize) -> Vec<Arc<Line>> {
        let latest = self.latest();
        let bad = latest.lines.iter().rev().filter(|line| line.level <= least);
        let mut lines: Vec<Arc<Line>> = bad.take(limit).cloned().collect();
        lines.reverse();
        lines
    }

    /// Remembered lines after `id`, and every one that comes from now on; none is missed or twice.
    pub fn follow(&self, id: u64) -> (Vec<Arc<Line>>, broadcast::Receiver<Arc<Line>>) {
        let latest = self.latest();
        let live = self.inner.live.subscribe();
        let later = latest.lines.iter().filter(|line| line.id > id);
        (later.cloned().collect(), live)
    }

    /// The last line's number; 0 before the first.
    pub fn last(&self) -> u64 {
        self.latest().last
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        super::lock(&self.inner.latest)
    }
}
