use super::*;
use crate::heartbeat::PAYLOAD;

const DEAD: u32 = 30;

/// Nodes that hear each other at once, unless they are cut off.
struct Cluster {
    nodes: Vec<Roles>,
    down: Vec<bool>,
    cut: bool,
    now: u32,
}

impl Cluster {
    fn new(groups: &[Vec<Group>]) -> Self {
        let nodes = groups.iter().enumerate().map(|(me, groups)| {
            Roles::new(&Config {
                me: me as u8,
                groups: groups.clone(),
                dead: DEAD,
                start: 2000,
            })
        });
        let mut cluster = Self {
            nodes: nodes.collect(),
            down: vec![false; groups.len()],
            cut: false,
            now: 0,
        };
        cluster.run(10);
        cluster
    }

    /// Two nodes with one group.
    fn pair(a: u8, b: u8, preempt: Option<u32>) -> Self {
        let group = |priority| vec![Group { priority, preempt }];
        Self::new(&[group(a), group(b)])
    }

    fn run(&mut self, time: u32) -> &mut Self {
        for _ in 0..time {
            self.now += 1;
            for from in 0..self.nodes.len() {
                for to in 0..self.nodes.len() {
                    if from == to || self.down[to] {
                        continue;
                    }
                    let heard = !self.down[from] && !self.cut;
                    let mut buffer = [0; PAYLOAD];
                    let len = self.nodes[from].payload(to as u8, &mut buffer);
                    self.nodes[to].set_alive(from as u8, heard);
                    if heard {
                        self.nodes[to].heard(from as u8, &buffer[..len]);
                    }
                }
            }
            for (node, down) in self.nodes.iter_mut().zip(&self.down) {
                while !down && node.poll(self.now).is_some() {}
            }
            if !self.cut {
                assert!(self.holders(0).len() <= 1, "at {}", self.now);
            }
        }
        self
    }

    fn ready(&mut self) -> &mut Self {
        self.nodes.iter_mut().for_each(|node| node.set_ready(true));
        self
    }

    fn holders(&self, group: usize) -> Vec<usize> {
        let nodes = self.nodes.iter().enumerate();
        let up = nodes.filter(|(id, node)| !self.down[*id] && node.holds(group));
        up.map(|(id, _)| id).collect()
    }
}

#[test]
fn the_highest_priority_holds_the_group_and_of_equals_the_lower_id() {
    assert_eq!(Cluster::pair(10, 20, None).ready().run(100).holders(0), [1]);
    assert_eq!(Cluster::pair(20, 20, None).ready().run(100).holders(0), [0]);
    assert_eq!(Cluster::pair(0, 0, None).ready().run(100).holders(0), []);
}

#[test]
fn groups_are_spread_over_nodes() {
    let group = |priority| Group {
        priority,
        preempt: None,
    };
    let mut cluster = Cluster::new(&[
        vec![group(20), group(10)],
        vec![group(10), group(20)],
        vec![group(5), group(5)],
    ]);
    cluster.ready().run(100);
    assert_eq!((cluster.holders(0), cluster.holders(1)), (vec![0], vec![1]));
    cluster.down[1] = true;
    cluster.run(100);
    assert_eq!((cluster.holders(0), cluster.holders(1)), (vec![0], vec![0]));
}

#[test]
fn a_dead_holder_is_followed_at_once() {
    let mut cluster = Cluster::pair(20, 10, None);
    cluster.ready().run(100);
    cluster.down[0] = true;
    assert_eq!(cluster.run(2).holders(0), [1]);
}

#[test]
fn a_node_that_is_not_ready_takes_nothing_while_others_live() {
    let mut cluster = Cluster::pair(10, 20, Some(0));
    cluster.nodes[0].set_ready(true);
    cluster.run(1000);
    assert_eq!(cluster.holders(0), [0]);
    cluster.nodes[1].set_ready(true);
    assert_eq!(cluster.run(50).holders(0), [1]);
}

#[test]
fn nodes_that_never_become_ready_do_not_leave_the_address_dead() {
    let mut cluster = Cluster::pair(10, 20, None);
    assert_eq!(cluster.run(1000).holders(0), []);
    assert_eq!(cluster.run(1500).holders(0), [1]);
    let mut cluster = Cluster::pair(10, 20, None);
    cluster.down[1] = true;
    assert_eq!(cluster.run(100).holders(0), [0], "alone");
}

#[test]
fn preemption_waits_for_the_hold_down() {
    let mut cluster = Cluster::pair(10, 20, Some(500));
    cluster.down[1] = true;
    cluster.ready().run(100);
    assert_eq!(cluster.holders(0), [0]);
    cluster.down[1] = false;
    assert_eq!(cluster.run(450).holders(0), [0]);
    assert_eq!(cluster.run(150).holders(0), [1]);
}

#[test]
fn without_preemption_the_holder_stays() {
    let mut cluster = Cluster::pair(10, 20, None);
    cluster.down[1] = true;
    cluster.ready().run(100);
    cluster.down[1] = false;
    assert_eq!(cluster.run(5000).holders(0), [0]);
}

#[test]
fn a_draining_node_hands_over_when_somebody_is_ready() {
    let mut cluster = Cluster::pair(20, 10, None);
    cluster.ready().run(100);
    cluster.nodes[1].set_ready(false);
    cluster.nodes[0].set_draining(true);
    assert_eq!(cluster.run(100).holders(0), [0], "nobody is ready");
    cluster.nodes[1].set_ready(true);
    assert_eq!(cluster.run(10).holders(0), [1]);
    cluster.down[1] = true;
    assert_eq!(cluster.run(100).holders(0), [0], "better than nobody");
}

#[test]
fn a_failed_tracker_moves_the_group() {
    let mut cluster = Cluster::pair(20, 10, Some(100));
    cluster.ready().run(100);
    cluster.nodes[0].set_penalty(0, 15);
    assert_eq!(cluster.run(200).holders(0), [1]);
    cluster.nodes[0].set_penalty(0, 0);
    assert_eq!(cluster.run(200).holders(0), [0]);
    cluster.nodes[0].set_penalty(0, 255);
    assert_eq!(cluster.run(10).holders(0), [1], "it cannot serve at all");
}

#[test]
fn both_sides_serve_when_every_path_is_cut_and_one_lets_go_after() {
    let mut cluster = Cluster::pair(10, 20, None);
    cluster.ready().run(100);
    cluster.cut = true;
    assert_eq!(cluster.run(100).holders(0), [0, 1]);
    cluster.cut = false;
    cluster.now += 1;
    for (from, to) in [(0, 1), (1, 0)] {
        let mut buffer = [0; PAYLOAD];
        let len = cluster.nodes[from].payload(to as u8, &mut buffer);
        cluster.nodes[to].set_alive(from as u8, true);
        cluster.nodes[to].heard(from as u8, &buffer[..len]);
    }
    let now = cluster.now;
    cluster
        .nodes
        .iter_mut()
        .for_each(|node| while node.poll(now).is_some() {});
    assert_eq!(cluster.holders(0), [1], "at once");
}

#[test]
fn a_node_that_stood_still_lets_go_before_anything_else() {
    let mut cluster = Cluster::pair(20, 10, None);
    cluster.ready().run(100);
    let change = cluster.nodes[0].poll(cluster.now + DEAD);
    let gone = Change {
        group: 0,
        holds: false,
    };
    assert_eq!(change, Some(gone));
}

#[test]
fn votes_that_crossed_a_change_of_mind_do_not_count() {
    let mut cluster = Cluster::pair(20, 10, None);
    cluster.run(100);
    let tell = |cluster: &mut Cluster, from: usize| {
        let mut buffer = [0; PAYLOAD];
        let len = cluster.nodes[from].payload(1 - from as u8, &mut buffer);
        buffer[..len].to_vec()
    };
    let poll = |cluster: &mut Cluster, node: usize| {
        cluster.now += 1;
        let now = cluster.now;
        while cluster.nodes[node].poll(now).is_some() {}
    };
    // B has heard that A is ready, and votes for it. That is under way to A ...
    cluster.nodes[0].set_ready(true);
    cluster.nodes[0].set_penalty(0, 15);
    cluster.nodes[1].set_ready(true);
    let mut said = tell(&mut cluster, 0);
    said[10] = 20;
    cluster.nodes[1].heard(0, &said);
    poll(&mut cluster, 1);
    let for_a = tell(&mut cluster, 1);
    // ... when A, which has a lower priority meanwhile, has voted for B.
    poll(&mut cluster, 0);
    let mut claim = for_a.clone();
    claim[11] = NOBODY;
    cluster.nodes[0].heard(1, &claim);
    poll(&mut cluster, 0);
    let for_b = tell(&mut cluster, 0);
    cluster.nodes[1].heard(0, &for_b);
    poll(&mut cluster, 1);
    // A changes its mind before it hears of B's claim.
    cluster.nodes[0].heard(1, &for_a);
    cluster.nodes[0].set_penalty(0, 0);
    poll(&mut cluster, 0);
    assert_eq!(cluster.holders(0), [], "neither knows of the other's claim");
    cluster.run(10);
    assert_eq!(cluster.holders(0), [0]);
}

#[test]
fn a_holder_of_which_a_tracker_fails_is_followed_though_nobody_preempts() {
    let mut cluster = Cluster::pair(20, 10, None);
    cluster.ready().run(100);
    cluster.nodes[0].set_penalty(0, 5);
    assert_eq!(cluster.run(100).holders(0), [0], "fitter still");
    cluster.nodes[0].set_penalty(0, 15);
    assert_eq!(cluster.run(10).holders(0), [1]);
    cluster.nodes[0].set_penalty(0, 0);
    assert_eq!(cluster.run(100).holders(0), [1], "nobody preempts");
    // Of two that are worse off, the holder stays.
    cluster.nodes[0].set_penalty(0, 1);
    cluster.nodes[1].set_penalty(0, 5);
    assert_eq!(cluster.run(100).holders(0), [1]);
}

#[test]
fn a_group_that_the_configuration_no_longer_has_is_let_go() {
    let mut cluster = Cluster::pair(20, 10, None);
    cluster.ready().run(100);
    let gone = Group {
        priority: 0,
        preempt: None,
    };
    cluster.nodes[0].set_group(0, gone);
    assert_eq!(
        cluster.run(10).holders(0),
        [1],
        "the other one has it still"
    );
    cluster.nodes[1].set_group(0, gone);
    assert_eq!(cluster.run(10).holders(0), []);
}

#[test]
fn a_node_is_away_when_its_peer_has_heard_that_it_leaves() {
    let mut cluster = Cluster::pair(20, 10, None);
    cluster.ready().run(100);
    cluster.nodes[0].set_draining(true);
    assert_eq!(cluster.run(10).holders(0), [1]);
    assert!(!cluster.nodes[0].is_away(1) && !cluster.nodes[1].is_leaving(0));
    cluster.nodes[0].set_leaving(true);
    cluster.run(3);
    assert!(cluster.nodes[0].is_away(1) && cluster.nodes[1].is_leaving(0));
    cluster.nodes[0].set_leaving(false);
    cluster.nodes[0].set_draining(false);
    cluster.run(3);
    assert!(!cluster.nodes[0].is_away(1) && !cluster.nodes[1].is_leaving(0));
}
