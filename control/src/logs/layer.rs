//! From `tracing` to [`Logs`].

use std::fmt::{Debug, Write};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::{Level, Line, Logs};

/// Bytes of a message, and of a value, at most.
const LONGEST: usize = 4096;
/// Values of a line at most.
const FIELDS: usize = 32;

/// How targets of this program begin.
const OURS: &str = "sluice";

/// Puts what is logged into [`Logs`].
#[derive(Debug)]
pub struct LogLayer {
    logs: Logs,
}

impl LogLayer {
    pub(super) fn new(logs: Logs) -> Self {
        Self { logs }
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        // The libraries that carry lines to API and syslog would have more to say with each line that
        // they carry, without an end.
        let detail = *metadata.level() > tracing::Level::INFO;
        if detail && !metadata.target().starts_with(OURS) {
            return;
        }
        let mut said = Said::default();
        event.record(&mut said);
        self.logs.take(Line {
            id: 0,
            time: crate::clock::now(),
            level: Level::of(*metadata.level()),
            target: metadata.target().to_owned(),
            message: said.message,
            fields: said.fields,
        });
    }
}

#[derive(Debug, Default)]
struct Said {
    message: String,
    fields: Map<String, Value>,
}

impl Said {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        if self.fields.len() < FIELDS {
            self.fields.insert(field.name().to_owned(), value.into());
        }
    }
}

/// The beginning of a text, where it is too long.
fn short(mut text: String) -> String {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // Writing into a text cannot fail.
        let _ = write!(text, "{value:?}");
        if field.name() == "message" {
            self.message = short(text);
        } else {
            self.put(field, short(text));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = short(value.to_owned());
        } else {
            self.put(field, short(value.to_owned()));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}
