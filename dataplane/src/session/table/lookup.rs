//! Finding flows by key: in bursts, by stages whose cache misses overlap, or one at a time.
//!
//! First the buckets are fetched, then the sessions that the tags point to. What the stages give are
//! [`Candidate`]s, which are guesses; a guess becomes a [`FlowRef`] by [`Table::confirm`], right
//! before its packet is processed. So a session that an earlier packet of the burst opened or ended
//! is seen as it is, and not as it was.

use sluice_wire::proto::TCP;
use sluice_wire::{Family, Key};

use super::Table;
use crate::session::cpu;
use crate::session::flow::Flow;
use crate::session::index::Probe;
use crate::session::refs::{Direction, FlowRef};

/// Keys that one stage of a burst lookup works on before the next stage has its turn.
const GROUP: usize = 8;

/// What a burst lookup guesses for one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate(u32);

impl Candidate {
    /// No flow. A reference that no table has, so that following it finds nothing.
    const NONE: Self = Self(u32::MAX);
}

impl Default for Candidate {
    fn default() -> Self {
        Self::NONE
    }
}

impl<F: Family> Table<F> {
    /// Asks for the bucket of a key. Worth it as soon as the hash is known, if other work comes
    /// before the lookup.
    #[inline(always)]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Guesses the flow of a key, and fetches it. The bucket should have been asked for
    /// ([`Self::prefetch_bucket`]) some time before. `None`: it takes a second look, at what is being
    /// fetched now ([`Self::probe_away`]).
    #[inline(always)]
    pub fn probe(&self, key: &Key<F::Addrs>, hash: u64) -> Option<Candidate> {
        match self.index.probe(hash) {
            Probe::Hit(reference) => Some(self.candidate(reference, key)),
            Probe::Miss => Some(Candidate::NONE),
            Probe::Away => None,
        }
    }

    /// The second look.
    #[inline]
    pub fn probe_away(&self, key: &Key<F::Addrs>, hash: u64) -> Candidate {
        match self.index.probe_away(hash) {
            Some(reference) => self.candidate(reference, key),
            None => Candidate::NONE,
        }
    }

    #[inline(always)]
    fn candidate(&self, reference: u32, key: &Key<F::Addrs>) -> Candidate {
        let flows = self.sessions.as_ptr().cast::<Flow<F>>();
        cpu::prefetch_nth(flows, reference as usize);
        // TCP looks at both flows, other protocols hardly ever.
        if key.proto == TCP {
            cpu::prefetch_nth(flows, reference as usize ^ 1);
        }
        Candidate(reference)
    }

    /// The flow with this key, if there is one now, whatever has changed since the probe.
    #[inline(always)]
    pub fn confirm(&self, candidate: Candidate, key: &Key<F::Addrs>, hash: u64) -> Option<FlowRef> {
        let flow = FlowRef::new(candidate.0);
        if self.is(flow, key) {
            return Some(flow);
        }
        self.lookup(key, hash)
    }

    /// The flow that was guessed, if the guess still holds. `None` says nothing: ask [`Self::confirm`].
    #[inline(always)]
    pub fn guess(&self, candidate: Candidate, key: &Key<F::Addrs>) -> Option<(FlowRef, &Flow<F>)> {
        let at = FlowRef::new(candidate.0);
        let flow = self.flow(at).filter(|flow| flow.matches(key));
        flow.map(|flow| (at, flow))
    }

    /// The direction of the flow that was guessed and both flows of its session, writable but for
    /// their keys, if the guess still holds. `None` says nothing: ask [`Self::confirm`].
    #[inline(always)]
    pub fn guessed(
        &mut self,
        candidate: Candidate,
        key: &Key<F::Addrs>,
    ) -> Option<(Direction, &mut [Flow<F>; 2])> {
        let (session, direction) = ((candidate.0 >> 1) as usize, Direction::of(candidate.0));
        let flows = &mut self.sessions.get_mut(session)?.flows;
        flows[direction as usize]
            .matches(key)
            .then_some((direction, flows))
    }

    /// Looks up one key.
    #[inline]
    pub fn lookup(&self, key: &Key<F::Addrs>, hash: u64) -> Option<FlowRef> {
        self.index
            .find(hash, |reference| self.is(FlowRef::new(reference), key))
            .map(FlowRef::new)
    }

    /// Looks keys up, for callers that change nothing in between. Goes as far as the shorter of the
    /// two slices.
    ///
    /// While one group of keys is hashed and its buckets asked for, those before it are in later
    /// stages, so that memory has something to do all the time.
    pub fn lookup_burst(&self, keys: &[Key<F::Addrs>], out: &mut [Option<FlowRef>]) {
        let len = keys.len().min(out.len());
        let steps = len.div_ceil(GROUP) + STAGES - 1;
        let (mut keys, mut out) = (keys[..len].chunks(GROUP), out[..len].chunks_mut(GROUP));
        let mut groups: [Group<'_, F>; STAGES] = std::array::from_fn(|_| Group::default());
        for step in 0..steps {
            let before = |stages: usize| (step + STAGES - stages) % STAGES;
            groups[before(0)].hash(self, keys.next().unwrap_or_default());
            groups[before(1)].probe(self);
            groups[before(2)].probe_away(self);
            if step >= STAGES - 1
                && let Some(out) = out.next()
            {
                groups[before(3)].confirm(self, out);
            }
        }
    }

    #[inline(always)]
    fn is(&self, flow: FlowRef, key: &Key<F::Addrs>) -> bool {
        // Flows of free sessions are all zero, so a stale reference meets protocol 0 between zero
        // addresses, which no packet has that gets this far.
        self.flow(flow).is_some_and(|flow| flow.matches(key))
    }
}

/// Hash, look into the first bucket, look into the second, compare.
const STAGES: usize = 4;

/// Keys that go through the stages together.
struct Group<'a, F: Family> {
    keys: &'a [Key<F::Addrs>],
    hashes: [u64; GROUP],
    candidates: [Candidate; GROUP],
    /// Bit i: key i takes a second look.
    away: u32,
}

impl<F: Family> Default for Group<'_, F> {
    fn default() -> Self {
        Self {
            keys: &[],
            hashes: [0; GROUP],
            candidates: [Candidate::NONE; GROUP],
            away: 0,
        }
    }
}

impl<'a, F: Family> Group<'a, F> {
    #[inline(always)]
    fn hash(&mut self, table: &Table<F>, keys: &'a [Key<F::Addrs>]) {
        self.keys = keys;
        for (key, hash) in keys.iter().zip(&mut self.hashes) {
            *hash = table.hash(key);
            table.prefetch_bucket(*hash);
        }
    }

    #[inline(always)]
    fn probe(&mut self, table: &Table<F>) {
        let guesses = self.hashes.iter().zip(&mut self.candidates);
        for (i, (key, (&hash, candidate))) in self.keys.iter().zip(guesses).enumerate() {
            match table.probe(key, hash) {
                Some(guess) => *candidate = guess,
                None => self.away |= 1 << i,
            }
        }
    }

    #[inline(always)]
    fn probe_away(&mut self, table: &Table<F>) {
        while self.away != 0 {
            let i = self.away.trailing_zeros() as usize % GROUP;
            self.away &= self.away - 1;
            if let Some(key) = self.keys.get(i) {
                self.candidates[i] = table.probe_away(key, self.hashes[i]);
            }
        }
    }

    #[inline(always)]
    fn confirm(&self, table: &Table<F>, out: &mut [Option<FlowRef>]) {
        let guesses = self.hashes.iter().zip(&self.candidates);
        for ((key, (&hash, &guess)), out) in self.keys.iter().zip(guesses).zip(out) {
            // Nothing has changed since, so no guess means no flow.
            *out = match guess {
                Candidate::NONE => None,
                guess => table.confirm(guess, key, hash),
            };
        }
    }
}
