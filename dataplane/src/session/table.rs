//! A worker's sessions of one address family.
//!
//! All memory is taken at start. Sessions lie in one array, what only the slow path needs in a
//! second, and the times at which they must be looked at in a third; the [`Index`] finds a session
//! by the tuple of either direction.
//!
//! A burst is looked up in stages, each over all packets, so that their cache misses overlap: first
//! the buckets, then the sessions. The stages give [`Candidate`]s, which are guesses; a guess becomes
//! a [`FlowRef`] by [`Table::confirm`], right before its packet is processed. So a session that an
//! earlier packet of the burst opened or ended is seen as it is, and not as it was.

use std::num::NonZeroU32;

use arrayvec::ArrayVec;
use sluice_wire::proto::TCP;
use sluice_wire::{Family, Key, KeyHasher};
use zerocopy::FromZeros;

use super::cpu;
use super::flow::{Cold, Flow, Session};
use super::index::{Index, Probe};
use crate::io::{Memory, OutOfMemory};

/// Most packets that are looked up at once.
pub const BURST: usize = 64;
/// Timeouts are cut to this (about 12 days), so that times can be told apart across their wrap.
pub const MAX_TIMEOUT: u32 = 1 << 30;
/// Due sessions that one call of [`Table::sweep`] reports at most.
pub const DUE: usize = 32;
/// Deadlines that are compared in one go.
const STRIDE: usize = 16;
/// End of the free list.
const NIL: u32 = u32::MAX;

/// Which flow of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// The opener's.
    Original = 0,
    /// The other one.
    Reply = 1,
}

impl Direction {
    /// The other one.
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// A session of one table. Ids of ended sessions are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u32);

impl SessionId {
    /// One of its flows.
    #[inline]
    pub const fn flow(self, direction: Direction) -> FlowRef {
        FlowRef::new(self.0 << 1 | direction as u32)
    }
}

/// A flow of one table: session and direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowRef(NonZeroU32);

impl FlowRef {
    #[inline(always)]
    const fn new(reference: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(reference))
    }

    #[inline(always)]
    const fn reference(self) -> u32 {
        self.0.get() - 1
    }

    #[inline(always)]
    const fn at(self) -> (usize, usize) {
        let reference = self.reference() as usize;
        (reference >> 1, reference & 1)
    }

    /// Its session.
    #[inline]
    pub const fn session(self) -> SessionId {
        SessionId(self.reference() >> 1)
    }

    /// Its direction.
    #[inline]
    pub const fn direction(self) -> Direction {
        match self.reference() & 1 {
            0 => Direction::Original,
            _ => Direction::Reply,
        }
    }

    /// The other flow of the session.
    #[inline]
    #[must_use]
    pub const fn reverse(self) -> Self {
        Self::new(self.reference() ^ 1)
    }
}

/// What a burst lookup guesses for one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Candidate(Option<FlowRef>);

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
            free: NIL,
            fresh: 0,
            swept: 0,
        })
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
    }

    /// Asks for the bucket of a key. Worth it as soon as the hash is known, if other work comes
    /// before the lookup.
    #[inline(always)]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Looks a burst up, as far as guesses go, and fetches the sessions. The buckets should have been
    /// asked for ([`Self::prefetch_bucket`]) as soon as the hashes were known.
    ///
    /// Goes as far as the shortest of the three slices.
    #[inline]
    pub fn probe_burst(
        &self,
        keys: &[Key<F::Addrs>],
        hashes: &[u64],
        candidates: &mut [Candidate],
    ) {
        let bursts = keys.chunks(BURST).zip(hashes.chunks(BURST));
        for ((keys, hashes), candidates) in bursts.zip(candidates.chunks_mut(BURST)) {
            let mut away = 0_u64;
            let packets = keys.iter().zip(hashes).zip(&mut *candidates);
            for (i, ((key, &hash), candidate)) in packets.enumerate() {
                *candidate = match self.index.probe(hash) {
                    Probe::Hit(reference) => self.candidate(reference, key),
                    Probe::Miss => Candidate(None),
                    Probe::Away => {
                        away |= 1 << i;
                        Candidate(None)
                    }
                };
            }
            while away != 0 {
                let i = away.trailing_zeros() as usize;
                away &= away - 1;
                if let (Some(key), Some(&hash), Some(candidate)) =
                    (keys.get(i), hashes.get(i), candidates.get_mut(i))
                    && let Some(reference) = self.index.probe_away(hash)
                {
                    *candidate = self.candidate(reference, key);
                }
            }
        }
    }

    #[inline(always)]
    fn candidate(&self, reference: u32, key: &Key<F::Addrs>) -> Candidate {
        let flow = FlowRef::new(reference);
        if let Some(session) = self.sessions.get(flow.at().0) {
            // TCP looks at both flows, other protocols hardly ever.
            if key.proto == TCP {
                cpu::prefetch(session);
            } else if let Some(flow) = session.flows.get(flow.at().1) {
                cpu::prefetch(flow);
            }
        }
        Candidate(Some(flow))
    }

    /// The flow with this key, if there is one now, whatever has changed since the probe.
    #[inline(always)]
    pub fn confirm(&self, candidate: Candidate, key: &Key<F::Addrs>, hash: u64) -> Option<FlowRef> {
        if let Some(flow) = candidate.0
            && self.is(flow, key)
        {
            return Some(flow);
        }
        self.lookup(key, hash)
    }

    /// Looks up one key.
    #[inline]
    pub fn lookup(&self, key: &Key<F::Addrs>, hash: u64) -> Option<FlowRef> {
        self.index
            .find(hash, |reference| self.is(FlowRef::new(reference), key))
            .map(FlowRef::new)
    }

    /// Looks a burst up, all stages, for callers that change nothing in between.
    pub fn lookup_burst(
        &self,
        keys: &[Key<F::Addrs>],
        hashes: &[u64],
        out: &mut [Option<FlowRef>],
    ) {
        let mut candidates = [Candidate(None); BURST];
        let keys = keys.chunks(BURST);
        let hashes = hashes.chunks(BURST);
        for ((keys, hashes), out) in keys.zip(hashes).zip(out.chunks_mut(BURST)) {
            for &hash in hashes {
                self.prefetch_bucket(hash);
            }
            self.probe_burst(keys, hashes, &mut candidates);
            let packets = keys.iter().zip(hashes).zip(&candidates).zip(out);
            for (((key, &hash), &candidate), out) in packets {
                *out = self.confirm(candidate, key, hash);
            }
        }
    }

    /// Whether a flow with this key exists.
    pub fn contains(&self, key: &Key<F::Addrs>) -> bool {
        self.lookup(key, self.hash(key)).is_some()
    }

    #[inline(always)]
    fn is(&self, flow: FlowRef, key: &Key<F::Addrs>) -> bool {
        // Flows of free sessions are all zero, so a stale reference meets protocol 0 between zero
        // addresses, which no packet has that gets this far.
        self.flow(flow).is_some_and(|flow| flow.matches(key))
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
        if original == reply
            || self.lookup(original, hashes[0]).is_some()
            || self.lookup(reply, hashes[1]).is_some()
        {
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
        Ok(SessionId(id))
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
    /// deadline has passed; stops early when `due` is full.
    ///
    /// A session is reported in every pass until it is removed or its deadline moved.
    pub fn sweep(&mut self, now: u32, budget: usize, due: &mut ArrayVec<SessionId, DUE>) {
        let used = &self.deadlines[..self.fresh as usize];
        let mut left = budget.min(used.len()).div_ceil(STRIDE);
        while left > 0 && due.remaining_capacity() >= STRIDE {
            left -= 1;
            if self.swept >= used.len() {
                self.swept = 0;
            }
            let end = (self.swept + STRIDE).min(used.len());
            let stride = &used[self.swept..end];
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
