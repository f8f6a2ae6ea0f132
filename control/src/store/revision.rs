//! What is known of a configuration besides its text, and the comment at the head of its file.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock;

/// A configuration that was committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Revision {
    /// Counts up from 1, over restarts as well.
    pub number: u64,
    /// When it was committed (RFC 3339, UTC).
    pub time: String,
    /// Who did it.
    pub author: String,
    /// Why.
    pub comment: String,
}

/// A commit that waits to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Trial {
    /// What it becomes when it is confirmed.
    #[serde(flatten)]
    pub revision: Revision,
    /// How long it was given.
    pub seconds: u32,
    /// When it is given up: milliseconds since 1970.
    #[serde(rename = "deadline_unix_ms")]
    pub deadline: u64,
}

/// What the comment begins with.
const HEAD: &str = "# sluice: ";

impl Revision {
    pub(super) fn new(number: u64, author: &str, comment: &str) -> Self {
        Self {
            number,
            time: clock::now(),
            author: author.to_owned(),
            comment: comment.to_owned(),
        }
    }

    pub(super) fn to_file(&self, text: &str) -> String {
        with_head(self, text)
    }

    pub(super) fn of(content: &str) -> Option<Self> {
        serde_json::from_str(head(content)?).ok()
    }
}

impl Trial {
    pub(super) fn new(revision: Revision, seconds: u32) -> Self {
        Self {
            revision,
            seconds,
            deadline: clock::unix_ms() + u64::from(seconds) * 1000,
        }
    }

    /// Milliseconds that are left; never more than it was given, wherever the clock was set to.
    pub fn left_ms(&self) -> u64 {
        let left = self.deadline.saturating_sub(clock::unix_ms());
        left.min(u64::from(self.seconds) * 1000)
    }

    pub(super) fn to_file(&self, text: &str) -> String {
        with_head(self, text)
    }

    pub(super) fn of(content: &str) -> Option<Self> {
        serde_json::from_str(head(content)?).ok()
    }
}

/// JSON has no line breaks outside of texts, and writes those within as `\n`: it stays one comment.
fn with_head(head: &impl Serialize, text: &str) -> String {
    // Serialising plain structs of texts and numbers cannot fail.
    let head = serde_json::to_string(head).unwrap_or_default();
    // TOML allows no DEL in comments, and JSON does.
    format!("{HEAD}{}\n{text}", head.replace('\u{7f}', "\\u007f"))
}

fn head(content: &str) -> Option<&str> {
    let line = content.strip_prefix(HEAD)?;
    Some(line.split_once('\n').map_or(line, |(head, _)| head))
}

/// The text below the head, if there is one.
pub(super) fn body(content: &str) -> &str {
    match content.starts_with(HEAD) {
        true => content.split_once('\n').map_or("", |(_, text)| text),
        false => content,
    }
}
