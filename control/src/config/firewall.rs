//! `[firewall]` and `[[firewall.rule]]`: who may open a session to whom.

use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::list::networks;
use super::names::{Name, ZoneIndex};
use super::place::{Place, optional};
use super::raw::section;
use super::timeouts::{RawTimeouts, TimeoutOverrides};
use super::value::{Loose, PortRange, Several, has_ports, ports, protocol, several, word};

/// `[firewall]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct RawFirewall {
    /// Pairs of zones between which any session may be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Vec<RawOpen>>,
    /// `[[firewall.rule]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rule: Vec<RawRule>,
}

section! {
    /// `{ from = "inside", to = "outside" }`
    pub struct RawOpen {
        /// Zone of the opener.
        from: String,
        /// Zone of the other side.
        to: String,
    }
}

section! {
    /// `[[firewall.rule]]`
    pub struct RawRule {
        /// Its name.
        name: String,
        /// Zone of the opener.
        from: String,
        /// Zone of the other side.
        to: String,
        /// Networks of the source.
        source: Several,
        /// Networks of the destination, before translation.
        destination: Several,
        /// IP protocol.
        protocol: Loose,
        /// Destination ports.
        ports: Several,
        /// `allow` or `deny`.
        action: String,
        /// Timeouts of the sessions that it lets through.
        timeouts: RawTimeouts,
    }
}

/// Who may open a session to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firewall {
    /// First match first.
    pub rules: Vec<Rule>,
    /// Pairs (from, to) between which any session may be opened where no rule matches.
    pub open: Vec<(ZoneIndex, ZoneIndex)>,
}

/// A firewall rule; what is empty or `None` matches everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: Name,
    /// Zone of the opener.
    pub from: Option<ZoneIndex>,
    /// Zone of the other side.
    pub to: Option<ZoneIndex>,
    /// Networks of the source.
    pub source: Arc<[IpNet]>,
    /// Networks of the destination, before translation.
    pub destination: Arc<[IpNet]>,
    /// IP protocol.
    pub protocol: Option<u8>,
    /// Destination ports.
    pub ports: Vec<PortRange>,
    /// Let it through, or drop it.
    pub allow: bool,
    /// Timeouts of the sessions that it lets through.
    pub timeouts: TimeoutOverrides,
}

impl RawFirewall {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<Firewall> {
        let rules = place.key("rule").each(&self.rule, RawRule::check);
        let open = match &self.open {
            Some(open) => place.key("open").each(open, RawOpen::check),
            None => Some(inside_to_outside(place)),
        };
        Some(Firewall {
            rules: rules?,
            open: open?,
        })
    }
}

fn inside_to_outside(place: &Place<'_>) -> Vec<(ZoneIndex, ZoneIndex)> {
    let zone = |name| {
        let zones = &place.names().zones;
        zones.iter().position(|zone| zone == name).map(ZoneIndex)
    };
    zone("inside").zip(zone("outside")).into_iter().collect()
}

impl RawOpen {
    fn check(&self, place: &Place<'_>) -> Option<(ZoneIndex, ZoneIndex)> {
        let zone = |key, value: &Option<String>, example| {
            let name = place.required(key, value, example)?;
            place.names().zone(name, &place.key(key))
        };
        let from = zone("from", &self.from, "\"inside\"");
        let to = zone("to", &self.to, "\"outside\"");
        Some((from?, to?))
    }
}

impl RawRule {
    fn check(&self, place: &Place<'_>) -> Option<Rule> {
        let name = place
            .required("name", &self.name, "\"allow-ssh\"")
            .and_then(|name| Name::check(name, &place.key("name")));
        let zone = |key, value: &Option<String>| {
            optional(value.as_deref(), |name| {
                place.names().zone(name, &place.key(key))
            })
        };
        let (from, to) = (zone("from", &self.from), zone("to", &self.to));
        let source = networks(self.source.as_ref(), &place.key("source"));
        let destination = networks(self.destination.as_ref(), &place.key("destination"));
        let protocol = optional(self.protocol.as_ref(), |item| {
            protocol(item, &place.key("protocol"))
        });
        let ports_place = place.key("ports");
        let ports = several(self.ports.as_ref(), &ports_place, |item, place| {
            ports(item, 0, place)
        });
        let allow = place
            .required("action", &self.action, "\"allow\" or \"deny\"")
            .and_then(|text| {
                word(
                    text,
                    &[("allow", true), ("deny", false)],
                    &place.key("action"),
                )
            });
        let timeouts = self.timeouts.clone().unwrap_or_default();
        let timeouts = timeouts.overrides(&place.key("timeouts"));
        let (protocol, ports) = (protocol?, ports?);
        if !ports.is_empty() && !protocol.is_some_and(has_ports) {
            return ports_place.wrong(
                "ports without a protocol that has them",
                "write protocol = \"tcp\" or \"udp\" as well",
            );
        }
        Some(Rule {
            name: name?,
            from: from?,
            to: to?,
            source: source?,
            destination: destination?,
            protocol,
            ports,
            allow: allow?,
            timeouts: timeouts?,
        })
    }
}
