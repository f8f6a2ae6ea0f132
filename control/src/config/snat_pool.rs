//! `[[snat_pool]]`: addresses and ports to translate sources to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use sluice_dataplane::nat::rules::{Filtering, Mapping};

use super::names::Name;
use super::place::{Place, optional};
use super::raw::section;
use super::value::{Loose, PortRange, family, ports, unicast, word};

section! {
    /// `[[snat_pool]]`
    pub struct RawSnatPool {
        /// Its name.
        name: String,
        /// Addresses, ranges and networks.
        addresses: Vec<String>,
        /// First and last port.
        ports: Loose,
        /// `endpoint_dependent` or `endpoint_independent`.
        mapping: String,
        /// `endpoint_dependent`, `address_dependent` or `endpoint_independent`.
        filtering: String,
        /// Keep even ports even and odd ports odd.
        parity: bool,
    }
}

/// Most addresses of one pool.
pub(super) const MAX_ADDRESSES: usize = 4096;
/// Fewest ports of one pool: below, hardly any destination is left one that fits its worker.
pub(super) const MIN_PORTS: u16 = 64;

/// Addresses and ports to translate sources to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnatPool {
    /// Its name.
    pub name: Name,
    /// All of one family, all different, at least one.
    pub addresses: Vec<IpAddr>,
    /// First and last port.
    pub ports: PortRange,
    /// RFC 4787 section 4.1.
    pub mapping: Mapping,
    /// RFC 4787 section 5.
    pub filtering: Filtering,
    /// Keep even ports even and odd ports odd.
    pub parity: bool,
}

impl RawSnatPool {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<SnatPool> {
        let name = place
            .required("name", &self.name, "\"internet\"")
            .and_then(|name| Name::check(name, &place.key("name")));
        let addresses = place
            .required(
                "addresses",
                &self.addresses,
                "[\"203.0.113.10-203.0.113.12\"]",
            )
            .and_then(|given| addresses(given, &place.key("addresses")));
        let ports = self.ports(&place.key("ports"));
        let mapping = optional(self.mapping.as_deref(), |text| {
            let words = [
                ("endpoint_dependent", Mapping::EndpointDependent),
                ("endpoint_independent", Mapping::EndpointIndependent),
            ];
            word(text, &words, &place.key("mapping"))
        });
        let filtering = optional(self.filtering.as_deref(), |text| {
            let words = [
                ("endpoint_dependent", Filtering::EndpointDependent),
                ("address_dependent", Filtering::AddressDependent),
                ("endpoint_independent", Filtering::EndpointIndependent),
            ];
            word(text, &words, &place.key("filtering"))
        });
        let (mapping, filtering) = (mapping?.unwrap_or_default(), filtering?.unwrap_or_default());
        if mapping == Mapping::EndpointDependent && filtering != Filtering::EndpointDependent {
            return place.key("filtering").wrong(
                "only endpoint-independent mappings have something to filter",
                "write mapping = \"endpoint_independent\" as well, or take `filtering` out",
            );
        }
        Some(SnatPool {
            name: name?,
            addresses: addresses?,
            ports: ports?,
            mapping,
            filtering,
            parity: self.parity.unwrap_or(false),
        })
    }

    fn ports(&self, place: &Place<'_>) -> Option<PortRange> {
        let Some(given) = &self.ports else {
            return Some((1024, u16::MAX));
        };
        let (first, last) = ports(given, 1, place)?;
        if last - first < MIN_PORTS - 1 {
            return place.wrong(
                format_args!("{given} is too small a range"),
                format_args!("write {MIN_PORTS} ports or more, like \"1024-65535\""),
            );
        }
        Some((first, last))
    }
}

fn addresses(given: &[String], place: &Place<'_>) -> Option<Vec<IpAddr>> {
    if given.is_empty() {
        return place.wrong("no address", "write one at least, like \"203.0.113.10\"");
    }
    let ranges = place.each(given, |text, place| range(text, place))?;
    let mut all: Vec<IpAddr> = Vec::new();
    for (index, range) in ranges.into_iter().enumerate() {
        for address in range {
            let place = place.index(index);
            if let Some(first) = all.first()
                && first.is_ipv4() != address.is_ipv4()
            {
                return place.wrong(
                    format_args!(
                        "{} in a pool of {} addresses",
                        family(address),
                        family(*first)
                    ),
                    "make a pool for each family",
                );
            }
            if all.contains(&address) {
                return place.wrong(format_args!("{address} is there twice"), "take it out once");
            }
            if all.len() == MAX_ADDRESSES {
                return place.wrong(
                    format_args!("more than {MAX_ADDRESSES} addresses"),
                    "make more than one pool",
                );
            }
            all.push(address);
        }
    }
    Some(all)
}

/// `a`, `a-b` or `a/prefix`: its addresses, one more than allowed at most.
pub(super) fn range(text: &str, place: &Place<'_>) -> Option<Vec<IpAddr>> {
    let ends = if let Some((first, last)) = text.split_once('-') {
        first.trim().parse().ok().zip(last.trim().parse().ok())
    } else if let Ok(net) = text.parse::<IpNet>() {
        Some((net.network(), net.broadcast()))
    } else {
        text.parse().ok().map(|address| (address, address))
    };
    let Some((first, last)) = ends else {
        return place.wrong(
            format_args!("{text:?} is not an address, range or network"),
            "write one like 203.0.113.10, 203.0.113.10-203.0.113.12 or 203.0.113.16/28",
        );
    };
    let span: Option<Vec<IpAddr>> = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => Some(
            (first.to_bits()..=last.to_bits())
                .take(MAX_ADDRESSES + 1)
                .map(|bits| Ipv4Addr::from_bits(bits).into())
                .collect(),
        ),
        (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => Some(
            (first.to_bits()..=last.to_bits())
                .take(MAX_ADDRESSES + 1)
                .map(|bits| Ipv6Addr::from_bits(bits).into())
                .collect(),
        ),
        _ => None,
    };
    let Some(span) = span else {
        return place.wrong(
            format_args!("{text:?} does not run from a lower address to a higher one"),
            "write the lower one first, both of one family",
        );
    };
    unicast(first, text, place)?;
    unicast(last, text, place)?;
    Some(span)
}
