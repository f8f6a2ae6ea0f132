//! In which order a virtual server's real servers are tried: priority groups, backup pool, sorry
//! server.

use std::cmp::Reverse;

use sluice_dataplane::lb;
use sluice_dataplane::lb::maglev::Recipe;
use sluice_dataplane::lb::rendezvous::Rendezvous;
use sluice_dataplane::snapshot::{RealServer, Scheduler, ServerId, Tier, TierKind};

use super::Registry;
use super::tables::Tables;
use crate::config;
use crate::health::{Ramps, STEPS};

/// What of a pool decides about tiers.
#[derive(Debug, Clone)]
pub(super) struct Members {
    /// Every server and its priority, in the order of the configuration.
    pub(super) servers: Vec<(ServerId, u8)>,
    /// Servers that should be available in the groups in use.
    pub(super) min_up: usize,
}

impl Members {
    /// Of a pool whose servers have numbers.
    pub(super) fn of(pool: &config::Pool, registry: &Registry) -> Self {
        let servers = registry.servers_of(pool);
        Self {
            servers: servers.map(|(id, server)| (id, server.priority)).collect(),
            min_up: pool.min_up,
        }
    }

    /// The servers by tiers: first those of the groups in use, then every group below by itself.
    ///
    /// A group is in use if it is the highest, or those above it have fewer than `min_up` servers
    /// that take sessions. Whether a server is full does not count here: what is too much for a
    /// tier overflows to the next by itself.
    fn groups(&self, servers: &[Option<RealServer>]) -> Vec<Vec<ServerId>> {
        let mut priorities: Vec<u8> = self.servers.iter().map(|&(_, priority)| priority).collect();
        priorities.sort_unstable_by_key(|&priority| Reverse(priority));
        priorities.dedup();
        let available = |least: u8| {
            let high = self
                .servers
                .iter()
                .filter(|&&(_, priority)| priority >= least);
            high.filter(|&&(id, _)| lb::share(servers, id) > 0).count()
        };
        // The group that fills it up; all of them, if none does.
        let last = priorities
            .iter()
            .find(|&&priority| available(priority) >= self.min_up);
        let last = last.or(priorities.last()).copied().unwrap_or(0);
        let members = |wanted: &dyn Fn(u8) -> bool| {
            let wanted = self
                .servers
                .iter()
                .filter(|&&(_, priority)| wanted(priority));
            wanted.map(|&(id, _)| id).collect()
        };
        let below = priorities.iter().filter(|&&priority| priority < last);
        std::iter::once(members(&|priority| priority >= last))
            .chain(below.map(|&group| members(&|priority| priority == group)))
            .collect()
    }
}

/// Real servers as they are known, how much of their share each has got to, and tables that are there.
pub(super) type Known<'a> = (&'a [Option<RealServer>], &'a Ramps, &'a mut Tables);

/// The tiers of a virtual server.
pub(super) fn tiers(
    scheduler: config::Scheduler,
    pool: &Members,
    backup: Option<&Members>,
    sorry: Option<ServerId>,
    (servers, ramps, tables): Known<'_>,
) -> Vec<Tier> {
    let pool = pool.groups(servers).into_iter();
    let pool = pool.map(|members| (TierKind::Pool, members));
    let backup = backup
        .map(|backup| backup.groups(servers))
        .unwrap_or_default();
    let backup = backup.into_iter();
    let backup = backup.map(|members| (TierKind::Backup, members));
    let mut tiers: Vec<Tier> = pool
        .chain(backup)
        .map(|(kind, members)| Tier {
            kind,
            scheduler: self::scheduler(scheduler, &members, (servers, ramps, tables)),
            members,
        })
        .collect();
    tiers.extend(sorry.map(|sorry| Tier {
        kind: TierKind::Sorry,
        members: vec![sorry],
        scheduler: Scheduler::RoundRobin,
    }));
    tiers
}

fn scheduler(
    scheduler: config::Scheduler,
    members: &[ServerId],
    (servers, ramps, tables): Known<'_>,
) -> Scheduler {
    let slow = |&id: &ServerId| ramps.step(id) < STEPS && lb::share(servers, id) > 0;
    if members.iter().any(slow) {
        return slow_start(scheduler, members, (servers, ramps, tables));
    }
    match scheduler {
        config::Scheduler::RoundRobin => Scheduler::RoundRobin,
        config::Scheduler::WeightedRoundRobin => Scheduler::WeightedRoundRobin,
        config::Scheduler::LeastConnections => Scheduler::LeastConnections,
        config::Scheduler::WeightedLeastConnections => Scheduler::WeightedLeastConnections,
        config::Scheduler::SourceHash => Scheduler::SourceHash(Rendezvous::build(members, servers)),
        config::Scheduler::Maglev(size) => {
            Scheduler::Maglev(tables.table(Recipe::new(size, members, servers)))
        }
    }
}

/// The same while a member has not got to its share: by weights that have so many parts of
/// [`STEPS`] as it gets. Those that know no weights do so meanwhile.
fn slow_start(
    scheduler: config::Scheduler,
    members: &[ServerId],
    (servers, ramps, tables): Known<'_>,
) -> Scheduler {
    let weighted = |id: ServerId| lb::share(servers, id) * ramps.step(id);
    let alike = |id: ServerId| lb::share(servers, id).min(1) * ramps.step(id);
    let all = |of: &dyn Fn(ServerId) -> u16| members.iter().map(|&id| of(id)).collect();
    match scheduler {
        config::Scheduler::RoundRobin => Scheduler::PacedTurns(all(&alike)),
        config::Scheduler::WeightedRoundRobin => Scheduler::PacedTurns(all(&weighted)),
        config::Scheduler::LeastConnections => Scheduler::PacedLoads(all(&alike)),
        config::Scheduler::WeightedLeastConnections => Scheduler::PacedLoads(all(&weighted)),
        config::Scheduler::SourceHash => {
            Scheduler::SourceHash(Rendezvous::weighted(members, servers, weighted))
        }
        config::Scheduler::Maglev(size) => {
            let recipe = Recipe::weighted(size, members, servers, weighted);
            Scheduler::Maglev(tables.table(recipe))
        }
    }
}

#[cfg(test)]
mod tests {
    use sluice_dataplane::snapshot::{ServerState, SessionLimits};

    use super::*;

    /// Servers 1, 2, ... with these priorities; `down` are not up. The tiers' members.
    fn of(priorities: &[u8], min_up: usize, down: &[u16]) -> Vec<Vec<u16>> {
        let server = |id: u16| RealServer {
            name: format!("web/{id}"),
            address: [10, 0, 0, id as u8].into(),
            port: None,
            weight: 1,
            state: match down.contains(&id) {
                true => ServerState::Down,
                false => ServerState::Up,
            },
            limits: SessionLimits::default(),
        };
        let ids = 1..=priorities.len() as u16;
        let servers: Vec<_> = std::iter::once(None)
            .chain(ids.clone().map(|id| Some(server(id))))
            .collect();
        let members = Members {
            servers: ids.map(ServerId).zip(priorities.iter().copied()).collect(),
            min_up,
        };
        let tiers = tiers(
            config::Scheduler::RoundRobin,
            &members,
            None,
            None,
            (&servers, &Ramps::default(), &mut Tables::default()),
        );
        let ids = |tier: Tier| tier.members.iter().map(|id| id.0).collect();
        tiers.into_iter().map(ids).collect()
    }

    #[test]
    fn a_lower_group_joins_while_too_few_above_it_are_up() {
        assert_eq!(of(&[0, 0], 1, &[]), [[1, 2]]);
        assert_eq!(of(&[0, 0], 1, &[1, 2]), [[1, 2]], "nobody is up");
        let priorities = [5, 9, 5, 1, 9];
        assert_eq!(of(&priorities, 1, &[]), [vec![2, 5], vec![1, 3], vec![4]]);
        assert_eq!(of(&priorities, 1, &[2]), [vec![2, 5], vec![1, 3], vec![4]]);
        assert_eq!(of(&priorities, 1, &[2, 5]), [vec![1, 2, 3, 5], vec![4]]);
        assert_eq!(of(&priorities, 2, &[2]), [vec![1, 2, 3, 5], vec![4]]);
        assert_eq!(of(&priorities, 4, &[2]), [vec![1, 2, 3, 4, 5]]);
        assert_eq!(of(&priorities, 3, &[]), [vec![1, 2, 3, 5], vec![4]]);
        assert_eq!(
            of(&priorities, 9, &[]),
            [vec![1, 2, 3, 4, 5]],
            "more than there are"
        );
        assert_eq!(of(&[], 1, &[]), [Vec::<u16>::new()]);
    }

    #[test]
    fn backup_and_sorry_come_last() {
        let members = |ids: &[u16]| Members {
            servers: ids.iter().map(|&id| (ServerId(id), 0)).collect(),
            min_up: 1,
        };
        let (pool, backup) = (members(&[1]), members(&[2, 3]));
        let all = tiers(
            config::Scheduler::SourceHash,
            &pool,
            Some(&backup),
            Some(ServerId(4)),
            (&[], &Ramps::default(), &mut Tables::default()),
        );
        let all: Vec<_> = all
            .into_iter()
            .map(|tier| (tier.kind, tier.members))
            .collect();
        let ids = |ids: &[u16]| ids.iter().copied().map(ServerId).collect::<Vec<_>>();
        assert_eq!(
            all,
            [
                (TierKind::Pool, ids(&[1])),
                (TierKind::Backup, ids(&[2, 3])),
                (TierKind::Sorry, ids(&[4])),
            ]
        );
    }
}
