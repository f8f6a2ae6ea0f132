//! Roles: which node holds which group of virtual addresses.
//!
//! Each group has a priority on each node. A node tells the others, in its heartbeats, its priority
//! for each group, whether it holds it, and for whom it *votes*. It takes a group only when every
//! other living node votes for it, and does so knowing of its claim: each of them must have said so
//! after it heard that this node votes for itself. Two nodes cannot both get that, whatever is lost or
//! late; so there is one holder at most as long as the living can hear each other by some path.
//!
//! The rules:
//!
//! - A holder stays holder, unless it is told to drain, its priority falls to 0, or a node with a
//!   higher priority, ready, has been there for the hold-down time (preemption). Then it lets go first
//!   and votes for the other, who takes.
//! - A node of which a tracker fails (a data port, a gateway, a worker) loses some priority, and lets
//!   go to one that is then fitter, whatever that one's hold-down says.
//! - A node is *ready* when its bulk sync is complete and its lag was nil. One that has never been
//!   ready since it started takes nothing while others live; after [`Config::start`] it may, if nobody
//!   better is there.
//! - A node that is not heard by *any* path is dead, and needs no vote. One failure (a node, a cable,
//!   a path) therefore never makes two holders. **Two failures** that cut all paths between nodes that
//!   live do: each side serves on its own, because an address that nobody answers for is worse than
//!   one that two answer for. As soon as they hear each other again the one with the lower priority
//!   (of equals, the higher id) lets go.
//! - A node that was stopped for half as long as it takes to be called dead lets everything go before
//!   it does anything else, and listens first: the others may have followed it.

use crate::frame::MAX_NODES;

mod said;

pub use said::MAX_GROUPS;

use said::{NOBODY, Said};

/// A group, on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// The higher, the sooner this node holds it; 0 never does.
    pub priority: u8,
    /// Take it from a holder of lower priority, after having been fit for so many milliseconds.
    pub preempt: Option<u32>,
}

/// What a node's roles depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This node's id.
    pub me: u8,
    /// Groups, in the same order on all nodes, [`MAX_GROUPS`] at most.
    pub groups: Vec<Group>,
    /// As in [`crate::heartbeat::Intervals`]: after so long a silence a node is dead, milliseconds.
    pub dead: u32,
    /// How long after its start a node that did not become ready waits for one that is.
    pub start: u32,
}

/// A group was taken or let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Index of the group.
    pub group: usize,
    /// Whether this node holds it now.
    pub holds: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Peer {
    alive: bool,
    said: Option<Said>,
}

#[derive(Debug, Clone, Copy)]
struct Own {
    config: Group,
    /// What failing trackers take from the priority.
    penalty: u8,
    holds: bool,
    vote: u8,
    /// Of which version on the vote is this one.
    voted: u32,
    /// Since when this node could preempt.
    fitter: Option<u32>,
    told: bool,
}

impl Own {
    fn priority(&self) -> u8 {
        self.config.priority.saturating_sub(self.penalty)
    }
}

/// How fit a node is for a group: first by what it has, then by priority, then by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fitness {
    /// 2: ready. 1: has been, or waited long enough. 0: may not take anything.
    level: u8,
    priority: u8,
    rank: u8,
}

/// See the module's description.
#[derive(Debug)]
pub struct Roles {
    me: u8,
    dead: u32,
    start: u32,
    groups: Vec<Own>,
    peers: [Peer; MAX_NODES as usize],
    ready: bool,
    was_ready: bool,
    draining: bool,
    leaving: bool,
    version: u32,
    /// When this node started, or awoke, and when it was last polled.
    listening: Option<u32>,
    started: Option<u32>,
    polled: u32,
}

impl Roles {
    /// Of a node that holds nothing yet.
    pub fn new(config: &Config) -> Self {
        let own = |config: &Group| Own {
            config: *config,
            penalty: 0,
            holds: false,
            vote: NOBODY,
            voted: 0,
            fitter: None,
            told: false,
        };
        Self {
            me: config.me,
            dead: config.dead,
            start: config.start,
            groups: config.groups.iter().take(MAX_GROUPS).map(own).collect(),
            peers: [Peer::default(); MAX_NODES as usize],
            ready: false,
            was_ready: false,
            draining: false,
            leaving: false,
            version: 1,
            listening: None,
            started: None,
            polled: 0,
        }
    }

    /// Whether bulk syncs from all peers are complete, and the lag is nil.
    pub fn set_ready(&mut self, ready: bool) {
        self.version += u32::from(self.ready != ready);
        self.ready = ready;
        self.was_ready |= ready;
    }

    /// Whether this node is to give its groups away, as soon as somebody can have them.
    pub fn set_draining(&mut self, draining: bool) {
        self.version += u32::from(self.draining != draining);
        self.draining = draining;
    }

    /// What is configured for a group has changed.
    pub fn set_group(&mut self, group: usize, config: Group) {
        if let Some(own) = self.groups.get_mut(group) {
            self.version += u32::from(own.config != config);
            own.config = config;
        }
    }

    /// Whether this node is about to stop, so that its peers are to take over its sessions.
    pub fn set_leaving(&mut self, leaving: bool) {
        self.version += u32::from(self.leaving != leaving);
        self.leaving = leaving;
    }

    /// Whether a node said that it is about to stop.
    pub fn is_leaving(&self, node: u8) -> bool {
        self.said(node).is_some_and(|said| said.leaving)
    }

    /// Whether a node is so much worse off than this one that its sessions are to be taken over as
    /// their packets come here: a tracker of it fails, and it holds nothing.
    pub fn yields(&self, node: u8) -> bool {
        let fit = self.groups.iter().all(|own| own.penalty == 0);
        fit && self
            .said(node)
            .is_some_and(|said| said.degraded && !said.holds_any())
    }

    /// Whether a node said that it has been told everything.
    pub fn is_ready(&self, node: u8) -> bool {
        self.said(node).is_some_and(|said| said.ready)
    }

    /// Whether a node said that it holds a group.
    pub fn peer_holds(&self, node: u8, group: usize) -> bool {
        let said = self.said(node).and_then(|said| said.group(group));
        said.is_some_and(|of| of.holds)
    }

    /// Whether this node said that it is about to stop, and a node has heard that.
    pub fn is_away(&self, node: u8) -> bool {
        self.leaving && self.has_heard(node)
    }

    /// Whether a node has heard what this one says now.
    pub fn has_heard(&self, node: u8) -> bool {
        self.said(node)
            .is_some_and(|said| said.heard == self.version)
    }

    /// Whether a node said that it is about to go, as soon as others can have what it has.
    pub fn goes(&self, node: u8) -> bool {
        self.said(node).is_some_and(|said| said.draining)
    }

    /// Whether this node is to give its groups away.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// What failing trackers (a data port, a gateway, a worker) take from the priority of a group.
    pub fn set_penalty(&mut self, group: usize, penalty: u8) {
        if let Some(own) = self.groups.get_mut(group) {
            self.version += u32::from(own.penalty != penalty);
            own.penalty = penalty;
        }
    }

    /// Whether a node is heard, by whatever path ([`crate::heartbeat::Event`]).
    pub fn set_alive(&mut self, node: u8, alive: bool) {
        if let Some(peer) = self.peers.get_mut(usize::from(node)) {
            peer.alive = alive;
        }
    }

    /// A node was started anew: what it said, or heard, is void.
    pub fn restarted(&mut self, node: u8) {
        if let Some(peer) = self.peers.get_mut(usize::from(node)) {
            peer.said = None;
        }
    }

    /// What a node said in its last heartbeat. What cannot be read is as good as nothing said.
    pub fn heard(&mut self, node: u8, payload: &[u8]) {
        if let Some(peer) = self.peers.get_mut(usize::from(node)) {
            peer.said = Said::parse(payload);
        }
    }

    /// Whether this node holds a group.
    pub fn holds(&self, group: usize) -> bool {
        self.groups.get(group).is_some_and(|own| own.holds)
    }

    /// What to say to a node in the next heartbeat ([`crate::Heartbeat::set_payload`]).
    pub fn payload(&self, node: u8, buffer: &mut [u8; crate::heartbeat::PAYLOAD]) -> usize {
        let heard = self.said(node).map_or(0, |said| said.version);
        let mut said = Said {
            ready: self.ready,
            was_ready: self.is_experienced(),
            draining: self.draining,
            degraded: self.groups.iter().any(|own| own.penalty > 0),
            leaving: self.leaving,
            version: self.version,
            heard,
            ..Said::default()
        };
        for own in &self.groups {
            said.push(own.priority(), own.vote, own.holds);
        }
        said.write(buffer)
    }

    fn said(&self, node: u8) -> Option<&Said> {
        self.peers.get(usize::from(node))?.said.as_ref()
    }

    fn is_experienced(&self) -> bool {
        let waited = |started| self.polled.wrapping_sub(started) >= self.start;
        self.was_ready || self.started.is_some_and(waited)
    }

    fn living(&self) -> impl Iterator<Item = (u8, Option<&Said>)> {
        let peers = (0..MAX_NODES).zip(&self.peers);
        peers
            .filter(move |(id, peer)| peer.alive && *id != self.me)
            .map(|(id, peer)| (id, peer.said.as_ref()))
    }

    /// Decides by what is known at `now`, and gives a change; to be called until there is none.
    pub fn poll(&mut self, now: u32) -> Option<Change> {
        // Half the time: others count from the heartbeat before, and have to wait for the next one.
        let stalled = now.wrapping_sub(self.polled) >= self.dead / 2
            && self.started.is_some()
            && self.living().next().is_some();
        self.polled = now;
        self.started.get_or_insert(now);
        if stalled {
            self.let_all_go(now);
        }
        let since = *self.listening.get_or_insert(now);
        if now.wrapping_sub(since) >= self.dead {
            for group in 0..self.groups.len() {
                self.decide(group, now);
            }
        }
        let group = self.groups.iter().position(|own| own.told != own.holds)?;
        let own = &mut self.groups[group];
        own.told = own.holds;
        let holds = own.holds;
        Some(Change { group, holds })
    }

    /// This node stood still for so long that others may have called it dead.
    fn let_all_go(&mut self, now: u32) {
        self.version += 1;
        self.listening = Some(now);
        for own in &mut self.groups {
            (own.holds, own.vote, own.fitter) = (false, NOBODY, None);
        }
    }

    fn fitness(&self, group: usize) -> Fitness {
        let priority = self.groups[group].priority();
        fitness(
            self.me,
            priority,
            self.ready,
            self.is_experienced(),
            self.draining,
        )
    }

    fn decide(&mut self, group: usize, now: u32) {
        let mine = self.fitness(group);
        // The fittest of the others, and who of them holds the group.
        let (mut best, mut holder) = (None::<(u8, Fitness)>, None::<(u8, Fitness)>);
        let mut holder_degraded = false;
        for (id, said) in self.living() {
            let Some((said, of)) = said.and_then(|said| Some((said, said.group(group)?))) else {
                continue;
            };
            let fit = fitness(id, of.priority, said.ready, said.was_ready, said.draining);
            if fit.level > 0 && best.is_none_or(|(_, known)| fit > known) {
                best = Some((id, fit));
            }
            if of.holds && holder.is_none_or(|(_, known)| fit > known) {
                holder = Some((id, fit));
                holder_degraded = said.degraded;
            }
        }
        let own = &self.groups[group];
        let alone = self.living().next().is_none();
        let fitter = holder.is_some_and(|(_, of)| mine.priority > of.priority);
        let hold_down = match holder_degraded && own.penalty == 0 && fitter {
            true => Some(0),
            false => own.config.preempt,
        };
        let unused = own.config.priority == 0;
        let (holds, vote) = if unused {
            let other = holder.or(best);
            (false, other.map_or(NOBODY, |(id, _)| id))
        } else if own.holds {
            match (holder, best) {
                // Both sides held it while they could not hear each other.
                (Some((id, fit)), _) if (fit.priority, fit.rank) > (mine.priority, mine.rank) => {
                    (false, id)
                }
                (_, Some((id, _))) if self.gives_to(group, id) => (false, id),
                _ => (true, self.me),
            }
        } else {
            match (holder, best) {
                (Some((_, of)), _) if self.may_preempt(group, mine, of, hold_down, now) => {
                    (false, self.me)
                }
                (Some((id, _)), _) => (false, id),
                (None, Some((id, fit))) if fit > mine => (false, id),
                (None, _) if mine.level > 0 || alone && mine.priority > 0 => (false, self.me),
                (None, _) => (false, NOBODY),
            }
        };
        let own = &mut self.groups[group];
        if holder.is_none() {
            own.fitter = None;
        }
        if (own.holds, own.vote) != (holds, vote) {
            self.version += 1;
            if own.vote != vote {
                own.voted = self.version;
            }
            (own.holds, own.vote) = (holds, vote);
        }
        let voted = own.voted;
        if !holds && vote == self.me && self.all_agree(group, voted, alone) {
            self.version += 1;
            self.groups[group].holds = true;
        }
    }

    /// Whether the holder, this node, lets go for another: that one votes for itself, which it does
    /// when its hold-down is over, and it is fitter; or this node has to go.
    fn gives_to(&self, group: usize, id: u8) -> bool {
        let Some((said, of)) = self
            .said(id)
            .and_then(|said| Some((said, said.group(group)?)))
        else {
            return false;
        };
        let theirs = fitness(id, of.priority, said.ready, said.was_ready, said.draining);
        let mine = self.fitness(group);
        let must = self.draining || mine.priority == 0;
        theirs.level == 2 && of.vote == id && (must || theirs.priority > mine.priority)
    }

    /// Whether this node may ask the holder for the group.
    fn may_preempt(
        &mut self,
        group: usize,
        mine: Fitness,
        holder: Fitness,
        hold_down: Option<u32>,
        now: u32,
    ) -> bool {
        let own = &mut self.groups[group];
        if mine.level < 2 {
            own.fitter = None;
            return false;
        }
        if holder.level == 0 {
            // It drains, or cannot serve.
            return true;
        }
        let Some(hold_down) = hold_down.filter(|_| mine.priority > holder.priority) else {
            own.fitter = None;
            return false;
        };
        let since = *own.fitter.get_or_insert(now);
        now.wrapping_sub(since) >= hold_down
    }

    /// Whether all that live vote for this node, since they heard that it wants the group.
    fn all_agree(&self, group: usize, voted: u32, alone: bool) -> bool {
        let agrees = |said: &Said| {
            let of = said.group(group);
            let for_me = of.is_some_and(|of| of.vote == self.me && !of.holds);
            for_me && said.heard.wrapping_sub(voted).cast_signed() >= 0
        };
        alone || self.living().all(|(_, said)| said.is_some_and(agrees))
    }
}

fn fitness(id: u8, priority: u8, ready: bool, was_ready: bool, draining: bool) -> Fitness {
    let level = match (priority, draining, ready, was_ready) {
        (0, ..) | (_, true, ..) => 0,
        (_, _, true, _) => 2,
        (_, _, _, true) => 1,
        _ => 0,
    };
    Fitness {
        level,
        priority,
        rank: u8::MAX - id,
    }
}

#[cfg(test)]
mod tests;
