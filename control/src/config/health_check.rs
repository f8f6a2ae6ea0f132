//! `[[health_check]]`: how real servers are checked, and how often.

mod kind;

pub(super) use kind::host;
pub use kind::{CheckKind, Dns, Grpc, Http, Record, Tls, Words};

use sluice_dataplane::host::HOST_PORTS;

use super::duration::milliseconds;
use super::names::Name;
use super::place::{Place, optional};
use super::raw::section;
use super::value::{Loose, Several, number, several, word};
use super::{CheckIndex, Config, Pool, Server};
use crate::health::Rules;

section! {
    /// `[[health_check]]`
    pub struct RawHealthCheck {
        /// Its name.
        name: String,
        /// `icmp`, `tcp`, `tls`, `http`, `https`, `dns`, `udp`, `grpc` or `script`.
        r#type: String,
        /// Time between two checks of a server.
        interval: String,
        /// The same while the server is down.
        down_interval: String,
        /// How long a check may take.
        timeout: String,
        /// Checks in a row that bring a server up.
        rise: i64,
        /// Checks in a row that take a server down.
        fall: i64,
        /// By how much the time between two checks varies, in percent.
        jitter: i64,
        /// `up` or `down`: what a server is taken for before its first check.
        initial: String,
        /// The port to check.
        port: i64,
        /// `tcp`, `udp`: what to send; `hex:...` for bytes.
        send: String,
        /// `tcp`, `udp`: what the answer has to contain; `hex:...` for bytes.
        expect: String,
        /// `tls`, `https`, `grpc`: the name to ask for (SNI), and to verify.
        server_name: String,
        /// `tls`, `https`, `grpc`: certificates (PEM) that the server's has to be signed by.
        ca_file: String,
        /// `http`, `https`: `GET`, `HEAD`, `OPTIONS` or `POST`.
        method: String,
        /// `http`, `https`: path and query.
        path: String,
        /// `http`, `https`, `grpc`: the host to name.
        host: String,
        /// `http`, `https`: statuses that are right.
        status: Several,
        /// `http`, `https`: what the body has to contain.
        body: String,
        /// `dns`: the name to ask for.
        query: String,
        /// `dns`: the type of record to ask for.
        record: String,
        /// `dns`: an address that has to be among the answers.
        answer: String,
        /// `grpc`: the service to ask about.
        service: String,
        /// `grpc`: whether to speak TLS.
        tls: bool,
        /// `script`: its name in `system.script_directory`.
        script: String,
        /// `script`: its arguments.
        arguments: Vec<String>,
    }
}

/// How real servers are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Its name.
    pub name: Name,
    /// What is done.
    pub kind: CheckKind,
    /// The port, unless the server says otherwise.
    pub port: Option<u16>,
    /// Milliseconds from the begin of one check to the next.
    pub interval_ms: u32,
    /// The same while the server is down.
    pub down_interval_ms: u32,
    /// Milliseconds that a check may take; less than both.
    pub timeout_ms: u32,
    /// Checks in a row that bring a server up.
    pub rise: u8,
    /// Checks in a row that take it down.
    pub fall: u8,
    /// By how much the time between two checks varies to either side, in percent.
    pub jitter: u8,
    /// A server gets no sessions before its first check.
    pub wait: bool,
}

impl RawHealthCheck {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<HealthCheck> {
        let name = place
            .required("name", &self.name, "\"web\"")
            .and_then(|name| Name::check(name, &place.key("name")));
        let kind = self.kind(place);
        let time = |key, given: &Option<String>, default| {
            let given = given.as_deref();
            let checked = optional(given, |text| milliseconds(text, &place.key(key)));
            checked.map(|given| given.unwrap_or(default))
        };
        let interval = time("interval", &self.interval, 2000);
        let down_interval = time(
            "down_interval",
            &self.down_interval,
            interval.unwrap_or_default(),
        );
        let shortest = interval.zip(down_interval).map(|(a, b)| a.min(b));
        let timeout = time("timeout", &self.timeout, shortest.unwrap_or(1000).min(1000));
        if let Some((shortest, timeout)) = shortest.zip(timeout)
            && timeout > shortest
        {
            place.key("timeout").wrong::<()>(
                format_args!("a check may take {timeout} ms, and the next begins after {shortest}"),
                "write a timeout that is no longer than `interval` and `down_interval`",
            );
        }
        let count = |key, given: Option<i64>, default, limits| {
            number::<u8>(given.unwrap_or(default), limits, &place.key(key))
        };
        let rise = count("rise", self.rise, 2, 1..=100);
        let fall = count("fall", self.fall, 3, 1..=100);
        let jitter = count("jitter", self.jitter, 10, 0..=50);
        let initial = optional(self.initial.as_deref(), |text| {
            word(
                text,
                &[("up", false), ("down", true)],
                &place.key("initial"),
            )
        });
        let port = optional(self.port, |port| {
            number::<u16>(port, 1..=u16::MAX, &place.key("port"))
        });
        Some(HealthCheck {
            name: name?,
            kind: kind?,
            port: port?,
            interval_ms: interval?,
            down_interval_ms: down_interval?,
            timeout_ms: timeout?,
            rise: rise?,
            fall: fall?,
            jitter: jitter?,
            wait: initial?.unwrap_or(false),
        })
    }
}

/// Checks by their names.
pub(super) fn named(value: Option<&Several>, place: &Place<'_>) -> Option<Vec<CheckIndex>> {
    several(value, place, |item, place| match item {
        Loose::Text(name) => place.names().health_check(name, place),
        Loose::Number(_) => place.wrong(
            format_args!("{item} is not a name"),
            "write the name of a [[health_check]]",
        ),
    })
}

impl Config {
    /// The checks of a real server: its own, or its pool's.
    pub fn checks<'a>(&'a self, pool: &'a Pool, server: &'a Server) -> Vec<&'a HealthCheck> {
        let indexes = server.checks.as_ref().unwrap_or(&pool.checks);
        let checks = indexes.iter().map(|index| &self.health_checks[index.0]);
        checks.collect()
    }

    /// What follows from a real server's health.
    pub fn rules(&self, pool: &Pool, server: &Server) -> Rules {
        Rules {
            wait: self.checks(pool, server).iter().any(|check| check.wait),
            on_down: pool.on_down,
        }
    }

    /// The port that a check goes to: what the server says of checks, the check's own, the server's,
    /// and last the one port of all virtual servers that have the pool.
    pub fn check_port(&self, pool: &Pool, server: &Server, check: &HealthCheck) -> Option<u16> {
        let visible = || {
            let mine = |index: usize| {
                self.pools
                    .get(index)
                    .is_some_and(|its| its.name == pool.name)
            };
            let servers = self.virtual_servers.iter().filter(|vs| mine(vs.pool.0));
            let mut ports = servers.map(|vs| vs.ports);
            let first = ports.next()?;
            let one = first.filter(|(from, to)| from == to)?;
            ports.all(|port| port == first).then_some(one.0)
        };
        server
            .check_port
            .or(check.port)
            .or(server.port)
            .or_else(visible)
    }
}

/// Most checks of real servers at once.
pub const MAX_CHECKS: usize = 8192;
/// Of these by `icmp`, and by `udp` and `dns` together: each keeps a port, or an identifier, of those that
/// the host interface has for itself.
pub(super) const MAX_CHECKS_BY_PORT: usize = 4096;
const _: () = assert!(MAX_CHECKS_BY_PORT < (HOST_PORTS.1 - HOST_PORTS.0) as usize);

/// Whatever has checks can be checked.
pub(super) fn cross(config: &Config, top: &Place<'_>) {
    let (mut all, mut pings, mut datagrams) = (0, 0, 0);
    for (at, pool) in config.pools.iter().enumerate() {
        let place = top.key("pool").index(at);
        for (index, server) in pool.servers.iter().enumerate() {
            let checks = config.checks(pool, server);
            all += checks.len();
            for check in checks {
                pings += usize::from(matches!(check.kind, CheckKind::Icmp));
                datagrams +=
                    usize::from(matches!(check.kind, CheckKind::Udp(_) | CheckKind::Dns(_)));
                if check.kind.has_port() && config.check_port(pool, server, check).is_none() {
                    let place = place.key("server").index(index);
                    place.key("port").wrong::<()>(
                        format_args!(
                            "health check {:?} has no port to go to",
                            check.name.as_str()
                        ),
                        "write `port`, or `check_port` for checks alone",
                    );
                }
                if config.host.is_none() {
                    let own = server.checks.is_some();
                    let place = match own {
                        true => place.key("server").index(index),
                        false => place.clone(),
                    };
                    place.key("health_check").wrong::<()>(
                        "health checks speak by the host interface, which is off",
                        "write [host]",
                    );
                    return;
                }
            }
        }
    }
    for (count, what, most) in [
        (all, "", MAX_CHECKS),
        (pings, " by icmp", MAX_CHECKS_BY_PORT),
        (datagrams, " by udp and dns", MAX_CHECKS_BY_PORT),
    ] {
        if count > most {
            top.key("health_check").wrong::<()>(
                format_args!("{count} checks of real servers{what}"),
                format_args!("use {most} at most"),
            );
        }
    }
    for (at, check) in config.health_checks.iter().enumerate() {
        let place = top.key("health_check").index(at);
        if matches!(check.kind, CheckKind::Script { .. })
            && config.system.script_directory.is_none()
        {
            place.key("script").wrong::<()>(
                "scripts are off",
                "write `script_directory` in [system], and restart Sluice",
            );
        }
    }
}
