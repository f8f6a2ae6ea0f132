//! `sluicectl capture`, `captures`, `trace`, `log-level` and `support-bundle`.

use std::fs::File;
use std::io::{BufRead, Write};
use std::path::Path;

use serde_json::{Map, Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use ureq::http::Method;

use crate::args::{Capture, CaptureSpec, Captures, Trace};
use crate::client::{Body, Client, Failure};
use crate::show::properties;
use crate::table::{cell, list, number, table};

/// Exit code of somebody who could not wait.
const SIGNALLED: i32 = 130;

/// Captures to a file, or to `out`, of which the reader may go away at any time, and the capture with it.
pub(crate) fn capture(client: &Client, what: &Capture, out: &mut dyn Write) -> Result<(), Failure> {
    let to_stdout = what.write.as_os_str() == "-";
    let file = match to_stdout {
        true => None,
        false => Some(File::create(&what.write).map_err(|why| {
            let path = what.write.display();
            Failure::Usage(format!("{path}: {why}"))
        })?),
    };
    let body = spec(&what.what);
    let Some(mut file) = file else {
        return pour(
            client.stream_of("/captures/stream", body, "*/*")?,
            client,
            out,
        );
    };
    let begun = client.send(&Method::POST, "/captures", &[], Some(body))?;
    let path = format!("/captures/{}", number(&begun["id"]));
    let follow = [("follow", "true".to_owned())];
    let read = until_signal(client, &path, || {
        let packets = client.stream(&format!("{path}/packets"), &follow, "*/*");
        packets.and_then(|packets| pour(packets, client, &mut file))
    })?;
    let view = read.and_then(|()| client.get(&path, &[]));
    let gone = client.send(&Method::DELETE, &path, &[], None);
    let view = view?;
    gone?;
    let lost = number(&view["missed"]) + number(&view["limited"]);
    write!(
        out,
        "{} packets, {} bytes",
        number(&view["packets"]),
        number(&view["bytes"])
    )?;
    if lost > 0 {
        write!(out, "; {lost} more came too fast")?;
    }
    writeln!(out, "; ended by {}", cell(&view["over"]))?;
    Ok(())
}

/// What is to be captured, as the API wants it.
fn spec(what: &CaptureSpec) -> Body {
    let mut spec = json!({ "filter": what.filter.join(" "), "ports": what.ports });
    if what.ha {
        spec["ha"] = json!(true);
    }
    set(&mut spec, "snaplen", what.snaplen);
    set(&mut spec, "seconds", what.seconds);
    set(&mut spec, "max_bytes", what.max_bytes);
    set(&mut spec, "packets_per_second", what.rate);
    Body::json(&spec)
}

/// Reads a capture; a signal to end stops it over there, so that what is read comes to its end. Another one
/// ends the program.
fn until_signal<T>(client: &Client, path: &str, read: impl FnOnce() -> T) -> std::io::Result<T> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let handle = signals.handle();
    Ok(std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut signals = signals.forever();
            if signals.next().is_some() {
                // If it is over there is nothing to stop, and if it cannot be reached nothing to be done.
                let _ = client.send(&Method::POST, &format!("{path}/stop"), &[], None);
            }
            if signals.next().is_some() {
                std::process::exit(SIGNALLED);
            }
        });
        let done = read();
        handle.close();
        done
    }))
}

/// What to do with captures that are there.
pub(crate) fn captures(
    client: &Client,
    what: &Captures,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let of = |id: &u64| format!("/captures/{id}");
    let shown = match what {
        Captures::Read { id, write } => {
            return fetch(client, &format!("{}/packets", of(id)), write, out);
        }
        Captures::Delete { id } => {
            client.send(&Method::DELETE, &of(id), &[], None)?;
            return Ok(());
        }
        Captures::Start(what) => client.send(&Method::POST, "/captures", &[], Some(spec(what)))?,
        Captures::List => client.get("/captures", &[])?,
        Captures::Show { id } => client.get(&of(id), &[])?,
        Captures::Stop { id } => {
            client.send(&Method::POST, &format!("{}/stop", of(id)), &[], None)?
        }
    };
    if as_json {
        writeln!(out, "{shown:#}")?;
        return Ok(());
    }
    let columns = [
        ("id", true),
        ("state", false),
        ("packets", true),
        ("bytes", true),
        ("lost", true),
        ("filter", false),
    ];
    let row = |capture: &Value| {
        let lost = number(&capture["missed"]) + number(&capture["limited"]);
        let state = match capture["running"].as_bool() {
            Some(true) => "running".to_owned(),
            _ => format!("over: {}", cell(&capture["over"])),
        };
        vec![
            cell(&capture["id"]),
            state,
            cell(&capture["packets"]),
            cell(&capture["bytes"]),
            lost.to_string(),
            cell(&capture["spec"]["filter"]),
        ]
    };
    let rows: Vec<_> = match what {
        Captures::List => list(&shown, "captures").map(row).collect(),
        _ => vec![row(&shown)],
    };
    table(&columns, rows, out)?;
    Ok(())
}

/// Sets how much is logged, and says what that is now.
pub(crate) fn log_level(
    client: &Client,
    directives: &str,
    seconds: Option<u32>,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut wanted = json!({ "directives": directives });
    set(&mut wanted, "seconds", seconds);
    let body = Body::json(&wanted);
    let level = client.send(&Method::PUT, "/logs/level", &[], Some(body))?;
    if as_json {
        writeln!(out, "{level:#}")?;
        return Ok(());
    }
    properties(&level, out)
}

/// Fetches the support bundle.
pub(crate) fn support_bundle(
    client: &Client,
    to: &Path,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    fetch(client, "/support-bundle", to, out)
}

/// Writes what is there into a file, or to `out`.
fn fetch(client: &Client, path: &str, to: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    if to.as_os_str() == "-" {
        return pour(client.stream(path, &[], "*/*")?, client, out);
    }
    let made = File::create(to);
    let mut file = made.map_err(|why| Failure::Usage(format!("{}: {why}", to.display())))?;
    pour(client.stream(path, &[], "*/*")?, client, &mut file)
}

/// Writes on what comes, as it comes.
fn pour(mut from: impl BufRead, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
    loop {
        let piece = from.fill_buf();
        let piece = piece.map_err(|why| Failure::Connection {
            url: client.url().to_owned(),
            why: why.to_string(),
        })?;
        if piece.is_empty() {
            return Ok(());
        }
        out.write_all(piece)?;
        out.flush()?;
        let length = piece.len();
        from.consume(length);
    }
}

fn set<T: Into<Value>>(object: &mut Value, key: &str, value: Option<T>) {
    if let Some(value) = value {
        object[key] = value.into();
    }
}

/// Says what would become of a packet.
pub(crate) fn trace(
    client: &Client,
    what: &Trace,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut query = Value::Object(Map::new());
    query["port"] = json!(what.port);
    set(&mut query, "frame", what.frame.clone());
    set(&mut query, "source", what.source.clone());
    set(&mut query, "destination", what.destination.clone());
    set(&mut query, "protocol", what.protocol.clone());
    set(&mut query, "source_port", what.source_port);
    set(&mut query, "destination_port", what.destination_port);
    set(&mut query, "flags", what.flags.clone());
    set(&mut query, "ttl", what.ttl);
    set(&mut query, "payload", what.payload);
    set(&mut query, "vlan", what.vlan);
    let answer = client.send(&Method::POST, "/trace", &[], Some(Body::json(&query)))?;
    if as_json {
        writeln!(out, "{answer:#}")?;
        return Ok(());
    }
    let columns = [("worker", true), ("stage", false), ("found", false)];
    let rows = list(&answer, "steps").map(|step| {
        ["worker", "stage", "text"]
            .map(|key| cell(&step[key]))
            .to_vec()
    });
    table(&columns, rows, out)?;
    let verdict = cell(&answer["verdict"]);
    match answer["reason"].as_str() {
        Some(reason) => writeln!(out, "{verdict} ({reason}): {}", cell(&answer["text"]))?,
        None => writeln!(out, "{verdict}: {}", cell(&answer["text"]))?,
    }
    Ok(())
}
