//! `/api/v1/trace`

use axum::Json;
use axum::extract::State;

use super::Problem;
use super::extract::Body;
use super::problem::mismatch;
use crate::controller::{Action, Handle, Outcome};
use crate::trace::{TraceQuery, TraceView};

/// Say what would become of a packet, and why
///
/// Nothing is sent and nothing changes. The workers answer with the functions that decide about
/// packets.
#[utoipa::path(post, path = "/trace", tag = "tools", operation_id = "tracePacket",
    request_body = TraceQuery, responses((status = 200, body = TraceView)))]
pub(super) async fn trace(
    State(handle): State<Handle>,
    Body(query): Body<TraceQuery>,
) -> Result<Json<TraceView>, Problem> {
    match handle.call(Action::Trace(Box::new(query))).await? {
        Outcome::Trace(view) => Ok(Json(*view)),
        _ => Err(mismatch()),
    }
}
