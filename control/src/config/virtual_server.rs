//! `[[virtual_server]]`: the services that clients see.

use std::net::IpAddr;

use sluice_dataplane::lb::maglev::TableSize;
use sluice_dataplane::snapshot::{LbMode, Persistence};
use sluice_wire::proto;

use super::duration::milliseconds;
use super::ha::Sync;
use super::names::{Name, PoolIndex, SnatPoolIndex};
use super::place::{Place, optional};
use super::raw::section;
use super::redirect::{RawRedirect, Redirect};
use super::snat::clamp_mss;
use super::timeouts::{RawTimeouts, TimeoutOverrides};
use super::value::{Loose, PortRange, address, number, ports, word};

section! {
    /// `[[virtual_server]]`
    pub struct RawVirtualServer {
        /// Its name.
        name: String,
        /// The VIP.
        address: String,
        /// A port, a range of ports, or `any`.
        port: Loose,
        /// `tcp`, `udp` or `any`.
        protocol: String,
        /// The pool of real servers.
        pool: String,
        /// The pool for what that one cannot take.
        backup_pool: String,
        /// The real server for what no pool can take.
        sorry_server: RawSorryServer,
        /// In place of a sorry server: what clients are answered over HTTP that no pool can take.
        redirect: RawRedirect,
        /// `dnat`, `fullnat` or `dsr`.
        mode: String,
        /// How the real server of a new session is chosen.
        scheduler: String,
        /// Slots of the Maglev table.
        maglev_size: i64,
        /// Sessions of one client stay with one real server.
        persistence: RawPersistence,
        /// `fullnat`: the SNAT pool.
        snat_pool: String,
        /// Timeouts of its sessions.
        timeouts: RawTimeouts,
        /// Clamp the MSS of its SYNs to so many bytes.
        clamp_mss: i64,
        /// When the other appliance is told of its sessions: `async` or `none`.
        sync: String,
    }
}

section! {
    /// `persistence = { .. }`
    pub struct RawPersistence {
        /// How long the choice is kept.
        timeout: String,
        /// Bits in which IPv4 clients agree that are one.
        prefix_v4: i64,
        /// The same for IPv6.
        prefix_v6: i64,
    }
}

section! {
    /// `sorry_server = { .. }`
    pub struct RawSorryServer {
        /// Its address.
        address: String,
        /// Its port.
        port: i64,
    }
}

/// The real server that gets what no pool can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SorryServer {
    /// Its address.
    pub address: IpAddr,
    /// Its port; `None` keeps the client's destination port.
    pub port: Option<u16>,
}

/// How the real server of a new session is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduler {
    /// In turn.
    RoundRobin,
    /// In turn, by weight.
    WeightedRoundRobin,
    /// Fewest sessions.
    LeastConnections,
    /// Fewest sessions by weight.
    WeightedLeastConnections,
    /// By the client's address.
    SourceHash,
    /// By the client's address and port, with a table of this size.
    Maglev(TableSize),
}

/// A virtual server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualServer {
    /// Its name.
    pub name: Name,
    /// The VIP.
    pub address: IpAddr,
    /// IP protocol; `None`: all of them, and then `ports` is `None` as well.
    pub protocol: Option<u8>,
    /// Ports; `None`: all of them.
    pub ports: Option<PortRange>,
    /// The pool of real servers.
    pub pool: PoolIndex,
    /// The pool for what that one cannot take.
    pub backup_pool: Option<PoolIndex>,
    /// The real server for what no pool can take.
    pub sorry_server: Option<SorryServer>,
    /// What clients are answered over HTTP that no pool can take; not with a sorry server.
    pub redirect: Option<Redirect>,
    /// What happens to the packets.
    pub mode: LbMode,
    /// How the real server of a new session is chosen.
    pub scheduler: Scheduler,
    /// Sessions of one client stay with one real server.
    pub persistence: Option<Persistence>,
    /// `fullnat`: the SNAT pool; `None`: the egress port's address.
    pub snat_pool: Option<SnatPoolIndex>,
    /// Timeouts of its sessions.
    pub timeouts: TimeoutOverrides,
    /// Clamp the MSS of its SYNs to so many bytes.
    pub clamp_mss: Option<u16>,
    /// When the other appliance is told of its sessions.
    pub sync: Sync,
}

impl RawVirtualServer {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<VirtualServer> {
        let name = place
            .required("name", &self.name, "\"web\"")
            .and_then(|name| Name::check(name, &place.key("name")));
        let vip = place
            .required("address", &self.address, "\"203.0.113.80\"")
            .and_then(|text| address(text, &place.key("address")));
        let protocol = self.protocol(place);
        let ports = self.ports(place);
        let pool = place
            .required("pool", &self.pool, "\"web\"")
            .and_then(|pool| place.names().pool(pool, &place.key("pool")));
        let backup_pool = optional(self.backup_pool.as_deref(), |pool| {
            place.names().pool(pool, &place.key("backup_pool"))
        });
        let sorry_server = optional(self.sorry_server.as_ref(), |sorry| {
            sorry.check(&place.key("sorry_server"))
        });
        let redirect = optional(self.redirect.as_ref(), |redirect| {
            redirect.check((vip, ports.flatten()), &place.key("redirect"))
        });
        let mode = self.mode(place);
        let scheduler = self.scheduler(place);
        let persistence = optional(self.persistence.as_ref(), |persistence| {
            persistence.check(&place.key("persistence"))
        });
        let snat_pool = optional(self.snat_pool.as_deref(), |pool| {
            place.names().snat_pool(pool, &place.key("snat_pool"))
        });
        let timeouts = self.timeouts.clone().unwrap_or_default();
        let timeouts = timeouts.overrides(&place.key("timeouts"));
        let clamp_mss = clamp_mss(self.clamp_mss, place);
        let sync = Sync::of_service(self.sync.as_deref(), place);
        let (protocol, ports, mode) = (protocol?, ports?, mode?);
        if protocol.is_none() && ports.is_some() {
            return place.key("port").wrong(
                "a port, and any protocol",
                "write protocol = \"tcp\" or \"udp\", or port = \"any\"",
            );
        }
        if self.snat_pool.is_some() && mode != LbMode::Fullnat {
            return place.key("snat_pool").wrong(
                "a SNAT pool where the source is not translated",
                "write mode = \"fullnat\", or take `snat_pool` out",
            );
        }
        if self.redirect.is_some() && protocol != Some(proto::TCP) {
            return place.key("redirect").wrong(
                "a redirect, which is by HTTP, and not protocol = \"tcp\"",
                "write protocol = \"tcp\", or take `redirect` out",
            );
        }
        if self.redirect.is_some() && self.sorry_server.is_some() {
            return place.key("redirect").wrong(
                "a redirect and a sorry server, which takes all",
                "take one of them out",
            );
        }
        Some(VirtualServer {
            name: name?,
            address: vip?,
            protocol,
            ports,
            pool: pool?,
            backup_pool: backup_pool?,
            sorry_server: sorry_server?,
            redirect: redirect?,
            mode,
            scheduler: scheduler?,
            persistence: persistence?,
            snat_pool: snat_pool?,
            timeouts: timeouts?,
            clamp_mss: clamp_mss?,
            sync: sync?,
        })
    }

    fn protocol(&self, place: &Place<'_>) -> Option<Option<u8>> {
        let words = [
            ("tcp", Some(proto::TCP)),
            ("udp", Some(proto::UDP)),
            ("any", None),
        ];
        let given = self.protocol.as_deref().unwrap_or("tcp");
        word(given, &words, &place.key("protocol"))
    }

    fn ports(&self, place: &Place<'_>) -> Option<Option<PortRange>> {
        let item = place.required("port", &self.port, "80, \"8000-8010\" or \"any\"")?;
        if *item == Loose::Text("any".to_owned()) {
            return Some(None);
        }
        ports(item, 1, &place.key("port")).map(Some)
    }

    fn mode(&self, place: &Place<'_>) -> Option<LbMode> {
        let words = [
            ("dnat", LbMode::Dnat),
            ("fullnat", LbMode::Fullnat),
            ("dsr", LbMode::Dsr),
        ];
        word(
            self.mode.as_deref().unwrap_or("dnat"),
            &words,
            &place.key("mode"),
        )
    }

    fn scheduler(&self, place: &Place<'_>) -> Option<Scheduler> {
        let size = self.maglev_size(&place.key("maglev_size"))?;
        let words = [
            ("round_robin", Scheduler::RoundRobin),
            ("weighted_round_robin", Scheduler::WeightedRoundRobin),
            ("least_connections", Scheduler::LeastConnections),
            (
                "weighted_least_connections",
                Scheduler::WeightedLeastConnections,
            ),
            ("source_hash", Scheduler::SourceHash),
            ("maglev", Scheduler::Maglev(size)),
        ];
        let given = self.scheduler.as_deref().unwrap_or("weighted_round_robin");
        let scheduler = word(given, &words, &place.key("scheduler"))?;
        if self.maglev_size.is_some() && !matches!(scheduler, Scheduler::Maglev(_)) {
            return place.key("maglev_size").wrong(
                format_args!("a Maglev table, and scheduler = {given:?}"),
                "write scheduler = \"maglev\", or take `maglev_size` out",
            );
        }
        Some(scheduler)
    }

    fn maglev_size(&self, place: &Place<'_>) -> Option<TableSize> {
        let Some(given) = self.maglev_size else {
            return Some(TableSize::DEFAULT);
        };
        let slots = number(given, TableSize::MIN..=TableSize::MAX, place)?;
        match TableSize::new(slots) {
            Ok(size) => Some(size),
            Err(why) => place.wrong(
                format_args!("{slots} is not a prime number"),
                format_args!("write {}", why.nearest),
            ),
        }
    }
}

impl RawSorryServer {
    fn check(&self, place: &Place<'_>) -> Option<SorryServer> {
        let address = place
            .required("address", &self.address, "\"10.0.0.99\"")
            .and_then(|text| address(text, &place.key("address")));
        let port = optional(self.port, |port| {
            number::<u16>(port, 1..=u16::MAX, &place.key("port"))
        });
        Some(SorryServer {
            address: address?,
            port: port?,
        })
    }
}

impl RawPersistence {
    fn check(&self, place: &Place<'_>) -> Option<Persistence> {
        let timeout = place
            .required("timeout", &self.timeout, "\"5m\"")
            .and_then(|text| milliseconds(text, &place.key("timeout")));
        let v4 = number::<u8>(
            self.prefix_v4.unwrap_or(32),
            1..=32,
            &place.key("prefix_v4"),
        );
        let v6 = number::<u8>(
            self.prefix_v6.unwrap_or(64),
            1..=128,
            &place.key("prefix_v6"),
        );
        Some(Persistence {
            prefix_v4: v4?,
            prefix_v6: v6?,
            timeout_ms: timeout?,
        })
    }
}
