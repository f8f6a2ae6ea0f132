//! `/api/v1/tiers`

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Problem;
use super::extract::Query;
use super::pages::{Paging, behind_name};
use super::problem::mismatch;
use crate::controller::{Action, Handle, Outcome, Tiers};

/// Which virtual servers; what is left out matches all.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// The one of this name.
    virtual_server: Option<String>,
    /// Virtual servers on the page, 1 to 1000; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AllTiers)]
pub(super) struct Listing {
    /// In the order of the configuration.
    virtual_servers: Vec<Tiers>,
    /// `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Who takes new sessions of virtual servers: priority groups, backup pool, sorry server, redirect, nobody
#[utoipa::path(get, path = "/tiers", tag = "state", operation_id = "listTiers",
    params(Parameters), responses((status = 200, body = Listing)))]
pub(super) async fn list(
    State(handle): State<Handle>,
    Query(asked): Query<Parameters>,
) -> Result<Json<Listing>, Problem> {
    let page = Paging {
        limit: asked.limit,
        cursor: asked.cursor,
    };
    let action = Action::ListTiers(asked.virtual_server);
    let Outcome::Tiers(all) = handle.call(action).await? else {
        return Err(mismatch());
    };
    let behind = |all: &[Tiers], key: &str| behind_name(all, |it| &it.virtual_server, key);
    let (virtual_servers, next) =
        page.page(all, |it| it.virtual_server.clone(), behind, |_| true)?;
    Ok(Json(Listing {
        virtual_servers,
        next,
    }))
}
