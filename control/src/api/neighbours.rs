//! `/api/v1/neighbours`

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Problem;
use super::extract::Query;
use super::pages::Paging;
use super::problem::mismatch;
use super::query::network;
use crate::controller::{Action, ActionError, Handle, Neighbour, Outcome};

/// Which neighbours; what is left out matches all.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Those behind this port.
    port: Option<String>,
    /// Those of this network (`10.0.0.0/24`), or the one of this address.
    address: Option<String>,
    /// Those of which this is known.
    #[param(inline)]
    state: Option<Known>,
    /// Neighbours on the page, 1 to 1000; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// What is known of a neighbour.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Known {
    /// It has answered.
    Reachable,
    /// It has answered, and is asked again.
    Stale,
    /// It is asked.
    Resolving,
    /// It does not answer.
    Failed,
    /// The configuration says so.
    Static,
}

impl Known {
    fn name(self) -> &'static str {
        match self {
            Self::Reachable => "reachable",
            Self::Stale => "stale",
            Self::Resolving => "resolving",
            Self::Failed => "failed",
            Self::Static => "static",
        }
    }
}

/// A page of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Neighbours {
    /// By port and address.
    neighbours: Vec<Neighbour>,
    /// `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Who was found by ARP and neighbour discovery
#[utoipa::path(get, path = "/neighbours", tag = "state", operation_id = "listNeighbours",
    params(Parameters), responses((status = 200, body = Neighbours)))]
pub(super) async fn list(
    State(handle): State<Handle>,
    Query(asked): Query<Parameters>,
) -> Result<Json<Neighbours>, Problem> {
    has_port(&handle, asked.port.as_deref()).await?;
    let address = network("address", asked.address.as_deref())?;
    let wanted = |it: &Neighbour| {
        asked.port.as_ref().is_none_or(|port| *port == it.port)
            && address.is_none_or(|network| network.contains(&it.address))
            && asked.state.is_none_or(|known| known.name() == it.state)
    };
    let page = Paging {
        limit: asked.limit,
        cursor: asked.cursor.clone(),
    };
    let Outcome::Neighbours(all) = handle.call(Action::ListNeighbours).await? else {
        return Err(mismatch());
    };
    let (neighbours, next) = page.page(all, key, behind, wanted)?;
    Ok(Json(Neighbours { neighbours, next }))
}

/// Refuses a filter for a port that there is not.
pub(super) async fn has_port(handle: &Handle, wanted: Option<&str>) -> Result<(), Problem> {
    let Some(wanted) = wanted else { return Ok(()) };
    let Outcome::Config { config, .. } = handle.call(Action::ReadConfig).await? else {
        return Err(mismatch());
    };
    let known = || config.ports.iter().map(|port| port.name.as_str());
    match known().any(|name| name == wanted) {
        true => Ok(()),
        false => Err(Problem::from(ActionError::Unknown {
            parameter: "port",
            kind: "port",
            name: wanted.to_owned(),
            known: known().map(str::to_owned).collect(),
        })),
    }
}

fn key(neighbour: &Neighbour) -> String {
    format!("{}/{}", neighbour.port, neighbour.address)
}

fn behind(all: &[Neighbour], key: &str) -> Option<usize> {
    let (port, address) = key.rsplit_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    Some(all.partition_point(|it| (it.port.as_str(), it.address) <= (port, address)))
}
