//! `/api/v1/status`

use axum::Json;
use axum::extract::State;

use super::Problem;
use super::problem::mismatch;
use crate::controller::{Action, Handle, Outcome, Status};

/// What runs, and how it is
#[utoipa::path(get, path = "/status", tag = "state", operation_id = "readStatus",
    responses((status = 200, body = Status)))]
pub(super) async fn read(State(handle): State<Handle>) -> Result<Json<Status>, Problem> {
    match handle.call(Action::Status).await? {
        Outcome::Status(status) => Ok(Json(*status)),
        _ => Err(mismatch()),
    }
}
