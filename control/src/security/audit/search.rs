//! Looking for records.

use super::Record;
use crate::clock;

/// Conditions on records; all must hold.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Later than the record of this number. Then the oldest come first, else the latest.
    pub after: Option<u64>,
    /// Earlier than the record of this number.
    pub before: Option<u64>,
    /// Of this user, or of this `user/token`.
    pub user: Option<String>,
    /// By this method.
    pub method: Option<String>,
    /// Of paths that begin like this.
    pub path: Option<String>,
    /// Not earlier (milliseconds since 1970).
    pub since_ms: Option<u64>,
}

impl Search {
    pub(super) fn wants(&self, record: &Record) -> bool {
        let is_of = |user: &String| {
            let rest = record.user.strip_prefix(user.as_str());
            rest.is_some_and(|rest| rest.is_empty() || !user.is_empty() && rest.starts_with('/'))
        };
        self.after.is_none_or(|after| record.id > after)
            && self.before.is_none_or(|before| record.id < before)
            && self.user.as_ref().is_none_or(is_of)
            && self
                .method
                .as_ref()
                .is_none_or(|method| record.method.eq_ignore_ascii_case(method))
            && self
                .path
                .as_ref()
                .is_none_or(|path| record.path.starts_with(path.as_str()))
            && self
                .since_ms
                .is_none_or(|since| clock::parse(&record.time).is_some_and(|time| time >= since))
    }
}
