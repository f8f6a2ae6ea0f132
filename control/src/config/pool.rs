//! `[[pool]]` and `[[pool.server]]`: real servers.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sluice_dataplane::snapshot::ServerState;

use super::names::Name;
use super::place::{Place, optional};
use super::raw::section;
use super::value::{address, family, number, word};

/// `[[pool]]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct RawPool {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `[[pool.server]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub server: Vec<RawServer>,
}

section! {
    /// `[[pool.server]]`
    pub struct RawServer {
        /// Its name.
        name: String,
        /// Its address.
        address: String,
        /// Its port.
        port: i64,
        /// Its share.
        weight: i64,
        /// `up`, `draining` or `down`.
        state: String,
    }
}

/// Real servers that share work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: Name,
    /// All of one family, all different. May be empty.
    pub servers: Vec<Server>,
}

impl Pool {
    /// The family of its servers, as an example of their addresses.
    pub fn family(&self) -> Option<IpAddr> {
        self.servers.first().map(|server| server.address)
    }
}

/// A real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub name: Name,
    /// Its address.
    pub address: IpAddr,
    /// Its port; `None` keeps the client's destination port.
    pub port: Option<u16>,
    /// Its share; 0 takes no new sessions.
    pub weight: u16,
    /// Whether it takes sessions.
    pub state: ServerState,
}

/// Most real servers of one pool.
pub(super) const MAX_SERVERS: usize = 1024;

impl RawPool {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<Pool> {
        let name = place
            .required("name", &self.name, "\"web\"")
            .and_then(|name| Name::check(name, &place.key("name")));
        let list = place.key("server");
        if self.server.len() > MAX_SERVERS {
            return list.wrong(
                format_args!("{} servers", self.server.len()),
                format_args!("write up to {MAX_SERVERS}"),
            );
        }
        let servers = list.each(&self.server, RawServer::check)?;
        for (index, server) in servers.iter().enumerate() {
            let place = list.index(index);
            let first = &servers[0];
            if first.address.is_ipv4() != server.address.is_ipv4() {
                return place.key("address").wrong(
                    format_args!(
                        "{} is {}, {:?} is not",
                        server.address,
                        family(server.address),
                        first.name.as_str()
                    ),
                    "make a pool for each family",
                );
            }
            for other in &servers[..index] {
                if other.name == server.name {
                    return place.key("name").wrong(
                        format_args!("two servers {:?}", server.name.as_str()),
                        "give each a name of its own",
                    );
                }
                if (other.address, other.port) == (server.address, server.port) {
                    return place.key("address").wrong(
                        format_args!("the same address and port as {:?}", other.name.as_str()),
                        "take one of them out, and give the other more weight",
                    );
                }
            }
        }
        Some(Pool {
            name: name?,
            servers,
        })
    }
}

impl RawServer {
    fn check(&self, place: &Place<'_>) -> Option<Server> {
        let name = place
            .required("name", &self.name, "\"web1\"")
            .and_then(|name| Name::check(name, &place.key("name")));
        let address = place
            .required("address", &self.address, "\"10.0.0.11\"")
            .and_then(|text| address(text, &place.key("address")));
        let port = optional(self.port, |port| {
            number::<u16>(port, 1..=u16::MAX, &place.key("port"))
        });
        let weight = number::<u16>(self.weight.unwrap_or(1), 0..=1000, &place.key("weight"));
        let state = optional(self.state.as_deref(), |text| {
            let words = [
                ("up", ServerState::Up),
                ("draining", ServerState::Draining),
                ("down", ServerState::Down),
            ];
            word(text, &words, &place.key("state"))
        });
        Some(Server {
            name: name?,
            address: address?,
            port: port?,
            weight: weight?,
            state: state?.unwrap_or(ServerState::Up),
        })
    }
}
