//! What load balancing promises for any weights, members and order of events.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use sluice_dataplane::io::memory::Heap;
use sluice_dataplane::lb::loads::{Board, Loads, REFRESH_MS, Tally};
use sluice_dataplane::lb::maglev::{MaglevTable, TableSize};
use sluice_dataplane::lb::rendezvous::Rendezvous;
use sluice_dataplane::lb::{Balancer, Limits};
use sluice_dataplane::snapshot::{
    LbMode, Persistence, RealServer, Scheduler, ServerId, ServerState, ServiceId, SessionLimits,
    Tier, TierKind, VirtualServer,
};
use sluice_wire::{KeyHasher, Tuple};

/// Servers 1, 2, ... of these weights; weight 0 stands for one that is draining.
fn servers(weights: &[u16]) -> Vec<Option<RealServer>> {
    let server = |(i, &weight): (usize, &u16)| {
        Some(RealServer {
            name: format!("web/s{i}"),
            address: IpAddr::from([10, 0, 1, i as u8 + 1]),
            port: None,
            weight: weight.max(1),
            state: match weight {
                0 => ServerState::Draining,
                _ => ServerState::Up,
            },
            limits: SessionLimits::default(),
        })
    };
    std::iter::once(None)
        .chain(weights.iter().enumerate().map(server))
        .collect()
}

fn ids(weights: &[u16]) -> Vec<ServerId> {
    (1..=weights.len() as u16).map(ServerId).collect()
}

fn vs(scheduler: Scheduler, weights: &[u16]) -> VirtualServer {
    VirtualServer {
        service: ServiceId(1),
        name: "web".into(),
        ports: Some((80, 80)),
        mode: LbMode::Dnat,
        tiers: vec![Tier {
            kind: TierKind::Pool,
            scheduler,
            members: ids(weights),
        }],
        persistence: None,
        redirect: None,
        snat_pool: None,
        timeouts: 0,
        clamp_mss: None,
    }
}

fn tally() -> Tally {
    Tally::new(&mut Heap, 64).unwrap()
}

fn worker(worker: u16, workers: u16, tally: Tally, others: &[Board]) -> Balancer {
    let limits = Limits {
        services: 8,
        servers: 64,
        members: 64,
        clients: 64,
    };
    let loads = Loads::new(&mut Heap, tally, others.iter().copied()).unwrap();
    let hasher = KeyHasher::new([0x6a09_e667_f3bc_c908, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a]);
    Balancer::new(&mut Heap, &limits, (worker, workers), loads, hasher).unwrap()
}

/// A worker's balancer for one virtual server over servers of these weights.
fn serving(at: (u16, u16), vs: &VirtualServer, weights: &[u16]) -> Balancer {
    let mut balancer = worker(at.0, at.1, tally(), &[]);
    balancer.lay_out(std::slice::from_ref(vs), &servers(weights));
    balancer
}

fn client(n: u32) -> Tuple {
    Tuple {
        proto: 6,
        src: Ipv4Addr::from_bits(0x0a00_0000 + n).into(),
        dst: Ipv4Addr::new(192, 0, 2, 1).into(),
        sport: 1024 + (n % 60_000) as u16,
        dport: 80,
    }
}

/// Picks of clients 0, 1, ... by server, index 0 being the first server.
fn spread(balancer: &mut Balancer, vs: &VirtualServer, n: u32) -> Vec<usize> {
    let mut counts = vec![0; vs.tiers[0].members.len()];
    for i in 0..n {
        let server = balancer.pick(vs, &client(i), 0).unwrap().server;
        counts[usize::from(server.0) - 1] += 1;
    }
    counts
}

/// Each client's server under a scheduler that goes by hash.
fn assignment(scheduler: Scheduler, weights: &[u16], clients: u32) -> Vec<ServerId> {
    let vs = vs(scheduler, weights);
    let mut balancer = serving((0, 1), &vs, weights);
    (0..clients)
        .map(|i| balancer.pick(&vs, &client(i), 0).unwrap().server)
        .collect()
}

fn source_hash(weights: &[u16]) -> Scheduler {
    Scheduler::SourceHash(Rendezvous::build(&ids(weights), &servers(weights)))
}

fn maglev(weights: &[u16]) -> Scheduler {
    let table = MaglevTable::build(TableSize::DEFAULT, &ids(weights), &servers(weights));
    Scheduler::Maglev(table)
}

/// Every server's share is its weight's, within `sigmas` standard deviations of a fair draw.
fn is_fair(counts: &[usize], weights: &[u16], sigmas: f64) -> Result<(), TestCaseError> {
    let (n, total) = (
        counts.iter().sum::<usize>() as f64,
        weights.iter().map(|&w| f64::from(w)).sum::<f64>(),
    );
    for (&got, &weight) in counts.iter().zip(weights) {
        let p = f64::from(weight) / total;
        let off = (got as f64 - n * p).abs();
        let sigma = (n * p * (1.0 - p)).sqrt();
        prop_assert!(off <= sigmas * sigma + 1.0, "{counts:?} for {weights:?}");
    }
    Ok(())
}

/// Weights of which one at least takes sessions.
fn some_weights(max: u16) -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(0..=max, 1..12).prop_filter("none is up", |weights| {
        weights.iter().any(|&weight| weight > 0)
    })
}

proptest! {
    #[test]
    fn round_robin_is_exact_over_full_rounds(
        weights in some_weights(3),
        rounds in 1_u32..5,
        at in 0_u16..8,
    ) {
        let vs = vs(Scheduler::RoundRobin, &weights);
        let up = weights.iter().filter(|&&weight| weight > 0).count() as u32;
        let counts = spread(&mut serving((at, 8), &vs, &weights), &vs, rounds * up);
        for (got, weight) in counts.into_iter().zip(weights) {
            prop_assert_eq!(got, rounds as usize * usize::from(weight > 0));
        }
    }

    #[test]
    fn weighted_round_robin_is_exact_over_full_rounds_from_wherever_it_starts(
        weights in some_weights(30),
        at in 0_u16..8,
        skipped in 0_u32..500,
    ) {
        let vs = vs(Scheduler::WeightedRoundRobin, &weights);
        let mut balancer = serving((at, 8), &vs, &weights);
        spread(&mut balancer, &vs, skipped);
        let total = weights.iter().map(|&weight| u32::from(weight)).sum();
        let counts = spread(&mut balancer, &vs, total);
        prop_assert_eq!(counts, weights.into_iter().map(usize::from).collect::<Vec<_>>());
    }

    /// Not in bursts: nobody is ever further from its share than there are servers.
    #[test]
    fn weighted_round_robin_is_smooth(weights in some_weights(1000)) {
        let vs = vs(Scheduler::WeightedRoundRobin, &weights);
        let mut balancer = serving((0, 1), &vs, &weights);
        let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        let mut counts = vec![0.0; weights.len()];
        for picks in 1..400 {
            let server = balancer.pick(&vs, &client(0), 0).unwrap().server;
            counts[usize::from(server.0) - 1] += 1.0;
            for (got, &weight) in counts.iter().zip(&weights) {
                let off = got - f64::from(picks) * f64::from(weight) / total;
                prop_assert!(off.abs() < weights.len() as f64, "{:?} of {:?}", counts, weights);
            }
        }
    }

    /// Each worker is fair by itself, so all are together, however RSS spreads the clients.
    #[test]
    fn workers_are_fair_together(
        weights in some_weights(5),
        arrivals in prop::collection::vec(0_usize..4, 400),
    ) {
        let vs = vs(Scheduler::WeightedRoundRobin, &weights);
        let mut workers: Vec<Balancer> =
            (0..4).map(|at| serving((at, 4), &vs, &weights)).collect();
        let mut counts = vec![0.0; weights.len()];
        for at in arrivals {
            let server = workers[at].pick(&vs, &client(0), 0).unwrap().server;
            counts[usize::from(server.0) - 1] += 1.0;
        }
        let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        for (got, &weight) in counts.iter().zip(&weights) {
            let off: f64 = got - 400.0 * f64::from(weight) / total;
            prop_assert!(off.abs() < 4.0 * weights.len() as f64, "{:?} of {:?}", counts, weights);
        }
    }

    /// Against a model that counts in a map: two workers, any order of opening and closing.
    #[test]
    fn least_connections_finds_the_least_of_all_workers(
        weights in some_weights(9),
        weighted: bool,
        steps in prop::collection::vec((0_usize..2, any::<u8>()), 1..200),
    ) {
        let scheduler = match weighted {
            true => Scheduler::WeightedLeastConnections,
            false => Scheduler::LeastConnections,
        };
        let vs = vs(scheduler, &weights);
        let tallies = [tally(), tally()];
        let boards = [tallies[1].board(), tallies[0].board()];
        let mut workers: Vec<Balancer> = (0..)
            .zip(tallies)
            .zip(boards)
            .map(|((at, tally), other)| {
                let mut balancer = worker(at, 2, tally, &[other]);
                balancer.lay_out(std::slice::from_ref(&vs), &servers(&weights));
                balancer
            })
            .collect();
        let mut sessions: HashMap<ServerId, u64> = HashMap::new();
        let mut open: Vec<(usize, ServerId)> = Vec::new();
        let mut now = u32::MAX - 50;
        for (at, dice) in steps {
            now = now.wrapping_add(REFRESH_MS);
            if dice % 3 == 0 && !open.is_empty() {
                let (at, server) = open.swap_remove(usize::from(dice) % open.len());
                workers[at].closed(server);
                *sessions.get_mut(&server).unwrap() -= 1;
                continue;
            }
            let picked = workers[at].pick(&vs, &client(0), now).unwrap().server;
            let load = |&id: &ServerId| {
                let weight = match weighted {
                    true => f64::from(weights[usize::from(id.0) - 1]),
                    false => 1.0,
                };
                (sessions.get(&id).copied().unwrap_or(0) + 1) as f64 / weight
            };
            let up = |id: &&ServerId| weights[usize::from(id.0) - 1] > 0;
            prop_assert!(up(&&picked));
            let least = vs.tiers[0].members.iter().filter(up).map(load).fold(f64::INFINITY, f64::min);
            prop_assert!(load(&picked) <= least, "{:?} among {:?}", picked, sessions);
            workers[at].opened(picked);
            *sessions.entry(picked).or_default() += 1;
            open.push((at, picked));
        }
        for (&server, &expected) in &sessions {
            let counted: u64 = boards.iter().map(|board| u64::from(board.get(server).open)).sum();
            prop_assert_eq!(counted, expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn hashes_spread_by_weight(weights in some_weights(20)) {
        for scheduler in [source_hash(&weights), maglev(&weights)] {
            let vs = vs(scheduler, &weights);
            let counts = spread(&mut serving((0, 1), &vs, &weights), &vs, 20_000);
            is_fair(&counts, &weights, 6.0)?;
        }
    }

    /// Draining a server moves its clients, to everybody by weight, and nobody else's.
    #[test]
    fn source_hash_moves_the_clients_of_a_server_that_leaves_and_no_others(
        weights in prop::collection::vec(1_u16..9, 2..10),
        gone: prop::sample::Index,
    ) {
        let before = assignment(source_hash(&weights), &weights, 4000);
        let gone = gone.index(weights.len());
        let mut without = weights.clone();
        without[gone] = 0;
        let after = assignment(source_hash(&without), &without, 4000);
        let mut to = vec![0; weights.len()];
        for (old, new) in before.iter().zip(&after) {
            if usize::from(old.0) == gone + 1 {
                to[usize::from(new.0) - 1] += 1;
            } else {
                prop_assert_eq!(old, new);
            }
        }
        is_fair(&to, &without, 6.0)?;
        prop_assert_eq!(assignment(source_hash(&weights), &weights, 4000), before, "and back");
    }

    /// A server that becomes heavier takes clients and gives none, and the others exchange none.
    #[test]
    fn source_hash_moves_clients_to_a_server_that_grows_and_nowhere_else(
        weights in prop::collection::vec(1_u16..9, 2..10),
        grown: prop::sample::Index,
        by in 1_u16..9,
    ) {
        let before = assignment(source_hash(&weights), &weights, 4000);
        let grown = grown.index(weights.len());
        let mut heavier = weights.clone();
        heavier[grown] += by;
        let after = assignment(source_hash(&heavier), &heavier, 4000);
        for (old, new) in before.iter().zip(&after) {
            prop_assert!(old == new || usize::from(new.0) == grown + 1);
        }
    }

    /// The promise of the paper's section 5.3: nearly nobody but the clients of the server that
    /// left moves.
    #[test]
    fn maglev_moves_few_clients_of_servers_that_stay(
        weights in prop::collection::vec(1_u16..9, 2..30),
        gone: prop::sample::Index,
    ) {
        let before = assignment(maglev(&weights), &weights, 20_000);
        let gone = gone.index(weights.len());
        let mut without = weights.clone();
        without[gone] = 0;
        let after = assignment(maglev(&without), &without, 20_000);
        let moved = |(old, new): &(&ServerId, &ServerId)| {
            usize::from(old.0) != gone + 1 && old != new
        };
        let moved = before.iter().zip(&after).filter(moved).count();
        prop_assert!(moved < 20_000 / 20, "{} of 20,000 moved", moved);
        prop_assert!(after.iter().all(|server| usize::from(server.0) != gone + 1));
    }
}

proptest! {
    /// All workers must name the same worker for a client, and for its whole network.
    #[test]
    fn affinity_is_of_the_network_and_the_same_at_all_workers(
        v4: u32,
        v6: u128,
        host: u128,
        (prefix_v4, prefix_v6) in (0_u8..=32, 0_u8..=128),
    ) {
        let mut vs = vs(Scheduler::RoundRobin, &[1]);
        let plain = serving((0, 2), &vs, &[1]);
        prop_assert_eq!(plain.affinity(&vs, Ipv4Addr::from_bits(v4).into()), None);
        vs.persistence = Some(Persistence { prefix_v4, prefix_v6, timeout_ms: 1000 });
        let (here, there) = (serving((0, 2), &vs, &[1]), serving((1, 2), &vs, &[1]));
        let low_v4 = u32::MAX.checked_shr(prefix_v4.into()).unwrap_or(0);
        let low_v6 = u128::MAX.checked_shr(prefix_v6.into()).unwrap_or(0);
        let neighbours: [(IpAddr, IpAddr); 2] = [
            (
                Ipv4Addr::from_bits(v4).into(),
                Ipv4Addr::from_bits(v4 & !low_v4 | host as u32 & low_v4).into(),
            ),
            (
                Ipv6Addr::from_bits(v6).into(),
                Ipv6Addr::from_bits(v6 & !low_v6 | host & low_v6).into(),
            ),
        ];
        for (client, neighbour) in neighbours {
            let affinity = here.affinity(&vs, client);
            prop_assert!(affinity.is_some());
            prop_assert_eq!(affinity, there.affinity(&vs, client));
            prop_assert_eq!(affinity, there.affinity(&vs, neighbour));
        }
        if prefix_v4 > 0 {
            let stranger = Ipv4Addr::from_bits(v4 ^ 1 << (32 - u32::from(prefix_v4)));
            prop_assert_ne!(
                here.affinity(&vs, Ipv4Addr::from_bits(v4).into()),
                here.affinity(&vs, stranger.into())
            );
        }
    }
}
