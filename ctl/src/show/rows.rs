//! Columns of tables, and how a row of an answer fills them.

use serde_json::{Value, json};

use crate::args::Show;
use crate::table::{Column, cell, duration, number};

/// Columns, and what makes a row of an item and its position.
pub(crate) type Rows = (&'static [Column], fn(usize, &Value) -> Vec<String>);

/// Of everything that is a plain list.
pub(super) fn of(what: &Show) -> Rows {
    match what {
        Show::Workers => (
            &[
                ("worker", true),
                ("core", true),
                ("sessions", true),
                ("received", true),
                ("frames a burst", true),
                ("ns a frame", true),
                ("cycles a frame", true),
                ("busy polls", true),
                ("busy", true),
                ("sleeps", true),
            ],
            |_, worker| {
                let ratio = |key: &str| worker[key].as_f64().unwrap_or(0.0);
                let mut row = cells(worker, &["worker", "core", "sessions", "received"]);
                row.extend([
                    format!("{:.1}", ratio("burst_mean")),
                    format!("{:.0}", ratio("ns_per_frame")),
                    worker["cycles_per_frame"]
                        .as_f64()
                        .map_or_else(|| "-".to_owned(), |cycles| format!("{cycles:.0}")),
                    format!("{:.1} %", 100.0 * ratio("busy_share")),
                    duration(number(&worker["busy_ns"]) / 1_000_000),
                    cell(&worker["sleeps"]),
                ]);
                row
            },
        ),
        Show::Ports => (
            &[
                ("port", false),
                ("link", false),
                ("zone", false),
                ("vlan", true),
                ("mac", false),
                ("mtu", true),
                ("addresses", false),
                ("received", true),
                ("sent", true),
                ("dropped", true),
                ("missed", true),
                ("errors", true),
            ],
            |_, port| {
                let up = port["link"]["up"].as_bool() == Some(true);
                let (counters, nic) = (&port["counters"], &port["nic"]);
                let sum = |one: &Value, other: &Value| (number(one) + number(other)).to_string();
                vec![
                    cell(&port["name"]),
                    if up { "up" } else { "down" }.to_owned(),
                    cell(&port["zone"]),
                    cell(&port["vlan"]),
                    cell(&port["mac"]),
                    cell(&port["mtu"]),
                    cell(&port["addresses"]),
                    cell(&counters["rx_frames"]),
                    cell(&counters["tx_frames"]),
                    sum(&counters["rx_dropped"], &counters["tx_dropped"]),
                    sum(&nic["rx_missed"], &nic["rx_no_buffer"]),
                    sum(&nic["rx_errors"], &nic["tx_errors"]),
                ]
            },
        ),
        Show::Devices => (
            &[
                ("device", false),
                ("received", true),
                ("sent", true),
                ("missed", true),
                ("no buffer", true),
                ("errors in", true),
                ("errors out", true),
            ],
            |_, device| {
                let keys = [
                    "name",
                    "rx_frames",
                    "tx_frames",
                    "rx_missed",
                    "rx_no_buffer",
                    "rx_errors",
                    "tx_errors",
                ];
                cells(device, &keys)
            },
        ),
        Show::Services => (
            &[
                ("kind", false),
                ("service", false),
                ("sessions", true),
                ("opened", true),
                ("refused", true),
                ("packets in", true),
                ("packets back", true),
                ("bytes in", true),
                ("bytes back", true),
            ],
            |_, service| {
                let keys = [
                    "kind",
                    "name",
                    "sessions",
                    "sessions_opened",
                    "refused",
                    "packets_original",
                    "packets_reply",
                    "bytes_original",
                    "bytes_reply",
                ];
                cells(service, &keys)
            },
        ),
        Show::Servers => (
            &[
                ("server", false),
                ("state", false),
                ("health", false),
                ("weight", true),
                ("sessions", true),
                ("opened", true),
                ("bytes in", true),
                ("bytes back", true),
            ],
            |_, server| {
                let keys = [
                    "name",
                    "state",
                    "health",
                    "weight",
                    "sessions",
                    "sessions_opened",
                    "bytes_original",
                    "bytes_reply",
                ];
                cells(server, &keys)
            },
        ),
        Show::Health { .. } => (
            &[
                ("server", false),
                ("configured", false),
                ("state", false),
                ("health", false),
                ("passive", false),
                ("share %", true),
                ("check", false),
                ("target", false),
                ("says", false),
                ("took ms", true),
                ("failed", true),
                ("since", false),
                ("why", false),
            ],
            |_, row| {
                let check = &row["check"];
                let took = check["latency_ms"].as_f64().map(|ms| format!("{ms:.1}"));
                let keys = [
                    "name",
                    "configured",
                    "state",
                    "health",
                    "passive",
                    "share_percent",
                ];
                let mut cells = cells(row, &keys);
                cells.extend(["name", "target", "health"].map(|key| cell(&check[key])));
                cells.push(took.unwrap_or_default());
                cells.extend(["failed", "since", "error"].map(|key| cell(&check[key])));
                cells
            },
        ),
        Show::Syslog => (
            &[
                ("syslog server", false),
                ("address", false),
                ("transport", false),
                ("connected", false),
                ("waiting", true),
                ("sent", true),
                ("lost", true),
                ("error", false),
            ],
            |_, server| {
                let keys = [
                    "name",
                    "server",
                    "transport",
                    "connected",
                    "waiting",
                    "sent",
                    "lost",
                    "error",
                ];
                cells(server, &keys)
            },
        ),
        Show::Users { .. } => (
            &[
                ("user", false),
                ("role", false),
                ("must change password", false),
            ],
            |_, user| cells(user, &["name", "role", "must_change_password"]),
        ),
        Show::Tokens => (
            &[
                ("token", false),
                ("name", false),
                ("user", false),
                ("role", false),
                ("scope", false),
                ("good until", false),
            ],
            |_, token| {
                let mut cells = cells(token, &["id", "name", "user", "role", "scope", "expires"]);
                let scope = token["scope"].as_array().into_iter().flatten();
                let scope: Vec<&str> = scope.filter_map(Value::as_str).collect();
                cells[4] = scope.join(" ");
                cells
            },
        ),
        Show::Audit { .. } => (
            &[
                ("record", true),
                ("time", false),
                ("user", false),
                ("client", false),
                ("method", false),
                ("status", true),
                ("path", false),
            ],
            |_, record| {
                let keys = ["id", "time", "user", "client", "method", "status", "path"];
                let mut cells = cells(record, &keys);
                if record["dry_run"] == true {
                    cells[4] += " (dry run)";
                }
                cells
            },
        ),
        Show::Neighbours { .. } => (
            &[
                ("port", false),
                ("address", false),
                ("mac", false),
                ("state", false),
                ("heard", true),
            ],
            |_, neighbour| {
                let mut row = cells(neighbour, &["port", "address", "mac", "state"]);
                row.push(duration(number(&neighbour["age_ms"])));
                row
            },
        ),
        Show::Tiers { .. } => (
            &[
                ("virtual server", false),
                ("tier", false),
                ("priorities", false),
                ("in use since", false),
                ("servers", true),
                ("available", true),
                ("wanted", true),
                ("full", true),
                ("sessions", true),
                ("why not those before", false),
            ],
            |_, row| {
                let tier = &row["tier"];
                let servers = tier["servers"].as_array();
                let sessions = servers.into_iter().flatten();
                let sessions: u64 = sessions.map(|it| number(&it["sessions"])).sum();
                let counted = |count: String| servers.map_or("-".to_owned(), |_| count);
                let name = match &tier["pool"] {
                    Value::String(pool) => format!("{} {pool}", cell(&tier["kind"])),
                    _ => cell(&tier["kind"]),
                };
                vec![
                    cell(&row["virtual_server"]),
                    name,
                    cell(&tier["priorities"]),
                    cell(&row["since"]),
                    counted(servers.map_or(0, Vec::len).to_string()),
                    cell(&tier["available"]),
                    cell(&row["min_up"]),
                    cell(&tier["full"]),
                    counted(sessions.to_string()),
                    cell(&row["why"]),
                ]
            },
        ),
        Show::Routes { .. } => (
            &[("to", false), ("via", false), ("port", false)],
            |_, route| cells(route, &["to", "via", "port"]),
        ),
        _ => (
            &[
                ("revision", true),
                ("time", false),
                ("author", false),
                ("comment", false),
            ],
            |_, revision| cells(revision, &["number", "time", "author", "comment"]),
        ),
    }
}

/// A row for each check of each server, and one for a server without.
pub(super) fn checks<'a>(servers: impl Iterator<Item = &'a Value>) -> Vec<Value> {
    let rows = servers.flat_map(|server| {
        let checks = server["checks"].as_array().cloned().unwrap_or_default();
        let checks = if checks.is_empty() {
            vec![Value::Null]
        } else {
            checks
        };
        checks.into_iter().map(|check| {
            let mut row = server.clone();
            row["check"] = check;
            row
        })
    });
    rows.collect()
}

/// A row for each tier of each virtual server, and one for a redirect or nobody, if that is what takes its
/// sessions. What is known of the one in use stands with it.
pub(super) fn tiers<'a>(virtual_servers: impl Iterator<Item = &'a Value>) -> Vec<Value> {
    let rows = virtual_servers.flat_map(|of| {
        let mut tiers = of["tiers"].as_array().cloned().unwrap_or_default();
        if tiers.iter().all(|tier| tier["in_use"] != true) {
            tiers.push(json!({ "kind": of["taker"], "in_use": true }));
        }
        tiers.into_iter().enumerate().map(move |(at, tier)| {
            let in_use = tier["in_use"] == true;
            let here = |key: &str, shown: bool| match shown {
                true => of[key].clone(),
                false => Value::Null,
            };
            json!({
                "virtual_server": of["virtual_server"],
                "since": here("since", in_use),
                "why": here("why", in_use),
                "min_up": here("min_up", at == 0),
                "tier": tier,
            })
        })
    });
    rows.collect()
}

/// Of sessions.
pub(crate) fn sessions() -> Rows {
    (
        &[
            ("protocol", false),
            ("from", false),
            ("to", false),
            ("reply from", false),
            ("reply to", false),
            ("state", false),
            ("service", false),
            ("server", false),
            ("age", true),
            ("idle", true),
        ],
        |_, session| {
            let end = |flow: &str, side: &str| {
                let (address, port) =
                    (&session[flow][side], &session[flow][format!("{side}_port")]);
                let address = cell(address);
                match port.as_u64() {
                    Some(port) if address.contains(':') => format!("[{address}]:{port}"),
                    Some(port) => format!("{address}:{port}"),
                    None => address,
                }
            };
            vec![
                cell(&session["protocol"]),
                end("original", "source"),
                end("original", "destination"),
                end("reply", "source"),
                end("reply", "destination"),
                cell(&session["state"]),
                cell(&session["service"]),
                cell(&session["server"]),
                duration(number(&session["age_ms"])),
                duration(number(&session["idle_ms"])),
            ]
        },
    )
}

/// More of sessions, for those whose screen is wide.
pub(crate) fn sessions_wide() -> Rows {
    (
        &[
            ("packets", true),
            ("back", true),
            ("bytes", true),
            ("back", true),
            ("ends in", true),
            ("worker", true),
            ("owner", false),
        ],
        |_, session| {
            let (there, back) = (&session["original"], &session["reply"]);
            vec![
                cell(&there["packets"]),
                cell(&back["packets"]),
                cell(&there["bytes"]),
                cell(&back["bytes"]),
                duration(number(&session["expires_ms"])),
                cell(&session["worker"]),
                cell(&session["owner"]),
            ]
        },
    )
}

fn cells(item: &Value, keys: &[&str]) -> Vec<String> {
    keys.iter().map(|&key| cell(&item[key])).collect()
}
