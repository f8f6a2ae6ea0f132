//! Who did what: every change and every attempt, a line of JSON each.
//!
//! What those did who were let in, and what was refused, are in two books: whoever has nothing to show
//! fills the second one, and pushes nothing out of the first.

mod book;
mod search;

use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock;
use book::Book;
pub use search::Search;

/// Longest text in a record, in bytes. A longer one is cut off, and ends in `...`.
const MAX_TEXT: usize = 256;
const DONE: &str = "audit.log";
const REFUSED: &str = "refused.log";

/// Something that was done, or tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Record {
    /// Counts up, also over restarts.
    #[serde(default)]
    pub id: u64,
    /// When (RFC 3339, UTC).
    pub time: String,
    /// Who: a user, or `user/token`; `local` where nobody is asked, `SIGHUP` of the configuration file
    /// that was read again, `timer` of a commit that was given up because nobody confirmed it, empty if nobody
    /// was known.
    pub user: String,
    /// From where; empty of a signal and of what happened by itself.
    pub client: String,
    /// What was asked for; `RELOAD` of a signal, `REVERT` of a commit that nobody confirmed.
    pub method: String,
    /// Of what, with its query; no more than the first 256 bytes.
    pub path: String,
    /// What came of it: the HTTP status, also where the client was told 408 before that. What ended with 500
    /// may have been done all the same.
    pub status: u16,
    /// It was to change nothing: a check alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

impl Record {
    /// Of now.
    pub fn new(user: &str, client: String, method: &str, path: &str, status: u16) -> Self {
        Self {
            id: 0,
            time: clock::now(),
            user: cut(user),
            client,
            method: cut(method),
            path: cut(path),
            status,
            dry_run: false,
        }
    }
}

fn cut(text: &str) -> String {
    if text.len() <= MAX_TEXT {
        return text.to_owned();
    }
    let end = (0..=MAX_TEXT - 3)
        .rev()
        .find(|&end| text.is_char_boundary(end));
    format!("{}...", &text[..end.unwrap_or(0)])
}

#[derive(Debug)]
struct Books {
    last: u64,
    done: Book,
    refused: Book,
}

/// The log.
#[derive(Debug)]
pub struct Audit {
    books: Mutex<Books>,
}

impl Audit {
    /// In this directory; in memory without one.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn open(directory: Option<&Path>) -> io::Result<Self> {
        let open = |name| Book::open(directory.map(|place| place.join(name)).as_deref());
        let (mut done, refused) = (open(DONE)?, open(REFUSED)?);
        // Those of before there were numbers.
        let unnumbered = done.records_mut().filter(|record| record.id == 0);
        for (record, id) in unnumbered.zip(1..) {
            record.id = id;
        }
        let all = done.records().chain(refused.records());
        let last = all.map(|record| record.id).max().unwrap_or(0);
        let books = Books {
            last,
            done,
            refused,
        };
        Ok(Self {
            books: Mutex::new(books),
        })
    }

    /// Writes down what somebody did who was let in, or tried to.
    pub fn done(&self, mut record: Record) {
        let mut books = self.lock();
        record.id = books.next();
        books.done.write(record);
    }

    /// Writes down what was asked for by somebody who was not let in.
    pub fn refused(&self, mut record: Record) {
        let mut books = self.lock();
        record.id = books.next();
        books.refused.write(record);
    }

    /// Records that are looked for, so many at most, and whether there are more: the latest first, or the
    /// oldest if those [`after`](Search::after) one are wanted.
    pub fn find(&self, search: &Search, limit: usize) -> (Vec<Record>, bool) {
        let books = self.lock();
        let all = books.done.records().chain(books.refused.records());
        let mut found: Vec<&Record> = all.filter(|record| search.wants(record)).collect();
        found.sort_unstable_by_key(|record| record.id);
        if search.after.is_none() {
            found.reverse();
        }
        let more = found.len() > limit;
        (found.into_iter().take(limit).cloned().collect(), more)
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

#[cfg(test)]
mod tests;
