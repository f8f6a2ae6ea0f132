//! The balancer as a worker uses it, over changes of configuration.

use std::net::IpAddr;

use sluice_wire::proto::TCP;

use super::*;
use crate::io::memory::Heap;
use crate::snapshot::{LbMode, Persistence, ServiceId, SessionLimits, TierKind};
use loads::{Board, Tally};
use maglev::{MaglevTable, TableSize};
use rendezvous::Rendezvous;

mod overload;
mod paced;

const LIMITS: Limits = Limits {
    services: 16,
    servers: 16,
    members: 16,
    clients: 16,
};

/// Servers 1, 2, ... of these weights, all up.
fn servers(weights: &[u16]) -> Vec<Option<RealServer>> {
    let server = |(i, &weight): (usize, &u16)| {
        Some(RealServer {
            name: format!("web/s{}", i + 1),
            address: IpAddr::from([10, 0, 1, i as u8 + 1]),
            port: Some(8080),
            weight,
            state: ServerState::Up,
            limits: SessionLimits::default(),
        })
    };
    std::iter::once(None)
        .chain(weights.iter().enumerate().map(server))
        .collect()
}

/// A virtual server with these members.
fn vs(service: u16, scheduler: Scheduler, members: &[u16]) -> VirtualServer {
    VirtualServer {
        service: ServiceId(service),
        name: format!("vs{service}"),
        ports: Some((80, 80)),
        mode: LbMode::Dnat,
        tiers: vec![Tier {
            kind: TierKind::Pool,
            scheduler,
            members: members.iter().copied().map(ServerId).collect(),
        }],
        persistence: None,
        redirect: None,
        snat_pool: None,
        timeouts: 0,
        clamp_mss: None,
    }
}

/// The worker's balancer, and what other workers see of it.
fn balancer(worker: u16, workers: u16, others: &[Board]) -> (Balancer, Board) {
    let tally = Tally::new(&mut Heap, LIMITS.servers).unwrap();
    let board = tally.board();
    let loads = Loads::new(&mut Heap, tally, others.iter().copied()).unwrap();
    let hasher = KeyHasher::new([11, 22, 33, 44]);
    let balancer = Balancer::new(&mut Heap, &LIMITS, (worker, workers), loads, hasher);
    (balancer.unwrap(), board)
}

fn from(host: u8, sport: u16) -> Tuple {
    Tuple {
        proto: TCP,
        src: IpAddr::from([198, 51, 100, host]),
        dst: IpAddr::from([192, 0, 2, 1]),
        sport,
        dport: 80,
    }
}

/// The next `n` picks, each opened.
fn picks(balancer: &mut Balancer, vs: &VirtualServer, n: usize, now: u32) -> Vec<u16> {
    let pick = |i| {
        let server = balancer.pick(vs, &from(1, i as u16), now).unwrap().server;
        balancer.opened(server);
        server.0
    };
    (0..n).map(pick).collect()
}

#[test]
fn round_robin_takes_turns_and_passes_over_who_takes_no_sessions() {
    let mut servers = servers(&[1, 5, 0, 1, 1]);
    servers[4].as_mut().unwrap().state = ServerState::Draining;
    servers[5].as_mut().unwrap().state = ServerState::Down;
    let vs = vs(1, Scheduler::RoundRobin, &[1, 2, 3, 4, 5, 9]);
    let (mut lb, _) = balancer(0, 1, &[]);
    lb.lay_out(std::slice::from_ref(&vs), &servers);
    assert_eq!(picks(&mut lb, &vs, 5, 0), [1, 2, 1, 2, 1]);
}

#[test]
fn weighted_round_robin_interleaves() {
    let vs = vs(1, Scheduler::WeightedRoundRobin, &[1, 2, 3]);
    let (mut lb, _) = balancer(0, 1, &[]);
    lb.lay_out(std::slice::from_ref(&vs), &servers(&[5, 1, 1]));
    // The example of nginx's commit message: { a, a, b, a, c, a, a }, not { a, a, a, a, a, b, c }.
    assert_eq!(picks(&mut lb, &vs, 7, 0), [1, 1, 2, 1, 3, 1, 1]);
    assert_eq!(picks(&mut lb, &vs, 7, 0), [1, 1, 2, 1, 3, 1, 1]);
}

#[test]
fn workers_start_at_different_servers() {
    for scheduler in [Scheduler::RoundRobin, Scheduler::WeightedRoundRobin] {
        let vs = vs(1, scheduler, &[1, 2, 3, 4]);
        let first = |worker| {
            let (mut lb, _) = balancer(worker, 4, &[]);
            lb.lay_out(std::slice::from_ref(&vs), &servers(&[7, 7, 7, 7]));
            picks(&mut lb, &vs, 1, 0)[0]
        };
        let mut firsts: Vec<u16> = (0..4).map(first).collect();
        firsts.sort_unstable();
        assert_eq!(firsts, [1, 2, 3, 4], "{:?}", vs.tiers[0].scheduler);
    }
}

#[test]
fn without_a_server_that_takes_sessions_there_is_no_pick() {
    let mut servers = servers(&[1, 0, 1]);
    servers[1].as_mut().unwrap().state = ServerState::Down;
    servers[3].as_mut().unwrap().state = ServerState::Draining;
    for members in [&[1, 2, 3][..], &[]] {
        let ids: Vec<ServerId> = members.iter().copied().map(ServerId).collect();
        for scheduler in [
            Scheduler::RoundRobin,
            Scheduler::WeightedRoundRobin,
            Scheduler::LeastConnections,
            Scheduler::WeightedLeastConnections,
            Scheduler::SourceHash(Rendezvous::build(&ids, &servers)),
            Scheduler::Maglev(MaglevTable::build(TableSize::DEFAULT, &ids, &servers)),
        ] {
            let vs = vs(1, scheduler, members);
            let (mut lb, _) = balancer(0, 1, &[]);
            assert_eq!(
                lb.pick(&vs, &from(1, 1), 0),
                Err(NoServer::NoneUp),
                "no snapshot yet"
            );
            lb.lay_out(std::slice::from_ref(&vs), &servers);
            assert_eq!(lb.pick(&vs, &from(1, 1), 0), Err(NoServer::NoneUp));
        }
    }
}

/// Pitfall 29: a reload must not disturb what it does not concern.
#[test]
fn turns_survive_a_reload_that_does_not_concern_them() {
    let rr = vs(1, Scheduler::RoundRobin, &[1, 2, 3]);
    let wrr = vs(2, Scheduler::WeightedRoundRobin, &[1, 2, 3]);
    let other = vs(3, Scheduler::RoundRobin, &[4]);
    let mut servers = servers(&[3, 2, 1, 1, 1]);
    let (mut lb, _) = balancer(0, 1, &[]);
    let mut undisturbed = balancer(0, 1, &[]).0;
    lb.lay_out(&[rr.clone(), wrr.clone(), other.clone()], &servers);
    undisturbed.lay_out(&[rr.clone(), wrr.clone()], &servers);
    for round in 0..7 {
        // The other comes, goes, grows and moves the rest to another place.
        match round % 3 {
            0 => lb.lay_out(&[other.clone(), wrr.clone(), rr.clone()], &servers),
            1 => lb.lay_out(&[wrr.clone(), rr.clone()], &servers),
            _ => {
                servers[4].as_mut().unwrap().weight += 1;
                let grown = vs(3, Scheduler::RoundRobin, &[4, 5]);
                lb.lay_out(&[grown, rr.clone(), wrr.clone()], &servers);
            }
        }
        for vs in [&rr, &wrr] {
            assert_eq!(
                picks(&mut lb, vs, 4, 0),
                picks(&mut undisturbed, vs, 4, 0),
                "{} in round {round}",
                vs.name
            );
        }
    }
}

#[test]
fn round_robin_goes_on_with_the_next_server_when_its_members_change() {
    let mut servers = servers(&[1, 1, 1, 1]);
    let vs = vs(1, Scheduler::RoundRobin, &[1, 2, 3, 4]);
    let (mut lb, _) = balancer(0, 1, &[]);
    lb.lay_out(std::slice::from_ref(&vs), &servers);
    assert_eq!(picks(&mut lb, &vs, 2, 0), [1, 2]);
    servers[1].as_mut().unwrap().state = ServerState::Draining;
    lb.lay_out(std::slice::from_ref(&vs), &servers);
    assert_eq!(picks(&mut lb, &vs, 1, 0), [3]);
    servers[4].as_mut().unwrap().state = ServerState::Down;
    lb.lay_out(std::slice::from_ref(&vs), &servers);
    assert_eq!(picks(&mut lb, &vs, 3, 0), [2, 3, 2]);
}

/// A weight that was lowered must not leave a server with a debt that starves it.
#[test]
fn weighted_round_robin_forgets_debts_when_weights_change() {
    let vs = vs(1, Scheduler::WeightedRoundRobin, &[1, 2]);
    let (mut lb, _) = balancer(0, 1, &[]);
    lb.lay_out(std::slice::from_ref(&vs), &servers(&[60_000, 1]));
    picks(&mut lb, &vs, 30_000, 0);
    lb.lay_out(std::slice::from_ref(&vs), &servers(&[1, 1]));
    assert_eq!(picks(&mut lb, &vs, 4, 0), [1, 2, 1, 2]);
}

#[test]
fn least_connections_counts_the_sessions_of_other_workers() {
    let vs = vs(1, Scheduler::LeastConnections, &[1, 2, 3]);
    let (mut other, board) = balancer(1, 2, &[]);
    let (mut lb, _) = balancer(0, 2, &[board]);
    lb.lay_out(std::slice::from_ref(&vs), &servers(&[1, 9, 1]));
    for _ in 0..3 {
        other.opened(ServerId(1));
        other.opened(ServerId(3));
    }
    lb.opened(ServerId(2));
    lb.opened(ServerId(2));
    assert_eq!(picks(&mut lb, &vs, 1, 10), [2], "3 + 0, 0 + 2, 3 + 0");
    for _ in 0..3 {
        other.closed(ServerId(3));
    }
    lb.opened(ServerId(3));
    assert_ne!(
        picks(&mut lb, &vs, 1, 11),
        [3],
        "3 + 1 in a view of 1 ms ago"
    );
    assert_eq!(picks(&mut lb, &vs, 1, 12), [3], "0 + 1 in the new one");
}

#[test]
fn weighted_least_connections_fills_servers_to_their_weights() {
    let vs = vs(1, Scheduler::WeightedLeastConnections, &[1, 2, 3]);
    let (mut lb, board) = balancer(0, 1, &[]);
    lb.lay_out(std::slice::from_ref(&vs), &servers(&[1, 2, 5]));
    assert_eq!(
        picks(&mut lb, &vs, 1, 0),
        [3],
        "the heaviest of idle servers"
    );
    picks(&mut lb, &vs, 799, 0);
    let open = |id| board.get(ServerId(id)).open;
    assert_eq!([open(1), open(2), open(3)], [100, 200, 500]);
    for _ in 0..50 {
        lb.closed(ServerId(1));
    }
    assert_eq!(picks(&mut lb, &vs, 49, 0), [1; 49]);
}

#[test]
fn ties_go_round() {
    let vs = vs(1, Scheduler::LeastConnections, &[1, 2, 3]);
    let (mut lb, _) = balancer(0, 1, &[]);
    lb.lay_out(std::slice::from_ref(&vs), &servers(&[1, 1, 1]));
    // Every session ends before the next begins, so that all are idle each time.
    let mut one_by_one = || {
        let server = lb.pick(&vs, &from(1, 1), 0).unwrap().server;
        lb.opened(server);
        lb.closed(server);
        server.0
    };
    assert_eq!([(); 6].map(|()| one_by_one()), [1, 2, 3, 1, 2, 3]);
}

/// Where clients go must not depend on the process, and not on the version: this is who went where
/// when it was released.
#[test]
fn source_hash_is_the_same_everywhere() {
    let servers = servers(&[1, 2, 1]);
    let source = Scheduler::SourceHash(Rendezvous::build(&[1, 2, 3].map(ServerId), &servers));
    let vs = vs(1, source, &[1, 2, 3]);
    let tally = Tally::new(&mut Heap, LIMITS.servers).unwrap();
    let loads = Loads::new(&mut Heap, tally, []).unwrap();
    let other_secret = KeyHasher::new([5, 6, 7, 8]);
    let mut lb = Balancer::new(&mut Heap, &LIMITS, (0, 1), loads, other_secret).unwrap();
    lb.lay_out(std::slice::from_ref(&vs), &servers);
    let hosts: [u8; 16] = std::array::from_fn(|host| host as u8);
    let goes = hosts.map(|host| lb.pick(&vs, &from(host, 1), 0).unwrap().server.0);
    assert_eq!(goes, [2, 2, 2, 2, 1, 1, 3, 2, 2, 3, 1, 3, 2, 2, 2, 1]);
}

#[test]
fn source_hash_goes_by_address_and_maglev_by_port_as_well() {
    let servers = servers(&[1, 1, 1, 1, 1]);
    let ids = [1, 2, 3, 4, 5].map(ServerId);
    let source = Scheduler::SourceHash(Rendezvous::build(&ids, &servers));
    let table = Scheduler::Maglev(MaglevTable::build(TableSize::DEFAULT, &ids, &servers));
    let (source, table) = (
        vs(1, source, &[1, 2, 3, 4, 5]),
        vs(2, table, &[1, 2, 3, 4, 5]),
    );
    let both = [source.clone(), table.clone()];
    let distinct = |vs: &VirtualServer, worker| {
        let (mut lb, _) = balancer(worker, 2, &[]);
        lb.lay_out(&both, &servers);
        let mut picks: Vec<_> = (0..200)
            .map(|port| lb.pick(vs, &from(7, port), 0).unwrap().server)
            .collect();
        let in_order = picks.clone();
        picks.sort_unstable();
        picks.dedup();
        (picks.len(), in_order)
    };
    let (servers_of_client, at_worker_0) = distinct(&source, 0);
    assert_eq!(servers_of_client, 1);
    assert_eq!(distinct(&source, 1).1, at_worker_0, "another worker agrees");
    let (servers_of_ports, at_worker_0) = distinct(&table, 0);
    assert_eq!(servers_of_ports, 5);
    assert_eq!(distinct(&table, 1).1, at_worker_0, "another worker agrees");
}

/// Round robin over servers 1, 2 and 3 that remembers clients by /24 for a second.
fn persistent(service: u16) -> VirtualServer {
    VirtualServer {
        persistence: Some(Persistence {
            prefix_v4: 24,
            prefix_v6: 64,
            timeout_ms: 1000,
        }),
        ..vs(service, Scheduler::RoundRobin, &[1, 2, 3])
    }
}

/// A session of a client in 198.51.`net`.0/24.
fn from_net(net: u8, host: u8) -> Tuple {
    Tuple {
        src: IpAddr::from([198, 51, net, host]),
        ..from(0, 1)
    }
}

#[test]
fn a_client_comes_back_to_its_server_until_its_time_is_up() {
    let vs = persistent(1);
    let (mut lb, _) = balancer(0, 1, &[]);
    lb.lay_out(std::slice::from_ref(&vs), &servers(&[1, 1, 1]));
    // Over the wrap of the clock.
    let start = u32::MAX - 1500;
    let mut pick = |net, host, after: u32| {
        let now = start.wrapping_add(after);
        lb.pick(&vs, &from_net(net, host), now).unwrap().server.0
    };
    assert_eq!(pick(1, 10, 0), 1);
    assert_eq!(pick(2, 10, 1), 2, "another network");
    assert_eq!(pick(1, 99, 999), 1, "the same network");
    assert_eq!(pick(1, 10, 1998), 1, "each session starts the time anew");
    assert_eq!(pick(1, 10, 2998), 3, "to the millisecond");
}

#[test]
fn persistence_is_per_virtual_server() {
    let both = [persistent(1), persistent(2)];
    let (mut lb, _) = balancer(0, 1, &[]);
    lb.lay_out(&both, &servers(&[1, 1, 1]));
    let mut pick = |at: usize, net| lb.pick(&both[at], &from_net(net, 1), 0).unwrap().server.0;
    assert_eq!([pick(0, 1), pick(0, 2), pick(0, 3)], [1, 2, 3]);
    assert_eq!([pick(1, 3), pick(1, 2), pick(1, 1)], [1, 2, 3]);
    assert_eq!([pick(0, 1), pick(0, 2), pick(0, 3)], [1, 2, 3]);
}

/// Draining means no new sessions, not even of clients that were there before; and who has moved
/// stays where it is when the server comes back.
#[test]
fn a_client_whose_server_takes_no_sessions_gets_another_for_good() {
    type Leave = fn(&mut Vec<Option<RealServer>>, &mut VirtualServer);
    let leaves: [Leave; 5] = [
        |servers, _| servers[1].as_mut().unwrap().state = ServerState::Draining,
        |servers, _| servers[1].as_mut().unwrap().state = ServerState::Down,
        |servers, _| servers[1].as_mut().unwrap().weight = 0,
        |servers, _| servers[1] = None,
        |_, vs| vs.tiers[0].members.retain(|&id| id != ServerId(1)),
    ];
    for leave in leaves {
        let (mut vs, mut servers) = (persistent(1), servers(&[1, 1, 1]));
        let (mut lb, _) = balancer(0, 1, &[]);
        lb.lay_out(std::slice::from_ref(&vs), &servers);
        let before = (vs.clone(), servers.clone());
        assert_eq!(
            lb.pick(&vs, &from_net(1, 1), 0).unwrap().server,
            ServerId(1)
        );
        leave(&mut servers, &mut vs);
        lb.lay_out(std::slice::from_ref(&vs), &servers);
        assert_eq!(
            lb.pick(&vs, &from_net(1, 1), 1).unwrap().server,
            ServerId(2)
        );
        let (vs, servers) = before;
        lb.lay_out(std::slice::from_ref(&vs), &servers);
        assert_eq!(
            lb.pick(&vs, &from_net(1, 1), 2).unwrap().server,
            ServerId(2)
        );
    }
}

#[test]
fn a_full_memory_of_clients_costs_persistence_and_no_session() {
    let vs = persistent(1);
    let (mut lb, _) = balancer(0, 1, &[]);
    lb.lay_out(std::slice::from_ref(&vs), &servers(&[1, 1, 1]));
    for net in 0..20 {
        assert!(lb.pick(&vs, &from_net(net, 1), 0).is_ok());
    }
    let full = Occupancy {
        clients: LIMITS.clients,
        room: LIMITS.clients,
        refused: 4,
    };
    assert_eq!(lb.occupancy(), full);
    assert_eq!(
        lb.pick(&vs, &from_net(0, 1), 999).unwrap().server,
        ServerId(1)
    );
    lb.tick(1000, LIMITS.clients);
    assert_eq!(
        lb.occupancy().clients,
        1,
        "only who came back at 999 is left"
    );
    assert!(lb.pick(&vs, &from_net(30, 1), 1000).is_ok());
    assert_eq!(lb.occupancy().refused, 4);
}

#[test]
fn counts_survive_what_should_not_happen() {
    let (mut lb, board) = balancer(0, 1, &[]);
    // Pitfall 17: a double close must not wrap into four thousand million sessions.
    lb.opened(ServerId(1));
    lb.closed(ServerId(1));
    lb.closed(ServerId(1));
    assert_eq!(
        board.get(ServerId(1)),
        loads::Sessions { open: 0, total: 1 }
    );
    // An id that there is no room for counts nowhere.
    lb.opened(ServerId(u16::MAX));
    lb.closed(ServerId(u16::MAX));
    assert_eq!(board.get(ServerId(u16::MAX)), loads::Sessions::default());
}

#[test]
fn virtual_servers_for_which_there_is_no_room_have_no_server_and_harm_no_other() {
    let members = [
        vs(15, Scheduler::RoundRobin, &[1; 16]),
        vs(1, Scheduler::RoundRobin, &[1]),
        vs(16, Scheduler::RoundRobin, &[1]),
    ];
    let (mut lb, _) = balancer(0, 1, &[]);
    lb.lay_out(&members, &servers(&[1]));
    assert_eq!(picks(&mut lb, &members[0], 2, 0), [1, 1]);
    for vs in &members[1..] {
        assert_eq!(lb.pick(vs, &from(1, 1), 0), Err(NoServer::NoneUp));
    }
}
