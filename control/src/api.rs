//! The REST API: every request becomes one [`Action`](crate::controller::Action), executed by the
//! controller.
//!
//! One resource a file. Answers are JSON (the configuration also TOML), errors are problem details
//! (RFC 9457). Nothing here waits for a worker or touches the configuration by itself.

mod access;
mod audit;
mod bundle;
mod caller;
mod candidate;
mod captures;
mod certificates;
mod config;
mod connectivity;
mod console;
mod crowd;
mod door;
mod events;
mod extract;
mod guard;
mod ha;
mod health;
mod level;
mod logs;
mod metrics;
mod needs;
mod neighbours;
mod next;
mod openapi;
mod pages;
mod parts;
mod patience;
mod ping;
mod problem;
mod query;
mod recorder;
mod revisions;
mod routes;
mod server;
mod sessions;
mod state;
mod stats;
mod status;
mod terms;
mod tether;
mod tiers;
mod trace;
mod trial;
mod users;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crowd::{Crowd, Room};
pub use problem::{Fault, Problem};
pub use server::{bind, serve};

use crate::controller::Handle;
use crate::events::Events;
use crate::logs::Logs;
use crate::security::Security;

#[cfg(test)]
mod tests;

/// Largest request body: a configuration of some ten thousand rules.
const MAX_BODY: usize = 8 << 20;

/// How long a client waits for an answer to begin, sending its body included.
const TIME: Duration = Duration::from_secs(30);

/// What handlers have at hand.
#[derive(Debug, Clone)]
pub struct Api {
    handle: Handle,
    events: Events,
    logs: Logs,
    security: Security,
    streams: Streams,
    time: Duration,
}

/// Streams at once, of each kind.
#[derive(Debug, Clone)]
struct Streams {
    events: Crowd,
    logs: Crowd,
    sessions: Crowd,
}

impl Streams {
    fn new() -> Self {
        let room = |all, one| {
            let (kept, few) = (all / 4, 2);
            Crowd::new(Room {
                all,
                one,
                kept,
                few,
            })
        };
        Self {
            events: room(64, 8),
            logs: room(64, 8),
            sessions: room(16, 4),
        }
    }
}

impl FromRef<Api> for Streams {
    fn from_ref(api: &Api) -> Self {
        api.streams.clone()
    }
}

impl FromRef<Api> for Handle {
    fn from_ref(api: &Api) -> Self {
        api.handle.clone()
    }
}

/// The resources that are documented where they are handled.
fn described() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(status::read))
        .routes(routes!(stats::read))
        .routes(routes!(ha::read))
        .routes(routes!(ha::hand_over))
        .routes(routes!(health::read))
        .routes(routes!(tiers::list))
        .routes(routes!(sessions::list, sessions::end))
        .routes(routes!(sessions::count))
        .routes(routes!(sessions::ending))
        .routes(routes!(sessions::top))
        .routes(routes!(sessions::stream))
        .routes(routes!(state::workers))
        .routes(routes!(state::drops))
        .routes(routes!(state::ports))
        .routes(routes!(state::device))
        .routes(routes!(state::snat_pools))
        .routes(routes!(neighbours::list))
        .routes(routes!(routes::list))
        .routes(routes!(config::read, config::replace, config::patch))
        .routes(routes!(revisions::list))
        .routes(routes!(revisions::read))
        .routes(routes!(revisions::diff))
        .routes(routes!(revisions::roll_back))
        .routes(routes!(revisions::confirm))
        .routes(routes!(revisions::revert))
        .routes(routes!(
            candidate::read,
            candidate::replace,
            candidate::remove
        ))
        .routes(routes!(candidate::diff))
        .routes(routes!(candidate::commit))
        .routes(routes!(next::read, next::remove))
        .routes(routes!(next::diff))
        .routes(routes!(trace::trace))
        .routes(routes!(ping::ping))
        .routes(routes!(ping::traceroute))
        .routes(routes!(connectivity::test))
        .routes(routes!(bundle::read))
        .routes(routes!(captures::list, captures::start))
        .routes(routes!(captures::read, captures::remove))
        .routes(routes!(captures::packets))
        .routes(routes!(captures::stream))
        .routes(routes!(captures::stop))
        .routes(routes!(events::list))
        .routes(routes!(events::stream))
        .routes(routes!(logs::list))
        .routes(routes!(logs::stream))
        .routes(routes!(logs::servers))
        .routes(routes!(level::read, level::set))
        .routes(routes!(access::login))
        .routes(routes!(access::logout))
        .routes(routes!(access::who_am_i))
        .routes(routes!(access::set_password))
        .routes(routes!(users::list))
        .routes(routes!(users::read, users::put, users::remove))
        .routes(routes!(access::tokens, access::make_token))
        .routes(routes!(access::revoke_token))
        .routes(routes!(
            certificates::certificate,
            certificates::replace_certificate
        ))
        .routes(routes!(
            certificates::clients,
            certificates::ask_clients,
            certificates::ignore_clients
        ))
        .routes(routes!(audit::list))
}

/// The document as a page, with everything that it needs.
fn page() -> SwaggerUi {
    let config = Config::from("/api/v1/openapi.json").try_it_out_enabled(true);
    SwaggerUi::new("/api/v1/docs").config(config)
}

/// The documented resources, and the document.
fn resources() -> (Router<Api>, utoipa::openapi::OpenApi) {
    let (v1, document) = OpenApiRouter::<Api>::with_openapi(openapi::base())
        .nest("/api/v1", described())
        .split_for_parts();
    (v1, openapi::complete(document))
}

/// The OpenAPI document, as JSON.
pub fn document() -> serde_json::Value {
    // It is made of maps and texts.
    serde_json::to_value(resources().1).unwrap_or_default()
}

/// All resources, served by the controller that `handle` leads to.
pub fn router(handle: Handle, events: Events, logs: Logs, security: Security) -> Router {
    let api = Api {
        handle,
        events,
        logs,
        security,
        streams: Streams::new(),
        time: TIME,
    };
    let (v1, document) = resources();
    // The document is made of maps and texts.
    let whole = serde_json::to_value(&document).unwrap_or_default();
    let known = Arc::new(query::Known::of(&whole));
    let (paths, methods) = (Arc::clone(&known), Arc::clone(&known));
    Router::new()
        .route("/api/v1/openapi.json", get(openapi::document(&document)))
        .merge(page())
        .merge(console::routes())
        .route("/metrics", get(metrics::read))
        .nest("/api/v1", parts::routes())
        .merge(v1)
        .route_layer(from_fn_with_state(known, query::check))
        .fallback(move |uri| query::nothing(uri, paths))
        .method_not_allowed_fallback(move |request| query::other_method(request, methods))
        .layer(from_fn_with_state(api.clone(), guard::limit_time))
        .layer(from_fn(guard::limit_size))
        .layer(from_fn_with_state(api.clone(), door::guard))
        .layer(from_fn(guard::check_origin))
        .layer(from_fn_with_state(api.clone(), guard::check_host))
        .layer(from_fn_with_state(api.clone(), recorder::record))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(api)
}
