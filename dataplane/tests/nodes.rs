//! Three appliances and more that share their sessions: whose a packet is, whichever node it comes to,
//! and to whom sessions, ports and mappings of a dead one fall.

use crate::world;

mod backup;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::mailbox::RoleOrders;
use sluice_dataplane::nat::rules::{Filtering, Mapping};
use sluice_dataplane::published::{PeerCounter, Slot, WorkerCounter};
use sluice_dataplane::shared_names::SyncMode;
use sluice_dataplane::snapshot::ServiceId;
use sluice_dataplane::tcp::{ACK, SYN};
use world::packet::{Spec, icmp_error, tcp, udp};
use world::pair::{EXTERNAL, HOST, Pair, SERVER, SILENCE_MS, snat, sport};
use world::{INSIDE, OUTSIDE, Setup};

/// Longer than the survivors take to agree on who gives away the ports of a dead node.
const AGREED_MS: u32 = 1200;

/// One of `nodes` that translate sources of the inside; they differ in workers.
fn one_of(nodes: u16) -> impl Fn(u8) -> Setup {
    move |node| Setup {
        nodes,
        workers: [1, 2, 3][usize::from(node) % 3],
        ..snat(node)
    }
}

fn syn(inside: u16) -> Spec {
    tcp(HOST, inside, SERVER, 80, SYN, 1000, 0)
}

fn answer(port: u16) -> Spec {
    tcp(SERVER, 80, EXTERNAL, port, SYN | ACK, 9000, 1001)
}

/// Opens a connection by node `by`, with the answer coming by node `back`. Gives the external port.
fn open(cluster: &mut Pair, by: u8, inside: u16, back: u8) -> u16 {
    let out = cluster.through((by, INSIDE), &syn(inside).to(INSIDE), (by, OUTSIDE));
    let port = sport(&out);
    cluster.through((back, OUTSIDE), &answer(port).to(OUTSIDE), (by, INSIDE));
    let ack = tcp(HOST, inside, SERVER, 80, ACK, 1001, 9001);
    cluster.through((by, INSIDE), &ack.to(INSIDE), (by, OUTSIDE));
    port
}

/// Data of the host comes by node `by` and leaves by one node, which is told; data of the server comes by
/// node `back`, and must leave by the same.
fn talk(cluster: &mut Pair, inside: u16, port: u16, (by, back): (u8, u8)) -> u8 {
    let mut ask = tcp(HOST, inside, SERVER, 80, ACK, 1001, 9001);
    ask.body.extend(*b"ask");
    cluster.arrive(by, INSIDE, &ask.summed(16).to(INSIDE));
    let owner = sender(cluster, OUTSIDE, b"ask");
    let mut tell = tcp(SERVER, 80, EXTERNAL, port, ACK, 9001, 1001);
    tell.body.extend(*b"tell");
    cluster.arrive(back, OUTSIDE, &tell.summed(16).to(OUTSIDE));
    assert_eq!(sender(cluster, INSIDE, b"tell"), owner, "one node has it");
    owner
}

/// The one node that sent one frame by a port, which ends like that.
fn sender(cluster: &mut Pair, port: world::PortId, end: &[u8]) -> u8 {
    let living = (1..).zip(&mut cluster.nodes);
    let sent = living.filter_map(|(node, world)| {
        let frame = world.as_mut()?.sent[usize::from(port.0)].pop_front()?;
        Some((node, frame))
    });
    let sent: Vec<_> = sent.collect();
    let [(node, frame)] = &sent[..] else {
        let drops: Vec<_> = cluster
            .nodes
            .iter()
            .flatten()
            .map(|one| one.drops())
            .collect();
        panic!("{} nodes sent it: {drops:?}", sent.len());
    };
    assert!(frame.ends_with(end), "{frame:02x?}");
    let node = *node;
    cluster
        .nodes
        .iter()
        .flatten()
        .for_each(world::World::assert_quiet);
    node
}

/// How a node sees the one at a place among the others.
fn state(cluster: &mut Pair, node: u8, at: usize) -> u64 {
    let values = cluster.node(node).published.worker(0);
    values.get(Slot::Peer(at, PeerCounter::State))
}

#[test]
fn a_reply_that_is_faster_than_the_sync_finds_its_owner_among_all() {
    for nodes in [3, 5] {
        for owner in 1..=nodes {
            for back in (1..=nodes).filter(|&back| back != owner) {
                let mut cluster = Pair::new(one_of(u16::from(nodes)));
                cluster.delay = 20;
                cluster.put(owner, INSIDE, &syn(4000).to(INSIDE));
                cluster.run(1);
                let port = sport(&cluster.left(owner, OUTSIDE));
                cluster.put(back, OUTSIDE, &answer(port).to(OUTSIDE));
                cluster.run(20 * u32::from(nodes) + 10);
                let back = cluster.left(owner, INSIDE);
                let expected = tcp(SERVER, 80, HOST, 4000, SYN | ACK, 9000, 1001).ttl(63);
                assert_eq!(back, expected.from(INSIDE));
            }
        }
    }
}

#[test]
fn what_nobody_knows_is_judged_once_and_goes_round_no_further() {
    for from in 1..=4 {
        let mut cluster = Pair::new(one_of(4));
        let stray = tcp(SERVER, 80, EXTERNAL, 5000, ACK, 9001, 1001);
        cluster.arrive(from, OUTSIDE, &stray.to(OUTSIDE));
        cluster.run(100);
        let count = |cluster: &mut Pair, reason| -> u64 {
            (1..=4).map(|node| cluster.drops(node, reason)).sum()
        };
        assert_eq!(
            count(&mut cluster, DropReason::OutOfState),
            1,
            "from {from}"
        );
        let redirected = (1..=4).map(|node| cluster.sum(node, WorkerCounter::Redirected));
        assert!((3..=4).contains(&redirected.sum::<u64>()), "from {from}");
        cluster
            .nodes
            .iter()
            .flatten()
            .for_each(world::World::assert_quiet);
        // An answer to a port goes to the node that gives it away, and no further.
        let stray = udp(SERVER, 53, EXTERNAL, 20_000, b"told");
        cluster.arrive(from, OUTSIDE, &stray.to(OUTSIDE));
        cluster.run(100);
        assert_eq!(
            count(&mut cluster, DropReason::NatNoMapping),
            1,
            "from {from}"
        );
        // 20,000 is in the second of four shares.
        let judged = if from == 2 { 4 } else { 2 };
        assert_eq!(
            cluster.drops(judged, DropReason::NatNoMapping),
            1,
            "from {from}: {}",
            cluster.node(judged).drops()
        );
    }
}

#[test]
fn an_error_about_a_packet_finds_the_node_that_sent_it() {
    let mut cluster = Pair::new(one_of(3));
    cluster.delay = 50;
    let ask = udp(HOST, 4000, SERVER, 53, b"ask");
    cluster.put(3, INSIDE, &ask.to(INSIDE));
    cluster.run(1);
    let out = cluster.left(3, OUTSIDE);
    let error = icmp_error("203.0.113.1", EXTERNAL, 3, 1, [0; 4], &out[14..]);
    cluster.put(2, OUTSIDE, &error.to(OUTSIDE));
    cluster.run(200);
    let told = cluster.left(3, INSIDE);
    assert_eq!(told[30..34], [10, 0, 0, 7]);
}

#[test]
fn sessions_of_a_dead_node_are_divided_among_the_living_and_none_is_two_nodes() {
    for nodes in [3, 5] {
        let mut cluster = Pair::new(one_of(nodes));
        let ports: Vec<_> = (0..40)
            .map(|n| open(&mut cluster, 1, 4000 + n, 2))
            .collect();
        for node in 2..=nodes as u8 {
            assert_eq!(cluster.sum(node, WorkerCounter::SessionsReplica), 40);
        }
        assert_eq!(cluster.sum(1, WorkerCounter::SessionsUntold), 0);
        cluster.kill(1);
        cluster.run(SILENCE_MS);
        let mut taken = vec![0; usize::from(nodes) + 1];
        let next = |node: u8| 2 + (node - 1) % (nodes as u8 - 1);
        let mut by = 2;
        for (inside, &port) in (4000..).zip(&ports) {
            by = next(by);
            let owner = talk(&mut cluster, inside, port, (by, next(by)));
            taken[usize::from(owner)] += 1;
            // Whoever else it comes to knows that.
            assert_eq!(talk(&mut cluster, inside, port, (next(by), by)), owner);
        }
        for node in 2..=nodes as u8 {
            let took = cluster.sum(node, WorkerCounter::SessionsTakenOver);
            assert_eq!(took, taken[usize::from(node)], "node {node}");
            assert!(took > 0, "{taken:?}");
            let copies = cluster.sum(node, WorkerCounter::SessionsReplica);
            assert_eq!(copies, 40 - took, "node {node} knows the others'");
        }
        // It is told everything when it is back, and takes nothing.
        cluster.start(1, &one_of(nodes)(1));
        assert_eq!(cluster.sum(1, WorkerCounter::SessionsReplica), 40);
        for (inside, &port) in (4000..).zip(&ports) {
            assert_ne!(talk(&mut cluster, inside, port, (1, 1)), 1);
        }
    }
}

#[test]
fn the_last_one_has_what_all_others_had() {
    let mut cluster = Pair::new(one_of(3));
    let mut ports = vec![];
    for node in 1..=3 {
        for n in 0..10 {
            let inside = 4000 + 100 * u16::from(node) + n;
            ports.push((inside, open(&mut cluster, node, inside, node % 3 + 1)));
        }
    }
    cluster.kill(1);
    cluster.run(SILENCE_MS);
    // Some are heard of between the one death and the other.
    for &(inside, port) in ports.iter().step_by(2) {
        assert_ne!(talk(&mut cluster, inside, port, (2, 3)), 1);
    }
    cluster.kill(3);
    cluster.run(SILENCE_MS);
    for &(inside, port) in &ports {
        assert_eq!(talk(&mut cluster, inside, port, (2, 2)), 2);
    }
    assert_eq!(cluster.sum(2, WorkerCounter::SessionsReplica), 0);
}

#[test]
fn what_one_survivor_was_not_told_of_the_other_tells_it() {
    let mut cluster = Pair::new(one_of(3));
    // Records of the first node do not reach the third.
    cluster.severed = vec![(1, 3)];
    let ports: Vec<_> = (0..20)
        .map(|n| open(&mut cluster, 1, 4000 + n, 2))
        .collect();
    assert_eq!(cluster.sum(3, WorkerCounter::SessionsReplica), 0);
    cluster.kill(1);
    cluster.severed.clear();
    cluster.run(SILENCE_MS);
    for (inside, &port) in (4000..).zip(&ports) {
        // The record and the packet take different ways within the node: what is lost is repeated.
        let mut ask = tcp(HOST, inside, SERVER, 80, ACK, 1001, 9001);
        ask.body.extend(*b"ask");
        cluster.arrive(2, INSIDE, &ask.summed(16).to(INSIDE));
        for world in cluster.nodes.iter_mut().flatten() {
            world.sent[1].clear();
        }
        talk(&mut cluster, inside, port, (2, 3));
    }
    let taken = [2, 3].map(|node| cluster.sum(node, WorkerCounter::SessionsTakenOver));
    assert!(taken[0] > 0 && taken[1] > 0, "{taken:?}");
    assert_eq!(taken[0] + taken[1], 20);
}

#[test]
fn a_broken_link_between_two_is_gone_round_by_the_third() {
    let mut cluster = Pair::new(one_of(3));
    let ports: Vec<_> = (0..20)
        .map(|n| open(&mut cluster, 1, 4000 + n, 1))
        .collect();
    cluster.severed = vec![(1, 3)];
    cluster.run(SILENCE_MS);
    let mut round = 0;
    for (inside, &port) in (4000..).zip(&ports) {
        let mut ask = tcp(HOST, inside, SERVER, 80, ACK, 1001, 9001);
        ask.body.extend(*b"ask");
        cluster.arrive(3, INSIDE, &ask.summed(16).to(INSIDE));
        let owner = sender(&mut cluster, OUTSIDE, b"ask");
        // It is the owner, or the third node itself, which has not heard of it for a while.
        assert_ne!(owner, 2);
        round += u32::from(owner == 1);
        let mut tell = tcp(SERVER, 80, EXTERNAL, port, ACK, 9001, 1001);
        tell.body.extend(*b"tell");
        cluster.arrive(3, OUTSIDE, &tell.summed(16).to(OUTSIDE));
        assert_eq!(sender(&mut cluster, INSIDE, b"tell"), owner);
    }
    assert!(round > 0);
    // When they hear each other again they agree.
    cluster.severed.clear();
    cluster.run(3000);
    for (inside, &port) in (4000..).zip(&ports) {
        let owner = talk(&mut cluster, inside, port, (1, 2));
        assert_eq!(talk(&mut cluster, inside, port, (3, 3)), owner);
    }
    for node in 1..=3 {
        assert_eq!(cluster.sum(node, WorkerCounter::SessionsV4), 20);
    }
}

#[test]
fn each_node_has_a_share_of_the_ports_and_a_dead_ones_falls_to_one() {
    shares_fall_to_one(false);
}

#[test]
fn a_share_falls_to_one_also_where_all_are_about_to_go() {
    shares_fall_to_one(true);
}

fn shares_fall_to_one(all_go: bool) {
    // One address has 30 ports for each of three nodes.
    let setup = |node| {
        let mut setup = one_of(3)(node);
        setup.snat_pools[0].ports = (2000, 2089);
        setup
    };
    let mut cluster = Pair::new(setup);
    let ask = |cluster: &mut Pair, node: u8, inside: u16| -> Option<u16> {
        cluster.node(node).arrive_at += 1;
        cluster.arrive(node, INSIDE, &syn(inside).to(INSIDE));
        let frame = cluster.node(node).sent[1].pop_front();
        frame.map(|frame| sport(&frame))
    };
    let mut used = std::collections::HashSet::new();
    for node in 1..=3_u8 {
        let first = 2000 + 30 * (u16::from(node) - 1);
        // The one that dies has some left, the others none.
        for n in 0..[10, 60, 60][usize::from(node) - 1] {
            // Each search may give up before it has seen all.
            if let Some(port) = ask(&mut cluster, node, 4000 + 100 * u16::from(node) + n) {
                assert!((first..first + 30).contains(&port), "{port} of node {node}");
                assert!(used.insert(port), "{port} twice");
            }
        }
    }
    assert!(used.len() > 60, "{}", used.len());
    let before = used.len();
    if all_go {
        (1..=3).for_each(|node| cluster.drain(node));
        cluster.run(100);
    }
    cluster.kill(1);
    cluster.run(AGREED_MS);
    // What the first one had is in use still: nobody gives it away again, and nobody but one what is
    // left.
    let mut givers = std::collections::HashSet::new();
    for n in 0..80 {
        let node = 2 + (n % 2) as u8;
        if let Some(port) = ask(&mut cluster, node, 5000 + n) {
            assert!(used.insert(port), "{port} twice");
            if port < 2030 {
                givers.insert(node);
            }
        }
    }
    assert_eq!(givers.len(), 1, "{givers:?}");
    assert!(used.len() > before);
}

#[test]
fn a_mapping_falls_to_one_node_with_all_its_sessions() {
    let setup = |node| {
        let mut setup = one_of(3)(node);
        setup.snat_pools[0].mapping = Mapping::EndpointIndependent;
        setup.snat_pools[0].filtering = Filtering::EndpointIndependent;
        setup
    };
    let mut cluster = Pair::new(setup);
    let speak = |cluster: &mut Pair, inside: u16, to: &str, by: u8| -> (u8, u16) {
        let mut port = 0;
        cluster.node(by).arrive_at += 1;
        cluster.arrive(by, INSIDE, &udp(HOST, inside, to, 53, b"ask").to(INSIDE));
        if let Some(frame) = cluster
            .nodes
            .iter()
            .flatten()
            .find_map(|world| world.sent[1].front())
        {
            port = sport(frame);
        }
        (sender(cluster, OUTSIDE, b"ask"), port)
    };
    let mut mapped = vec![];
    for inside in 4000..4010 {
        let (node, port) = speak(&mut cluster, inside, "198.51.100.9", 1);
        assert_eq!(node, 1);
        for (to, by) in [("198.51.100.10", 2), ("198.51.100.11", 3)] {
            assert_eq!(speak(&mut cluster, inside, to, by), (1, port));
        }
        mapped.push((inside, port));
    }
    cluster.kill(1);
    cluster.run(SILENCE_MS);
    let mut owners = std::collections::HashSet::new();
    for &(inside, port) in &mapped {
        // Old sessions, new ones, and strangers, by either of the two.
        let (owner, same) = speak(&mut cluster, inside, "198.51.100.9", 2);
        assert_eq!(same, port);
        owners.insert(owner);
        for (to, by) in [
            ("198.51.100.10", 3),
            ("198.51.100.77", 2),
            ("198.51.100.78", 3),
        ] {
            assert_eq!(speak(&mut cluster, inside, to, by), (owner, port));
        }
        for by in [2, 3] {
            let call = udp("203.0.113.1", 9, EXTERNAL, port, b"hello");
            cluster.arrive(by, OUTSIDE, &call.to(OUTSIDE));
            assert_eq!(sender(&mut cluster, INSIDE, b"hello"), owner);
        }
    }
    assert_eq!(owners.len(), 2, "divided");
}

#[test]
fn a_node_that_joins_is_told_by_all_before_it_opens_anything() {
    let mut cluster = Pair::new(one_of(3));
    cluster.kill(3);
    cluster.run(SILENCE_MS);
    let mut ports: Vec<_> = (0..10)
        .map(|n| open(&mut cluster, 1, 4000 + n, 2))
        .collect();
    ports.extend((0..10).map(|n| open(&mut cluster, 2, 4100 + n, 1)));
    let states = [0, 1].map(|at| state(&mut cluster, 1, at));
    assert_eq!(states, [3, 1], "the second is there, the third is dead");
    cluster.start(3, &one_of(3)(3));
    assert_eq!(cluster.sum(3, WorkerCounter::SessionsReplica), 20);
    let insides = (4000..4010).chain(4100..4110);
    for (inside, port) in insides.zip(ports) {
        let owner = if inside < 4100 { 1 } else { 2 };
        assert_eq!(talk(&mut cluster, inside, port, (3, 3)), owner);
    }
    assert_eq!(cluster.sum(3, WorkerCounter::SessionsOpened), 0);
}

#[test]
fn a_node_may_go_while_another_one_is_away() {
    let mut cluster = Pair::new(one_of(3));
    cluster.run(400);
    let ports = [1, 2, 3].map(|node| open(&mut cluster, node, 4000 + u16::from(node), node));
    let wait = |cluster: &mut Pair, node| {
        for _ in 0..100 {
            cluster.run(20);
            if cluster.may_go(node) {
                return;
            }
        }
        panic!("node {node} may not go");
    };
    cluster.drain(3);
    wait(&mut cluster, 3);
    let leaving = RoleOrders {
        draining: true,
        leaving: true,
        ..RoleOrders::default()
    };
    cluster.order(3, leaving);
    cluster.run(100);
    cluster.drain(2);
    wait(&mut cluster, 2);
    cluster.order(2, leaving);
    cluster.run(100);
    // All that there is falls to the one that stays.
    for (inside, port) in (4001..).zip(ports) {
        assert_eq!(talk(&mut cluster, inside, port, (1, 1)), 1);
    }
}

#[test]
fn where_all_are_about_to_go_they_work_on() {
    let mut cluster = Pair::new(one_of(3));
    cluster.run(400);
    for node in 1..=3 {
        cluster.drain(node);
    }
    cluster.run(400);
    for node in 1..=3 {
        let inside = 4000 + u16::from(node);
        let port = open(&mut cluster, node, inside, node % 3 + 1);
        assert_eq!(talk(&mut cluster, inside, port, (node, node)), node);
    }
}

/// Nobody is told of its session, so each has to be asked.
#[test]
fn an_answer_that_comes_to_a_node_about_to_go_finds_its_owner() {
    for owner in [1, 2] {
        let mut cluster = Pair::new(|node| Setup {
            modes: vec![(ServiceId(0), SyncMode::None)],
            ..one_of(3)(node)
        });
        cluster.run(400);
        cluster.drain(3);
        cluster.run(100);
        let ask = udp(HOST, 5000, SERVER, 53, b"ask").to(INSIDE);
        let port = sport(&cluster.through((owner, INSIDE), &ask, (owner, OUTSIDE)));
        let told = udp(SERVER, 53, EXTERNAL, port, b"tell").to(OUTSIDE);
        cluster.through((3, OUTSIDE), &told, (owner, INSIDE));
    }
}
