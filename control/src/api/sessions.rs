//! `/api/v1/sessions`: pages, a stream, sums, and the end of those that match.

mod filter;
mod stream;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Problem;
use super::extract::Path;
use super::problem::mismatch;
use crate::controller::{
    Action, Ended, GroupBy, Handle, Order, Outcome, Question, SessionCount, SessionCursor,
    SessionList, SessionQuery, Top,
};
use filter::{Conditions, Filtered};
pub(super) use stream::{__path_stream, stream};

/// Sessions on a page, unless asked otherwise.
const PAGE: usize = 100;
/// Sessions on a page at most.
const MAX_PAGE: usize = 1000;
/// Groups told of, unless asked otherwise.
const GROUPS: usize = 10;

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// Sessions on the page, 1 to 1000; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// What `DELETE` wants besides.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Really {
    /// Without any condition, `DELETE` wants it in so many words: `all=true`.
    all: bool,
    /// Tell both ends of TCP sessions by a reset.
    reset: bool,
}

/// Which groups.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Grouping {
    /// What sessions are grouped by: `source` (by default), `destination`, `endpoint`, `service`,
    /// `server`.
    #[param(inline)]
    by: GroupBy,
    /// What counts: `bytes` (by default), `packets` or `sessions`.
    #[param(inline)]
    order: Order,
    /// Groups, 1 to 1000; 10 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Nothing besides the filter.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Nothing {}

fn within(limit: Option<usize>, usual: usize) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(usual);
    if (1..=MAX_PAGE).contains(&limit) {
        return Ok(limit);
    }
    let found = format!("limit={limit} is out of range");
    let remedy = format!("write a number from 1 to {MAX_PAGE}");
    Err(Problem::bad_parameter("limit", found, remedy))
}

/// A page of sessions
///
/// Every session that lives while the pages are read is on exactly one of them.
#[utoipa::path(get, path = "/sessions", tag = "state", operation_id = "listSessions",
    params(Conditions, Paging), responses((status = 200, body = SessionList)))]
pub(super) async fn list(
    State(handle): State<Handle>,
    Filtered(filter, page): Filtered<Paging>,
) -> Result<Json<SessionList>, Problem> {
    let limit = within(page.limit, PAGE)?;
    let from = match &page.cursor {
        None => SessionCursor::default(),
        Some(text) => text.parse().map_err(|()| {
            let found = format!("cursor={text} is not one that was given out");
            Problem::bad_parameter("cursor", found, "write `next` of the page before")
        })?,
    };
    let query = SessionQuery {
        filter,
        limit,
        from,
    };
    match handle.call(Action::ListSessions(query)).await? {
        Outcome::Sessions(list) => Ok(Json(list)),
        _ => Err(mismatch()),
    }
}

/// End the sessions that match
///
/// With `reset` both ends are told at a bounded rate, so that many sessions take long: what is not done within
/// ten seconds goes on behind the answer, which then is 202 and says where to ask how far it is.
#[utoipa::path(delete, path = "/sessions", tag = "state", operation_id = "endSessions",
    params(Conditions, Really), responses((status = 200, body = Ended),
        (status = 202, body = Ended, description = "It goes on; `Location` tells how far it is")))]
pub(super) async fn end(
    State(handle): State<Handle>,
    Filtered(filter, really): Filtered<Really>,
) -> Result<Response, Problem> {
    if filter.is_empty() && !really.all {
        let found = "without a condition this ends all sessions".to_owned();
        let remedy = "write all=true if that is meant";
        return Err(Problem::bad_parameter("all", found, remedy));
    }
    let reset = really.reset;
    match handle.call(Action::EndSessions { filter, reset }).await? {
        Outcome::Ended(ended) if ended.going_on => {
            let place = format!("/api/v1/sessions/endings/{}", ended.id);
            let place = [(header::LOCATION, place)];
            Ok((StatusCode::ACCEPTED, place, Json(ended)).into_response())
        }
        Outcome::Ended(ended) => Ok(Json(ended).into_response()),
        _ => Err(mismatch()),
    }
}

/// How far the ending of sessions is
///
/// Of a `DELETE` that was answered with 202. The last 64 are remembered.
#[utoipa::path(get, path = "/sessions/endings/{number}", tag = "state", operation_id = "readEnding",
    params(("number" = u64, Path)), responses((status = 200, body = Ended)))]
pub(super) async fn ending(
    State(handle): State<Handle>,
    Path(number): Path<u64>,
) -> Result<Json<Ended>, Problem> {
    match handle.call(Action::FindEnding(number)).await? {
        Outcome::Ended(ended) => Ok(Json(ended)),
        _ => Err(mismatch()),
    }
}

/// How many sessions match
///
/// By protocol, state and worker as well. Workers look through their tables beside their work; ten
/// million sessions take seconds.
#[utoipa::path(get, path = "/sessions/count", tag = "state", operation_id = "countSessions",
    params(Conditions), responses((status = 200, body = SessionCount)))]
pub(super) async fn count(
    State(handle): State<Handle>,
    Filtered(filter, Nothing {}): Filtered<Nothing>,
) -> Result<Json<SessionCount>, Problem> {
    match handle.call(Action::Survey(filter, Question::Count)).await? {
        Outcome::Count(count) => Ok(Json(count)),
        _ => Err(mismatch()),
    }
}

/// Who has most
///
/// Hosts, services or real servers with the most bytes, packets or sessions, in the sessions that live
/// now and match.
#[utoipa::path(get, path = "/sessions/top", tag = "state", operation_id = "topSessions",
    params(Conditions, Grouping), responses((status = 200, body = Top)))]
pub(super) async fn top(
    State(handle): State<Handle>,
    Filtered(filter, grouping): Filtered<Grouping>,
) -> Result<Json<Top>, Problem> {
    let question = Question::Top {
        by: grouping.by,
        order: grouping.order,
        limit: within(grouping.limit, GROUPS)?,
    };
    match handle.call(Action::Survey(filter, question)).await? {
        Outcome::Top(top) => Ok(Json(top)),
        _ => Err(mismatch()),
    }
}
