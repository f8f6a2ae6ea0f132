//! `/api/v1/workers`, `/drops`, `/ports`, `/devices/{name}` and `/snat_pools`.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Problem;
use super::extract::Path;
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

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ports {
    /// In the order of the configuration.
    ports: Vec<PortState>,
}

/// Ports: addresses, link, and what they and their devices count
#[utoipa::path(get, path = "/ports", tag = "state", operation_id = "listPorts",
    responses((status = 200, body = Ports)))]
pub(super) async fn ports(State(handle): State<Handle>) -> Result<Json<Ports>, Problem> {
    match handle.call(Action::ListPorts).await? {
        Outcome::Ports(ports) => Ok(Json(Ports { ports })),
        _ => Err(mismatch()),
    }
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

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SnatPools {
    /// In the order of the configuration.
    snat_pools: Vec<SnatUse>,
}

/// Use of SNAT pools: ports by address, sessions by worker, what was refused
///
/// Worked out from the sessions that live now; workers look through their tables beside their work.
#[utoipa::path(get, path = "/snat_pools", tag = "state", operation_id = "listSnatPools",
    responses((status = 200, body = SnatPools)))]
pub(super) async fn snat_pools(State(handle): State<Handle>) -> Result<Json<SnatPools>, Problem> {
    let question = Action::Survey(SessionFilter::default(), Question::SnatPorts);
    match handle.call(question).await? {
        Outcome::SnatPools(snat_pools) => Ok(Json(SnatPools { snat_pools })),
        _ => Err(mismatch()),
    }
}
