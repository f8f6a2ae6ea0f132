//! Records of other nodes on their way between workers.
//!
//! A record is heard by the worker that has the lane, and concerns the one that is home to its tuple,
//! or another one of ours that opened a session of that tuple.

use sluice_ha::lane::Take;
use sluice_ha::record::{Identity, MAX_LEN, Record, Records, Stamp, encode};
use sluice_wire::{Key, V4, V6};

use super::super::Worker;
use super::super::plan;
use super::super::tables::PerFamily;
use super::Origin;
use super::foresee::key_of;
use crate::handoff::{AnyKey, LaneOf, Message};
use crate::io::{Frame, Io};
use crate::published::WorkerCounter;
use crate::session::table::Direction;

/// Where a record comes from.
#[derive(Clone, Copy)]
pub(super) struct Heard {
    /// The lane that it was told on.
    pub(super) of: LaneOf,
    /// As a replica has it.
    pub(super) origin: Origin,
    /// Another worker found that it is for this one.
    pub(super) passed: bool,
    /// And had what it speaks of whole until then.
    pub(super) judged: bool,
}

/// What comes with a record that another worker passed on.
#[derive(Clone, Copy)]
pub(in super::super) struct Passing {
    /// The round that it was heard in.
    pub(in super::super) mark: u16,
    /// That worker had what the record speaks of whole, and has it no more because of the record.
    pub(in super::super) judged: bool,
}

impl<I: Io> Worker<I> {
    /// Applies a record on the worker that keeps what it tells of: the home of its tuple, or who has
    /// that already.
    pub(super) fn dispatch_record<F: PerFamily>(
        &mut self,
        record: &Record,
        identity: &Identity<F>,
        from: Heard,
        apply: impl FnOnce(&mut Self, Key<F::Addrs>),
    ) -> Take {
        let zone = self.snapshot.shared_names.as_ref();
        let Some(zone) = zone.and_then(|names| names.zone_of(identity.zone)) else {
            self.counters.count(WorkerCounter::HaRecordsForeign);
            return Take::Taken;
        };
        let key = key_of(identity, zone);
        let home = self.home_of_replica::<F>(&key);
        if home != self.id && !from.passed {
            return self.pass_record(home, record, from);
        }
        // Where another worker of this node has the tuple, it is the one that the record concerns.
        let known = self.elsewhere::<F>(&key).filter(|_| home == self.id);
        if let Some(worker) = known {
            return self.pass_record(worker, record, from);
        }
        apply(self, key);
        Take::Taken
    }

    /// The other worker that registered a tuple with this one.
    pub(super) fn elsewhere<F: PerFamily>(&mut self, key: &Key<F::Addrs>) -> Option<u16> {
        let table = F::table(&self.tables);
        let hash = table.hash(key);
        if self.rings.workers() == 1 || table.lookup(key, hash).is_some() {
            return None;
        }
        let owner = F::registered(&mut self.tables, key, hash, self.now)?;
        (owner != self.id).then_some(owner)
    }

    /// Gives a record to another worker.
    pub(super) fn pass_record(&mut self, to: u16, record: &Record, from: Heard) -> Take {
        let Some(mut frame) = self.io.alloc() else {
            return Take::Later;
        };
        let written = frame
            .set_len(MAX_LEN)
            .then(|| encode(record, frame.bytes_mut()));
        match written.flatten() {
            Some(len) if frame.set_len(len) => {
                let message = Message::HaRecords {
                    frame,
                    of: from.of,
                    mark: from.origin.mark,
                    judged: from.judged,
                };
                match self.rings.push(to, message) {
                    Ok(()) => Take::Taken,
                    Err(_) => Take::Later,
                }
            }
            _ => Take::Later,
        }
    }

    /// Records that another worker passed on.
    pub(in super::super) fn apply_passed_records(
        &mut self,
        frame: &I::Frame,
        of: LaneOf,
        passing: Passing,
    ) {
        for record in Records::new(frame.bytes(), 0) {
            self.apply(of, &record, Some(passing));
        }
    }

    /// The worker that packets of a tuple come to, by the port that its source is routed to.
    pub(super) fn home_of_replica<F: PerFamily>(&self, key: &Key<F::Addrs>) -> u16 {
        if self.rings.workers() == 1 {
            return self.id;
        }
        match plan::way(&self.snapshot, key.tuple::<F>().src) {
            Ok(way) => self.home_of::<F>(key, way.hop.port),
            Err(_) => 0,
        }
    }

    /// Another worker opened a session, and this one is home to a tuple of it. If a copy of another node's
    /// has it as well, that told of it while the packet was on its way between our workers. Both nodes
    /// opened it, then, and that worker finds out whose it is.
    pub(in super::super) fn opened_elsewhere(&mut self, key: &AnyKey, owner: u16) {
        if self.ha.is_none() || owner == self.id {
            return;
        }
        match key {
            AnyKey::V4(key) => {
                self.pass_replica::<V4>(key, owner);
                self.unpoint::<V4>(&[*key]);
            }
            AnyKey::V6(key) => {
                self.pass_replica::<V6>(key, owner);
                self.unpoint::<V6>(&[*key]);
            }
        }
    }

    fn pass_replica<F: PerFamily>(&mut self, key: &Key<F::Addrs>, to: u16) {
        let table = F::table(&self.tables);
        let found = table.lookup(key, table.hash(key));
        let Some(at) = found.filter(|at| at.direction() == Direction::Original) else {
            return;
        };
        let id = at.session();
        let (Some(session), Some(cold), Some(ha)) = (table.session(id), table.cold(id), &self.ha)
        else {
            return;
        };
        if !session.is_replica() {
            return;
        }
        let origin = Origin::unpack(cold.extra);
        // One that nobody owns is no more than what was opened now.
        if let Some((seat, owner)) = ha.teller_of(origin).zip(ha.teller_id(origin)) {
            let stamp = Stamp {
                version: table.version(id),
                owner,
            };
            let of = LaneOf {
                seat,
                lane: origin.lane,
            };
            let from = Heard {
                of,
                origin,
                passed: false,
                judged: false,
            };
            if let Some(record) = self.describe::<F>(id, stamp) {
                // Without room the next digest finds that it is missing.
                let _ = self.pass_record(to, &F::session(record), from);
            }
        }
        self.remove_replica::<F>(id);
    }
}
