//! Two nodes, what happens to them, and what must be true all the time.

use std::collections::{BTreeMap, BTreeSet};

use sluice_ha::LaneConfig;
use sluice_ha::record::{Record, Stamp};
use sluice_ha::seal::{Keyring, PreShared};

use crate::net::{Faults, Net};
use crate::node::{LANES, Node, Setup};
use crate::rng::Rng;

/// For how long faults happen, and in what time after that everything must be as it should be,
/// milliseconds.
const TROUBLE: u32 = 4000;
const QUIET: u32 = 3000;
/// Sessions of a node at most.
const SESSIONS: usize = 150;

pub(crate) struct World {
    setups: [Setup; 2],
    nodes: [Option<Node>; 2],
    net: Net,
    rng: Rng,
    now: u32,
    boots: u64,
    sessions: u32,
    /// Sessions that nobody ended, and of which a copy always lived.
    alive: BTreeSet<u32>,
    /// What was said last of those that were ended.
    ended: BTreeMap<u32, Stamp>,
    /// What a run is about, in words.
    story: String,
    /// Copies were damaged.
    spoilt: bool,
    pub(crate) checked: u64,
    pub(crate) crashes: u32,
    pub(crate) told: u64,
}

fn keyring(current: u8, also: Option<u8>) -> Keyring {
    let key = |id| PreShared {
        id,
        secret: [id; 32],
    };
    Keyring::Sealed {
        current: key(current),
        also: also.map(key),
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let faults = Faults {
            lost: rng.pick(&[0, 0, 10, 100, 300]),
            doubled: rng.pick(&[0, 0, 50, 200]),
            damaged: rng.pick(&[0, 0, 20, 100]),
            delay: rng.pick(&[0, 1, 2, 20, 100]),
            jitter: rng.pick(&[0, 0, 1, 5, 15]),
        };
        let sealed = !rng.chance(100);
        let lane = LaneConfig {
            mtu: rng.pick(&[400, 600, 1500]),
            slots: if faults.delay < 20 {
                rng.pick(&[8, 32, 256])
            } else {
                rng.pick(&[64, 256])
            },
            reorder: if faults.delay < 20 {
                rng.pick(&[1, 8, 256])
            } else {
                rng.pick(&[64, 256])
            },
            patience: rng.pick(&[300, 1000]),
        };
        let setups = [0, 1].map(|id| Setup {
            id,
            workers: 1 + rng.below(LANES as u32) as usize,
            lane: lane.clone(),
            keyring: if sealed {
                keyring(1, Some(2))
            } else {
                Keyring::Plaintext
            },
            clock: (rng.pick(&[0, 1 << 31, u32::MAX - 1500]), rng.below(20)),
            slow: rng.pick(&[0, 0, 0, 50, 500]),
        });
        let story = format!("{faults:?} {setups:?}");
        let net = Net::new(faults, rng.next());
        let mut world = Self {
            nodes: [None, None],
            setups,
            net,
            now: 0,
            boots: 0,
            sessions: 0,
            alive: BTreeSet::new(),
            ended: BTreeMap::new(),
            story,
            spoilt: false,
            checked: 0,
            crashes: 0,
            told: 0,
            rng,
        };
        world.start(0);
        if world.rng.chance(500) {
            world.start(1);
        }
        world
    }

    fn start(&mut self, id: usize) {
        self.boots += 1;
        let node = Node::new(&self.setups[id], self.boots, &mut self.rng);
        self.nodes[id] = Some(node);
    }

    /// A node dies, and with it the sessions of which the other one has nothing.
    fn crash(&mut self, id: usize) {
        let Some(dead) = self.nodes[id].take() else {
            return;
        };
        self.crashes += 1;
        let other = self.nodes[1 - id].as_ref();
        // What the dead one had told and the other one had acknowledged must be there; what was
        // under way may be lost.
        for number in dead.store.table.keys() {
            if other.is_none_or(|other| !other.store.table.contains_key(number)) {
                self.alive.remove(number);
            }
        }
    }

    /// All of it; panics with what is wrong.
    pub(crate) fn run(&mut self) {
        let spared = self.rng.chance(300);
        for _ in 0..TROUBLE {
            if !spared {
                self.mischief();
            }
            // The pauses let the lag go to nil now and then, where more can be checked.
            if self.now % 1000 < 600 {
                self.work();
            }
            self.step();
        }
        self.make_peace();
        self.settle();
        self.spoil();
        self.settle();
    }

    /// Lets all be said that is to be said, and sees that it was.
    fn settle(&mut self) {
        for left in (0..QUIET).rev() {
            for node in self.nodes.iter_mut().flatten() {
                node.digests = left > QUIET / 3;
            }
            self.step();
        }
        self.check_settled();
    }

    fn mischief(&mut self) {
        let id = self.rng.below(2) as usize;
        match self.rng.below(4000) {
            0..=2 => self.crash(id),
            3..=12 if self.nodes[id].is_none() => self.start(id),
            13..=17 => {
                let path = self.rng.below(2) as usize;
                self.net.cut[id][path] = true;
            }
            18..=20 => self.net.cut = [[true; 2]; 2],
            21..=40 => self.net.cut = [[false; 2]; 2],
            41..=45 => {
                // Both keys are known everywhere; each node changes when it likes to.
                let current = 1 + self.rng.below(2) as u8;
                if let (Some(node), Keyring::Sealed { .. }) =
                    (&mut self.nodes[id], &self.setups[id].keyring)
                {
                    let keyring = keyring(current, Some(3 - current));
                    node.association.set_keyring(keyring);
                }
            }
            46..=50 => {
                let slow = self.rng.pick(&[0, 100, 1000]);
                if let Some(node) = &mut self.nodes[id] {
                    node.slow = slow;
                }
            }
            _ => {}
        }
    }

    /// Sessions come, go on and end.
    fn work(&mut self) {
        for id in [0, 1] {
            let Some(node) = &mut self.nodes[id] else {
                continue;
            };
            for _ in 0..self.rng.below(3) {
                let told = match self.rng.below(10) {
                    0..=1 if node.store.table.len() < SESSIONS => {
                        self.sessions += 1;
                        let number = self.sessions;
                        self.alive.insert(number);
                        let lane = number as usize % node.workers();
                        Some((lane, node.store.open(number, lane)))
                    }
                    2 => {
                        let number = 1 + self.rng.below(self.sessions + 1);
                        let ended = node.store.end(number);
                        if let Some((_, Record::Death4(death))) = ended {
                            self.alive.remove(&number);
                            self.ended.insert(number, death.stamp);
                        }
                        ended
                    }
                    _ => {
                        let number = 1 + self.rng.below(self.sessions + 1);
                        node.store.touch(number)
                    }
                };
                if let Some((lane, record)) = told {
                    self.told += 1;
                    node.tell(lane, &record);
                }
            }
        }
    }

    fn step(&mut self) {
        self.now += 1;
        while let Some(mut datagram) = self.net.receive(self.now) {
            if let Some(node) = &mut self.nodes[datagram.to] {
                node.handle(datagram.path, &mut datagram.bytes, self.now);
            }
        }
        for node in self.nodes.iter_mut().flatten() {
            node.poll(&mut self.net, self.now);
        }
        self.check();
    }

    fn make_peace(&mut self) {
        self.net.cut = [[false; 2]; 2];
        self.net.faults = Faults {
            delay: self.net.faults.delay,
            ..Faults::default()
        };
        for id in [0, 1] {
            match &mut self.nodes[id] {
                Some(node) => node.slow = 0,
                None => self.start(id),
            }
            if let Some(node) = &mut self.nodes[id] {
                node.slow = 0;
            }
        }
    }

    /// What a node was told and acknowledged, it has.
    fn check(&mut self) {
        let [Some(a), Some(b)] = &self.nodes else {
            return;
        };
        let same = match (a.association.session(), b.association.session()) {
            (Some(a), Some(b)) => a.id == b.id,
            _ => false,
        };
        if !same {
            return;
        }
        if self.spoilt {
            return;
        }
        for (from, to) in [(a, b), (b, a)] {
            for lane in (0..LANES).filter(|&lane| from.told_all(lane)) {
                self.check_lane(from, to, lane);
                self.checked += 1;
            }
        }
    }

    fn check_lane(&self, from: &Node, to: &Node, lane: usize) {
        if from.store.own[lane] == to.store.origins[lane].copies {
            return;
        }
        for (number, entry) in &from.store.table {
            if !from.store.owns(entry) || entry.lane != lane {
                continue;
            }
            let copy = to.store.table.get(number);
            // Where both wires were cut, both owned it, and one of them ended it since.
            let ended = self.ended.get(number);
            let ended = ended.is_some_and(|ended| ended.replaces(entry.stamp));
            let same = copy.map_or(ended, |copy| {
                let is_copy = (copy.stamp, copy.value) == (entry.stamp, entry.value);
                let knows_better = to.store.owns(copy) && copy.stamp.replaces(entry.stamp);
                is_copy || knows_better
            });
            assert!(same, "at {}: {number} {entry:?} {copy:?}", self.now);
        }
        for (number, copy) in &to.store.table {
            if to.store.owns(copy) || copy.lane != lane {
                continue;
            }
            let entry = from.store.table.get(number);
            let known = entry.is_some_and(|entry| from.store.owns(entry));
            assert!(
                known,
                "at {}: {number} {copy:?} is gone: {entry:?}",
                self.now
            );
        }
    }

    fn check_settled(&self) {
        let [Some(a), Some(b)] = &self.nodes else {
            panic!("both were started");
        };
        for node in [a, b] {
            assert!(node.association.is_settled(), "{:?}", node.association);
        }
        let [of_a, of_b] = [a, b].map(|node| node.association.session().map(|it| it.id));
        assert_eq!(of_a, of_b, "settled on different sessions");
        for node in [a, b] {
            for lane in 0..LANES {
                let it = &node.lanes[lane];
                let (open, lag, bulk) = (it.is_open(), it.lag(), &node.bulks[lane]);
                assert!(node.told_all(lane), "{it:?} {open} {lag} {bulk:?}");
            }
        }
        let tables = [a, b].map(|node| {
            let rows = node.store.table.iter();
            rows.map(|(number, entry)| (*number, entry.stamp, entry.value, entry.lane))
                .collect::<Vec<_>>()
        });
        assert!(tables[0] == tables[1], "tables differ");
        for number in &self.alive {
            assert!(a.store.table.contains_key(number), "{number} was lost");
        }
    }

    /// Damages copies; only the digest can find that.
    fn spoil(&mut self) {
        self.spoilt = true;
        for node in self.nodes.iter_mut().flatten() {
            let copies = node.store.table.iter();
            let copies = copies.filter(|(_, entry)| !node.store.owns(entry));
            let copies: Vec<_> = copies.map(|(number, _)| *number).collect();
            for number in copies {
                if self.rng.chance(50) {
                    node.store.spoil(number, self.rng.chance(500));
                }
            }
        }
    }

    pub(crate) fn story(&self) -> &str {
        &self.story
    }
}
