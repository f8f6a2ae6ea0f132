//! The configuration as transactions: checked, compared, kept, used; and undone where nobody confirms.
//!
//! A commit is at rest before any worker hears of it. Writing takes two files and some milliseconds,
//! on the control thread: commits are one at a time anyway.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::action::{ActionError, Answer, Outcome};
use super::change::{
    Change, Committed, Confirmation, Expected, Target, Terms, Touched, Verdict, What,
};
use super::ledger::OnTrial;
use super::pending::Work;
use super::tags::{tag, tag_of};
use super::{ADOPTION, Controller};
use crate::compile;
use crate::config::diff::{Difference, diff};
use crate::config::edit::{self, Address, Edit, EditError};
use crate::config::{Config, ConfigError, Format, Path, Source, secrets, text};
use crate::events::{Events, Severity};
use crate::reload;
use crate::security::Audit;
use crate::store::{Store, StoreError};

/// A change that passed every check.
struct Ready {
    config: Config,
    changes: Vec<Difference>,
    touched: Touched,
    /// Of that what was changed.
    tag: String,
    created: bool,
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
        // Devices and workers are there: what waited for this start is what is in use.
        if let Err(error) = self.ledger.store.keep_next() {
            tracing::error!(%error, "the next start will go back to the configuration before");
        }
        self
    }

    /// What happens without anybody having asked for it is written down in `audit`.
    #[must_use]
    pub fn with_audit(mut self, audit: Arc<Audit>) -> Self {
        self.ledger.audit = Some(audit);
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
            Target::Running if change.terms.at_restart => self.commit_for_start(change),
            Target::Running => self.commit(change, now),
            Target::Candidate => self.prepare_candidate(change),
        };
        match outcome {
            Ok(committed) => self.answer_when_adopted(committed, answer, now),
            Err(why) => drop(answer.send(Err(why))),
        }
    }

    /// Answers once all workers use what was committed.
    pub(super) fn answer_when_adopted(
        &mut self,
        committed: Committed,
        answer: Answer,
        now: Instant,
    ) {
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
        let known = (epoch, Some(&*self.snapshot));
        let snapshot = compile::compile(&config, &self.facts, &mut registry, known)?;
        if terms.dry_run {
            committed.result = Verdict::Valid;
            return Ok(committed);
        }
        if self.ledger.trial.is_some() {
            return Err(ActionError::Unconfirmed);
        }
        let next = self.edited_next(&what, terms.confirm_seconds.is_some())?;
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
        if let Some(next) = next {
            self.keep_edited_next(&next);
        }
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
            comment = terms.comment,
            "{message}"
        );
        self.ledger
            .events
            .publish(kind, Severity::Info, message, details);
    }

    /// Uses a configuration from now on.
    pub(super) fn take_up(
        &mut self,
        config: Config,
        snapshot: sluice_dataplane::snapshot::Snapshot,
    ) {
        self.snapshot = Arc::new(snapshot);
        self.ledger.tag = tag(&config.to_toml());
        self.config = Arc::new(config);
        // What is known of servers that are others now is forgotten before workers hear of them.
        self.apply_checks();
        self.ramps.renew();
        self.restate(Instant::now());
        for worker in &mut self.workers {
            worker.swap(Arc::clone(&self.snapshot));
        }
        self.follow_logs();
        if let Err(error) = self.follow_host() {
            tracing::error!(%error, "there is no host interface; restart Sluice to try again");
        }
    }

    /// The configuration that a change asks for, every check passed.
    fn check(&mut self, what: &What, terms: &Terms) -> Result<Ready, ActionError> {
        let wanted = self.wanted(what, terms, &self.config)?;
        let lasting = self.ledger.store.is_lasting();
        let checked = reload::check(&self.config, &self.facts, &wanted.config, lasting);
        checked.map_err(|mut why| {
            if !matches!(what, What::Replace(source) if source.format == Format::Toml) {
                without_lines(&mut why);
            }
            let part = wanted.sent.clone();
            ActionError::NeedsRestart { why, part }
        })?;
        let changes = diff(&self.config.raw, &wanted.config.raw);
        Ok(Ready {
            touched: self.touched(&changes),
            changes,
            tag: wanted.tag(),
            created: wanted.created,
            config: wanted.config,
        })
    }

    /// The configuration that a change of `base` asks for. It is right in itself.
    pub(super) fn wanted(
        &self,
        what: &What,
        terms: &Terms,
        base: &Config,
    ) -> Result<Wanted, ActionError> {
        let whole = || Some(tag(&base.to_toml()));
        match what {
            What::Replace(source) => {
                self.expect(&terms.expected, whole())?;
                let sent = Some(Path::default());
                Ok(Wanted {
                    sent,
                    ..Wanted::whole(given(source, base)?)
                })
            }
            What::Rollback(number) => {
                self.expect(&terms.expected, whole())?;
                let mut source = Source::toml(self.ledger.store.text(*number)?);
                source.name = format!("revision {number}");
                let config = Config::read(source).map_err(ActionError::Config)?;
                Ok(Wanted::whole(config))
            }
            What::Candidate => {
                let candidate = self.ledger.candidates.get(&terms.author);
                let candidate = candidate.ok_or(ActionError::NoCandidate)?;
                self.expect(&terms.expected, Some(tag(&candidate.text)))?;
                if candidate.base != self.ledger.tag {
                    return Err(ActionError::Outrun);
                }
                let source = Source::toml(candidate.text.clone());
                let config = Config::read(source).map_err(ActionError::Config)?;
                Ok(Wanted::whole(config))
            }
            What::Edit(edit) => {
                if terms.expected != Expected::Anything {
                    let old = edit::get(&base.raw, &edit.address);
                    self.expect(&terms.expected, old.as_ref().map(tag_of))?;
                }
                edited(edit, base)
            }
        }
    }

    /// Whether it still is what the author thinks it is.
    pub(super) fn expect(
        &self,
        expected: &Expected,
        current: Option<String>,
    ) -> Result<(), ActionError> {
        if expected.holds(current.as_deref()) {
            Ok(())
        } else {
            Err(ActionError::Stale { current })
        }
    }
}

/// What a change asks for.
pub(super) struct Wanted {
    pub(super) config: Config,
    /// The part that was changed; `None`: the whole.
    part: Option<Address>,
    /// Where in the configuration the body of the request is.
    sent: Option<Path>,
    /// The part was not there before.
    pub(super) created: bool,
}

impl Wanted {
    fn whole(config: Config) -> Self {
        Self {
            config,
            part: None,
            sent: None,
            created: false,
        }
    }

    /// The `ETag` of what was changed.
    pub(super) fn tag(&self) -> String {
        match &self.part {
            Some(address) => {
                let new = edit::get(&self.config.raw, address);
                new.as_ref().map(tag_of).unwrap_or_default()
            }
            None => tag(&self.config.to_toml()),
        }
    }
}

/// `base` with a part changed.
pub(super) fn edited(edit: &Edit, base: &Config) -> Result<Wanted, ActionError> {
    let edited = edit::apply(&base.raw, edit)?;
    let source = secrets::revealed(edited.source.clone(), &base.raw, "");
    let read = Config::edited(&edited, source, &base.raw);
    let mut config = read.map_err(|why| of_part(why, edited.path.as_ref()))?;
    config.source = Source::toml(text::revise(&base.to_toml(), &base.raw, &config.raw));
    Ok(Wanted {
        config,
        part: Some(edit.address.clone()),
        sent: edited.path,
        created: edited.created,
    })
}

/// A configuration that was given whole. JSON has no comments: those of `base` stay.
fn given(source: &Source, base: &Config) -> Result<Config, ActionError> {
    let toml = base.to_toml();
    let source = secrets::revealed(source.clone(), &base.raw, &toml);
    let format = source.format;
    let mut config = Config::read(source).map_err(ActionError::Config)?;
    if format == Format::Json {
        config.source = Source::toml(text::revise(&toml, &base.raw, &config.raw));
    }
    Ok(config)
}

/// Lines of a text that nobody sent say nothing.
fn without_lines(why: &mut ConfigError) {
    for problem in &mut why.problems {
        problem.line = None;
    }
}

/// What is wrong with an edited configuration. Nobody has seen its lines.
pub(super) fn of_part(mut why: ConfigError, part: Option<&Path>) -> ActionError {
    without_lines(&mut why);
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
