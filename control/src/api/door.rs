//! The door: who may come in, how often, and what they may ask for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::caller::Caller;
use super::crowd::Place;
use super::needs::{Needs, below, is_own};
use super::recorder::Notes;
use super::tether::{Credentials, tether};
use super::{Api, Problem};
use crate::events::Severity;
use crate::security::Wait;

/// Where a connection comes from.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Names in the certificate that it showed, if it did; an authority of ours vouches for them.
    pub(super) names: Option<Arc<[String]>>,
    /// Its place among connections: taken until the connection is closed and all its requests are done.
    _place: Option<Arc<Place>>,
}

impl Peer {
    /// Without a certificate.
    pub(super) fn new(address: SocketAddr, place: Option<Arc<Place>>) -> Self {
        Self {
            address,
            names: None,
            _place: place,
        }
    }
}

/// What anybody may see who can reach the API: how to ask, the way in, and the console's files.
const OPEN: [&str; 3] = ["/", "/api/v1/login", "/api/v1/openapi.json"];
const OPEN_BELOW: [&str; 2] = ["/api/v1/docs", "/console"];
/// Lets a request in, with a [`Caller`], or not.
pub(super) async fn guard(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let client = client(&request);
    let notes = Notes::of(request.extensions());
    if let Err(wait) = api.security.limits.request(client, Instant::now()) {
        return too_many(wait, "Too many requests");
    }
    let credentials = credentials(&api, &request);
    let needs = Needs::of(request.method(), request.uri().path());
    let admitted = match &credentials {
        None => Ok(Some(Caller::local(Some(client)))),
        Some(_) if is_open(request.uri().path()) => Ok(None),
        Some(credentials) => admit(credentials, client, needs, request.uri().path()).map(Some),
    };
    match (admitted, credentials) {
        (Ok(Some(caller)), credentials) => {
            notes.let_in(&caller.name);
            request.extensions_mut().insert(caller);
            let response = next.run(request).await;
            match credentials {
                Some(credentials) => tether(response, credentials, needs),
                None => response,
            }
        }
        (Ok(None), _) => next.run(request).await,
        (Err(refusal), _) => {
            notes.refused(&refusal.user);
            refusal.response
        }
    }
}

/// The address that a request comes from. Those of a test without connection come from here.
pub(super) fn client(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<Peer>();
    peer.map_or(Ipv4Addr::LOCALHOST.into(), |peer| {
        peer.address.ip().to_canonical()
    })
}

/// What a request shows; `None` where nobody is asked.
fn credentials(api: &Api, request: &Request) -> Option<Credentials> {
    let peer = request.extensions().get::<Peer>();
    Some(Credentials {
        accounts: api.security.accounts.clone()?,
        secret: bearer(request.headers()).map(str::to_owned),
        names: peer.and_then(|peer| peer.names.clone()),
    })
}

fn is_open(path: &str) -> bool {
    OPEN.contains(&path) || below(path, &OPEN_BELOW)
}

/// Why somebody may not come in.
struct Refusal {
    /// Who it is, as far as that is known.
    user: String,
    response: Response,
}

/// The caller.
fn admit(
    credentials: &Credentials,
    client: IpAddr,
    needs: Needs,
    path: &str,
) -> Result<Caller, Box<Refusal>> {
    let refusal = |user, response| Box::new(Refusal { user, response });
    let Some(identity) = credentials.identity() else {
        let why = match (&credentials.secret, &credentials.names) {
            // No guess: nobody finds 256 random bits. A program whose token is dead locks nobody out.
            (Some(_), _) => "the token is not known, or has ended",
            (None, Some(_)) => "the certificate names no user",
            (None, None) => "send Authorization: Bearer with a token, or log in",
        };
        return Err(refusal(String::new(), unauthorized(why)));
    };
    let name = match &identity.token {
        Some(token) => format!("{}/{}", identity.user, token.name),
        None => identity.user.clone(),
    };
    if identity.must_change && !is_own(path) {
        let problem = Problem::new(
            StatusCode::FORBIDDEN,
            "password-change-required",
            "The password has to be changed first",
        );
        let problem = problem.detail("PUT /api/v1/password");
        return Err(refusal(name, problem.into_response()));
    }
    if let Err(problem) = needs.check(&identity) {
        return Err(refusal(name, problem.into_response()));
    }
    Ok(Caller {
        name,
        user: identity.user,
        address: Some(client),
        role: identity.role,
        token: identity.token,
    })
}

/// A wrong password came from a client.
pub(super) fn guessed_wrong(api: &Api, client: IpAddr, now: Instant) {
    if api.security.limits.guessed_wrong(client, now) {
        tracing::warn!(%client, "locked out of the API after too many wrong guesses");
        let message = format!("{client} is locked out of the API after too many wrong guesses");
        let details = json!({ "client": client.to_string() });
        api.events
            .publish("access.locked_out", Severity::Warning, message, details);
    }
}

/// The secret of `Authorization: Bearer`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

/// 401.
pub(super) fn unauthorized(detail: &str) -> Response {
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "Who are you?");
    let mut response = problem.detail(detail).into_response();
    let scheme = HeaderValue::from_static("Bearer");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, scheme);
    response
}

/// 429.
pub(super) fn too_many(Wait(wait): Wait, title: &str) -> Response {
    let seconds = wait.as_secs() + 1;
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", title);
    let detail = format!("try again in {seconds} s");
    let mut response = problem.detail(detail).into_response();
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}
