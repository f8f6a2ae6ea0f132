//! Candidates: configurations to be worked on before they are used, one for each author.

use super::Controller;
use super::action::{ActionError, Outcome};
use super::change::{CandidateView, Change, Committed, Verdict, What};
use super::ledger::Candidate;
use super::tags::{tag, tag_of};
use super::transaction::of_part;
use crate::config::diff::{diff, value};
use crate::config::edit::{self, Edit};
use crate::config::{Format, Source, secrets, text};

/// Candidates at once, one for each author.
const MAX_CANDIDATES: usize = 64;

impl Controller {
    /// Makes or changes the author's candidate; nothing is in use by it.
    pub(super) fn prepare_candidate(&mut self, change: Change) -> Result<Committed, ActionError> {
        let Change { what, terms, .. } = change;
        let known = self.ledger.candidates.get(&terms.author).cloned();
        if known.is_none() && self.ledger.candidates.len() >= MAX_CANDIDATES {
            return Err(ActionError::Busy);
        }
        let there = known.as_ref().map(|candidate| tag(&candidate.text));
        let mut candidate = known.unwrap_or_else(|| Candidate {
            text: self.config.to_toml(),
            raw: self.config.raw.clone(),
            base: self.ledger.tag.clone(),
        });
        let mut created = there.is_none();
        let mut part = None;
        match what {
            What::Replace(source) => {
                self.expect(&terms.expected, there)?;
                let source = secrets::revealed(source, &candidate.raw, &candidate.text);
                candidate.raw = source.parse().map_err(ActionError::Config)?;
                candidate.text = match source.format {
                    Format::Toml => source.text,
                    Format::Json => text::rewrite(&candidate.text, &candidate.raw),
                };
            }
            What::Edit(edit) => {
                let old = edit::get(&candidate.raw, &edit.address);
                self.expect(&terms.expected, old.as_ref().map(tag_of))?;
                created = edit_candidate(&mut candidate, &edit)?;
                let new = edit::get(&candidate.raw, &edit.address);
                part = Some(new.as_ref().map(tag_of).unwrap_or_default());
            }
            What::Rollback(number) => {
                self.expect(&terms.expected, there)?;
                candidate.text = self.ledger.store.text(number)?;
                let source = Source::toml(candidate.text.as_str());
                candidate.raw = source.parse().map_err(ActionError::Config)?;
            }
            What::Candidate => self.expect(&terms.expected, there)?,
        }
        let changes = diff(&self.config.raw, &candidate.raw);
        let committed = Committed {
            result: if terms.dry_run {
                Verdict::Valid
            } else {
                Verdict::Candidate
            },
            revision: self.ledger.revision(),
            epoch: self.snapshot.epoch,
            in_force: self.epoch_in_force() >= self.snapshot.epoch,
            touched: self.touched(&changes),
            changes,
            confirmation: self.ledger.confirmation(),
            tag: part.unwrap_or_else(|| tag(&candidate.text)),
            created,
        };
        if !terms.dry_run {
            self.ledger.candidates.insert(terms.author, candidate);
        }
        Ok(committed)
    }

    pub(super) fn drop_candidate(&mut self, author: &str) -> Result<Outcome, ActionError> {
        let known = self.ledger.candidates.remove(author);
        known.map(|_| Outcome::Done).ok_or(ActionError::NoCandidate)
    }

    pub(super) fn read_candidate(&self, author: &str) -> Result<Outcome, ActionError> {
        let candidate = self.ledger.candidates.get(author);
        let candidate = candidate.ok_or(ActionError::NoCandidate)?;
        Ok(Outcome::Candidate(Box::new(CandidateView {
            text: candidate.text.clone(),
            value: value(&candidate.raw),
            tag: tag(&candidate.text),
        })))
    }
}

fn edit_candidate(candidate: &mut Candidate, edit: &Edit) -> Result<bool, ActionError> {
    let edited = edit::apply(&candidate.raw, edit)?;
    let source = secrets::revealed(edited.source.clone(), &candidate.raw, "");
    let parsed = source.parse();
    let read = parsed.map_err(|why| of_part(why, edited.path.as_ref()))?;
    let raw = edited.over(&candidate.raw, read);
    candidate.text = text::revise(&candidate.text, &candidate.raw, &raw);
    candidate.raw = raw;
    Ok(edited.created)
}
