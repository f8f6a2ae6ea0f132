//! `/api/v1/audit`: who did what.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::Query;
use super::{Api, Problem};
use crate::clock;
use crate::config::duration_ms;
use crate::security::{Record, Search};

/// Which records; all conditions must hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Those after this one, oldest first; 0 begins at the oldest. `next` of such a page before.
    #[param(format = "uint64")]
    after: Option<u64>,
    /// Those before this one, latest first; `next` of such a page before.
    #[param(format = "uint64")]
    before: Option<u64>,
    /// Of this user, by password, certificate or any token; of one token if it is `user/token`.
    user: Option<String>,
    /// `PUT`, `DELETE`, ...
    method: Option<String>,
    /// Whose path begins like this: `/api/v1/config`.
    path: Option<String>,
    /// Since then: a time (RFC 3339), or how long ago (`90s`, `2h`).
    since: Option<String>,
    /// Records on the page, 1 to 1000; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// A page of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Records {
    /// Latest first; oldest first if they were asked for with `after`.
    records: Vec<Record>,
    /// `before` of the next page, or `after` if this one was asked for with it; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// Who did what
///
/// Every change, every login, and everything that was refused: the last ten thousand records of what was
/// done, and as many of what was refused, in pages.
#[utoipa::path(get, path = "/audit", tag = "access", operation_id = "readAudit",
    params(Parameters), responses((status = 200, body = Records)))]
pub(super) async fn list(
    State(api): State<Api>,
    Query(asked): Query<Parameters>,
) -> Result<Json<Records>, Problem> {
    let limit = super::events::limit(asked.limit)?;
    let search = Search {
        after: asked.after,
        before: asked.before,
        user: asked.user,
        method: asked.method,
        path: asked.path,
        since_ms: asked.since.as_deref().map(since).transpose()?,
    };
    let (records, more) = api.security.audit.find(&search, limit);
    let next = records.last().map(|last| last.id).filter(|_| more);
    Ok(Json(Records { records, next }))
}

fn since(text: &str) -> Result<u64, Problem> {
    let ago = duration_ms(text).map(|ms| clock::unix_ms().saturating_sub(ms));
    ago.or_else(|| clock::parse(text)).ok_or_else(|| {
        let found = format!("since={text} is not a time");
        let remedy = "write one like 2026-01-31T12:00:00Z, or 90s or 2h ago";
        Problem::bad_parameter("since", found, remedy)
    })
}
