//! Sessions per real server, counted by every worker and seen by all.
//!
//! Each worker writes counts of its own, on cache lines that nobody else writes, and reads the
//! others' every few milliseconds. No line goes back and forth between workers per session.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use zerocopy::FromZeros;

use crate::io::{Memory, OutOfMemory};
use crate::snapshot::ServerId;

/// How old the view of other workers' sessions may grow, milliseconds.
pub const REFRESH_MS: u32 = 2;

/// One worker's count of one server. Written by that worker alone.
#[derive(FromZeros)]
#[repr(C)]
struct Count {
    total: AtomicU64,
    open: AtomicU32,
    pad: u32,
}

/// A cache line of counts.
#[derive(FromZeros)]
#[repr(C, align(64))]
struct Line([Count; 4]);

/// The writing end of a worker's counts. There is one only.
pub struct Tally(Board);

/// The reading end of a worker's counts, for other workers and for control.
#[derive(Clone, Copy)]
pub struct Board {
    lines: &'static [Line],
}

/// Sessions of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sessions {
    /// Open now.
    pub open: u32,
    /// Opened since start.
    pub total: u64,
}

impl Tally {
    /// Counts for server ids below `servers`, from the worker's own memory.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn new(memory: &mut impl Memory, servers: usize) -> Result<Self, OutOfMemory> {
        let lines = memory.zeroed("sessions per real server", servers.div_ceil(4))?;
        Ok(Self(Board { lines }))
    }

    /// What others read.
    pub fn board(&self) -> Board {
        self.0
    }

    /// A session to `server` was opened.
    #[inline]
    pub fn opened(&mut self, server: ServerId) {
        if let Some(count) = self.0.count(server) {
            // Load and store, not read-modify-write: nobody else writes.
            count
                .open
                .store(count.open.load(Relaxed).saturating_add(1), Relaxed);
            count
                .total
                .store(count.total.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }

    /// A session to `server` has ended.
    #[inline]
    pub fn closed(&mut self, server: ServerId) {
        if let Some(count) = self.0.count(server) {
            count
                .open
                .store(count.open.load(Relaxed).saturating_sub(1), Relaxed);
        }
    }
}

impl Board {
    /// What its worker has counted for `server`.
    #[inline]
    pub fn get(&self, server: ServerId) -> Sessions {
        self.count(server)
            .map_or(Sessions::default(), |count| Sessions {
                open: count.open.load(Relaxed),
                total: count.total.load(Relaxed),
            })
    }

    #[inline]
    fn count(&self, server: ServerId) -> Option<&'static Count> {
        let at = usize::from(server.0);
        self.lines.get(at / 4)?.0.get(at % 4)
    }
}

/// All workers' sessions as one worker sees them.
pub struct Loads {
    own: Tally,
    boards: Box<[Board]>,
    /// By server: open sessions at other workers when last looked.
    others: &'static mut [u32],
}

impl Loads {
    /// `boards` are those of the other workers. Takes memory.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn new(
        memory: &mut impl Memory,
        own: Tally,
        boards: impl IntoIterator<Item = Board>,
    ) -> Result<Self, OutOfMemory> {
        let others = memory.zeroed("sessions at other workers", own.0.lines.len() * 4)?;
        Ok(Self {
            own,
            boards: boards.into_iter().collect(),
            others,
        })
    }

    /// A session to `server` was opened here.
    #[inline]
    pub fn opened(&mut self, server: ServerId) {
        self.own.opened(server);
    }

    /// A session to `server` has ended here.
    #[inline]
    pub fn closed(&mut self, server: ServerId) {
        self.own.closed(server);
    }

    /// Looks at what other workers have of `server`.
    pub fn refresh(&mut self, server: ServerId) {
        if let Some(sum) = self.others.get_mut(usize::from(server.0)) {
            *sum = self.boards.iter().fold(0, |sum: u32, board| {
                sum.saturating_add(board.get(server).open)
            });
        }
    }

    /// Open sessions of all workers: our own now, the others' when last looked.
    #[inline]
    pub fn open(&self, server: ServerId) -> u32 {
        let others = self.others.get(usize::from(server.0)).copied();
        self.own
            .0
            .get(server)
            .open
            .saturating_add(others.unwrap_or(0))
    }
}
