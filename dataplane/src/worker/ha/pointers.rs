//! Sessions of which only key and owner are known here: neither owner nor backup, a node corrects their
//! packets and keeps no state.
//!
//! A pointer is under the hashes of both tuples of its session, each at the worker that packets of that
//! tuple come to. Whoever hears of it tells both of them at once, and the worker that would have the session
//! by a mapping, so that on its way nothing that was said later gets past it. It lives until its owner says
//! otherwise; when the owner is dead for a while, and nobody has taken the session over and said so, it
//! goes.

use sluice_ha::bulk::Sweep;
use sluice_ha::correct::Turn;
use sluice_ha::digest::Place;
use sluice_ha::lane::Take;
use sluice_ha::record::{PointerRecord, Record, Stamp};
use sluice_wire::{Key, Tuple, V4, V6};

use super::super::Worker;
use super::super::tables::{PerFamily, hash_of};
use super::passed::Heard;
use super::replica::Known;
use super::{Correction, Errand, Ha, Origin};
use crate::handoff::{Corrected, LaneOf};
use crate::io::Io;
use crate::published::WorkerCounter;
use crate::session::pointers::Pointer;

/// Places that a sweep looks at per poll.
const SLICE: u32 = 256;
/// How long a pointer to a dead node is kept, milliseconds.
const ORPHAN_MS: u32 = 60_000;

/// The version that pointers are counted under in digests: what they say does not change.
pub(super) const POINTED: u32 = 0;

/// What pointers to a node's sessions are counted as.
pub(super) fn pointed_by(owner: u8) -> Stamp {
    Stamp {
        version: POINTED,
        owner,
    }
}

/// What a pointer is counted under: that of replies in the bucket of the session.
fn place_of_pointer(hash: u64, pointer: Pointer) -> Place {
    let place = Place::of_hash(hash);
    match Origin::unpack(pointer.origin).mapped {
        true => place.within_bucket(pointer.extra as u16),
        false => place,
    }
}

impl Ha {
    /// A pointer is there, or no longer.
    fn count_pointer(&mut self, hash: u64, pointer: Pointer, is_new: bool) {
        let place = place_of_pointer(hash, pointer);
        let origin = Origin::unpack(pointer.origin);
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

/// What a record of a pointer concerns: the opener's tuple and the replies', and the workers that these come
/// to; and the one that the session lies on if a mapping has it.
struct Homes<F: PerFamily> {
    key: Key<F::Addrs>,
    home: u16,
    reply: Key<F::Addrs>,
    reply_home: u16,
    decider: Option<u16>,
}

impl<F: PerFamily> Homes<F> {
    /// Whether a worker is told at once.
    fn concerns(&self, worker: u16) -> bool {
        [Some(self.home), Some(self.reply_home), self.decider].contains(&Some(worker))
    }
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
        let to = Homes {
            key,
            home,
            reply,
            reply_home,
            decider: self.decider_between::<F>(&told.identity, (told.new_addrs, told.new_ports)),
        };
        if from.judged {
            self.point_judged::<F>(told, from.origin, &to);
            return Take::Taken;
        }
        if !from.passed {
            let others = [Some(home), Some(reply_home), to.decider];
            for (at, worker) in others.iter().enumerate() {
                let is_new = !others[..at].contains(worker) && *worker != Some(self.id);
                if let Some(worker) = worker.filter(|_| is_new)
                    && self.pass_record(worker, record, from) == Take::Later
                {
                    // Those that heard hear it twice.
                    return Take::Later;
                }
            }
            if !to.concerns(self.id) {
                return Take::Taken;
            }
        }
        let mut is_elsewhere = false;
        if home == self.id
            && let Some(worker) = self.elsewhere::<F>(&to.key)
        {
            is_elsewhere = true;
            if Some(worker) != to.decider
                && self.pass_record(worker, record, from) == Take::Later
                && !from.passed
            {
                return Take::Later;
            }
        }
        match told.is_gone {
            true => self.end_told::<F>(told, from.origin, &to),
            false => self.owner_told::<F>((record, told), from, &to, is_elsewhere),
        }
        Take::Taken
    }

    /// Another node has a session: that is kept for the tuples that come to this worker. If the session is
    /// known here as a whole, or is ours, that is over; unless that counts more, and then the tuple is not
    /// pointed at, so that the digest shows it. `is_elsewhere`: another worker finds that out.
    fn owner_told<F: PerFamily>(
        &mut self,
        (record, told): (&Record, &PointerRecord<F>),
        from: Heard,
        to: &Homes<F>,
        is_elsewhere: bool,
    ) {
        let known = self.older_replica::<F>(&to.key, told.stamp, from.origin);
        if matches!(known, Known::Own(_) | Known::Newer) {
            self.counters.count(WorkerCounter::HaConflicts);
        }
        let (is_refused, yielded) = match known {
            // The home of the tuple took this worker for one that has the session.
            Known::Nothing => (false, from.passed && !to.concerns(self.id)),
            Known::Newer => (true, false),
            Known::Own(id) => {
                self.give_up::<F>(id);
                (false, true)
            }
            Known::Same(id) | Known::Other(id) => {
                self.remove_replica::<F>(id);
                (false, true)
            }
        };
        if to.home == self.id && !is_refused && !is_elsewhere {
            self.point_original::<F>(&to.key, told, from.origin);
        }
        if to.reply_home == self.id {
            self.point_reply::<F>(&to.reply, told, from.origin);
        }
        if !yielded {
            return;
        }
        // What this worker registered there may have come after the record, and have ended its pointer.
        let from = Heard {
            judged: true,
            ..from
        };
        let homes = [to.home, to.reply_home];
        for (at, &worker) in homes.iter().enumerate() {
            if worker != self.id && !homes[..at].contains(&worker) {
                // Without room the next digest finds that it is missing.
                let _ = self.pass_record(worker, record, from);
            }
        }
    }

    /// Another worker of ours had the session as a whole, and has it no more.
    fn point_judged<F: PerFamily>(&mut self, told: &PointerRecord<F>, from: Origin, to: &Homes<F>) {
        let table = F::table(&self.tables);
        let is_here = table.lookup(&to.key, table.hash(&to.key)).is_some();
        // Otherwise the node has told the whole again meanwhile.
        if to.home == self.id && !is_here && self.elsewhere::<F>(&to.key).is_none() {
            self.point_original::<F>(&to.key, told, from);
        }
        if to.reply_home == self.id {
            self.point_reply::<F>(&to.reply, told, from);
        }
    }

    /// A session has ended, or whoever says so has left it to another node: what it said of that goes, and
    /// nothing else.
    fn end_told<F: PerFamily>(&mut self, told: &PointerRecord<F>, from: Origin, to: &Homes<F>) {
        let table = F::table(&self.tables);
        if table.lookup(&to.key, table.hash(&to.key)).is_some() {
            match self.older_replica::<F>(&to.key, told.stamp, from) {
                Known::Same(id) => self.remove_replica::<F>(id),
                _ => self.tell_again::<F>(&to.key),
            }
        }
        for (key, home) in [(&to.key, to.home), (&to.reply, to.reply_home)] {
            if home == self.id {
                self.end_pointer(hash_of::<F>(key), from);
            }
        }
    }

    /// Forgets a pointer, if this lane told of it.
    fn end_pointer(&mut self, hash: u64, from: Origin) {
        let known = self.tables.pointers.get(hash);
        let known = known.map(|known| Origin::unpack(known.origin));
        if known.is_some_and(|known| (known.meeting, known.lane) == (from.meeting, from.lane)) {
            self.forget_pointer(hash);
        }
    }

    /// Keeps the pointer of the opener's tuple, unless what is known counts more.
    fn point_original<F: PerFamily>(
        &mut self,
        key: &Key<F::Addrs>,
        told: &PointerRecord<F>,
        from: Origin,
    ) {
        match self.replaces_pointer::<F>(key, told.stamp, from) {
            true => self.point(hash_of::<F>(key), entry(from, false, told.stamp.version)),
            false => self.counters.count(WorkerCounter::HaConflicts),
        }
    }

    /// Keeps the pointer of the replies' tuple.
    fn point_reply<F: PerFamily>(
        &mut self,
        reply: &Key<F::Addrs>,
        told: &PointerRecord<F>,
        from: Origin,
    ) {
        let bucket = Place::of(&told.identity).bucket();
        self.point(hash_of::<F>(reply), entry(from, true, bucket.into()));
    }

    /// Whether what a node says of a session counts more than the pointer that there is, or there is none.
    pub(super) fn replaces_pointer<F: PerFamily>(
        &self,
        key: &Key<F::Addrs>,
        stamp: Stamp,
        from: Origin,
    ) -> bool {
        let pointers = &self.tables.pointers;
        if pointers.is_empty() {
            return true;
        }
        let known = pointers.get(hash_of::<F>(key));
        let Some((known, ha)) = known.zip(self.ha.as_ref()) else {
            return true;
        };
        let origin = Origin::unpack(known.origin);
        let last = Stamp {
            version: known.extra,
            owner: ha.teller_id(origin).unwrap_or(0),
        };
        // Of replies' tuples no version is known.
        let is_old = origin.mapped || ha.owner_of(origin).is_none();
        is_old || origin.meeting == from.meeting || stamp.replaces(last)
    }

    /// Keeps a pointer in place of what there is.
    fn point(&mut self, hash: u64, pointer: Pointer) {
        self.forget_pointer(hash);
        if self.tables.pointers.set(hash, pointer).is_err() {
            return self.counters.count(WorkerCounter::HaRecordsLost);
        }
        if let Some(ha) = &mut self.ha {
            ha.count_pointer(hash, pointer, true);
        }
    }

    fn forget_pointer(&mut self, hash: u64) {
        let Some(known) = self.tables.pointers.remove(hash) else {
            return;
        };
        if let Some(ha) = &mut self.ha {
            ha.count_pointer(hash, known, false);
        }
    }

    /// A session with these keys is known here, whole: there is nothing to point at any more.
    pub(in super::super) fn unpoint<F: PerFamily>(&mut self, keys: &[Key<F::Addrs>]) {
        for key in keys {
            if !self.tables.pointers.is_empty() {
                self.forget_pointer(hash_of::<F>(key));
            }
        }
    }

    /// Goes on with a sweep of pointers that a node told no more of. Gives where to go on.
    pub(super) fn sweep_pointers(&mut self, of: LaneOf, sweep: Sweep, from: u32) -> Option<u32> {
        let meeting = self.meeting_of(of);
        self.sweep_those(from, |_, hash, pointer, origin| {
            let in_scope = sweep.scope.has(place_of_pointer(hash, pointer));
            let is_older = sweep.mark.wrapping_sub(origin.mark).cast_signed() > 0;
            in_scope && is_older && (origin.lane, origin.meeting) == (of.lane, meeting)
        })
    }

    /// Goes on looking for pointers to nodes that are dead for long, or were started anew.
    pub(in super::super) fn age_pointers(&mut self) {
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
            ha.count_pointer(hash, pointer, false);
            swept += 1;
            true
        });
        self.counters.add(WorkerCounter::HaSwept, swept);
        next
    }

    /// The living node that packets of a tuple are given to because it owns their session, of which no
    /// more is known here.
    pub fn pointed_at(&self, tuple: &Tuple) -> Option<u8> {
        let hash = match tuple.src.is_ipv6() {
            true => hash_of::<V6>(&Key::new::<V6>(tuple, 0)),
            false => hash_of::<V4>(&Key::new::<V4>(tuple, 0)),
        };
        let pointer = self.tables.pointers.get(hash)?;
        let ha = self.ha.as_ref()?;
        let owner = ha.owner_of(Origin::unpack(pointer.origin))?;
        Some(ha.peers.get(usize::from(owner.0))?.id)
    }
}
