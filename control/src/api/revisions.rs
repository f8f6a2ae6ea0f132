//! `/api/v1/config/revisions`, and the confirmation of a commit.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Problem;
use super::caller::Caller;
use super::config::{change, shown};
use super::extract::{Path, Query};
use super::problem::mismatch;
use super::terms::{Asked, How, answer};
use crate::config::RawConfig;
use crate::config::diff::Difference;
use crate::config::secrets::hide_differences;
use crate::controller::{Action, Committed, Handle, Outcome, Revisions, What, Which};

/// The history
///
/// The last fifty configurations, latest first, and the commit that waits to be confirmed.
#[utoipa::path(get, path = "/config/revisions", tag = "configuration",
    operation_id = "listRevisions", responses((status = 200, body = Revisions)))]
pub(super) async fn list(State(handle): State<Handle>) -> Result<Json<Revisions>, Problem> {
    match handle.call(Action::ListRevisions).await? {
        Outcome::Revisions(revisions) => Ok(Json(revisions)),
        _ => Err(mismatch()),
    }
}

/// One configuration of the history
#[utoipa::path(get, path = "/config/revisions/{number}", tag = "configuration",
    operation_id = "readRevision", params(("number" = u64, Path)),
    responses((status = 200, content((RawConfig = "application/json"), (String = "application/toml")))))]
pub(super) async fn read(
    State(handle): State<Handle>,
    Path(number): Path<u64>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    match handle.call(Action::ReadRevision(number)).await? {
        Outcome::Candidate(view) => Ok(shown(&caller, &headers, &view.tag, view.text, view.value)),
        _ => Err(mismatch()),
    }
}

/// What to compare with.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Against {
    /// A revision; the configuration in use by default.
    against: Option<u64>,
}

/// Differences between two configurations.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Differences {
    /// In the order of keys and lists; none if the two say the same.
    pub(super) changes: Vec<Difference>,
}

/// What differs between a revision and another one
///
/// From `against` to the revision.
#[utoipa::path(get, path = "/config/revisions/{number}/diff", tag = "configuration",
    operation_id = "diffRevision", params(("number" = u64, Path), Against),
    responses((status = 200, body = Differences)))]
pub(super) async fn diff(
    State(handle): State<Handle>,
    Path(number): Path<u64>,
    Extension(caller): Extension<Caller>,
    Query(against): Query<Against>,
) -> Result<Json<Differences>, Problem> {
    let from = against.against.map_or(Which::Running, Which::Revision);
    compare(&handle, &caller, from, Which::Revision(number)).await
}

/// Use a configuration of the history again
///
/// A new commit, with the same text.
#[utoipa::path(post, path = "/config/revisions/{number}/rollback", tag = "configuration",
    operation_id = "rollBack", params(("number" = u64, Path), How),
    responses((status = 200, body = Committed), (status = 201, body = Committed),
        (status = 202, body = Committed)))]
pub(super) async fn roll_back(
    State(handle): State<Handle>,
    Path(number): Path<u64>,
    asked: Asked,
) -> Result<Response, Problem> {
    change(&handle, What::Rollback(number), asked).await
}

/// Keep the configuration on trial
#[utoipa::path(post, path = "/config/confirm", tag = "configuration",
    operation_id = "confirmConfig",
    responses((status = 200, body = Committed), (status = 202, body = Committed)))]
pub(super) async fn confirm(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let secrets = caller.sees_secrets();
    end_trial(&handle, Action::Confirm(caller.name), secrets).await
}

/// Give the configuration on trial up
///
/// The one before it is in use again, as if the time were over.
#[utoipa::path(post, path = "/config/revert", tag = "configuration",
    operation_id = "revertConfig",
    responses((status = 200, body = Committed), (status = 202, body = Committed)))]
pub(super) async fn revert(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let secrets = caller.sees_secrets();
    end_trial(&handle, Action::Revert(caller.name), secrets).await
}

async fn end_trial(handle: &Handle, action: Action, secrets: bool) -> Result<Response, Problem> {
    match handle.call(action).await? {
        Outcome::Committed(committed) => Ok(answer(*committed, secrets)),
        _ => Err(mismatch()),
    }
}

/// Has the controller compare two configurations.
pub(super) async fn compare(
    handle: &Handle,
    caller: &Caller,
    from: Which,
    to: Which,
) -> Result<Json<Differences>, Problem> {
    match handle.call(Action::Compare { from, to }).await? {
        Outcome::Differences(mut changes) => {
            if !caller.sees_secrets() {
                hide_differences(&mut changes);
            }
            Ok(Json(Differences { changes }))
        }
        _ => Err(mismatch()),
    }
}
