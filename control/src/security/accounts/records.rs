//! What others are told of users, tokens and logins, and why something is refused.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::scope::Scope;

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

/// What became of a change of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// It is new.
    Created,
    /// It is another one.
    Changed,
    /// It was so already; nothing was changed.
    NoChange,
    /// It would be right (`dry_run`); nothing was changed.
    Valid,
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
    /// What it is held to of that; absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// When it was made (RFC 3339, UTC).
    pub created: String,
    /// When it ends.
    pub expires: String,
}

/// What a token is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedToken {
    /// What it is for.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// What it may do.
    pub role: Role,
    /// What it is held to of that.
    pub scope: Option<Scope>,
    /// How long it is good.
    pub seconds: u64,
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
    pub token: Option<Bearer>,
    /// What may be done.
    pub role: Role,
    /// The password has to be changed before anything else.
    pub must_change: bool,
}

/// A token that somebody sent. What is made with it can do no more than it, and for no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What it is held to of that.
    pub scope: Option<Scope>,
    /// When it ends, milliseconds since 1970.
    pub expires: u64,
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
    /// A token would make more than it is: JSON pointer, what was found, what would do.
    #[error("a token makes nothing that it is not: {found}; {remedy}")]
    Beyond {
        /// JSON pointer into the body.
        pointer: &'static str,
        /// What was found.
        found: String,
        /// What would do.
        remedy: String,
    },
    /// It is not what it was expected to be.
    #[error("it was changed in the meantime, or is not there, or is there already; read it again")]
    Stale,
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
