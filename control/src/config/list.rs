//! `[[list]]`: networks under a name, for rules to speak of as `@name`.

use std::sync::Arc;

use ipnet::IpNet;

use super::names::Name;
use super::place::Place;
use super::raw::section;
use super::value::{Loose, Several, network, several};

/// Networks of one list at most.
const MOST: usize = 16_384;

section! {
    /// `[[list]]`
    pub struct RawList {
        /// Its name.
        name: String,
        /// Its networks and addresses.
        networks: Several,
    }
}

/// Networks under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Its name.
    pub name: Name,
    /// Its networks.
    pub networks: Arc<[IpNet]>,
}

impl RawList {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<List> {
        let name = place
            .required("name", &self.name, "\"office\"")
            .and_then(|name| Name::check(name, &place.key("name")));
        let key = place.key("networks");
        let given = place.required("networks", &self.networks, "[\"192.0.2.0/24\"]");
        let networks = given.and_then(|given| several(Some(given), &key, network));
        let (name, networks) = (name?, networks?);
        if networks.len() > MOST {
            return key.wrong(
                format_args!("{} networks", networks.len()),
                format_args!("divide it into lists of {MOST} at most"),
            );
        }
        Some(List {
            name,
            networks: networks.into(),
        })
    }

    /// Its networks, as far as they are right: what is wrong is said once, where the list is.
    pub(super) fn networks(&self) -> Arc<[IpNet]> {
        let silent = super::place::Book::default();
        let place = silent.top();
        let items: &[Loose] = match &self.networks {
            None => &[],
            Some(Several::One(item)) => std::slice::from_ref(item),
            Some(Several::Many(items)) => items,
        };
        items
            .iter()
            .filter_map(|item| network(item, &place))
            .collect()
    }
}

/// One item of what a rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Named {
    /// A list, by its place among lists.
    List(usize),
    /// A network, or an address.
    One(IpNet),
}

/// Networks of a rule: networks, addresses, and lists as `@name`. An absent value is an empty list, which
/// matches everything; a list without networks would do so too, and is refused. Rules that speak of the
/// same lists share their networks: a thousand rules may name one of ten thousand.
pub(super) fn networks(value: Option<&Several>, place: &Place<'_>) -> Option<Arc<[IpNet]>> {
    let names = place.names();
    let found = several(value, place, |item, place| match item {
        Loose::Text(text) if text.starts_with('@') => {
            let at = names.list(&text[1..], place)?;
            if names.networks(at).is_empty() {
                return place.wrong(
                    format_args!("the list {text} has no networks"),
                    "give it some, or take it out of the rule",
                );
            }
            Some(Named::List(at))
        }
        item => Some(Named::One(network(item, place)?)),
    })?;
    Some(names.joined(found))
}
