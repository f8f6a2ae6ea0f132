//! `sluicectl watch`: server-sent events, a line each.

use std::io::{BufRead, Write};

use serde_json::Value;

use crate::args::Watch;
use crate::client::{Client, Failure};
use crate::table::cell;

/// Prints until somebody wants to leave, or the appliance ends the stream.
pub(crate) fn watch(
    client: &Client,
    what: &Watch,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (path, query, shown): (_, _, fn(&Value) -> String) = match what {
        Watch::Events => ("/events/stream", Vec::new(), event),
        Watch::Logs { level } => {
            let level = level.clone().map(|level| ("level", level));
            ("/logs/stream", level.into_iter().collect(), line)
        }
    };
    let stream = client.stream(path, &query, "text/event-stream")?;
    let mut missed = false;
    for text in stream.lines() {
        let text = text?;
        if text == "event: missed" {
            missed = true;
        }
        let Some(data) = text.strip_prefix("data:").map(str::trim_start) else {
            continue;
        };
        match serde_json::from_str::<Value>(data) {
            _ if std::mem::take(&mut missed) => writeln!(out, "(some were missed)")?,
            _ if as_json => writeln!(out, "{data}")?,
            Ok(value) => writeln!(out, "{}", shown(&value))?,
            Err(_) => writeln!(out, "{data}")?,
        }
        out.flush()?;
    }
    Ok(())
}

/// An event for people.
pub(crate) fn event(event: &Value) -> String {
    let [time, severity, kind, message] =
        ["time", "severity", "kind", "message"].map(|key| cell(&event[key]));
    format!("{time}  {severity:<7}  {kind}  {message}")
}

/// A log line for people.
pub(crate) fn line(line: &Value) -> String {
    let [time, level, message] = ["time", "level", "message"].map(|key| cell(&line[key]));
    let mut said = format!("{time}  {level:<5}  {message}");
    for (key, value) in line["fields"].as_object().into_iter().flatten() {
        said += &format!("  {key}={}", cell(value));
    }
    said
}
