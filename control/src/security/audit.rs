//! Who did what: every change and every attempt, a line of JSON each.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Records that the API shows.
const SHOWN: usize = 1000;
/// Size at which a file is put away; one older one is kept.
const FILE_BYTES: u64 = 8 << 20;
const FILE: &str = "audit.log";
const OLD: &str = "audit.log.1";

/// Something that was done, or tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Record {
    /// When (RFC 3339, UTC).
    pub time: String,
    /// Who: a user, or `user/token`; `local` where nobody is asked, empty if nobody was known.
    pub user: String,
    /// From where.
    pub client: String,
    /// What was asked for.
    pub method: String,
    /// Of what, with its query.
    pub path: String,
    /// What came of it: the HTTP status.
    pub status: u16,
}

#[derive(Debug, Default)]
struct Book {
    shown: VecDeque<Record>,
    file: Option<(File, u64)>,
}

/// The log.
#[derive(Debug)]
pub struct Audit {
    directory: Option<PathBuf>,
    book: Mutex<Book>,
}

impl Audit {
    /// In this directory; in memory without one.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn open(directory: Option<&Path>) -> io::Result<Self> {
        let mut book = Book::default();
        if let Some(directory) = directory {
            for name in [OLD, FILE] {
                match std::fs::read_to_string(directory.join(name)) {
                    Ok(text) => {
                        let records = text.lines().filter_map(|x| serde_json::from_str(x).ok());
                        book.shown.extend(records);
                        let surplus = book.shown.len().saturating_sub(SHOWN);
                        book.shown.drain(..surplus);
                    }
                    Err(why) if why.kind() == io::ErrorKind::NotFound => {}
                    Err(why) => return Err(why),
                }
            }
            book.file = Some(append(directory)?);
        }
        Ok(Self {
            directory: directory.map(Path::to_owned),
            book: Mutex::new(book),
        })
    }

    /// Writes a record down.
    pub fn write(&self, record: Record) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.write_line(&mut book, &record) {
            tracing::error!(%error, ?record, "the audit log cannot be written");
        }
        if book.shown.len() == SHOWN {
            book.shown.pop_front();
        }
        book.shown.push_back(record);
    }

    fn write_line(&self, book: &mut Book, record: &Record) -> io::Result<()> {
        let (Some(directory), Some((file, size))) = (&self.directory, &mut book.file) else {
            return Ok(());
        };
        let line = format!("{}\n", serde_json::to_string(record).unwrap_or_default());
        file.write_all(line.as_bytes())?;
        *size += line.len() as u64;
        if *size > FILE_BYTES {
            std::fs::rename(directory.join(FILE), directory.join(OLD))?;
            book.file = Some(append(directory)?);
        }
        Ok(())
    }

    /// The latest, latest first.
    pub fn latest(&self, limit: usize) -> Vec<Record> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.shown.iter().rev().take(limit).cloned().collect()
    }
}

fn append(directory: &Path) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    let file = options
        .create(true)
        .append(true)
        .mode(0o600)
        .open(directory.join(FILE))?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_outlives_the_process_and_is_bounded() {
        let place = tempfile::tempdir().expect("a directory");
        let record = |n: usize| Record {
            time: String::new(),
            user: "ann".to_owned(),
            client: "192.0.2.1".to_owned(),
            method: "PUT".to_owned(),
            path: format!("/{n}{}", "x".repeat(20_000)),
            status: 200,
        };
        let audit = Audit::open(Some(place.path())).expect("room");
        for n in 0..1200 {
            audit.write(record(n));
        }
        for audit in [audit, Audit::open(Some(place.path())).expect("it is there")] {
            let latest = audit.latest(2);
            assert_eq!(latest, [record(1199), record(1198)]);
        }
        for file in [FILE, OLD] {
            let size = std::fs::metadata(place.path().join(file))
                .expect("it is there")
                .len();
            assert!(size < FILE_BYTES + 30_000, "{file}: {size}");
        }
    }
}
