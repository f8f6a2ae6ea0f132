//! `/api/v1/captures`

use std::time::Duration;

use axum::Json;
use axum::body::{Body as Stream, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};

use super::Problem;
use super::extract::{Body, Path, Query};
use super::problem::mismatch;
use crate::capture::{Capture, CaptureSpec, CaptureView, NewCapture, compile};
use crate::controller::{Action, Handle, Outcome};

/// How long a filter may take to be compiled: it may name hosts.
const COMPILE: Duration = Duration::from_secs(10);
/// Bytes handed on at a time, and how many such pieces wait for a slow reader.
const PIECE: usize = 64 << 10;
const PIECES: usize = 2;

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Captures {
    /// Oldest first.
    captures: Vec<CaptureView>,
}

/// How a capture is read.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Reading {
    /// Go on until the capture is over.
    follow: bool,
}

/// Capture packets
///
/// Ends by itself, when its time or its room is over. Four may run at a time; of those that are over,
/// the oldest makes room for a new one.
#[utoipa::path(post, path = "/captures", tag = "tools", operation_id = "startCapture",
    request_body = CaptureSpec, responses((status = 201, body = CaptureView)))]
pub(super) async fn start(
    State(handle): State<Handle>,
    Body(spec): Body<CaptureSpec>,
) -> Result<Response, Problem> {
    let view = begin(&handle, spec).await?;
    let place = [(header::LOCATION, format!("/api/v1/captures/{}", view.id))];
    Ok((StatusCode::CREATED, place, Json(view)).into_response())
}

/// Capture packets, and read them as they come, as pcapng
///
/// The capture is there for its one reader: it ends when the reader goes away, and is deleted when it is
/// over.
#[utoipa::path(post, path = "/captures/stream", tag = "tools", operation_id = "streamCapture",
    request_body = CaptureSpec,
    responses((status = 200, content((Vec<u8> = "application/x-pcapng")))))]
pub(super) async fn stream(
    State(handle): State<Handle>,
    Body(spec): Body<CaptureSpec>,
) -> Result<Response, Problem> {
    let id = begin(&handle, spec).await?.id;
    let capture = find(&handle, id).await?;
    Ok(pour(capture, true, Some(handle)))
}

/// Begins one, if it can be begun.
async fn begin(handle: &Handle, spec: CaptureSpec) -> Result<CaptureView, Problem> {
    let wrong = |key: &str, found: String, remedy: String| {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let problem = Problem::new(status, "invalid-body", "This cannot be captured");
        problem.fault(format!("/{key}"), found, remedy)
    };
    if let Some((key, remedy)) = spec.fault() {
        return Err(wrong(key, "it is out of range".to_owned(), remedy));
    }
    let text = spec.filter.clone();
    let compiled = tokio::task::spawn_blocking(move || compile(&text));
    let program = match tokio::time::timeout(COMPILE, compiled).await {
        Ok(Ok(Ok(program))) => program,
        Ok(Ok(Err(why))) => {
            let remedy = "see pcap-filter(7)".to_owned();
            return Err(wrong("filter", why.to_string(), remedy));
        }
        Ok(Err(_)) => return Err(mismatch()),
        Err(_) => {
            let remedy = "write addresses instead of names".to_owned();
            return Err(wrong("filter", "it took too long".to_owned(), remedy));
        }
    };
    let new = NewCapture { spec, program };
    match handle.call(Action::StartCapture(Box::new(new))).await? {
        Outcome::Capture(view) => Ok(*view),
        _ => Err(mismatch()),
    }
}

/// The captures
#[utoipa::path(get, path = "/captures", tag = "tools", operation_id = "listCaptures",
    responses((status = 200, body = Captures)))]
pub(super) async fn list(State(handle): State<Handle>) -> Result<Json<Captures>, Problem> {
    match handle.call(Action::ListCaptures).await? {
        Outcome::Captures(captures) => Ok(Json(Captures { captures })),
        _ => Err(mismatch()),
    }
}

/// A capture's state
#[utoipa::path(get, path = "/captures/{id}", tag = "tools", operation_id = "readCapture",
    params(("id" = u64, Path,)), responses((status = 200, body = CaptureView)))]
pub(super) async fn read(
    State(handle): State<Handle>,
    Path(id): Path<u64>,
) -> Result<Json<CaptureView>, Problem> {
    Ok(Json(find(&handle, id).await?.view()))
}

/// What was captured, as pcapng
///
/// Each packet's comment has its direction, the worker, and what became of it.
#[utoipa::path(get, path = "/captures/{id}/packets", tag = "tools", operation_id = "readPackets",
    params(("id" = u64, Path,), Reading),
    responses((status = 200, content((Vec<u8> = "application/x-pcapng")))))]
pub(super) async fn packets(
    State(handle): State<Handle>,
    Path(id): Path<u64>,
    Query(reading): Query<Reading>,
) -> Result<Response, Problem> {
    let capture = find(&handle, id).await?;
    Ok(pour(capture, reading.follow, None))
}

/// Hands on what a capture has, to its end if `follow`; a capture that is deleted meanwhile is cut off.
/// `delete` is used to delete it then, or when the
/// reader has gone away.
fn pour(capture: Capture, follow: bool, delete: Option<Handle>) -> Response {
    let name = format!("attachment; filename=\"sluice-{}.pcapng\"", capture.id().0);
    let (pieces, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(PIECES);
    tokio::spawn(async move {
        let mut offset = 0;
        loop {
            let piece = tokio::select! {
                () = pieces.closed() => break,
                piece = capture.read(offset, PIECE, follow) => piece,
            };
            let piece = match piece {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(deleted) => {
                    // The connection breaks off, so that nobody takes the file for whole.
                    let _ = pieces.send(Err(std::io::Error::other(deleted))).await;
                    break;
                }
            };
            offset += piece.len();
            if pieces.send(Ok(piece.into())).await.is_err() {
                break;
            }
        }
        if let Some(handle) = delete {
            let id = capture.id().0;
            let _ = handle.call(Action::RemoveCapture(id)).await;
        }
    });
    let head = [
        (header::CONTENT_TYPE, "application/x-pcapng".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    let body = Stream::from_stream(ReceiverStream::new(receiver));
    (head, body).into_response()
}

/// End a capture, and keep what it has
#[utoipa::path(post, path = "/captures/{id}/stop", tag = "tools", operation_id = "stopCapture",
    params(("id" = u64, Path,)), responses((status = 200, body = CaptureView)))]
pub(super) async fn stop(
    State(handle): State<Handle>,
    Path(id): Path<u64>,
) -> Result<Json<CaptureView>, Problem> {
    match handle.call(Action::StopCapture(id)).await? {
        Outcome::Capture(view) => Ok(Json(*view)),
        _ => Err(mismatch()),
    }
}

/// End a capture, and forget it
#[utoipa::path(delete, path = "/captures/{id}", tag = "tools", operation_id = "deleteCapture",
    params(("id" = u64, Path,)), responses((status = 204)))]
pub(super) async fn remove(
    State(handle): State<Handle>,
    Path(id): Path<u64>,
) -> Result<StatusCode, Problem> {
    handle.call(Action::RemoveCapture(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(handle: &Handle, id: u64) -> Result<Capture, Problem> {
    match handle.call(Action::FindCapture(id)).await? {
        Outcome::CaptureHandle(capture) => Ok(capture),
        _ => Err(mismatch()),
    }
}
