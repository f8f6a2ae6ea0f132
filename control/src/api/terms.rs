//! What every change has in common: comment, dry run, confirmation, and the tags of what is changed.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Problem;
use super::caller::Caller;
use super::extract::Query;
use super::recorder::Notes;
use crate::config::edit::Position;
use crate::config::secrets::hide_differences;
use crate::controller::{Committed, Expected, MAX_CONFIRM_SECONDS, Target, Terms, Verdict};

/// Longest comment in bytes.
const MAX_COMMENT: usize = 1024;

/// How a change is made.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct How {
    /// Why; kept in the history.
    #[param(max_length = 1024)]
    comment: Option<String>,
    /// Check everything and say what would be, and change nothing.
    dry_run: bool,
    /// Undo the change after so many seconds, unless `POST /api/v1/config/confirm` comes before.
    #[param(minimum = 1, maximum = 86400)]
    confirm_seconds: Option<u32>,
    /// Change the caller's candidate instead of the configuration in use.
    candidate: bool,
    /// Use it from the next start on, and leave what is in use as it is: for what a running Sluice cannot
    /// follow, as ports on new devices. `GET /api/v1/next` has all that waits.
    at_restart: bool,
    /// Of items of lists: put it `first` or `last`, or `before:NAME` or `after:NAME`.
    position: Option<String>,
}

/// The caller, [`How`], and the conditions of the headers.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) terms: Terms,
    pub(super) target: Target,
    pub(super) position: Position,
    /// Whether the answer may have secrets.
    pub(super) secrets: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(how) = Query::<How>::from_request_parts(parts, state).await?;
        let comment = how.comment.unwrap_or_default();
        if comment.len() > MAX_COMMENT {
            let found = format!("the comment has {} bytes", comment.len());
            let remedy = format!("write {MAX_COMMENT} at most");
            return Err(Problem::bad_parameter("comment", found, remedy));
        }
        let good = |seconds: &u32| (1..=MAX_CONFIRM_SECONDS).contains(seconds);
        if let Some(seconds) = how.confirm_seconds.filter(|seconds| !good(seconds)) {
            let found = format!("confirm_seconds={seconds} is out of range");
            let remedy = format!("write a number from 1 to {MAX_CONFIRM_SECONDS}");
            return Err(Problem::bad_parameter("confirm_seconds", found, remedy));
        }
        if how.candidate && how.confirm_seconds.is_some() {
            let found = "a candidate is not in use".to_owned();
            let remedy = "give confirm_seconds when it is committed";
            return Err(Problem::bad_parameter("confirm_seconds", found, remedy));
        }
        if how.at_restart && (how.candidate || how.confirm_seconds.is_some()) {
            let why = "at_restart goes with neither candidate nor confirm_seconds; a start that fails goes \
                       back to the configuration before by itself";
            return Err(Problem::bad_request(why));
        }
        if how.dry_run {
            Notes::of(&parts.extensions).dry_run();
        }
        let caller = Caller::of(parts);
        Ok(Self {
            secrets: caller.sees_secrets(),
            terms: Terms {
                author: caller.name,
                comment,
                expected: expected(&parts.headers)?,
                dry_run: how.dry_run,
                confirm_seconds: how.confirm_seconds,
                at_restart: how.at_restart,
            },
            target: if how.candidate {
                Target::Candidate
            } else {
                Target::Running
            },
            position: position(how.position.as_deref())?,
        })
    }
}

fn position(text: Option<&str>) -> Result<Position, Problem> {
    let text = match text {
        None => return Ok(Position::Keep),
        Some("first") => return Ok(Position::First),
        Some("last") => return Ok(Position::Last),
        Some(text) => text,
    };
    match text.split_once(':') {
        Some(("before", name)) => Ok(Position::Before(name.to_owned())),
        Some(("after", name)) => Ok(Position::After(name.to_owned())),
        _ => Err(Problem::bad_parameter(
            "position",
            format!("position={text} is not known"),
            "write first, last, before:NAME or after:NAME",
        )),
    }
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

pub(super) fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    if let Some(none) = text_of(headers, header::IF_NONE_MATCH) {
        return match none.trim() {
            "*" => Ok(Expected::Absent),
            _ => Err(Problem::bad_request(
                "If-None-Match of a change can be * only",
            )),
        };
    }
    match text_of(headers, header::IF_MATCH).map(str::trim) {
        None => Ok(Expected::Anything),
        Some("*") => Ok(Expected::There),
        Some(list) => tags(list).map(Expected::Tags).ok_or_else(|| {
            Problem::bad_request(format!("If-Match: {list} is not a list of ETags"))
        }),
    }
}

/// The strong ones of a list; weak ones match nothing here (RFC 9110, section 13.1.1).
fn tags(list: &str) -> Option<Vec<String>> {
    let mut tags = Vec::new();
    for tag in list.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
        let strong = tag.strip_prefix("W/").unwrap_or(tag);
        let plain = strong.strip_prefix('"')?.strip_suffix('"')?;
        if strong.len() == tag.len() {
            tags.push(plain.to_owned());
        }
    }
    Some(tags)
}

/// Whether the client has this one already (`If-None-Match` of a `GET`).
pub(super) fn has(headers: &HeaderMap, tag: &str) -> bool {
    let Some(list) = text_of(headers, header::IF_NONE_MATCH) else {
        return false;
    };
    let same = |known: &str| known.trim().trim_start_matches("W/").trim_matches('"') == tag;
    list.trim() == "*" || list.split(',').any(same)
}

/// An `ETag` header.
pub(super) fn etag(tag: &str) -> [(HeaderName, String); 1] {
    [(header::ETAG, format!("\"{tag}\""))]
}

/// Not changed since the client read it.
pub(super) fn not_modified(tag: &str) -> Response {
    (StatusCode::NOT_MODIFIED, etag(tag)).into_response()
}

/// The answer to a change: 201 if it made something, 202 if some worker has not taken it yet. Whether secrets
/// are in it.
pub(super) fn answer(mut committed: Committed, secrets: bool) -> Response {
    if !secrets {
        hide_differences(&mut committed.changes);
    }
    let status = match committed.result {
        Verdict::Valid | Verdict::NoChange => StatusCode::OK,
        _ if committed.created => StatusCode::CREATED,
        Verdict::Candidate | Verdict::AtRestart => StatusCode::OK,
        _ if !committed.in_force => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    };
    if committed.tag.is_empty() {
        return (status, Json(committed)).into_response();
    }
    (status, etag(&committed.tag), Json(committed)).into_response()
}
