//! Changes of accounts and certificates that are checked, and not made.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Problem;
use super::extract::Query;
use super::recorder::Notes;
use crate::security::{Done, Run};

/// Whether a change is made.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Trial {
    /// Check everything, and change nothing.
    dry_run: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Trial {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(trial) = Query::<Self>::from_request_parts(parts, state).await?;
        if trial.dry_run {
            Notes::of(&parts.extensions).dry_run();
        }
        Ok(trial)
    }
}

impl Trial {
    pub(super) fn run(&self) -> Run {
        Run::dry(self.dry_run)
    }

    /// The answer where something was taken out, or would be.
    pub(super) fn gone(&self) -> Response {
        match self.run() {
            Run::Real => StatusCode::NO_CONTENT.into_response(),
            Run::Dry => Tried::valid(),
        }
    }
}

/// It would be right, and was not done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tried {
    /// `valid`.
    result: Done,
}

impl Tried {
    pub(super) fn valid() -> Response {
        let result = Done::Valid;
        Json(Self { result }).into_response()
    }
}
