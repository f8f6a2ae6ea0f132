//! Roles of two to five nodes that are connected by two paths.

use std::collections::BTreeMap;

use sluice_ha::heartbeat::PAYLOAD;
use sluice_ha::roles::{Config, Group, Roles};

use crate::rng::Rng;

const DEAD: u32 = 30;
const BEAT: u32 = 5;
const GROUPS: usize = 3;
/// When a started node becomes ready.
const READY: u32 = 200;
const TROUBLE: u32 = 3000;
const QUIET: u32 = 1000;

struct Beat {
    from: usize,
    to: usize,
    boot: u64,
    number: u32,
    payload: Vec<u8>,
}

struct Node {
    roles: Roles,
    boot: u64,
    started: u32,
    number: u32,
    /// By peer: its boot, its last number, and when it was heard.
    heard: Vec<Option<(u64, u32, u32)>>,
}

/// What is wrong at the moment.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Crashed(usize),
    /// A node does not run.
    Stalled(usize),
    /// A path is cut for a node, in one direction or both.
    Deaf(usize, usize),
    Mute(usize, usize),
    Cut(usize, usize),
    /// A path is cut for all.
    PathCut(usize),
}

pub(crate) struct Cluster {
    groups: Vec<Vec<Group>>,
    nodes: Vec<Option<Node>>,
    under_way: BTreeMap<(u32, u64), Beat>,
    faults: Vec<(Fault, u32)>,
    /// Faults at a time.
    at_once: usize,
    /// Of a thousand milliseconds, in how many somebody changes priorities.
    swaying: u32,
    lost: u32,
    jitter: u32,
    now: u32,
    calm: u32,
    count: u64,
    rng: Rng,
    pub(crate) changes: u32,
}

impl Cluster {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let nodes = 2 + rng.below(4) as usize;
        let groups = (0..nodes).map(|_| {
            let group = |_| Group {
                priority: rng.pick(&[1, 10, 10, 20, 200]),
                preempt: rng.pick(&[None, Some(0), Some(300)]),
            };
            (0..GROUPS).map(group).collect()
        });
        let groups: Vec<_> = groups.collect();
        let mut cluster = Self {
            nodes: (0..nodes).map(|_| None).collect(),
            groups,
            under_way: BTreeMap::new(),
            faults: vec![],
            at_once: rng.pick(&[1, 1, 1, 4]),
            swaying: rng.pick(&[0, 10, 300]),
            lost: rng.pick(&[0, 5, 20]),
            jitter: rng.below(8),
            now: 0,
            calm: 0,
            count: 0,
            rng,
            changes: 0,
        };
        for id in 0..nodes {
            cluster.start(id);
        }
        cluster
    }

    fn start(&mut self, id: usize) {
        self.count += 1;
        let roles = Roles::new(&Config {
            me: id as u8,
            groups: self.groups[id].clone(),
            dead: DEAD,
            start: 2000,
        });
        self.nodes[id] = Some(Node {
            roles,
            boot: self.count,
            started: self.now,
            number: 0,
            heard: vec![None; self.nodes.len()],
        });
    }

    pub(crate) fn run(&mut self) {
        for _ in 0..TROUBLE {
            self.mischief();
            self.step();
        }
        for node in self.nodes.iter_mut().flatten() {
            node.roles.set_draining(false);
            (0..GROUPS).for_each(|group| node.roles.set_penalty(group, 0));
        }
        for (fault, _) in std::mem::take(&mut self.faults) {
            self.end(fault);
        }
        for _ in 0..QUIET {
            self.step();
        }
        for group in 0..GROUPS {
            let holders = self.holders(group);
            assert_eq!(
                holders.len(),
                1,
                "group {group} after all is well: {holders:?}"
            );
        }
    }

    /// Trackers fail and recover, operators drain nodes: no faults, but changes of mind.
    fn sway(&mut self) {
        let node = self.rng.below(self.nodes.len() as u32) as usize;
        let group = self.rng.below(GROUPS as u32) as usize;
        let (penalty, drain) = (self.rng.pick(&[0, 0, 15]), self.rng.chance(100));
        if let Some(node) = &mut self.nodes[node] {
            node.roles.set_penalty(group, penalty);
            node.roles.set_draining(drain);
        }
    }

    fn mischief(&mut self) {
        if self.rng.chance(self.swaying) {
            self.sway();
        }
        let ended = self.faults.iter().position(|(_, until)| *until <= self.now);
        if let Some(at) = ended {
            let (fault, _) = self.faults.remove(at);
            self.end(fault);
            self.calm = self.now + 400;
        }
        let calm = self.at_once > 1 || self.now >= self.calm.max(600);
        if self.faults.len() >= self.at_once || !calm || !self.rng.chance(20) {
            return;
        }
        let node = self.rng.below(self.nodes.len() as u32) as usize;
        let path = self.rng.below(2) as usize;
        let fault = match self.rng.below(6) {
            0 => Fault::Crashed(node),
            1 => Fault::Stalled(node),
            2 => Fault::Deaf(node, path),
            3 => Fault::Mute(node, path),
            4 => Fault::Cut(node, path),
            _ => Fault::PathCut(path),
        };
        if fault == Fault::Crashed(node) {
            self.nodes[node] = None;
        }
        let until = self.now + 1 + self.rng.below(800);
        self.faults.push((fault, until));
    }

    fn end(&mut self, fault: Fault) {
        if let Fault::Crashed(node) = fault
            && self.nodes[node].is_none()
        {
            self.start(node);
        }
    }

    fn is_stalled(&self, node: usize) -> bool {
        self.faults
            .iter()
            .any(|(it, _)| *it == Fault::Stalled(node))
    }

    fn passes(&self, from: usize, to: usize, path: usize) -> bool {
        !self.faults.iter().any(|(fault, _)| match *fault {
            Fault::Deaf(node, of) => node == to && of == path,
            Fault::Mute(node, of) => node == from && of == path,
            Fault::Cut(node, of) => (node == to || node == from) && of == path,
            Fault::PathCut(of) => of == path,
            _ => false,
        })
    }

    fn step(&mut self) {
        self.now += 1;
        let mut arrived = vec![];
        while let Some(first) = self.under_way.first_entry() {
            if first.key().0 > self.now {
                break;
            }
            arrived.push(first.remove());
        }
        for beat in arrived {
            // What comes to a node that stands still waits in its queue, as long as there is room.
            if self.is_stalled(beat.to) {
                self.count += 1;
                self.under_way.insert((self.now + 1, self.count), beat);
            } else {
                self.hear(beat);
            }
        }
        for id in 0..self.nodes.len() {
            if !self.is_stalled(id) {
                self.poll(id);
                self.beat(id);
            }
        }
        if self.at_once == 1 {
            for group in 0..GROUPS {
                let holders = self.holders(group);
                let (now, faults) = (self.now, &self.faults);
                assert!(
                    holders.len() <= 1,
                    "at {now}, group {group}: {holders:?} {faults:?}"
                );
            }
        }
    }

    fn hear(&mut self, beat: Beat) {
        let now = self.now;
        let Some(node) = &mut self.nodes[beat.to] else {
            return;
        };
        let known = &mut node.heard[beat.from];
        let peer = beat.from as u8;
        if known.is_none_or(|(boot, ..)| boot < beat.boot) {
            node.roles.restarted(peer);
            *known = None;
        }
        match known {
            Some((boot, ..)) if *boot > beat.boot => return,
            Some((_, number, at)) if *number >= beat.number => {
                *at = now;
                return;
            }
            _ => *known = Some((beat.boot, beat.number, now)),
        }
        node.roles.heard(peer, &beat.payload);
    }

    fn poll(&mut self, id: usize) {
        let now = self.now;
        let others = self.ready_for(100);
        let Some(node) = &mut self.nodes[id] else {
            return;
        };
        node.roles.set_ready(now - node.started >= READY);
        for (peer, heard) in node.heard.iter().enumerate() {
            let alive = heard.is_some_and(|(.., at)| now - at < DEAD);
            node.roles.set_alive(peer as u8, alive);
        }
        while let Some(change) = node.roles.poll(now) {
            self.changes += 1;
            let joining = now - node.started < READY;
            let early = joining && change.holds && others.iter().any(|&other| other != id);
            assert!(
                !early || self.at_once > 1,
                "{id} took a group before it was ready"
            );
        }
    }

    /// Nodes that have been up, running and ready for so long.
    fn ready_for(&self, time: u32) -> Vec<usize> {
        let nodes = self.nodes.iter().enumerate();
        let ready = nodes.filter(|(id, node)| {
            let ready = |node: &Node| self.now - node.started >= READY + time;
            node.as_ref().is_some_and(ready) && !self.is_stalled(*id)
        });
        ready.map(|(id, _)| id).collect()
    }

    fn beat(&mut self, id: usize) {
        if !(self.now + id as u32).is_multiple_of(BEAT) {
            return;
        }
        let peers = self.nodes.len();
        for to in (0..peers).filter(|&to| to != id) {
            for path in 0..2 {
                let late = 1 + self.rng.below(self.jitter + 1);
                let lost = self.rng.chance(self.lost) || !self.passes(id, to, path);
                let Some(node) = &mut self.nodes[id] else {
                    return;
                };
                let mut buffer = [0; PAYLOAD];
                let len = node.roles.payload(to as u8, &mut buffer);
                node.number += 1;
                if lost {
                    continue;
                }
                self.count += 1;
                let beat = Beat {
                    from: id,
                    to,
                    boot: node.boot,
                    number: node.number,
                    payload: buffer[..len].to_vec(),
                };
                self.under_way.insert((self.now + late, self.count), beat);
            }
        }
    }

    fn holders(&self, group: usize) -> Vec<usize> {
        let nodes = self.nodes.iter().enumerate();
        let holders = nodes.filter(|(id, node)| {
            let holds = |node: &Node| node.roles.holds(group);
            node.as_ref().is_some_and(holds) && !self.is_stalled(*id)
        });
        holders.map(|(id, _)| id).collect()
    }
}
