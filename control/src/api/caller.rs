//! Who asks.

use std::net::IpAddr;

use axum::http::request::Parts;

use crate::security::Role;

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
}

impl Caller {
    /// On a loopback address where nobody is asked.
    pub(super) fn local(address: Option<IpAddr>) -> Self {
        Self {
            name: "local".to_owned(),
            user: "local".to_owned(),
            address,
            role: Role::Admin,
        }
    }

    /// Whether secrets of the configuration are shown to them.
    pub(super) fn sees_secrets(&self) -> bool {
        self.role >= Role::Admin
    }

    /// Of a request that passed the guard.
    pub(super) fn of(parts: &Parts) -> Self {
        let known = parts.extensions.get::<Self>();
        known.cloned().unwrap_or_else(|| Self::local(None))
    }
}
