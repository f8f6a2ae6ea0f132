//! A configuration on trial: kept if somebody confirms it, undone if nobody does.

use std::time::Instant;

use serde_json::json;

use super::Controller;
use super::action::{ActionError, Answer};
use super::change::{Committed, Verdict};
use super::ledger::OnTrial;
use crate::compile;
use crate::config::Config;
use crate::config::diff::{Difference, diff};
use crate::events::Severity;
use crate::security::Record;
use crate::store::Revision;

/// Who gives up what nobody confirmed.
const TIMER: &str = "timer";

/// What the audit log has of a commit on trial that was given up by itself: nobody asked for that.
pub fn unconfirmed(revision: &Revision, status: u16) -> Record {
    let Revision { number, author, .. } = revision;
    let what = format!("revision {number} of {author}, not confirmed in time");
    Record::new(TIMER, String::new(), "REVERT", &what, status)
}

impl Controller {
    /// Keeps the configuration on trial.
    pub(super) fn confirm(&mut self, author: &str) -> Result<Committed, ActionError> {
        if self.ledger.trial.is_none() {
            return Err(ActionError::NothingToConfirm);
        }
        self.ledger.store.confirm_trial()?;
        self.ledger.trial = None;
        let revision = self.ledger.revision();
        let message = format!("revision {revision} was confirmed");
        tracing::info!(revision, author, "configuration confirmed");
        let details = json!({ "revision": revision, "author": author });
        let events = &self.ledger.events;
        events.publish("configuration.confirmed", Severity::Info, message, details);
        Ok(self.after_trial(Verdict::Committed, Vec::new()))
    }

    /// Goes back to the configuration before the one on trial.
    pub(super) fn revert(&mut self, author: &str) -> Result<Committed, ActionError> {
        let Some(trial) = self.ledger.trial.take() else {
            return Err(ActionError::NothingToConfirm);
        };
        let given_up = self.ledger.store.trial().map(|trial| trial.revision.number);
        if let Err(error) = self.ledger.store.end_trial() {
            tracing::error!(%error, "a restart before its time is over would find the trial again");
        }
        let before = Config::clone(&trial.before);
        let changes = diff(&self.config.raw, &before.raw);
        let epoch = self.snapshot.epoch + 1;
        let known = (epoch, Some(&*self.snapshot));
        let snapshot = compile::compile(&before, &self.facts, &mut self.registry, known)?;
        self.take_up(before, snapshot);
        let (revision, given_up) = (self.ledger.revision(), given_up.unwrap_or_default());
        let message = format!("revision {given_up} was not confirmed; {revision} is in use again");
        tracing::warn!(revision, given_up, author, "configuration rolled back");
        let details = json!({ "revision": revision, "given_up": given_up, "author": author });
        let events = &self.ledger.events;
        events.publish(
            "configuration.rolled_back",
            Severity::Warning,
            message,
            details,
        );
        Ok(self.after_trial(Verdict::RolledBack, changes))
    }

    fn after_trial(&self, result: Verdict, changes: Vec<Difference>) -> Committed {
        Committed {
            result,
            revision: self.ledger.revision(),
            epoch: self.snapshot.epoch,
            in_force: false,
            touched: self.touched(&changes),
            changes,
            confirmation: None,
            tag: self.ledger.tag.clone(),
            created: false,
        }
    }

    /// Ends a trial whose time is over.
    pub(super) fn look_at_trial(&mut self, now: Instant) {
        let over = |trial: &OnTrial| trial.deadline <= now;
        if !self.ledger.trial.as_ref().is_some_and(over) {
            return;
        }
        let given_up = self.ledger.store.trial().map(|it| it.revision.clone());
        let status = match self.revert(TIMER) {
            Ok(_) => 200,
            Err(error) => {
                tracing::error!(%error, "the configuration before cannot be used again");
                500
            }
        };
        if let Some((audit, revision)) = self.ledger.audit.as_ref().zip(given_up) {
            audit.done(unconfirmed(&revision, status));
        }
    }

    pub(super) fn finish_trial(
        &mut self,
        done: Result<Committed, ActionError>,
        answer: Answer,
        now: Instant,
    ) {
        match done {
            Ok(committed) => self.answer_when_adopted(committed, answer, now),
            Err(why) => drop(answer.send(Err(why))),
        }
    }
}
