//! `/api/v1/tools/connectivity`

use axum::extract::State;
use axum::response::Response;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::ReceiverStream;

use super::Problem;
use super::extract::Body;
use super::ping::{busy, lines_of};
use super::problem::mismatch;
use crate::connectivity::{self, ConnectivityLine, ConnectivityQuery};
use crate::controller::{Action, Handle, Outcome};

/// Tests at once.
static RUNS: Semaphore = Semaphore::const_new(2);

/// Test whether clients get to real servers
///
/// For each real server: what is known of it, route, next hop, ping, connection, and its health checks,
/// once each; by the host interface (`[host]`). For each virtual server and zone: what a client's first
/// packet meets, as `POST /trace` finds it. Each line of the answer is a `ConnectivityLine`, as it comes:
/// steps, and at last a summary. The test ends when the reader goes away.
#[utoipa::path(post, path = "/tools/connectivity", tag = "tools", operation_id = "testConnectivity",
    request_body = ConnectivityQuery,
    responses((status = 200, content((ConnectivityLine = "application/x-ndjson")))))]
pub(super) async fn test(
    State(handle): State<Handle>,
    Body(query): Body<ConnectivityQuery>,
) -> Result<Response, Problem> {
    let place = RUNS.try_acquire();
    let place = place.map_err(|_| busy("Too many connectivity tests at once"))?;
    let action = Action::PlanConnectivity(Box::new(query));
    let Outcome::Connectivity(plan) = handle.call(action).await? else {
        return Err(mismatch());
    };
    let lines = connectivity::start(*plan, handle);
    Ok(lines_of(ReceiverStream::new(lines), place))
}
