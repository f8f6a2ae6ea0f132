//! Slow starts: shares that are not yet the servers' weights.

use super::*;

#[test]
fn weights_of_the_tier_stand_for_those_of_the_servers() {
    let (mut lb, _) = balancer(0, 1, &[]);
    let mut servers = servers(&[100, 1, 1]);
    servers[3].as_mut().unwrap().state = ServerState::Draining;
    let weights: Box<[u16]> = [1, 16, 16].into();
    for scheduler in [
        Scheduler::PacedTurns(weights.clone()),
        Scheduler::PacedLoads(weights),
    ] {
        let vs = vs(1, scheduler, &[1, 2, 3]);
        lb.lay_out(std::slice::from_ref(&vs), &servers);
        let got = picks(&mut lb, &vs, 170, 0);
        let first = got.iter().filter(|&&server| server == 1).count();
        assert_eq!(first, 10, "{:?}", vs.tiers[0].scheduler);
        assert!(!got.contains(&3), "it takes none, whatever its weight here");
        for server in got {
            lb.closed(ServerId(server));
        }
    }
}

#[test]
fn by_hash_a_server_that_starts_takes_its_part_and_no_other_client_moves() {
    let servers = servers(&[1, 1, 1, 1]);
    let ids: Vec<ServerId> = (1..=4).map(ServerId).collect();
    let share = |step: u16| {
        let weight = move |id: ServerId| if id == ServerId(1) { step } else { 16 };
        Rendezvous::weighted(&ids, &servers, weight)
    };
    let of = |table: &Rendezvous| -> Vec<u16> {
        let clients = (0..4000_u64).map(hash::spread);
        let get = |client| table.get(client, |_| true).map_or(0, |server| server.0);
        clients.map(get).collect()
    };
    let steps: Vec<Vec<u16>> = [0, 1, 4, 16].map(|step| of(&share(step))).into();
    for two in steps.windows(2) {
        let moved = two[0].iter().zip(&two[1]).filter(|(a, b)| a != b);
        assert!(
            moved.clone().all(|(_, &to)| to == 1),
            "only to the one that starts"
        );
        assert!(moved.count() > 0);
    }
    let part = |of: &[u16]| of.iter().filter(|&&server| server == 1).count();
    // 4000 / 49, 4 * 4000 / 52, 4000 / 4
    for (of, wanted) in steps.iter().zip([0, 82, 308, 1000]) {
        assert!(
            part(of).abs_diff(wanted) <= wanted / 4,
            "{} {wanted}",
            part(of)
        );
    }
}
