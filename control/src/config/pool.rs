//! `[[pool]]` and `[[pool.server]]`: real servers.

use std::net::IpAddr;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use sluice_dataplane::snapshot::{ServerState, SessionLimits};

use super::duration;
use super::health_check::{host, named};
use super::names::{CheckIndex, Name};
use super::passive::RawPassive;
use super::place::{Place, optional};
use super::raw::section;
use super::value::{self, Several, address, family, number, word};
use crate::health::{OnDown, Passive};

/// `[[pool]]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct RawPool {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The checks of its servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<Several>,
    /// `keep` or `end`: the sessions of a server that checks found down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_down: Option<String>,
    /// Servers that should be available in the priority groups in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_up: Option<i64>,
    /// Connections that servers do not answer, or refuse, take them out for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passive: Option<RawPassive>,
    /// How long a server that comes or comes back takes to its share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<String>,
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
        /// Its checks, instead of the pool's.
        health_check: Several,
        /// The address that is checked.
        check_address: String,
        /// The port that is checked.
        check_port: i64,
        /// The host that checks by HTTP and gRPC name, and the name that TLS asks for.
        check_host: String,
        /// Its priority group.
        priority: i64,
        /// Sessions that it has at most.
        max_sessions: i64,
        /// Sessions that it gets per second at most.
        max_sessions_per_second: i64,
    }
}

/// Real servers that share work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: Name,
    /// The checks of its servers.
    pub checks: Vec<CheckIndex>,
    /// What becomes of the sessions of a server that checks found down.
    pub on_down: OnDown,
    /// All of one family, all different. May be empty.
    pub servers: Vec<Server>,
    /// As long as fewer servers of the higher priority groups take sessions, the next group joins.
    pub min_up: usize,
    /// What of their connections takes servers out, if that is asked for.
    pub passive: Option<Passive>,
    /// How long a server that comes or comes back takes to its share, in milliseconds; 0 for none.
    pub slow_start_ms: u32,
}

impl Pool {
    /// What one of its servers is called everywhere.
    pub fn full_name(&self, server: &Server) -> String {
        format!("{}/{}", self.name, server.name)
    }

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
    /// Its checks, where they are not its pool's.
    pub checks: Option<Vec<CheckIndex>>,
    /// The address that is checked, where it is not its own.
    pub check_address: Option<IpAddr>,
    /// The port that is checked, whatever the check says.
    pub check_port: Option<u16>,
    /// The host that checks name, whatever they say.
    pub check_host: Option<String>,
    /// Its priority group; the highest goes first.
    pub priority: u8,
    /// How many sessions it takes, of all virtual servers.
    pub limits: SessionLimits,
}

/// Most real servers of one pool.
pub(super) const MAX_SERVERS: usize = 1024;

/// Largest `max_sessions`: more than any table of sessions holds.
const MAX_SESSIONS: u32 = 1 << 30;
/// Largest `max_sessions_per_second`: workers count them in twenty bits.
const MAX_PER_SECOND: u32 = 1_000_000;

impl RawPool {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<Pool> {
        let name = place
            .required("name", &self.name, "\"web\"")
            .and_then(|name| Name::check(name, &place.key("name")));
        let checks = named(self.health_check.as_ref(), &place.key("health_check"));
        let on_down = optional(self.on_down.as_deref(), |text| {
            let words = [("keep", OnDown::Keep), ("end", OnDown::End)];
            word(text, &words, &place.key("on_down"))
        });
        let list = place.key("server");
        if self.server.len() > MAX_SERVERS {
            return list.wrong(
                format_args!("{} servers", self.server.len()),
                format_args!("write up to {MAX_SERVERS}"),
            );
        }
        let min_up = optional(self.min_up, |min_up| {
            number::<usize>(min_up, 1..=MAX_SERVERS, &place.key("min_up"))
        });
        let passive = optional(self.passive.as_ref(), |passive| {
            passive.check(&place.key("passive"))
        });
        let slow_start = optional(self.slow_start.as_deref(), |text| {
            duration::milliseconds(text, &place.key("slow_start"))
        });
        let servers = list.each(&self.server, RawServer::check)?;
        let one_group = servers.iter().all(|it| it.priority == servers[0].priority);
        if self.min_up.is_some() && one_group {
            return place.key("min_up").wrong(
                "all servers are in one priority group",
                "give some a `priority` above the others', or take `min_up` out",
            );
        }
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
            checks: checks?,
            on_down: on_down?.unwrap_or_default(),
            servers,
            min_up: min_up?.unwrap_or(1),
            passive: passive?,
            slow_start_ms: slow_start?.unwrap_or(0),
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
        let checks = optional(self.health_check.as_ref(), |checks| {
            named(Some(checks), &place.key("health_check"))
        });
        let check_address = optional(self.check_address.as_deref(), |text| {
            value::address(text, &place.key("check_address"))
        });
        let check_port = optional(self.check_port, |port| {
            number::<u16>(port, 1..=u16::MAX, &place.key("check_port"))
        });
        let check_host = optional(self.check_host.as_deref(), |text| {
            host(text, &place.key("check_host"))
        });
        let priority = number::<u8>(
            self.priority.unwrap_or(0),
            0..=u8::MAX,
            &place.key("priority"),
        );
        let most = |key: &str, given: Option<i64>, limit: u32| {
            let given = optional(given, |given| number(given, 1..=limit, &place.key(key)))?;
            Some(given.and_then(NonZeroU32::new))
        };
        let open = most("max_sessions", self.max_sessions, MAX_SESSIONS);
        let per_second = most(
            "max_sessions_per_second",
            self.max_sessions_per_second,
            MAX_PER_SECOND,
        );
        Some(Server {
            checks: checks?,
            check_address: check_address?,
            check_port: check_port?,
            check_host: check_host?,
            name: name?,
            address: address?,
            port: port?,
            weight: weight?,
            state: state?.unwrap_or(ServerState::Up),
            priority: priority?,
            limits: SessionLimits {
                open: open?,
                per_second: per_second?,
            },
        })
    }
}
