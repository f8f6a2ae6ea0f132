//! Who asks.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::StatusCode;
use axum::http::request::Parts;

use super::Problem;
use super::crowd::{Crowd, Place};
use crate::security::{Bearer, Role};

/// Who sent a request, as the guard at the door found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// A user's name; of a token `USER/TOKEN`.
    pub(super) name: String,
    /// The user.
    pub(super) user: String,
    /// Where from.
    pub(super) address: Option<IpAddr>,
    /// What they may do.
    pub(super) role: Role,
    /// The token that they sent, if it is one.
    pub(super) token: Option<Bearer>,
}

impl Caller {
    /// On a loopback address where nobody is asked.
    pub(super) fn local(address: Option<IpAddr>) -> Self {
        Self {
            name: "local".to_owned(),
            user: "local".to_owned(),
            address,
            role: Role::Admin,
            token: None,
        }
    }

    /// Whether secrets of the configuration are shown to them.
    pub(super) fn sees_secrets(&self) -> bool {
        self.role >= Role::Admin
    }

    /// A place among streams.
    ///
    /// # Errors
    /// 503 if the client has its share, or there is none left.
    pub(super) fn streams(&self, crowd: &Crowd) -> Result<Place, Problem> {
        let client = self.address.unwrap_or(Ipv4Addr::LOCALHOST.into());
        crowd.enter(client).ok_or_else(|| {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Problem::new(status, "busy", "Too many streams at once")
        })
    }

    /// Of a request that passed the guard.
    pub(super) fn of(parts: &Parts) -> Self {
        let known = parts.extensions.get::<Self>();
        known.cloned().unwrap_or_else(|| Self::local(None))
    }
}
