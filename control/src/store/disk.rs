//! A directory of small files, step by step: what a power cut can come between is a call of its own.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One directory. Names have no slashes.
pub trait Disk: Send {
    /// The names of its files, in order.
    ///
    /// # Errors
    /// As the system says; so for all that follow.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A file's content.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no such file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Writes a file anew. After a power cut there may be any part of it, until it is synced.
    ///
    /// # Errors
    /// As the system says.
    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()>;
    /// Makes a file's content outlive a power cut.
    ///
    /// # Errors
    /// As the system says.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Puts `from` in place of `to`, all at once.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Takes a file out; one that is not there is fine.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Makes names that were added, replaced and taken out outlive a power cut.
    ///
    /// # Errors
    /// As the system says.
    fn sync_names(&mut self) -> io::Result<()>;
    /// Whether anything outlives the process.
    fn is_lasting(&self) -> bool {
        true
    }
}

/// Replaces a file such that after a power cut there is the old or the new one, whole.
///
/// # Errors
/// As the system says; the old one is there then, or the new one, whole.
pub fn replace(disk: &mut dyn Disk, name: &str, content: &[u8]) -> io::Result<()> {
    let new = format!("{name}{UNFINISHED}");
    disk.write(&new, content)?;
    disk.sync(&new)?;
    disk.rename(&new, name)?;
    disk.sync_names()
}

/// What names of files end with that were not finished.
pub const UNFINISHED: &str = ".new";

/// A directory of the file system, of this process alone. Readable by its owner only. Clones are the
/// same directory.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    /// Held locked while this lives.
    _lock: Arc<File>,
}

/// The file that keeps two processes out of one directory.
const LOCK: &str = "lock";

impl Directory {
    /// Opens a directory, or makes it.
    ///
    /// # Errors
    /// If it cannot be made, or another process has it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(path)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join(LOCK))?;
        lock.try_lock().map_err(|why| match why {
            fs::TryLockError::WouldBlock => {
                let text = "another process uses this state directory; give each one of its own";
                io::Error::new(io::ErrorKind::WouldBlock, text)
            }
            fs::TryLockError::Error(why) => why,
        })?;
        Ok(Self {
            path: path.to_owned(),
            _lock: Arc::new(lock),
        })
    }
}

impl Directory {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string()
                && name != LOCK
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path.join(name));
        let mut file = file?;
        // A file that was there keeps its mode.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(content)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        File::open(self.path.join(name))?.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn sync_names(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// For a process without a state directory: nothing outlives it.
#[derive(Debug, Default)]
pub struct Memory {
    files: BTreeMap<String, Vec<u8>>,
}

impl Disk for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let content = self.files.get(name).cloned();
        content.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.files.insert(name.to_owned(), content.to_vec());
        Ok(())
    }

    fn sync(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let content = self.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.files.remove(name);
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn is_lasting(&self) -> bool {
        false
    }
}
