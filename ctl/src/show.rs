//! `sluicectl show`

pub(crate) mod rows;

use std::io::Write;

use serde_json::{Value, json};

use crate::args::Show;
use crate::change::{differences, path_of};
use crate::client::{Client, Failure, METRICS, escaped};
use crate::sessions;
use crate::table::{cell, duration, list, number, table};
use crate::watch;

/// Shows one thing.
pub(crate) fn show(
    client: &Client,
    what: &Show,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    match what {
        Show::Sessions {
            filter,
            limit,
            wide,
        } => {
            return sessions::pages(client, filter, (*limit, *wide), as_json, out);
        }
        Show::Config { .. } => return config(client, what, as_json, out),
        Show::Metrics => {
            write!(out, "{}", client.text(METRICS, "text/plain")?)?;
            return Ok(());
        }
        _ => {}
    }
    let key = key(what);
    let answer = match key {
        Some(key) if is_paged(what) => client.pages(&path(what), &query(what), key)?,
        _ => client.get(&path(what), &query(what))?,
    };
    if as_json {
        let answer = key.map_or(&answer, |key| &answer[key]);
        writeln!(out, "{answer:#}")?;
        return Ok(());
    }
    match what {
        Show::Status => status(&answer, out),
        Show::Drops { all } => drops(&answer, *all, out),
        Show::Ha => crate::ha::show(&answer, out),
        Show::Certificate | Show::LogLevel | Show::Whoami | Show::Users { name: Some(_) } => {
            properties(&answer, out)
        }
        Show::Device { .. } => device(&answer, out),
        Show::Stats | Show::Openapi | Show::ClientCertificates => Ok(writeln!(out, "{answer:#}")?),
        Show::Events { .. } => {
            lines(&answer, "events", watch::event, out)?;
            if let Some(next) = answer["next"].as_u64() {
                writeln!(out, "there are more; --after {next} shows them")?;
            }
            Ok(())
        }
        Show::Logs { .. } => lines(&answer, "lines", watch::line, out),
        Show::Diff { .. } => {
            let changes = answer["changes"].as_array().or(answer.as_array());
            differences(changes.into_iter().flatten(), out)
        }
        Show::Pools => pools(&answer, out),
        Show::Revisions => revisions(&answer, out),
        Show::Health { .. } | Show::Tiers { .. } => {
            let (columns, row) = rows::of(what);
            let items = list(&answer, key.unwrap_or_default());
            let parts = match what {
                Show::Tiers { .. } => rows::tiers(items),
                _ => rows::checks(items),
            };
            let rows = parts.iter().enumerate().map(|(at, item)| row(at, item));
            Ok(table(columns, rows, out)?)
        }
        _ => {
            let items = list(&answer, key.unwrap_or_default());
            let (columns, row) = rows::of(what);
            let rows = items.enumerate().map(|(at, item)| row(at, item));
            Ok(table(columns, rows, out)?)
        }
    }
}

/// Whether the list comes in pages that name the next one by a cursor.
fn is_paged(what: &Show) -> bool {
    matches!(
        what,
        Show::Neighbours { .. }
            | Show::Routes { .. }
            | Show::Health { .. }
            | Show::Tiers { .. }
            | Show::Ports
            | Show::Pools
            | Show::Users { name: None }
            | Show::Tokens
    )
}

/// Where the answer is.
fn path(what: &Show) -> String {
    let fixed = match what {
        Show::Status => "/status",
        Show::Workers => "/workers",
        Show::Ports => "/ports",
        Show::Devices | Show::Services | Show::Servers | Show::Stats => "/stats",
        Show::Device { name } => return format!("/devices/{}", escaped(name)),
        Show::Pools => "/snat_pools",
        Show::Health { .. } => "/health",
        Show::Drops { .. } => "/drops",
        Show::Ha => "/ha",
        Show::Events { .. } => "/events",
        Show::Logs { .. } => "/logs",
        Show::Syslog => "/logs/syslog",
        Show::LogLevel => "/logs/level",
        Show::Whoami => "/whoami",
        Show::Users { name: None } => "/users",
        Show::Users { name: Some(name) } => return format!("/users/{}", escaped(name)),
        Show::Tokens => "/tokens",
        Show::Certificate => "/tls",
        Show::ClientCertificates => "/tls/clients",
        Show::Audit { .. } => "/audit",
        Show::Openapi => "/openapi.json",
        Show::Neighbours { .. } => "/neighbours",
        Show::Routes { .. } => "/routes",
        Show::Tiers { .. } => "/tiers",
        Show::Revisions => "/config/revisions",
        Show::Diff {
            revision: Some(revision),
            ..
        } => return format!("/config/revisions/{revision}/diff"),
        Show::Diff { next: true, .. } => "/next/diff",
        Show::Diff { .. } => "/candidate/diff",
        // These have functions of their own.
        Show::Sessions { .. } | Show::Config { .. } | Show::Metrics => "",
    };
    fixed.to_owned()
}

fn query(what: &Show) -> Vec<(&'static str, String)> {
    let mut query = Vec::new();
    match what {
        Show::Logs { level, limit } => {
            query.extend(level.clone().map(|level| ("level", level)));
            query.push(("limit", limit.to_string()));
        }
        Show::Health { pool, health } => {
            query.extend(pool.clone().map(|pool| ("pool", pool)));
            query.extend(health.clone().map(|health| ("health", health)));
        }
        Show::Tiers { virtual_server } => {
            let name = virtual_server.clone();
            query.extend(name.map(|name| ("virtual_server", name)));
        }
        Show::Neighbours {
            port,
            address,
            state,
        } => {
            let given = [("port", port), ("address", address), ("state", state)];
            query.extend(given.into_iter().filter_map(given_one));
        }
        Show::Routes { port, to, via } => {
            let given = [("port", port), ("to", to), ("via", via)];
            query.extend(given.into_iter().filter_map(given_one));
        }
        Show::Audit { records } => query = records.query(),
        Show::Events { after, limit } => {
            query.extend(after.map(|after| ("after", after.to_string())));
            query.push(("limit", limit.to_string()));
        }
        _ => {}
    }
    query
}

fn given_one((key, value): (&'static str, &Option<String>)) -> Option<(&'static str, String)> {
    Some((key, value.clone()?))
}

/// The list within the answer, if it is one.
fn key(what: &Show) -> Option<&'static str> {
    Some(match what {
        Show::Workers => "workers",
        Show::Ports => "ports",
        Show::Devices => "devices",
        Show::Services => "services",
        Show::Servers => "servers",
        Show::Pools => "snat_pools",
        Show::Health { .. } => "servers",
        Show::Drops { .. } => "drops",
        Show::Events { .. } => "events",
        Show::Logs { .. } => "lines",
        Show::Syslog => "servers",
        Show::Users { name: None } => "users",
        Show::Tokens => "tokens",
        Show::Audit { .. } => "records",
        Show::Neighbours { .. } => "neighbours",
        Show::Routes { .. } => "routes",
        Show::Tiers { .. } => "virtual_servers",
        Show::Revisions => "revisions",
        _ => return None,
    })
}

fn status(answer: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    let (name, version) = (cell(&answer["name"]), cell(&answer["version"]));
    writeln!(out, "{name}, Sluice {version}")?;
    writeln!(out, "up {}", duration(number(&answer["uptime_ms"])))?;
    let (epoch, latest) = (number(&answer["epoch"]), number(&answer["latest_epoch"]));
    let revision = number(&answer["revision"]);
    match epoch == latest {
        true => writeln!(
            out,
            "configuration revision {revision}, in use by all workers (epoch {epoch})"
        )?,
        false => writeln!(
            out,
            "configuration revision {revision}, not taken by all workers (epoch {latest}, of some {epoch})"
        )?,
    }
    if let Some(trial) = answer["confirmation"].as_object() {
        let left = number(&trial["left_ms"]).div_ceil(1000);
        writeln!(
            out,
            "to be confirmed: `sluicectl confirm` within {left} s, or what {} changed is undone",
            cell(&trial["author"])
        )?;
    }
    waits(&answer["next"], out)?;
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

/// What waits for the next start, if anything does.
fn waits(next: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    if next.is_object() {
        let [author, time] = ["author", "time"].map(|key| cell(&next[key]));
        let why = match cell(&next["comment"]) {
            none if none.is_empty() => none,
            why => format!(" ({why})"),
        };
        writeln!(
            out,
            "waits for the next start: what {author} changed at {time}{why}; `sluicectl show diff --next` has it"
        )?;
    }
    Ok(())
}

/// What waits first, then the latest.
fn revisions(answer: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    waits(&answer["next"], out)?;
    let (columns, row) = rows::of(&Show::Revisions);
    let items = list(answer, "revisions");
    let rows = items.enumerate().map(|(at, item)| row(at, item));
    Ok(table(columns, rows, out)?)
}

/// Most first.
fn drops(answer: &Value, all: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let drops = list(answer, "drops").filter(|drop| all || number(&drop["frames"]) > 0);
    let mut drops: Vec<&Value> = drops.collect();
    drops.sort_by_key(|drop| std::cmp::Reverse(number(&drop["frames"])));
    let rows = drops.iter().map(|drop| {
        let [reason, frames, meaning] = ["reason", "frames", "meaning"].map(|key| cell(&drop[key]));
        vec![reason, frames, meaning]
    });
    table(
        &[("reason", false), ("frames", true), ("meaning", false)],
        rows,
        out,
    )?;
    Ok(())
}

/// One value a line.
pub(crate) fn properties(answer: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    for (key, value) in answer.as_object().into_iter().flatten() {
        let key = key.replace('_', " ");
        match value.as_object() {
            None => writeln!(out, "{key}: {}", cell(value))?,
            Some(parts) => {
                let parts: Vec<String> = parts
                    .iter()
                    .map(|(name, value)| format!("{name} {}", cell(value)))
                    .collect();
                writeln!(out, "{key}: {}", parts.join(", "))?;
            }
        }
    }
    Ok(())
}

fn device(answer: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    let up = answer["link"]["up"] == json!(true);
    let link = if up { "up" } else { "down" };
    let speed = number(&answer["link"]["speed_mbps"]);
    writeln!(out, "{}: link {link}, {speed} Mb/s", cell(&answer["name"]))?;
    let extended = answer["extended"].as_object().into_iter().flatten();
    let rows = extended.map(|(name, value)| vec![name.clone(), cell(value)]);
    table(&[("counter", false), ("value", true)], rows, out)?;
    Ok(())
}

fn lines(
    answer: &Value,
    key: &str,
    shown: fn(&Value) -> String,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    for item in list(answer, key) {
        writeln!(out, "{}", shown(item))?;
    }
    Ok(())
}

/// A row for each address of a pool.
fn pools(answer: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for pool in list(answer, "snat_pools") {
        let range = format!("{}-{}", cell(&pool["first_port"]), cell(&pool["last_port"]));
        for (at, address) in list(pool, "addresses").enumerate() {
            let of_pool = |text: String| if at == 0 { text } else { String::new() };
            let ports = address["ports"].as_object().into_iter().flatten();
            let ports: Vec<String> = ports.map(|(proto, n)| format!("{proto} {n}")).collect();
            rows.push(vec![
                of_pool(cell(&pool["name"])),
                of_pool(range.clone()),
                of_pool(cell(&pool["exhausted"])),
                cell(&address["address"]),
                cell(&address["sessions"]),
                cell(&address["peer_sessions"]),
                ports.join(" "),
            ]);
        }
    }
    let columns = [
        ("pool", false),
        ("ports", false),
        ("exhausted", true),
        ("address", false),
        ("sessions", true),
        ("of the peer", true),
        ("ports in use", false),
    ];
    table(&columns, rows, out)?;
    Ok(())
}

fn config(client: &Client, what: &Show, as_json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let Show::Config {
        part,
        candidate,
        revision,
        next,
        etag,
    } = what
    else {
        return Ok(());
    };
    if let Some(part) = part {
        let query = candidate.then(|| ("candidate", "true".to_owned()));
        let path = format!("/config{}", path_of(part)?);
        if *etag {
            writeln!(out, "{}", client.tag(&path, query.as_slice())?)?;
            return Ok(());
        }
        let answer = client.get(&path, query.as_slice())?;
        writeln!(out, "{answer:#}")?;
        return Ok(());
    }
    let path = match revision {
        Some(revision) => format!("/config/revisions/{revision}"),
        None if *candidate => "/candidate".to_owned(),
        None if *next => "/next".to_owned(),
        None => "/config".to_owned(),
    };
    if *etag {
        writeln!(out, "{}", client.tag(&path, &[])?)?;
        return Ok(());
    }
    let kind = if as_json {
        "application/json"
    } else {
        "application/toml"
    };
    write!(out, "{}", client.text(&path, kind)?)?;
    Ok(())
}
