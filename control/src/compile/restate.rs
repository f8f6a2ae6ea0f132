//! Health into a snapshot: the states of real servers, and the tables that follow from them.

use std::sync::Arc;

use sluice_dataplane::lb::maglev::MaglevTable;
use sluice_dataplane::lb::rendezvous::Rendezvous;
use sluice_dataplane::snapshot::{Scheduler, ServerId, ServerState, Snapshot};

use super::Registry;
use crate::config::Config;
use crate::health::{Standings, effective};

/// A snapshot of `config` with real servers as they stand now, and of the same epoch: health decides
/// who gets new sessions, and nothing about those that are open. Beside it: whether there are servers
/// now whose sessions have to end. `None` if `snapshot` has it all.
pub fn restate(
    snapshot: &Arc<Snapshot>,
    config: &Config,
    registry: &Registry,
    standings: &Standings,
) -> Option<(Arc<Snapshot>, bool)> {
    let changes = changes(snapshot, config, registry, standings);
    if changes.is_empty() {
        return None;
    }
    let mut restated = Snapshot::clone(snapshot);
    for &(id, state) in &changes {
        if let Some(Some(server)) = restated.servers.get_mut(usize::from(id.0)) {
            server.state = state;
        }
    }
    let concerned = |members: &[ServerId]| changes.iter().any(|(id, _)| members.contains(id));
    for vs in &mut restated.virtual_servers {
        if !concerned(&vs.members) {
            continue;
        }
        let (members, servers) = (&vs.members, &restated.servers);
        match &mut vs.scheduler {
            Scheduler::SourceHash(hash) => *hash = Rendezvous::build(members, servers),
            Scheduler::Maglev(table) => {
                *table = MaglevTable::build(table.size(), members, servers);
            }
            Scheduler::RoundRobin
            | Scheduler::WeightedRoundRobin
            | Scheduler::LeastConnections
            | Scheduler::WeightedLeastConnections => {}
        }
    }
    let ends = changes.iter().any(|&(_, state)| state == ServerState::Down);
    Some((Arc::new(restated), ends))
}

fn changes(
    snapshot: &Snapshot,
    config: &Config,
    registry: &Registry,
    standings: &Standings,
) -> Vec<(ServerId, ServerState)> {
    let mut changes = Vec::new();
    for pool in &config.pools {
        for server in &pool.servers {
            let name = format!("{}/{}", pool.name, server.name);
            let Some(id) = registry.server_by_name(&name) else {
                continue;
            };
            let state = effective(server.state, standings.get(id), config.rules(pool, server));
            let known = snapshot.servers.get(usize::from(id.0));
            if known
                .and_then(Option::as_ref)
                .is_some_and(|known| known.state != state)
            {
                changes.push((id, state));
            }
        }
    }
    changes
}
