//! The configuration as transactions: checked, compared, kept, used; and undone where nobody confirms.
//!
//! A commit is at rest before any worker hears of it. Writing takes two files and some milliseconds,
//! on the control thread: commits are one at a time anyway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::action::{ActionError, Answer, Outcome};
use super::change::{
    CandidateView, Change, Committed, Confirmation, Expected, PartOf, PartView, Revisions, Target,
    Terms, Touched, Verdict, What, Which, tag, tag_of,
};
use super::pending::Work;
use super::{ADOPTION, Controller};
use crate::compile;
use crate::config::diff::{Difference, diff, value};
use crate::config::edit::{self, Edit, EditError};
use crate::config::{Config, Format, Path, RawConfig, Source, text};
use crate::events::{Events, Severity};
use crate::reload;
use crate::store::{Store, StoreError};

/// Candidates at once, one for each author.
const MAX_CANDIDATES: usize = 64;

/// What the controller knows of configurations besides the one in use.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) store: Store,
    trial: Option<OnTrial>,
    candidates: BTreeMap<String, Candidate>,
    pub(super) events: Events,
    /// `ETag` of the configuration in use.
    tag: String,
}

#[derive(Debug)]
struct OnTrial {
    deadline: Instant,
    /// What was in use before, and will be again.
    before: Arc<Config>,
}

#[derive(Debug, Clone)]
struct Candidate {
    text: String,
    raw: RawConfig,
    /// `ETag` of the running configuration that it began as.
    base: String,
}

/// A change that passed every check.
struct Ready {
    config: Config,
    changes: Vec<Difference>,
    touched: Touched,
    /// Of that what was changed.
    tag: String,
    created: bool,
}

impl Ledger {
    pub(super) fn new(config: &Config) -> Self {
        let mut store = Store::memory();
        let text = config.to_toml();
        // A store in memory refuses nothing.
        let _ = store.commit("start", "", &text);
        Self {
            store,
            trial: None,
            candidates: BTreeMap::new(),
            events: Events::default(),
            tag: tag(&text),
        }
    }

    fn revision(&self) -> u64 {
        match self.store.trial() {
            Some(trial) if self.trial.is_some() => trial.revision.number,
            _ => self.store.running().map_or(0, |running| running.number),
        }
    }

    fn confirmation(&self) -> Option<Confirmation> {
        self.trial.as_ref()?;
        self.store.trial().map(Confirmation::of)
    }
}

impl Controller {
    /// Keeps configurations in `store`, which has the one that this controller began with.
    /// `before` is what to go back to, if that one is on trial.
    #[must_use]
    pub fn with_store(mut self, store: Store, before: Option<Config>) -> Self {
        let left = store
            .trial()
            .map(|trial| Duration::from_millis(trial.left_ms()));
        self.ledger.trial = left.zip(before).map(|(left, before)| OnTrial {
            deadline: Instant::now() + left,
            before: Arc::new(before),
        });
        self.ledger.store = store;
        self
    }

    /// What happens is written down there.
    pub fn events(&self) -> &Events {
        &self.ledger.events
    }

    /// `ETag` and number of the configuration in use.
    pub(super) fn running(&self) -> (String, u64) {
        (self.ledger.tag.clone(), self.ledger.revision())
    }

    pub(super) fn change(&mut self, change: Change, answer: Answer, now: Instant) {
        let outcome = match change.target {
            Target::Running => self.commit(change, now),
            Target::Candidate => self.prepare_candidate(change),
        };
        match outcome {
            Ok(committed) => self.answer_when_adopted(committed, answer, now),
            Err(why) => drop(answer.send(Err(why))),
        }
    }

    fn answer_when_adopted(&mut self, committed: Committed, answer: Answer, now: Instant) {
        let waits = matches!(
            committed.result,
            Verdict::Committed | Verdict::Trial | Verdict::RolledBack
        );
        if waits {
            self.wait(Work::Adopt(Box::new(committed)), answer, now + ADOPTION);
        } else {
            let _ = answer.send(Ok(Outcome::Committed(Box::new(committed))));
        }
    }

    fn commit(&mut self, change: Change, now: Instant) -> Result<Committed, ActionError> {
        let Change { what, terms, .. } = change;
        let from_candidate = what == What::Candidate;
        let ready = self.check(&what, &terms)?;
        let Ready {
            config,
            changes,
            touched,
            tag: new_tag,
            created,
        } = ready;
        let text = config.to_toml();
        let mut committed = Committed {
            result: Verdict::NoChange,
            revision: self.ledger.revision(),
            epoch: self.snapshot.epoch,
            in_force: self.epoch_in_force() >= self.snapshot.epoch,
            changes,
            touched,
            confirmation: self.ledger.confirmation(),
            tag: new_tag,
            created,
        };
        if text == self.config.to_toml() {
            if from_candidate && !terms.dry_run {
                self.ledger.candidates.remove(&terms.author);
            }
            return Ok(committed);
        }
        // The registry is given numbers only by what is really used.
        let mut registry = self.registry.clone();
        let epoch = self.snapshot.epoch + 1;
        let snapshot = compile::compile(&config, &self.facts, &mut registry, epoch)?;
        if terms.dry_run {
            committed.result = Verdict::Valid;
            return Ok(committed);
        }
        if self.ledger.trial.is_some() {
            return Err(ActionError::Unconfirmed);
        }
        let Terms {
            author, comment, ..
        } = &terms;
        let store = &mut self.ledger.store;
        match terms.confirm_seconds {
            Some(seconds) => {
                let trial = store.begin_trial(author, comment, &text, seconds)?;
                committed.confirmation = Some(Confirmation::of(trial));
                committed.result = Verdict::Trial;
                self.ledger.trial = Some(OnTrial {
                    deadline: now + Duration::from_secs(seconds.into()),
                    before: Arc::clone(&self.config),
                });
            }
            None => {
                store.commit(author, comment, &text)?;
                committed.result = Verdict::Committed;
            }
        }
        self.registry = registry;
        self.take_up(config, snapshot);
        if from_candidate {
            self.ledger.candidates.remove(author);
        }
        committed.revision = self.ledger.revision();
        committed.epoch = epoch;
        self.tell_of(&committed, &terms);
        Ok(committed)
    }

    fn tell_of(&self, committed: &Committed, terms: &Terms) {
        let revision = committed.revision;
        let details = json!({
            "revision": revision,
            "epoch": committed.epoch,
            "author": terms.author,
            "comment": terms.comment,
            "changes": committed.changes.len(),
            "confirm_seconds": terms.confirm_seconds,
        });
        let (kind, message) = match terms.confirm_seconds {
            None => (
                "configuration.committed",
                format!("revision {revision} is in use"),
            ),
            Some(seconds) => (
                "configuration.trial",
                format!("revision {revision} is in use, for {seconds} s unless confirmed"),
            ),
        };
        tracing::info!(
            revision,
            epoch = committed.epoch,
            author = terms.author,
            "{message}"
        );
        self.ledger
            .events
            .publish(kind, Severity::Info, message, details);
    }

    /// Uses a configuration from now on.
    fn take_up(&mut self, config: Config, snapshot: sluice_dataplane::snapshot::Snapshot) {
        self.snapshot = Arc::new(snapshot);
        self.ledger.tag = tag(&config.to_toml());
        self.config = Arc::new(config);
        for worker in &mut self.workers {
            worker.swap(Arc::clone(&self.snapshot));
        }
        if let Err(error) = self.follow_host() {
            tracing::error!(%error, "there is no host interface; restart Sluice to try again");
        }
    }

    /// The configuration that a change asks for, every check passed.
    fn check(&mut self, what: &What, terms: &Terms) -> Result<Ready, ActionError> {
        let mut part = None;
        let mut created = false;
        let config = match what {
            What::Replace(source) => {
                self.expect(&terms.expected, Some(self.ledger.tag.clone()))?;
                self.given(source)?
            }
            What::Rollback(number) => {
                self.expect(&terms.expected, Some(self.ledger.tag.clone()))?;
                let mut source = Source::toml(self.ledger.store.text(*number)?);
                source.name = format!("revision {number}");
                Config::read(source).map_err(ActionError::Config)?
            }
            What::Candidate => {
                let candidate = self.ledger.candidates.get(&terms.author);
                let candidate = candidate.ok_or(ActionError::NoCandidate)?;
                self.expect(&terms.expected, Some(tag(&candidate.text)))?;
                if candidate.base != self.ledger.tag {
                    return Err(ActionError::Outrun);
                }
                Config::read(Source::toml(candidate.text.clone())).map_err(ActionError::Config)?
            }
            What::Edit(edit) => {
                let old = edit::get(&self.config.raw, &edit.address);
                self.expect(&terms.expected, old.as_ref().map(tag_of))?;
                let edited = edit::apply(&self.config.raw, edit)?;
                let read = Config::read(edited.source);
                let mut config = read.map_err(|why| of_part(why, edited.path.as_ref()))?;
                config.source = Source::toml(text::rewrite(&self.config.to_toml(), &config.raw));
                part = Some(&edit.address);
                created = edited.created;
                config
            }
        };
        reload::check(&self.config, &self.facts, &config).map_err(ActionError::NeedsRestart)?;
        let changes = diff(&self.config.raw, &config.raw);
        let tag = match part {
            Some(address) => {
                let new = edit::get(&config.raw, address);
                new.as_ref().map(tag_of).unwrap_or_default()
            }
            None => tag(&config.to_toml()),
        };
        Ok(Ready {
            touched: self.touched(&changes),
            config,
            changes,
            tag,
            created,
        })
    }

    /// A configuration that was given whole. JSON has no comments: the ones that are there stay.
    fn given(&self, source: &Source) -> Result<Config, ActionError> {
        let mut config = Config::read(source.clone()).map_err(ActionError::Config)?;
        if source.format == Format::Json {
            config.source = Source::toml(text::rewrite(&self.config.to_toml(), &config.raw));
        }
        Ok(config)
    }

    fn expect(&self, expected: &Expected, current: Option<String>) -> Result<(), ActionError> {
        let met = match expected {
            Expected::Anything => true,
            Expected::There => current.is_some(),
            Expected::Absent => current.is_none(),
            Expected::Tags(tags) => current.as_ref().is_some_and(|tag| tags.contains(tag)),
        };
        if met {
            Ok(())
        } else {
            Err(ActionError::Stale { current })
        }
    }

    fn prepare_candidate(&mut self, change: Change) -> Result<Committed, ActionError> {
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

    fn raw(&self, which: &Which) -> Result<RawConfig, ActionError> {
        match which {
            Which::Running => Ok(self.config.raw.clone()),
            Which::Candidate(author) => {
                let candidate = self.ledger.candidates.get(author);
                Ok(candidate.ok_or(ActionError::NoCandidate)?.raw.clone())
            }
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
            revisions: self.ledger.store.history().rev().cloned().collect(),
        }
    }

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
        let snapshot = compile::compile(&before, &self.facts, &mut self.registry, epoch)?;
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
        if self.ledger.trial.as_ref().is_some_and(over)
            && let Err(error) = self.revert("timer")
        {
            tracing::error!(%error, "the configuration before cannot be used again");
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

fn edit_candidate(candidate: &mut Candidate, edit: &Edit) -> Result<bool, ActionError> {
    let edited = edit::apply(&candidate.raw, edit)?;
    let parsed = edited.source.parse();
    candidate.raw = parsed.map_err(|why| of_part(why, edited.path.as_ref()))?;
    candidate.text = text::rewrite(&candidate.text, &candidate.raw);
    Ok(edited.created)
}

/// What is wrong with an edited configuration. Nobody has seen its lines.
fn of_part(mut why: crate::config::ConfigError, part: Option<&Path>) -> ActionError {
    for problem in &mut why.problems {
        problem.line = None;
    }
    ActionError::Part {
        why,
        part: part.cloned(),
    }
}

impl From<EditError> for ActionError {
    fn from(why: EditError) -> Self {
        match why {
            EditError::Missing(what) => Self::NoPart(what),
            EditError::Body {
                pointer,
                found,
                remedy,
            } => Self::Body {
                pointer,
                found,
                remedy,
            },
        }
    }
}

impl From<StoreError> for ActionError {
    fn from(why: StoreError) -> Self {
        match why {
            StoreError::NoRevision(number) => Self::NoRevision(number),
            StoreError::Io { .. } => Self::NotStored(why.to_string()),
        }
    }
}
