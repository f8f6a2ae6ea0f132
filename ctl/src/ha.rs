//! `sluicectl show ha`, `sluicectl handover`

use std::io::Write;

use serde_json::{Value, json};
use ureq::http::Method;

use crate::args::Duty;
use crate::client::{Body, Client, Failure};
use crate::table::{Column, cell, list, table};

/// Of the table of groups.
const COLUMNS: &[Column] = &[
    ("GROUP", false),
    ("NUMBER", true),
    ("VIRTUAL MAC", false),
    ("PRIORITY", true),
    ("HELD BY", false),
];

/// Of the table of other nodes.
const PEERS: &[Column] = &[
    ("NODE", true),
    ("STATE", false),
    ("HA LINK", false),
    ("WITNESS", false),
    ("UNTOLD", true),
    ("LAG", true),
];

/// Asks an appliance to go away, or to come back.
pub(crate) fn hand_over(
    client: &Client,
    duty: Duty,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let duty = match duty {
        Duty::Maintenance => "maintenance",
        Duty::Active => "active",
    };
    let body = Body::json(&json!({ "duty": duty }));
    let answer = client.send(&Method::POST, "/ha/handover", &[], Some(body))?;
    if as_json {
        writeln!(out, "{answer:#}")?;
        return Ok(());
    }
    show(&answer, out)
}

/// What `/ha` answered, for people.
pub(crate) fn show(answer: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    if answer.is_null() {
        writeln!(out, "The configuration names no other appliance.")?;
        return Ok(());
    }
    let text = |key: &str| cell(&answer[key]);
    let works = |key: &str| match answer[key].as_bool() {
        Some(true) => "works",
        Some(false) => "DOWN",
        None => "none",
    };
    let peers: Vec<&Value> = list(answer, "peers").collect();
    let others = peers.iter().map(|peer| {
        let (node, state) = (cell(&peer["node"]), cell(&peer["state"]));
        format!("node {node} is {state}")
    });
    writeln!(
        out,
        "node {}, {}{}; {}",
        text("node"),
        text("duty"),
        if answer["away"] == true {
            " (away)"
        } else {
            ""
        },
        others.collect::<Vec<_>>().join(", "),
    )?;
    writeln!(
        out,
        "HA link {}, witness {}",
        works("ha_link"),
        works("witness")
    )?;
    let pointers = match answer["pointers"].as_u64() {
        None | Some(0) => String::new(),
        Some(pointers) => format!(", {pointers} pointers"),
    };
    writeln!(
        out,
        "{} sessions would be lost if this node died now; lag {} frames; {} own, {} copies{pointers}",
        text("sessions_untold"),
        text("lag"),
        text("sessions_own"),
        text("sessions_replica"),
    )?;
    if peers.len() > 1 {
        let rows = peers.iter().map(|peer| {
            let works = |key: &str| match peer[key].as_bool() {
                Some(true) => "works",
                Some(false) => "DOWN",
                None => "none",
            };
            vec![
                cell(&peer["node"]),
                cell(&peer["state"]),
                works("ha_link").to_owned(),
                works("witness").to_owned(),
                cell(&peer["sessions_untold"]),
                cell(&peer["lag"]),
            ]
        });
        table(PEERS, rows, out)?;
    }
    let holder = |group: &Value| match (group["held_here"] == true, group["held_by_peer"] == true) {
        (true, true) => "SEVERAL".to_owned(),
        (true, false) => "this node".to_owned(),
        (false, true) => {
            let holders = list(group, "holders").map(|node| format!("node {}", cell(node)));
            holders.collect::<Vec<_>>().join(", ")
        }
        (false, false) => "nobody".to_owned(),
    };
    table(
        COLUMNS,
        list(answer, "groups").map(|group| {
            vec![
                cell(&group["name"]),
                cell(&group["number"]),
                cell(&group["virtual_mac"]),
                cell(&group["priority"]),
                holder(group),
            ]
        }),
        out,
    )?;
    let failing = list(answer, "trackers").filter(|tracker| tracker["ok"] == false);
    for tracker in failing {
        let (name, cost) = (cell(&tracker["name"]), cell(&tracker["lower_by"]));
        writeln!(out, "{name} fails: priorities are lowered by {cost}")?;
    }
    Ok(())
}
