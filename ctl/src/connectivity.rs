//! `sluicectl connectivity`: steps as they come.

use std::cell::Cell;
use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::args::Connectivity;
use crate::client::{Client, Failure};
use crate::ping::follow;
use crate::table::{cell, number};

/// Prints each step, and how many of them failed. It failed if one did.
pub(crate) fn test(
    client: &Client,
    what: &Connectivity,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut query = Value::Object(Map::new());
    for (key, value) in [
        ("virtual_server", &what.name),
        ("pool", &what.pool),
        ("zone", &what.zone),
        ("client", &what.client),
    ] {
        if let Some(value) = value {
            query[key] = json!(value);
        }
    }
    if let Some(ms) = what.wait_ms {
        query["timeout_ms"] = json!(ms);
    }
    // Behind a refusal there is nothing to have a head.
    let headed = Cell::new(false);
    let shown = |step: &Value, out: &mut dyn Write| {
        if !headed.replace(true) {
            row(out, ["verdict", "of", "step", "ms", "found"])?;
        }
        let ms = step["ms"].as_f64().map(|ms| format!("{ms:.1}"));
        let [verdict, name, text] = ["verdict", "step", "text"].map(|key| cell(&step[key]));
        let ms = ms.unwrap_or_default();
        row(out, [&verdict, &concerned(step), &name, &ms, &text])
    };
    let path = "/tools/connectivity";
    let summary = follow(client, (path, "step"), &query, as_json, shown, out)?;
    let Some(summary) = summary else {
        return Ok(());
    };
    let [ok, warnings, failed, skipped] =
        ["ok", "warnings", "failed", "skipped"].map(|key| number(&summary[key]));
    if !as_json {
        let seconds = summary["ms"].as_f64().unwrap_or_default() / 1000.0;
        writeln!(
            out,
            "{ok} ok, {warnings} warned, {failed} failed, {skipped} skipped, in {seconds:.1} s"
        )?;
    }
    match (failed, ok + warnings) {
        (0, 0) => Err(Failure::Negative("nothing could be tested".to_owned())),
        (0, _) => Ok(()),
        (1, _) => Err(Failure::Negative("1 step failed".to_owned())),
        (failed, _) => Err(Failure::Negative(format!("{failed} steps failed"))),
    }
}

/// What a step is about: a real server, or a virtual server and the zone of its client.
fn concerned(step: &Value) -> String {
    let word = |key: &str| step[key].as_str();
    match (word("server"), word("virtual_server"), word("zone")) {
        (Some(server), ..) => server.to_owned(),
        (None, Some(name), Some(zone)) => format!("{name} from {zone}"),
        (None, Some(name), None) => name.to_owned(),
        _ => "-".to_owned(),
    }
}

fn row(out: &mut dyn Write, [verdict, of, step, ms, text]: [&str; 5]) -> io::Result<()> {
    let line = format!("{verdict:<8} {of:<24} {step:<10} {ms:>7}  {text}");
    writeln!(out, "{}", line.trim_end())
}
