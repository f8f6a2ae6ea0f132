//! Sessions of which only key and owner are known here: neither owner nor backup, a node corrects their
//! packets and keeps no state.
//!
//! A pointer is under the hashes of both tuples of its session, each at the worker that packets of that
//! tuple come to. It lives until its owner says otherwise; when the owner is dead for a while, and
//! nobody has taken the session over and said so, it goes.

use sluice_ha::bulk::{Scope, Sweep};
use sluice_ha::correct::Turn;
use sluice_ha::digest::Place;
use sluice_ha::lane::Take;
use sluice_ha::record::{PointerRecord, Record, Stamp};
use sluice_wire::{Family, Key};

use super::super::Worker;
use super::super::plan;
use super::super::tables::PerFamily;
use super::replica::{Heard, Known};
use super::{Correction, Errand, Ha, Origin};
use crate::handoff::{Corrected, LaneOf, Seat};
use crate::io::Io;
use crate::published::WorkerCounter;
use crate::session::pointers::Pointer;

/// Places that a sweep looks at per poll.
const SLICE: u32 = 256;
/// How long a pointer to a dead node is kept, milliseconds.
const ORPHAN_MS: u32 = 60_000;

/// The version that pointers are counted under in digests: what they say does not change.
pub(super) const POINTED: u32 = 0;

impl Ha {
    fn count_pointer(&mut self, hash: u64, origin: Origin, is_new: bool) {
        let place = Place::of_hash(hash);
        match is_new {
            true => self.count_replica(place, POINTED, origin),
            false => self.discount_replica(place, POINTED, origin),
        }
    }

    /// To whom a packet goes whose session a pointer is known of; `None` if this node judges it.
    fn pointed_to(&self, pointer: Pointer, corrected: Corrected) -> Option<Errand> {
        let why = Correction::Replica;
        let give = |to| Errand {
            why,
            to,
            turn: Turn::Owner,
        };
        let owner = self.keeper_of(Origin::unpack(pointer.origin));
        match (owner, corrected.from()) {
            (Some(owner), None) => Some(give(owner)),
            (Some(owner), Some((from, turn))) if turn != Turn::Last => {
                let is_senders = self.peers.get(usize::from(owner.0))?.id == from;
                (!is_senders).then(|| give(owner))
            }
            // Its backup knows it, whichever node that is.
            (None, None | Some((_, Turn::Owner))) => self.ask(why),
            _ => None,
        }
    }
}

fn hash_of<F: Family>(key: &Key<F::Addrs>) -> u64 {
    Place::of_tuple::<F>(&key.addrs, key.ports, key.proto).hash()
}

/// What is kept of a tuple: of the replies' the bucket of the session, and of the opener's the version.
fn entry(origin: Origin, is_reply: bool, extra: u32) -> Pointer {
    let origin = Origin {
        mapped: is_reply,
        ..origin
    };
    Pointer {
        origin: origin.pack(),
        extra,
    }
}

impl<I: Io> Worker<I> {
    /// To whom a packet goes of whose session only the owner is known here.
    pub(in super::super) fn is_pointed<F: PerFamily>(
        &self,
        key: &Key<F::Addrs>,
        corrected: Corrected,
    ) -> Option<Errand> {
        let pointers = &self.tables.pointers;
        if pointers.is_empty() {
            return None;
        }
        let pointer = pointers.get(hash_of::<F>(key))?;
        self.ha.as_ref()?.pointed_to(pointer, corrected)
    }

    /// Another node has a session, and this one needs no more than to know that.
    pub(super) fn pointer_told<F: PerFamily>(
        &mut self,
        record: &Record,
        told: &PointerRecord<F>,
        from: Heard,
    ) -> Take {
        let names = self.snapshot.shared_names.as_ref();
        let zones = names.and_then(|names| {
            Some((
                names.zone_of(told.identity.zone)?,
                names.zone_of(told.reply_zone)?,
            ))
        });
        let Some((zone, reply_zone)) = zones else {
            self.counters.count(WorkerCounter::HaRecordsForeign);
            return Take::Taken;
        };
        let key = Key {
            addrs: told.identity.addrs,
            ports: told.identity.ports,
            proto: told.identity.proto,
            zone,
            zero: 0,
        };
        let leaves = Key::<F::Addrs> {
            addrs: told.new_addrs,
            ports: told.new_ports,
            ..key
        };
        let reply = Key::new::<F>(&leaves.tuple::<F>().reverse(), reply_zone);
        let [home, reply_home] = [&key, &reply].map(|key| self.home_of_replica::<F>(key));
        if !from.passed && home != self.id {
            return self.pass_record(home, record, from);
        }
        let table = F::table(&self.tables);
        if table.lookup(&key, table.hash(&key)).is_some() {
            // What is known here as a whole, or is ours.
            match self.older_replica::<F>(&key, told.stamp, from.origin) {
                Known::Newer => {
                    self.counters.count(WorkerCounter::HaConflicts);
                    return Take::Taken;
                }
                Known::Own(_) | Known::Other(_) if told.is_gone => return Take::Taken,
                Known::Own(id) => {
                    self.counters.count(WorkerCounter::HaConflicts);
                    self.give_up::<F>(id);
                }
                Known::Same(id) | Known::Other(id) => self.remove_replica::<F>(id),
                Known::Nothing => {}
            }
            if home != self.id {
                return self.pass_record(home, record, from);
            }
        } else if home == self.id
            && let Some(worker) = self.elsewhere::<F>(&key)
        {
            return self.pass_record(worker, record, from);
        }
        if home == self.id {
            if !self.point_original::<F>(&key, told, from.origin) {
                return Take::Taken;
            }
            if reply_home != self.id {
                return self.pass_record(reply_home, record, from);
            }
        }
        if reply_home == self.id {
            let bucket = Place::of(&told.identity).bucket();
            let hash = hash_of::<F>(&reply);
            self.point(hash, entry(from.origin, true, bucket.into()), told.is_gone);
        }
        Take::Taken
    }

    /// Keeps or forgets the pointer of the opener's tuple. False if what is known counts more.
    fn point_original<F: PerFamily>(
        &mut self,
        key: &Key<F::Addrs>,
        told: &PointerRecord<F>,
        from: Origin,
    ) -> bool {
        let hash = hash_of::<F>(key);
        if let (Some(known), Some(ha)) = (self.tables.pointers.get(hash), &self.ha) {
            let origin = Origin::unpack(known.origin);
            let last = Stamp {
                version: known.extra,
                owner: ha.teller_id(origin).unwrap_or(0),
            };
            let same = origin.meeting == from.meeting;
            let is_orphan = ha.owner_of(origin).is_none();
            if !same && (told.is_gone || !is_orphan && !told.stamp.replaces(last)) {
                self.counters.count(WorkerCounter::HaConflicts);
                return false;
            }
        }
        self.point(
            hash,
            entry(from, false, told.stamp.version),
            told.is_gone,
        );
        true
    }

    /// Keeps a pointer, or forgets what there is.
    fn point(&mut self, hash: u64, pointer: Pointer, is_gone: bool) {
        self.forget_pointer(hash);
        if is_gone {
            return;
        }
        if self.tables.pointers.set(hash, pointer).is_err() {
            return self.counters.count(WorkerCounter::HaRecordsLost);
        }
        let origin = Origin::unpack(pointer.origin);
        if let Some(ha) = self.ha.as_mut().filter(|_| !origin.mapped) {
            ha.count_pointer(hash, origin, true);
        }
    }

    fn forget_pointer(&mut self, hash: u64) {
        let Some(known) = self.tables.pointers.remove(hash) else {
            return;
        };
        let origin = Origin::unpack(known.origin);
        if let Some(ha) = self.ha.as_mut().filter(|_| !origin.mapped) {
            ha.count_pointer(hash, origin, false);
        }
    }

    /// A session with this key is known here, whole: there is nothing to point at any more.
    pub(in super::super) fn unpoint<F: PerFamily>(&mut self, key: &Key<F::Addrs>) {
        if !self.tables.pointers.is_empty() {
            self.forget_pointer(hash_of::<F>(key));
        }
    }

    /// Goes on with a sweep of pointers that a node told no more of. Gives where to go on.
    pub(super) fn sweep_pointers(&mut self, of: LaneOf, sweep: Sweep, from: u32) -> Option<u32> {
        let meeting = self.meeting_of(of);
        self.sweep_those(from, |_, hash, pointer, origin| {
            let bucket = match origin.mapped {
                true => pointer.extra as u16,
                false => Place::of_hash(hash).bucket(),
            };
            let in_scope = match sweep.scope {
                Scope::All => true,
                Scope::Bucket(wanted) => bucket == wanted,
            };
            let is_older = sweep.mark.wrapping_sub(origin.mark).cast_signed() > 0;
            in_scope && is_older && (origin.lane, origin.meeting) == (of.lane, meeting)
        })
    }

    /// Goes on looking for pointers to nodes that are dead for long, or were started anew.
    pub(super) fn age_pointers(&mut self) {
        if self.tables.pointers.is_empty() {
            return;
        }
        let now = self.now;
        let Some(from) = self.ha.as_ref().map(|ha| ha.aged) else {
            return;
        };
        let next = self.sweep_those(from, |ha, _, _, origin| {
            let teller = ha.teller_of(origin);
            let peer = teller.and_then(|seat| ha.peers.get(usize::from(seat.0)));
            peer.is_none_or(|peer| {
                let died = peer.died.filter(|_| !peer.lives);
                died.is_some_and(|died| now.wrapping_sub(died) >= ORPHAN_MS)
            })
        });
        if let Some(ha) = &mut self.ha {
            ha.aged = next.unwrap_or(0);
        }
    }

    fn sweep_those(
        &mut self,
        from: u32,
        is_over: impl Fn(&Ha, u64, Pointer, Origin) -> bool,
    ) -> Option<u32> {
        let ha = self.ha.as_deref_mut()?;
        let mut swept = 0;
        let next = self.tables.pointers.sweep(from, SLICE, |hash, pointer| {
            let origin = Origin::unpack(pointer.origin);
            if !is_over(ha, hash, pointer, origin) {
                return false;
            }
            if !origin.mapped {
                ha.count_pointer(hash, origin, false);
            }
            swept += 1;
            true
        });
        self.counters.add(WorkerCounter::HaSwept, swept);
        next
    }
}
