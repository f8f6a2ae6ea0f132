//! `/api/v1/tiers`

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Problem;
use super::extract::Query;
use super::problem::mismatch;
use crate::controller::{Action, Handle, Outcome, Tiers};

/// Which virtual servers; what is left out matches all.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// The one of this name.
    virtual_server: Option<String>,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AllTiers)]
pub(super) struct Listing {
    /// In the order of the configuration.
    virtual_servers: Vec<Tiers>,
}

/// Who takes new sessions of virtual servers: priority groups, backup pool, sorry server, redirect, nobody
#[utoipa::path(get, path = "/tiers", tag = "state", operation_id = "listTiers",
    params(Parameters), responses((status = 200, body = Listing)))]
pub(super) async fn list(
    State(handle): State<Handle>,
    Query(asked): Query<Parameters>,
) -> Result<Json<Listing>, Problem> {
    match handle.call(Action::ListTiers).await? {
        Outcome::Tiers(mut virtual_servers) => {
            if let Some(name) = asked.virtual_server {
                virtual_servers.retain(|tiers| tiers.virtual_server == name);
            }
            Ok(Json(Listing { virtual_servers }))
        }
        _ => Err(mismatch()),
    }
}
