//! What can be typed of the audit log.

use clap::Args;

/// Which records; all conditions must hold.
#[derive(Debug, Args)]
// The command itself has the name of the type.
#[group(id = "records")]
pub(crate) struct Audit {
    /// Of this user, or of one token as USER/TOKEN
    #[arg(long)]
    user: Option<String>,
    /// PUT, DELETE, ...
    #[arg(long)]
    method: Option<String>,
    /// Whose path begins like this, as /api/v1/config
    #[arg(long)]
    path: Option<String>,
    /// Since then: 2026-01-31T12:00:00Z, or how long ago, as 90s or 2h
    #[arg(long)]
    since: Option<String>,
    /// Later than the record of this number, oldest first
    #[arg(long)]
    after: Option<u64>,
    /// Earlier than the record of this number
    #[arg(long)]
    before: Option<u64>,
    /// How many records
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

impl Audit {
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let all = [
            ("user", self.user.clone()),
            ("method", self.method.clone()),
            ("path", self.path.clone()),
            ("since", self.since.clone()),
            ("after", number(self.after)),
            ("before", number(self.before)),
            ("limit", Some(self.limit.to_string())),
        ];
        let given = all.into_iter();
        given
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    }
}
