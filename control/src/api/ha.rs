//! `/api/v1/ha`

use axum::Json;
use axum::extract::State;

use serde::Deserialize;

use super::Problem;
use super::extract::Body;
use super::problem::mismatch;
use crate::controller::{Action, Duty, Ha, Handle, Outcome};

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

/// Whether this node is to take part.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Handover {
    /// `maintenance`: give groups and sessions to the peer. `active`: take part again.
    duty: Duty,
}

/// Hand over to the other appliance, or come back
///
/// With `maintenance` the peer takes this node's groups and then its sessions; when `away` is true this
/// node can be stopped, and no packet is lost. A process that starts is `active`.
#[utoipa::path(post, path = "/ha/handover", tag = "state", operation_id = "handOver",
    request_body = Handover, responses((status = 200, body = Ha)))]
pub(super) async fn hand_over(
    State(handle): State<Handle>,
    Body(Handover { duty }): Body<Handover>,
) -> Result<Json<Option<Ha>>, Problem> {
    match handle.call(Action::Handover(duty)).await? {
        Outcome::Ha(ha) => Ok(Json(ha.map(|ha| *ha))),
        _ => Err(mismatch()),
    }
}
