//! `/api/v1/routes`

use axum::Json;
use axum::extract::State;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Problem;
use super::extract::Query;
use super::neighbours::has_port;
use super::pages::Paging;
use super::problem::mismatch;
use super::query::network;
use crate::controller::{Action, Handle, Outcome, Route};

/// Which routes; what is left out matches all.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Those that leave by this port.
    port: Option<String>,
    /// Those to networks that hold this address or network (`10.0.0.0/8`), or are parts of it.
    to: Option<String>,
    /// Those by a router of this network, or of this address.
    via: Option<String>,
    /// Routes on the page, 1 to 1000; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A page of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Routes {
    /// By network, IPv4 first.
    routes: Vec<Route>,
    /// `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Connected networks and static routes
#[utoipa::path(get, path = "/routes", tag = "state", operation_id = "listRoutes",
    params(Parameters), responses((status = 200, body = Routes)))]
pub(super) async fn list(
    State(handle): State<Handle>,
    Query(asked): Query<Parameters>,
) -> Result<Json<Routes>, Problem> {
    has_port(&handle, asked.port.as_deref()).await?;
    let to = network("to", asked.to.as_deref())?;
    let via = network("via", asked.via.as_deref())?;
    let wanted = |it: &Route| {
        asked.port.as_ref().is_none_or(|port| *port == it.port)
            && to.is_none_or(|to| to.contains(&it.to) || it.to.contains(&to))
            && via.is_none_or(|network| it.via.is_some_and(|via| network.contains(&via)))
    };
    let page = Paging {
        limit: asked.limit,
        cursor: asked.cursor.clone(),
    };
    let Outcome::Routes(mut all) = handle.call(Action::ListRoutes).await? else {
        return Err(mismatch());
    };
    all.sort_by_key(|route| route.to);
    let (routes, next) = page.page(all, |route| route.to.to_string(), behind, wanted)?;
    Ok(Json(Routes { routes, next }))
}

fn behind(all: &[Route], key: &str) -> Option<usize> {
    let to: IpNet = key.parse().ok()?;
    Some(all.partition_point(|route| route.to <= to))
}
