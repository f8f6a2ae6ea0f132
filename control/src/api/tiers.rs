//! `/api/v1/tiers`

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Problem;
use super::problem::mismatch;
use crate::controller::{Action, Handle, Outcome, Tiers};

/// The answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = VirtualServerTiers)]
pub(super) struct Listing {
    /// In the order of the configuration.
    virtual_servers: Vec<Tiers>,
}

/// Where new sessions of virtual servers go: priority groups, backup pool, sorry server
#[utoipa::path(get, path = "/tiers", tag = "state", operation_id = "listTiers",
    responses((status = 200, body = Listing)))]
pub(super) async fn list(State(handle): State<Handle>) -> Result<Json<Listing>, Problem> {
    match handle.call(Action::ListTiers).await? {
        Outcome::Tiers(virtual_servers) => Ok(Json(Listing { virtual_servers })),
        _ => Err(mismatch()),
    }
}
