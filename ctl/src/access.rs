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
        }) => {
            let mut body = json!({ "role": role });
            if let Some(file) = password_file {
                body["password"] = json!(secret(Some(file))?);
            }
            let answer = send(Method::PUT, &format!("/users/{}", escaped(name)), body)?;
            (answer, format!("{name} is {role}"))
        }
        Access::User(UserCommand::Delete { name }) => {
            let path = format!("/users/{}", escaped(name));
            let answer = client.send(&Method::DELETE, &path, &[], None)?;
            (answer, format!("{name} is out"))
        }
        Access::Token(TokenCommand::Make {
            name,
            role,
            user,
            days,
        }) => {
            let mut body = json!({ "name": name, "role": role, "seconds": days * DAY });
            if let Some(user) = user {
                body["user"] = json!(user);
            }
            let answer = send(Method::POST, "/tokens", body)?;
            let token = text(&answer, "token");
            (answer, token)
        }
        Access::Token(TokenCommand::Revoke { id }) => {
            let path = format!("/tokens/{}", escaped(id));
            let answer = client.send(&Method::DELETE, &path, &[], None)?;
            (answer, format!("{id} is revoked"))
        }
        Access::Certificate(Certificate::Set { certificate, key }) => {
            let body = json!({ "certificate": read(certificate)?, "key": read(key)? });
            let answer = send(Method::PUT, "/tls", body)?;
            let said = format!("in use, SHA-256 {}", text(&answer, "sha256"));
            (answer, said)
        }
        Access::Certificate(Certificate::Ask {
            authorities,
            required,
        }) => {
            let body = json!({ "authorities": read(authorities)?, "required": required });
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
