//! `/api/v1/ping` and `/api/v1/traceroute`

use std::convert::Infallible;

use axum::body::{Body as Content, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};

use super::Problem;
use super::extract::Body;
use super::problem::mismatch;
use crate::controller::{Action, Handle, Outcome};
use crate::ping::{self, PingQuery, ProbeLine, Run, TracerouteQuery};

/// Runs at once.
static RUNS: Semaphore = Semaphore::const_new(8);

/// Ask a host for an echo
///
/// From the appliance's own address, through the data plane; it takes the host interface (`[host]`). Each
/// line of the answer is a `ProbeLine`, as it comes: probes, and at last a summary. The run ends when
/// the reader goes away.
#[utoipa::path(post, path = "/ping", tag = "tools", operation_id = "ping",
    request_body = PingQuery,
    responses((status = 200, content((ProbeLine = "application/x-ndjson")))))]
pub(super) async fn ping(
    State(handle): State<Handle>,
    Body(query): Body<PingQuery>,
) -> Result<Response, Problem> {
    start(&handle, Run::Ping(query)).await
}

/// Find the routers on the way to a host
///
/// By echo requests with a growing TTL, as `POST /ping` sends them.
#[utoipa::path(post, path = "/traceroute", tag = "tools", operation_id = "traceroute",
    request_body = TracerouteQuery,
    responses((status = 200, content((ProbeLine = "application/x-ndjson")))))]
pub(super) async fn traceroute(
    State(handle): State<Handle>,
    Body(query): Body<TracerouteQuery>,
) -> Result<Response, Problem> {
    start(&handle, Run::Traceroute(query)).await
}

async fn start(handle: &Handle, run: Run) -> Result<Response, Problem> {
    if let Err((key, remedy)) = run.check() {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let problem = Problem::new(status, "invalid-body", "This cannot be asked for");
        return Err(problem.fault(format!("/{key}"), "it is out of range".to_owned(), remedy));
    }
    let place = RUNS.try_acquire();
    let place = place.map_err(|_| busy("Too many pings and traceroutes at once"))?;
    let Outcome::HostNamespace(namespace) = handle.call(Action::FindHost).await? else {
        return Err(mismatch());
    };
    let lines = ping::start(run, namespace).map_err(|why| busy(&why.to_string()))?;
    Ok(lines_of(ReceiverStream::new(lines), place))
}

/// There is no room for it now.
pub(super) fn busy(why: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", why)
}

/// Lines of JSON as they come. The place is taken as long as somebody reads.
pub(super) fn lines_of<T: Serialize + 'static>(
    lines: impl Stream<Item = T> + Send + 'static,
    place: SemaphorePermit<'static>,
) -> Response {
    let lines = lines.map(move |line| {
        let _place = &place;
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        Ok::<_, Infallible>(Bytes::from(text))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Content::from_stream(lines)).into_response()
}
