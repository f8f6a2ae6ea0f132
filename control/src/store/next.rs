//! A configuration that waits for the next start.
//!
//! | file | |
//! |---|---|
//! | `next.toml` | what the next start uses |
//! | `starting.toml` | the same, while a start is trying it |
//! | `failed.toml` | the last one with which no start came to its end |
//!
//! A start renames `next.toml` before it uses it. Whatever ends that start, a device that is not there or a
//! power cut, the next one finds `starting.toml`, and goes on with `running.toml`: an appliance that
//! cannot be reached any more must come back by being switched off and on.

use super::{Revision, Store, StoreError, revision};

pub(super) const NEXT: &str = "next.toml";
pub(super) const STARTING: &str = "starting.toml";
/// Where a configuration is kept with which a start has failed.
pub const FAILED: &str = "failed.toml";

impl Store {
    /// Who made what waits for the next start, when and why. It has no number yet.
    pub fn next(&self) -> Option<&Revision> {
        self.next.as_ref()
    }

    /// Its text, as it was given.
    ///
    /// # Errors
    /// What the disk says.
    pub fn next_text(&self) -> Result<Option<String>, StoreError> {
        let read = |_| Ok(revision::body(&self.read(NEXT)?).to_owned());
        self.next.as_ref().map(read).transpose()
    }

    /// Has `text` wait for the next start, instead of what waited before.
    ///
    /// # Errors
    /// If the disk refuses; what waited before still does.
    pub fn set_next(
        &mut self,
        author: &str,
        comment: &str,
        text: &str,
    ) -> Result<&Revision, StoreError> {
        let revision = Revision::new(0, author, comment);
        self.put(NEXT, &revision.to_file(text))?;
        Ok(self.next.insert(revision))
    }

    /// Has nothing wait for the next start.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn drop_next(&mut self) -> Result<(), StoreError> {
        self.take_out(NEXT)?;
        self.next = None;
        Ok(())
    }

    /// What waited for this start. A start that does not come to [`Store::keep_next`] is the only one that
    /// tries it.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn take_next(&mut self) -> Result<Option<String>, StoreError> {
        let text = self.next_text()?;
        if text.is_some() {
            self.rename(NEXT, STARTING)?;
            self.starting = self.next.take();
        }
        Ok(text)
    }

    /// The start has come to its end: what it was tried with is the running configuration.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn keep_next(&mut self) -> Result<(), StoreError> {
        let Some(Revision {
            author, comment, ..
        }) = self.starting.clone()
        else {
            return Ok(());
        };
        let text = revision::body(&self.read(STARTING)?).to_owned();
        self.commit(&author, &comment, &text)?;
        self.starting = None;
        self.take_out(STARTING)
    }

    /// Puts away what the start before was tried with, if it did not come to its end.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn put_away(&mut self) -> Result<Option<Revision>, StoreError> {
        let failed = self.starting.take();
        if failed.is_some() {
            self.rename(STARTING, FAILED)?;
        }
        Ok(failed)
    }

    /// What waits, and what a start was tried with, of the files that there are.
    pub(super) fn recover_next(&mut self, files: &[String]) -> Result<(), StoreError> {
        let by_hand = || Revision::new(0, "file", "");
        let read = |store: &Self, name: &str| {
            let there = files.iter().any(|file| file == name);
            let head = |text: String| Revision::of(&text).unwrap_or_else(by_hand);
            there.then(|| store.read(name).map(head)).transpose()
        };
        self.next = read(self, NEXT)?;
        self.starting = read(self, STARTING)?;
        if let Some(starting) = &self.starting
            && let Some(running) = self.running()
            && running.author == starting.author
            && revision::body(&self.read(STARTING)?) == self.text(running.number)?
        {
            // It was kept, and then the power was cut.
            self.starting = None;
            self.take_out(STARTING)?;
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), StoreError> {
        let renamed = self.disk.rename(from, to);
        let synced = renamed.and_then(|()| self.disk.sync_names());
        synced.map_err(|why| StoreError::io(from, &why))
    }
}
