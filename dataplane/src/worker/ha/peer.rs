//! What a worker knows of one other node, and shares with it.

use sluice_ha::correct::Codec;
use sluice_ha::digest::{self, Place};
use sluice_ha::hello::SessionId;
use sluice_ha::lane::Mark;
use sluice_ha::record::{Record, Stamp};
use sluice_ha::{Digest, Lane, LaneConfig, Session};
use sluice_wire::MacAddr;

use super::JOIN_MS;
use super::digest::Heard;
use super::inline::Returns;
use super::pointers::pointed_by;
use super::tell::Telling;

/// Records that wait while the lane that they are for is listened to.
const LATE: usize = 64;

/// The way to a node that can be reached by the HA link.
pub(super) struct Link {
    pub(super) session: Session,
    pub(super) mac: MacAddr,
    /// Its sessions are taken over as their packets come here.
    pub(super) yields: bool,
}

/// Another node.
pub(super) struct Peer {
    /// Its number.
    pub(super) id: u8,
    /// While it can be reached.
    pub(super) link: Option<Link>,
    /// It lives, though it may be out of reach.
    pub(super) lives: bool,
    /// Since when it is dead, if it is.
    pub(super) died: Option<u32>,
    /// Marks packets that are handed to it, and knows those that it hands to us.
    pub(super) codec: Codec,
    /// Where it was heard last.
    pub(super) last_mac: Option<MacAddr>,
    /// The session that lanes speak under. They must not be told of one twice: a key is good for one
    /// count of datagrams.
    pub(super) session: Option<SessionId>,
    /// What was agreed on last, whether it can be reached now or not.
    pub(super) agreed: Option<Session>,
    /// Boot id of the node that was met last.
    pub(super) boot: Option<u64>,
    /// Which of all meetings that was; 0: there was none. A replica belongs to this node while it
    /// comes from there.
    pub(super) meeting: u16,
    /// When it was met.
    pub(super) met: u32,
    /// Bit l: it has told on lane l everything that it had when it was met, and all workers have
    /// applied it.
    pub(super) told: u64,
    /// Bit l: this worker has applied all that was told on lane l, and not all others know that.
    pub(super) applied: u64,
    /// By lane: bit w: worker w has applied all that was told on it.
    pub(super) applied_by: Vec<u64>,
    /// This worker's lanes, its own first. One is taken out while it is listened to.
    pub(super) lanes: Vec<Option<Box<Lane>>>,
    /// What was heard on each of them.
    pub(super) heard: Vec<Heard>,
    /// Something was put in a lane, or came by one, since they were flushed.
    pub(super) busy: bool,
    /// What is to be said on the own lane, once it is back.
    late: Vec<Record>,
    pub(super) telling: Telling,
    /// Of our sessions that it has a copy of, where not all nodes have: what these are more in our
    /// digest than what is known of all.
    pub(super) held: Digest,
    /// How many these are.
    pub(super) holds: u64,
    /// The place in our stream behind all copies that it got when copies were last shared out.
    pub(super) refilled: Option<Mark>,
    /// The place in our stream that it has to have heard before this node may go.
    pub(super) fence: Option<Mark>,
    /// How far telling our digest has come, and when it began.
    pub(super) teller: digest::Teller,
    pub(super) digest_told: u32,
    /// Of its sessions that are known here, by lane.
    pub(super) theirs: Vec<Digest>,
    /// Copies of its sessions that are here.
    pub(super) copies: u64,
    /// Sessions told of that it may not have yet.
    pub(super) unsure: u64,
    /// Packets that it asked for in vain.
    pub(super) returns: Returns,
    /// Packets in its lane that were forgotten, as far as they were counted.
    pub(super) packets_lost: u64,
}

impl Peer {
    /// For worker `id` of `workers`.
    pub(super) fn new(
        node: u8,
        (id, workers): (u16, u16),
        lanes: u16,
        config: &LaneConfig,
        now: u32,
    ) -> Self {
        let numbers = (id..lanes).step_by(usize::from(workers.max(1)));
        let own = numbers.map(|lane| Some(Box::new(Lane::new(lane as u8, config))));
        let own: Vec<_> = own.collect();
        Self {
            id: node,
            link: None,
            lives: false,
            died: None,
            codec: Codec::default(),
            last_mac: None,
            session: None,
            agreed: None,
            boot: None,
            meeting: 0,
            met: now,
            told: 0,
            applied: 0,
            applied_by: vec![0; usize::from(lanes)],
            heard: own.iter().map(|_| Heard::new(now)).collect(),
            lanes: own,
            busy: false,
            late: Vec::with_capacity(LATE),
            telling: Telling::default(),
            held: Digest::default(),
            holds: 0,
            refilled: None,
            fence: None,
            teller: digest::Teller::default(),
            digest_told: now,
            theirs: vec![Digest::default(); usize::from(lanes)],
            copies: 0,
            unsure: 0,
            returns: Returns::default(),
            packets_lost: 0,
        }
    }

    /// It was started anew. What it knew before is gone, and what it knows now has not been told.
    pub(super) fn meet(&mut self, boot: u64, meeting: u16, now: u32) {
        self.boot = Some(boot);
        (self.meeting, self.met) = (meeting, now);
        (self.told, self.applied) = (0, 0);
        self.applied_by.fill(0);
        self.telling = Telling::default();
        self.theirs.iter_mut().for_each(Digest::clear);
        self.heard.iter_mut().for_each(|heard| heard.restart(now));
    }

    /// Whether it has told all that it has.
    pub(super) fn is_joined(&self) -> bool {
        let lanes = self.link.as_ref().map_or(64, |link| link.session.lanes);
        let all = u64::MAX >> (64 - lanes.clamp(1, 64));
        self.told & all == all
    }

    /// Whether it has, or has had long enough for it: one that cannot must not keep this node from its
    /// work.
    pub(super) fn has_told(&self, now: u32) -> bool {
        self.is_joined() || now.wrapping_sub(self.met) >= JOIN_MS
    }

    /// Whether all that it has is known here, if it lives.
    pub(super) fn is_known(&self) -> bool {
        match self.link {
            Some(_) => self.is_joined(),
            None => !self.lives,
        }
    }

    /// 1 it is dead, 2 it has not told all that it knows, 3 present, 4 it lives out of reach.
    pub(super) fn state(&self) -> u64 {
        match (&self.link, self.is_joined()) {
            (None, _) if self.lives => 4,
            (None, _) => 1,
            (Some(_), false) => 2,
            (Some(_), true) => 3,
        }
    }

    /// Milliseconds since its sessions on the lanes of this worker were last found to be what is known
    /// here, by the one of which that is longest ago.
    pub(super) fn digest_age(&self, now: u32) -> u64 {
        let lanes = self.link.as_ref().map_or(0, |link| link.session.lanes);
        let heard = self.lanes.iter().flatten().zip(&self.heard);
        let spoken = heard.filter(|(lane, heard)| lane.id() < lanes && !heard.is_silent);
        let ages = spoken.map(|(_, heard)| u64::from(heard.age(now)));
        ages.max().unwrap_or(0)
    }

    /// Frames that it has not acknowledged.
    pub(super) fn lag(&self) -> u64 {
        let lanes = self.lanes.iter().flatten();
        lanes.map(|lane| u64::from(lane.lag())).sum()
    }

    /// Of `own` sessions, those that it may not know.
    pub(super) fn untold(&mut self, own: u64) -> u64 {
        let lane = self.lanes.first().and_then(Option::as_ref);
        let Some(lane) = lane.filter(|lane| lane.is_open() && self.link.is_some()) else {
            return own;
        };
        if lane.lag() == 0 {
            self.unsure = 0;
        }
        match self.telling.complete {
            true => self.unsure.min(own),
            false => own.saturating_sub(self.telling.sessions),
        }
    }

    /// Whether it knows all that was said on this worker's own lane when this was asked first with `mark`,
    /// which is set then, and begins anew where everything is told anew.
    pub(super) fn has_passed(&self, mark: &mut Option<Mark>) -> bool {
        let told = self.telling.complete;
        let lane = self.lanes.first().and_then(Option::as_ref);
        let Some(lane) = lane.filter(|lane| lane.is_open() && told) else {
            *mark = None;
            return false;
        };
        let passed = lane.has_passed(*mark.get_or_insert_with(|| lane.mark()));
        if passed.is_none() {
            *mark = None;
        }
        passed == Some(true)
    }

    /// It has a copy of one of our sessions, and not only a pointer.
    pub(super) fn count_held(&mut self, pointers: [Place; 2], stamp: Stamp) {
        self.held.add(pointers[0], stamp);
        let pointed = pointed_by(stamp.owner);
        for place in pointers {
            self.held.remove(place, pointed);
        }
        self.holds += 1;
    }

    /// It no longer has, or not as `stamp` said.
    pub(super) fn discount_held(&mut self, pointers: [Place; 2], stamp: Stamp) {
        self.held.remove(pointers[0], stamp);
        let pointed = pointed_by(stamp.owner);
        for place in pointers {
            self.held.add(place, pointed);
        }
        self.holds = self.holds.saturating_sub(1);
    }

    /// The lane of this worker's own sessions.
    pub(super) fn own_lane(&mut self) -> Option<&mut Lane> {
        self.lanes.first_mut()?.as_deref_mut()
    }

    /// Whether there is room on it for what is not urgent.
    pub(super) fn has_room(&mut self) -> bool {
        self.own_lane().is_some_and(|lane| lane.has_room())
    }

    /// Says something on this worker's own lane. While that stands alone nothing is said: the peer
    /// will be told everything when it listens again.
    pub(super) fn push(&mut self, record: &Record) -> Pushed {
        if let Some(lane) = self.own_lane() {
            if !lane.is_open() {
                return Pushed::Alone;
            }
            let pushed = lane.push(record);
            self.busy = true;
            return pushed.map_or(Pushed::Lost, |()| Pushed::Yes);
        }
        if self.late.len() == LATE {
            return Pushed::Lost;
        }
        self.late.push(*record);
        Pushed::Yes
    }

    /// Takes a lane out, to listen to it.
    pub(super) fn take_lane(&mut self, at: usize) -> Option<Box<Lane>> {
        self.busy = true;
        self.lanes.get_mut(at)?.take()
    }

    /// Puts it back, and says what waited for that.
    pub(super) fn put_lane(&mut self, at: usize, mut lane: Box<Lane>) {
        if at == 0 {
            for record in self.late.drain(..) {
                // If that closes it everything will be told anew.
                let _ = lane.push(&record);
            }
        }
        if let Some(place) = self.lanes.get_mut(at) {
            *place = Some(lane);
        }
    }
}

/// What became of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It is in the stream.
    Yes,
    /// The lane stands alone.
    Alone,
    /// There was no room.
    Lost,
}
