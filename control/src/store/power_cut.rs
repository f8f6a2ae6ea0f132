//! A disk whose power is cut between any two steps, and what may be on it afterwards.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use super::Disk;

#[derive(Debug, Clone, Default)]
struct File {
    content: Vec<u8>,
    /// As it would be found after a power cut.
    synced: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
struct State {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    /// As they would be found after a power cut.
    synced_names: BTreeMap<String, usize>,
    /// Steps until the power is cut.
    steps: usize,
}

/// How much of what was not synced a power cut leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Luck {
    /// None of it.
    None,
    /// New names, and half of each new content: what file systems do that write names first.
    Names,
    /// Everything.
    All,
}

/// Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct PowerCut(Arc<Mutex<State>>);

impl PowerCut {
    /// The power is cut before so many more changes are made.
    pub(crate) fn after(&self, steps: usize) {
        self.0.lock().expect("no panics").steps = steps;
    }

    /// The disk that is found when the power is back.
    pub(crate) fn restart(&self, luck: Luck) -> Self {
        let mut state = self.0.lock().expect("no panics").clone();
        state.steps = usize::MAX;
        for file in &mut state.files {
            file.content = match luck {
                Luck::None => file.synced.clone(),
                Luck::Names if file.content != file.synced => {
                    file.content[..file.content.len() / 2].to_vec()
                }
                _ => file.content.clone(),
            };
            file.synced = file.content.clone();
        }
        if let Luck::None = luck {
            state.names = state.synced_names.clone();
        }
        state.synced_names = state.names.clone();
        Self(Arc::new(Mutex::new(state)))
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.lock().expect("no panics");
        if state.steps == 0 {
            return Err(io::Error::other("no power"));
        }
        state.steps -= 1;
        change(&mut state)
    }
}

impl Disk for PowerCut {
    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.0.lock().expect("no panics");
        Ok(state.names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let state = self.0.lock().expect("no panics");
        let file = state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(state.files[*file].content.clone())
    }

    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.change(|state| {
            let next = state.files.len();
            let file = *state.names.entry(name.to_owned()).or_insert(next);
            if file == next {
                state.files.push(File::default());
            }
            state.files[file].content = content.to_vec();
            Ok(())
        })
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.change(|state| {
            let file = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
            state.files[file].synced = state.files[file].content.clone();
            Ok(())
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.change(|state| {
            let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.change(|state| {
            state.names.remove(name);
            Ok(())
        })
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.change(|state| {
            state.synced_names = state.names.clone();
            Ok(())
        })
    }
}
