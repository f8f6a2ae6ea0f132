//! `/api/v1/support-bundle`: what somebody who is to help needs to see, in one file, without secrets.

use std::io;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::{Value, json};

use super::problem::mismatch;
use super::{Api, Problem};
use crate::clock;
use crate::config::secrets;
use crate::controller::{
    Action, ActionError, HealthFilter, Outcome, SessionCursor, SessionFilter, SessionQuery,
};
use crate::logs::Level;

/// Sessions that are looked at for the summary.
const SESSIONS: usize = 1000;
/// Events in the bundle: all that are remembered.
const EVENTS: usize = crate::events::HISTORY;
/// Log lines in the bundle.
const LINES: usize = 10_000;
/// What the kernel tells of the machine: name in the bundle, and the file.
const MACHINE: [(&str, &str); 6] = [
    ("machine/meminfo", "/proc/meminfo"),
    ("machine/cpuinfo", "/proc/cpuinfo"),
    ("machine/interrupts", "/proc/interrupts"),
    ("machine/loadavg", "/proc/loadavg"),
    ("machine/version", "/proc/version"),
    ("machine/status", "/proc/self/status"),
];

/// A file for those who are to help
///
/// A `tar.gz` of configuration, counters, metrics, NIC statistics, health, events, neighbours, routes, a sample of
/// sessions, and what the kernel tells of the machine. Secrets of the configuration are left out, and so
/// are its comments; users, tokens and certificates are not in it at all. Addresses of clients are.
#[utoipa::path(get, path = "/support-bundle", tag = "tools", operation_id = "supportBundle",
    responses((status = 200, content((Vec<u8> = "application/gzip")))))]
pub(super) async fn read(State(api): State<Api>) -> Result<Response, Problem> {
    let files = collect(&api).await?;
    let packed = tokio::task::spawn_blocking(move || pack(&files)).await;
    let packed = packed.map_err(|_| mismatch())?.map_err(|why| {
        let title = "The bundle cannot be made";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", title).detail(why)
    })?;
    let name = "attachment; filename=\"sluice-support.tar.gz\"";
    let head = [
        (header::CONTENT_TYPE, "application/gzip"),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((head, packed).into_response())
}

/// A file of the bundle.
struct Member {
    name: &'static str,
    text: String,
}

async fn collect(api: &Api) -> Result<Vec<Member>, Problem> {
    let mut files = Vec::new();
    for (name, action) in [
        ("configuration.json", Action::ReadConfig),
        ("revisions.json", Action::ListRevisions),
        ("status.json", Action::Status),
        ("stats.json", Action::Stats),
        ("health.json", Action::Health(HealthFilter::default())),
        ("workers.json", Action::ListWorkers),
        ("drops.json", Action::ListDrops),
        ("ports.json", Action::ListPorts),
        ("ha.json", Action::Ha),
        ("routes.json", Action::ListRoutes),
        ("tiers.json", Action::ListTiers(None)),
        ("neighbours.json", Action::ListNeighbours),
        ("captures.json", Action::ListCaptures),
        ("sessions.json", Action::ListSessions(sample())),
    ] {
        // What cannot be had is told in its place: that is when a bundle is needed most.
        let value = match api.handle.call(action).await {
            Ok(outcome) => show(outcome),
            Err(ActionError::Stopped) => return Err(ActionError::Stopped.into()),
            Err(why) => json!({ "error": why.to_string() }),
        };
        files.push(pretty(name, &value));
    }
    let metrics = super::metrics::written(api).await;
    files.push(Member {
        name: "metrics.txt",
        text: metrics.unwrap_or_else(|why| why.detail.unwrap_or(why.title)),
    });
    files.push(pretty("events.json", &api.events.after(0, EVENTS)));
    files.push(pretty("syslog.json", &api.logs.servers()));
    let lines = api.logs.lines().latest_of(Level::Trace, LINES);
    files.push(pretty("logs.json", &lines));
    files.push(pretty("bundle.json", &json!({ "made": clock::now() })));
    for (name, path) in MACHINE {
        let text = std::fs::read_to_string(path).unwrap_or_else(|why| why.to_string());
        files.push(Member { name, text });
    }
    Ok(files)
}

fn sample() -> SessionQuery {
    SessionQuery {
        filter: SessionFilter::default(),
        limit: SESSIONS,
        from: SessionCursor::default(),
    }
}

fn show(outcome: Outcome) -> Value {
    fn value(of: &impl Serialize) -> Value {
        serde_json::to_value(of).unwrap_or_default()
    }
    match outcome {
        Outcome::Config { config, .. } => {
            let mut raw = value(&config.raw);
            secrets::hide(&mut raw);
            raw
        }
        Outcome::Revisions(revisions) => value(&revisions),
        Outcome::Status(status) => value(&status),
        Outcome::Stats(stats) => value(&stats),
        Outcome::Health(health) => value(&health),
        Outcome::Workers(workers) => value(&workers),
        Outcome::Drops(drops) => value(&drops),
        Outcome::Ports(ports) => value(&ports),
        Outcome::Ha(ha) => value(&ha),
        Outcome::Routes(routes) => value(&routes),
        Outcome::Tiers(tiers) => value(&tiers),
        Outcome::Neighbours(neighbours) => value(&neighbours),
        Outcome::Captures(captures) => value(&captures),
        Outcome::Sessions(list) => value(&list),
        _ => Value::Null,
    }
}

fn pretty(name: &'static str, value: &impl Serialize) -> Member {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    Member { name, text }
}

fn pack(files: &[Member]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for Member { name, text } in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(clock::unix_ms() / 1000);
        archive.append_data(
            &mut header,
            format!("sluice-support/{name}"),
            text.as_bytes(),
        )?;
    }
    archive.into_inner()?.finish()
}
