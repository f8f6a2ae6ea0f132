//! `/api/v1/logs`: the latest log lines, and those that come.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::events::{Streamed, limit};
use super::extract::Query;
use super::{Api, Problem};
use crate::logs::{Level, Line, SyslogState};

/// Which lines.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Lines after this one; without it, the latest.
    #[param(format = "uint64")]
    after: Option<u64>,
    /// Lines at most, 1 to 1000; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `error`, `warn`, `info`, `debug` or `trace`: this and all that is worse. All by default.
    #[param(inline)]
    level: Option<Level>,
}

/// Which lines to follow.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Following {
    /// `error`, `warn`, `info`, `debug` or `trace`: this and all that is worse. All by default.
    #[param(inline)]
    level: Option<Level>,
}

/// Log lines.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogPage {
    /// Oldest first.
    #[schema(value_type = Vec<Line>)]
    lines: Vec<Arc<Line>>,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Servers {
    /// In the order of the configuration.
    servers: Vec<SyslogState>,
}

/// Log lines
///
/// The last two thousand are remembered. What is logged at all is up to `PUT /logs/level`.
#[utoipa::path(get, path = "/logs", tag = "state", operation_id = "listLogs",
    params(Parameters), responses((status = 200, body = LogPage)))]
pub(super) async fn list(
    State(api): State<Api>,
    Query(asked): Query<Parameters>,
) -> Result<Json<LogPage>, Problem> {
    let limit = limit(asked.limit)?;
    let least = asked.level.unwrap_or(Level::Trace);
    let lines = match asked.after {
        Some(id) => api.logs.lines().after(id, least, limit),
        None => api.logs.lines().latest_of(least, limit),
    };
    Ok(Json(LogPage { lines }))
}

/// Log lines as they come
///
/// Server-sent events: each line as JSON; `missed` if the reader was too slow for some. `Last-Event-ID`
/// goes on where another stream ended.
#[utoipa::path(get, path = "/logs/stream", tag = "state", operation_id = "followLogs",
    params(Following), responses((status = 200, content((Streamed = "text/event-stream")))))]
pub(super) async fn stream(
    State(api): State<Api>,
    Query(asked): Query<Following>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = caller.streams(&api.streams.logs)?;
    let least = asked.level.unwrap_or(Level::Trace);
    let from = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok());
    let lines = api.logs.lines();
    let (known, live) = lines.follow(from.unwrap_or_else(|| lines.last()));
    let shown = move |line: &Line| (line.level <= least).then(|| show(line));
    let known = tokio_stream::iter(known).filter_map(move |line| shown(&line));
    let live = BroadcastStream::new(live).filter_map(move |line| {
        // The place is taken as long as the stream lives.
        let _place = &place;
        match line {
            Ok(line) => shown(&line),
            Err(_) => Some(sse::Event::default().event("missed").data("{}")),
        }
    });
    let lines = known.chain(live).map(Ok::<_, Infallible>);
    Ok(Sse::new(lines)
        .keep_alive(KeepAlive::default())
        .into_response())
}

/// Syslog servers, and whether lines reach them
#[utoipa::path(get, path = "/logs/syslog", tag = "state", operation_id = "listSyslogServers",
    responses((status = 200, body = Servers)))]
pub(super) async fn servers(State(api): State<Api>) -> Json<Servers> {
    Json(Servers {
        servers: api.logs.servers(),
    })
}

fn show(line: &Line) -> sse::Event {
    let data = serde_json::to_string(line).unwrap_or_default();
    let shown = sse::Event::default().event("line");
    shown.id(line.id.to_string()).data(data)
}
