//! Errors as problem details (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::query::either;
use crate::config::{ConfigError, Path, nearest};
use crate::controller::ActionError;

/// What went wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem: `urn:sluice:problem:...`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind, for people.
    pub title: String,
    /// HTTP status code.
    pub status: u16,
    /// This very problem, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What is wrong with a configuration, a body or a query, all of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

/// One thing wrong with a configuration, a body or a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// The parameter of the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// JSON pointer (RFC 6901) into the body. Absent where the fault is in a part of the
    /// configuration that was not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Where in the configuration or the body: `port[0].mtu`. Absent where the fault is in neither.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub path: String,
    /// Line in the text, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What was found.
    pub detail: String,
    /// What would do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Fault {
    /// In the query.
    pub(super) fn of_query(parameter: &str, found: String, remedy: String) -> Self {
        Self {
            parameter: Some(parameter.to_owned()),
            pointer: None,
            path: String::new(),
            line: None,
            detail: found,
            remedy,
        }
    }
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: &str, title: &str) -> Self {
        Self {
            kind: format!("urn:sluice:problem:{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: None,
            errors: Vec::new(),
        }
    }

    pub(super) fn detail(mut self, detail: impl ToString) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    /// For a query or body that cannot be read.
    pub(super) fn bad_request(detail: impl ToString) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            "The request cannot be understood",
        )
        .detail(detail)
    }

    /// For a query that says what it cannot.
    pub(super) fn bad_query(faults: Vec<Fault>) -> Self {
        let said: Vec<String> = faults
            .iter()
            .map(|fault| format!("{}; {}", fault.detail, fault.remedy))
            .collect();
        let mut problem = Self::bad_request(said.join("\n"));
        problem.errors = faults;
        problem
    }

    /// One value of a query that will not do.
    pub(super) fn bad_parameter(parameter: &str, found: String, remedy: impl ToString) -> Self {
        Self::bad_query(vec![Fault::of_query(parameter, found, remedy.to_string())])
    }

    /// One thing wrong with the body.
    pub(super) fn fault(mut self, pointer: String, found: String, remedy: String) -> Self {
        self.errors.push(Fault {
            parameter: None,
            path: pointer.trim_start_matches('/').replace('/', "."),
            pointer: Some(pointer),
            line: None,
            detail: found,
            remedy,
        });
        self
    }

    /// `part` is where in the configuration the body went.
    fn faults(mut self, error: ConfigError, part: Option<&Path>) -> Self {
        let faults = error.problems.into_iter().map(|problem| Fault {
            parameter: None,
            pointer: part.and_then(|part| within(part, &problem.finding.path)),
            path: problem.finding.path.to_string(),
            line: problem.line,
            detail: problem.finding.found,
            remedy: problem.finding.remedy,
        });
        self.errors = faults.collect();
        self
    }
}

/// `path` as a pointer from `part` on, if it is in there.
fn within(part: &Path, path: &Path) -> Option<String> {
    let rest = path.steps().strip_prefix(part.steps())?;
    Some(rest.iter().cloned().collect::<Path>().pointer())
}

impl From<ActionError> for Problem {
    fn from(error: ActionError) -> Self {
        let detail = error.to_string();
        let (status, kind, title) = match &error {
            ActionError::Config(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid-configuration",
                "The configuration is wrong; the one in use was kept",
            ),
            ActionError::NeedsRestart { .. } => (
                StatusCode::CONFLICT,
                "restart-needed",
                "A running Sluice cannot follow this change; the configuration in use was kept",
            ),
            ActionError::Compile(_) => (
                StatusCode::CONFLICT,
                "configuration-does-not-fit",
                "The configuration does not fit; the one in use was kept",
            ),
            ActionError::Part { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid-configuration",
                "The configuration would be wrong; the one in use was kept",
            ),
            ActionError::Body { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid-body",
                "The body cannot be what it is to be",
            ),
            ActionError::Stale { .. } => (
                StatusCode::PRECONDITION_FAILED,
                "changed-meanwhile",
                "It is not what you think it is",
            ),
            ActionError::NoPart(_) => (
                StatusCode::NOT_FOUND,
                "no-such-part",
                "The configuration has no such part",
            ),
            ActionError::NoDevice { .. } => (
                StatusCode::NOT_FOUND,
                "no-such-device",
                "There is no such device or port",
            ),
            ActionError::NoRevision(_) => (
                StatusCode::NOT_FOUND,
                "no-such-revision",
                "The history has no such revision",
            ),
            ActionError::NoPeer => (
                StatusCode::CONFLICT,
                "no-peer",
                "There is no other appliance",
            ),
            ActionError::PeerNotReady => (
                StatusCode::CONFLICT,
                "peer-not-ready",
                "The other appliance cannot take over",
            ),
            ActionError::NoCandidate => (
                StatusCode::NOT_FOUND,
                "no-candidate",
                "You have no candidate",
            ),
            ActionError::NextWaits => (
                StatusCode::CONFLICT,
                "next-waits",
                "A configuration waits for the next start",
            ),
            ActionError::NothingWaits => (
                StatusCode::NOT_FOUND,
                "nothing-waits",
                "Nothing waits for the next start",
            ),
            ActionError::NotLasting => (
                StatusCode::CONFLICT,
                "not-lasting",
                "Nothing outlives this process",
            ),
            ActionError::Outrun => (
                StatusCode::CONFLICT,
                "candidate-outrun",
                "The configuration was changed since the candidate was begun",
            ),
            ActionError::Unconfirmed => (
                StatusCode::CONFLICT,
                "confirmation-pending",
                "Another commit waits to be confirmed",
            ),
            ActionError::NothingToConfirm => (
                StatusCode::CONFLICT,
                "nothing-to-confirm",
                "No commit waits to be confirmed",
            ),
            ActionError::NotStored(_) => (
                StatusCode::INSUFFICIENT_STORAGE,
                "not-stored",
                "The configuration cannot be kept; the one in use was kept",
            ),
            ActionError::Unknown { .. } => (
                StatusCode::BAD_REQUEST,
                "unknown-name",
                "A filter names what there is not",
            ),
            ActionError::Silent(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "worker-silent",
                "A worker did not answer in time",
            ),
            ActionError::NoHost => (
                StatusCode::CONFLICT,
                "no-host-interface",
                "There is no host interface",
            ),
            ActionError::NoSuchEnding(_) => (
                StatusCode::NOT_FOUND,
                "no-such-ending",
                "Nothing is being ended by this number",
            ),
            ActionError::NoSuchCapture(_) => (
                StatusCode::NOT_FOUND,
                "no-such-capture",
                "There is no such capture",
            ),
            ActionError::TooManyCaptures(_) => (
                StatusCode::CONFLICT,
                "too-many-captures",
                "Too many captures are running",
            ),
            ActionError::NoCapture(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no-capture",
                "Nothing can be captured now",
            ),
            ActionError::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "Too many requests at once",
            ),
            ActionError::Stopped => (
                StatusCode::SERVICE_UNAVAILABLE,
                "stopping",
                "Sluice is stopping",
            ),
        };
        let mut problem = Self::new(status, kind, title).detail(detail);
        match error {
            ActionError::Config(faults) => problem.faults(faults, Some(&Path::default())),
            ActionError::Part { why, part } | ActionError::NeedsRestart { why, part } => {
                problem.faults(why, part.as_ref())
            }
            ActionError::Body {
                pointer,
                found,
                remedy,
            } => problem.fault(pointer, found, remedy),
            ActionError::Unknown {
                parameter,
                kind,
                name,
                known,
            } => {
                let found = format!("there is no {kind} {name:?}");
                let fault = Fault::of_query(parameter, found, unknown_remedy(&name, &known));
                problem.errors.push(fault);
                problem
            }
            _ => problem,
        }
    }
}

/// Names that can be listed in a sentence.
const LISTED: usize = 20;

/// What would do in place of a name that there is not.
fn unknown_remedy(name: &str, known: &[String]) -> String {
    match nearest(name, known.iter().map(String::as_str)) {
        // Of numbers and letters all are near.
        Some(near) if name.len() > 2 => format!("did you mean {near:?}?"),
        _ if known.is_empty() => "there is none at all".to_owned(),
        _ if known.len() <= LISTED => format!("write {}", either(known)),
        _ => "write the name of one".to_owned(),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

/// An action brought what another one brings: an error in this program.
pub(super) fn mismatch() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "An error in Sluice; please report it",
    )
}
