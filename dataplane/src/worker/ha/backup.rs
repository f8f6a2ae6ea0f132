//! Which node has the copy of each of our sessions, where one of more than two has it.
//!
//! It is the node that the session would fall to if this one died, so whoever takes it over has it. When
//! nodes come and go that may be another one than before. Then all sessions are gone through twice:
//! first who is to have a copy gets it, and when all have acknowledged what they got, who is no longer
//! to have one is told the owner instead. So there are always as many copies as can be. The second
//! time replicas of dead nodes are taken over, whether packets come or not: until somebody owns them
//! nobody sees to their copies.

use sluice_ha::NodeSet;
use sluice_ha::record::{PointerRecord, Stamp};
use sluice_wire::{V4, V6};

use super::super::Worker;
use super::super::tables::PerFamily;
use super::Ha;
use super::digest::pointed;
use super::mapped::heir_hash;
use super::members::AGREED_MS;
use crate::io::Io;
use crate::session::table::SessionId;

/// Table entries looked at per poll.
const SLICE: u32 = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Done,
    /// Who is to have copies gets them.
    Fill,
    /// Until they have.
    Wait,
    /// Who is not to have any hears that; and what is left of the dead is taken over.
    Trim,
}

/// How far sharing out copies anew has come.
#[derive(Debug, Default)]
pub(super) struct Refill {
    stage: Stage,
    /// Of IPv6, and from which number on.
    at: (bool, u32),
    /// Heirs, nodes that can be reached and nodes that live, as they were when it began.
    seen: [NodeSet; 3],
}

impl Ha {
    /// Nodes came or went, or have been told everything.
    pub(super) fn follow_keepers(&mut self) {
        let others = self.heirs.without(self.parts.node).and(self.linked);
        self.keepers = match others.is_empty() {
            true => self.linked,
            false => others,
        };
        let living = self.peers.iter().filter(|peer| peer.lives);
        let living = living.map(|peer| peer.id).collect();
        let seen = [self.heirs, self.linked, living];
        if self.backs_up() && seen != self.refill.seen {
            self.refill = Refill {
                stage: Stage::Fill,
                at: (false, 0),
                seen,
            };
        }
    }

    /// Whether all that can be reached have the copies that they got.
    fn is_refilled(&mut self) -> bool {
        let mut all = true;
        for peer in self.peers.iter_mut().filter(|peer| peer.link.is_some()) {
            let mut mark = peer.refilled;
            all &= peer.has_passed(&mut mark);
            peer.refilled = mark;
        }
        all
    }

    /// Whether copies are shared out as they should be, those included of what dead nodes left.
    pub(super) fn has_refilled(&self) -> bool {
        !self.backs_up() || self.refill.stage == Stage::Done && self.orphans() == 0
    }

    /// Whether a lane is so full that what can wait has to.
    fn is_crowded(&self) -> bool {
        let linked = self.peers.iter().filter(|peer| peer.link.is_some());
        let mut lanes = linked.filter_map(|peer| peer.lanes.first()?.as_ref());
        lanes.any(|lane| lane.is_open() && !lane.has_room())
    }
}

impl<I: Io> Worker<I> {
    /// Nodes that have a copy of a session of ours, as far as they have heard of it.
    pub(super) fn holders<F: PerFamily>(&self, id: SessionId) -> NodeSet {
        NodeSet(F::table(&self.tables).holders(id))
    }

    /// The node that is to have the copy of a session of ours; `None` without any.
    fn backup_of<F: PerFamily>(&self, id: SessionId) -> Option<u8> {
        let table = F::table(&self.tables);
        let (session, cold) = (table.session(id)?, table.cold(id)?);
        let ha = self.ha.as_ref()?;
        ha.keepers.heir(heir_hash(session, cold))
    }

    /// A session is about to be told of for the first time as ours: chooses who has the copy.
    pub(super) fn choose_holders<F: PerFamily>(&mut self, id: SessionId) {
        if self.ha.as_ref().is_none_or(|ha| !ha.backs_up()) {
            return;
        }
        let backup = self.backup_of::<F>(id);
        let holders = backup.map_or(NodeSet::default(), NodeSet::only);
        F::table_mut(&mut self.tables).set_holders(id, holders.0);
    }

    /// Goes on sharing out copies anew.
    pub(super) fn refill_some(&mut self) {
        let now = self.now;
        let Some(ha) = &mut self.ha else { return };
        let stage = ha.refill.stage;
        match stage {
            Stage::Done => return,
            Stage::Wait => {
                let agreed = now.wrapping_sub(ha.heirs_since) >= AGREED_MS;
                if ha.is_refilled() && agreed {
                    (ha.refill.stage, ha.refill.at) = (Stage::Trim, (false, 0));
                }
                return;
            }
            Stage::Fill | Stage::Trim => {}
        }
        if ha.is_crowded() {
            return;
        }
        let (is_v6, from) = ha.refill.at;
        let next = match is_v6 {
            false => self.refill_in::<V4>(stage, from),
            true => self.refill_in::<V6>(stage, from),
        };
        let Some(ha) = &mut self.ha else { return };
        ha.refill.at = match next {
            Some(next) => (is_v6, next),
            None if !is_v6 => (true, 0),
            None => {
                ha.refill.stage = match stage {
                    Stage::Fill => Stage::Wait,
                    _ => Stage::Done,
                };
                ha.peers.iter_mut().for_each(|peer| peer.refilled = None);
                (false, 0)
            }
        };
    }

    fn refill_in<F: PerFamily>(&mut self, stage: Stage, from: u32) -> Option<u32> {
        let mut all = arrayvec::ArrayVec::<(SessionId, bool), { SLICE as usize }>::new();
        let next = F::table(&self.tables).scan(from, SLICE, |id, session, cold| {
            let ha = self.ha.as_ref();
            let is_orphan = |origin| ha.is_some_and(|ha| ha.is_orphaned(origin));
            if !session.is_replica() || stage == Stage::Trim && is_orphan(cold.extra) {
                all.push((id, session.is_replica()));
            }
        });
        for (id, is_orphan) in all {
            match stage {
                _ if is_orphan => {
                    if self.take_over_orphan::<F>(id) {
                        self.tell_birth::<F>(id);
                    }
                }
                Stage::Trim => self.trim::<F>(id),
                _ => self.fill::<F>(id),
            }
        }
        next
    }

    /// Gives a copy of a session to the node that is to have it. One that does not listen now is told
    /// when it does.
    fn fill<F: PerFamily>(&mut self, id: SessionId) {
        let (version, holders) = (F::table(&self.tables).version(id), self.holders::<F>(id));
        let Some(backup) = self.backup_of::<F>(id).filter(|_| version != 0) else {
            return;
        };
        if holders.has(backup) {
            return;
        }
        self.set_holder::<F>(id, backup, true);
        let stamp = self.stamp(version);
        let seat = self.ha.as_ref().and_then(|ha| ha.seat_of(backup));
        if let Some((seat, record)) = seat.zip(self.describe::<F>(id, stamp)) {
            self.push_whole(seat, &F::session(record));
        }
    }

    /// Tells the others that have a copy of a session that they need none.
    fn trim<F: PerFamily>(&mut self, id: SessionId) {
        let (version, holders) = (F::table(&self.tables).version(id), self.holders::<F>(id));
        let Some(backup) = self.backup_of::<F>(id).filter(|_| version != 0) else {
            return;
        };
        if !holders.has(backup) {
            return self.fill::<F>(id);
        }
        for node in holders.without(backup).iter() {
            self.set_holder::<F>(id, node, false);
            let stamp = self.stamp(version);
            let seat = self.ha.as_ref().and_then(|ha| ha.seat_of(node));
            if let Some((seat, record)) = seat.zip(self.describe::<F>(id, stamp)) {
                self.push_to(seat, &F::pointer(PointerRecord::to(&record)));
            }
        }
    }

    fn set_holder<F: PerFamily>(&mut self, id: SessionId, node: u8, holds: bool) {
        let table = F::table_mut(&mut self.tables);
        let holders = NodeSet(table.holders(id));
        let holders = match holds {
            true => holders.with(node),
            false => holders.without(node),
        };
        table.set_holders(id, holders.0);
        let version = table.version(id);
        let Some((pointers, ha)) = table.session(id).map(pointed).zip(self.ha.as_mut()) else {
            return;
        };
        let owner = ha.parts.node;
        let stamp = Stamp { version, owner };
        if let Some(peer) = ha.peers.iter_mut().find(|peer| peer.id == node) {
            match holds {
                true => peer.count_held(pointers, stamp),
                false => peer.discount_held(pointers, stamp),
            }
        }
    }
}
