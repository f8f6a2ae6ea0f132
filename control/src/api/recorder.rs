//! The audit log's pen: what was changed or refused, by whom, and what came of it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{Extensions, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::door::client;
use super::guard::too_long;
use super::needs::reads;
use super::{Api, Problem};
use crate::security::{Record, Security};

/// What those that handle a request find out for its record. Clones write the same one; there is none
/// in a request that does not come through the [`record`]er.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    user: String,
    let_in: bool,
    dry_run: bool,
}

impl Notes {
    /// Those of a request.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Who is let in.
    pub(super) fn let_in(&self, user: &str) {
        let mut noted = self.lock();
        user.clone_into(&mut noted.user);
        noted.let_in = true;
    }

    /// Who is not let in, as far as that is known.
    pub(super) fn refused(&self, user: &str) {
        user.clone_into(&mut self.lock().user);
    }

    /// Nothing is to change. Those say so that keep to it: a query alone is no proof.
    pub(super) fn dry_run(&self) {
        self.lock().dry_run = true;
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A record that is written when it is dropped, however a request ends.
struct Entry {
    security: Security,
    notes: Notes,
    client: IpAddr,
    method: Method,
    target: Uri,
    status: Option<StatusCode>,
}

impl Entry {
    fn close(&mut self, response: &Response) {
        self.status = Some(response.status());
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let refused = matches!(
            self.status,
            Some(
                StatusCode::UNAUTHORIZED
                    | StatusCode::FORBIDDEN
                    | StatusCode::MISDIRECTED_REQUEST
                    | StatusCode::TOO_MANY_REQUESTS
            )
        );
        if reads(&self.method) && !refused {
            return;
        }
        // Who sends too much is not written down as often.
        if self.status == Some(StatusCode::TOO_MANY_REQUESTS)
            && !self
                .security
                .limits
                .is_noted_now(self.client, Instant::now())
        {
            return;
        }
        // Cut off before its end, as when the process stops: nobody knows what was done.
        let status = self.status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let noted = self.notes.lock();
        let mut record = Record::new(
            &noted.user,
            self.client.to_string(),
            self.method.as_str(),
            &self.target.to_string(),
            status.as_u16(),
        );
        record.dry_run = noted.dry_run;
        match noted.let_in {
            true => self.security.audit.done(record),
            false => self.security.audit.refused(record),
        }
    }
}

/// Writes down every change, and every request that is refused.
///
/// A server forgets what it is at when its client hangs up. A change is made to its end all the same, so
/// that none is half done, and none is done that is not written down. The same of one that takes longer than
/// a client is to wait: what is written down is what came of it, not that it took long.
pub(super) async fn record(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let time = api.time;
    let notes = Notes::default();
    let mut entry = Entry {
        security: api.security,
        notes: notes.clone(),
        client: client(&request),
        method: request.method().clone(),
        target: request.uri().clone(),
        status: None,
    };
    let changes = !reads(request.method());
    request.extensions_mut().insert(notes);
    let whole = async move {
        let response = next.run(request).await;
        entry.close(&response);
        response
    };
    if !changes {
        return whole.await;
    }
    match tokio::time::timeout(time, tokio::spawn(whole)).await {
        Ok(Ok(response)) => response,
        Ok(Err(why)) => {
            tracing::error!(%why, "a request to the API was cut off");
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Problem::new(status, "internal", "An error in Sluice; please report it").into_response()
        }
        Err(_) => {
            let detail = "it goes on; the audit log will say what came of it";
            too_long().detail(detail).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::Router;
    use axum::body::Body;
    use axum::http::Request;
    use axum::middleware::from_fn_with_state;
    use axum::routing::put;
    use tokio::sync::Notify;
    use tower_service::Service as _;

    use super::super::{Streams, guard};
    use super::*;
    use crate::config::{Config, Source};
    use crate::controller::Handle;
    use crate::events::Events;
    use crate::logs::Logs;
    use crate::security::Search;
    use crate::testing::WHOLE;

    fn api(time: Duration) -> Api {
        let config = Config::read(Source::toml(WHOLE)).expect("a configuration");
        Api {
            handle: Handle::new().0,
            events: Events::default(),
            logs: Logs::default(),
            security: Security::open(&config.api, None, "lab").expect("nothing to fail"),
            streams: Streams::new(),
            time,
        }
    }

    fn records(api: &Api) -> Vec<u16> {
        let found = api.security.audit.find(&Search::default(), 9).0;
        found.iter().map(|record| record.status).collect()
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().expect("a runtime");
        runtime.block_on(test);
    }

    #[test]
    fn a_change_that_takes_too_long_is_written_down_as_what_came_of_it() {
        run(async {
            let api = api(Duration::from_millis(20));
            let (go, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let (wait, tell) = (Arc::clone(&go), Arc::clone(&done));
            let slow = put(move || async move {
                wait.notified().await;
                tell.notify_one();
                StatusCode::CREATED
            });
            let mut router = Router::new()
                .route("/slow", slow)
                .layer(from_fn_with_state(api.clone(), guard::limit_time))
                .layer(from_fn_with_state(api.clone(), record));
            let request = Request::put("/slow").body(Body::empty()).expect("one");
            let response = router.call(request).await.expect("an answer");
            assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
            assert_eq!(records(&api), [0; 0], "nobody knows yet");
            go.notify_one();
            done.notified().await;
            while records(&api).is_empty() {
                tokio::task::yield_now().await;
            }
            assert_eq!(records(&api), [201], "it was done");
        });
    }

    #[test]
    fn a_change_whose_body_does_not_come_is_not_made() {
        run(async {
            let api = api(Duration::from_millis(20));
            let read = put(|body: axum::body::Bytes| async move { body });
            let mut router = Router::new()
                .route("/body", read)
                .layer(from_fn_with_state(api.clone(), guard::limit_time))
                .layer(from_fn_with_state(api.clone(), record));
            let never =
                futures_util::stream::pending::<Result<axum::body::Bytes, std::io::Error>>();
            let request = Request::put("/body").body(Body::from_stream(never));
            let response = router.call(request.expect("one")).await;
            assert_eq!(
                response.expect("an answer").status(),
                StatusCode::REQUEST_TIMEOUT
            );
            while records(&api).is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(records(&api), [408]);
        });
    }
}
