//! Which configuration a start uses: the store's, or the file's where there is none.

use std::path::Path;

use crate::config::{Config, ConfigError, Source};
use crate::controller::keep_tags;
use crate::store::{Directory, FAILED, Revision, Store, StoreError};

/// What a controller begins with.
#[derive(Debug)]
pub struct Startup {
    /// What is in use.
    pub config: Config,
    /// What to go back to, if that is on trial.
    pub before: Option<Config>,
    /// What was on trial, and is given up because its time was over, or it cannot be used.
    pub given_up: Option<Revision>,
    /// Where configurations are kept.
    pub store: Store,
    /// The state directory.
    pub directory: Option<Directory>,
    /// Where it came from, for people.
    pub origin: String,
}

/// Why there is nothing to begin with.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The state directory cannot be used.
    #[error("the state directory {directory}: {reason}")]
    State {
        /// Which.
        directory: String,
        /// Why not.
        reason: String,
    },
}

/// What authors of the first revision are called.
const FILE: &str = "file";

impl Startup {
    /// Without a state directory: what `file` says, and nothing outlives the process. With one: what
    /// is in use there, and `file` only at the very first start, or if `take_file` asks for it.
    ///
    /// # Errors
    /// [`StartupError`] if the configuration is wrong, or the directory cannot be used.
    pub fn open(
        file: &Path,
        directory: Option<&Path>,
        take_file: bool,
    ) -> Result<Self, StartupError> {
        let Some(directory) = directory else {
            return Self::from_file(file, Store::memory(), None);
        };
        let failed = |reason: String| StartupError::State {
            directory: directory.display().to_string(),
            reason,
        };
        let mut disk = Directory::open(directory).map_err(|why| failed(why.to_string()))?;
        keep_tags(&mut disk).map_err(|why| failed(why.to_string()))?;
        let mut store =
            Store::open(Box::new(disk.clone())).map_err(|why| failed(why.to_string()))?;
        let refused = |why: StoreError| failed(why.to_string());
        if store.running().is_none() || take_file {
            // A trial of before has nothing to go back to any more.
            store.end_trial().map_err(refused)?;
            store.put_away().map_err(refused)?;
            store.drop_next().map_err(refused)?;
            return Self::from_file(file, store, Some(disk));
        }
        if let Some(failed) = store.put_away().map_err(refused)? {
            tracing::error!(
                author = failed.author,
                "no start came to its end with the configuration that waited for it, and the one before is \
                 used; the other one is in {FAILED}"
            );
        }
        if let Some(text) = store.take_next().map_err(refused)? {
            let mut source = Source::toml(text);
            source.name = format!("{}, what waited for this start", directory.display());
            match Config::read(source) {
                Ok(config) => {
                    return Ok(Self {
                        config,
                        before: None,
                        given_up: None,
                        store,
                        directory: Some(disk),
                        origin: "what waited for this start".to_owned(),
                    });
                }
                Err(error) => {
                    tracing::error!(%error, "what waited for this start cannot be used");
                    store.put_away().map_err(refused)?;
                }
            }
        }
        let mut given_up = None;
        if let Some(trial) = store.trial().filter(|trial| trial.left_ms() == 0) {
            tracing::warn!("a commit was not confirmed in time, and is undone");
            given_up = Some(trial.revision.clone());
            store.end_trial().map_err(refused)?;
        }
        let running = store.running().map_or(0, |running| running.number);
        let read = |store: &Store, number: u64| {
            let mut source = Source::toml(store.text(number).map_err(refused)?);
            source.name = format!("{}, revision {number}", directory.display());
            Config::read(source).map_err(StartupError::Config)
        };
        let config = read(&store, running)?;
        let trial = store.trial().map(|trial| trial.revision.clone());
        if let Some(revision) = trial {
            let number = revision.number;
            match read(&store, number) {
                Ok(tried) => {
                    return Ok(Self {
                        config: tried,
                        before: Some(config),
                        given_up,
                        store,
                        directory: Some(disk),
                        origin: format!("revision {number}, which is to be confirmed"),
                    });
                }
                Err(error) => {
                    tracing::error!(%error, "the commit on trial cannot be used, and is undone");
                    given_up = Some(revision);
                    store.end_trial().map_err(refused)?;
                }
            }
        }
        if let Ok(given) = Source::file(file)
            && given.text != config.to_toml()
        {
            tracing::info!(
                "{} differs from revision {running}, which is in use; a start with --take-file takes it, \
                 and SIGHUP where it changes nothing that needs a restart",
                file.display()
            );
        }
        Ok(Self {
            config,
            before: None,
            given_up,
            store,
            directory: Some(disk),
            origin: format!("revision {running}"),
        })
    }

    fn from_file(
        file: &Path,
        mut store: Store,
        directory: Option<Directory>,
    ) -> Result<Self, StartupError> {
        let config = Config::load(file)?;
        let text = config.to_toml();
        let known = store
            .running()
            .and_then(|running| store.text(running.number).ok());
        if known.as_ref() != Some(&text) {
            let comment = format!("read from {} at the start", file.display());
            let kept = store.commit(FILE, &comment, &text);
            kept.map_err(|why| StartupError::State {
                directory: file.display().to_string(),
                reason: why.to_string(),
            })?;
        }
        Ok(Self {
            config,
            before: None,
            given_up: None,
            store,
            directory,
            origin: file.display().to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::WHOLE;

    struct Place {
        directory: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            fs::write(directory.path().join("sluice.toml"), WHOLE).expect("room");
            Self { directory }
        }

        fn start(&self, take_file: bool) -> Result<Startup, StartupError> {
            let path = self.directory.path();
            Startup::open(
                &path.join("sluice.toml"),
                Some(&path.join("state")),
                take_file,
            )
        }
    }

    fn changed(weight: u16) -> String {
        WHOLE.replace("weight = 3", &format!("weight = {weight}"))
    }

    #[test]
    fn what_was_committed_outlives_the_process_and_the_file_is_only_the_first() {
        let place = Place::new();
        let mut first = place.start(false).expect("a good file");
        assert_eq!(first.config.to_toml(), WHOLE);
        first.store.commit("ann", "", &changed(4)).expect("room");
        drop(first);
        let second = place.start(false).expect("a good store");
        assert_eq!(second.config.to_toml(), changed(4));
        drop(second);
        fs::write(place.directory.path().join("sluice.toml"), changed(5)).expect("room");
        assert_eq!(
            place.start(false).expect("a good store").config.to_toml(),
            changed(4)
        );
        let taken = place.start(true).expect("a good file");
        assert_eq!(taken.config.to_toml(), changed(5));
        assert_eq!(taken.store.history().count(), 3);
    }

    #[test]
    fn a_trial_goes_on_over_a_restart_and_ends_when_its_time_is_over() {
        let place = Place::new();
        let mut first = place.start(false).expect("a good file");
        first
            .store
            .begin_trial("ann", "", &changed(4), 600)
            .expect("room");
        drop(first);
        let second = place.start(false).expect("a good store");
        assert_eq!(second.config.to_toml(), changed(4));
        assert_eq!(
            second.before.map(|before| before.to_toml()).as_deref(),
            Some(WHOLE)
        );
        assert_eq!(second.given_up, None);
        let mut store = second.store;
        drop(second.directory);
        store.end_trial().expect("room");
        store.begin_trial("ann", "", &changed(4), 0).expect("room");
        drop(store);
        let third = place.start(false).expect("a good store");
        assert_eq!(
            (third.config.to_toml().as_str(), third.before.is_none()),
            (WHOLE, true)
        );
        let given_up = third.given_up.as_ref();
        let given_up = given_up.map(|it| (it.number, it.author.as_str()));
        assert_eq!(given_up, Some((3, "ann")), "it is told of");
        drop(third);
        let mut wrong = place.start(false).expect("a good store");
        wrong
            .store
            .begin_trial("ann", "", "[system]", 600)
            .expect("room");
        drop(wrong);
        let last = place.start(false).expect("the one before");
        assert_eq!(last.config.to_toml(), WHOLE);
        assert!(last.given_up.is_some());
    }

    #[test]
    fn what_waits_for_a_start_is_used_by_it_and_given_up_if_it_fails() {
        let place = Place::new();
        let mut first = place.start(false).expect("a good file");
        first.store.set_next("ann", "", &changed(6)).expect("room");
        drop(first);
        let second = place.start(false).expect("a good store");
        assert_eq!(second.config.to_toml(), changed(6));
        // It comes to no end.
        drop(second);
        let mut third = place.start(false).expect("the one before");
        assert_eq!(third.config.to_toml(), WHOLE);
        third.store.set_next("ann", "", "[system]").expect("room");
        drop(third);
        let mut fourth = place.start(false).expect("the one before");
        assert_eq!(fourth.config.to_toml(), WHOLE);
        fourth.store.set_next("ann", "", &changed(6)).expect("room");
        drop(fourth);
        let mut fifth = place.start(false).expect("a good store");
        fifth.store.keep_next().expect("room");
        drop(fifth);
        let sixth = place.start(false).expect("a good store");
        assert_eq!(sixth.config.to_toml(), changed(6));
    }

    #[test]
    fn without_a_directory_the_file_is_all_there_is() {
        let place = Place::new();
        let file = place.directory.path().join("sluice.toml");
        let startup = Startup::open(&file, None, false).expect("a good file");
        assert!(!startup.store.is_lasting());
        assert_eq!(startup.store.history().count(), 1);
    }
}
