//! The configuration of the next start: for what a running process cannot follow.

use serde_json::json;

use super::Controller;
use super::action::{ActionError, Outcome};
use super::change::{CandidateView, Change, Committed, Touched, Verdict, What};
use super::tags::tag;
use super::transaction::edited;
use crate::config::diff::{diff, value};
use crate::config::{Config, RawConfig, Source};
use crate::events::Severity;

impl Controller {
    /// Has a change wait for the next start. The configuration in use stays.
    pub(super) fn commit_for_start(&mut self, change: Change) -> Result<Committed, ActionError> {
        let Change { what, terms, .. } = change;
        if !self.ledger.store.is_lasting() {
            return Err(ActionError::NotLasting);
        }
        if self.ledger.trial.is_some() {
            return Err(ActionError::Unconfirmed);
        }
        let base = match self.next()? {
            // A candidate is what is in use, changed: it knows nothing of what waits.
            Some(_) if what == What::Candidate => return Err(ActionError::NextWaits),
            Some(next) => next,
            None => Config::clone(&self.config),
        };
        let wanted = self.wanted(&what, &terms, &base)?;
        let tag = wanted.tag();
        let text = wanted.config.to_toml();
        let changes = diff(&self.config.raw, &wanted.config.raw);
        let same = text == self.config.to_toml();
        let committed = Committed {
            result: match (terms.dry_run, same) {
                (_, true) => Verdict::NoChange,
                (true, _) => Verdict::Valid,
                (false, false) => Verdict::AtRestart,
            },
            revision: self.ledger.revision(),
            epoch: self.snapshot.epoch,
            in_force: false,
            touched: Touched::default(),
            changes,
            confirmation: None,
            tag,
            created: wanted.created,
        };
        if terms.dry_run {
            return Ok(committed);
        }
        let store = &mut self.ledger.store;
        match same {
            true => store.drop_next()?,
            false => {
                store.set_next(&terms.author, &terms.comment, &text)?;
            }
        }
        if what == What::Candidate {
            self.ledger.candidates.remove(&terms.author);
        }
        let details = json!({
            "author": terms.author,
            "comment": terms.comment,
            "changes": committed.changes.len(),
        });
        let message = match same {
            true => "nothing waits for the next start any more",
            false => "a configuration waits for the next start",
        };
        tracing::info!(author = terms.author, "{message}");
        let events = &self.ledger.events;
        events.publish(
            "configuration.next",
            Severity::Info,
            message.to_owned(),
            details,
        );
        Ok(committed)
    }

    /// What waits for the next start, with an edit of what is in use made there as well. `None`: nothing
    /// waits.
    ///
    /// # Errors
    /// [`ActionError::NextWaits`], if what is changed is more than a part, or is other there.
    pub(super) fn edited_next(
        &self,
        what: &What,
        is_trial: bool,
    ) -> Result<Option<String>, ActionError> {
        let Some(next) = self.next()? else {
            return Ok(None);
        };
        match what {
            What::Edit(edit) if !is_trial => {
                let wanted = edited(edit, &next).map_err(|_| ActionError::NextWaits)?;
                Ok(Some(wanted.config.to_toml()))
            }
            _ => Err(ActionError::NextWaits),
        }
    }

    /// Keeps it.
    pub(super) fn keep_edited_next(&mut self, text: &str) {
        let Some(next) = self.ledger.store.next().cloned() else {
            return;
        };
        let store = &mut self.ledger.store;
        if let Err(error) = store.set_next(&next.author, &next.comment, text) {
            tracing::error!(%error, "what waits for the next start does not have this change");
        }
    }

    fn next(&self) -> Result<Option<Config>, ActionError> {
        let text = self.ledger.store.next_text()?;
        let read = |text| Config::read(Source::toml(text)).map_err(ActionError::Config);
        text.map(read).transpose()
    }

    pub(super) fn raw_of_next(&self) -> Result<RawConfig, ActionError> {
        let text = self.ledger.store.next_text()?;
        let text = text.ok_or(ActionError::NothingWaits)?;
        Source::toml(text).parse().map_err(ActionError::Config)
    }

    pub(super) fn read_next(&self) -> Result<Outcome, ActionError> {
        let text = self.ledger.store.next_text()?;
        let text = text.ok_or(ActionError::NothingWaits)?;
        let raw: RawConfig = Source::toml(text.as_str())
            .parse()
            .map_err(ActionError::Config)?;
        Ok(Outcome::Candidate(Box::new(CandidateView {
            value: value(&raw),
            tag: tag(&text),
            text,
        })))
    }

    pub(super) fn drop_next(&mut self) -> Result<Outcome, ActionError> {
        if self.ledger.store.next().is_none() {
            return Err(ActionError::NothingWaits);
        }
        self.ledger.store.drop_next()?;
        Ok(Outcome::Done)
    }
}
