//! First packets that travel with their session's record through another appliance.

use crate::world;

use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::services::{Definition, Target};
use sluice_dataplane::shared_names::SyncMode;
use sluice_dataplane::snapshot::{
    LbMode, Local, RealServer, ServerState, ServiceId, SessionLimits,
};
use sluice_dataplane::tcp::{ACK, SYN};
use sluice_wire::proto;
use world::packet::{Spec, tcp, udp};
use world::pair::{EXTERNAL, HOST, Pair, SERVER, SILENCE_MS, snat, sport};
use world::{INSIDE, OUTSIDE, Setup, ip};

/// What the wire takes.
const DELAY: u32 = 20;

/// A node that translates sources of the inside, of which the other is told inline.
fn inline(node: u8) -> Setup {
    Setup {
        modes: vec![(ServiceId(0), SyncMode::Inline)],
        ..snat(node)
    }
}

/// One of three such.
fn of_three(node: u8) -> Setup {
    Setup {
        nodes: 3,
        workers: [1, 2, 3][usize::from(node) % 3],
        ..inline(node)
    }
}

/// Nodes of which all know where the next hops are, with a wire that takes its time.
fn warm(setup: impl Fn(u8) -> Setup) -> Pair {
    let mut pair = Pair::new(setup);
    for node in 1..=pair.nodes.len() as u8 {
        for worker in 0..pair.node(node).workers.len() {
            pair.node(node).arrive_at = worker;
            pair.arrive(node, INSIDE, &udp(HOST, 1000, SERVER, 1, b"?").to(INSIDE));
        }
        pair.node(node).arrive_at = 0;
    }
    pair.run(50);
    for world in pair.nodes.iter_mut().flatten() {
        world.sent.iter_mut().for_each(|sent| sent.clear());
    }
    pair.delay = DELAY;
    pair
}

fn syn(inside: u16) -> Spec {
    tcp(HOST, inside, SERVER, 80, SYN, 1000, 0)
}

fn answer(port: u16) -> Spec {
    tcp(SERVER, 80, EXTERNAL, port, SYN | ACK, 9000, 1001)
}

/// How much a counter grows while something happens.
struct Since {
    node: u8,
    counter: WorkerCounter,
    before: u64,
}

impl Since {
    fn new(pair: &mut Pair, node: u8, counter: WorkerCounter) -> Self {
        let before = pair.sum(node, counter);
        Self {
            node,
            counter,
            before,
        }
    }

    fn more(&self, pair: &mut Pair) -> u64 {
        pair.run(1);
        pair.sum(self.node, self.counter) - self.before
    }
}

fn quiet(pair: &Pair) {
    let nodes = pair.nodes.iter().flatten();
    nodes.for_each(world::World::assert_quiet);
}

/// Packets of a node that were given to others because nothing was known of their session.
fn early(pair: &mut Pair, node: u8) -> u64 {
    let reasons = [
        WorkerCounter::RedirectedNoSession,
        WorkerCounter::RedirectedPort,
        WorkerCounter::RedirectedRefused,
        WorkerCounter::RedirectedJoining,
        WorkerCounter::RedirectedLeaving,
    ];
    reasons.map(|reason| pair.sum(node, reason)).iter().sum()
}

#[test]
fn the_first_packet_leaves_by_the_node_that_has_been_told_and_no_reply_is_early() {
    let mut pair = warm(inline);
    let redirected = Since::new(&mut pair, 1, WorkerCounter::Redirected);
    let by_inline = Since::new(&mut pair, 1, WorkerCounter::RedirectedInline);
    let forwarded = Since::new(&mut pair, 1, WorkerCounter::Forwarded);
    let sent = Since::new(&mut pair, 2, WorkerCounter::InlineSent);
    let before = early(&mut pair, 2);
    pair.put(1, INSIDE, &syn(4000).to(INSIDE));
    pair.run(DELAY - 1);
    quiet(&pair);
    pair.run(3);
    let out = pair.left(2, OUTSIDE);
    quiet(&pair);
    let port = sport(&out);
    let expected = tcp(EXTERNAL, port, SERVER, 80, SYN, 1000, 0).ttl(63);
    assert_eq!(out, expected.from(OUTSIDE), "as the other would send it");
    let books = [&redirected, &by_inline, &sent].map(|since| since.more(&mut pair));
    assert_eq!((books, forwarded.more(&mut pair)), ([1, 1, 1], 0));
    // The reply comes to the other node, long before that one's acknowledgement has arrived.
    pair.put(2, OUTSIDE, &answer(port).to(OUTSIDE));
    pair.run(DELAY + 3);
    let back = pair.left(1, INSIDE);
    let expected = tcp(SERVER, 80, HOST, 4000, SYN | ACK, 9000, 1001).ttl(63);
    assert_eq!(back, expected.from(INSIDE));
    assert_eq!(early(&mut pair, 2), before, "it met the session");
    // From now on packets take the short way.
    let ack = tcp(HOST, 4000, SERVER, 80, ACK, 1001, 9001);
    pair.through((1, INSIDE), &ack.to(INSIDE), (1, OUTSIDE));
    assert_eq!(by_inline.more(&mut pair), 1);
    assert_eq!(pair.sum(1, WorkerCounter::InlineDirect), 0);
    assert_eq!(pair.sum(1, WorkerCounter::TcpOutOfWindow), 0);
}

#[test]
fn with_async_the_same_reply_is_early() {
    let mut pair = warm(snat);
    let before = early(&mut pair, 2);
    pair.put(1, INSIDE, &syn(4000).to(INSIDE));
    pair.run(1);
    let port = sport(&pair.left(1, OUTSIDE));
    pair.put(2, OUTSIDE, &answer(port).to(OUTSIDE));
    pair.run(DELAY + 3);
    pair.left(1, INSIDE);
    assert_eq!(early(&mut pair, 2), before + 1);
}

#[test]
fn a_session_whose_first_packet_has_left_outlives_its_node() {
    let mut pair = warm(inline);
    pair.put(1, INSIDE, &syn(4000).to(INSIDE));
    let mut waited = 0;
    while pair.node(2).sent[usize::from(OUTSIDE.0)].is_empty() {
        pair.run(1);
        waited += 1;
        assert!(waited < 2 * DELAY);
    }
    pair.kill(1);
    let port = sport(&pair.left(2, OUTSIDE));
    pair.run(SILENCE_MS);
    let back = pair.through((2, OUTSIDE), &answer(port).to(OUTSIDE), (2, INSIDE));
    let expected = tcp(SERVER, 80, HOST, 4000, SYN | ACK, 9000, 1001).ttl(63);
    assert_eq!(back, expected.from(INSIDE));
    let ack = tcp(HOST, 4000, SERVER, 80, ACK, 1001, 9001);
    pair.through((2, INSIDE), &ack.to(INSIDE), (2, OUTSIDE));
}

#[test]
fn all_packets_go_that_way_until_the_record_is_acknowledged_and_none_overtakes() {
    let mut pair = warm(inline);
    let say = |n: u8| udp(HOST, 4000, SERVER, 53, &[n; 8]).to(INSIDE);
    let by_inline = Since::new(&mut pair, 1, WorkerCounter::RedirectedInline);
    for n in 0..10 {
        pair.put(1, INSIDE, &say(n));
        pair.run(1);
    }
    pair.run(2 * DELAY);
    for n in 0..10 {
        assert!(pair.left(2, OUTSIDE).ends_with(&[n; 8]), "{n}");
    }
    quiet(&pair);
    assert_eq!(by_inline.more(&mut pair), 10);
    // Nobody answers, but the record has arrived.
    pair.through((1, INSIDE), &say(10), (1, OUTSIDE));
}

#[test]
fn what_is_lost_on_the_way_is_repeated_with_its_record() {
    let mut pair = warm(inline);
    pair.lose_every = 7;
    for n in 0..100 {
        pair.put(1, INSIDE, &syn(4000 + n).to(INSIDE));
        pair.run(7);
    }
    pair.run(1000);
    let by_other = pair.node(2).sent[usize::from(OUTSIDE.0)].len() as u64;
    let by_itself = pair.node(1).sent[usize::from(OUTSIDE.0)].len() as u64;
    let sent = pair.sum(2, WorkerCounter::InlineSent);
    let recalled = pair.sum(1, WorkerCounter::InlineRecalled);
    let direct = pair.sum(1, WorkerCounter::InlineDirect);
    assert_eq!((by_other, by_itself), (sent, recalled + direct));
    assert!(by_other + by_itself >= 100, "none is lost");
    assert!(
        by_other > 50,
        "{by_other}, {recalled} recalled, {direct} direct"
    );
    for node in [1, 2] {
        pair.node(node).sent[usize::from(OUTSIDE.0)].clear();
        assert_eq!(pair.sum(node, WorkerCounter::InlineLost), 0);
    }
}

#[test]
fn a_packet_that_the_other_node_cannot_send_comes_back_and_leaves_by_its_own() {
    let mut pair = warm(inline);
    let returned = Since::new(&mut pair, 2, WorkerCounter::InlineReturned);
    let sent = Since::new(&mut pair, 1, WorkerCounter::InlineSent);
    pair.node(2).swap(&Setup {
        // It has no such way any more.
        routes: vec![],
        epoch: 2,
        ..inline(2)
    });
    pair.put(1, INSIDE, &syn(4000).to(INSIDE));
    pair.run(2 * DELAY + 4);
    let port = sport(&pair.left(1, OUTSIDE));
    quiet(&pair);
    assert_eq!((returned.more(&mut pair), sent.more(&mut pair)), (1, 1));
    pair.put(1, OUTSIDE, &answer(port).to(OUTSIDE));
    pair.run(3);
    pair.left(1, INSIDE);
}

#[test]
fn a_slow_node_delays_nothing_beyond_the_budget() {
    let mut pair = warm(inline);
    // There and back takes longer than it may; that has to be found out first.
    pair.delay = 150;
    pair.put(1, INSIDE, &syn(4000).to(INSIDE));
    pair.run(160);
    pair.left(2, OUTSIDE);
    pair.run(50);
    pair.left(1, OUTSIDE);
    assert_eq!(
        pair.sum(1, WorkerCounter::InlineRecalled),
        1,
        "as nothing was acknowledged"
    );
    pair.run(2000);
    for n in 1..50 {
        pair.put(1, INSIDE, &udp(HOST, 4000 + n, SERVER, 53, b"?").to(INSIDE));
        pair.run(20);
    }
    pair.run(500);
    let direct = Since::new(&mut pair, 1, WorkerCounter::InlineDirect);
    pair.node(1).sent[usize::from(OUTSIDE.0)].clear();
    pair.node(2).sent[usize::from(OUTSIDE.0)].clear();
    pair.put(1, INSIDE, &syn(5000).to(INSIDE));
    pair.run(1);
    pair.left(1, OUTSIDE);
    assert_eq!(direct.more(&mut pair), 1);
    pair.run(1000);
    quiet(&pair);
    // Once it is fast again it takes its part.
    pair.delay = 1;
    for n in 0..100 {
        pair.arrive(1, INSIDE, &syn(6000 + n).to(INSIDE));
    }
    pair.node(1).sent[usize::from(OUTSIDE.0)].clear();
    pair.node(2).sent[usize::from(OUTSIDE.0)].clear();
    pair.arrive(1, INSIDE, &syn(7000).to(INSIDE));
    pair.left(2, OUTSIDE);
    quiet(&pair);
}

#[test]
fn what_a_dead_node_was_to_send_leaves_once_it_is_known_to_be_dead() {
    let mut pair = warm(inline);
    pair.kill(2);
    pair.run(1);
    for n in 0..5 {
        pair.put(1, INSIDE, &syn(4000 + n).to(INSIDE));
    }
    pair.run(1);
    quiet(&pair);
    pair.run(SILENCE_MS);
    for _ in 0..5 {
        pair.left(1, OUTSIDE);
    }
    quiet(&pair);
    assert_eq!(pair.sum(1, WorkerCounter::InlineRecalled), 5);
    let direct = Since::new(&mut pair, 1, WorkerCounter::InlineDirect);
    pair.through((1, INSIDE), &syn(5000).to(INSIDE), (1, OUTSIDE));
    assert_eq!(direct.more(&mut pair), 1, "it goes on alone");
    pair.run(3000);
    assert_eq!(pair.sum(1, WorkerCounter::InlineLost), 0);
}

#[test]
fn what_a_node_was_to_send_that_starts_again_at_once_leaves_all_the_same() {
    let mut pair = warm(inline);
    pair.kill(2);
    pair.put(1, INSIDE, &syn(4000).to(INSIDE));
    pair.run(1);
    // It greets before its death is noticed.
    pair.start(2, &inline(2));
    pair.left(1, OUTSIDE);
    quiet(&pair);
    assert_eq!(pair.sum(1, WorkerCounter::InlineRecalled), 1);
}

#[test]
fn a_packet_that_fits_no_frame_leaves_directly() {
    let mut pair = warm(inline);
    let direct = Since::new(&mut pair, 1, WorkerCounter::InlineDirect);
    let long = udp(HOST, 4000, SERVER, 53, &[7; 1400]);
    pair.put(1, INSIDE, &long.to(INSIDE));
    pair.run(1);
    assert_eq!(pair.left(1, OUTSIDE).len(), long.to(INSIDE).len());
    assert_eq!(direct.more(&mut pair), 1);
    // A shorter one of the same session still goes with it.
    pair.put(1, INSIDE, &udp(HOST, 4000, SERVER, 53, b"!").to(INSIDE));
    pair.run(DELAY + 3);
    pair.left(2, OUTSIDE);
    quiet(&pair);
}

/// A balancer with a real server outside, for a VIP that clients inside ask for.
fn balancer(node: u8, vip: &str, real: &str, mode: LbMode) -> Setup {
    let (vip, real) = (ip(vip), ip(real));
    Setup {
        services: vec![Definition {
            address: vip,
            proto: Some(proto::UDP),
            ports: Some((53, 53)),
            target: Target::VirtualServer(0),
        }],
        local: vec![(vip, Local::Vip)],
        servers: vec![
            None,
            Some(RealServer {
                name: "dns/1".into(),
                address: real,
                port: None,
                weight: 1,
                state: ServerState::Up,
                limits: SessionLimits::default(),
            }),
        ],
        virtual_servers: vec![world::round_robin(ServiceId(0), "dns", 53, mode)],
        node: Some(node),
        modes: vec![(ServiceId(0), SyncMode::Inline)],
        ..Setup::default()
    }
}

#[test]
fn packets_for_real_servers_go_where_the_node_that_opened_the_session_chose() {
    for (client, vip, real, mode) in [
        (HOST, "192.0.2.100", "192.0.2.11", LbMode::Dnat),
        // The server is not what the packet is addressed to.
        (HOST, "203.0.113.100", "192.0.2.11", LbMode::Dsr),
        (
            "2001:db8:a::7",
            "2001:db8:c::100",
            "2001:db8:b::11",
            LbMode::Dnat,
        ),
    ] {
        let mut pair = Pair::new(|node| balancer(node, vip, real, mode));
        let ask = |port| udp(client, port, vip, 53, b"ask");
        // Node 2 does not know where the server is yet.
        pair.arrive(1, INSIDE, &ask(3000).to(INSIDE));
        pair.run(20);
        let first = pair.left(1, OUTSIDE);
        assert_eq!(pair.sum(2, WorkerCounter::InlineReturned), 1);
        quiet(&pair);
        pair.delay = DELAY;
        pair.put(1, INSIDE, &ask(4000).to(INSIDE));
        pair.run(DELAY + 3);
        let out = pair.left(2, OUTSIDE);
        quiet(&pair);
        let to = match mode {
            LbMode::Dsr => vip,
            _ => real,
        };
        let mut expected = udp(client, 4000, to, 53, b"ask").ttl(63).from(OUTSIDE);
        expected[..6].copy_from_slice(&world::host_mac(ip(real)).0);
        assert_eq!(out, expected, "{mode:?}");
        assert_eq!(out[..12], first[..12]);
    }
}

/// Who sends the packet that opens a session falls heir to it when its owner dies.
#[test]
fn of_three_nodes_the_heir_sends_the_first_packet_and_any_takes_the_reply() {
    the_heir_sends_the_first_packet(false);
}

/// The same where no other node has a copy.
#[test]
fn the_only_node_that_has_a_copy_sends_the_first_packet() {
    the_heir_sends_the_first_packet(true);
}

fn the_heir_sends_the_first_packet(backup: bool) {
    let mut cluster = warm(|node| Setup {
        backup,
        ..of_three(node)
    });
    // What is told to one node warms no other one.
    for n in 0..60 {
        cluster.put(1, INSIDE, &syn(3000 + n).to(INSIDE));
        cluster.run(3 * DELAY);
    }
    for world in cluster.nodes.iter_mut().flatten() {
        world.sent.iter_mut().for_each(|sent| sent.clear());
    }
    let copies = [2, 3].map(|node| Since::new(&mut cluster, node, WorkerCounter::SessionsReplica));
    let mut senders = [0, 0];
    let mut opened = vec![];
    for n in 0..40_u16 {
        cluster.put(1, INSIDE, &syn(4000 + n).to(INSIDE));
        cluster.run(DELAY + 4);
        let by = [2, 3].map(|node| cluster.node(node).sent[usize::from(OUTSIDE.0)].pop_front());
        let (by, out) = match by {
            [Some(out), None] => (2, out),
            [None, Some(out)] => (3, out),
            other => panic!("{other:02x?}"),
        };
        quiet(&cluster);
        senders[by - 2] += 1;
        let port = sport(&out);
        // By the third one.
        cluster.put(5 - by as u8, OUTSIDE, &answer(port).to(OUTSIDE));
        cluster.run(2 * DELAY + 5);
        cluster.left(1, INSIDE);
        quiet(&cluster);
        opened.push((n, port, by as u8));
    }
    assert!(senders.iter().all(|&count| count > 5), "{senders:?}");
    let copies = copies.map(|copies| copies.more(&mut cluster));
    assert_eq!(copies, if backup { senders } else { [40; 2] });
    cluster.kill(1);
    cluster.run(SILENCE_MS + 50);
    for (n, port, heir) in opened {
        let ack = tcp(HOST, 4000 + n, SERVER, 80, ACK, 1001, 9001);
        cluster.put(5 - heir, INSIDE, &ack.to(INSIDE));
        cluster.run(DELAY + 4);
        assert_eq!(sport(&cluster.left(heir, OUTSIDE)), port);
        quiet(&cluster);
    }
}

#[test]
fn of_three_nodes_another_stands_in_for_an_heir_that_cannot() {
    let mut cluster = warm(of_three);
    cluster.kill(2);
    cluster.run(SILENCE_MS + 50);
    for n in 0..20 {
        cluster.put(1, INSIDE, &syn(4000 + n).to(INSIDE));
        cluster.run(DELAY + 4);
        cluster.left(3, OUTSIDE);
        quiet(&cluster);
    }
    assert_eq!(cluster.sum(1, WorkerCounter::InlineDirect), 0);
}
