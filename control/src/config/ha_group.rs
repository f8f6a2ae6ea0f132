//! `[[ha.group]]` and `[[ha.track]]`: addresses that one of two appliances holds at a time, and what
//! makes it less fit to.

use std::net::IpAddr;

use sluice_dataplane::groups::{GroupId, MAX_GROUPS};

use super::duration::milliseconds;
use super::names::{Name, PortIndex};
use super::place::{Place, optional};
use super::raw::section;
use super::snat_pool::{MAX_ADDRESSES, range};
use super::value::{address, number};

section! {
    /// `[[ha.group]]`
    pub struct RawHaGroup {
        /// Its name.
        name: String,
        /// Its number, the same on both nodes; the last byte of its virtual MAC address.
        number: i64,
        /// Addresses, ranges and networks, of both families.
        addresses: Vec<String>,
        /// The node with the higher one holds the group.
        priority: i64,
        /// Take it from a node of lower priority after being fit for so long.
        preempt_after: String,
    }
}

section! {
    /// `[[ha.track]]`
    pub struct RawHaTrack {
        /// The port whose link must be up.
        port: String,
        /// The router that must answer ARP or neighbour solicitations.
        gateway: String,
        /// How much the priority of all groups is lowered while it is not so.
        lower_by: i64,
    }
}

/// A group of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaGroup {
    /// Its name.
    pub name: Name,
    /// Its number.
    pub id: GroupId,
    /// All different.
    pub addresses: Vec<IpAddr>,
    /// 0 never holds it.
    pub priority: u8,
    /// Hold-down of preemption, milliseconds; `None`: no preemption.
    pub preempt: Option<u32>,
}

/// What is tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracked {
    /// A port's link.
    Port(PortIndex),
    /// A router on a network of a port.
    Gateway(IpAddr),
}

/// Something that must be so for this node to be fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HaTrack {
    /// What.
    pub what: Tracked,
    /// What it costs of every group's priority.
    pub lower_by: u8,
}

impl RawHaGroup {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<HaGroup> {
        let name = place
            .required("name", &self.name, "\"web\"")
            .and_then(|name| Name::check(name, &place.key("name")));
        let id = place
            .required("number", &self.number, "1")
            .and_then(|&id| number::<u8>(id, 1..=MAX_GROUPS as u8, &place.key("number")));
        let addresses = place
            .required("addresses", &self.addresses, "[\"203.0.113.10\"]")
            .and_then(|given| addresses(given, &place.key("addresses")));
        let priority = self.priority.unwrap_or(100);
        let priority = number::<u8>(priority, 0..=254, &place.key("priority"));
        let preempt = optional(self.preempt_after.as_deref(), |text| {
            milliseconds(text, &place.key("preempt_after"))
        });
        Some(HaGroup {
            name: name?,
            id: GroupId(id?),
            addresses: addresses?,
            priority: priority?,
            preempt: preempt?,
        })
    }
}

fn addresses(given: &[String], place: &Place<'_>) -> Option<Vec<IpAddr>> {
    if given.is_empty() {
        return place.wrong("no address", "write one at least, like \"203.0.113.10\"");
    }
    let ranges = place.each(given, |text, place| range(text, place))?;
    let mut all: Vec<IpAddr> = ranges.into_iter().flatten().collect();
    let given = all.len();
    all.sort_unstable();
    all.dedup();
    if all.len() < given {
        return place.wrong("an address is there twice", "take it out once");
    }
    if given > MAX_ADDRESSES {
        return place.wrong(
            format_args!("more than {MAX_ADDRESSES} addresses"),
            "make another group of the rest",
        );
    }
    Some(all)
}

impl RawHaTrack {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<HaTrack> {
        let port = optional(self.port.as_deref(), |port| {
            let place = place.key("port");
            place.names().port(port, &place)
        });
        let gateway = optional(self.gateway.as_deref(), |text| {
            address(text, &place.key("gateway"))
        });
        let lower_by = self.lower_by.unwrap_or(50);
        let lower_by = number::<u8>(lower_by, 1..=254, &place.key("lower_by"));
        let what = match (port?, gateway?) {
            (Some(port), None) => Tracked::Port(port),
            (None, Some(gateway)) => Tracked::Gateway(gateway),
            _ => {
                return place.wrong(
                    "not one of `port` and `gateway`",
                    "write the one that is to be tracked",
                );
            }
        };
        Some(HaTrack {
            what,
            lower_by: lower_by?,
        })
    }
}
