//! Two appliances, and addresses that one of them holds at a time.

use crate::world;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::groups::{Group, GroupId, Groups, MAX_GROUPS, VirtualMacs};
use sluice_dataplane::mailbox::RoleOrders;
use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::snapshot::Local;
use sluice_dataplane::tcp::{ACK, SYN};
use sluice_wire::MacAddr;
use world::packet::{tcp, udp};
use world::pair::{Pair, SILENCE_MS};
use world::{INSIDE, OUTSIDE, PortId, Setup, ip};

pub(crate) const HOST: &str = "10.0.0.7";
pub(crate) const SERVER: &str = "198.51.100.9";
/// What hosts inside have as their gateway, and the virtual MAC address of its group.
const GATEWAY: [u8; 4] = [10, 0, 0, 254];
const MAC: MacAddr = MacAddr([0, 0, 0x5e, 0, 1, 1]);
/// The second group's address.
const OTHER: [u8; 4] = [10, 0, 0, 253];

/// Group 1 is the first node's by priority, group 2 the second's.
fn grouped(node: u8) -> Setup {
    let group = |id: u8| Group {
        id: GroupId(id),
        name: format!("group {id}"),
        priority: if id == node { 100 } else { 50 },
        preempt: None,
    };
    let addresses = [GATEWAY, OTHER].map(|address| ip(&world_text(address)));
    let ids = [GroupId(1), GroupId(2)];
    Setup {
        node: Some(node),
        workers: 2,
        groups: Groups::new(
            vec![group(1), group(2)],
            VirtualMacs::default(),
            Some(INSIDE),
            addresses.into_iter().zip(ids),
        ),
        local: addresses.map(|address| (address, Local::Virtual)).to_vec(),
        ..Setup::default()
    }
}

fn world_text([a, b, c, d]: [u8; 4]) -> String {
    format!("{a}.{b}.{c}.{d}")
}

/// Two nodes that know of each other by both ways, and have made out who holds what.
pub(crate) fn pair() -> Pair {
    let mut pair = Pair::new(grouped);
    pair.run(400);
    pair
}

fn held(pair: &mut Pair, node: u8) -> u64 {
    pair.sum(node, WorkerCounter::HaGroupsHeld)
}

/// An ARP request of a host inside.
fn who_has(target: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(world::host_mac(ip(HOST)).0);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(world::host_mac(ip(HOST)).0);
    frame.extend([10, 0, 0, 7, 0, 0, 0, 0, 0, 0]);
    frame.extend(target);
    frame.resize(60, 0);
    frame
}

/// What a node answers to it: the address that the answer gives.
fn answer(pair: &mut Pair, node: u8, target: [u8; 4]) -> Option<MacAddr> {
    pair.node(node)
        .spoken
        .iter_mut()
        .for_each(std::collections::VecDeque::clear);
    pair.arrive(node, INSIDE, &who_has(target));
    let spoken = std::mem::take(&mut pair.node(node).spoken[0]);
    let reply = spoken.into_iter().find(|frame| frame[20..22] == [0, 2])?;
    assert_eq!(reply[6..12], reply[22..28], "switches learn it as well");
    Some(MacAddr(reply[22..28].try_into().unwrap()))
}

/// A frame to the virtual MAC address of the first group.
pub(crate) fn to_group(frame: &[u8]) -> Vec<u8> {
    [&MAC.0, &frame[6..]].concat()
}

/// Whether a frame is gratuitous ARP for the first group's address.
fn announces_gateway(frame: &[u8]) -> bool {
    frame[..6] == [0xff; 6]
        && frame[6..12] == MAC.0
        && frame[28..32] == GATEWAY
        && frame[38..42] == GATEWAY
}

#[test]
fn each_group_is_held_by_the_node_of_the_higher_priority_and_answered_for_by_no_other() {
    let mut pair = pair();
    assert_eq!((held(&mut pair, 1), held(&mut pair, 2)), (1 << 1, 1 << 2));
    assert_eq!(pair.sum(1, WorkerCounter::HaGroupsPeer), 1 << 2);
    assert_eq!(pair.sum(1, WorkerCounter::HaPaths), 3);
    assert_eq!(answer(&mut pair, 1, GATEWAY), Some(MAC));
    assert_eq!(answer(&mut pair, 2, GATEWAY), None);
    assert_eq!(answer(&mut pair, 1, OTHER), None);
    let second = MacAddr([0, 0, 0x5e, 0, 1, 2]);
    assert_eq!(answer(&mut pair, 2, OTHER), Some(second));
    // Frames to a virtual MAC address are its holder's, whichever way a packet takes within.
    let ask = tcp(HOST, 4000, SERVER, 80, SYN, 1000, 0);
    pair.through((1, INSIDE), &to_group(&ask.to(INSIDE)), (1, OUTSIDE));
    let back = tcp(SERVER, 80, HOST, 4000, SYN | ACK, 9000, 1001);
    pair.through((1, OUTSIDE), &back.to(OUTSIDE), (1, INSIDE));
    let data = tcp(HOST, 4000, SERVER, 80, ACK, 1001, 9001);
    let out = pair.through((1, INSIDE), &to_group(&data.to(INSIDE)), (1, OUTSIDE));
    assert_eq!(out, data.clone().ttl(63).from(OUTSIDE));
    pair.arrive(2, INSIDE, &to_group(&data.to(INSIDE)));
    assert_eq!(pair.drops(2, DropReason::NotOurMac), 1);
    pair.node(2).assert_quiet();
}

#[test]
fn a_survivor_takes_the_groups_within_the_time_of_silence_and_announces_them() {
    let mut pair = pair();
    pair.node(2).spoken[0].clear();
    pair.kill(1);
    // Five heartbeats of 20 ms, and a little for the one that was about to be sent.
    pair.run(110);
    assert_eq!(held(&mut pair, 2), 1 << 1 | 1 << 2);
    let spoken = pair.node(2).spoken[0].clone();
    assert!(
        spoken.iter().any(|frame| announces_gateway(frame)),
        "{spoken:02x?}"
    );
    pair.run(600);
    let spoken = &pair.node(2).spoken[0];
    let announced = spoken.iter().filter(|frame| announces_gateway(frame));
    assert!(announced.count() >= 3, "repeated");
    assert_eq!(answer(&mut pair, 2, GATEWAY), Some(MAC));
    // Who comes back takes nothing, since nobody preempts.
    pair.start(1, &grouped(1));
    pair.run(400);
    assert_eq!(
        (held(&mut pair, 1), held(&mut pair, 2)),
        (0, 1 << 1 | 1 << 2)
    );
    assert_eq!(answer(&mut pair, 1, GATEWAY), None);
}

#[test]
fn no_single_cut_makes_two_holders() {
    let mut pair = pair();
    pair.cut = true;
    pair.run(2 * SILENCE_MS);
    assert_eq!((held(&mut pair, 1), held(&mut pair, 2)), (1 << 1, 1 << 2));
    assert_eq!(pair.sum(1, WorkerCounter::PeerState), 2 * 4, "it lives");
    assert_eq!(pair.sum(1, WorkerCounter::HaPaths), 2);
    pair.cut = false;
    pair.witness_cut = true;
    pair.run(2 * SILENCE_MS);
    assert_eq!((held(&mut pair, 1), held(&mut pair, 2)), (1 << 1, 1 << 2));
    assert_eq!(pair.sum(1, WorkerCounter::HaPaths), 1);
    assert_eq!(pair.sum(1, WorkerCounter::PeerState), 2 * 3);
}

#[test]
fn with_both_ways_cut_each_serves_and_one_lets_go_when_they_meet() {
    let mut pair = pair();
    (pair.cut, pair.witness_cut) = (true, true);
    pair.run(2 * SILENCE_MS);
    let both = 1 << 1 | 1 << 2;
    assert_eq!((held(&mut pair, 1), held(&mut pair, 2)), (both, both));
    // Both have said all that they had to say about it.
    pair.run(5000);
    // By the witness alone they find out who is to have what.
    pair.witness_cut = false;
    pair.node(1).spoken[0].clear();
    pair.run(SILENCE_MS);
    assert_eq!((held(&mut pair, 1), held(&mut pair, 2)), (1 << 1, 1 << 2));
    // Switches believe him who spoke last, and that was the one that has let go.
    let spoken = pair.node(1).spoken[0].clone();
    assert!(
        spoken.iter().any(|frame| announces_gateway(frame)),
        "{spoken:02x?}"
    );
    assert_eq!(pair.sum(1, WorkerCounter::PeerState), 2 * 4);
}

#[test]
fn who_holds_says_so_again_also_where_the_other_one_let_go_before_it_was_heard() {
    let mut pair = pair();
    (pair.cut, pair.witness_cut) = (true, true);
    pair.run(2 * SILENCE_MS + 5000);
    (pair.witness_cut, pair.mute) = (false, Some(2));
    pair.run(SILENCE_MS);
    let both = 1 << 1 | 1 << 2;
    assert_eq!((held(&mut pair, 1), held(&mut pair, 2)), (both, 1 << 2));
    pair.node(1).spoken[0].clear();
    pair.mute = None;
    pair.run(SILENCE_MS);
    let spoken = pair.node(1).spoken[0].clone();
    let announced = spoken.iter().filter(|frame| announces_gateway(frame));
    assert!(announced.count() >= 2, "{spoken:02x?}");
}

fn order(pair: &mut Pair, node: u8, orders: RoleOrders) {
    pair.order(node, orders);
    pair.run(20);
}

#[test]
fn a_node_that_is_worse_off_lets_go_of_its_group() {
    let mut pair = pair();
    let penalties = [60; MAX_GROUPS];
    order(
        &mut pair,
        1,
        RoleOrders {
            penalties,
            ..RoleOrders::default()
        },
    );
    assert_eq!(
        (held(&mut pair, 1), held(&mut pair, 2)),
        (0, 1 << 1 | 1 << 2)
    );
    // It took frames for a while after that; then it is over.
    let ask = udp(HOST, 4000, SERVER, 53, b"ask").to(INSIDE);
    pair.through((1, INSIDE), &to_group(&ask), (1, OUTSIDE));
    pair.run(1100);
    pair.arrive(1, INSIDE, &to_group(&ask));
    assert_eq!(pair.drops(1, DropReason::NotOurMac), 1);
}

/// It may have lost the very port that their packets left by.
#[test]
fn sessions_follow_the_groups_of_a_node_that_is_worse_off() {
    let mut pair = pair();
    let syn = tcp(HOST, 4000, SERVER, 80, SYN, 1000, 0);
    pair.through((1, INSIDE), &to_group(&syn.to(INSIDE)), (1, OUTSIDE));
    let idle = udp(HOST, 4001, SERVER, 53, b"ask");
    pair.through((1, INSIDE), &to_group(&idle.to(INSIDE)), (1, OUTSIDE));
    let worse = RoleOrders {
        penalties: [60; MAX_GROUPS],
        ..RoleOrders::default()
    };
    order(&mut pair, 1, worse);
    assert_eq!(held(&mut pair, 1), 0);
    let back = tcp(SERVER, 80, HOST, 4000, SYN | ACK, 9000, 1001);
    pair.through((2, OUTSIDE), &back.to(OUTSIDE), (2, INSIDE));
    assert_eq!(pair.sum(2, WorkerCounter::SessionsTakenOver), 1);
    // It is told so, and gives to the other one what comes to it all the same.
    let data = tcp(HOST, 4000, SERVER, 80, ACK, 1001, 9001);
    pair.through((1, INSIDE), &data.to(INSIDE), (2, OUTSIDE));
    // When it is well again the other one's sessions stay there, and its own are its own.
    order(&mut pair, 1, RoleOrders::default());
    pair.run(200);
    pair.through((1, INSIDE), &data.to(INSIDE), (2, OUTSIDE));
    pair.through((2, INSIDE), &idle.to(INSIDE), (1, OUTSIDE));
    assert_eq!(pair.sum(1, WorkerCounter::SessionsTakenOver), 0);
}

#[test]
fn a_node_that_goes_away_leaves_groups_and_sessions_to_its_peer_and_may_come_back() {
    let mut pair = pair();
    let syn = tcp(HOST, 4000, SERVER, 80, SYN, 1000, 0);
    pair.through((1, INSIDE), &to_group(&syn.to(INSIDE)), (1, OUTSIDE));
    let draining = RoleOrders {
        draining: true,
        ..RoleOrders::default()
    };
    order(&mut pair, 1, draining);
    assert_eq!(
        (held(&mut pair, 1), held(&mut pair, 2)),
        (0, 1 << 1 | 1 << 2)
    );
    assert_eq!(pair.sum(1, WorkerCounter::HaAway), 0);
    order(
        &mut pair,
        1,
        RoleOrders {
            leaving: true,
            ..draining
        },
    );
    pair.run(1100);
    assert_eq!(pair.sum(1, WorkerCounter::HaAway), 1);
    // The session is the other's with its next packet there, though this node lives.
    let answer = tcp(SERVER, 80, HOST, 4000, SYN | ACK, 9000, 1001);
    pair.through((2, OUTSIDE), &answer.to(OUTSIDE), (2, INSIDE));
    assert_eq!(pair.sum(2, WorkerCounter::SessionsTakenOver), 1);
    // What comes here late is worked on as well, and new sessions of the peer are known as its own.
    let ack = tcp(HOST, 4000, SERVER, 80, ACK, 1001, 9001);
    pair.through((1, INSIDE), &ack.to(INSIDE), (1, OUTSIDE));
    let syn = tcp(HOST, 4001, SERVER, 80, SYN, 1000, 0);
    pair.through((2, INSIDE), &to_group(&syn.to(INSIDE)), (2, OUTSIDE));
    let answer = tcp(SERVER, 80, HOST, 4001, SYN | ACK, 9000, 1001);
    pair.through((1, OUTSIDE), &answer.to(OUTSIDE), (2, INSIDE));
    order(&mut pair, 1, RoleOrders::default());
    pair.run(500);
    assert_eq!(pair.sum(1, WorkerCounter::PeerState), 2 * 3);
    assert_eq!(pair.sum(2, WorkerCounter::PeerState), 2 * 3);
    assert_eq!(held(&mut pair, 1), 0, "nobody preempts");
}

#[test]
fn packets_of_a_zone_that_was_added_since_reach_their_owner() {
    let mut pair = pair();
    let zoned = |node| {
        let mut setup = grouped(node);
        setup.epoch = 2;
        setup.extra_zone = Some("guests".to_owned());
        setup.ports[0].zone = 2;
        setup.open = vec![(2, 1)];
        setup
    };
    for node in [1, 2] {
        pair.node(node).swap(&zoned(node));
    }
    pair.run(500);
    let syn = tcp(HOST, 4000, SERVER, 80, SYN, 1000, 0);
    pair.through((1, INSIDE), &syn.to(INSIDE), (1, OUTSIDE));
    let ack = tcp(HOST, 4000, SERVER, 80, ACK, 1001, 9001);
    pair.through((2, INSIDE), &ack.to(INSIDE), (1, OUTSIDE));
    assert_eq!(pair.drops(1, DropReason::HaForged), 0);
}

#[test]
fn a_lost_router_is_noticed_and_so_is_its_return() {
    let watching = |node| {
        let mut setup = grouped(node);
        setup.groups.gateways = vec![(OUTSIDE, ip("192.0.2.254")), (INSIDE, ip("10.0.0.9"))];
        setup
    };
    let mut pair = Pair::new(watching);
    pair.run(1500);
    assert_eq!(pair.sum(1, WorkerCounter::HaGatewaysLost), 0);
    pair.node(1).silent.push(ip("10.0.0.9"));
    pair.run(1500);
    assert_eq!(pair.sum(1, WorkerCounter::HaGatewaysLost), 1 << 1);
    assert_eq!(pair.sum(2, WorkerCounter::HaGatewaysLost), 0);
    pair.node(1).silent.clear();
    pair.run(1000);
    assert_eq!(pair.sum(1, WorkerCounter::HaGatewaysLost), 0);
}

#[test]
fn strangers_heartbeats_on_the_data_port_are_refused() {
    let mut pair = pair();
    let mut frame = vec![
        0x03, 0x53, 0x4c, 0x48, 0x41, 0x01, 6, 0, 0, 0, 0, 9, 0x88, 0xb5,
    ];
    frame.extend([0x53, 0x4c, 1, 3, 2, 1, 255, 1]);
    frame.resize(100, 0);
    pair.arrive(1, INSIDE, &frame);
    assert_eq!(pair.drops(1, DropReason::HaRefused), 1);
    // By a port that is no witness it is a stranger of the usual kind.
    pair.arrive(1, PortId(1), &frame);
    assert_eq!(pair.drops(1, DropReason::EtherType), 1);
}
