//! Configurations at rest: the running one, the last fifty before it, and one on trial.
//!
//! A directory with one file for each revision: the TOML that `sluice run` takes, as it was given,
//! under a comment that tells number, time, author and comment.
//!
//! | file | |
//! |---|---|
//! | `running.toml` | what a start uses; replacing it is the moment of a commit |
//! | `revision-N.toml` | the history, the running one included |
//! | `trial.toml` | a commit that is not confirmed yet; taking it out is the moment of its end |
//!
//! `next` has those of a configuration that waits for the next start.
//!
//! Every file is replaced whole (written beside, synced, renamed, directory synced), so a power cut
//! leaves the old or the new one. What a commit left half done is put in order by the next start.

mod disk;
mod next;
#[cfg(test)]
pub(crate) mod power_cut;
mod revision;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;

pub use disk::{Directory, Disk, Memory, UNFINISHED, replace};
pub use next::FAILED;
pub use revision::{Revision, Trial};

/// Revisions that are kept.
pub const HISTORY: usize = 50;

const RUNNING: &str = "running.toml";
const TRIAL: &str = "trial.toml";

/// Why the store cannot do what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The system refuses.
    #[error("{file}: {reason}")]
    Io {
        /// The file.
        file: String,
        /// As the system says.
        reason: String,
    },
    /// There is no such revision, or none any more.
    #[error("there is no revision {0}")]
    NoRevision(u64),
}

impl StoreError {
    fn io(file: &str, why: &io::Error) -> Self {
        Self::Io {
            file: file.to_owned(),
            reason: why.to_string(),
        }
    }
}

/// See the module's docs.
pub struct Store {
    disk: Box<dyn Disk>,
    /// The running one last. Empty before the first commit.
    history: VecDeque<Revision>,
    trial: Option<Trial>,
    /// What waits for the next start, and what this one was tried with.
    next: Option<Revision>,
    starting: Option<Revision>,
    /// The highest number that was given out.
    last: u64,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("history", &self.history)
            .field("trial", &self.trial)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a store and finishes what a power cut has left half done.
    ///
    /// # Errors
    /// If the disk cannot be read or written.
    pub fn open(disk: Box<dyn Disk>) -> Result<Self, StoreError> {
        let mut store = Self {
            disk,
            history: VecDeque::new(),
            trial: None,
            next: None,
            starting: None,
            last: 0,
        };
        store.recover()?;
        Ok(store)
    }

    /// A store of this process alone.
    pub fn memory() -> Self {
        Self {
            disk: Box::new(Memory::default()),
            history: VecDeque::new(),
            trial: None,
            next: None,
            starting: None,
            last: 0,
        }
    }

    /// Whether it outlives the process.
    pub fn is_lasting(&self) -> bool {
        self.disk.is_lasting()
    }

    /// The revision in `running.toml`.
    pub fn running(&self) -> Option<&Revision> {
        self.history.back()
    }

    /// The commit that waits to be confirmed.
    pub fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// All that are kept, oldest first, the running one last.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &Revision> {
        self.history.iter()
    }

    /// The text of a revision that is kept, or on trial, as it was given.
    ///
    /// # Errors
    /// [`StoreError::NoRevision`], or what the disk says.
    pub fn text(&self, number: u64) -> Result<String, StoreError> {
        let file = if self.trial.as_ref().map(|trial| trial.revision.number) == Some(number) {
            TRIAL.to_owned()
        } else if self.running().map(|running| running.number) == Some(number) {
            RUNNING.to_owned()
        } else if self.history.iter().any(|known| known.number == number) {
            file_of(number)
        } else {
            return Err(StoreError::NoRevision(number));
        };
        let content = self.read(&file)?;
        Ok(revision::body(&content).to_owned())
    }

    /// Makes `text` the running configuration. It has a new number, and is on the disk when this
    /// returns.
    ///
    /// # Errors
    /// If the disk refuses; the running configuration is the old one then, also after a restart.
    pub fn commit(
        &mut self,
        author: &str,
        comment: &str,
        text: &str,
    ) -> Result<&Revision, StoreError> {
        let revision = Revision::new(self.last + 1, author, comment);
        self.keep(revision, text)
    }

    /// Puts `text` on trial: in use, and given up when the time is over or the process starts after.
    ///
    /// # Errors
    /// If the disk refuses; there is no trial then.
    pub fn begin_trial(
        &mut self,
        author: &str,
        comment: &str,
        text: &str,
        seconds: u32,
    ) -> Result<&Trial, StoreError> {
        let revision = Revision::new(self.last + 1, author, comment);
        let trial = Trial::new(revision, seconds);
        self.put(TRIAL, &trial.to_file(text))?;
        self.last = trial.revision.number;
        Ok(self.trial.insert(trial))
    }

    /// Makes the configuration on trial the running one.
    ///
    /// # Errors
    /// If the disk refuses; the trial goes on then.
    pub fn confirm_trial(&mut self) -> Result<(), StoreError> {
        let Some(trial) = self.trial.clone() else {
            return Ok(());
        };
        let text = self.text(trial.revision.number)?;
        self.keep(trial.revision, &text)?;
        self.end_trial()
    }

    /// Gives the configuration on trial up.
    ///
    /// # Errors
    /// If the disk refuses. The trial is over for this process all the same; a restart before its
    /// time is over would find it.
    pub fn end_trial(&mut self) -> Result<(), StoreError> {
        self.trial = None;
        self.take_out(TRIAL)
    }

    fn keep(&mut self, revision: Revision, text: &str) -> Result<&Revision, StoreError> {
        let content = revision.to_file(text);
        // Whichever of the two a power cut comes before, `running.toml` says what happened.
        self.put(&file_of(revision.number), &content)?;
        self.put(RUNNING, &content)?;
        self.last = self.last.max(revision.number);
        self.history.push_back(revision);
        while self.history.len() > HISTORY {
            let old = file_of(self.history[0].number);
            self.history.pop_front();
            // It is not in the list any more, and the next start takes out what is left.
            if let Err(error) = self.take_out(&old) {
                tracing::warn!(%error, "an old revision cannot be removed");
            }
        }
        Ok(self.history.back().expect("one was just added"))
    }

    fn put(&mut self, file: &str, content: &str) -> Result<(), StoreError> {
        let put = disk::replace(self.disk.as_mut(), file, content.as_bytes());
        put.map_err(|why| StoreError::io(file, &why))
    }

    fn take_out(&mut self, file: &str) -> Result<(), StoreError> {
        let out = self.disk.remove(file).and_then(|()| self.disk.sync_names());
        out.map_err(|why| StoreError::io(file, &why))
    }

    fn read(&self, file: &str) -> Result<String, StoreError> {
        let content = self.disk.read(file);
        let content = content.map_err(|why| StoreError::io(file, &why))?;
        String::from_utf8(content).map_err(|_| StoreError::Io {
            file: file.to_owned(),
            reason: "is not UTF-8".to_owned(),
        })
    }

    fn recover(&mut self) -> Result<(), StoreError> {
        let files = self.disk.list().map_err(|why| StoreError::io(".", &why))?;
        for file in files.iter().filter(|file| file.ends_with(UNFINISHED)) {
            self.take_out(file)?;
        }
        let mut old: Vec<u64> = files.iter().filter_map(|file| number_of(file)).collect();
        old.sort_unstable();
        let running = if files.iter().any(|file| file == RUNNING) {
            let content = self.read(RUNNING)?;
            // One that somebody wrote by hand has no head.
            let by_hand = || Revision::new(old.last().map_or(1, |last| last + 1), "file", "");
            Some(Revision::of(&content).unwrap_or_else(by_hand))
        } else {
            None
        };
        let now = running.as_ref().map_or(0, |running| running.number);
        for number in old.into_iter().filter(|&number| number != now) {
            let file = file_of(number);
            match Revision::of(&self.read(&file)?) {
                Some(revision) if number < now => self.history.push_back(revision),
                // A commit that did not come to its end.
                _ => self.take_out(&file)?,
            }
        }
        self.history.extend(running);
        while self.history.len() > HISTORY {
            let file = file_of(self.history[0].number);
            self.history.pop_front();
            self.take_out(&file)?;
        }
        self.last = now;
        if files.iter().any(|file| file == TRIAL) {
            match Trial::of(&self.read(TRIAL)?) {
                Some(trial) if trial.revision.number > now => {
                    self.last = trial.revision.number;
                    self.trial = Some(trial);
                }
                // It was confirmed, and then the power was cut.
                _ => self.take_out(TRIAL)?,
            }
        }
        self.recover_next(&files)
    }
}

fn file_of(number: u64) -> String {
    format!("revision-{number}.toml")
}

fn number_of(file: &str) -> Option<u64> {
    let number = file.strip_prefix("revision-")?.strip_suffix(".toml")?;
    number.parse().ok()
}
