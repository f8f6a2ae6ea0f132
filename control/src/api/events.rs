//! `/api/v1/events`: what happened, and what happens.

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
use super::extract::Query;
use super::{Api, Problem};
use crate::events::Event;

/// Entries on a page, unless asked otherwise.
const PAGE: usize = 100;
/// Entries on a page at most.
const MAX_PAGE: usize = 1000;

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Events after this one; `next` of the page before.
    #[param(format = "uint64")]
    after: u64,
    /// Events on the page, 1 to 1000; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventPage {
    /// Oldest first.
    #[schema(value_type = Vec<Event>)]
    events: Vec<Arc<Event>>,
    /// `after` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// What happened
///
/// The last thousand events, in pages.
#[utoipa::path(get, path = "/events", tag = "state", operation_id = "listEvents",
    params(Parameters), responses((status = 200, body = EventPage)))]
pub(super) async fn list(
    State(api): State<Api>,
    Query(asked): Query<Parameters>,
) -> Result<Json<EventPage>, Problem> {
    let limit = limit(asked.limit)?;
    let mut events = api.events.after(asked.after, limit + 1);
    let more = events.len() > limit;
    events.truncate(limit);
    let next = events.last().map(|last| last.id).filter(|_| more);
    Ok(Json(EventPage { events, next }))
}

/// One event of a stream, by its fields.
#[derive(Debug, ToSchema)]
#[expect(
    dead_code,
    reason = "axum writes these fields; the document has them from here"
)]
pub(super) struct Streamed {
    /// Its kind; `missed` if the reader was too slow for some.
    event: String,
    /// Its number, for `Last-Event-ID`.
    id: Option<String>,
    /// JSON.
    data: String,
}

/// What happens
///
/// Server-sent events: each event as JSON, with its kind and number; `missed` if the reader was too
/// slow for some. `Last-Event-ID` goes on where another stream ended.
#[utoipa::path(get, path = "/events/stream", tag = "state", operation_id = "followEvents",
    responses((status = 200, content((Streamed = "text/event-stream")))))]
pub(super) async fn stream(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = caller.streams(&api.streams.events)?;
    let from = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok());
    let (known, live) = api.events.follow(from.unwrap_or_else(|| api.events.last()));
    let live = BroadcastStream::new(live).map(move |event| {
        // The place is taken as long as the stream lives.
        let _place = &place;
        match event {
            Ok(event) => show(&event),
            Err(_) => sse::Event::default().event("missed").data("{}"),
        }
    });
    let known = tokio_stream::iter(known).map(|event| show(&event));
    let events = known.chain(live).map(Ok::<_, Infallible>);
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response())
}

fn show(event: &Event) -> sse::Event {
    let data = serde_json::to_string(event).unwrap_or_default();
    let shown = sse::Event::default().event(event.kind);
    shown.id(event.id.to_string()).data(data)
}

/// How many entries are asked for.
pub(super) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    let limit = asked.unwrap_or(PAGE);
    if (1..=MAX_PAGE).contains(&limit) {
        return Ok(limit);
    }
    let found = format!("limit={limit} is out of range");
    let remedy = format!("write a number from 1 to {MAX_PAGE}");
    Err(Problem::bad_parameter("limit", found, remedy))
}
