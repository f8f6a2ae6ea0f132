//! Changes of the configuration: what can be asked for, and what came of it.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::config::Source;
use crate::config::diff::Difference;
use crate::config::edit::{Address, Edit};
use crate::store::{Revision, Trial};

/// A change of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What is to be.
    pub what: What,
    /// Which configuration.
    pub target: Target,
    /// Who, why and how.
    pub terms: Terms,
}

/// What is to be the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// This text.
    Replace(Source),
    /// The present one with a part changed.
    Edit(Edit),
    /// This one of the history.
    Rollback(u64),
    /// The author's candidate.
    Candidate,
}

/// Which configuration is changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Target {
    /// The one in use: the change is committed.
    #[default]
    Running,
    /// The author's candidate: nothing is in use by it, nor checked against the rest.
    Candidate,
}

/// Who changes something, why, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Who.
    pub author: String,
    /// Why.
    pub comment: String,
    /// Only if that what is changed is what it is thought to be.
    pub expected: Expected,
    /// Check everything, and change nothing.
    pub dry_run: bool,
    /// Undo it after so many seconds, unless it is confirmed.
    pub confirm_seconds: Option<u32>,
    /// Use it from the next start on.
    pub at_restart: bool,
}

/// What is changed must be thus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Expected {
    /// In any way.
    #[default]
    Anything,
    /// There (`If-Match: *`).
    There,
    /// Not there (`If-None-Match: *`).
    Absent,
    /// One of these (`If-Match`).
    Tags(Vec<String>),
}

impl Expected {
    /// Whether it is so of what has this `ETag`, or is not there.
    pub fn holds(&self, current: Option<&str>) -> bool {
        match self {
            Self::Anything => true,
            Self::There => current.is_some(),
            Self::Absent => current.is_none(),
            Self::Tags(tags) => current.is_some_and(|tag| tags.iter().any(|it| it == tag)),
        }
    }
}

/// The longest time for a confirmation: a day.
pub const MAX_CONFIRM_SECONDS: u32 = 86_400;

/// A configuration that can be read and compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one in use.
    Running,
    /// This author's candidate.
    Candidate(String),
    /// One of the history, or the one on trial.
    Revision(u64),
    /// The one that waits for the next start.
    Next,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is in use, and at rest.
    Committed,
    /// It is in use until it is confirmed or its time is over.
    Trial,
    /// It is the candidate.
    Candidate,
    /// It would be right; nothing was changed.
    Valid,
    /// It is what is in use already; nothing was changed.
    NoChange,
    /// The one on trial was given up, the one before is in use again.
    RolledBack,
    /// It waits for the next start; what is in use stays.
    AtRestart,
}

/// A change was made, or would be.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Committed {
    /// What became of it.
    pub result: Verdict,
    /// The revision that is in use now.
    pub revision: u64,
    /// Its epoch: counts the configurations that this process has used.
    pub epoch: u32,
    /// All workers work by it. False: not all have said so in time; they will.
    pub in_force: bool,
    /// What differs from the configuration before.
    pub changes: Vec<Difference>,
    /// Live sessions that it may concern.
    pub touched: Touched,
    /// Until when it is to be confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
    /// `ETag` of what was changed, as it is now.
    #[serde(skip)]
    pub tag: String,
    /// What was changed was not there before.
    #[serde(skip)]
    pub created: bool,
}

/// A commit waits to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Confirmation {
    /// The revision on trial.
    pub revision: u64,
    /// Who put it on trial.
    pub author: String,
    /// Why.
    pub comment: String,
    /// How long it was given.
    pub seconds: u32,
    /// Milliseconds that are left.
    pub left_ms: u64,
    /// When it is given up (RFC 3339, UTC).
    pub deadline: String,
}

impl Confirmation {
    pub(super) fn of(trial: &Trial) -> Self {
        Self {
            revision: trial.revision.number,
            author: trial.revision.author.clone(),
            comment: trial.revision.comment.clone(),
            seconds: trial.seconds,
            left_ms: trial.left_ms(),
            deadline: crate::clock::text(trial.deadline),
        }
    }
}

/// Live sessions that a change may concern. Every session is judged anew at its next packet, and goes
/// on if it would be opened in the same way today; how many will not, nobody knows before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Touched {
    /// At most so many sessions end: those of the services and servers below, or all if `policy`.
    pub sessions_at_most: u64,
    /// Rules, routes, ports or zones change, so that sessions of any service may be concerned.
    pub policy: bool,
    /// Services that change or go, by kind and name (`virtual_server/web`).
    pub services: Vec<TouchedBy>,
    /// Real servers that go or are put down, by pool and name (`web/web1`).
    pub servers: Vec<TouchedBy>,
}

/// A service or real server that a change concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TouchedBy {
    /// Its name.
    pub name: String,
    /// Its sessions now.
    pub sessions: u64,
}

/// The configurations that are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Revisions {
    /// The one in use.
    pub running: u64,
    /// Whether the history outlives the process: it has a state directory.
    pub lasting: bool,
    /// The commit that waits to be confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
    /// What waits for the next start; it gets its number then, and has 0 until it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Revision>,
    /// Latest first, fifty at most.
    pub revisions: Vec<Revision>,
}

/// A candidate, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidateView {
    /// As TOML.
    pub text: String,
    /// The same, as keys and values.
    pub value: Value,
    /// Its `ETag`.
    pub tag: String,
}

/// A part of a configuration, and its `ETag`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartView {
    /// Its value.
    pub value: Value,
    /// Changes with it, and with nothing else.
    pub tag: String,
}

/// Where to read a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartOf {
    /// In which configuration.
    pub which: Which,
    /// Which part.
    pub address: Address,
}
