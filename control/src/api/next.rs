//! `/api/v1/next`: the configuration that waits for the next start.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::Problem;
use super::caller::Caller;
use super::config::besides;
use super::problem::mismatch;
use super::revisions::{Differences, compare};
use crate::config::RawConfig;
use crate::controller::{Action, Handle, Outcome, Which};

/// What waits for the next start
///
/// Changes with `at_restart=true` make it: of the whole configuration, of parts, or the commit of a candidate.
/// A start that does not come to its end with it is followed by one with the configuration before.
#[utoipa::path(get, path = "/next", tag = "configuration", operation_id = "readNext",
    responses((status = 200, content((RawConfig = "application/json"), (String = "application/toml")))))]
pub(super) async fn read(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    besides(&handle, Action::ReadNext, &caller, &headers).await
}

/// Have nothing wait for the next start
#[utoipa::path(delete, path = "/next", tag = "configuration", operation_id = "deleteNext",
    responses((status = 204)))]
pub(super) async fn remove(State(handle): State<Handle>) -> Result<StatusCode, Problem> {
    match handle.call(Action::DropNext).await? {
        Outcome::Done => Ok(StatusCode::NO_CONTENT),
        _ => Err(mismatch()),
    }
}

/// What the next start would change
#[utoipa::path(get, path = "/next/diff", tag = "configuration", operation_id = "diffNext",
    responses((status = 200, body = Differences)))]
pub(super) async fn diff(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Differences>, Problem> {
    compare(&handle, &caller, Which::Running, Which::Next).await
}
