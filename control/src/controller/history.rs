//! Reading configurations: the one in use, candidates, and those of the history.

use super::Controller;
use super::action::{ActionError, Outcome};
use super::change::{CandidateView, PartOf, PartView, Revisions, Which};
use super::tags::{tag, tag_of};
use crate::config::diff::{diff, value};
use crate::config::edit;
use crate::config::{RawConfig, Source};

impl Controller {
    fn raw(&self, which: &Which) -> Result<RawConfig, ActionError> {
        match which {
            Which::Running => Ok(self.config.raw.clone()),
            Which::Candidate(author) => {
                let candidate = self.ledger.candidates.get(author);
                Ok(candidate.ok_or(ActionError::NoCandidate)?.raw.clone())
            }
            Which::Next => self.raw_of_next(),
            Which::Revision(number) => {
                let source = Source::toml(self.ledger.store.text(*number)?);
                source.parse().map_err(ActionError::Config)
            }
        }
    }

    pub(super) fn read_part(&self, part: &PartOf) -> Result<Outcome, ActionError> {
        let found = edit::get(&self.raw(&part.which)?, &part.address);
        let value = found.ok_or_else(|| ActionError::NoPart(part.address.to_string()))?;
        let tag = tag_of(&value);
        Ok(Outcome::Part(PartView { value, tag }))
    }

    pub(super) fn compare(&self, from: &Which, to: &Which) -> Result<Outcome, ActionError> {
        Ok(Outcome::Differences(diff(&self.raw(from)?, &self.raw(to)?)))
    }

    pub(super) fn read_revision(&self, number: u64) -> Result<Outcome, ActionError> {
        let text = self.ledger.store.text(number)?;
        let value = value(
            &Source::toml(text.as_str())
                .parse()
                .map_err(ActionError::Config)?,
        );
        let tag = tag(&text);
        Ok(Outcome::Candidate(Box::new(CandidateView {
            text,
            value,
            tag,
        })))
    }

    pub(super) fn revisions(&self) -> Revisions {
        Revisions {
            running: self.ledger.revision(),
            lasting: self.ledger.store.is_lasting(),
            confirmation: self.ledger.confirmation(),
            next: self.ledger.store.next().cloned(),
            revisions: self.ledger.store.history().rev().cloned().collect(),
        }
    }
}
