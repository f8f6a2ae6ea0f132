//! Who asks.

use std::net::IpAddr;

use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What somebody may do. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// Read everything but users, tokens and the audit log.
    Viewer,
    /// Change the configuration, end sessions.
    Operator,
    /// Users, tokens, certificate, audit log.
    Admin,
}

/// Who sent a request, as the guard at the door found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// A user's name; of a token `NAME/TOKEN`.
    pub(super) name: String,
    /// What it may do.
    pub(super) role: Role,
    /// Where from.
    pub(super) address: Option<IpAddr>,
}

impl Caller {
    /// On a loopback address where nobody is asked.
    pub(super) fn local(address: Option<IpAddr>) -> Self {
        Self {
            name: "local".to_owned(),
            role: Role::Admin,
            address,
        }
    }

    /// Of a request that passed the guard.
    pub(super) fn of(parts: &Parts) -> Self {
        let known = parts.extensions.get::<Self>();
        known.cloned().unwrap_or_else(|| Self::local(None))
    }
}
