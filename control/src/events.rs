//! What happened to the appliance: a bounded history, and a live stream of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::broadcast;
use utoipa::ToSchema;

/// Events that are remembered. Older ones are forgotten.
pub const HISTORY: usize = 1000;
/// Events that a slow reader of the stream may lag behind before it misses some.
const LAG: usize = 256;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// All is well.
    Info,
    /// Somebody should look at it.
    Warning,
    /// Something does not work.
    Error,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Event {
    /// Counts up from 1 while the process lives.
    pub id: u64,
    /// When (RFC 3339, UTC).
    pub time: String,
    /// What kind: `configuration.committed`, `link.down`, ...
    pub kind: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The same for people.
    pub message: String,
    /// Names and numbers that belong to this kind of event.
    pub details: Map<String, Value>,
}

/// The history. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Events {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    history: Mutex<History>,
    live: broadcast::Sender<Arc<Event>>,
}

#[derive(Debug, Default)]
struct History {
    last: u64,
    events: VecDeque<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        let (live, _) = broadcast::channel(LAG);
        Self {
            inner: Arc::new(Inner {
                history: Mutex::default(),
                live,
            }),
        }
    }
}

impl Events {
    /// Writes an event down and tells whoever listens. `details` should be an object.
    pub fn publish(
        &self,
        kind: &'static str,
        severity: Severity,
        message: impl Into<String>,
        details: Value,
    ) {
        let details = match details {
            Value::Object(details) => details,
            _ => Map::new(),
        };
        let mut history = self.history();
        history.last += 1;
        let event = Arc::new(Event {
            id: history.last,
            time: crate::clock::now(),
            kind,
            severity,
            message: message.into(),
            details,
        });
        if history.events.len() == HISTORY {
            history.events.pop_front();
        }
        history.events.push_back(Arc::clone(&event));
        // Sent under the lock, so that listeners get events in their order. Nobody may be listening.
        let _ = self.inner.live.send(event);
    }

    /// Remembered events after `id`, oldest first, `limit` at most.
    pub fn after(&self, id: u64, limit: usize) -> Vec<Arc<Event>> {
        let history = self.history();
        let later = history.events.iter().filter(|event| event.id > id);
        later.take(limit).cloned().collect()
    }

    /// Remembered events after `id`, and every one that comes from now on; none is missed or twice.
    pub fn follow(&self, id: u64) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let history = self.history();
        let live = self.inner.live.subscribe();
        let later = history.events.iter().filter(|event| event.id > id);
        (later.cloned().collect(), live)
    }

    /// The last event's number; 0 before the first.
    pub fn last(&self) -> u64 {
        self.history().last
    }

    fn history(&self) -> MutexGuard<'_, History> {
        let history = self.inner.history.lock();
        history.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_latest_are_remembered_and_numbered() {
        let events = Events::default();
        for n in 0..HISTORY + 5 {
            events.publish("test", Severity::Info, format!("{n}"), json!({ "n": n }));
        }
        assert_eq!(events.last(), HISTORY as u64 + 5);
        let all = events.after(0, usize::MAX);
        assert_eq!((all.len(), all[0].id), (HISTORY, 6));
        let two = events.after(100, 2);
        let ids: Vec<u64> = two.iter().map(|event| event.id).collect();
        assert_eq!(ids, [101, 102]);
        assert_eq!(two[0].details["n"], 100);
    }

    #[test]
    fn a_follower_gets_each_event_once() {
        let events = Events::default();
        events.publish("test", Severity::Info, "before", json!({}));
        let (known, mut live) = events.follow(0);
        assert_eq!(known.len(), 1);
        events.publish("test", Severity::Info, "after", json!({}));
        let next = live.try_recv().expect("it listens");
        assert_eq!((next.id, next.message.as_str()), (2, "after"));
        assert!(live.try_recv().is_err());
    }
}
