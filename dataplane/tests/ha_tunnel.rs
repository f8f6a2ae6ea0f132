//! Appliances that are not neighbours on the HA link: all between them goes by a router, in tunnels.

use crate::world;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::worker::TunnelKind;
use world::packet::{Spec, udp};
use world::pair::{EXTERNAL, HOST, Pair, SERVER, SILENCE_MS, snat, sport};
use world::router::MACS;
use world::{INSIDE, OUTSIDE, PortId, Setup};

/// The HA link.
const LINK: PortId = PortId(2);
const KINDS: [TunnelKind; 2] = [TunnelKind::Vxlan, TunnelKind::Gre];

fn apart(kind: TunnelKind) -> impl Fn(u8) -> Setup {
    move |node| Setup {
        tunnel: Some(kind),
        workers: 4 - u16::from(node),
        ..snat(node)
    }
}

/// The same by links that take less than the ports.
fn narrow(kind: TunnelKind) -> impl Fn(u8) -> Setup {
    move |node| Setup {
        link_mtu: 1400,
        ..apart(kind)(node)
    }
}

fn ask(n: u16) -> Spec {
    udp(HOST, 4000 + n, SERVER, 53, b"ask")
}

/// Opens a session at node 1; the port that it got outside.
fn opened(pair: &mut Pair, n: u16) -> u16 {
    sport(&pair.through((1, INSIDE), &ask(n).to(INSIDE), (1, OUTSIDE)))
}

/// Its answer comes to node 2, and leaves by node 1.
fn answered(pair: &mut Pair, n: u16, port: u16) {
    let answer = udp(SERVER, 53, EXTERNAL, port, b"answer");
    let back = pair.through((2, OUTSIDE), &answer.to(OUTSIDE), (1, INSIDE));
    let expected = udp(SERVER, 53, HOST, 4000 + n, b"answer").ttl(63);
    assert_eq!(back, expected.from(INSIDE));
}

#[test]
fn sessions_are_told_of_and_packets_find_their_owner() {
    for kind in KINDS {
        let mut pair = Pair::new(apart(kind));
        let ports: Vec<_> = (0..20).map(|n| opened(&mut pair, n)).collect();
        for (n, &port) in ports.iter().enumerate() {
            answered(&mut pair, n as u16, port);
        }
        assert_eq!(pair.sum(2, WorkerCounter::SessionsReplica), 20);
        assert_eq!(pair.sum(1, WorkerCounter::CorrectedReceived), 20);
        let router = pair.router.as_ref().expect("a router");
        assert!(router.carried > 40 && router.too_big == 0, "{router:?}");
        // What one told, the other goes on with.
        pair.kill(1);
        pair.run(SILENCE_MS);
        for (n, &port) in ports.iter().enumerate() {
            let answer = udp(SERVER, 53, EXTERNAL, port, b"again").to(OUTSIDE);
            let back = pair.through((2, OUTSIDE), &answer, (2, INSIDE));
            let expected = udp(SERVER, 53, HOST, 4000 + n as u16, b"again").ttl(63);
            assert_eq!(back, expected.from(INSIDE));
        }
    }
}

#[test]
fn three_nodes_find_each_other() {
    let mut pair = Pair::new(|node| Setup {
        nodes: 3,
        ..apart(TunnelKind::Vxlan)(node)
    });
    let port = opened(&mut pair, 1);
    answered(&mut pair, 1, port);
    let answer = udp(SERVER, 53, EXTERNAL, port, b"answer").to(OUTSIDE);
    pair.through((3, OUTSIDE), &answer, (1, INSIDE));
    for node in [2, 3] {
        assert_eq!(pair.sum(node, WorkerCounter::SessionsReplica), 1);
    }
}

#[test]
fn what_a_tunnel_does_not_take_goes_in_pieces() {
    for kind in KINDS {
        let mut pair = Pair::new(narrow(kind));
        let port = opened(&mut pair, 1);
        let answer = udp(SERVER, 53, EXTERNAL, port, &[7; 1472]).to(OUTSIDE);
        pair.arrive(2, OUTSIDE, &answer);
        let mut offset = 0;
        for more in [true, false] {
            let piece = pair.left(1, INSIDE);
            let word = u16::from_be_bytes([piece[20], piece[21]]);
            assert_eq!(usize::from(word & 0x1fff) * 8, offset);
            assert_eq!(word & 0x2000 != 0, more);
            assert_eq!(piece[30..34], [10, 0, 0, 7], "to the host");
            offset += usize::from(u16::from_be_bytes([piece[16], piece[17]])) - 20;
        }
        assert_eq!(offset, 1480, "all of it");
        pair.node(1).assert_quiet();
        pair.node(2).assert_quiet();
        let router = pair.router.as_ref().expect("a router");
        assert_eq!(router.too_big, 0, "{router:?}");
    }
}

/// What came in fragments goes in fragments, each cut again if it must be.
#[test]
fn fragments_find_the_owner_of_their_datagram() {
    let setups: [&dyn Fn(u8) -> Setup; 3] =
        [&snat, &apart(TunnelKind::Vxlan), &narrow(TunnelKind::Gre)];
    for (at, setup) in setups.into_iter().enumerate() {
        let mut pair = Pair::new(setup);
        let port = opened(&mut pair, 1);
        let asked = udp(HOST, 4001, SERVER, 53, &[8; 4000]).packet();
        let asked = &asked[20..];
        for (from, to) in [(0, 1480), (1480, 2960), (2960, 4008)] {
            let more = if to < asked.len() { 0x2000 } else { 0 };
            let spec = Spec::new(HOST, SERVER, 17, asked[from..to].to_vec());
            let piece = spec.fragment(more | (from / 8) as u16).to(INSIDE);
            pair.through((1, INSIDE), &piece, (1, OUTSIDE));
        }
        let whole = udp(SERVER, 53, EXTERNAL, port, &[7; 2892]).packet();
        let datagram = &whole[20..];
        let piece = |from: usize, to: usize| {
            let more = if to < datagram.len() { 0x2000 } else { 0 };
            let spec = Spec::new(SERVER, EXTERNAL, 17, datagram[from..to].to_vec());
            spec.fragment(more | (from / 8) as u16).to(OUTSIDE)
        };
        let pieces = [piece(0, 1480), piece(1480, 2880), piece(2880, 2900)];
        // Each order: the owner is known by the first piece alone.
        for order in [[0, 1, 2], [2, 1, 0]] {
            for piece in order {
                pair.arrive(2, OUTSIDE, &pieces[piece]);
            }
            let mut came = 0;
            let expected = if at == 2 { 5 } else { 3 };
            for _ in 0..expected {
                let out = pair.left(1, INSIDE);
                assert_eq!(out[30..34], [10, 0, 0, 7], "to the host");
                came += usize::from(u16::from_be_bytes([out[16], out[17]])) - 20;
            }
            assert_eq!(came, datagram.len(), "{at}: {}", pair.node(1).drops());
            pair.nodes
                .iter()
                .flatten()
                .for_each(world::World::assert_quiet);
        }
    }
}

#[test]
fn who_forbids_that_is_told_how_much_it_takes() {
    let mut pair = Pair::new(narrow(TunnelKind::Vxlan));
    let port = opened(&mut pair, 1);
    let answer = udp(SERVER, 53, EXTERNAL, port, &[7; 1472]).fragment(0x4000);
    pair.arrive(2, OUTSIDE, &answer.to(OUTSIDE));
    let told = pair.left(2, OUTSIDE);
    assert_eq!(told[34..36], [3, 4], "too big");
    assert_eq!(u16::from_be_bytes([told[40], told[41]]), 1400);
    pair.node(1).assert_quiet();
    assert_eq!(pair.drops(2, DropReason::TooBig), 1);
    // As large as it may be, it goes.
    let answer = udp(SERVER, 53, EXTERNAL, port, &[7; 1372]).fragment(0x4000);
    pair.through((2, OUTSIDE), &answer.to(OUTSIDE), (1, INSIDE));
    let router = pair.router.as_ref().expect("a router");
    assert_eq!(router.too_big, 0, "{router:?}");
}

#[test]
fn a_router_that_comes_back_or_is_another_one_is_found() {
    let mut pair = Pair::new(apart(TunnelKind::Gre));
    let port = opened(&mut pair, 1);
    answered(&mut pair, 1, port);
    // Another one announces itself.
    pair.router.as_mut().expect("a router").mac = 1;
    for node in [1, 2] {
        let announcement = pair
            .router
            .as_ref()
            .expect("a router")
            .says(node, &[0xff; 6]);
        assert_eq!(announcement[6..12], MACS[1]);
        pair.put(node, LINK, &announcement);
    }
    pair.run(5);
    answered(&mut pair, 1, port);
    // It dies. What is known of it is forgotten; each node stands alone, and says so.
    let present = pair.sum(1, WorkerCounter::PeerState);
    pair.router.as_mut().expect("a router").dead = true;
    pair.run(40_000);
    let state = pair.sum(1, WorkerCounter::PeerState);
    assert_ne!(state, present, "the other one is gone");
    let router = pair.router.as_mut().expect("a router");
    // The first one again, which says nothing until it is asked.
    (router.dead, router.mac) = (false, 0);
    pair.run(2_000);
    let port = opened(&mut pair, 2);
    answered(&mut pair, 2, port);
}

#[test]
fn garbage_is_counted_and_strangers_are_answered_only_by_arp() {
    let mut pair = Pair::new(apart(TunnelKind::Vxlan));
    let port = opened(&mut pair, 1);
    let stranger = [2, 0, 0, 0, 1, 0x77];
    // Who has 10.99.1.1?
    let mut request = pair.router.as_ref().expect("a router").says(1, &[0xff; 6]);
    request[21] = 1;
    request[6..12].copy_from_slice(&stranger);
    request[22..28].copy_from_slice(&stranger);
    request[28..32].copy_from_slice(&[10, 99, 1, 77]);
    pair.put(1, LINK, &request);
    // A datagram to the tunnel's address that is none of the tunnel's, and one cut short.
    let mut other = udp(
        "198.51.100.7",
        1000,
        "10.99.1.1",
        4789,
        &[8, 0, 0, 0, 9, 9, 9, 0],
    )
    .to(INSIDE);
    pair.put(1, LINK, &other);
    other.truncate(30);
    pair.put(1, LINK, &other);
    let mut malformed = request.clone();
    malformed[14] = 9;
    pair.put(1, LINK, &malformed);
    let world = pair.node(1);
    world.settle();
    let sent: Vec<_> = world.workers[0].io().tx[usize::from(LINK.0)]
        .iter()
        .map(|frame| sluice_dataplane::io::Frame::bytes(frame).to_vec())
        .filter(|frame| frame[12..14] == [8, 6])
        .collect();
    assert_eq!(sent.len(), 1, "one answer");
    assert_eq!(sent[0][..6], stranger);
    assert_eq!(sent[0][28..32], [10, 99, 1, 1]);
    assert_eq!(pair.drops(1, DropReason::HaRefused), 1);
    assert_eq!(pair.drops(1, DropReason::BadArp), 1);
    answered(&mut pair, 1, port);
}
