//! `/api/v1/candidate`: a configuration to be worked on before it is used, one for each author.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::Problem;
use super::caller::Caller;
use super::config::{besides, change, source};
use super::problem::mismatch;
use super::revisions::{Differences, compare};
use super::terms::{Asked, How};
use crate::config::RawConfig;
use crate::controller::{Action, Committed, Handle, Outcome, Target, What, Which};

/// The candidate
#[utoipa::path(get, path = "/candidate", tag = "candidate", operation_id = "readCandidate",
    responses((status = 200, content((RawConfig = "application/json"), (String = "application/toml")))))]
pub(super) async fn read(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let action = Action::ReadCandidate(caller.name.clone());
    besides(&handle, action, &caller, &headers).await
}

/// Begin or replace the candidate
///
/// With an empty body it begins as the configuration in use. Its form is checked, its values are not
/// before it is committed. Parts are changed by the resources of the configuration with
/// `candidate=true`.
#[utoipa::path(put, path = "/candidate", tag = "candidate", operation_id = "replaceCandidate",
    params(How),
    request_body(content((RawConfig = "application/json"), (String = "application/toml"))),
    responses((status = 200, body = Committed), (status = 201, body = Committed)))]
pub(super) async fn replace(
    State(handle): State<Handle>,
    mut asked: Asked,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    asked.target = Target::Candidate;
    let what = match &body {
        Ok(body) if body.is_empty() => What::Candidate,
        _ => What::Replace(source(&headers, body)?),
    };
    change(&handle, what, asked).await
}

/// Forget the candidate
#[utoipa::path(delete, path = "/candidate", tag = "candidate", operation_id = "deleteCandidate",
    responses((status = 204)))]
pub(super) async fn remove(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode, Problem> {
    match handle.call(Action::DropCandidate(caller.name)).await? {
        Outcome::Done => Ok(StatusCode::NO_CONTENT),
        _ => Err(mismatch()),
    }
}

/// What the candidate would change
#[utoipa::path(get, path = "/candidate/diff", tag = "candidate", operation_id = "diffCandidate",
    responses((status = 200, body = Differences)))]
pub(super) async fn diff(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Differences>, Problem> {
    let theirs = Which::Candidate(caller.name.clone());
    compare(&handle, &caller, Which::Running, theirs).await
}

/// Use the candidate
///
/// With `dry_run` everything is checked, and the answer says what would be. Refused if the
/// configuration in use was changed since the candidate was begun.
#[utoipa::path(post, path = "/candidate/commit", tag = "candidate",
    operation_id = "commitCandidate", params(How),
    responses((status = 200, body = Committed), (status = 202, body = Committed)))]
pub(super) async fn commit(
    State(handle): State<Handle>,
    mut asked: Asked,
) -> Result<Response, Problem> {
    asked.target = Target::Running;
    change(&handle, What::Candidate, asked).await
}
