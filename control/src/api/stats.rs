//! `/api/v1/stats`

use axum::Json;
use axum::extract::State;

use super::Problem;
use super::problem::mismatch;
use crate::controller::{Action, Handle, Outcome, Stats};

/// All counters
#[utoipa::path(get, path = "/stats", tag = "state", operation_id = "readStats",
    responses((status = 200, body = Stats)))]
pub(super) async fn read(State(handle): State<Handle>) -> Result<Json<Stats>, Problem> {
    match handle.call(Action::Stats).await? {
        Outcome::Stats(stats) => Ok(Json(*stats)),
        _ => Err(mismatch()),
    }
}
