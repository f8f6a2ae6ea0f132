//! `[host]`: the way between the data plane and the kernel of the machine.

use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::list::networks;
use super::names::{Name, ZoneIndex};
use super::place::{Place, optional};
use super::raw::section;
use super::value::{Loose, PortRange, Several, has_ports, number, ports, protocol, several};

/// `[host]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct RawHost {
    /// The network namespace of its interfaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Packets of strangers per second and worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strangers_per_second: Option<i64>,
    /// What strangers may open towards the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<RawAllow>,
}

section! {
    /// `[[host.allow]]`
    pub struct RawAllow {
        /// Zone that they come from.
        from: String,
        /// Their networks.
        source: Several,
        /// IP protocol.
        protocol: Loose,
        /// Destination ports.
        ports: Several,
    }
}

/// The host interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The network namespace of its interfaces, by the name that `ip netns` knows it by.
    pub namespace: Name,
    /// Packets of strangers that each worker gives the host per second at most.
    pub strangers_per_second: u32,
    /// What strangers may open towards the host.
    pub allow: Vec<Allow>,
}

/// Something that strangers may open towards the host; what is empty or `None` matches everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// Zone that they come from.
    pub from: Option<ZoneIndex>,
    /// Their networks.
    pub source: Arc<[IpNet]>,
    /// IP protocol.
    pub protocol: Option<u8>,
    /// Destination ports.
    pub ports: Vec<PortRange>,
}

impl RawHost {
    /// `name` is the node's.
    pub(super) fn check(&self, name: &Name, place: &Place<'_>) -> Option<Host> {
        let namespace = optional(self.namespace.as_deref(), |text| {
            Name::check(text, &place.key("namespace"))
        });
        let strangers = number(
            self.strangers_per_second.unwrap_or(1000),
            0..=1_000_000,
            &place.key("strangers_per_second"),
        );
        let allow = place.key("allow").each(&self.allow, RawAllow::check);
        Some(Host {
            namespace: namespace?.unwrap_or_else(|| name.clone()),
            strangers_per_second: strangers?,
            allow: allow?,
        })
    }
}

impl RawAllow {
    fn check(&self, place: &Place<'_>) -> Option<Allow> {
        let from = optional(self.from.as_deref(), |name| {
            place.names().zone(name, &place.key("from"))
        });
        let source = networks(self.source.as_ref(), &place.key("source"));
        let protocol = optional(self.protocol.as_ref(), |item| {
            protocol(item, &place.key("protocol"))
        });
        let ports_place = place.key("ports");
        let ports = several(self.ports.as_ref(), &ports_place, |item, place| {
            ports(item, 0, place)
        });
        let (protocol, ports) = (protocol?, ports?);
        if !ports.is_empty() && !protocol.is_some_and(has_ports) {
            return ports_place.wrong(
                "ports without a protocol that has them",
                "write protocol = \"tcp\" or \"udp\" as well",
            );
        }
        Some(Allow {
            from: from?,
            source: source?,
            protocol,
            ports,
        })
    }
}
