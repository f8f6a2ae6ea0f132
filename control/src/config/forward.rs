//! `[[forward]]`: ports of one of our addresses that lead to a host.

use std::net::{IpAddr, SocketAddr};

use super::names::Name;
use super::place::Place;
use super::raw::section;
use super::snat::NewSource;
use super::timeouts::{RawTimeouts, TimeoutOverrides};
use super::value::{Loose, PortRange, address, family, has_ports, ports, protocol, unicast};

section! {
    /// `[[forward]]`
    pub struct RawForward {
        /// Its name.
        name: String,
        /// External address.
        address: String,
        /// `tcp` or `udp`.
        protocol: Loose,
        /// External port or range of ports.
        port: Loose,
        /// Internal address and first port.
        to: String,
        /// `masquerade` or a SNAT pool: translate the source as well.
        source: String,
        /// Timeouts of its sessions.
        timeouts: RawTimeouts,
    }
}

/// What comes to `address` and `ports` goes to `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// Its name.
    pub name: Name,
    /// External address.
    pub address: IpAddr,
    /// TCP or UDP.
    pub protocol: u8,
    /// External ports.
    pub ports: PortRange,
    /// Internal address, and the port of the first external one; the others follow in step.
    pub to: SocketAddr,
    /// What the source becomes.
    pub source: NewSource,
    /// Timeouts of its sessions.
    pub timeouts: TimeoutOverrides,
}

impl RawForward {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<Forward> {
        let name = place
            .required("name", &self.name, "\"ssh\"")
            .and_then(|name| Name::check(name, &place.key("name")));
        let external = place
            .required("address", &self.address, "\"203.0.113.1\"")
            .and_then(|text| address(text, &place.key("address")));
        let protocol = self.protocol(place);
        let ports = place
            .required("port", &self.port, "8080")
            .and_then(|item| ports(item, 1, &place.key("port")));
        let to = place
            .required("to", &self.to, "\"10.0.0.5:80\"")
            .and_then(|text| target(text, &place.key("to")));
        let source = self.source(&place.key("source"));
        let timeouts = self.timeouts.clone().unwrap_or_default();
        let timeouts = timeouts.overrides(&place.key("timeouts"));
        let (external, ports, to) = (external?, ports?, to?);
        if external.is_ipv4() != to.is_ipv4() {
            return place.key("to").wrong(
                format_args!("{} is {}, {external} is not", to.ip(), family(to.ip())),
                "write two addresses of one family",
            );
        }
        let more = ports.1 - ports.0;
        if to.port().checked_add(more).is_none() {
            return place.key("to").wrong(
                format_args!("{} ports from {} on end beyond 65535", more + 1, to.port()),
                format_args!("write a port up to {}", u16::MAX - more),
            );
        }
        Some(Forward {
            name: name?,
            address: external,
            protocol: protocol?,
            ports,
            to,
            source: source?,
            timeouts: timeouts?,
        })
    }

    fn protocol(&self, place: &Place<'_>) -> Option<u8> {
        let item = place.required("protocol", &self.protocol, "\"tcp\" or \"udp\"")?;
        let place = place.key("protocol");
        match protocol(item, &place)? {
            number if has_ports(number) => Some(number),
            _ => place.wrong(
                format_args!("{item} has no ports to forward"),
                "write \"tcp\" or \"udp\", or use a [[static_nat]]",
            ),
        }
    }

    fn source(&self, place: &Place<'_>) -> Option<NewSource> {
        match self.source.as_deref() {
            None => Some(NewSource::Keep),
            Some("masquerade") => Some(NewSource::Masquerade),
            Some(pool) => place.names().snat_pool(pool, place).map(NewSource::Pool),
        }
    }
}

fn target(text: &str, place: &Place<'_>) -> Option<SocketAddr> {
    match text.parse::<SocketAddr>() {
        Ok(to) if to.port() > 0 => {
            unicast(to.ip(), text, place)?;
            Some(to)
        }
        _ => place.wrong(
            format_args!("{text:?} is not an address with port"),
            "write one like 10.0.0.5:80 or [2001:db8::5]:80",
        ),
    }
}
