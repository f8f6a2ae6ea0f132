//! `/api/v1/ha`

use axum::Json;
use axum::extract::State;

use super::Problem;
use super::problem::mismatch;
use crate::controller::{Action, Ha, Handle, Outcome};

/// The other appliance, and what would be lost if this one died
#[utoipa::path(get, path = "/ha", tag = "state", operation_id = "readHa",
    description = "`null` where the configuration names no other appliance.",
    responses((status = 200, body = Option<Ha>)))]
pub(super) async fn read(State(handle): State<Handle>) -> Result<Json<Option<Ha>>, Problem> {
    match handle.call(Action::Ha).await? {
        Outcome::Ha(ha) => Ok(Json(ha.map(|ha| *ha))),
        _ => Err(mismatch()),
    }
}
