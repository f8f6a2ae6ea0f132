//! All nodes, the hosts and the wires, a millisecond at a time.

use crate::check;
use crate::hosts::{Client, Doubt, Hosts, Sending, Stage};
use crate::node::{Node, Row};
use crate::rng::Rng;
use crate::segment;
use crate::story::{Event, Policy, Story, TROUBLE_MS};
use crate::wire::Wire;
use crate::world::pair::receivers;
use crate::world::{INSIDE, OUTSIDE};

/// From when on there is peace, how long tables may take to become equal: longer than a lane waits
/// for the peer, and a few digests.
const PEACE_MS: u64 = 5000;
/// Clients begin at most so often, of a thousand milliseconds.
const BIRTHS: u32 = 25;
/// How long nodes that were apart take to hear what the other one has.
const MEETING_MS: u64 = 1000;
const CHECK_EVERY: u64 = 97;

/// The wire from one node to another.
struct Way {
    wire: Wire,
    cut_until: u64,
}

pub(crate) struct Sim {
    story: Story,
    nodes: Vec<Option<Node>>,
    /// When a dead node starts again.
    back: Vec<u64>,
    /// `[from][to]`
    ways: Vec<Vec<Way>>,
    /// Until when the nodes cannot be expected to know of each other's sessions.
    apart_until: u64,
    /// Until when a node more must not die.
    alone_until: u64,
    hosts: Hosts,
    rng: Rng,
    boots: u64,
    now: u64,
    verbose: bool,
}

impl Sim {
    pub(crate) fn new(seed: u64, (nodes, backup): (usize, bool), verbose: bool) -> Self {
        let mut rng = Rng::new(seed);
        let story = Story::new(nodes, backup, &mut rng);
        let mut way = || Way {
            wire: Wire::new(story.faults, rng.next()),
            cut_until: 0,
        };
        let ways = (0..nodes).map(|_| (0..nodes).map(|_| way()).collect());
        let ways = ways.collect();
        let hosts = Hosts::new(story.policy, rng.next());
        let mut sim = Self {
            story,
            nodes: (0..nodes).map(|_| None).collect(),
            back: vec![0; nodes],
            ways,
            apart_until: 0,
            alone_until: 0,
            hosts,
            boots: rng.next() >> 16,
            rng,
            now: 0,
            verbose,
        };
        (0..nodes).for_each(|node| sim.start(node));
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
            Event::Cut { half, ms, both } => {
                let is_in = |node: usize| half >> node & 1 == 1;
                let count = self.nodes.len();
                let first = self.rng.chance(500);
                for (from, to) in (0..count).flat_map(|a| (0..count).map(move |b| (a, b))) {
                    if is_in(from) != is_in(to) && (both || is_in(from) == first) {
                        self.cut(from, to, ms);
                    }
                }
            }
            Event::Sever { ends: [a, b], ms } => {
                self.cut(a, b, ms);
                self.cut(b, a, ms);
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
            Event::Faults(faults) => {
                let ways = self.ways.iter_mut().flatten();
                ways.for_each(|way| way.wire.faults = faults);
            }
        }
    }

    fn cut(&mut self, from: usize, to: usize, ms: u64) {
        let way = &mut self.ways[from][to];
        way.wire.cut = true;
        way.cut_until = self.now + ms;
        self.apart_until = self.apart_until.max(self.now + ms + MEETING_MS);
    }

    /// A node dies. What no other one knows of is lost with it, and no more.
    fn crash(&mut self, node: usize) {
        if let Some(node) = self.nodes[node].take() {
            node.die();
        }
        self.ways[node].iter_mut().for_each(|way| way.wire.clear());
        let living = self.nodes.iter_mut().flatten();
        let left: Vec<Row> = living.flat_map(Node::sessions).collect();
        let mut living = self.nodes.iter().flatten();
        let told = living.clone().count() > 0 && living.all(|node| node.told);
        // Of several nodes the one that was to know may just have died.
        let alone = self.now >= self.alone_until;
        self.alone_until = self.now + MEETING_MS;
        let safe = self.story.inline && told && alone && self.now >= self.apart_until;
        for client in &mut self.hosts.clients {
            let known = left.iter().any(|row| {
                let original = &row.original;
                (original.proto, original.src, original.sport)
                    == (client.proto, client.me.0, client.me.1)
            });
            let is_opening = client.stage == Stage::Opening;
            client.unheard |= is_opening && known && !is_known_to_all(&self.nodes, &left, client);
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
        for way in self.ways.iter_mut().flatten() {
            way.wire.faults = Default::default();
            way.wire.cut = false;
        }
        self.back.fill(0);
        for node in self.nodes.iter_mut().flatten() {
            node.stalled_until = 0;
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
        for way in self.ways.iter_mut().flatten() {
            way.wire.cut &= now < way.cut_until;
        }
        for node in 0..self.nodes.len() {
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
        for (to, node) in self.nodes.iter_mut().enumerate() {
            for from in &mut self.ways {
                while let Some(frame) = from[to].wire.receive(now) {
                    let random = self.rng.next() as u32;
                    if let Some(node) = node {
                        node.receive_ha(&frame, random);
                    }
                }
            }
        }
        let count = self.nodes.len();
        let first = self.rng.below(count as u32) as usize;
        for node in (0..count).map(|at| (first + at) % count) {
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

    /// What a node cannot know now. Who starts and is cut off before it was told what the others have
    /// knows nothing of the ports that it gave away in its former life: that takes two failures.
    fn doubt(&self, at: usize) -> Doubt {
        let apart = self.now < self.apart_until;
        let has_told = |node: &Option<Node>| node.as_ref().is_some_and(|node| node.told);
        // Another one may have opened what it sends.
        let told = match self.story.inline {
            true => self.nodes.iter().all(has_told),
            false => has_told(&self.nodes[at]),
        };
        let alone = self.nodes.iter().flatten().count() < 2;
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
        let count = self.ways.len();
        for frame in node.sent_ha() {
            for to in receivers(&frame, at, count) {
                self.ways[at][to].wire.send(&frame, now);
            }
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
        let count = self.nodes.len() as u32;
        let (to, random) = (self.rng.below(count) as usize, self.rng.next() as u32);
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
        match self.story.backup {
            false => check::tables_are_equal(&tables),
            true => check::one_has_the_copy(&tables, &self.nodes),
        }
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

/// Whether all living nodes have a client's session, or know whose it is; `left` is what they have.
fn is_known_to_all(nodes: &[Option<Node>], left: &[Row], client: &Client) -> bool {
    let end = (client.proto, client.me);
    let has = |row: &&Row| (row.original.proto, (row.original.src, row.original.sport)) == end;
    let Some(row) = left.iter().find(has) else {
        return false;
    };
    let living = nodes.iter().flatten();
    let pointing = living
        .clone()
        .filter(|node| !node.pointed_at(&row.original).is_empty());
    left.iter().filter(has).count() + pointing.count() >= living.count()
}
