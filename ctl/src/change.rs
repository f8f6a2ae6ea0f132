//! Changes: of the configuration, and of sessions.

use std::io::{Read, Write};
use std::path::Path;

use serde_json::{Map, Value, json};
use ureq::http::Method;

use crate::args::{Change, How};
use crate::client::{Body, Client, Condition, Failure, escaped, read};
use crate::table::{cell, list, number};

/// Whatever changes the configuration.
pub(crate) fn change(
    client: &Client,
    change: &Change,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let answer = match change {
        Change::Drain { server, how } => set_state(client, server, json!("draining"), how),
        Change::Disable { server, how } => set_state(client, server, json!("down"), how),
        Change::Enable { server, how } => set_state(client, server, Value::Null, how),
        Change::Set { part, values, how } => {
            let body = Body::json(&object(values)?);
            let path = format!("/config{}", path_of(part)?);
            send(
                client,
                &Method::PATCH,
                (&path, &query(how)),
                how,
                Some(body),
            )
        }
        Change::Put {
            part,
            values,
            position,
            how,
        } => {
            let body = Body::json(&object(values)?);
            let path = format!("/config{}", path_of(part)?);
            let mut query = query(how);
            if let Some(position) = position {
                query.push(("position", position.clone()));
            }
            send(client, &Method::PUT, (&path, &query), how, Some(body))
        }
        Change::Delete { part, how } => {
            let path = format!("/config{}", path_of(part)?);
            send(client, &Method::DELETE, (&path, &query(how)), how, None)
        }
        Change::Apply { file, how } => {
            let text = contents(file)?;
            let body = Body {
                kind: "application/toml",
                text,
            };
            send(
                client,
                &Method::PUT,
                ("/config", &query(how)),
                how,
                Some(body),
            )
        }
        Change::Merge { file, how } => {
            let body = Body {
                kind: "application/merge-patch+json",
                text: contents(file)?,
            };
            send(
                client,
                &Method::PATCH,
                ("/config", &query(how)),
                how,
                Some(body),
            )
        }
        Change::Begin { file } => {
            let body = file.as_deref().map(contents).transpose()?;
            let body = body.map(|text| Body {
                kind: "application/toml",
                text,
            });
            client.send(&Method::PUT, "/candidate", &[], body)
        }
        Change::Discard { next } => {
            let path = if *next { "/next" } else { "/candidate" };
            client.send(&Method::DELETE, path, &[], None)
        }
        Change::Commit {
            comment,
            dry_run,
            confirm,
            at_restart,
        } => {
            let how = How {
                comment: comment.clone(),
                dry_run: *dry_run,
                confirm: *confirm,
                at_restart: *at_restart,
                ..How::default()
            };
            client.send(&Method::POST, "/candidate/commit", &query(&how), None)
        }
        Change::Confirm => client.send(&Method::POST, "/config/confirm", &[], None),
        Change::Revert => client.send(&Method::POST, "/config/revert", &[], None),
        Change::Rollback { revision, how } => {
            let path = format!("/config/revisions/{revision}/rollback");
            send(client, &Method::POST, (&path, &query(how)), how, None)
        }
    }?;
    if as_json {
        writeln!(out, "{answer:#}")?;
    } else {
        report(&answer, out)?;
    }
    Ok(())
}

/// What a file holds, or standard input.
fn contents(file: &Path) -> Result<String, Failure> {
    if file.to_str() != Some("-") {
        return read(file);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

fn set_state(client: &Client, server: &str, state: Value, how: &How) -> Result<Value, Failure> {
    let Some((pool, name)) = server.split_once('/') else {
        let why = format!("{server:?} is not a real server; write POOL/NAME, as web/web1");
        return Err(Failure::Usage(why));
    };
    let path = format!("/config/pool/{}/server/{}", escaped(pool), escaped(name));
    let body = Body::json(&json!({ "state": state }));
    send(
        client,
        &Method::PATCH,
        (&path, &query(how)),
        how,
        Some(body),
    )
}

/// Sends a change under its condition.
fn send(
    client: &Client,
    method: &Method,
    place: (&str, &[(&str, String)]),
    how: &How,
    body: Option<Body>,
) -> Result<Value, Failure> {
    let condition = match &how.if_match {
        Some(tag) => Some(Condition::Is(tag)),
        None => how.if_absent.then_some(Condition::Absent),
    };
    client.send_if(method, place, condition, body)
}

fn query(how: &How) -> Vec<(&'static str, String)> {
    let mut query = Vec::new();
    if let Some(comment) = &how.comment {
        query.push(("comment", comment.clone()));
    }
    if let Some(seconds) = how.confirm {
        query.push(("confirm_seconds", seconds.to_string()));
    }
    for (key, given) in [
        ("dry_run", how.dry_run),
        ("candidate", how.candidate),
        ("at_restart", how.at_restart),
    ] {
        if given {
            query.push((key, "true".to_owned()));
        }
    }
    query
}

/// `pool/web/server/web1` as the API has it. The slash of a network is part of its name.
pub(crate) fn path_of(part: &str) -> Result<String, Failure> {
    let part = part.trim_matches('/');
    if part.is_empty() {
        let why = "name a part, as pool/web or route/0.0.0.0/0";
        return Err(Failure::Usage(why.to_owned()));
    }
    if let Some(network) = part.strip_prefix("route/") {
        return Ok(format!("/route/{}", escaped(network)));
    }
    let segments = |part: &str| -> String {
        let segments = part.split('/');
        segments.map(|one| format!("/{}", escaped(one))).collect()
    };
    if let Some((list, network)) = part.split_once("/networks/")
        && list.starts_with("list/")
    {
        return Ok(format!("{}/networks/{}", segments(list), escaped(network)));
    }
    Ok(segments(part))
}

/// `KEY=VALUE` as an object. What is not JSON is text.
fn object(values: &[String]) -> Result<Value, Failure> {
    let mut object = Map::new();
    for given in values {
        let Some((key, text)) = given.split_once('=') else {
            return Err(Failure::Usage(format!("{given:?} is not KEY=VALUE")));
        };
        let value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
        object.insert(key.to_owned(), value);
    }
    Ok(Value::Object(object))
}

/// What became of a change, for people.
fn report(answer: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    let result = answer["result"].as_str().unwrap_or("done");
    let mut said = match result {
        "at_restart" => "waits for the next start; in use stays".to_owned(),
        result => result.replace('_', " "),
    };
    if let Some(revision) = answer["revision"].as_u64() {
        said += &format!(", revision {revision}");
    }
    if let Some(left) = answer["confirmation"]["left_ms"].as_u64() {
        let seconds = left.div_ceil(1000);
        said += &format!("; `sluicectl confirm` within {seconds} s, or it is undone");
    }
    if answer["in_force"] == json!(false) && matches!(result, "committed" | "trial") {
        said += "; some worker has not said yet that it uses it";
    }
    writeln!(out, "{said}")?;
    differences(list(answer, "changes"), out)?;
    let touched = number(&answer["touched"]["sessions_at_most"]);
    if touched > 0 {
        writeln!(out, "touches {touched} sessions at most")?;
    }
    Ok(())
}

/// One change a line.
pub(crate) fn differences<'a>(
    changes: impl Iterator<Item = &'a Value>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    for change in changes {
        let path = cell(&change["path"]);
        match change["op"].as_str() {
            Some("add") => writeln!(out, "  + {path} = {}", change["new"])?,
            Some("remove") => writeln!(out, "  - {path} = {}", change["old"])?,
            _ => writeln!(out, "  ~ {path}: {} -> {}", change["old"], change["new"])?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_as_people_write_them() {
        for (part, path) in [
            ("pool/web/server/web1", "/pool/web/server/web1"),
            ("/tcp/", "/tcp"),
            ("route/10.0.0.0/8", "/route/10.0.0.0%2F8"),
            ("firewall/rule/a b", "/firewall/rule/a%20b"),
            (
                "list/bad/networks/10.0.0.0/8",
                "/list/bad/networks/10.0.0.0%2F8",
            ),
        ] {
            assert_eq!(path_of(part).expect("a part"), path);
        }
        assert_eq!(path_of("/").expect_err("nothing").code(), 2);
    }

    #[test]
    fn values_are_json_where_they_can_be() {
        let given = ["weight=3", "state=null", "address=10.0.0.1", "open=[1]"].map(str::to_owned);
        let wanted = json!({ "weight": 3, "state": null, "address": "10.0.0.1", "open": [1] });
        assert_eq!(object(&given).expect("good"), wanted);
        assert_eq!(object(&["weight".to_owned()]).expect_err("no =").code(), 2);
    }
}
