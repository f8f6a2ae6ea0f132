//! All sessions that match, one a line, for as long as it takes.

use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio_stream::{Stream, StreamExt};

use super::super::caller::Caller;
use super::super::problem::mismatch;
use super::super::{Problem, Streams};
use super::MAX_PAGE;
use super::filter::{Conditions, Filtered};
use crate::controller::{
    Action, Handle, Outcome, SessionCursor, SessionFilter, SessionList, SessionQuery,
};

/// All sessions that match
///
/// Newline-delimited JSON, one session a line. They are read page by page as the client takes them, so
/// that neither end has to hold all of them. A stream that is cut off by an error ends with a line that
/// has `error`.
#[utoipa::path(get, path = "/sessions/stream", tag = "state", operation_id = "streamSessions",
    params(Conditions), responses((status = 200, content((String = "application/x-ndjson")))))]
pub(in super::super) async fn stream(
    State(handle): State<Handle>,
    State(streams): State<Streams>,
    Extension(caller): Extension<Caller>,
    Filtered(filter, super::Nothing {}): Filtered<super::Nothing>,
) -> Result<Response, Problem> {
    let place = caller.streams(&streams.sessions)?;
    // What is wrong with the filter is said before the stream begins.
    let first = page(&handle, &filter, SessionCursor::default()).await?;
    let pages = pages(handle, filter, first).map(move |page| {
        // The place is taken as long as the stream lives.
        let _place = &place;
        Ok::<_, std::convert::Infallible>(lines(page))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(pages)).into_response())
}

async fn page(
    handle: &Handle,
    filter: &SessionFilter,
    from: SessionCursor,
) -> Result<SessionList, Problem> {
    let query = SessionQuery {
        filter: filter.clone(),
        limit: MAX_PAGE,
        from,
    };
    match handle.call(Action::ListSessions(query)).await? {
        Outcome::Sessions(list) => Ok(list),
        _ => Err(mismatch()),
    }
}

/// What to do next, of a stream.
enum Next {
    Give(SessionList),
    Ask(SessionCursor),
    End,
}

type Page = Result<SessionList, Problem>;

fn pages(handle: Handle, filter: SessionFilter, first: SessionList) -> impl Stream<Item = Page> {
    let state = (handle, filter, Next::Give(first));
    futures_util::stream::unfold(state, |(handle, filter, next)| async move {
        let page = match next {
            Next::End => return None,
            Next::Give(page) => Ok(page),
            Next::Ask(from) => page(&handle, &filter, from).await,
        };
        let next = match page.as_ref().map(|page| page.next.as_ref()) {
            Ok(Some(text)) => text.parse().map_or(Next::End, Next::Ask),
            _ => Next::End,
        };
        Some((page, (handle, filter, next)))
    })
}

fn lines(page: Page) -> Bytes {
    let mut text = Vec::new();
    match page {
        Ok(page) => {
            for session in &page.sessions {
                // Plain structs of texts and numbers.
                let _ = serde_json::to_writer(&mut text, session);
                text.push(b'\n');
            }
        }
        Err(problem) => {
            let why = problem.detail.unwrap_or(problem.title);
            text = serde_json::json!({ "error": why }).to_string().into_bytes();
            text.push(b'\n');
        }
    }
    text.into()
}
