//! Roles: which groups of addresses this node holds, and what it does about it.
//!
//! Worker 0 decides with the other nodes ([`sluice_ha::Roles`]), tells the other workers, and announces the
//! addresses of a group that it has taken: at once, and a few times more, because announcements are
//! lost like anything else.

use arrayvec::ArrayVec;
use sluice_ha::NodeSet;
use sluice_ha::heartbeat::PAYLOAD;
use sluice_ha::roles::{Group, MAX_GROUPS};

use super::super::Worker;
use super::super::local::{announce_on, report_groups};
use super::Peer;
use crate::groups::{self, GroupId, GroupSet, Groups};
use crate::handoff::{Going, Message};
use crate::io::Io;
use crate::mailbox::{Event, HaEvent, RoleOrders};
use crate::published::WorkerCounter;
use crate::snapshot::PortId;
use crate::stack::link::Link;
use crate::stack::mld;

/// When addresses are announced, milliseconds after a group was taken.
const ROUNDS: [u32; 8] = [0, 20, 100, 500, LINGER - 100, LINGER + 100, 2000, 5000];
/// How often the holder announces one address of a group on each port, milliseconds: switches forget
/// where a MAC address is that sends nothing.
const REFRESH: u32 = 60_000;
/// Addresses announced per millisecond at most.
const PER_TICK: usize = 64;
/// How long a node takes frames for a group after it let it go, milliseconds: until all switches
/// deliver them to the other one.
const LINGER: u32 = 1000;

/// Groups to announce, and how far that has come.
#[derive(Debug, Default)]
pub(in super::super) struct Announcer {
    /// By the group's place: when it was taken, and the next of [`ROUNDS`].
    due: [Option<(u32, usize)>; MAX_GROUPS],
    /// What is being announced: the round's group, and the address to go on with.
    now: Option<(GroupId, usize)>,
    refreshed: u32,
    /// Groups that other nodes said they hold.
    others: GroupSet,
    /// Other nodes that are heard.
    heard: NodeSet,
}

/// What the configuration says of all groups, by their place; those that it has not are never held.
pub(super) fn slots(groups: &[groups::Group]) -> [Group; MAX_GROUPS] {
    let mut slots = [Group {
        priority: 0,
        preempt: None,
    }; MAX_GROUPS];
    for group in groups {
        if let Some(slot) = slots.get_mut(group.id.slot()) {
            slot.priority = group.priority;
            slot.preempt = group.preempt;
        }
    }
    slots
}

impl<I: Io> Worker<I> {
    /// Groups that this node holds, and answers for.
    #[inline]
    pub(in super::super) fn held(&self) -> GroupSet {
        self.ha.as_ref().map_or(GroupSet::default(), |ha| ha.held)
    }

    /// Groups that this node takes frames for.
    #[inline]
    pub(in super::super) fn taken(&self) -> GroupSet {
        self.ha.as_ref().map_or(GroupSet::default(), |ha| ha.taken)
    }

    /// Other groups are held from now on.
    pub(in super::super) fn set_held(&mut self, [held, taken]: [GroupSet; 2]) {
        if let Some(ha) = &mut self.ha {
            (ha.held, ha.taken) = (held, taken);
        }
    }

    /// What control asks for: to go away for a while, and how much trackers take.
    pub(in super::super) fn order_roles(&mut self, orders: &RoleOrders) {
        if let Some(speaker) = self.speaker() {
            speaker.roles.set_draining(orders.draining);
            speaker.roles.set_leaving(orders.leaving);
            for (slot, &penalty) in orders.penalties.iter().enumerate() {
                speaker.roles.set_penalty(slot, penalty);
            }
        }
    }

    /// A new snapshot may have other groups.
    pub(in super::super) fn follow_groups(&mut self) {
        let slots = slots(&self.snapshot.groups.groups);
        self.reset_probes();
        if let Some(speaker) = self.speaker() {
            for (slot, group) in slots.into_iter().enumerate() {
                speaker.roles.set_group(slot, group);
            }
        }
    }

    /// Takes groups and lets them go, and says so.
    pub(super) fn follow_roles(&mut self) {
        let now = self.now;
        let Some(ha) = &mut self.ha else { return };
        let joined = ha.settled && !ha.linked.is_empty() && ha.peers.iter().all(Peer::is_known);
        let lag: u64 = ha.peers.iter().map(Peer::lag).sum();
        let node = ha.parts.node;
        let Some(speaker) = &mut ha.speaker else {
            return;
        };
        speaker.ready |= joined && lag == 0;
        let roles = &mut speaker.roles;
        roles.set_ready(speaker.ready);
        let [mut ready, mut going, mut heard] = [NodeSet::default(); 3];
        if speaker.ready {
            ready = ready.with(node);
        }
        if roles.is_draining() {
            going = going.with(node);
        }
        for (peer, voice) in ha.peers.iter().zip(&mut speaker.voices) {
            let up = voice.heartbeat.is_up();
            roles.set_alive(peer.id, up);
            roles.heard(peer.id, voice.heartbeat.peer_payload());
            if up {
                heard = heard.with(peer.id);
            }
            if up && roles.is_ready(peer.id) {
                ready = ready.with(peer.id);
            }
            if up && roles.goes(peer.id) {
                going = going.with(peer.id);
            }
            voice.holds = GroupSet::default();
            for slot in (0..MAX_GROUPS).filter(|_| up) {
                let holds = roles.peer_holds(peer.id, slot);
                voice.holds.set(GroupId::of_slot(slot), holds);
            }
        }
        // If all go, all that know everything are as good as before.
        let staying = going.iter().fold(ready, NodeSet::without);
        if !staying.is_empty() {
            ready = staying;
        }
        let others = speaker.held_by_others();
        let is_new = ready != speaker.ready_nodes || speaker.ready_untold;
        speaker.ready_nodes = ready;
        let mut changes = ArrayVec::<(GroupId, bool), { 2 * MAX_GROUPS }>::new();
        if speaker.has_listened(now) {
            while let Some(change) = speaker.roles.poll(now) {
                let group = GroupId::of_slot(change.group);
                speaker.held.set(group, change.holds);
                speaker.let_go[change.group] = (!change.holds).then_some(now);
                speaker.announcer.due[change.group] = change.holds.then_some((now, 0));
                speaker.untold = true;
                if changes.try_push((group, change.holds)).is_err() {
                    break;
                }
            }
        }
        let before = std::mem::replace(&mut speaker.announcer.others, others);
        let unheard = std::mem::replace(&mut speaker.announcer.heard, heard);
        // It may have held anything, and have let it go as soon as it heard this node, before it was heard itself.
        let is_back = heard.and(unheard) != heard;
        for slot in 0..MAX_GROUPS {
            let group = GroupId::of_slot(slot);
            // Both held it, and switches know the one that let it go.
            let let_go = before.has(group) && !others.has(group);
            if speaker.held.has(group) && (let_go || is_back) {
                speaker.announcer.due[slot] = Some((now, 0));
            }
        }
        for (peer, voice) in ha.peers.iter().zip(&mut speaker.voices) {
            let mut payload = [0; PAYLOAD];
            let len = speaker.roles.payload(peer.id, &mut payload);
            voice.heartbeat.set_payload(&payload[..len]);
        }
        let mut taken = speaker.held;
        for (slot, at) in speaker.let_go.iter_mut().enumerate() {
            match at {
                Some(since) if now.wrapping_sub(*since) < LINGER => {
                    taken.set(GroupId::of_slot(slot), true);
                }
                Some(_) => (*at, speaker.untold) = (None, true),
                None => {}
            }
        }
        if std::mem::take(&mut speaker.untold) {
            let sets = [speaker.held, taken];
            self.set_held(sets);
            let mut all = true;
            for worker in 1..self.rings.workers() {
                all &= self.rings.push(worker, Message::Held(sets)).is_ok();
            }
            if let Some(speaker) = self.speaker().filter(|_| !all) {
                speaker.untold = true;
            }
        }
        self.follow_going();
        if is_new {
            let all = self.spread(|| Message::Ready(ready));
            if let Some(speaker) = self.speaker() {
                speaker.ready_untold = !all;
            }
            self.set_ready(ready);
        }
        for (group, holds) in changes {
            self.tell(Event::Ha(HaEvent::Group { group, holds }));
        }
        self.announce_groups();
    }

    /// Tells the workers whether this node is about to go.
    fn follow_going(&mut self) {
        let Some(ha) = &mut self.ha else { return };
        let Some(speaker) = &mut ha.speaker else {
            return;
        };
        let mut living = ha.peers.iter().zip(&speaker.voices);
        let mut have_heard = || {
            living.all(|(peer, voice)| !voice.heartbeat.is_up() || speaker.roles.has_heard(peer.id))
        };
        let going = match (speaker.roles.is_draining(), speaker.going) {
            (false, _) => Going::No,
            (true, Going::Heard) => Going::Heard,
            (true, Going::Yes) if ha.taken == GroupSet::default() && have_heard() => Going::Heard,
            (true, _) => Going::Yes,
        };
        if going == speaker.going && !speaker.going_untold {
            return;
        }
        speaker.going = going;
        let all = self.spread(|| Message::Going(going));
        if let Some(speaker) = self.speaker() {
            speaker.going_untold = !all;
        }
        self.set_going(going);
    }

    /// Announces addresses of groups that were taken not long ago, some per millisecond.
    fn announce_groups(&mut self) {
        let (now, held) = (self.now, self.held());
        let Some(speaker) = self.speaker() else {
            return;
        };
        if held == GroupSet::default() {
            return;
        }
        let announcer = &mut speaker.announcer;
        if now.wrapping_sub(announcer.refreshed) >= REFRESH {
            announcer.refreshed = now;
            self.refresh_groups(held);
            return;
        }
        if announcer.now.is_none() {
            let due = announcer
                .due
                .iter_mut()
                .enumerate()
                .find_map(|(slot, due)| {
                    let (since, round) = (*due)?;
                    if now.wrapping_sub(since) < ROUNDS[round % ROUNDS.len()] {
                        return None;
                    }
                    *due = (round + 1 < ROUNDS.len()).then_some((since, round + 1));
                    Some(GroupId::of_slot(slot))
                });
            announcer.now = due.map(|group| (group, 0));
        }
        let Some((group, from)) = announcer.now else {
            return;
        };
        let next = self.announce_some(group, from, held);
        if let Some(speaker) = self.speaker() {
            speaker.announcer.now = next.map(|next| (group, next));
        }
    }

    /// Announces addresses of a group from number `from` on. Gives where to go on.
    fn announce_some(&mut self, group: GroupId, from: usize, held: GroupSet) -> Option<usize> {
        let Self {
            snapshot,
            io,
            egress,
            rings,
            ..
        } = self;
        let ports = (0..snapshot.ports.len() as u16).map(PortId);
        let links = ports.filter_map(|id| Link::of(snapshot, id, held));
        let mut sent = 0;
        let addresses = snapshot.local.iter().enumerate().skip(from);
        let mut of_group =
            addresses.filter(|(_, (address, _))| snapshot.groups.of(*address) == Some(group));
        if from == 0 {
            for link in links.clone() {
                report_groups(&link, mld::Why::Joined, io, egress, rings);
            }
        }
        of_group.find_map(|(at, (address, _))| {
            if sent >= PER_TICK {
                return Some(at);
            }
            for link in links.clone().filter(|link| link.answers_for(address)) {
                sent += 1;
                announce_on(&link, address, io, egress, rings);
            }
            None
        })
    }

    /// One address of each group that is held, on each port.
    fn refresh_groups(&mut self, held: GroupSet) {
        let Self {
            snapshot,
            io,
            egress,
            rings,
            ..
        } = self;
        for id in (0..snapshot.ports.len() as u16).map(PortId) {
            let Some(link) = Link::of(snapshot, id, held) else {
                continue;
            };
            let mut done = GroupSet::default();
            for address in link.answered() {
                if let Some(group) = snapshot
                    .groups
                    .of(address)
                    .filter(|&group| !done.has(group))
                {
                    done.set(group, true);
                    announce_on(&link, address, io, egress, rings);
                }
            }
        }
    }

    /// Sets the counters that say who holds what.
    pub(super) fn count_roles(&mut self) {
        let Some(ha) = &self.ha else { return };
        let Some(speaker) = &ha.speaker else { return };
        let others = speaker.held_by_others();
        let mut living = ha.peers.iter().zip(&speaker.voices);
        // Somebody must have heard it, and nobody who lives must not have.
        let away = speaker.voices.iter().any(|voice| voice.heartbeat.is_up())
            && living
                .all(|(peer, voice)| speaker.roles.is_away(peer.id) || !voice.heartbeat.is_up())
            && ha.taken == GroupSet::default();
        let (paths, ready) = (speaker.paths(), u64::from(speaker.ready));
        let counters = &mut self.counters;
        counters.set(WorkerCounter::HaGroupsHeld, u64::from(ha.held.0));
        counters.set(WorkerCounter::HaGroupsPeer, u64::from(others.0));
        counters.set(WorkerCounter::HaPaths, paths);
        counters.set(WorkerCounter::HaJoined, ready);
        counters.set(WorkerCounter::HaAway, u64::from(away));
    }
}

/// Whether a snapshot's groups give reason to announce addresses anew.
pub(in super::super) fn differ(old: &Groups, new: &Groups) -> bool {
    old.differ(new)
}
