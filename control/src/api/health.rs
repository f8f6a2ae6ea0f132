//! `/api/v1/health`

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Problem;
use super::extract::Query;
use super::pages::{Paging, behind_name};
use super::problem::mismatch;
use crate::controller::{Action, Handle, Health, HealthFilter, Outcome, ServerHealth};
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
    /// Real servers on the page, 1 to 1000; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A page of real servers, and all checks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HealthPage)]
pub(super) struct Page {
    #[serde(flatten)]
    health: Health,
    /// `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Health of real servers
#[utoipa::path(get, path = "/health", tag = "state", operation_id = "readHealth",
    params(Parameters), responses((status = 200, body = Page)))]
pub(super) async fn read(
    State(handle): State<Handle>,
    Query(asked): Query<Parameters>,
) -> Result<Json<Page>, Problem> {
    let filter = HealthFilter {
        pool: asked.pool,
        // A cursor names a server that may have been found up or down since: it is looked for among all.
        health: None,
    };
    let page = Paging {
        limit: asked.limit,
        cursor: asked.cursor,
    };
    let Outcome::Health(mut health) = handle.call(Action::Health(filter)).await? else {
        return Err(mismatch());
    };
    let wanted = |server: &ServerHealth| asked.health.is_none_or(|its| its == server.health);
    let behind = |all: &[ServerHealth], key: &str| behind_name(all, |server| &server.name, key);
    let servers = std::mem::take(&mut health.servers);
    let (servers, next) = page.page(servers, |server| server.name.clone(), behind, wanted)?;
    health.servers = servers;
    Ok(Json(Page {
        health: *health,
        next,
    }))
}
