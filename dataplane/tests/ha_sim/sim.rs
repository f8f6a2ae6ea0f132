//! Both nodes, the hosts and the wires, a millisecond at a time.

use crate::check;
use crate::hosts::{Doubt, Hosts, Sending, Stage};
use crate::node::{Node, Row};
use crate::rng::Rng;
use crate::segment;
use crate::story::{Event, Policy, Story, TROUBLE_MS};
use crate::wire::Wire;
use crate::world::{INSIDE, OUTSIDE};

/// From when on there is peace, how long tables may take to become equal: longer than a lane waits
/// for the peer, and a few digests.
const PEACE_MS: u64 = 5000;
/// Clients begin at most so often, of a thousand milliseconds.
const BIRTHS: u32 = 25;
/// How long nodes that were apart take to hear what the other one has.
const MEETING_MS: u64 = 1000;
const CHECK_EVERY: u64 = 97;

pub(crate) struct Sim {
    story: Story,
    nodes: [Option<Node>; 2],
    /// When a dead node starts again.
    back: [u64; 2],
    wires: [Wire; 2],
    cut_until: [u64; 2],
    /// Until when the nodes cannot be expected to know of each other's sessions.
    apart_until: u64,
    hosts: Hosts,
    rng: Rng,
    boots: u64,
    now: u64,
    verbose: bool,
}

impl Sim {
    pub(crate) fn new(seed: u64, verbose: bool) -> Self {
        let mut rng = Rng::new(seed);
        let story = Story::new(&mut rng);
        let wires = [0, 1].map(|_| Wire::new(story.faults, rng.next()));
        let hosts = Hosts::new(story.policy, rng.next());
        let mut sim = Self {
            story,
            nodes: [None, None],
            back: [0; 2],
            wires,
            cut_until: [0; 2],
            apart_until: 0,
            hosts,
            boots: rng.next() >> 16,
            rng,
            now: 0,
            verbose,
        };
        sim.start(0);
        sim.start(1);
        sim
    }

    pub(crate) fn story(&self) -> String {
        format!("at {} ms of {:?}", self.now, self.story)
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{:>6} {}", self.now, what());
        }
    }

    fn start(&mut self, node: usize) {
        self.say(|| format!("node {} starts", node + 1));
        self.boots += 1;
        let setup = self.story.setup(node, self.boots);
        self.nodes[node] = Some(Node::new(&setup, self.now));
    }

    pub(crate) fn run(&mut self) {
        if self.verbose {
            eprintln!("{:?}", self.story);
        }
        let events = self.story.events.clone();
        for &(at, event) in &events {
            self.run_until(at, true);
            self.say(|| format!("{event:?}"));
            self.happen(event);
        }
        self.run_until(TROUBLE_MS, true);
        self.make_peace();
        let peace = self.now;
        self.run_until(peace + PEACE_MS, false);
        self.judge(peace);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Cut { ms, both } => {
                let first = self.rng.below(2) as usize;
                for at in [first, 1 - first].into_iter().take(1 + usize::from(both)) {
                    self.wires[at].cut = true;
                    self.cut_until[at] = self.now + ms;
                }
                self.apart_until = self.apart_until.max(self.now + ms + MEETING_MS);
            }
            Event::Stall { node, ms } => {
                if let Some(node) = &mut self.nodes[node] {
                    node.stalled_until = self.now + ms;
                }
                self.apart_until = self.apart_until.max(self.now + ms + MEETING_MS);
            }
            Event::Crash { node, ms } => {
                if self.nodes[node].is_some() {
                    self.crash(node);
                    self.back[node] = self.now + ms;
                }
            }
            Event::Faults(faults) => self.wires.iter_mut().for_each(|wire| wire.faults = faults),
        }
    }

    /// A node dies. What the other one does not know of is lost with it, and no more.
    fn crash(&mut self, node: usize) {
        if let Some(node) = self.nodes[node].take() {
            node.die();
        }
        self.wires[node].clear();
        let left: Vec<Row> = self.nodes[1 - node].as_mut().map_or(vec![], Node::sessions);
        let told = self.nodes[1 - node].as_ref().is_some_and(|node| node.told);
        let safe = self.story.inline && told && self.now >= self.apart_until;
        for client in &mut self.hosts.clients {
            let known = left.iter().any(|row| {
                let original = &row.original;
                (original.proto, original.src, original.sport)
                    == (client.proto, client.me.0, client.me.1)
            });
            // Datagrams open another session.
            if client.lives() && client.proto == sluice_wire::proto::TCP && !known {
                let established = client.stage != Stage::Opening;
                assert!(
                    !(safe && established) || client.exposed,
                    "the survivor does not know of {client:?}"
                );
                client.stage = Stage::Lost;
            }
        }
    }

    fn make_peace(&mut self) {
        self.say(|| "peace".into());
        for node in [0, 1] {
            self.wires[node].faults = Default::default();
            self.wires[node].cut = false;
            self.back[node] = 0;
            if let Some(node) = &mut self.nodes[node] {
                node.stalled_until = 0;
            }
        }
    }

    fn run_until(&mut self, until: u64, births: bool) {
        while self.now < until {
            self.now += 1;
            self.step(births);
        }
    }

    fn step(&mut self, births: bool) {
        let now = self.now;
        for node in [0, 1] {
            if now >= self.cut_until[node] {
                self.wires[node].cut = false;
            }
            if self.nodes[node].is_none() && now >= self.back[node] {
                self.start(node);
            }
        }
        if births && self.rng.chance(BIRTHS) {
            self.hosts.add(now);
        }
        for sending in self.hosts.step(now) {
            self.deliver(&sending);
        }
        for node in [0, 1] {
            // What node 0 sends node 1 receives, by wire 0.
            while let Some(frame) = self.wires[1 - node].receive(now) {
                let random = self.rng.next() as u32;
                if let Some(node) = &mut self.nodes[node] {
                    node.receive_ha(&frame, random);
                }
            }
        }
        let first = self.rng.below(2) as usize;
        for node in [first, 1 - first] {
            self.step_node(node);
        }
        if now.is_multiple_of(CHECK_EVERY) {
            self.check_ports();
        }
    }

    fn check_ports(&mut self) {
        let tables = self.tables();
        for rows in check::clashes(&tables) {
            self.hosts.clash(rows);
        }
    }

    /// What a node cannot know now. Who starts and is cut off before it was told what the other one
    /// has knows nothing of the ports that it gave away in its former life: that takes two failures.
    fn doubt(&self, at: usize) -> Doubt {
        let apart = self.now < self.apart_until;
        let told = self.nodes[at].as_ref().is_some_and(|node| node.told);
        let alone = self.nodes[1 - at].is_none();
        let exposed = self.nodes[at].as_ref().is_some_and(Node::was_direct);
        Doubt {
            exposed,
            apart,
            blind: apart && !told && !alone,
        }
    }

    fn step_node(&mut self, at: usize) {
        let (now, random) = (self.now, self.rng.next() as u32);
        let Some(node) = &mut self.nodes[at] else {
            return;
        };
        node.step(now, random);
        for frame in node.sent_ha() {
            self.wires[at].send(&frame, now);
        }
        let doubt = self.doubt(at);
        for port in [INSIDE, OUTSIDE] {
            let Some(node) = &mut self.nodes[at] else {
                return;
            };
            for frame in node.sent(port) {
                let Some(segment) = segment::read(&frame) else {
                    continue;
                };
                self.say(|| format!("node {} by {}: {segment:?}", at + 1, port.0));
                for answer in self.hosts.hear(port, &segment, now, doubt) {
                    self.deliver(&answer);
                }
            }
        }
    }

    /// Routers send a packet to one of the nodes, dead or alive, as they like.
    fn deliver(&mut self, sending: &Sending) {
        let (to, random) = (self.rng.below(2) as usize, self.rng.next() as u32);
        if let Some(node) = &mut self.nodes[to] {
            node.receive(usize::from(sending.port.0), &sending.frame, random);
        }
    }

    fn tables(&mut self) -> Vec<Vec<Row>> {
        let nodes = self.nodes.iter_mut();
        nodes
            .map(|node| node.as_mut().map_or(vec![], Node::sessions))
            .collect()
    }

    fn judge(&mut self, peace: u64) {
        let tables = self.tables();
        self.check_ports();
        check::tables_are_equal(&tables);
        for client in &self.hosts.clients {
            // There may be no port for it.
            let waits = client.answered == 0 && self.story.policy == Policy::FewPorts;
            assert!(
                !client.lives() || waits || client.heard > peace + PEACE_MS - 1500,
                "does not go on: {client:?}"
            );
        }
        let lost = self
            .hosts
            .clients
            .iter()
            .filter(|client| client.stage == Stage::Lost);
        let lost = lost.count();
        let answers = self
            .hosts
            .clients
            .iter()
            .map(|client| client.answered)
            .sum::<u32>();
        self.say(|| {
            format!(
                "{} clients, {lost} lost, {answers} answers",
                self.hosts.clients.len()
            )
        });
        assert!(answers > 50, "nothing happened");
        for node in self.nodes.iter_mut().flatten() {
            node.world.accounts();
        }
    }
}
