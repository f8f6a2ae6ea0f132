//! Sessions per real server, counted by every worker and seen by all.
//!
//! Each worker writes counts of its own, on cache lines that nobody else writes, and reads the
//! others' every few milliseconds. No line goes back and forth between workers per session.
//!
//! Servers with a limit are the exception. A worker that wants to give one a session counts it
//! first, and then looks at what all others have counted, with a fence between the two, and so do
//! they. Of workers that take the last place at the same time, the one whose fence is last sees all
//! the others' counts: so the limit is never exceeded, without a lock or a counter that is shared.
//! It may be that each sees the other, both step back, and the place stays free for that moment.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
    fence,
};

use zerocopy::FromZeros;

use super::turns::Member;
use crate::io::{Memory, OutOfMemory};
use crate::snapshot::{ServerId, SessionLimits};

/// How old the view of other workers' sessions may grow, milliseconds.
pub const REFRESH_MS: u32 = 2;

/// One worker's count of one server. Written by that worker alone.
#[derive(FromZeros)]
#[repr(C)]
struct Count {
    total: AtomicU64,
    open: AtomicU32,
    /// A second (its last twelve bits) and the sessions opened within it (twenty bits); kept for
    /// servers that have a limit per second.
    recent: AtomicU32,
}

/// Bits of [`Count::recent`] that count.
const RECENT_BITS: u32 = 20;

/// What a server may take at most; 0 for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromZeros)]
#[repr(C)]
pub struct Cap {
    open: u32,
    per_second: u32,
}

impl From<SessionLimits> for Cap {
    fn from(limits: SessionLimits) -> Self {
        Self {
            open: limits.open.map_or(0, |most| most.get()),
            per_second: limits.per_second.map_or(0, |most| most.get()),
        }
    }
}

impl Cap {
    fn is_none(self) -> bool {
        self == Self::default()
    }

    fn admits(self, open: u32, recent: u32) -> bool {
        (self.open == 0 || open <= self.open) && (self.per_second == 0 || recent <= self.per_second)
    }
}

/// What [`Count::recent`] has in its upper bits in this second.
fn second(now: u32) -> u32 {
    (now / 1000) << RECENT_BITS
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
        self.enter(server);
        self.confirm(server);
    }

    /// The half of [`Self::opened`] that takes a place.
    #[inline]
    fn enter(&mut self, server: ServerId) {
        if let Some(count) = self.0.count(server) {
            // Load and store, not read-modify-write: nobody else writes.
            count
                .open
                .store(count.open.load(Relaxed).saturating_add(1), Relaxed);
        }
    }

    /// The other half.
    #[inline]
    fn confirm(&mut self, server: ServerId) {
        if let Some(count) = self.0.count(server) {
            count
                .total
                .store(count.total.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }

    /// Counts one more, or one less, as opened in this second.
    fn count_recent(&mut self, server: ServerId, now: u32, more: bool) {
        if let Some(count) = self.0.count(server) {
            let recent = self.0.recent(server, now);
            let recent = if more {
                (recent + 1).min((1 << RECENT_BITS) - 1)
            } else {
                recent.saturating_sub(1)
            };
            count.recent.store(second(now) | recent, Relaxed);
        }
    }

    /// A session to `server` has ended, or is over.
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

    /// Sessions that its worker opened within the second of `now`.
    fn recent(&self, server: ServerId, now: u32) -> u32 {
        let word = self
            .count(server)
            .map_or(0, |count| count.recent.load(Relaxed));
        if word >> RECENT_BITS == second(now) >> RECENT_BITS {
            word & ((1 << RECENT_BITS) - 1)
        } else {
            0
        }
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
    /// By server.
    caps: &'static mut [Cap],
    /// By server: open sessions at other workers when last looked.
    others: &'static mut [u32],
    /// A place that was taken, at this time, for a session that is not open yet.
    reserved: Option<(ServerId, u32)>,
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
        let servers = own.0.lines.len() * 4;
        let others = memory.zeroed("sessions at other workers", servers)?;
        Ok(Self {
            own,
            boards: boards.into_iter().collect(),
            caps: memory.zeroed("limits of real servers", servers)?,
            others,
            reserved: None,
        })
    }

    /// Sets what servers 0, 1, ... may take; those after the last have no limit.
    pub fn set_caps(&mut self, caps: impl IntoIterator<Item = Cap>) {
        let caps = caps.into_iter().chain(std::iter::repeat(Cap::default()));
        for (known, cap) in self.caps.iter_mut().zip(caps) {
            *known = cap;
        }
    }

    fn cap(&self, server: ServerId) -> Cap {
        let cap = self.caps.get(usize::from(server.0));
        cap.copied().unwrap_or_default()
    }

    /// Whether a session more is within the server's limits, by what was last seen of the others.
    pub fn has_room(&self, server: ServerId, now: u32) -> bool {
        let cap = self.cap(server);
        cap.is_none() || cap.admits(self.open(server) + 1, self.own.0.recent(server, now) + 1)
    }

    /// Takes a place at `server` for a session that is about to be opened; false if it has none.
    /// The place is given back by [`Self::withdraw`] unless [`Self::opened`] comes first.
    pub fn reserve(&mut self, server: ServerId, now: u32) -> bool {
        self.withdraw();
        let cap = self.cap(server);
        if cap.is_none() {
            return true;
        }
        self.own.enter(server);
        if cap.per_second != 0 {
            self.own.count_recent(server, now, true);
        }
        self.reserved = Some((server, now));
        // See above: the count is out before the others' are read.
        fence(SeqCst);
        self.refresh(server);
        let others = self.boards.iter().map(|board| match cap.per_second {
            0 => 0,
            _ => board.recent(server, now),
        });
        let recent = self.own.0.recent(server, now) + others.sum::<u32>();
        let fits = cap.admits(self.open(server), recent);
        if !fits {
            self.withdraw();
        }
        fits
    }

    /// Gives back the place that was reserved last, if no session took it.
    #[inline]
    pub fn withdraw(&mut self) {
        if let Some((server, then)) = self.reserved.take() {
            self.own.closed(server);
            if self.cap(server).per_second != 0 {
                self.own.count_recent(server, then, false);
            }
        }
    }

    /// A session to `server` was opened here.
    #[inline]
    pub fn opened(&mut self, server: ServerId) {
        match self.reserved.take_if(|(reserved, _)| *reserved == server) {
            Some(_) => self.own.confirm(server),
            None => self.own.opened(server),
        }
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

    /// The same for all of these.
    pub fn refresh_all(&mut self, members: &[Member]) {
        for member in members {
            self.refresh(member.server);
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
