//! `[log]` and `[[log.syslog]]`: where log lines go, besides standard error.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::names::Name;
use super::place::{Place, optional};
use super::raw::section;
use super::value::word;

/// `[log]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct RawLog {
    /// `[[log.syslog]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub syslog: Vec<RawSyslog>,
}

section! {
    /// `[[log.syslog]]`
    pub struct RawSyslog {
        /// Its name.
        name: String,
        /// Address or host name, and port.
        server: String,
        /// `udp`, `tcp` or `tls`.
        transport: String,
        /// `local0` to `local7`, `daemon` or `user`.
        facility: String,
        /// `error`, `warn`, `info` or `debug`: this and all that is worse.
        level: String,
        /// A file with the certificates (PEM) that the server's must be signed by.
        ca: String,
        /// A file with a certificate (PEM) to show to the server.
        certificate: String,
        /// A file with its key (PEM).
        key: String,
    }
}

/// How many syslog servers there may be.
const MOST: usize = 8;

/// Where log lines go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// Syslog servers.
    pub syslog: Vec<Syslog>,
}

/// A syslog server (RFC 5424).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syslog {
    /// Its name.
    pub name: Name,
    /// Host and port, as the resolver takes them.
    pub server: String,
    /// How it is reached.
    pub transport: Transport,
    /// Facility code (RFC 5424, table 1).
    pub facility: u8,
    /// This level and all that is worse.
    pub level: tracing::Level,
}

/// How a syslog server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// A datagram a message (RFC 5426).
    Udp,
    /// Octet counting (RFC 6587).
    Tcp,
    /// The same under TLS (RFC 5425).
    Tls {
        /// Certificates (PEM) that the server's must be signed by.
        ca: PathBuf,
        /// Certificate and key (PEM) to show.
        identity: Option<(PathBuf, PathBuf)>,
    },
}

impl RawLog {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<Log> {
        let syslog = place.key("syslog");
        if self.syslog.len() > MOST {
            return syslog.wrong(
                format_args!("{} servers", self.syslog.len()),
                format_args!("name {MOST} at most"),
            );
        }
        let servers = syslog.each(&self.syslog, RawSyslog::check)?;
        for (at, server) in servers.iter().enumerate() {
            if servers[..at].iter().any(|other| other.name == server.name) {
                return syslog.index(at).key("name").wrong(
                    format_args!("{:?} is the name of another server", server.name.as_str()),
                    "give each a name of its own",
                );
            }
        }
        Some(Log { syslog: servers })
    }
}

impl RawSyslog {
    fn check(&self, place: &Place<'_>) -> Option<Syslog> {
        let name = place
            .required("name", &self.name, "\"collector\"")
            .and_then(|name| Name::check(name, &place.key("name")));
        let server = place
            .required("server", &self.server, "\"192.0.2.5:6514\"")
            .and_then(|text| server(text, &place.key("server")));
        let kind = optional(self.transport.as_deref(), |text| {
            let words = [("udp", Kind::Udp), ("tcp", Kind::Tcp), ("tls", Kind::Tls)];
            word(text, &words, &place.key("transport"))
        });
        let facility = optional(self.facility.as_deref(), |text| {
            word(text, &FACILITIES, &place.key("facility"))
        });
        let level = optional(self.level.as_deref(), |text| {
            word(text, &LEVELS, &place.key("level"))
        });
        let transport = self.transport(kind?.unwrap_or(Kind::Udp), place);
        Some(Syslog {
            name: name?,
            server: server?,
            transport: transport?,
            facility: facility?.unwrap_or(16),
            level: level?.unwrap_or(tracing::Level::INFO),
        })
    }

    fn transport(&self, kind: Kind, place: &Place<'_>) -> Option<Transport> {
        let files = [
            ("ca", &self.ca),
            ("certificate", &self.certificate),
            ("key", &self.key),
        ];
        match kind {
            Kind::Udp | Kind::Tcp => {
                if let Some((key, _)) = files.iter().find(|(_, file)| file.is_some()) {
                    return place.key(key).wrong(
                        "a certificate, and no TLS",
                        "write transport = \"tls\", or take it out",
                    );
                }
                Some(match kind {
                    Kind::Udp => Transport::Udp,
                    _ => Transport::Tcp,
                })
            }
            Kind::Tls => {
                let ca = place.required("ca", &self.ca, "\"/etc/sluice/syslog-ca.pem\"")?;
                let identity = match (&self.certificate, &self.key) {
                    (None, None) => None,
                    (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
                    _ => {
                        return place.wrong(
                            "a certificate without its key, or a key alone",
                            "write both `certificate` and `key`, or neither",
                        );
                    }
                };
                Some(Transport::Tls {
                    ca: ca.into(),
                    identity,
                })
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Udp,
    Tcp,
    Tls,
}

const LEVELS: [(&str, tracing::Level); 4] = [
    ("error", tracing::Level::ERROR),
    ("warn", tracing::Level::WARN),
    ("info", tracing::Level::INFO),
    ("debug", tracing::Level::DEBUG),
];

const FACILITIES: [(&str, u8); 10] = [
    ("user", 1),
    ("daemon", 3),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

fn server(text: &str, place: &Place<'_>) -> Option<String> {
    let host_and_port = text.rsplit_once(':');
    let port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let host = |host: &str| {
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        match bare {
            Some(bare) => bare.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
                !host.is_empty() && host.len() < 254 && host.chars().all(plain)
            }
        }
    };
    if host_and_port.is_some_and(|(h, p)| host(h) && port(p)) {
        return Some(text.to_owned());
    }
    place.wrong(
        format_args!("{text:?} is not a host with port"),
        "write one like 192.0.2.5:514, [2001:db8::5]:6514 or logs.example.net:6514",
    )
}
