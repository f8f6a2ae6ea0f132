//! Two appliances that share their sessions: what hosts on both sides see when packets of one session
//! cross different nodes, before any sync, and when a node dies.

use crate::world;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::mailbox::{EndRequest, Filter, RequestId, ToWorker};
use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::services::{Definition, Target};
use sluice_dataplane::snapshot::{
    LbMode, Local, Persistence, RealServer, Scheduler, ServerId, ServerState, ServiceId,
    SessionLimits, Tier, TierKind, VirtualServer,
};
use sluice_dataplane::tcp::{ACK, FIN, SYN};
use world::packet::{Spec, icmp_error, tcp, udp};
use world::pair::{HOST, Pair, SERVER, SILENCE_MS, snat, sport};
use world::{INSIDE, OUTSIDE, Setup, ip};

fn plain(node: u8) -> Setup {
    Setup {
        node: Some(node),
        ..Setup::default()
    }
}

fn syn() -> Spec {
    tcp(HOST, 4000, SERVER, 80, SYN, 1000, 0)
}

#[test]
fn a_reply_that_is_faster_than_the_sync_goes_to_the_owner_and_on() {
    // The wire takes longer than the reply: no record has arrived when it does.
    let mut pair = Pair::new(snat);
    pair.delay = 20;
    pair.put(1, INSIDE, &syn().to(INSIDE));
    pair.run(1);
    let out = pair.left(1, OUTSIDE);
    let port = sport(&out);
    let answer = tcp(SERVER, 80, "192.0.2.10", port, SYN | ACK, 9000, 1001);
    pair.arrive(2, OUTSIDE, &answer.to(OUTSIDE));
    let back = pair.left(1, INSIDE);
    let expected = tcp(SERVER, 80, HOST, 4000, SYN | ACK, 9000, 1001).ttl(63);
    assert_eq!(back, expected.from(INSIDE));
    assert_eq!(pair.sum(2, WorkerCounter::RedirectedNoSession), 1);
    assert_eq!(pair.sum(1, WorkerCounter::CorrectedReceived), 1);
    assert_eq!(pair.drops(2, DropReason::OutOfState), 0);
}

/// Opens a connection by node 1, with the answers coming by node `back`. Gives the external port.
fn open(pair: &mut Pair, sport_inside: u16, back: u8) -> u16 {
    let syn = tcp(HOST, sport_inside, SERVER, 80, SYN, 1000, 0);
    let port = sport(&pair.through((1, INSIDE), &syn.to(INSIDE), (1, OUTSIDE)));
    let answer = tcp(SERVER, 80, "192.0.2.10", port, SYN | ACK, 9000, 1001);
    pair.through((back, OUTSIDE), &answer.to(OUTSIDE), (1, INSIDE));
    let ack = tcp(HOST, sport_inside, SERVER, 80, ACK, 1001, 9001);
    pair.through((1, INSIDE), &ack.to(INSIDE), (1, OUTSIDE));
    port
}

/// The n-th kilobyte of the connection in both directions, as it comes and as it leaves: the host's
/// first, then the server's, which acknowledges it.
fn data(inside: u16, port: u16, n: u32) -> [Spec; 4] {
    let segment = |src: &str, sport, dst: &str, dport, seq, ack| {
        let mut segment = tcp(src, sport, dst, dport, ACK, seq, ack);
        segment.body.extend([0; 1000]);
        segment.summed(16)
    };
    let (sent, told) = (1001 + 1000 * n, 9001 + 1000 * n);
    [
        segment(HOST, inside, SERVER, 80, sent, told),
        segment("192.0.2.10", port, SERVER, 80, sent, told).ttl(63),
        segment(SERVER, 80, "192.0.2.10", port, told, sent + 1000),
        segment(SERVER, 80, HOST, inside, told, sent + 1000).ttl(63),
    ]
}

#[test]
fn packets_of_one_connection_may_cross_either_node_at_any_time() {
    for workers in [1, 2, 3] {
        let mut pair = Pair::new(|node| Setup {
            workers: if node == 1 { 1 } else { workers },
            ..snat(node)
        });
        for connection in 0..8 {
            pair.node(2).arrive_at += 1;
            let inside = 4000 + connection;
            let port = open(&mut pair, inside, 2);
            for step in 0..6 {
                let [ask, asked, tell, told] = data(inside, port, step);
                let node = 1 + (step % 2) as u8;
                let out = pair.through((node, INSIDE), &ask.to(INSIDE), (1, OUTSIDE));
                assert_eq!(out, asked.from(OUTSIDE));
                let back = pair.through((3 - node, OUTSIDE), &tell.to(OUTSIDE), (1, INSIDE));
                assert_eq!(back, told.from(INSIDE));
            }
        }
        assert_eq!(pair.sum(1, WorkerCounter::SessionsOpened), 8);
        assert_eq!(pair.sum(2, WorkerCounter::SessionsOpened), 0);
        assert_eq!(
            pair.sum(2, WorkerCounter::SessionsReplica),
            8,
            "{workers} workers"
        );
        assert_eq!(pair.sum(1, WorkerCounter::TcpOutOfWindow), 0);
        let redirected = pair.sum(2, WorkerCounter::Redirected);
        assert_eq!(redirected, 8 + 8 * 6);
        assert_eq!(pair.sum(1, WorkerCounter::CorrectedReceived), redirected);
    }
}

#[test]
fn a_connection_outlives_the_node_that_opened_it() {
    for workers in [1, 2] {
        let mut pair = Pair::new(|node| Setup {
            workers,
            ..snat(node)
        });
        let port = open(&mut pair, 4000, 1);
        // Far more data than a window went by since the other node was told of the connection.
        for n in 0..100 {
            let [ask, _, tell, _] = data(4000, port, n);
            pair.through((1, INSIDE), &ask.to(INSIDE), (1, OUTSIDE));
            pair.through((1, OUTSIDE), &tell.to(OUTSIDE), (1, INSIDE));
        }
        assert_eq!(pair.sum(1, WorkerCounter::SessionsUntold), 0);
        pair.kill(1);
        pair.run(SILENCE_MS);
        // The first to be heard is a segment that was sent before.
        let [_, _, tell, told] = data(4000, port, 99);
        let back = pair.through((2, OUTSIDE), &tell.to(OUTSIDE), (2, INSIDE));
        assert_eq!(back, told.from(INSIDE));
        let [ask, asked, tell, told] = data(4000, port, 100);
        let out = pair.through((2, INSIDE), &ask.to(INSIDE), (2, OUTSIDE));
        assert_eq!(out, asked.from(OUTSIDE));
        let back = pair.through((2, OUTSIDE), &tell.to(OUTSIDE), (2, INSIDE));
        assert_eq!(back, told.from(INSIDE));
        assert_eq!(pair.sum(2, WorkerCounter::SessionsTakenOver), 1);
        assert_eq!(pair.sum(2, WorkerCounter::SessionsReplica), 0);
        // Its state is followed as before: both sides close, and it is over.
        let fin = tcp(HOST, 4000, SERVER, 80, FIN | ACK, 102_001, 110_001);
        pair.through((2, INSIDE), &fin.to(INSIDE), (2, OUTSIDE));
        let fin = tcp(SERVER, 80, "192.0.2.10", port, FIN | ACK, 110_001, 102_002);
        pair.through((2, OUTSIDE), &fin.to(OUTSIDE), (2, INSIDE));
        assert_eq!(pair.sum(2, WorkerCounter::TcpOutOfWindow), 0);
        let again = tcp(HOST, 4000, SERVER, 80, SYN, 5_000_000, 0);
        pair.through((2, INSIDE), &again.to(INSIDE), (2, OUTSIDE));
        assert_eq!(
            pair.sum(2, WorkerCounter::SessionsOpened),
            1,
            "a new connection"
        );
    }
}

#[test]
fn a_node_that_comes_back_is_told_everything_and_gives_nothing_away_twice() {
    for workers in [1, 3] {
        comes_back(workers);
    }
}

fn comes_back(workers: u16) {
    let snat = |node| Setup {
        workers,
        ..snat(node)
    };
    let mut pair = Pair::new(snat);
    let mut ports: Vec<_> = (0..20).map(|n| open(&mut pair, 4000 + n, 2)).collect();
    pair.kill(1);
    pair.run(SILENCE_MS);
    // Half of them are heard of while it is dead.
    for (inside, &port) in (4000..4010).zip(&ports) {
        let [ask, ..] = data(inside, port, 0);
        pair.through((2, INSIDE), &ask.to(INSIDE), (2, OUTSIDE));
    }
    pair.start(1, &snat(1));
    assert_eq!(
        pair.sum(1, WorkerCounter::PeerState),
        3 * u64::from(workers)
    );
    assert_eq!(pair.sum(1, WorkerCounter::SessionsReplica), 20);
    assert_eq!(pair.sum(2, WorkerCounter::SessionsTakenOver), 20);
    // Whichever node their packets come to, they go on at the one that has them now.
    for (inside, &port) in (4000..4020).zip(&ports) {
        let [ask, asked, tell, told] = data(inside, port, 1);
        let out = pair.through((1, INSIDE), &ask.to(INSIDE), (2, OUTSIDE));
        assert_eq!(out, asked.from(OUTSIDE));
        let back = pair.through((1, OUTSIDE), &tell.to(OUTSIDE), (2, INSIDE));
        assert_eq!(back, told.from(INSIDE));
    }
    // New ones get ports that no other has, though the old ones were given away by this very node.
    for n in 0..200 {
        let port = open(&mut pair, 5000 + n, 2);
        assert!(!ports.contains(&port), "{port} twice");
        ports.push(port);
    }
}

#[test]
fn ports_tell_which_node_chose_them() {
    let mut pair = Pair::new(snat);
    for node in [1, 2] {
        for n in 0..50 {
            let ask = udp(HOST, 4000 + n, SERVER, 53 + u16::from(node), b"ask");
            let out = pair.through((node, INSIDE), &ask.to(INSIDE), (node, OUTSIDE));
            let upper = sport(&out) >= 33280;
            assert_eq!(upper, node == 2, "{}", sport(&out));
        }
    }
}

#[test]
fn answers_to_datagrams_find_the_owner_before_it_has_told_of_them() {
    let mut pair = Pair::new(snat);
    pair.delay = 50;
    pair.put(1, INSIDE, &udp(HOST, 4000, SERVER, 53, b"ask").to(INSIDE));
    pair.run(1);
    let port = sport(&pair.left(1, OUTSIDE));
    let answer = udp(SERVER, 53, "192.0.2.10", port, b"told");
    let back = pair.through((2, OUTSIDE), &answer.to(OUTSIDE), (1, INSIDE));
    assert_eq!(
        back,
        udp(SERVER, 53, HOST, 4000, b"told").ttl(63).from(INSIDE)
    );
    assert_eq!(pair.sum(2, WorkerCounter::RedirectedPort), 1);
    // What neither knows ends at the second node, and does not come back.
    let stray = udp(SERVER, 53, "192.0.2.10", port ^ 1, b"told");
    pair.arrive(2, OUTSIDE, &stray.to(OUTSIDE));
    pair.run(200);
    assert_eq!(pair.drops(1, DropReason::NatNoMapping), 1);
    assert_eq!(pair.sum(1, WorkerCounter::Redirected), 0);
}

#[test]
fn errors_about_packets_of_the_other_node_reach_their_sender() {
    let mut pair = Pair::new(snat);
    pair.delay = 50;
    let ask = udp(HOST, 4000, SERVER, 53, b"ask");
    pair.put(1, INSIDE, &ask.to(INSIDE));
    pair.run(1);
    let out = pair.left(1, OUTSIDE);
    let error = icmp_error("203.0.113.1", "192.0.2.10", 3, 1, [0; 4], &out[14..]);
    pair.arrive(2, OUTSIDE, &error.to(OUTSIDE));
    let told = pair.left(1, INSIDE);
    assert_eq!(told[30..34], [10, 0, 0, 7]);
    assert_eq!(pair.sum(2, WorkerCounter::RedirectedError), 1);
}

#[test]
fn forwarded_connections_need_no_nat_to_cross_two_nodes() {
    let mut pair = Pair::new(plain);
    let syn = tcp(HOST, 4000, SERVER, 80, SYN, 1000, 0);
    pair.through((1, INSIDE), &syn.to(INSIDE), (1, OUTSIDE));
    let answer = tcp(SERVER, 80, HOST, 4000, SYN | ACK, 9000, 1001);
    let back = pair.through((2, OUTSIDE), &answer.to(OUTSIDE), (1, INSIDE));
    assert_eq!(back, answer.clone().ttl(63).from(INSIDE));
    pair.kill(1);
    pair.run(SILENCE_MS);
    let ack = tcp(HOST, 4000, SERVER, 80, ACK, 1001, 9001);
    let out = pair.through((2, INSIDE), &ack.to(INSIDE), (2, OUTSIDE));
    assert_eq!(out, ack.ttl(63).from(OUTSIDE));
}

#[test]
fn a_session_that_ends_is_gone_on_both_nodes() {
    let mut pair = Pair::new(|node| Setup {
        timeouts: vec![sluice_dataplane::timeouts::Timeouts {
            udp_new: 500,
            ..Default::default()
        }],
        ..plain(node)
    });
    let ask = udp(HOST, 4000, SERVER, 53, b"ask");
    pair.through((1, INSIDE), &ask.to(INSIDE), (1, OUTSIDE));
    assert_eq!(pair.sum(2, WorkerCounter::SessionsReplica), 1);
    pair.run(2000);
    assert_eq!(pair.sum(1, WorkerCounter::SessionsEnded), 1);
    assert_eq!(pair.sum(2, WorkerCounter::SessionsReplica), 0);
}

#[test]
fn a_lossy_link_loses_no_session() {
    let mut pair = Pair::new(snat);
    pair.lose_every = 4;
    for n in 0..100 {
        let ask = udp(HOST, 4000 + n, SERVER, 53, b"ask");
        pair.arrive(1, INSIDE, &ask.to(INSIDE));
    }
    pair.run(2000);
    assert_eq!(pair.sum(2, WorkerCounter::SessionsReplica), 100);
    assert_eq!(pair.sum(1, WorkerCounter::SessionsUntold), 0);
}

#[test]
fn without_a_link_each_goes_on_alone_and_they_agree_again_afterwards() {
    let mut pair = Pair::new(snat);
    let port = open(&mut pair, 4000, 2);
    pair.cut = true;
    pair.run(SILENCE_MS);
    assert_eq!(pair.sum(1, WorkerCounter::PeerState), 1);
    assert_eq!(pair.sum(2, WorkerCounter::PeerState), 1);
    // The other one takes over what comes to it, and opens what it likes.
    let [ask, asked, tell, told] = data(4000, port, 0);
    let out = pair.through((2, INSIDE), &ask.to(INSIDE), (2, OUTSIDE));
    assert_eq!(out, asked.from(OUTSIDE));
    let other = udp(HOST, 4000, SERVER, 53, b"ask");
    pair.through((2, INSIDE), &other.to(INSIDE), (2, OUTSIDE));
    pair.cut = false;
    pair.run(3000);
    assert_eq!(pair.sum(1, WorkerCounter::PeerState), 3);
    assert_eq!(pair.sum(2, WorkerCounter::PeerState), 3);
    assert_eq!(pair.sum(1, WorkerCounter::SessionsReplica), 2);
    assert_eq!(pair.sum(2, WorkerCounter::SessionsReplica), 0);
    let back = pair.through((1, OUTSIDE), &tell.to(OUTSIDE), (2, INSIDE));
    assert_eq!(back, told.from(INSIDE));
}

#[test]
fn strangers_on_the_link_are_heard_by_nobody() {
    let mut pair = Pair::new(plain);
    let link = world::PortId(2);
    let mut forged = udp(HOST, 4000, SERVER, 53, b"ask").to(INSIDE);
    pair.arrive(2, link, &forged);
    forged[6..12].copy_from_slice(&[0x16, 0, 1, 2, 3, 4]);
    pair.arrive(2, link, &forged);
    assert_eq!(pair.drops(2, DropReason::HaForged), 2);
    forged[12..14].copy_from_slice(&[0x88, 0xb5]);
    pair.arrive(2, link, &forged);
    assert_eq!(pair.drops(2, DropReason::HaRefused), 1);
    pair.node(2).assert_quiet();
}

const VIP: &str = "192.0.2.100";

/// A virtual server with two real ones inside. `reversed`: the node has other numbers for them.
fn balanced(node: u8, reversed: bool) -> Setup {
    let server = |host: &str| {
        Some(RealServer {
            name: format!("web/{host}"),
            address: ip(host),
            port: Some(8080),
            weight: 1,
            state: ServerState::Up,
            limits: SessionLimits::default(),
        })
    };
    let mut servers = vec![None, server("10.0.0.11"), server("10.0.0.12")];
    if reversed {
        servers.swap(1, 2);
    }
    Setup {
        virtual_servers: vec![VirtualServer {
            service: ServiceId(0),
            name: "web".into(),
            ports: Some((80, 80)),
            mode: LbMode::Dnat,
            tiers: vec![Tier {
                kind: TierKind::Pool,
                scheduler: Scheduler::RoundRobin,
                members: vec![ServerId(1), ServerId(2)],
            }],
            persistence: None,
            redirect: None,
            snat_pool: None,
            timeouts: 0,
            clamp_mss: None,
        }],
        servers,
        services: vec![Definition {
            address: ip(VIP),
            proto: Some(sluice_wire::proto::TCP),
            ports: Some((80, 80)),
            target: Target::VirtualServer(0),
        }],
        local: vec![(ip(VIP), Local::Vip)],
        ..plain(node)
    }
}

#[test]
fn a_real_server_keeps_its_clients_whichever_node_they_come_by_and_whichever_dies() {
    let mut pair = Pair::new(|node| balanced(node, node == 2));
    let mut reals = vec![];
    for client in 5000..5006 {
        let syn = tcp(SERVER, client, VIP, 80, SYN, 1000, 0);
        let out = pair.through((1, OUTSIDE), &syn.to(OUTSIDE), (1, INSIDE));
        let real = format!("10.0.0.{}", out[33]);
        let answer = tcp(&real, 8080, SERVER, client, SYN | ACK, 9000, 1001);
        let back = pair.through((2, INSIDE), &answer.to(INSIDE), (1, OUTSIDE));
        let expected = tcp(VIP, 80, SERVER, client, SYN | ACK, 9000, 1001).ttl(63);
        assert_eq!(back, expected.from(OUTSIDE));
        reals.push(real);
    }
    pair.kill(1);
    pair.run(SILENCE_MS);
    // The other node never saw them, and has other numbers for the servers.
    for (client, real) in (5000..).zip(&reals) {
        let ack = tcp(SERVER, client, VIP, 80, ACK, 1001, 9001);
        let out = pair.through((2, OUTSIDE), &ack.to(OUTSIDE), (2, INSIDE));
        let expected = tcp(SERVER, client, real, 8080, ACK, 1001, 9001).ttl(63);
        assert_eq!(out, expected.from(INSIDE));
    }
    let published = &pair.node(2).published;
    for server in [1, 2] {
        assert_eq!(
            published.sessions_of(ServerId(server)),
            3,
            "taken into account"
        );
    }
}

#[test]
fn a_server_that_one_node_finds_down_keeps_the_sessions_of_the_other() {
    let mut pair = Pair::new(|node| balanced(node, false));
    let real = real_of(&mut pair, 1, SERVER, 5000);
    assert_eq!(pair.sum(2, WorkerCounter::SessionsReplica), 1);
    let mut down = balanced(2, false);
    for server in down.servers.iter_mut().flatten() {
        server.state = ServerState::Down;
    }
    pair.node(2).swap(&down);
    for control in &pair.node(2).control {
        let mut end = EndRequest::new(RequestId(1), Filter::default());
        end.homeless = true;
        control
            .send(ToWorker::EndSessions(Box::new(end)))
            .expect("room");
    }
    // No digest has had the time to tell of it again.
    pair.run(20);
    assert_eq!(pair.sum(2, WorkerCounter::SessionsReplica), 1);
    let answer = tcp(
        &format!("10.0.0.{real}"),
        8080,
        SERVER,
        5000,
        SYN | ACK,
        9000,
        1001,
    );
    pair.through((1, INSIDE), &answer.to(INSIDE), (1, OUTSIDE));
}

/// The real server that a new connection of a client's is given to by a node.
fn real_of(pair: &mut Pair, node: u8, client: &str, port: u16) -> u8 {
    let syn = tcp(client, port, VIP, 80, SYN, 1000, 0);
    pair.through((node, OUTSIDE), &syn.to(OUTSIDE), (node, INSIDE))[33]
}

#[test]
fn clients_come_back_to_their_server_by_either_node_and_after_either_died() {
    for workers in [(1, 1), (2, 3)] {
        let persistent = |node: u8| {
            let mut setup = balanced(node, node == 2);
            setup.workers = if node == 1 { workers.0 } else { workers.1 };
            setup.virtual_servers[0].persistence = Some(Persistence {
                prefix_v4: 32,
                prefix_v6: 128,
                timeout_ms: 600_000,
            });
            setup
        };
        let mut pair = Pair::new(persistent);
        let clients: Vec<_> = (10..22).map(|n| format!("198.51.100.{n}")).collect();
        let all = |pair: &mut Pair, node, port| -> Vec<u8> {
            let reals = clients
                .iter()
                .map(|client| real_of(pair, node, client, port));
            reals.collect()
        };
        let first = all(&mut pair, 1, 5000);
        assert!(first.contains(&11) && first.contains(&12));
        assert_eq!(all(&mut pair, 2, 5001), first, "by the other node");
        pair.kill(1);
        pair.run(SILENCE_MS);
        assert_eq!(all(&mut pair, 2, 5002), first, "after the first died");
        pair.start(1, &persistent(1));
        pair.run(1000);
        pair.kill(2);
        pair.run(SILENCE_MS);
        assert_eq!(all(&mut pair, 1, 5003), first, "told anew");
    }
}

#[test]
fn who_was_alone_from_the_start_is_not_made_to_wait_when_the_clock_comes_round() {
    let mut world = snat(1).start();
    let start = world.now;
    world.pass_time(1100);
    let ask = |port: u16| udp(HOST, port, SERVER, 53, b"ask").to(INSIDE);
    world.through(INSIDE, &ask(4000));
    // The jump looks like a worker that stood still, which is over in a moment.
    world.now = start.wrapping_sub(200);
    world.pass_time(400);
    world.through(INSIDE, &ask(4001));
    assert_eq!(world.drop_count(DropReason::HaWaiting), 0);
}
