//! `sluicectl show`

mod rows;

use std::io::Write;

use serde_json::{Value, json};

use crate::args::{SessionFilter, Show};
use crate::change::{differences, path_of};
use crate::client::{Client, Failure};
use crate::table::{cell, duration, list, number, table};

/// Sessions that the API gives at once at most.
const PAGE: usize = 1000;

/// Shows one thing.
pub(crate) fn show(
    client: &Client,
    what: &Show,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let whole = |path: &str| client.get(path, &[]);
    match what {
        Show::Sessions(filter) => return sessions(client, filter, as_json, out),
        Show::Config { part, candidate } => {
            return config(client, part.as_deref(), *candidate, as_json, out);
        }
        _ => {}
    }
    let diff = |revision: &Option<u64>| match revision {
        Some(revision) => format!("/config/revisions/{revision}/diff"),
        None => "/candidate/diff".to_owned(),
    };
    let (answer, key) = match what {
        Show::Status => (whole("/status")?, None),
        Show::Ha => (whole("/ha")?, None),
        Show::Ports => (whole("/status")?, Some("ports")),
        Show::Workers => (whole("/stats")?, Some("workers")),
        Show::Devices => (whole("/stats")?, Some("devices")),
        Show::Services => (whole("/stats")?, Some("services")),
        Show::Servers => (whole("/stats")?, Some("servers")),
        Show::Health => (whole("/health")?, Some("servers")),
        Show::Pools => (whole("/stats")?, Some("snat_pools")),
        Show::Drops => (whole("/stats")?, None),
        Show::Neighbours => (whole("/neighbours")?, Some("neighbours")),
        Show::Routes => (whole("/routes")?, Some("routes")),
        Show::Revisions => (whole("/config/revisions")?, Some("revisions")),
        Show::Diff { revision } => (whole(&diff(revision))?, None),
        Show::Sessions(_) | Show::Config { .. } => return Ok(()),
    };
    if as_json {
        let answer = match (what, key) {
            (Show::Drops, _) => &answer["total"]["dropped"],
            (_, Some(key)) => &answer[key],
            _ => &answer,
        };
        writeln!(out, "{answer:#}")?;
        return Ok(());
    }
    match (what, key) {
        (Show::Status, _) => status(&answer, out)?,
        (Show::Ha, _) => crate::ha::show(&answer, out)?,
        (Show::Drops, _) => drops(&answer, out)?,
        (Show::Health, _) => {
            let (columns, row) = rows::of(what);
            let checks = rows::checks(list(&answer, "servers"));
            table(
                columns,
                checks.iter().enumerate().map(|(at, item)| row(at, item)),
                out,
            )?;
        }
        (Show::Diff { .. }, _) => {
            let changes = answer["changes"].as_array().or(answer.as_array());
            differences(changes.into_iter().flatten(), out)?;
        }
        (_, key) => {
            let items = list(&answer, key.unwrap_or_default());
            let (columns, row) = rows::of(what);
            table(
                columns,
                items.enumerate().map(|(at, item)| row(at, item)),
                out,
            )?;
        }
    }
    Ok(())
}

fn status(answer: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    let (name, version) = (cell(&answer["name"]), cell(&answer["version"]));
    writeln!(out, "{name}, Sluice {version}")?;
    writeln!(out, "up {}", duration(number(&answer["uptime_ms"])))?;
    let (epoch, latest) = (number(&answer["epoch"]), number(&answer["latest_epoch"]));
    match epoch == latest {
        true => writeln!(out, "configuration {epoch}, in use by all workers")?,
        false => writeln!(
            out,
            "configuration {epoch}; {latest} is not taken by all workers"
        )?,
    }
    let sessions = &answer["sessions"];
    for (family, now, limit) in [("IPv4", "v4", "limit_v4"), ("IPv6", "v6", "limit_v6")] {
        let (now, limit) = (number(&sessions[now]), number(&sessions[limit]));
        writeln!(out, "{now} {family} sessions, room for {limit}")?;
    }
    let buffers = &answer["buffers"];
    let (free, total) = (number(&buffers["free"]), number(&buffers["total"]));
    writeln!(out, "{free} of {total} packet buffers free")?;
    let ports = list(answer, "ports");
    let down: Vec<String> = ports
        .filter(|port| port["link"]["up"] == json!(false))
        .map(|port| cell(&port["name"]))
        .collect();
    if !down.is_empty() {
        writeln!(out, "link down: {}", down.join(", "))?;
    }
    Ok(())
}

fn drops(answer: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    let drops = answer["total"]["dropped"].as_object();
    let mut drops: Vec<(&String, u64)> = drops
        .into_iter()
        .flatten()
        .map(|(reason, count)| (reason, number(count)))
        .filter(|&(_, count)| count > 0)
        .collect();
    drops.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let rows = drops
        .iter()
        .map(|(reason, count)| vec![(*reason).clone(), count.to_string()]);
    table(&[("reason", false), ("frames", true)], rows, out)?;
    Ok(())
}

/// Page after page, so that neither end ever holds all of them; JSON is one session a line.
fn sessions(
    client: &Client,
    filter: &SessionFilter,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (mut left, mut cursor) = (filter.limit, None);
    let mut rows = Vec::new();
    let (columns, row) = rows::sessions();
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
                false => rows.push(row(0, session)),
            }
        }
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    if !as_json {
        table(columns, rows, out)?;
        if cursor.is_some() {
            writeln!(out, "there are more; --limit shows them")?;
        }
    }
    Ok(())
}

fn config(
    client: &Client,
    part: Option<&str>,
    candidate: bool,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    match part {
        Some(part) => {
            let query = candidate.then(|| ("candidate", "true".to_owned()));
            let path = format!("/config{}", path_of(part)?);
            let answer = client.get(&path, query.as_slice())?;
            writeln!(out, "{answer:#}")?;
        }
        None => {
            let path = if candidate { "/candidate" } else { "/config" };
            let kind = if as_json {
                "application/json"
            } else {
                "application/toml"
            };
            let text = client.text(path, kind)?;
            write!(out, "{text}")?;
        }
    }
    Ok(())
}
