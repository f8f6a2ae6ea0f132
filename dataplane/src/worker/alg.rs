//! Sessions of protocols that use several: FTP's control connections are watched, and what they
//! announce is expected.
//!
//! A *watched* session has [`WATCHED`] for its epoch, which no snapshot has: so its packets never take the
//! short way, and all others pay nothing. What it needs lies in a map of its own (`control`). An
//! *expectation* is a tuple but for its source port: the first SYN that has it opens a session with the
//! translation of the control connection, whatever the firewall says of strangers (`expect`). Which
//! worker such a SYN comes to cannot be foreseen, so all workers are told whose it is before the
//! announcement leaves, and hand it over. What was opened so is a *related* session: a change of
//! configuration asks for its control connection whether it may go on.

use sluice_wire::{Key, KeyHasher, Tuple};

use super::Limits;
use super::tables::PerFamily;
use crate::alg::edits::Edits;
use crate::alg::ftp::Talk;
use crate::handoff::AnyKey;
use crate::io::{Memory, OutOfMemory};
use crate::map::{ExpiringMap, FOREVER};
use crate::session::flow::Session;
use crate::snapshot::ServerId;

mod control;
mod copies;
mod expect;

/// [`Flow::epoch`](crate::session::Flow::epoch) of the flows of a watched session.
pub(super) const WATCHED: u32 = u32::MAX - 1;
/// How long a data connection is waited for, milliseconds.
const EXPECTED_MS: u32 = 60_000;
/// Places of expectations looked at per tick.
const SLICE: usize = 16;

/// How a control connection is translated: what its data connections are derived from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parent {
    /// The tuple of the client's packets as they arrive.
    pub(super) arrives: Tuple,
    /// The same as they leave.
    pub(super) leaves: Tuple,
    /// Zones of the client and of the server.
    pub(super) zones: (u8, u8),
    /// The real server, if there is one.
    pub(super) server: ServerId,
    /// Whether an endpoint-independent mapping hangs on it.
    pub(super) mapped: bool,
}

/// One direction of a control connection.
#[derive(Clone, Debug, Default)]
struct Side {
    /// The number of the next byte that was not read yet, once the SYN was seen.
    next: Option<u32>,
    /// Another node read it up to there, or further: what comes next is a line's beginning.
    resumed: bool,
    edits: Edits,
}

/// A control connection.
#[derive(Clone, Debug)]
struct Watch {
    parent: Parent,
    talk: Talk,
    /// Client, server.
    sides: [Side; 2],
    /// The snapshot under which it was last checked.
    epoch: u32,
    /// What it announced last, if that is still expected.
    expects: Option<AnyKey>,
}

/// What a data connection will be.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// This worker's to open.
    Here {
        /// The key of its control connection's original flow.
        parent: AnyKey,
        /// The client's port in active mode, the server's in passive mode, as they know it.
        port: u16,
        /// The server opens it.
        active: bool,
    },
    /// Another worker's.
    At(u16),
}

/// What a worker knows of all this.
pub(super) struct Alg {
    hasher: KeyHasher,
    /// By the key of the original flow.
    watches: ExpiringMap<AnyKey, Watch>,
    /// By the same; of those taken over from another node the control connection is not known.
    related: ExpiringMap<AnyKey, Option<Parent>>,
    /// By key, with source port 0.
    expected: ExpiringMap<AnyKey, Expected>,
}

impl Alg {
    pub(super) fn new(
        memory: &mut impl Memory,
        limits: &Limits,
        hasher: KeyHasher,
    ) -> Result<Self, OutOfMemory> {
        let (controls, related) = (limits.alg_controls, limits.alg_related);
        Ok(Self {
            hasher,
            watches: ExpiringMap::new(memory, "control connections", controls)?,
            related: ExpiringMap::new(memory, "related sessions", related)?,
            expected: ExpiringMap::new(memory, "expected sessions", controls)?,
        })
    }

    fn hash(&self, key: &AnyKey) -> u64 {
        match key {
            AnyKey::V4(key) => self.hasher.hash::<sluice_wire::V4>(key),
            AnyKey::V6(key) => self.hasher.hash::<sluice_wire::V6>(key),
        }
    }

    fn watch(&mut self, key: &AnyKey, now: u32) -> Option<&mut Watch> {
        let hash = self.hash(key);
        self.watches.get_mut(hash, key, now)
    }

    /// What the epoch of a session's flows is to be, that was checked under the snapshot `epoch`.
    pub(super) fn epoch<F: PerFamily>(
        &mut self,
        original: &Key<F::Addrs>,
        epoch: u32,
        now: u32,
    ) -> u32 {
        if self.watches.is_empty() {
            return epoch;
        }
        match self.watch(&F::any(*original), now) {
            Some(watch) => {
                watch.epoch = epoch;
                WATCHED
            }
            None => epoch,
        }
    }

    /// Of a related session: how its control connection is translated, where that is known.
    pub(super) fn parent<F: PerFamily>(
        &self,
        session: &Session<F>,
        now: u32,
    ) -> Option<Option<Parent>> {
        if self.related.is_empty() {
            return None;
        }
        let key = F::any(session.flows[0].key());
        self.related.get(self.hash(&key), &key, now).copied()
    }

    /// Forgets a session that has ended; gives what is not expected any more.
    fn ended<F: PerFamily>(&mut self, session: &Session<F>) -> Option<AnyKey> {
        if self.watches.is_empty() && self.related.is_empty() {
            return None;
        }
        let key = F::any(session.flows[0].key());
        let hash = self.hash(&key);
        self.related.remove(hash, &key);
        self.watches.remove(hash, &key)?.expects
    }

    /// Notes whose the session is that has this key, but for its source port. False without room.
    fn expect(&mut self, key: AnyKey, expected: Expected, now: u32) -> bool {
        let hash = self.hash(&key);
        let stored = self.expected.insert(hash, key, expected, now, EXPECTED_MS);
        stored.is_ok()
    }

    fn expected(&self, key: &AnyKey, now: u32) -> Option<Expected> {
        self.expected.get(self.hash(key), key, now).copied()
    }

    /// Whether no other control connection than that with the key `of` expects a session with `key`.
    fn is_free(&self, of: &AnyKey, key: &AnyKey, now: u32) -> bool {
        match self.expected(key, now) {
            None => true,
            Some(Expected::Here { parent, .. }) => parent == *of,
            Some(Expected::At(_)) => false,
        }
    }

    fn forget(&mut self, key: &AnyKey) {
        self.expected.remove(self.hash(key), key);
    }

    /// Another worker expects a session, or does not any more.
    pub(super) fn told(&mut self, key: AnyKey, by: u16, expects: bool, now: u32) {
        if expects {
            self.expect(key, Expected::At(by), now);
        } else if let Some(Expected::At(worker)) = self.expected(&key, now)
            && worker == by
        {
            self.forget(&key);
        }
    }

    /// Clears what nobody has come for.
    pub(super) fn sweep(&mut self, now: u32) {
        if !self.expected.is_empty() {
            self.expected.sweep(now, SLICE, |_, _| None);
        }
    }

    /// Begins to watch. False without room.
    fn begin(&mut self, key: AnyKey, watch: Watch, now: u32) -> bool {
        let hash = self.hash(&key);
        self.watches.insert(hash, key, watch, now, FOREVER).is_ok()
    }

    fn relate(&mut self, key: AnyKey, parent: Option<Parent>, now: u32) -> bool {
        let hash = self.hash(&key);
        self.related.insert(hash, key, parent, now, FOREVER).is_ok()
    }

    fn unrelate(&mut self, key: &AnyKey) {
        self.related.remove(self.hash(key), key);
    }

    /// Control connections that are watched, and sessions that are expected of all workers.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.watches.len() as u64, self.expected.len() as u64)
    }

    /// The numbers that the receiver of a flow's packets knows what its sender sent by.
    pub(super) fn out<F: PerFamily>(
        &mut self,
        original: &Key<F::Addrs>,
        reply: bool,
        seq: u32,
        now: u32,
    ) -> u32 {
        if self.watches.is_empty() {
            return seq;
        }
        let watch = self.watch(&F::any(*original), now);
        watch.map_or(seq, |watch| watch.sides[usize::from(reply)].edits.out(seq))
    }
}
