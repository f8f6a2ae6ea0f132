//! Records in the order in which they were written: the latest in memory, more in a file, and older ones
//! in one file that was put away.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Record;

/// Records in memory.
pub(super) const SHOWN: usize = 10_000;
/// Size at which a file is put away; one older one is kept.
pub(super) const FILE_BYTES: u64 = 8 << 20;

#[derive(Debug)]
pub(super) struct Book {
    shown: VecDeque<Record>,
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    path: PathBuf,
    old: PathBuf,
    file: File,
    size: u64,
}

impl Book {
    /// In this file, with what it has; in memory without one.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let mut book = Self {
            shown: VecDeque::new(),
            place: None,
        };
        let Some(path) = path else { return Ok(book) };
        let mut old = path.as_os_str().to_owned();
        old.push(".1");
        let old = PathBuf::from(old);
        let mut whole = true;
        for path in [old.as_path(), path] {
            let content = match fs::read(path) {
                Ok(content) => content,
                Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
                Err(why) => return Err(why),
            };
            for line in content.split(|&byte| byte == b'\n') {
                // A line may be torn, by a full disk or a power cut.
                if let Ok(record) = serde_json::from_slice(line) {
                    book.show(record);
                }
            }
            whole = content.last().is_none_or(|&last| last == b'\n');
        }
        let (mut file, mut size) = append(path)?;
        if !whole && size > 0 {
            file.write_all(b"\n")?;
            size += 1;
        }
        let path = path.to_owned();
        book.place = Some(Place {
            path,
            old,
            file,
            size,
        });
        Ok(book)
    }

    /// Oldest first.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.shown.iter()
    }

    pub(super) fn records_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.shown.iter_mut()
    }

    pub(super) fn write(&mut self, record: Record) {
        if let Some(place) = &mut self.place
            && let Err(error) = place.write(&record)
        {
            tracing::error!(%error, ?record, "the audit log cannot be written");
        }
        self.show(record);
    }

    fn show(&mut self, record: Record) {
        if self.shown.len() == SHOWN {
            self.shown.pop_front();
        }
        self.shown.push_back(record);
    }
}

impl Place {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        let line = format!("{}\n", serde_json::to_string(record).unwrap_or_default());
        self.file.write_all(line.as_bytes())?;
        self.size += line.len() as u64;
        if self.size > FILE_BYTES {
            fs::rename(&self.path, &self.old)?;
            (self.file, self.size) = append(&self.path)?;
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}
