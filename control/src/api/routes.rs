//! `/api/v1/routes`

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Problem;
use super::problem::mismatch;
use crate::controller::{Action, Handle, Outcome, Route};

/// The answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Routes {
    /// By network, IPv4 first.
    routes: Vec<Route>,
}

/// Connected networks and static routes
#[utoipa::path(get, path = "/routes", tag = "state", operation_id = "listRoutes",
    responses((status = 200, body = Routes)))]
pub(super) async fn list(State(handle): State<Handle>) -> Result<Json<Routes>, Problem> {
    match handle.call(Action::ListRoutes).await? {
        Outcome::Routes(routes) => Ok(Json(Routes { routes })),
        _ => Err(mismatch()),
    }
}
