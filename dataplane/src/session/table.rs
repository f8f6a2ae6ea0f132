//! A worker's sessions of one address family.
//!
//! All memory is taken at start. Sessions lie in one array, what only the slow path needs in a
//! second, and the times at which they must be looked at in a third; the [`Index`] finds a session
//! by the tuple of either direction.

use arrayvec::ArrayVec;
use sluice_wire::{Family, Key, KeyHasher};
use zerocopy::FromZeros;

use super::cpu;
use super::flow::{Cold, Flow, Session};
use super::index::Index;
pub use super::refs::{Direction, FlowRef, SessionId};
use crate::io::{Memory, OutOfMemory};

mod lookup;

pub use lookup::Candidate;

/// Timeouts are cut to this (about 12 days), so that times can be told apart across their wrap.
pub const MAX_TIMEOUT: u32 = 1 << 30;
/// Due sessions that one call of [`Table::sweep`] reports at most.
pub const DUE: usize = 32;
/// Deadlines that are compared in one go.
const STRIDE: usize = 16;
/// End of the free list.
const NIL: u32 = u32::MAX;

/// Why a session could not be inserted; nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// No free session, or no free slot in the index.
    #[error("the session table is full")]
    Full,
    /// A flow with one of the two tuples exists, or the two are the same.
    #[error("the tuple belongs to another session")]
    Clash,
}

/// See the module's description.
pub struct Table<F: Family> {
    hasher: KeyHasher,
    index: Index,
    sessions: &'static mut [Session<F>],
    cold: &'static mut [Cold],
    /// When to look at the session, milliseconds; 0: there is none.
    deadlines: &'static mut [u32],
    /// How many statements of the session were made to another appliance; empty where there is none.
    versions: &'static mut [u32],
    /// Other appliances that have a copy, a bit each; empty where all have, or there is none.
    holders: &'static mut [u16],
    /// First free session that was used before; `Cold::extra` holds the next.
    free: u32,
    /// Sessions from here on were never used.
    fresh: u32,
    /// Where the sweep goes on.
    swept: usize,
}

impl<F: Family> std::fmt::Debug for Table<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("sessions", &self.len())
            .field("capacity", &self.capacity())
            .finish()
    }
}

impl<F: Family> Table<F> {
    /// A table for `capacity` sessions.
    ///
    /// # Errors
    /// [`OutOfMemory`]; also for more than 2^31 - 2 sessions, which references cannot tell apart.
    pub fn new(
        memory: &mut impl Memory,
        capacity: usize,
        hasher: KeyHasher,
    ) -> Result<Self, OutOfMemory> {
        if capacity >= (1 << 31) - 1 {
            return Err(OutOfMemory {
                what: "sessions",
                bytes: capacity.saturating_mul(size_of::<Session<F>>()),
            });
        }
        Ok(Self {
            hasher,
            index: Index::new(memory, "the session index", capacity * 2)?,
            sessions: memory.zeroed("sessions", capacity)?,
            cold: memory.zeroed("session details", capacity)?,
            deadlines: memory.zeroed("session deadlines", capacity)?,
            versions: &mut [],
            holders: &mut [],
            free: NIL,
            fresh: 0,
            swept: 0,
        })
    }

    /// Takes memory for the versions of sessions.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn keep_versions(&mut self, memory: &mut impl Memory) -> Result<(), OutOfMemory> {
        self.versions = memory.zeroed("session versions", self.capacity())?;
        Ok(())
    }

    /// How many statements of a session were made to another appliance, by whoever owned it.
    pub fn version(&self, id: SessionId) -> u32 {
        self.versions.get(id.0 as usize).copied().unwrap_or(0)
    }

    /// Sets the version of a session, if versions are kept.
    pub fn set_version(&mut self, id: SessionId, version: u32) {
        if let Some(at) = self.versions.get_mut(id.0 as usize) {
            *at = version;
        }
    }

    /// Takes memory for the holders of sessions.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn keep_holders(&mut self, memory: &mut impl Memory) -> Result<(), OutOfMemory> {
        self.holders = memory.zeroed("holders of sessions", self.capacity())?;
        Ok(())
    }

    /// The other appliances that have a copy of a session, a bit each; all where that is not kept.
    pub fn holders(&self, id: SessionId) -> u16 {
        let kept = self.holders.get(id.0 as usize).copied();
        kept.unwrap_or(u16::MAX)
    }

    /// Sets them, if they are kept.
    pub fn set_holders(&mut self, id: SessionId, holders: u16) {
        if let Some(at) = self.holders.get_mut(id.0 as usize) {
            *at = holders;
        }
    }

    /// The hash that all lookups of this key take.
    #[inline]
    pub fn hash(&self, key: &Key<F::Addrs>) -> u64 {
        self.hasher.hash::<F>(key)
    }

    /// Sessions held.
    pub fn len(&self) -> usize {
        self.index.len() / 2
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Most sessions that it can hold.
    pub fn capacity(&self) -> usize {
        self.sessions.len()
    }

    /// Memory taken, in bytes.
    pub fn bytes(&self) -> usize {
        self.index.bytes()
            + size_of_val(&*self.sessions)
            + size_of_val(&*self.cold)
            + size_of_val(&*self.deadlines)
            + size_of_val(&*self.versions)
            + size_of_val(&*self.holders)
    }

    /// Whether the flow's session has been without packets for `timeout` milliseconds. Reads the
    /// other flow only if this one is silent.
    #[inline(always)]
    pub fn is_idle(&self, flow: FlowRef, now: u32, timeout: u32) -> bool {
        let silent = |flow: FlowRef| {
            self.flow(flow)
                .is_none_or(|flow| now.wrapping_sub(flow.seen) >= timeout)
        };
        silent(flow) && silent(flow.reverse())
    }

    /// Whether a flow with this key exists.
    pub fn contains(&self, key: &Key<F::Addrs>) -> bool {
        self.lookup(key, self.hash(key)).is_some()
    }

    /// A flow; `None` only for a reference of another table.
    #[inline(always)]
    pub fn flow(&self, flow: FlowRef) -> Option<&Flow<F>> {
        let (session, direction) = flow.at();
        self.sessions.get(session)?.flows.get(direction)
    }

    /// The same, writable. Its key must not be changed: the index would no longer find it.
    #[inline(always)]
    pub fn flow_mut(&mut self, flow: FlowRef) -> Option<&mut Flow<F>> {
        let (session, direction) = flow.at();
        self.sessions.get_mut(session)?.flows.get_mut(direction)
    }

    /// A flow and the other one of its session, both writable but for their keys.
    #[inline(always)]
    pub fn pair_mut(&mut self, flow: FlowRef) -> Option<(&mut Flow<F>, &mut Flow<F>)> {
        let (session, direction) = flow.at();
        let [original, reply] = &mut self.sessions.get_mut(session)?.flows;
        Some(match direction {
            0 => (original, reply),
            _ => (reply, original),
        })
    }

    /// Both flows of a live session.
    #[inline]
    pub fn session(&self, id: SessionId) -> Option<&Session<F>> {
        self.is_live(id)
            .then(|| self.sessions.get(id.0 as usize))
            .flatten()
    }

    /// What the slow path needs of a live session.
    #[inline]
    pub fn cold(&self, id: SessionId) -> Option<&Cold> {
        self.is_live(id)
            .then(|| self.cold.get(id.0 as usize))
            .flatten()
    }

    /// The same, writable.
    #[inline]
    pub fn cold_mut(&mut self, id: SessionId) -> Option<&mut Cold> {
        self.is_live(id)
            .then(|| self.cold.get_mut(id.0 as usize))
            .flatten()
    }

    /// Whether the session exists.
    #[inline]
    pub fn is_live(&self, id: SessionId) -> bool {
        self.deadlines
            .get(id.0 as usize)
            .is_some_and(|&deadline| deadline != 0)
    }

    /// Opens a session that packets of both keys belong to, to be looked at in `timeout`
    /// milliseconds. Its flows leave as they arrive; the caller fills in the rest.
    ///
    /// # Errors
    /// [`InsertError`]; nothing has changed then.
    pub fn insert(
        &mut self,
        original: &Key<F::Addrs>,
        reply: &Key<F::Addrs>,
        now: u32,
        timeout: u32,
    ) -> Result<SessionId, InsertError> {
        let hashes = [self.hash(original), self.hash(reply)];
        self.index.prefetch(hashes[0]);
        self.index.prefetch(hashes[1]);
        if self.lookup(original, hashes[0]).is_some() || self.lookup(reply, hashes[1]).is_some() {
            return Err(InsertError::Clash);
        }
        self.insert_absent([original, reply], hashes, now, timeout)
    }

    /// The same for keys, original and reply, of which the caller has just looked up that no flow has
    /// them, with their hashes.
    ///
    /// # Errors
    /// [`InsertError`]; nothing has changed then.
    pub fn insert_absent(
        &mut self,
        [original, reply]: [&Key<F::Addrs>; 2],
        hashes: [u64; 2],
        now: u32,
        timeout: u32,
    ) -> Result<SessionId, InsertError> {
        debug_assert!(self.lookup(original, hashes[0]).is_none());
        debug_assert!(self.lookup(reply, hashes[1]).is_none());
        debug_assert_eq!(hashes, [self.hash(original), self.hash(reply)]);
        if let Some(next) = self.sessions.get(self.free as usize) {
            cpu::prefetch(next);
        }
        if original == reply {
            return Err(InsertError::Clash);
        }
        let id = if self.free != NIL {
            self.free
        } else if (self.fresh as usize) < self.sessions.len() {
            self.fresh
        } else {
            return Err(InsertError::Full);
        };
        let full = |_| InsertError::Full;
        self.index.insert(hashes[0], id << 1).map_err(full)?;
        if let Err(error) = self.index.insert(hashes[1], id << 1 | 1) {
            self.index.remove(hashes[0], id << 1);
            return Err(full(error));
        }
        let at = id as usize;
        if self.free != NIL {
            self.free = self.cold[at].extra;
        } else {
            self.fresh += 1;
        }
        let mut flows = [Flow::new(original), Flow::new(reply)];
        flows[0].seen = now;
        flows[1].seen = now;
        self.sessions[at].flows = flows;
        self.cold[at] = Cold {
            created: now,
            ..Cold::default()
        };
        self.deadlines[at] = deadline(now, timeout);
        self.set_version(SessionId(id), 0);
        self.set_holders(SessionId(id), 0);
        Ok(SessionId(id))
    }

    /// Sessions that there were at the same time at most: ids are below this.
    pub fn high_water(&self) -> usize {
        self.fresh as usize
    }

    /// Asks for a session's memory, before it is looked at.
    #[inline]
    pub fn prefetch_session(&self, id: SessionId) {
        if let Some(session) = self.sessions.get(id.0 as usize) {
            cpu::prefetch(session);
        }
    }

    /// Asks for the buckets that hold a session, before it is removed.
    #[inline]
    pub fn prefetch_buckets(&self, id: SessionId) {
        if let Some(session) = self.sessions.get(id.0 as usize) {
            for flow in &session.flows {
                self.index.prefetch(self.hash(&flow.key()));
            }
        }
    }

    /// Ends a session and gives what it was; `None` if there is none.
    pub fn remove(&mut self, id: SessionId) -> Option<(Session<F>, Cold)> {
        let (session, cold) = (*self.session(id)?, *self.cold(id)?);
        for (flow, direction) in session.flows.iter().zip(0..) {
            let found = self
                .index
                .remove(self.hash(&flow.key()), id.0 << 1 | direction);
            debug_assert!(found, "the key of a live flow was changed");
        }
        let at = id.0 as usize;
        self.sessions[at] = Session::new_zeroed();
        self.cold[at].extra = self.free;
        self.free = id.0;
        self.deadlines[at] = 0;
        Some((session, cold))
    }

    /// Has the session looked at in `timeout` milliseconds, counted from `now`.
    #[inline]
    pub fn set_deadline(&mut self, id: SessionId, now: u32, timeout: u32) {
        if let Some(at) = self.deadlines.get_mut(id.0 as usize)
            && *at != 0
        {
            *at = deadline(now, timeout);
        }
    }

    /// Goes on through the next `budget` deadlines (rounded up to a few) and reports sessions whose
    /// deadline has passed; stops early when `due` is full. Returns how many deadlines it passed.
    ///
    /// A session is reported in every pass until it is removed or its deadline moved.
    pub fn sweep(&mut self, now: u32, budget: usize, due: &mut ArrayVec<SessionId, DUE>) -> usize {
        let used = &self.deadlines[..self.fresh as usize];
        let (mut passed, mut left) = (0, budget.min(used.len()).div_ceil(STRIDE));
        while left > 0 && due.remaining_capacity() >= STRIDE {
            left -= 1;
            if self.swept >= used.len() {
                self.swept = 0;
            }
            let end = (self.swept + STRIDE).min(used.len());
            let stride = &used[self.swept..end];
            passed += stride.len();
            if stride.iter().fold(false, |any, &at| any | is_due(at, now)) {
                let ids = (self.swept as u32..).map(SessionId);
                due.extend(
                    ids.zip(stride)
                        .filter(|&(_, &at)| is_due(at, now))
                        .map(|(id, _)| id),
                );
            }
            self.swept = end;
        }
        passed
    }

    /// Shows live sessions to `visit`, from number `from` on, at most `budget` numbers. Where to go
    /// on, or `None` at the end. A session that lives through all calls is shown exactly once.
    pub fn scan(
        &self,
        from: u32,
        budget: u32,
        mut visit: impl FnMut(SessionId, &Session<F>, &Cold),
    ) -> Option<u32> {
        let end = from.saturating_add(budget).min(self.fresh);
        for id in (from..end).map(SessionId) {
            if let (Some(session), Some(cold)) = (self.session(id), self.cold(id)) {
                visit(id, session, cold);
            }
        }
        (end < self.fresh).then_some(end)
    }
}

/// A deadline; never 0, which means none.
#[inline]
fn deadline(now: u32, timeout: u32) -> u32 {
    now.wrapping_add(timeout.min(MAX_TIMEOUT)).max(1)
}

#[inline(always)]
fn is_due(deadline: u32, now: u32) -> bool {
    (deadline != 0) & (now.wrapping_sub(deadline).cast_signed() >= 0)
}

#[cfg(test)]
mod tests;
