//! Names, and what to suggest for one that nothing has.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::RawConfig;
use super::list::{Named, RawList};
use super::place::Place;

/// A name: 1 to 64 letters, digits, `-`, `_` and `.`, a letter or digit first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn check(text: &str, place: &Place<'_>) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let good = (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(plain);
        if good {
            return Some(Self(text.to_owned()));
        }
        place.wrong(
            format_args!("{text:?} is not a name"),
            "use 1 to 64 letters, digits, '-', '_' or '.', a letter or digit first",
        )
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! indexes {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        $($(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub usize);)+
    };
}

indexes! {
    /// Index into [`super::Config::zones`].
    ZoneIndex,
    /// Index into [`super::Config::ports`].
    PortIndex,
    /// Index into [`super::Config::snat_pools`].
    SnatPoolIndex,
    /// Index into [`super::Config::pools`].
    PoolIndex,
    /// Index into [`super::Config::health_checks`].
    CheckIndex,
}

/// All names that a configuration gives to what others refer to.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) zones: Vec<String>,
    ports: Vec<String>,
    snat_pools: Vec<String>,
    pools: Vec<String>,
    lists: Vec<String>,
    /// Of the lists, in their order.
    networks: Vec<Arc<[IpNet]>>,
    /// Lists put together, as rules have named them so far.
    joined: RefCell<HashMap<Vec<Named>, Arc<[IpNet]>>>,
    health_checks: Vec<String>,
}

impl Names {
    pub(super) fn of(raw: &RawConfig) -> Self {
        let mut zones = Vec::new();
        for zone in raw.port.iter().filter_map(|port| port.zone.clone()) {
            if !zones.contains(&zone) {
                zones.push(zone);
            }
        }
        let text = |name: &Option<String>| name.clone().unwrap_or_default();
        Self {
            zones,
            ports: raw.port.iter().map(|port| text(&port.name)).collect(),
            snat_pools: raw.snat_pool.iter().map(|pool| text(&pool.name)).collect(),
            pools: raw.pool.iter().map(|pool| text(&pool.name)).collect(),
            lists: raw.list.iter().map(|list| text(&list.name)).collect(),
            networks: raw.list.iter().map(RawList::networks).collect(),
            joined: RefCell::default(),
            health_checks: raw
                .health_check
                .iter()
                .map(|check| text(&check.name))
                .collect(),
        }
    }

    pub(super) fn zone(&self, text: &str, place: &Place<'_>) -> Option<ZoneIndex> {
        find(&self.zones, text, place, "zone", "a port's `zone`").map(ZoneIndex)
    }

    pub(super) fn port(&self, text: &str, place: &Place<'_>) -> Option<PortIndex> {
        find(&self.ports, text, place, "port", "a [[port]]").map(PortIndex)
    }

    pub(super) fn snat_pool(&self, text: &str, place: &Place<'_>) -> Option<SnatPoolIndex> {
        find(
            &self.snat_pools,
            text,
            place,
            "SNAT pool",
            "a [[snat_pool]]",
        )
        .map(SnatPoolIndex)
    }

    pub(super) fn pool(&self, text: &str, place: &Place<'_>) -> Option<PoolIndex> {
        find(&self.pools, text, place, "pool", "a [[pool]]").map(PoolIndex)
    }

    /// A list's place among lists.
    pub(super) fn list(&self, text: &str, place: &Place<'_>) -> Option<usize> {
        find(&self.lists, text, place, "list", "a [[list]]")
    }

    /// The networks of a list.
    pub(super) fn networks(&self, list: usize) -> &[IpNet] {
        self.networks.get(list).map_or(&[], |networks| networks)
    }

    /// All networks of some items; the same memory for the same lists.
    pub(super) fn joined(&self, items: Vec<Named>) -> Arc<[IpNet]> {
        if let [Named::List(list)] = *items
            && let Some(networks) = self.networks.get(list)
        {
            return Arc::clone(networks);
        }
        let all = |items: &[Named]| -> Arc<[IpNet]> {
            let networks = items.iter().map(|item| match item {
                Named::List(list) => self.networks(*list),
                Named::One(network) => std::slice::from_ref(network),
            });
            networks.collect::<Vec<_>>().concat().into()
        };
        let has_list = |item: &Named| matches!(item, Named::List(_));
        if !items.iter().any(has_list) {
            return all(&items);
        }
        let mut joined = self.joined.borrow_mut();
        if let Some(known) = joined.get(&items) {
            return Arc::clone(known);
        }
        let networks = all(&items);
        joined.insert(items, Arc::clone(&networks));
        networks
    }

    pub(super) fn health_check(&self, text: &str, place: &Place<'_>) -> Option<CheckIndex> {
        find(
            &self.health_checks,
            text,
            place,
            "health check",
            "a [[health_check]]",
        )
        .map(CheckIndex)
    }
}

fn find(
    known: &[String],
    text: &str,
    place: &Place<'_>,
    kind: &str,
    source: &str,
) -> Option<usize> {
    if let Some(index) = known.iter().position(|name| name == text) {
        return Some(index);
    }
    let found = format!("there is no {kind} {text:?}");
    match nearest(text, known.iter().map(String::as_str)) {
        Some(near) => place.wrong(found, format_args!("did you mean {near:?}?")),
        None if known.is_empty() => place.wrong(found, format_args!("name it in {source} first")),
        None => place.wrong(found, format_args!("known are {}", list(known))),
    }
}

fn list(known: &[String]) -> String {
    let quoted: Vec<String> = known.iter().map(|name| format!("{name:?}")).collect();
    quoted.join(", ")
}

/// The one of `known` that `text` is most likely a slip of the pen for.
pub(crate) fn nearest<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let far = |name: &str| strsim::damerau_levenshtein(&text.to_lowercase(), &name.to_lowercase());
    known
        .map(|name| (far(name), name))
        .filter(|&(distance, name)| distance <= (name.chars().count() / 3).max(1))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}
