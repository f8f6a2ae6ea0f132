//! `/metrics`

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::mismatch;
use super::{Api, Problem};
use crate::controller::{Action, HealthFilter, Outcome};
use crate::metrics::{MEDIA_TYPE, certificate, text};

/// All counters and gauges for Prometheus.
pub(super) async fn read(State(api): State<Api>) -> Result<Response, Problem> {
    let text = written(&api).await?;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response())
}

/// As text.
pub(super) async fn written(api: &Api) -> Result<String, Problem> {
    let handle = &api.handle;
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
    let Outcome::Tiers(tiers) = handle.call(Action::ListTiers(None)).await? else {
        return Err(mismatch());
    };
    let Outcome::Ha(ha) = handle.call(Action::Ha).await? else {
        return Err(mismatch());
    };
    let failed = |why| {
        let title = "The metrics cannot be written";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", title).detail(why)
    };
    let mut page = text(&stats, &status, &health, &tiers, ha.as_deref()).map_err(failed)?;
    let tls = api.security.tls.as_ref();
    if let Some(expires) = tls.and_then(|tls| tls.expires()) {
        page += &certificate(expires).map_err(failed)?;
    }
    Ok(page)
}
