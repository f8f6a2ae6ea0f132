//! Which nodes there are, and to whom the sessions and ports of dead ones fall.

use sluice_ha::digest::mix;
use sluice_ha::{NodeSet, Session};

use super::super::Worker;
use super::{Ha, Origin, WAIT_MS};
use crate::handoff::{LaneOf, PeerUp, Seat};
use crate::io::Io;

/// How long the same nodes must have lived before one of them gives away ports of a dead one,
/// milliseconds, where there are more than two: until all agree on who it is.
pub(super) const AGREED_MS: u32 = 1000;

impl Ha {
    /// Whether there are more than two nodes.
    pub(super) fn is_cluster(&self) -> bool {
        self.peers.len() > 1
    }

    /// Where a node sits.
    pub(super) fn seat_of(&self, node: u8) -> Option<Seat> {
        let at = self.peers.iter().position(|peer| peer.id == node)?;
        Some(Seat(at as u8))
    }

    /// The node that told of a replica, if it is still the same one.
    pub(super) fn teller_of(&self, origin: Origin) -> Option<Seat> {
        if origin.meeting == 0 {
            return None;
        }
        let mut peers = self.peers.iter();
        let at = peers.position(|peer| peer.meeting == origin.meeting)?;
        Some(Seat(at as u8))
    }

    /// The same, by its number.
    pub(super) fn teller_id(&self, origin: Origin) -> Option<u8> {
        let seat = self.teller_of(origin)?;
        Some(self.peers.get(usize::from(seat.0))?.id)
    }

    /// The owner of a replica, if it can be reached.
    pub(super) fn owner_of(&self, origin: Origin) -> Option<Seat> {
        let seat = self.teller_of(origin)?;
        let peer = self.peers.get(usize::from(seat.0))?;
        peer.link.is_some().then_some(seat)
    }

    /// The same, if that is fit to keep it.
    pub(super) fn keeper_of(&self, origin: Origin) -> Option<Seat> {
        let seat = self.owner_of(origin)?;
        let peer = self.peers.get(usize::from(seat.0))?;
        let link = peer.link.as_ref()?;
        (!link.yields).then_some(seat)
    }

    /// Whom what hashes to `hash` falls to; `None` if that is this node.
    pub(super) fn heir(&self, hash: u64) -> Option<Seat> {
        let heir = self.heirs.heir(hash)?;
        self.seat_of(heir)
    }

    /// The number of a meeting that has just begun. None is 0, nor another peer's that is still
    /// good.
    pub(super) fn next_meeting(&mut self) -> u16 {
        loop {
            self.meetings = self.meetings.wrapping_add(1);
            let meeting = Origin::meeting(self.meetings);
            if meeting != 0 && self.peers.iter().all(|peer| peer.meeting != meeting) {
                return meeting;
            }
        }
    }

    /// Nodes came or went, or have been told everything.
    pub(super) fn follow_members(&mut self, now: u32) {
        let of = |has: fn(&super::Peer) -> bool| -> NodeSet {
            let peers = self.peers.iter().filter(|peer| has(peer));
            peers.map(|peer| peer.id).collect()
        };
        let me = self.parts.node;
        self.linked = of(|peer| peer.link.is_some());
        let living = of(|peer| peer.link.is_some() || peer.lives);
        let fit = |peer: &super::Peer| peer.link.as_ref().is_some_and(|link| !link.yields);
        let here = of(fit).with(me);
        // Who has just begun knows least. If all have, each keeps what it knows.
        let able = self.ready.and(here);
        let heirs = if able.is_empty() {
            NodeSet::only(me)
        } else {
            able
        };
        let shares = (0..self.parts.shares).filter(|&share| {
            let node = self.members.iter().nth(usize::from(share));
            let lives = node.is_some_and(|node| node == me || living.has(node));
            !lives && heirs.heir(mix(u64::from(share) + 1)) == Some(me)
        });
        let inherited = shares.fold(0, |all, share| all | 1 << share);
        if (heirs, inherited) != (self.heirs, self.inherited) {
            (self.heirs, self.inherited) = (heirs, inherited);
            self.heirs_since = now;
        }
        self.follow_keepers();
    }

    /// Whether this node was told all that there is, or the others have had long enough for it. It
    /// waits for those that it has not met for as long as it waits for any.
    pub(super) fn follow_joining(&mut self, now: u32) {
        let mut linked = self.peers.iter().filter(|peer| peer.link.is_some());
        let all = self.linked.len() as usize == self.peers.len();
        self.settled |= !self.linked.is_empty()
            && linked.all(|peer| peer.has_told(now))
            && (all
                || self
                    .waiting
                    .is_none_or(|then| now.wrapping_sub(then) >= WAIT_MS));
    }

    /// Bit s: share s of all ports is a dead node's, and this node's to give away.
    pub(super) fn inherits(&self, now: u32) -> u16 {
        let is_new = self.is_cluster() && now.wrapping_sub(self.heirs_since) < AGREED_MS;
        if is_new { 0 } else { self.inherited }
    }

    /// The living node that gives away a port; `None` if it is this one, or nobody knows.
    pub(super) fn giver(&self, share: u16) -> Option<Seat> {
        let node = self.members.iter().nth(usize::from(share))?;
        let seat = self.seat_of(node)?;
        self.linked.has(node).then_some(seat)
    }

    /// What is agreed on with a node.
    pub(super) fn agreed_with(&self, node: u8) -> Option<(&super::Peer, &Session)> {
        let mut peers = self.peers.iter();
        let peer = peers.find(|peer| peer.id == node)?;
        Some((peer, peer.agreed.as_ref()?))
    }
}

impl<I: Io> Worker<I> {
    /// A node can be reached by the HA link.
    pub(in super::super) fn peer_up(&mut self, up: &PeerUp) {
        let now = self.now;
        let seat = self.ha.as_ref().and_then(|ha| ha.seat_of(up.session.peer));
        let Some(seat) = seat else { return };
        let peer = self.peer_at(seat);
        if peer.is_some_and(|peer| peer.boot != Some(up.session.peer_boot)) {
            // What it was to send died with it.
            self.recall(seat, 0, u32::MAX);
        }
        let Some(ha) = &mut self.ha else { return };
        // Whoever comes later knows less.
        let first = ha.peers.iter().all(|peer| peer.boot.is_none());
        let alone = first && ha.waiting.is_none();
        let at = usize::from(seat.0);
        let is_new = ha.peers[at].boot != Some(up.session.peer_boot);
        let meeting = if is_new { ha.next_meeting() } else { 0 };
        let peer = &mut ha.peers[at];
        (peer.lives, peer.died) = (true, None);
        peer.agreed = Some(up.session);
        peer.link = Some(super::Link {
            session: up.session,
            mac: up.mac,
            yields: up.yields,
        });
        if peer.session != Some(up.session.id) {
            peer.session = Some(up.session.id);
            peer.codec.associate(&up.session);
            if is_new {
                ha.settled |= alone;
                ha.strays += std::mem::take(&mut peer.copies);
                peer.meet(up.session.peer_boot, meeting, now);
                ha.sweeps.retain(|sweeping| sweeping.of.seat != seat);
            }
            peer.lanes
                .iter_mut()
                .flatten()
                .filter(|lane| lane.id() < up.session.lanes)
                .for_each(|lane| lane.associate(&up.session));
            peer.busy = true;
        }
        ha.follow_members(now);
    }

    /// A node is dead, or (`lives`) cannot be reached by the HA link.
    pub(in super::super) fn peer_down(&mut self, seat: Seat, lives: bool) {
        let now = self.now;
        let Some(ha) = &mut self.ha else { return };
        if let Some(peer) = ha.peers.get_mut(usize::from(seat.0)) {
            if peer.link.take().is_some() {
                ha.waiting = Some(now);
            }
            peer.lives = lives;
            peer.died = (!lives).then(|| peer.died.unwrap_or(now));
        }
        ha.follow_members(now);
    }

    /// Other nodes have been told everything than before.
    pub(in super::super) fn set_ready(&mut self, ready: NodeSet) {
        let now = self.now;
        if let Some(ha) = &mut self.ha {
            ha.ready = ready;
            ha.follow_members(now);
        }
    }

    /// The number of the node that sits there.
    pub(super) fn node_at(&self, seat: Seat) -> Option<u8> {
        let ha = self.ha.as_ref()?;
        Some(ha.peers.get(usize::from(seat.0))?.id)
    }

    /// The last meeting with the node that has a lane, as it is kept.
    pub(super) fn meeting_of(&self, of: LaneOf) -> u16 {
        let ha = self.ha.as_ref();
        let peer = ha.and_then(|ha| ha.peers.get(usize::from(of.seat.0)));
        peer.map_or(0, |peer| peer.meeting)
    }

    /// Whose ports may be leased besides our own: bit s is share s. Those of nodes that are dead, and
    /// were not just not found yet.
    pub(in super::super) fn inherits_ports(&self) -> u16 {
        self.ha.as_ref().map_or(0, |ha| ha.inherits(self.now))
    }
}
