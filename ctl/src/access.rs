//! Users, tokens, the certificate, and one's own account.

use std::io::{BufRead, Write};
use std::path::Path;

use serde_json::{Value, json};
use ureq::http::Method;

use crate::args::{Access, Certificate, TokenCommand, UserCommand};
use crate::client::{Body, Client, Failure, escaped, read};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// Does it, and says so. What is secret is printed alone, for a script to take.
pub(crate) fn access(
    client: &Client,
    what: &Access,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let send = |method: Method, path: &str, body: Value| {
        client.send(&method, path, &[], Some(Body::json(&body)))
    };
    let (answer, said) = match what {
        Access::Login {
            user,
            password_file,
        } => {
            let password = secret(password_file.as_deref())?;
            let body = json!({ "user": user, "password": password });
            let answer = send(Method::POST, "/login", body)?;
            let token = text(&answer, "token");
            (answer, token)
        }
        Access::Logout => {
            let answer = client.send(&Method::POST, "/logout", &[], None)?;
            (answer, "logged out".to_owned())
        }
        Access::Password { old_file, new_file } => {
            let (old, new) = (secret(old_file.as_deref())?, secret(new_file.as_deref())?);
            let answer = send(Method::PUT, "/password", json!({ "old": old, "new": new }))?;
            (answer, "the password is changed; log in again".to_owned())
        }
        Access::User(UserCommand::Put {
            name,
            role,
            password_file,
            dry_run,
        }) => {
            let mut body = json!({ "role": role });
            if let Some(file) = password_file {
                body["password"] = json!(secret(Some(file))?);
            }
            let path = format!("/users/{}", escaped(name));
            let body = Some(Body::json(&body));
            let answer = client.send(&Method::PUT, &path, &trial(*dry_run), body)?;
            let said = match answer["result"].as_str() {
                Some("valid") => format!("{name} would be {role}"),
                Some("no_change") => format!("{name} is {role} already"),
                _ => format!("{name} is {role}"),
            };
            (answer, said)
        }
        Access::User(UserCommand::Delete { name, dry_run }) => {
            let path = format!("/users/{}", escaped(name));
            let answer = client.send(&Method::DELETE, &path, &trial(*dry_run), None)?;
            (answer, format!("{name} {} out", is(*dry_run)))
        }
        Access::Token(TokenCommand::Make {
            name,
            role,
            scope,
            user,
            days,
        }) => {
            let mut body = json!({ "name": name, "role": role, "seconds": days * DAY });
            if let Some(user) = user {
                body["user"] = json!(user);
            }
            if !scope.is_empty() {
                body["scope"] = json!(scope);
            }
            let answer = send(Method::POST, "/tokens", body)?;
            let token = text(&answer, "token");
            (answer, token)
        }
        Access::Token(TokenCommand::Revoke { id, dry_run }) => {
            let path = format!("/tokens/{}", escaped(id));
            let answer = client.send(&Method::DELETE, &path, &trial(*dry_run), None)?;
            (answer, format!("{id} {} revoked", is(*dry_run)))
        }
        Access::Certificate(Certificate::Set {
            certificate,
            key,
            dry_run,
        }) => {
            let body = json!({ "certificate": read(certificate)?, "key": read(key)? });
            let body = Some(Body::json(&body));
            let answer = client.send(&Method::PUT, "/tls", &trial(*dry_run), body)?;
            let state = if *dry_run { "can be used" } else { "in use" };
            let said = format!("{state}, SHA-256 {}", text(&answer, "sha256"));
            (answer, said)
        }
        Access::Certificate(Certificate::Ask {
            authorities,
            required,
            crls,
        }) => {
            let mut body = json!({ "authorities": read(authorities)?, "required": required });
            if let Some(crls) = crls {
                body["crls"] = json!(read(crls)?);
            }
            let answer = send(Method::PUT, "/tls/clients", body)?;
            (answer, "clients are asked for certificates".to_owned())
        }
        Access::Certificate(Certificate::Ignore) => {
            let answer = client.send(&Method::DELETE, "/tls/clients", &[], None)?;
            (answer, "clients are asked for no certificates".to_owned())
        }
    };
    match as_json {
        true => writeln!(out, "{answer:#}")?,
        false => writeln!(out, "{said}")?,
    }
    Ok(())
}

fn trial(dry_run: bool) -> Vec<(&'static str, String)> {
    let given = dry_run.then(|| ("dry_run", "true".to_owned()));
    given.into_iter().collect()
}

fn is(dry_run: bool) -> &'static str {
    if dry_run { "would be" } else { "is" }
}

fn text(answer: &Value, key: &str) -> String {
    answer[key].as_str().unwrap_or_default().to_owned()
}

/// A password: of a file, or the next line of standard input.
fn secret(file: Option<&Path>) -> Result<String, Failure> {
    if let Some(file) = file {
        return Ok(read(file)?.trim_end_matches(['\r', '\n']).to_owned());
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
