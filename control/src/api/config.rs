//! `/api/v1/config`: the configuration as a whole.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::Problem;
use super::caller::Caller;
use super::guard::unreadable;
use super::problem::mismatch;
use super::terms::{Asked, How, answer, etag, has, not_modified};
use crate::config::edit::{Address, Edit, Operation};
use crate::config::{Format, RawConfig, Source, diff, secrets};
use crate::controller::{Action, Change, Committed, Handle, Outcome, What};

const TOML: &str = "application/toml";
const JSON: &str = "application/json";

/// The configuration in use
///
/// As it was given, in TOML with its comments, or in JSON if `Accept` names that first. For others than
/// administrators `(not shown)` stands in place of secrets; sent back, it means the value that is there.
#[utoipa::path(get, path = "/config", tag = "configuration", operation_id = "readConfig",
    responses((status = 200, description = "The configuration; its `ETag` is for `If-Match`",
        content((RawConfig = "application/json"), (String = "application/toml")))))]
pub(super) async fn read(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Outcome::Config { config, tag, .. } = handle.call(Action::ReadConfig).await? else {
        return Err(mismatch());
    };
    if has(&headers, &tag) {
        return Ok(not_modified(&tag));
    }
    let (text, raw) = (config.to_toml(), diff::value(&config.raw));
    Ok(shown(&caller, &headers, &tag, text, raw))
}

/// A whole configuration besides the one in use, unless the client has it already.
pub(super) async fn besides(
    handle: &Handle,
    action: Action,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let Outcome::Candidate(view) = handle.call(action).await? else {
        return Err(mismatch());
    };
    if has(headers, &view.tag) {
        return Ok(not_modified(&view.tag));
    }
    Ok(shown(caller, headers, &view.tag, view.text, view.value))
}

/// A configuration in the format that is wanted, for whoever wants it.
pub(super) fn shown(
    caller: &Caller,
    headers: &HeaderMap,
    tag: &str,
    text: String,
    mut value: Value,
) -> Response {
    let hidden = !caller.sees_secrets();
    match wanted(headers) {
        Format::Toml if hidden => {
            // What is in use, or was, can be read.
            let raw = serde_json::from_value(value).unwrap_or_default();
            toml(tag, secrets::hide_text(&text, &raw))
        }
        Format::Toml => toml(tag, text),
        Format::Json => {
            if hidden {
                secrets::hide(&mut value);
            }
            (etag(tag), Json(value)).into_response()
        }
    }
}

/// Replace the configuration
///
/// Checks it and uses it from now on, without touching sessions that it does not concern. The same
/// again changes nothing and answers `no_change`. `Content-Type` tells TOML (also without it) from
/// JSON. Comments of the TOML in use survive a change in JSON.
#[utoipa::path(put, path = "/config", tag = "configuration", operation_id = "replaceConfig",
    params(How),
    request_body(content((RawConfig = "application/json"), (String = "application/toml"))),
    responses((status = 200, body = Committed),
        (status = 201, body = Committed, description = "With `candidate=true`: the candidate was begun"),
        (status = 202, body = Committed,
            description = "Taken, and some worker has not said yet that it uses it")))]
pub(super) async fn replace(
    State(handle): State<Handle>,
    asked: Asked,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let what = What::Replace(source(&headers, body)?);
    change(&handle, what, asked).await
}

/// Change parts of the configuration
///
/// A JSON Merge Patch (RFC 7396): what it names is changed, what it says is `null` taken out. Lists
/// are replaced as a whole; the resources below change single items.
#[utoipa::path(patch, path = "/config", tag = "configuration", operation_id = "patchConfig",
    params(How),
    request_body(content((RawConfig = "application/merge-patch+json"))),
    responses((status = 200, body = Committed),
        (status = 201, body = Committed, description = "With `candidate=true`: the candidate was begun"),
        (status = 202, body = Committed,
            description = "Taken, and some worker has not said yet that it uses it")))]
pub(super) async fn patch(
    State(handle): State<Handle>,
    asked: Asked,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let operation = Operation::Merge(super::parts::value(&headers, body, true)?);
    let edit = Edit {
        address: Address(Vec::new()),
        operation,
        position: asked.position.clone(),
    };
    change(&handle, What::Edit(edit), asked).await
}

/// Has the controller make a change, and says what came of it.
pub(super) async fn change(handle: &Handle, what: What, asked: Asked) -> Result<Response, Problem> {
    let secrets = asked.secrets;
    let change = Change {
        what,
        target: asked.target,
        terms: asked.terms,
    };
    match handle.call(Action::Change(Box::new(change))).await? {
        Outcome::Committed(committed) => Ok(answer(*committed, secrets)),
        _ => Err(mismatch()),
    }
}

/// An answer in TOML.
pub(super) fn toml(tag: &str, text: String) -> Response {
    (etag(tag), [(header::CONTENT_TYPE, TOML)], text).into_response()
}

/// A configuration that was sent.
pub(super) fn source(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Source, Problem> {
    let text = text(body)?;
    Ok(match format_of(headers)? {
        Format::Toml => Source::toml(text),
        Format::Json => Source::json(text),
    })
}

/// A body as text.
pub(super) fn text(body: Result<Bytes, BytesRejection>) -> Result<String, Problem> {
    let body = body.map_err(|why| unreadable(&why))?;
    String::from_utf8(body.to_vec())
        .map_err(|why| Problem::bad_request(format!("the body is not UTF-8: {why}")))
}

pub(super) fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The first of the two formats that `Accept` names; TOML if it names none.
pub(super) fn wanted(headers: &HeaderMap) -> Format {
    let accepted = text_of(headers, header::ACCEPT).unwrap_or_default();
    let named = accepted.split(',').find_map(|kind| match essence(kind) {
        TOML | "text/plain" => Some(Format::Toml),
        JSON => Some(Format::Json),
        _ => None,
    });
    named.unwrap_or(Format::Toml)
}

fn format_of(headers: &HeaderMap) -> Result<Format, Problem> {
    match text_of(headers, header::CONTENT_TYPE).map(essence) {
        // What `curl --data-binary` says unless told otherwise.
        None | Some(TOML | "text/plain" | "application/x-www-form-urlencoded") => Ok(Format::Toml),
        Some(JSON) => Ok(Format::Json),
        Some(other) => Err(unknown_format(
            other,
            "application/toml or application/json",
        )),
    }
}

/// 415.
pub(super) fn unknown_format(given: &str, known: &str) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unknown-format",
        "The body is in a format that is not known",
    )
    .detail(format!("Content-Type is {given}; send {known}"))
}

/// A media type without its parameters.
pub(super) fn essence(kind: &str) -> &str {
    kind.split(';').next().unwrap_or(kind).trim()
}
