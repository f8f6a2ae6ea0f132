//! What every request must pass.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::needs::reads;
use super::{Api, MAX_BODY, Problem};

/// Ends requests that take too long. Of a change that is only the time for its body: once that is there,
/// the change is made to its end, and the [recorder](super::recorder) answers for it.
pub(super) async fn limit_time(State(api): State<Api>, request: Request, next: Next) -> Response {
    if reads(request.method()) {
        let response = tokio::time::timeout(api.time, next.run(request)).await;
        return response.unwrap_or_else(|_| too_long().into_response());
    }
    let late = Arc::new(AtomicBool::new(false));
    let request = request.map(|body| Body::new(Hurried::new(body, api.time, Arc::clone(&late))));
    let response = next.run(request).await;
    match late.load(Ordering::Relaxed) {
        true => too_long().into_response(),
        false => response,
    }
}

/// 408.
pub(super) fn too_long() -> Problem {
    let status = StatusCode::REQUEST_TIMEOUT;
    Problem::new(status, "timeout", "The request took too long")
}

/// A body that has to have come by a certain time.
struct Hurried {
    body: Body,
    end: Pin<Box<Sleep>>,
    late: Arc<AtomicBool>,
}

impl Hurried {
    fn new(body: Body, time: Duration, late: Arc<AtomicBool>) -> Self {
        let end = Box::pin(sleep(time));
        Self { body, end, late }
    }
}

impl HttpBody for Hurried {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.end.as_mut().poll(cx).is_ready() {
            self.late.store(true, Ordering::Relaxed);
            let why = axum::Error::new(io::Error::from(io::ErrorKind::TimedOut));
            return Poll::Ready(Some(Err(why)));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Refuses a body that says that it is too large before it is sent. One that does not say is cut off
/// by axum's limit.
pub(super) async fn limit_size(request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BODY as u64) {
        return too_large().into_response();
    }
    next.run(request).await
}

/// 413.
fn too_large() -> Problem {
    let status = StatusCode::PAYLOAD_TOO_LARGE;
    let problem = Problem::new(status, "too-large", "The body is too large");
    problem.detail(format!("it may have {MAX_BODY} bytes"))
}

/// What is said of a body that did not come, or was cut off by the limit.
pub(super) fn unreadable(why: &BytesRejection) -> Problem {
    match why.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        status => {
            Problem::new(status, "bad-body", "The body cannot be read").detail(why.body_text())
        }
    }
}

/// Refuses requests for other host names, as a browser sends them when a web page had its own name
/// lead to the loopback address (DNS rebinding). Addresses and `localhost` are ours.
///
/// Where callers have to be users no such page has anything to show, and the host may have any name.
pub(super) async fn check_host(State(api): State<Api>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    let ours =
        api.security.accounts.is_some() || host.is_none_or(|host| host.to_str().is_ok_and(is_ours));
    if !ours {
        let problem = Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "foreign-host",
            "The request is for another host",
        );
        let problem = problem.detail("use the address or `localhost` in the URL");
        return problem.into_response();
    }
    next.run(request).await
}

/// Refuses changes that a browser sends for a page of somebody else (cross-site request forgery). It
/// would send them with its user's certificate, or from loopback, where nobody is asked.
///
/// Browsers say whose page it is (Fetch Metadata, RFC 6454); programs say nothing.
pub(super) async fn check_origin(request: Request, next: Next) -> Response {
    if !reads(request.method()) && is_foreign(request.headers()) {
        let problem = Problem::new(
            StatusCode::FORBIDDEN,
            "foreign-origin",
            "The request comes from a page of another site",
        );
        let problem = problem.detail("browsers may make changes from the console alone");
        return problem.into_response();
    }
    next.run(request).await
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"));
    authority.map(|(_, authority)| authority) != text(header::HOST)
}

fn is_ours(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_site_is_foreign_and_a_program_is_not() {
        let foreign = |lines: &[(&'static str, &'static str)]| {
            let lines = lines.iter().map(|&(name, value)| {
                let value = axum::http::HeaderValue::from_static(value);
                (HeaderName::from_static(name), value)
            });
            is_foreign(&lines.collect())
        };
        let host = ("host", "192.0.2.10:8443");
        assert!(!foreign(&[host]));
        assert!(!foreign(&[host, ("origin", "https://192.0.2.10:8443")]));
        assert!(!foreign(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(!foreign(&[host, ("sec-fetch-site", "none")]));
        assert!(foreign(&[host, ("origin", "https://example.net")]));
        assert!(foreign(&[host, ("origin", "https://192.0.2.10")]));
        assert!(foreign(&[host, ("origin", "null")]));
        assert!(foreign(&[host, ("sec-fetch-site", "cross-site")]));
        assert!(foreign(&[host, ("sec-fetch-site", "same-site")]));
    }

    #[test]
    fn addresses_and_localhost_are_ours() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]:80",
            "[::1]",
            "localhost:1",
            "LOCALHOST",
        ] {
            assert!(is_ours(host), "{host}");
        }
        for host in [
            "example.net",
            "example.net:8080",
            "localhost.example.net",
            "",
            ":80",
            "::1:x",
        ] {
            assert!(!is_ours(host), "{host}");
        }
    }
}
