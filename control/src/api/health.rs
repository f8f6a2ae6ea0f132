//! `/api/v1/health`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Problem;
use super::extract::Query;
use super::problem::mismatch;
use crate::controller::{Action, Handle, Health, HealthFilter, Outcome};
use crate::health::Verdict;

/// Which servers; what is left out matches all.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Those of this pool.
    pool: Option<String>,
    /// Those of which checks say so.
    health: Option<Verdict>,
}

/// Health of real servers
#[utoipa::path(get, path = "/health", tag = "state", operation_id = "readHealth",
    params(Parameters), responses((status = 200, body = Health)))]
pub(super) async fn read(
    State(handle): State<Handle>,
    Query(asked): Query<Parameters>,
) -> Result<Json<Health>, Problem> {
    let filter = HealthFilter {
        pool: asked.pool,
        health: asked.health,
    };
    match handle.call(Action::Health(filter)).await? {
        Outcome::Health(health) => Ok(Json(*health)),
        _ => Err(mismatch()),
    }
}
