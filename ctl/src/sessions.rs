//! `sluicectl sessions`

use std::io::{BufRead, Write};
use std::time::Duration;

use serde_json::Value;
use ureq::http::Method;

use crate::args::{SessionFilter, Sessions};
use crate::client::{Client, Failure};
use crate::show::rows;
use crate::table::{cell, list, number, short, table};

/// Between two looks at sessions that are being ended.
const LOOK: Duration = Duration::from_secs(2);
/// Sessions that the API gives at once at most.
const PAGE: usize = 1000;

/// Lists, counts, streams or ends sessions.
pub(crate) fn sessions(
    client: &Client,
    what: &Sessions,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    match what {
        Sessions::List {
            filter,
            limit,
            wide,
        } => pages(client, filter, (*limit, *wide), as_json, out),
        Sessions::Stream { filter } => {
            let kind = "application/x-ndjson";
            let stream = client.stream("/sessions/stream", &filter.query(), kind)?;
            for line in stream.lines() {
                writeln!(out, "{}", line?)?;
            }
            Ok(())
        }
        Sessions::Count { filter } => {
            let answer = client.get("/sessions/count", &filter.query())?;
            match as_json {
                true => writeln!(out, "{answer:#}")?,
                false => count(&answer, out)?,
            }
            Ok(())
        }
        Sessions::Top {
            filter,
            by,
            order,
            limit,
        } => {
            let mut query = filter.query();
            query.push(("by", by.clone()));
            query.push(("order", order.clone()));
            query.push(("limit", limit.to_string()));
            let answer = client.get("/sessions/top", &query)?;
            match as_json {
                true => writeln!(out, "{answer:#}")?,
                false => top(&answer, out)?,
            }
            Ok(())
        }
        Sessions::End { filter, all, reset } => {
            let mut query = filter.query();
            if *all {
                query.push(("all", "true".to_owned()));
            }
            if *reset {
                query.push(("reset", "true".to_owned()));
            }
            let answer = client.send(&Method::DELETE, "/sessions", &query, None)?;
            let answer = follow(client, answer, as_json, out)?;
            match as_json {
                true => writeln!(out, "{answer:#}")?,
                false => writeln!(out, "{} sessions ended", number(&answer["ended"]))?,
            }
            Ok(())
        }
        Sessions::Ending { id } => {
            let answer = client.get(&format!("/sessions/endings/{id}"), &[])?;
            match (as_json, answer["going_on"] == true) {
                (true, _) => writeln!(out, "{answer:#}")?,
                (_, true) => writeln!(out, "{} sessions ended so far", number(&answer["ended"]))?,
                (_, false) => writeln!(out, "{} sessions ended", number(&answer["ended"]))?,
            }
            Ok(())
        }
    }
}

/// Waits until all of them are ended, and says now and then how far it is.
fn follow(
    client: &Client,
    mut answer: Value,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<Value, Failure> {
    let path = format!("/sessions/endings/{}", number(&answer["id"]));
    while answer["going_on"] == true {
        if !as_json {
            writeln!(out, "{} so far", number(&answer["ended"]))?;
            out.flush()?;
        }
        std::thread::sleep(LOOK);
        answer = client.get(&path, &[])?;
    }
    Ok(answer)
}

/// Page after page, so that neither end ever holds all of them; JSON is one session a line. `wide` has
/// more columns.
pub(crate) fn pages(
    client: &Client,
    filter: &SessionFilter,
    (limit, wide): (usize, bool),
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (mut left, mut cursor) = (limit, None);
    let mut rows = Vec::new();
    let (columns, row) = rows::sessions();
    let mut columns = columns.to_vec();
    let (more_columns, more) = rows::sessions_wide();
    if wide {
        columns.extend_from_slice(more_columns);
    }
    while left > 0 {
        let mut query = filter.query();
        query.push(("limit", left.min(PAGE).to_string()));
        if let Some(cursor) = cursor.take() {
            query.push(("cursor", cursor));
        }
        let page = client.get("/sessions", &query)?;
        for session in list(&page, "sessions") {
            left = left.saturating_sub(1);
            match as_json {
                true => writeln!(out, "{session}")?,
                false => {
                    let mut cells = row(0, session);
                    if wide {
                        cells.extend(more(0, session));
                    }
                    rows.push(cells);
                }
            }
        }
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    if !as_json {
        table(&columns, rows, out)?;
        if cursor.is_some() {
            writeln!(out, "there are more; --limit shows them")?;
        }
    }
    Ok(())
}

fn count(answer: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    let (all, copies) = (number(&answer["sessions"]), number(&answer["replicas"]));
    writeln!(out, "{all} sessions, {copies} of them copies of the peer's")?;
    for (what, key) in [("by protocol", "protocols"), ("by state", "states")] {
        let counts = answer[key].as_object().into_iter().flatten();
        let counts: Vec<String> = counts.map(|(name, n)| format!("{name} {n}")).collect();
        writeln!(out, "{what}: {}", counts.join(", "))?;
    }
    let workers = list(answer, "workers").enumerate();
    let workers: Vec<String> = workers.map(|(at, n)| format!("{at} {n}")).collect();
    writeln!(out, "by worker: {}", workers.join(", "))?;
    Ok(())
}

fn top(answer: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    let row = |group: &Value| {
        let name = cell(&group["name"]);
        vec![
            if name.is_empty() {
                "-".to_owned()
            } else {
                name
            },
            cell(&group["sessions"]),
            short(number(&group["packets"]) as f64),
            short(number(&group["bytes"]) as f64),
        ]
    };
    let mut total = row(&answer["total"]);
    "all".clone_into(&mut total[0]);
    let rows = list(answer, "groups").map(row).chain([total]);
    let columns = [
        ("", false),
        ("sessions", true),
        ("packets", true),
        ("bytes", true),
    ];
    table(&columns, rows, out)?;
    if answer["exact"] == serde_json::json!(false) {
        writeln!(
            out,
            "there are more groups than are kept; small ones may be missing"
        )?;
    }
    Ok(())
}
