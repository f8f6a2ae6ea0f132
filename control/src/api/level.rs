//! `/api/v1/logs/level`: how much is logged.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde_json::json;

use super::caller::Caller;
use super::extract::Body;
use super::{Api, Problem};
use crate::events::Severity;
use crate::logs::{LogLevel, NewLogLevel};

/// How much is logged
#[utoipa::path(get, path = "/logs/level", tag = "state", operation_id = "readLogLevel",
    responses((status = 200, body = LogLevel)))]
pub(super) async fn read(State(api): State<Api>) -> Result<Json<LogLevel>, Problem> {
    api.logs.level().map(Json).ok_or_else(fixed)
}

/// Log more, or less
///
/// From now on, for `seconds` or until the process ends; the next start goes by `sluice run --log` again.
/// More than `info` of libraries goes to standard error alone.
#[utoipa::path(put, path = "/logs/level", tag = "state", operation_id = "setLogLevel",
    request_body = NewLogLevel, responses((status = 200, body = LogLevel)))]
pub(super) async fn set(
    State(api): State<Api>,
    request: Request,
) -> Result<Json<LogLevel>, Problem> {
    let (parts, body) = request.into_parts();
    let caller = Caller::of(&parts);
    let Body(new) = Body::<NewLogLevel>::read(Request::from_parts(parts, body)).await?;
    let (directives, time) = new.check().map_err(|(key, found, remedy)| {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let problem = Problem::new(status, "invalid-body", "This cannot be logged by");
        problem.fault(format!("/{key}"), found, remedy)
    })?;
    let (level, turn) = api.logs.set_level(directives, time).map_err(|_| fixed())?;
    announce(&api, &caller.name, &level);
    if let Some(time) = time {
        let api = api.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            if api.logs.end_level(turn)
                && let Some(level) = api.logs.level()
            {
                announce(&api, "", &level);
            }
        });
    }
    Ok(Json(level))
}

/// Tells by an event, which no level leaves out.
fn announce(api: &Api, author: &str, level: &LogLevel) {
    let directives = &level.directives;
    let message = match author {
        "" => format!("what is logged is {directives} again"),
        author => format!("{author} has set what is logged to {directives}"),
    };
    let details = json!({ "author": author, "directives": directives });
    api.events
        .publish("logs.level", Severity::Info, message, details);
}

fn fixed() -> Problem {
    let status = StatusCode::CONFLICT;
    let title = "How much is logged cannot be changed";
    Problem::new(status, "log-level-fixed", title).detail("this process does not log by level")
}
