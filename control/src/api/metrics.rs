//! `/metrics`

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Problem;
use super::problem::mismatch;
use crate::controller::{Action, Handle, HealthFilter, Outcome};
use crate::metrics::{MEDIA_TYPE, text};

/// All counters and gauges for Prometheus.
pub(super) async fn read(State(handle): State<Handle>) -> Result<Response, Problem> {
    let Outcome::Stats(stats) = handle.call(Action::Stats).await? else {
        return Err(mismatch());
    };
    let Outcome::Status(status) = handle.call(Action::Status).await? else {
        return Err(mismatch());
    };
    let Outcome::Health(health) = handle.call(Action::Health(HealthFilter::default())).await?
    else {
        return Err(mismatch());
    };
    let Outcome::Tiers(tiers) = handle.call(Action::ListTiers).await? else {
        return Err(mismatch());
    };
    let Outcome::Ha(ha) = handle.call(Action::Ha).await? else {
        return Err(mismatch());
    };
    let text = text(&stats, &status, &health, &tiers, ha.as_deref()).map_err(|why| {
        let title = "The metrics cannot be written";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", title).detail(why)
    })?;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response())
}
