//! The door: who may come in, how often, and what they may ask for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::caller::Caller;
use super::{Api, Problem};
use crate::clock;
use crate::events::Severity;
use crate::security::{Record, Role, Wait};

/// Where a connection comes from.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Names in the certificate that it showed, if it did; an authority of ours vouches for them.
    pub(super) names: Option<Arc<[String]>>,
}

impl Peer {
    /// Without a certificate.
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            names: None,
        }
    }
}

/// What anybody may see who can reach the API: how to ask, the way in, and the console's files.
const OPEN: [&str; 3] = ["/", "/api/v1/login", "/api/v1/openapi.json"];
const OPEN_BELOW: [&str; 2] = ["/api/v1/docs", "/console"];
/// For administrators alone.
const ADMIN: [&str; 4] = [
    "/api/v1/users",
    "/api/v1/tokens",
    "/api/v1/audit",
    "/api/v1/tls",
];
/// For operators also to read: what is in there is other people's.
const OPERATOR: [&str; 2] = ["/api/v1/captures", "/api/v1/support-bundle"];
/// Of the caller's own account: for everybody who has one.
const OWN: [&str; 3] = ["/api/v1/whoami", "/api/v1/password", "/api/v1/logout"];

/// Lets a request in, with a [`Caller`], or not. Every change and every refusal is written down.
pub(super) async fn guard(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let client = client(&request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let target = request.uri().to_string();
    if let Err(wait) = api.security.limits.request(client, Instant::now()) {
        return too_many(wait, "Too many requests");
    }
    let admitted = admit(&api, client, &method, &path, &request);
    let (user, response) = match admitted {
        Ok(caller) => {
            let user = caller.as_ref().map(|caller| caller.name.clone());
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            (user.unwrap_or_default(), next.run(request).await)
        }
        Err(refusal) => (refusal.user, refusal.response),
    };
    let refused = matches!(
        response.status(),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    );
    if !reads(&method) || refused {
        api.security.audit.write(Record {
            time: clock::now(),
            user,
            client: client.to_string(),
            method: method.to_string(),
            path: target,
            status: response.status().as_u16(),
        });
    }
    response
}

/// The address that a request comes from. Those of a test without connection come from here.
pub(super) fn client(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<Peer>();
    peer.map_or(Ipv4Addr::LOCALHOST.into(), |peer| {
        peer.address.ip().to_canonical()
    })
}

/// The names in the client's certificate.
fn shown(request: &Request) -> Option<&[String]> {
    request.extensions().get::<Peer>()?.names.as_deref()
}

pub(super) fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn below(path: &str, roots: &[&str]) -> bool {
    roots.iter().any(|root| {
        let rest = path.strip_prefix(root);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// What a request needs.
pub(super) fn needed(method: &Method, path: &str) -> Role {
    match method {
        _ if below(path, &OWN) => Role::Viewer,
        _ if below(path, &ADMIN) => Role::Admin,
        _ if below(path, &OPERATOR) => Role::Operator,
        method if reads(method) => Role::Viewer,
        _ => Role::Operator,
    }
}

/// Why somebody may not come in.
struct Refusal {
    /// Who it is, as far as that is known.
    user: String,
    response: Response,
}

/// The caller; `None` at an open door.
fn admit(
    api: &Api,
    client: IpAddr,
    method: &Method,
    path: &str,
    request: &Request,
) -> Result<Option<Caller>, Box<Refusal>> {
    let Some(accounts) = &api.security.accounts else {
        return Ok(Some(Caller::local(Some(client))));
    };
    if OPEN.contains(&path) || below(path, &OPEN_BELOW) {
        return Ok(None);
    }
    let refusal = |user, response| Box::new(Refusal { user, response });
    let nobody = |response| refusal(String::new(), response);
    let secret = bearer(request.headers());
    let known = match secret {
        Some(secret) => accounts.identify(secret),
        None => shown(request).and_then(|names| accounts.named(names)),
    };
    let Some(identity) = known else {
        // Whoever guesses locks out those who have nothing to show, and nobody else behind the same
        // address: 256 random bits are not guessed.
        let (limits, now) = (&api.security.limits, Instant::now());
        limits
            .may_guess(client, now)
            .map_err(|wait| nobody(too_many(wait, "Locked out after too many wrong guesses")))?;
        return Err(nobody(match (secret, shown(request)) {
            (Some(_), _) => {
                guessed_wrong(api, client, now);
                unauthorized("the token is not known, or has ended")
            }
            (None, Some(_)) => unauthorized("the certificate names no user"),
            (None, None) => unauthorized("send Authorization: Bearer with a token, or log in"),
        }));
    };
    let name = match &identity.token {
        Some(token) => format!("{}/{token}", identity.user),
        None => identity.user.clone(),
    };
    if identity.must_change && !below(path, &OWN) {
        let problem = Problem::new(
            StatusCode::FORBIDDEN,
            "password-change-required",
            "The password has to be changed first",
        );
        let problem = problem.detail("PUT /api/v1/password");
        return Err(refusal(name, problem.into_response()));
    }
    let needed = needed(method, path);
    if identity.role < needed {
        let problem = Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "Your role does not allow it",
        );
        let detail = format!("this takes {needed:?}, and you are {:?}", identity.role);
        let problem = problem.detail(detail.to_lowercase());
        return Err(refusal(name, problem.into_response()));
    }
    Ok(Some(Caller {
        name,
        user: identity.user,
        address: Some(client),
        role: identity.role,
    }))
}

/// A wrong password or token came from a client.
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
