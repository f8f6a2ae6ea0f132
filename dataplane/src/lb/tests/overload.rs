//! Servers that are full, and where their sessions go instead.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use super::*;

/// Servers 1, 2, ... that may have so many sessions; 0 for no limit.
fn limited(open: &[u32]) -> Vec<Option<RealServer>> {
    let mut all = servers(&vec![1; open.len()]);
    for (server, &open) in all.iter_mut().skip(1).zip(open) {
        server.as_mut().unwrap().limits.open = NonZeroU32::new(open);
    }
    all
}

/// A virtual server with a tier for each of these lists of members.
fn tiered(schedulers: impl Fn(&[ServerId]) -> Scheduler, tiers: &[&[u16]]) -> VirtualServer {
    let mut vs = vs(1, Scheduler::RoundRobin, &[]);
    vs.tiers = tiers
        .iter()
        .map(|members| {
            let members: Vec<ServerId> = members.iter().copied().map(ServerId).collect();
            Tier {
                kind: TierKind::Pool,
                scheduler: schedulers(&members),
                members,
            }
        })
        .collect();
    vs
}

fn every_scheduler(members: &[ServerId], servers: &[Option<RealServer>]) -> [Scheduler; 6] {
    [
        Scheduler::RoundRobin,
        Scheduler::WeightedRoundRobin,
        Scheduler::LeastConnections,
        Scheduler::WeightedLeastConnections,
        Scheduler::SourceHash(Rendezvous::build(members, servers)),
        Scheduler::Maglev(MaglevTable::build(TableSize::DEFAULT, members, servers)),
    ]
}

/// Opens sessions until there is no server for one. How many each server got.
fn fill(lb: &mut Balancer, vs: &VirtualServer) -> Vec<u32> {
    let mut counts = vec![0; 8];
    for i in 0..1000 {
        let client = from(i as u8, i);
        match lb.pick(vs, &client, 0) {
            Ok(picked) => {
                lb.opened(picked.server);
                counts[usize::from(picked.server.0)] += 1;
            }
            Err(why) => {
                assert_eq!(why, NoServer::AllFull);
                return counts;
            }
        }
    }
    panic!("never full: {counts:?}");
}

#[test]
fn full_servers_get_nothing_and_the_next_tier_takes_what_is_left() {
    let servers = limited(&[5, 7, 3, 4]);
    for n in 0..6 {
        let scheduler = |members: &[ServerId]| every_scheduler(members, &servers)[n].clone();
        let vs = tiered(scheduler, &[&[1, 2], &[3], &[4]]);
        let (mut lb, board) = balancer(0, 1, &[]);
        lb.lay_out(std::slice::from_ref(&vs), &servers);
        let counts = fill(&mut lb, &vs);
        assert_eq!(counts[1..5], [5, 7, 3, 4], "{:?}", vs.tiers[0].scheduler);
        // Who has room again is given sessions again, the first tier before the others.
        for server in [4, 2, 3] {
            lb.closed(ServerId(server));
        }
        for (server, tier) in [(2, 0), (3, 1), (4, 2)] {
            let picked = lb.pick(&vs, &from(9, 9), 10).unwrap();
            assert_eq!((picked.server.0, picked.tier), (server, tier));
            lb.opened(picked.server);
        }
        assert_eq!(lb.pick(&vs, &from(9, 9), 20), Err(NoServer::AllFull));
        assert_eq!(board.get(ServerId(1)).open, 5, "nothing was left behind");
    }
}

#[test]
fn a_session_that_does_not_come_about_gives_its_place_back() {
    let servers = limited(&[1]);
    let vs = tiered(|_| Scheduler::RoundRobin, &[&[1]]);
    let (mut lb, board) = balancer(0, 1, &[]);
    lb.lay_out(std::slice::from_ref(&vs), &servers);
    for _ in 0..3 {
        assert!(lb.pick(&vs, &from(1, 1), 0).is_ok(), "at the next pick");
        assert_eq!(board.get(ServerId(1)).open, 1);
    }
    lb.tick(1, 0);
    assert_eq!(
        board.get(ServerId(1)),
        loads::Sessions::default(),
        "in time"
    );
    assert!(lb.pick(&vs, &from(1, 1), 0).is_ok());
    lb.withdraw();
    assert_eq!(board.get(ServerId(1)).open, 0, "at once, who says so");
    assert!(lb.pick(&vs, &from(1, 1), 0).is_ok());
    lb.opened(ServerId(1));
    lb.tick(2, 0);
    assert_eq!(
        board.get(ServerId(1)),
        loads::Sessions { open: 1, total: 1 }
    );
    assert_eq!(lb.pick(&vs, &from(1, 1), 0), Err(NoServer::AllFull));
}

#[test]
fn tiers_whose_servers_are_down_are_passed_over() {
    let mut servers = limited(&[0, 0, 0]);
    let vs = tiered(|_| Scheduler::WeightedRoundRobin, &[&[1], &[2], &[3]]);
    let (mut lb, _) = balancer(0, 1, &[]);
    for down in 1..=3 {
        lb.lay_out(std::slice::from_ref(&vs), &servers);
        let picked = lb.pick(&vs, &from(1, 1), 0).unwrap();
        assert_eq!((picked.server.0, picked.tier), (down, down - 1));
        servers[usize::from(down)].as_mut().unwrap().state = ServerState::Down;
    }
    lb.lay_out(std::slice::from_ref(&vs), &servers);
    assert_eq!(lb.pick(&vs, &from(1, 1), 0), Err(NoServer::NoneUp));
}

#[test]
fn every_tier_that_others_filled_is_looked_at_again() {
    let servers = limited(&[1, 1, 1]);
    let vs = tiered(|_| Scheduler::RoundRobin, &[&[1], &[2], &[3]]);
    let (mut other, board) = balancer(0, 2, &[]);
    let (mut lb, _) = balancer(1, 2, &[board]);
    for lb in [&mut other, &mut lb] {
        lb.lay_out(std::slice::from_ref(&vs), &servers);
    }
    assert_eq!(picks(&mut other, &vs, 3, 0), [1, 2, 3]);
    assert_eq!(lb.pick(&vs, &from(1, 1), 0), Err(NoServer::AllFull));
    other.closed(ServerId(3));
    assert_eq!(picks(&mut lb, &vs, 1, 10), [3]);
}

#[test]
fn a_server_gets_no_more_than_its_sessions_per_second() {
    let mut servers = servers(&[1, 1]);
    servers[1].as_mut().unwrap().limits.per_second = NonZeroU32::new(3);
    let vs = tiered(|_| Scheduler::RoundRobin, &[&[1], &[2]]);
    let all = std::slice::from_ref(&vs);
    let (mut lb, board) = balancer(0, 2, &[]);
    let (mut other, _) = balancer(1, 2, &[board]);
    lb.lay_out(all, &servers);
    other.lay_out(all, &servers);
    assert_eq!(picks(&mut lb, &vs, 2, 5_000), [1, 1]);
    // The other worker sees these two, as those of the same second.
    assert_eq!(picks(&mut other, &vs, 2, 5_999), [1, 2]);
    assert_eq!(picks(&mut other, &vs, 4, 6_000), [1, 1, 1, 2]);
    // Sessions that end make no room: it is a rate.
    other.closed(ServerId(1));
    assert_eq!(picks(&mut other, &vs, 1, 6_500), [2]);
    // What was not opened does not count.
    assert!(lb.pick(&vs, &from(1, 1), 7_000).is_ok());
    lb.tick(7_000, 0);
    assert_eq!(picks(&mut lb, &vs, 4, 7_001), [1, 1, 1, 2]);
}

#[test]
fn persistence_gives_way_to_a_limit_and_comes_back_from_a_later_tier() {
    let mut servers = limited(&[1, 1, 0]);
    let mut vs = tiered(|_| Scheduler::RoundRobin, &[&[1, 2], &[3]]);
    vs.persistence = persistent(1).persistence;
    let (mut lb, _) = balancer(0, 1, &[]);
    lb.lay_out(std::slice::from_ref(&vs), &servers);
    let goes = |lb: &mut Balancer, host| {
        let server = lb.pick(&vs, &from_net(host, 1), 0).unwrap().server;
        lb.opened(server);
        server.0
    };
    assert_eq!(goes(&mut lb, 1), 1);
    assert_eq!(goes(&mut lb, 1), 2, "its own is full");
    let overflow = lb.pick(&vs, &from_net(1, 1), 0).unwrap();
    assert!(!overflow.remembered, "so nobody is to be told");
    assert_eq!(goes(&mut lb, 1), 3, "all of the first tier are");
    lb.closed(ServerId(1));
    lb.closed(ServerId(2));
    assert_eq!(goes(&mut lb, 1), 2, "overflow is not remembered");
    // While the first tier is down, clients stay with one of the next; and leave it after.
    lb.closed(ServerId(2));
    for server in [1, 2] {
        servers[server].as_mut().unwrap().state = ServerState::Down;
    }
    lb.lay_out(std::slice::from_ref(&vs), &servers);
    assert_eq!(goes(&mut lb, 1), 3);
    servers[1].as_mut().unwrap().state = ServerState::Up;
    lb.lay_out(std::slice::from_ref(&vs), &servers);
    assert_eq!(goes(&mut lb, 1), 1);
}

/// Real threads, as real workers are: what one takes while another looks must not be missed.
#[test]
fn workers_together_never_exceed_a_limit() {
    const WORKERS: u16 = 4;
    const LIMIT: u32 = 3;
    let servers = limited(&[LIMIT]);
    let vs = tiered(|_| Scheduler::RoundRobin, &[&[1]]);
    let mut tallies: Vec<Tally> = (0..WORKERS)
        .map(|_| Tally::new(&mut Heap, LIMITS.servers).unwrap())
        .collect();
    let boards: Vec<Board> = tallies.iter().map(Tally::board).collect();
    let (open, most, opened) = (AtomicI64::new(0), AtomicI64::new(0), AtomicI64::new(0));
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let others: Vec<Board> = (0..WORKERS)
                .filter(|&other| other != worker)
                .map(|other| boards[usize::from(other)])
                .collect();
            let own = tallies.remove(0);
            let (vs, servers) = (&vs, &servers);
            let (open, most, opened) = (&open, &most, &opened);
            scope.spawn(move || {
                let loads = Loads::new(&mut Heap, own, others).unwrap();
                let hasher = KeyHasher::new([1, 2, 3, 4]);
                let at = (worker, WORKERS);
                let mut lb = Balancer::new(&mut Heap, &LIMITS, at, loads, hasher).unwrap();
                lb.lay_out(std::slice::from_ref(vs), servers);
                let mut own = 0;
                for turn in 0..30_000_u32 {
                    // Time goes on, so that what was seen of the others is never old.
                    if let Ok(picked) = lb.pick(vs, &from(1, 1), turn * 10) {
                        lb.opened(picked.server);
                        own += 1;
                        most.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
                        opened.fetch_add(1, SeqCst);
                    }
                    if own > turn % 3 {
                        own -= 1;
                        // Counted out before its place is free.
                        open.fetch_sub(1, SeqCst);
                        lb.closed(ServerId(1));
                    }
                }
            });
        }
    });
    let most = most.load(SeqCst);
    assert!(most <= i64::from(LIMIT), "{most} at a time");
    assert!(opened.load(SeqCst) > 1000, "and places are used at all");
}
