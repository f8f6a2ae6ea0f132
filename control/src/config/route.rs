//! `[[route]]`: static routes.

use std::net::IpAddr;

use ipnet::IpNet;

use super::names::PortIndex;
use super::place::{Place, optional};
use super::raw::section;
use super::value::{Loose, address, family, network};

section! {
    /// `[[route]]`
    pub struct RawRoute {
        /// The destination network.
        to: String,
        /// The router.
        via: String,
        /// The port that it is behind.
        port: String,
    }
}

/// A static route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The destination network.
    pub to: IpNet,
    /// The router; `None` where the network is on the port itself.
    pub via: Option<IpAddr>,
    /// The port, where it is given.
    pub port: Option<PortIndex>,
}

impl RawRoute {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<Route> {
        let to = place
            .required("to", &self.to, "\"0.0.0.0/0\"")
            .and_then(|to| network(&Loose::Text(to.clone()), &place.key("to")));
        let via = optional(self.via.as_deref(), |via| address(via, &place.key("via")));
        let port = optional(self.port.as_deref(), |port| {
            let place = place.key("port");
            place.names().port(port, &place)
        });
        let (to, via, port) = (to?, via?, port?);
        match via {
            None if port.is_none() => {
                return place.wrong(
                    "neither `via` nor `port`",
                    "write via = the router's address",
                );
            }
            Some(via) if via.is_ipv4() != to.addr().is_ipv4() => {
                return place.key("via").wrong(
                    format_args!("{via} is {}, and {to} is not", family(via)),
                    format_args!("write the {} address of the router", family(to.addr())),
                );
            }
            _ => {}
        }
        Some(Route { to, via, port })
    }
}
