//! What the controller knows of configurations: what is at rest, on trial, and prepared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::change::Confirmation;
use super::tags::tag;
use crate::config::{Config, RawConfig};
use crate::events::Events;
use crate::security::Audit;
use crate::store::Store;

/// What the controller knows of configurations besides the one in use.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) store: Store,
    pub(super) trial: Option<OnTrial>,
    pub(super) candidates: BTreeMap<String, Candidate>,
    pub(super) events: Events,
    /// What nobody asked for is written down there.
    pub(super) audit: Option<Arc<Audit>>,
    /// `ETag` of the configuration in use.
    pub(super) tag: String,
}

/// A configuration that is in use until its time is over.
#[derive(Debug)]
pub(super) struct OnTrial {
    pub(super) deadline: Instant,
    /// What was in use before, and will be again.
    pub(super) before: Arc<Config>,
}

/// A configuration that somebody works on.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) text: String,
    pub(super) raw: RawConfig,
    /// `ETag` of the running configuration that it began as.
    pub(super) base: String,
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
            audit: None,
            tag: tag(&text),
        }
    }

    /// Number of the configuration in use.
    pub(super) fn revision(&self) -> u64 {
        match self.store.trial() {
            Some(trial) if self.trial.is_some() => trial.revision.number,
            _ => self.store.running().map_or(0, |running| running.number),
        }
    }

    /// What waits to be confirmed.
    pub(super) fn confirmation(&self) -> Option<Confirmation> {
        self.trial.as_ref()?;
        self.store.trial().map(Confirmation::of)
    }
}
