//! `/api/v1/workers`, `/drops`, `/ports`, `/devices/{name}` and `/snat_pools`.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Problem;
use super::extract::{Path, Query};
use super::pages::{Paging, behind_name};
use super::problem::mismatch;
use crate::controller::{
    Action, DeviceState, DropState, Handle, Outcome, PortState, Question, SessionFilter, SnatUse,
    WorkerState,
};

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Workers {
    /// In the order of `system.workers`.
    workers: Vec<WorkerState>,
}

/// How busy workers are
#[utoipa::path(get, path = "/workers", tag = "state", operation_id = "listWorkers",
    responses((status = 200, body = Workers)))]
pub(super) async fn workers(State(handle): State<Handle>) -> Result<Json<Workers>, Problem> {
    match handle.call(Action::ListWorkers).await? {
        Outcome::Workers(workers) => Ok(Json(Workers { workers })),
        _ => Err(mismatch()),
    }
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Drops {
    /// All reasons, those that never happened too.
    drops: Vec<DropState>,
}

/// Why frames were dropped, and what each reason means
#[utoipa::path(get, path = "/drops", tag = "state", operation_id = "listDrops",
    responses((status = 200, body = Drops)))]
pub(super) async fn drops(State(handle): State<Handle>) -> Result<Json<Drops>, Problem> {
    match handle.call(Action::ListDrops).await? {
        Outcome::Drops(drops) => Ok(Json(Drops { drops })),
        _ => Err(mismatch()),
    }
}

/// A page of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ports {
    /// In the order of the configuration.
    ports: Vec<PortState>,
    /// `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Ports: addresses, link, and what they and their devices count
#[utoipa::path(get, path = "/ports", tag = "state", operation_id = "listPorts",
    params(Paging), responses((status = 200, body = Ports)))]
pub(super) async fn ports(
    State(handle): State<Handle>,
    Query(page): Query<Paging>,
) -> Result<Json<Ports>, Problem> {
    let Outcome::Ports(all) = handle.call(Action::ListPorts).await? else {
        return Err(mismatch());
    };
    let behind = |all: &[PortState], key: &str| behind_name(all, |it| &it.port.name, key);
    let (ports, next) = page.page(all, |it| it.port.name.clone(), behind, |_| true)?;
    Ok(Json(Ports { ports, next }))
}

/// Everything that a device counts
///
/// By its driver's names (DPDK's extended statistics). The name is a device's, or that of a port on it.
#[utoipa::path(get, path = "/devices/{name}", tag = "state", operation_id = "readDevice",
    params(("name" = String, Path, description = "Of a device, or of a port on it")),
    responses((status = 200, body = DeviceState)))]
pub(super) async fn device(
    State(handle): State<Handle>,
    Path(name): Path<String>,
) -> Result<Json<DeviceState>, Problem> {
    match handle.call(Action::ReadDevice(name)).await? {
        Outcome::Device(device) => Ok(Json(*device)),
        _ => Err(mismatch()),
    }
}

/// A page of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SnatPools {
    /// In the order of the configuration.
    snat_pools: Vec<SnatUse>,
    /// `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Use of SNAT pools: ports by address, sessions by worker, what was refused
///
/// Worked out from the sessions that live now; workers look through their tables beside their work.
#[utoipa::path(get, path = "/snat_pools", tag = "state", operation_id = "listSnatPools",
    params(Paging), responses((status = 200, body = SnatPools)))]
pub(super) async fn snat_pools(
    State(handle): State<Handle>,
    Query(page): Query<Paging>,
) -> Result<Json<SnatPools>, Problem> {
    let question = Action::Survey(SessionFilter::default(), Question::SnatPorts);
    let Outcome::SnatPools(all) = handle.call(question).await? else {
        return Err(mismatch());
    };
    let behind = |all: &[SnatUse], key: &str| behind_name(all, |it| &it.name, key);
    let (snat_pools, next) = page.page(all, |it| it.name.clone(), behind, |_| true)?;
    Ok(Json(SnatPools { snat_pools, next }))
}
