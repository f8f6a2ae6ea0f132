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
use crate::session::refs::FlowRef;

/// Most packets that are looked up at once.
pub const BURST: usize = 64;

/// What a burst lookup guesses for one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Candidate(Option<FlowRef>);

impl<F: Family> Table<F> {
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

    /// The flow that was guessed and its opposite, both writable but for their keys, if the guess
    /// still holds. `None` says nothing: ask [`Self::confirm`].
    #[inline(always)]
    pub fn guessed(
        &mut self,
        candidate: Candidate,
        key: &Key<F::Addrs>,
    ) -> Option<(FlowRef, &mut Flow<F>, &mut Flow<F>)> {
        let at = candidate.0?;
        let (this, other) = self.pair_mut(at)?;
        this.matches(key).then_some((at, this, other))
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

    #[inline(always)]
    fn is(&self, flow: FlowRef, key: &Key<F::Addrs>) -> bool {
        // Flows of free sessions are all zero, so a stale reference meets protocol 0 between zero
        // addresses, which no packet has that gets this far.
        self.flow(flow).is_some_and(|flow| flow.matches(key))
    }
}
