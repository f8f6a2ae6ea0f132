//! What others are told of users, tokens and logins, and why something is refused.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What somebody may do. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read everything but users, tokens and the audit log.
    Viewer,
    /// Change the configuration, end sessions.
    Operator,
    /// Users, tokens, certificate, audit log.
    Admin,
}

/// A user, without what is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct User {
    /// The name.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// The password has to be changed before anything else.
    pub must_change_password: bool,
}

/// A token, without what is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Token {
    /// Names it, also when it is revoked.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Whose it is. It ends with the user.
    pub user: String,
    /// What it may do, and never more than the user.
    pub role: Role,
    /// When it was made (RFC 3339, UTC).
    pub created: String,
    /// When it ends.
    pub expires: String,
}

/// A token, and for this once its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NewToken {
    /// Goes behind `Authorization: Bearer`. Not shown again.
    #[serde(rename = "token")]
    pub secret: String,
    /// What is known of it later.
    #[serde(flatten)]
    pub token: Token,
}

/// A login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Login {
    /// Goes behind `Authorization: Bearer`.
    #[serde(rename = "token")]
    pub secret: String,
    /// When it ends (RFC 3339, UTC).
    pub expires: String,
    /// Who logged in.
    #[serde(flatten)]
    pub user: User,
}

/// Who sent a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's name.
    pub user: String,
    /// The token, if it is one.
    pub token: Option<String>,
    /// What may be done.
    pub role: Role,
    /// The password has to be changed before anything else.
    pub must_change: bool,
}

/// User or password are wrong; nobody says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied;

/// Why an account was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none of this name.
    #[error("there is no {0}")]
    Missing(String),
    /// A value is wrong: JSON pointer, what was found, what would do.
    #[error("{found}; {remedy}")]
    Wrong {
        /// JSON pointer into the body.
        pointer: &'static str,
        /// What was found.
        found: String,
        /// What would do.
        remedy: String,
    },
    /// Nobody could administrate any more.
    #[error("this is the last administrator; make another one first")]
    LastAdmin,
    /// There are too many.
    #[error("there are too many {0}")]
    Full(&'static str),
    /// The disk refuses.
    #[error("the state directory cannot be written: {0}")]
    NotStored(String),
}
