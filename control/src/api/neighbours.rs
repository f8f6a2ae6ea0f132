//! `/api/v1/neighbours`

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Problem;
use super::problem::mismatch;
use crate::controller::{Action, Handle, Neighbour, Outcome};

/// The answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Neighbours {
    /// By port and address.
    neighbours: Vec<Neighbour>,
}

/// Who was found by ARP and neighbour discovery
#[utoipa::path(get, path = "/neighbours", tag = "state", operation_id = "listNeighbours",
    responses((status = 200, body = Neighbours)))]
pub(super) async fn list(State(handle): State<Handle>) -> Result<Json<Neighbours>, Problem> {
    match handle.call(Action::ListNeighbours).await? {
        Outcome::Neighbours(neighbours) => Ok(Json(Neighbours { neighbours })),
        _ => Err(mismatch()),
    }
}
