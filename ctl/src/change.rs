//! Changes: of the configuration, and of sessions.

use std::io::{Read, Write};

use serde_json::{Map, Value, json};
use ureq::http::Method;

use crate::args::{Change, How, Sessions};
use crate::client::{Body, Client, Failure, escaped};
use crate::table::{cell, list, number};

/// `sluicectl sessions`
pub(crate) fn end_sessions(
    client: &Client,
    what: &Sessions,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let Sessions::End { filter, all, reset } = what;
    let mut query = filter.query();
    if *all {
        query.push(("all", "true".to_owned()));
    }
    if *reset {
        query.push(("reset", "true".to_owned()));
    }
    let answer = client.send(&Method::DELETE, "/sessions", &query, None)?;
    match as_json {
        true => writeln!(out, "{answer:#}")?,
        false => writeln!(out, "{} sessions ended", number(&answer["ended"]))?,
    }
    Ok(())
}

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
            client.send(&Method::PATCH, &path, &query(how), Some(body))
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
            client.send(&Method::PUT, &path, &query, Some(body))
        }
        Change::Delete { part, how } => {
            let path = format!("/config{}", path_of(part)?);
            client.send(&Method::DELETE, &path, &query(how), None)
        }
        Change::Apply { file, how } => {
            let text = match file.to_str() {
                Some("-") => {
                    let mut text = String::new();
                    let read = std::io::stdin().read_to_string(&mut text);
                    read.map(|_| text)
                }
                _ => std::fs::read_to_string(file),
            };
            let text = text.map_err(|why| Failure::Usage(format!("{}: {why}", file.display())))?;
            let body = Body {
                kind: "application/toml",
                text,
            };
            client.send(&Method::PUT, "/config", &query(how), Some(body))
        }
        Change::Begin => client.send(&Method::PUT, "/candidate", &[], None),
        Change::Discard => client.send(&Method::DELETE, "/candidate", &[], None),
        Change::Commit {
            comment,
            dry_run,
            confirm,
        } => {
            let how = How {
                comment: comment.clone(),
                dry_run: *dry_run,
                confirm: *confirm,
                candidate: false,
            };
            client.send(&Method::POST, "/candidate/commit", &query(&how), None)
        }
        Change::Confirm => client.send(&Method::POST, "/config/confirm", &[], None),
        Change::Revert => client.send(&Method::POST, "/config/revert", &[], None),
        Change::Rollback { revision, how } => {
            let path = format!("/config/revisions/{revision}/rollback");
            client.send(&Method::POST, &path, &query(how), None)
        }
    }?;
    if as_json {
        writeln!(out, "{answer:#}")?;
    } else {
        report(&answer, out)?;
    }
    Ok(())
}

fn set_state(client: &Client, server: &str, state: Value, how: &How) -> Result<Value, Failure> {
    let Some((pool, name)) = server.split_once('/') else {
        let why = format!("{server:?} is not a real server; write POOL/NAME, as web/web1");
        return Err(Failure::Usage(why));
    };
    let path = format!("/config/pool/{}/server/{}", escaped(pool), escaped(name));
    let body = Body::json(&json!({ "state": state }));
    client.send(&Method::PATCH, &path, &query(how), Some(body))
}

fn query(how: &How) -> Vec<(&'static str, String)> {
    let mut query = Vec::new();
    if let Some(comment) = &how.comment {
        query.push(("comment", comment.clone()));
    }
    if let Some(seconds) = how.confirm {
        query.push(("confirm_seconds", seconds.to_string()));
    }
    for (key, given) in [("dry_run", how.dry_run), ("candidate", how.candidate)] {
        if given {
            query.push((key, "true".to_owned()));
        }
    }
    query
}

/// `pool/web/server/web1` as the API has it. The slash of a route's network is part of its name.
pub(crate) fn path_of(part: &str) -> Result<String, Failure> {
    let part = part.trim_matches('/');
    if part.is_empty() {
        let why = "name a part, as pool/web or route/0.0.0.0/0";
        return Err(Failure::Usage(why.to_owned()));
    }
    if let Some(network) = part.strip_prefix("route/") {
        return Ok(format!("/route/{}", escaped(network)));
    }
    let segments = part
        .split('/')
        .map(|segment| format!("/{}", escaped(segment)));
    Ok(segments.collect())
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
    let mut said = result.replace('_', " ");
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
