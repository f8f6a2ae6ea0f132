//! The REST API: every request becomes one [`Action`](crate::controller::Action), executed by the
//! controller.
//!
//! One resource a file. Answers are JSON (the configuration also TOML), errors are problem details
//! (RFC 9457). Nothing here waits for a worker or touches the configuration by itself.

mod config;
mod guard;
mod neighbours;
mod problem;
mod routes;
mod server;
mod sessions;
mod stats;
mod status;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::routing::get;

pub use problem::{Fault, Problem};
pub use server::{bind, serve};

use crate::controller::Handle;

#[cfg(test)]
mod tests;

/// Largest request body: a configuration of some ten thousand rules.
const MAX_BODY: usize = 8 << 20;

/// All resources, served by this controller.
pub fn router(handle: Handle) -> Router {
    let v1 = Router::new()
        .route("/status", get(status::read))
        .route("/stats", get(stats::read))
        .route("/sessions", get(sessions::list).delete(sessions::end))
        .route("/config", get(config::read).put(config::replace))
        .route("/neighbours", get(neighbours::list))
        .route("/routes", get(routes::list));
    Router::new()
        .nest("/api/v1", v1)
        .fallback(|| async {
            Problem::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here")
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "This resource does not know this method",
            )
        })
        .layer(from_fn(guard::limit_time))
        .layer(from_fn(guard::limit_size))
        .layer(from_fn(guard::check_host))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(handle)
}
