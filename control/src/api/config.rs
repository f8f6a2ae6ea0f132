//! `/api/v1/config`

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Problem;
use super::problem::mismatch;
use crate::config::{Format, Source};
use crate::controller::{Action, Handle, Outcome};

const TOML: &str = "application/toml";
const JSON: &str = "application/json";

/// `GET`: the configuration in use, as it was given; in TOML or JSON if `Accept` names one. The
/// `ETag` is its epoch.
pub(super) async fn read(
    State(handle): State<Handle>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Outcome::Config { config, epoch } = handle.call(Action::ReadConfig).await? else {
        return Err(mismatch());
    };
    let tag = [(header::ETAG, format!("\"{epoch}\""))];
    let response = match wanted(&headers).unwrap_or(config.source.format) {
        Format::Toml => {
            let kind = [(header::CONTENT_TYPE, TOML)];
            (tag, kind, config.to_toml()).into_response()
        }
        Format::Json => (tag, Json(&config.raw)).into_response(),
    };
    Ok(response)
}

/// `PUT`: checks a configuration and uses it from now on, without touching sessions that it does not
/// concern. The file that Sluice was started with is not changed. `Content-Type` tells TOML (also
/// without it) from JSON; with `If-Match` only the epoch that it names is replaced.
pub(super) async fn replace(
    State(handle): State<Handle>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|why| {
        Problem::new(why.status(), "bad-body", "The body cannot be read").detail(why.body_text())
    })?;
    let text = std::str::from_utf8(&body)
        .map_err(|why| Problem::bad_request(format!("the body is not UTF-8: {why}")))?;
    let source = match format_of(&headers)? {
        Format::Toml => Source::toml(text),
        Format::Json => Source::json(text),
    };
    let expected = expected_epoch(&headers)?;
    let action = Action::ReplaceConfig { source, expected };
    let Outcome::Replaced(replaced) = handle.call(action).await? else {
        return Err(mismatch());
    };
    let status = if replaced.in_force {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let tag = [(header::ETAG, format!("\"{}\"", replaced.epoch))];
    Ok((status, tag, Json(replaced)).into_response())
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The first of the two formats that `Accept` names.
fn wanted(headers: &HeaderMap) -> Option<Format> {
    let accepted = text_of(headers, header::ACCEPT)?;
    accepted.split(',').find_map(|kind| match essence(kind) {
        TOML | "text/plain" => Some(Format::Toml),
        JSON => Some(Format::Json),
        _ => None,
    })
}

fn format_of(headers: &HeaderMap) -> Result<Format, Problem> {
    match text_of(headers, header::CONTENT_TYPE).map(essence) {
        // What `curl --data-binary` says unless told otherwise.
        None | Some(TOML | "text/plain" | "application/x-www-form-urlencoded") => Ok(Format::Toml),
        Some(JSON) => Ok(Format::Json),
        Some(other) => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unknown-format",
            "The body is in a format that is not known",
        )
        .detail(format!("Content-Type is {other}; send {TOML} or {JSON}"))),
    }
}

/// A media type without its parameters.
fn essence(kind: &str) -> &str {
    kind.split(';').next().unwrap_or(kind).trim()
}

fn expected_epoch(headers: &HeaderMap) -> Result<Option<u32>, Problem> {
    match text_of(headers, header::IF_MATCH).map(str::trim) {
        None | Some("*") => Ok(None),
        Some(tag) => {
            let epoch = tag.trim_matches('"').parse();
            let epoch = epoch.map_err(|_| {
                Problem::bad_request(format!("If-Match: {tag} is not an ETag of this resource"))
            })?;
            Ok(Some(epoch))
        }
    }
}
