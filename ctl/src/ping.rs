//! `sluicectl ping` and `traceroute`: lines as they come.

use std::io::{BufRead, Write};

use serde_json::{Value, json};

use crate::args::{Ping, Traceroute};
use crate::client::{Body, Client, Failure};
use crate::table::{cell, number};

/// Prints each echo request's fate, and how many had a reply. It failed if none had.
pub(crate) fn ping(
    client: &Client,
    what: &Ping,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut query = json!({ "destination": what.destination });
    set(&mut query, "count", what.count);
    set(&mut query, "interval_ms", what.interval_ms);
    set(&mut query, "timeout_ms", what.wait_ms);
    let shown = |probe: &Value, out: &mut dyn Write| {
        writeln!(out, "{:>3}  {}", cell(&probe["sequence"]), fate(probe))
    };
    let summary = follow(client, ("/ping", "probe"), &query, as_json, shown, out)?;
    let Some(summary) = summary else {
        return Ok(());
    };
    let [sent, received] = ["sent", "received"].map(|key| number(&summary[key]));
    if !as_json {
        let lost = cell(&summary["loss_percent"]);
        write!(out, "{sent} sent, {received} received, {lost}% lost")?;
        if received > 0 {
            let [min, avg, max] = ["min_ms", "avg_ms", "max_ms"].map(|key| cell(&summary[key]));
            write!(out, "; min/avg/max {min}/{avg}/{max} ms")?;
        }
        writeln!(out)?;
    }
    match received {
        0 => Err(Failure::Negative("there was no reply".to_owned())),
        _ => Ok(()),
    }
}

/// Prints who answers at each hop. It failed if that is not the destination in the end.
pub(crate) fn traceroute(
    client: &Client,
    what: &Traceroute,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut query = json!({ "destination": what.destination });
    set(&mut query, "max_hops", what.max_hops);
    set(&mut query, "probes", what.probes);
    set(&mut query, "timeout_ms", what.wait_ms);
    let mut last = Value::Null;
    let shown = |probe: &Value, out: &mut dyn Write| {
        let hop = match probe["hop"] == last {
            true => String::new(),
            false => cell(&probe["hop"]),
        };
        last = probe["hop"].clone();
        writeln!(out, "{hop:>3}  {}", fate(probe))
    };
    let summary = follow(
        client,
        ("/traceroute", "probe"),
        &query,
        as_json,
        shown,
        out,
    )?;
    match summary {
        Some(summary) if summary["hops"].is_null() => {
            let why = format!("{} was not reached", what.destination);
            Err(Failure::Negative(why))
        }
        _ => Ok(()),
    }
}

fn set(object: &mut Value, key: &str, value: Option<u32>) {
    if let Some(value) = value {
        object[key] = value.into();
    }
}

/// What became of an echo request, for people.
fn fate(probe: &Value) -> String {
    let from = probe["from"].as_str().unwrap_or("*");
    let time = match probe["rtt_ms"].as_f64() {
        Some(ms) => format!("  {ms:.3} ms"),
        None => String::new(),
    };
    let reason = probe["reason"].as_str().unwrap_or_default();
    match probe["answer"].as_str().unwrap_or_default() {
        "reply" | "time_exceeded" => format!("{from}{time}"),
        "timeout" => "*  no answer in time".to_owned(),
        "not_sent" => format!("not sent: {reason}"),
        _ => format!("{from}{time}  {reason}"),
    }
}

/// Prints what comes of `kind` from a path, as it comes. Gives the summary.
pub(crate) fn follow(
    client: &Client,
    (path, kind): (&str, &str),
    query: &Value,
    as_json: bool,
    mut shown: impl FnMut(&Value, &mut dyn Write) -> std::io::Result<()>,
    out: &mut dyn Write,
) -> Result<Option<Value>, Failure> {
    let broken = |why: String| Failure::Connection {
        url: client.url().to_owned(),
        why,
    };
    let stream = client.stream_of(path, Body::json(query), "application/x-ndjson")?;
    let mut probes = 0;
    for line in stream.lines() {
        let line = line.map_err(|why| broken(why.to_string()))?;
        let value: Value = serde_json::from_str(&line).map_err(|why| broken(why.to_string()))?;
        if as_json {
            writeln!(out, "{line}")?;
        } else if value[kind].is_object() {
            shown(&value[kind], out)?;
        }
        out.flush()?;
        if value["summary"].is_object() {
            return Ok(Some(value["summary"].clone()));
        }
        probes += usize::from(value[kind].is_object());
    }
    match probes {
        0 => Ok(None),
        _ => Err(broken("the answer ended early".to_owned())),
    }
}
