//! Two appliances: who holds which group of addresses, by which ways they see each other, and what is tracked.

use std::collections::BTreeMap;

use super::families::{Families, Family};
use super::family;
use crate::controller::Ha;

const GROUP: Family = family(
    "sluice_ha_group_held",
    "1 if the node (this or peer) holds the group of addresses, 0 if not.",
);
const PATH: Family = family(
    "sluice_ha_path_up",
    "1 if heartbeats come and go by the path (link or witness), 0 if not.",
);
const TRACKED: Family = family(
    "sluice_ha_tracked_up",
    "1 if what is tracked is as it should be, 0 if it lowers the priority of this node.",
);

pub(super) fn roles(families: &mut Families, ha: &Ha) {
    let is = |value: bool| f64::from(u8::from(value));
    for group in &ha.groups {
        for (node, held) in [("this", group.held_here), ("peer", group.held_by_peer)] {
            let labels = &[("group", group.name.as_str()), ("node", node)];
            families.gauge(GROUP, labels, is(held));
        }
    }
    for (path, up) in [("link", Some(ha.ha_link)), ("witness", ha.witness)] {
        if let Some(up) = up {
            families.gauge(PATH, &[("path", path)], is(up));
        }
    }
    // The same may be tracked twice.
    let mut tracked = BTreeMap::new();
    for tracker in &ha.trackers {
        *tracked.entry(tracker.name.as_str()).or_insert(true) &= tracker.ok;
    }
    for (what, ok) in tracked {
        families.gauge(TRACKED, &[("what", what)], is(ok));
    }
}
