//! Maglev tables that are there already: making one takes a thousand times as long as finding that it is
//! still the same.

use std::collections::HashMap;

use sluice_dataplane::lb::maglev::{MaglevTable, Recipe};
use sluice_dataplane::snapshot::{Scheduler, Snapshot};

/// Tables by what they are made of: those of a snapshot, and those made since.
#[derive(Debug, Default)]
pub(super) struct Tables(HashMap<Recipe, MaglevTable>);

impl Tables {
    /// Those of a snapshot.
    pub(super) fn of(snapshot: Option<&Snapshot>) -> Self {
        let virtual_servers = snapshot.iter().flat_map(|it| &it.virtual_servers);
        let tiers = virtual_servers.flat_map(|vs| &vs.tiers);
        let tables = tiers.filter_map(|tier| match &tier.scheduler {
            Scheduler::Maglev(table) => Some((table.recipe().clone(), table.clone())),
            _ => None,
        });
        Self(tables.collect())
    }

    /// The table of a recipe.
    pub(super) fn table(&mut self, recipe: Recipe) -> MaglevTable {
        let known = self.0.entry(recipe);
        let made = known.or_insert_with_key(|recipe| MaglevTable::of(recipe.clone()));
        made.clone()
    }
}
