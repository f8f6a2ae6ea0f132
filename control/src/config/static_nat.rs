//! `[[static_nat]]`: one address for another.

use std::net::IpAddr;

use super::names::{Name, ZoneIndex};
use super::place::Place;
use super::raw::section;
use super::value::{address, family};

section! {
    /// `[[static_nat]]`
    pub struct RawStaticNat {
        /// Its name.
        name: String,
        /// The address that the world sees.
        external: String,
        /// The address of the host.
        internal: String,
        /// Zones that may open sessions to it.
        open_from: Vec<String>,
    }
}

/// One address for another, all protocols and ports, both ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticNat {
    /// Its name.
    pub name: Name,
    /// The address that the world sees.
    pub external: IpAddr,
    /// The address of the host.
    pub internal: IpAddr,
    /// Zones that may open sessions to it.
    pub open_from: Vec<ZoneIndex>,
}

impl RawStaticNat {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<StaticNat> {
        let name = place
            .required("name", &self.name, "\"mail\"")
            .and_then(|name| Name::check(name, &place.key("name")));
        let external = place
            .required("external", &self.external, "\"203.0.113.20\"")
            .and_then(|text| address(text, &place.key("external")));
        let internal = place
            .required("internal", &self.internal, "\"10.0.0.20\"")
            .and_then(|text| address(text, &place.key("internal")));
        let zones = self.open_from.clone().unwrap_or_default();
        let open_from = place
            .key("open_from")
            .each(&zones, |zone, place| place.names().zone(zone, place));
        let (external, internal) = (external?, internal?);
        if external.is_ipv4() != internal.is_ipv4() {
            return place.key("internal").wrong(
                format_args!("{internal} is {}, {external} is not", family(internal)),
                "write two addresses of one family",
            );
        }
        if external == internal {
            return place.key("internal").wrong(
                format_args!("{internal} twice"),
                "write two different addresses",
            );
        }
        Some(StaticNat {
            name: name?,
            external,
            internal,
            open_from: open_from?,
        })
    }
}
