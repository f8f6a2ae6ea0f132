//! Health into a snapshot: the states of real servers, and the tables that follow from them.

use std::sync::Arc;

use sluice_dataplane::snapshot::{ServerId, ServerState, Snapshot, Tier};

use super::Registry;
use super::tables::Tables;
use super::tiers::{self, Members};
use crate::config::Config;
use crate::health::{Ramps, Standings, effective};

/// A snapshot of `config` with real servers as they stand now, each with as much of its share as it has
/// got to, and of the same epoch: health decides who gets new sessions, and nothing about those that
/// are open. Beside it: whether there are servers now whose sessions have to end. `None` if `snapshot`
/// has it all.
pub fn restate(
    snapshot: &Arc<Snapshot>,
    config: &Config,
    registry: &Registry,
    (standings, ramps): (&Standings, &Ramps),
) -> Option<(Arc<Snapshot>, bool)> {
    let changes = changes(snapshot, config, registry, standings);
    if changes.is_empty() && !ramps.changed() {
        return None;
    }
    let mut restated = Snapshot::clone(snapshot);
    for &(id, state) in &changes {
        if let Some(Some(server)) = restated.servers.get_mut(usize::from(id.0)) {
            server.state = state;
        }
    }
    let pools = config.pools.iter();
    let pools: Vec<Members> = pools.map(|pool| Members::of(pool, registry)).collect();
    // Of servers that have got to another part of their share it is not kept which: all tiers are seen to.
    let concerned =
        |tier: &Tier| ramps.changed() || changes.iter().any(|(id, _)| tier.members.contains(id));
    let mut tables = Tables::of(Some(snapshot));
    let wanted = config.virtual_servers.iter();
    for (vs, wanted) in restated.virtual_servers.iter_mut().zip(wanted) {
        if !vs.tiers.iter().any(concerned) {
            continue;
        }
        let sorry = registry.server_by_name(&format!("sorry:{}", wanted.name));
        // Which groups are in use follows from who is up.
        vs.tiers = tiers::tiers(
            wanted.scheduler,
            &pools[wanted.pool.0],
            wanted.backup_pool.map(|pool| &pools[pool.0]),
            // The name stays when the server goes.
            wanted.sorry_server.as_ref().and(sorry),
            (&restated.servers, ramps, &mut tables),
        );
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
        for (id, server) in registry.servers_of(pool) {
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
