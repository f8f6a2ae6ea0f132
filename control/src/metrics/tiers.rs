//! Who takes new sessions of virtual servers.

use super::families::{Families, Family};
use super::{MOST, family, float};
use crate::controller::{Taker, Tiers};

const TIER: Family = family(
    "sluice_virtual_server_tier",
    "1 for who takes new sessions of the virtual server: its pool, a lower priority group of it or not, \
     its backup pool, its sorry server, its redirect, or nobody.",
);
const AVAILABLE: Family = family(
    "sluice_virtual_server_servers_available",
    "Real servers of the priority groups in use that take sessions, limits apart.",
);
const MIN_UP: Family = family(
    "sluice_virtual_server_servers_wanted",
    "How many there should be, by min_up of the pool.",
);

pub(super) fn tiers(families: &mut Families, tiers: &[Tiers]) {
    for of in tiers.iter().take(MOST) {
        let name = of.virtual_server.as_str();
        for taker in Taker::ALL {
            let labels = &[("virtual_server", name), ("tier", taker.name())];
            let is = f64::from(u8::from(of.taker == taker));
            families.gauge(TIER, labels, is);
        }
        let labels = &[("virtual_server", name)];
        families.gauge(AVAILABLE, labels, float(of.available as u64));
        families.gauge(MIN_UP, labels, float(of.min_up as u64));
    }
}
