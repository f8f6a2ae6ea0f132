//! The same where one node has the copy of each session, and all others know whose it is.

use sluice_dataplane::tcp::RST;

use super::*;
use crate::world::{INSIDE_ZONE, OUTSIDE_ZONE};

const SESSIONS: u16 = 40;
/// Longer than the survivors take to hear of a death, to agree, and to share out copies anew.
const SETTLED_MS: u32 = SILENCE_MS + 1500;

fn backed(nodes: u16) -> impl Fn(u8) -> Setup {
    move |node| Setup {
        backup: true,
        ..one_of(nodes)(node)
    }
}

fn all(cluster: &mut Pair, counter: WorkerCounter) -> u64 {
    let living = (1..=cluster.nodes.len() as u8).filter(|at| {
        let at = usize::from(*at) - 1;
        cluster.nodes[at].is_some()
    });
    let living: Vec<_> = living.collect();
    living.iter().map(|&node| cluster.sum(node, counter)).sum()
}

/// Each of `sessions` sessions has one copy, and the rest of `living` nodes know whose it is.
fn assert_backed(cluster: &mut Pair, sessions: u64, living: u64) {
    let copies = all(cluster, WorkerCounter::SessionsReplica);
    assert_eq!(copies, sessions, "a copy of each");
    let pointers = all(cluster, WorkerCounter::HaPointers);
    assert_eq!(pointers, 2 * sessions * (living - 2), "two for each");
    assert_eq!(all(cluster, WorkerCounter::SessionsUntold), 0);
}

/// Opens connections by node 1, with answers by node 2: the port inside, and the one outside.
fn opened(cluster: &mut Pair) -> Vec<(u16, u16)> {
    let insides = 4000..4000 + SESSIONS;
    let opened = insides.map(|inside| (inside, open(cluster, 1, inside, 2)));
    opened.collect()
}

fn hang_up(cluster: &mut Pair, inside: u16, owner: u8) {
    let rst = tcp(HOST, inside, SERVER, 80, RST, 1001, 0);
    cluster.through((owner, INSIDE), &rst.to(INSIDE), (owner, OUTSIDE));
}

#[test]
fn one_node_has_the_copy_and_all_know_the_owner() {
    for nodes in [3, 5] {
        let mut cluster = Pair::new(backed(nodes));
        let ports = opened(&mut cluster);
        cluster.run(50);
        assert_backed(&mut cluster, SESSIONS.into(), nodes.into());
        for node in 2..=nodes as u8 {
            let copies = cluster.sum(node, WorkerCounter::SessionsReplica);
            assert!(copies > 0, "node {node} has its part");
        }
        // Whose it is is known, so nobody is asked: one way forth, and one for what comes back.
        let before = all(&mut cluster, WorkerCounter::Redirected);
        for &(inside, port) in &ports {
            let ways = (nodes as u8, 2);
            assert_eq!(talk(&mut cluster, inside, port, ways), 1);
        }
        let after = all(&mut cluster, WorkerCounter::Redirected);
        assert_eq!(after - before, 2 * u64::from(SESSIONS));
        cluster.run(2500);
        assert_eq!(all(&mut cluster, WorkerCounter::HaDigestMismatches), 0);
    }
}

#[test]
fn what_has_ended_is_forgotten_by_all() {
    let mut cluster = Pair::new(backed(4));
    let ports = opened(&mut cluster);
    for &(inside, _) in &ports {
        hang_up(&mut cluster, inside, 1);
    }
    cluster.run(60_000);
    assert_eq!(cluster.sum(1, WorkerCounter::SessionsV4), 0);
    assert_backed(&mut cluster, 0, 4);
}

#[test]
fn one_death_after_the_other_loses_nothing() {
    let mut cluster = Pair::new(backed(4));
    let ports = opened(&mut cluster);
    cluster.kill(1);
    cluster.run(SILENCE_MS);
    // As long as nobody owns them.
    let untold = all(&mut cluster, WorkerCounter::SessionsUntold);
    assert_eq!(untold, SESSIONS.into(), "the only copies");
    // Some are heard of at once, wherever that is, the others not at all.
    for (&(inside, port), by) in ports.iter().step_by(3).zip([2, 3, 4].iter().cycle()) {
        assert_ne!(talk(&mut cluster, inside, port, (*by, 2)), 1);
    }
    cluster.run(SETTLED_MS);
    assert_backed(&mut cluster, SESSIONS.into(), 3);
    cluster.kill(2);
    cluster.run(SETTLED_MS);
    let copies = [3, 4].map(|node| cluster.sum(node, WorkerCounter::SessionsReplica));
    assert_eq!(copies.iter().sum::<u64>(), SESSIONS.into());
    cluster.kill(4);
    cluster.run(SILENCE_MS);
    for &(inside, port) in &ports {
        assert_eq!(talk(&mut cluster, inside, port, (3, 3)), 3);
    }
}

#[test]
fn who_comes_back_gets_copies_and_others_let_them_go() {
    let mut cluster = Pair::new(backed(3));
    let ports = opened(&mut cluster);
    cluster.kill(3);
    cluster.run(SETTLED_MS);
    assert_eq!(cluster.sum(2, WorkerCounter::SessionsReplica), 40);
    cluster.start(3, &backed(3)(3));
    cluster.run(SETTLED_MS);
    assert_backed(&mut cluster, SESSIONS.into(), 3);
    let copies = [2, 3].map(|node| cluster.sum(node, WorkerCounter::SessionsReplica));
    assert!(copies.iter().all(|&copies| copies > 5), "{copies:?}");
    cluster.kill(1);
    cluster.run(SILENCE_MS);
    for &(inside, port) in &ports {
        assert_ne!(talk(&mut cluster, inside, port, (2, 3)), 1);
    }
}

#[test]
fn ports_of_the_dead_are_not_given_away_while_anybody_has_them() {
    let setup = |node| {
        let mut setup = backed(3)(node);
        setup.snat_pools[0].ports = (2000, 2059);
        setup
    };
    let mut cluster = Pair::new(setup);
    let mut used = std::collections::HashSet::new();
    for inside in 4000..4010 {
        assert!(used.insert(open(&mut cluster, 1, inside, 1)));
    }
    cluster.kill(1);
    cluster.run(SETTLED_MS);
    for n in 0..100_u16 {
        let node = 2 + (n % 2) as u8;
        cluster.node(node).arrive_at += 1;
        cluster.arrive(node, INSIDE, &syn(5000 + n).to(INSIDE));
        if let Some(frame) = cluster.node(node).sent[1].pop_front() {
            assert!(used.insert(sport(&frame)), "{} twice", sport(&frame));
        }
    }
    assert!(used.iter().any(|port| *port < 2020), "some were inherited");
    assert!(used.len() > 45, "{}", used.len());
}

#[test]
fn a_mapping_and_all_its_sessions_have_one_backup() {
    let setup = |node| {
        let mut setup = backed(3)(node);
        setup.snat_pools[0].mapping = Mapping::EndpointIndependent;
        setup.snat_pools[0].filtering = Filtering::EndpointIndependent;
        setup
    };
    let mut cluster = Pair::new(setup);
    let speak = |cluster: &mut Pair, inside: u16, to: &str, by: u8| {
        cluster.arrive(by, INSIDE, &udp(HOST, inside, to, 53, b"ask").to(INSIDE));
        let mut sent = cluster.nodes.iter().flatten();
        let port = sent.find_map(|world| Some(sport(world.sent[1].front()?)));
        (sender(cluster, OUTSIDE, b"ask"), port)
    };
    let all = ["198.51.100.9", "198.51.100.10", "198.51.100.11"];
    let mapped: Vec<_> = (4000..4012)
        .map(|inside| {
            let spoken = all.map(|to| speak(&mut cluster, inside, to, 1).1);
            assert!(spoken.iter().all(|port| *port == spoken[0]));
            spoken[0]
        })
        .collect();
    cluster.run(50);
    assert_backed(&mut cluster, 36, 3);
    cluster.kill(1);
    cluster.run(SILENCE_MS);
    for (inside, port) in (4000..).zip(mapped) {
        let spoken = all.map(|to| speak(&mut cluster, inside, to, 2));
        let (owner, _) = spoken[0];
        assert!(spoken.iter().all(|one| *one == (owner, port)), "{spoken:?}");
        let again = all.map(|to| speak(&mut cluster, inside, to, 3));
        assert_eq!(again, spoken);
    }
}

/// Cut off from node 2, node 1 opens sessions; then node 2 hears of them for the first time, whose copies fall
/// to it. That they are node 1's, and what they are, is said at the same moment, and concerns several workers.
#[test]
fn what_is_said_later_does_not_get_past_what_was_said_before() {
    let setup = |node| {
        let mut setup = backed(3)(node);
        setup.snat_pools[0].mapping = Mapping::EndpointIndependent;
        setup.snat_pools[0].filtering = Filtering::EndpointIndependent;
        setup
    };
    let mut cluster = Pair::new(setup);
    cluster.severed = vec![(1, 2), (2, 3)];
    cluster.run(SILENCE_MS);
    for inside in 4000..4000 + SESSIONS {
        let ask = udp(HOST, inside, SERVER, 53, b"ask");
        cluster.through((1, INSIDE), &ask.to(INSIDE), (1, OUTSIDE));
    }
    cluster.severed.clear();
    cluster.run(SETTLED_MS);
    let copies = [2, 3].map(|node| cluster.sum(node, WorkerCounter::SessionsReplica));
    assert!(copies.iter().all(|&copies| copies > 5), "{copies:?}");
    assert_backed(&mut cluster, SESSIONS.into(), 3);
    cluster.run(2500);
    assert_eq!(all(&mut cluster, WorkerCounter::HaDigestMismatches), 0);
}

/// Each end opens a session while nodes are apart, and the owner of the one dies: the other one takes the
/// place of what is left of it, whomever that would have fallen to.
#[test]
fn the_other_end_s_session_of_a_dead_node_yields() {
    let mut cluster = Pair::new(|node| Setup {
        node: Some(node),
        nodes: 3,
        workers: 2,
        backup: true,
        open: vec![(INSIDE_ZONE, OUTSIDE_ZONE), (OUTSIDE_ZONE, INSIDE_ZONE)],
        ..Setup::default()
    });
    cluster.severed = vec![(1, 2), (2, 3)];
    cluster.run(SILENCE_MS);
    for inside in 4000..4000 + SESSIONS {
        let ask = udp(HOST, inside, SERVER, 53, b"ask").to(INSIDE);
        let told = udp(SERVER, 53, HOST, inside, b"told").to(OUTSIDE);
        cluster.through((1, OUTSIDE), &told, (1, INSIDE));
        cluster.through((2, INSIDE), &ask, (2, OUTSIDE));
    }
    assert_eq!(
        cluster.sum(3, WorkerCounter::SessionsReplica),
        SESSIONS.into()
    );
    cluster.kill(1);
    cluster.severed.clear();
    cluster.run(SETTLED_MS + 2500);
    assert_backed(&mut cluster, SESSIONS.into(), 2);
    let before = all(&mut cluster, WorkerCounter::HaDigestMismatches);
    cluster.run(2500);
    let after = all(&mut cluster, WorkerCounter::HaDigestMismatches);
    assert_eq!(after, before, "nothing is left that differs");
}
