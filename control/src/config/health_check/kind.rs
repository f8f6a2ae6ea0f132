//! What a health check does, and the keys that belong to it.

use std::net::IpAddr;

use super::super::place::{Place, optional};
use super::super::secrets::is_no_mark;
use super::super::value::{Loose, PortRange, address, several, word};
use super::RawHealthCheck;

/// Longest payload to send or expect, in bytes.
const MAX_PAYLOAD: usize = 1024;

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// An echo request is answered.
    Icmp,
    /// A connection is taken, and what it brings is right.
    Tcp(Words),
    /// A TLS handshake succeeds.
    Tls(Tls),
    /// An HTTP request is answered in the right way.
    Http(Http),
    /// A name server knows a name.
    Dns(Dns),
    /// A datagram is answered, and the answer is right.
    Udp(Words),
    /// `grpc.health.v1.Health/Check` answers `SERVING`.
    Grpc(Grpc),
    /// A program of the operator's ends with 0.
    Script {
        /// Its file in `system.script_directory`.
        script: String,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

/// What is sent, and what the answer has to contain; nothing where empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// Bytes to send.
    pub send: Vec<u8>,
    /// Bytes to wait for.
    pub expect: Vec<u8>,
}

/// How TLS is spoken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The name to ask for; the server's address unless given.
    pub server_name: Option<String>,
    /// A file of certificates (PEM) of which one has signed the server's. `None`: any certificate will
    /// do.
    pub ca_file: Option<String>,
}

/// An HTTP request, and what is right for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Under TLS.
    pub tls: Option<Tls>,
    /// The method.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// `Host`; the address and port unless given.
    pub host: Option<String>,
    /// Statuses, first and last.
    pub status: Vec<PortRange>,
    /// Text that the body has to contain.
    pub body: Option<String>,
}

/// A question to a name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// The name.
    pub query: String,
    /// The type of record.
    pub record: Record,
    /// An address that has to be among the answers.
    pub answer: Option<IpAddr>,
}

/// Types of records that can be asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Record {
    /// An IPv4 address.
    #[default]
    A,
    /// An IPv6 address.
    Aaaa,
    /// Another name.
    Cname,
    /// Mail exchangers.
    Mx,
    /// Name servers.
    Ns,
    /// The zone's start.
    Soa,
    /// A text.
    Txt,
}

/// A gRPC health check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grpc {
    /// The service to ask about; the server as a whole if empty.
    pub service: String,
    /// `:authority`; the address and port unless given.
    pub host: Option<String>,
    /// Under TLS.
    pub tls: Option<Tls>,
}

impl CheckKind {
    /// As in the configuration's `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Icmp => "icmp",
            Self::Tcp(_) => "tcp",
            Self::Tls(_) => "tls",
            Self::Http(Http { tls: None, .. }) => "http",
            Self::Http(_) => "https",
            Self::Dns(_) => "dns",
            Self::Udp(_) => "udp",
            Self::Grpc(_) => "grpc",
            Self::Script { .. } => "script",
        }
    }

    /// Whether it needs a port.
    pub fn has_port(&self) -> bool {
        !matches!(self, Self::Icmp | Self::Script { .. })
    }
}

/// Types, and the keys that they have besides those that all have.
const TYPES: &[(&str, &[&str])] = &[
    ("icmp", &[]),
    ("tcp", &["port", "send", "expect"]),
    ("tls", &["port", "server_name", "ca_file"]),
    (
        "http",
        &["port", "method", "path", "host", "status", "body"],
    ),
    (
        "https",
        &[
            "port",
            "method",
            "path",
            "host",
            "status",
            "body",
            "server_name",
            "ca_file",
        ],
    ),
    ("dns", &["port", "query", "record", "answer"]),
    ("udp", &["port", "send", "expect"]),
    (
        "grpc",
        &["port", "service", "host", "tls", "server_name", "ca_file"],
    ),
    ("script", &["port", "script", "arguments"]),
];

impl RawHealthCheck {
    pub(super) fn kind(&self, place: &Place<'_>) -> Option<CheckKind> {
        let given = place.required("type", &self.r#type, "\"http\"")?;
        let words: Vec<_> = TYPES.iter().map(|(name, keys)| (*name, *keys)).collect();
        let keys = word(given, &words, &place.key("type"))?;
        self.only(given, keys, place);
        match given.as_str() {
            "icmp" => Some(CheckKind::Icmp),
            "tcp" => self.words(place).map(CheckKind::Tcp),
            "tls" => self.tls(place).map(CheckKind::Tls),
            "http" => self.http(None, place),
            "https" => self.http(Some(self.tls(place)?), place),
            "dns" => self.dns(place),
            "udp" => self.udp(place),
            "grpc" => self.grpc(place),
            _ => self.script(place),
        }
    }

    /// Reports keys of other types.
    fn only(&self, given: &str, keys: &[&str], place: &Place<'_>) {
        let all = [
            ("port", self.port.is_some()),
            ("send", self.send.is_some()),
            ("expect", self.expect.is_some()),
            ("server_name", self.server_name.is_some()),
            ("ca_file", self.ca_file.is_some()),
            ("method", self.method.is_some()),
            ("path", self.path.is_some()),
            ("host", self.host.is_some()),
            ("status", self.status.is_some()),
            ("body", self.body.is_some()),
            ("query", self.query.is_some()),
            ("record", self.record.is_some()),
            ("answer", self.answer.is_some()),
            ("service", self.service.is_some()),
            ("tls", self.tls.is_some()),
            ("script", self.script.is_some()),
            ("arguments", self.arguments.is_some()),
        ];
        for (key, is_there) in all {
            if is_there && !keys.contains(&key) {
                place.key(key).wrong::<()>(
                    format_args!("a check of type {given:?} has no `{key}`"),
                    "take it out, or write another `type`",
                );
            }
        }
    }

    fn words(&self, place: &Place<'_>) -> Option<Words> {
        let send = self.send.as_deref();
        optional(send, |text| is_no_mark(text, &place.key("send")))?;
        let send = payload(send, &place.key("send"));
        let expect = payload(self.expect.as_deref(), &place.key("expect"));
        Some(Words {
            send: send?,
            expect: expect?,
        })
    }

    fn udp(&self, place: &Place<'_>) -> Option<CheckKind> {
        place.required("send", &self.send, "\"ping\"")?;
        self.words(place).map(CheckKind::Udp)
    }

    fn tls(&self, place: &Place<'_>) -> Option<Tls> {
        let server_name = optional(self.server_name.as_deref(), |text| {
            host(text, &place.key("server_name"))
        });
        let ca_file = optional(self.ca_file.as_deref(), |text| {
            if text.starts_with('/') {
                return Some(text.to_owned());
            }
            place.key("ca_file").wrong(
                format_args!("{text:?} is not a path from the root"),
                "write one like \"/etc/ssl/certs/ca-certificates.crt\"",
            )
        });
        Some(Tls {
            server_name: server_name?,
            ca_file: ca_file?,
        })
    }

    fn http(&self, tls: Option<Tls>, place: &Place<'_>) -> Option<CheckKind> {
        let methods = ["GET", "HEAD", "OPTIONS", "POST"].map(|method| (method, method));
        let method = self.method.as_deref().unwrap_or("GET");
        let method = word(method, &methods, &place.key("method"));
        let path = self.path.as_deref().unwrap_or("/");
        let plain = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain {
            place.key("path").wrong::<()>(
                format_args!("{path:?} is not a path"),
                "begin with '/', and write other characters than letters, digits and marks as %XX",
            );
        }
        let host = optional(self.host.as_deref(), |text| host(text, &place.key("host")));
        let status = several(self.status.as_ref(), &place.key("status"), status);
        if let (Some("HEAD"), Some(_)) = (method, &self.body) {
            return place.key("body").wrong(
                "an answer to HEAD has no body",
                "write method = \"GET\", or take `body` out",
            );
        }
        let status = status?;
        Some(CheckKind::Http(Http {
            tls,
            method: method?,
            path: plain.then(|| path.to_owned())?,
            host: host?,
            status: if status.is_empty() {
                vec![(200, 399)]
            } else {
                status
            },
            body: self.body.clone().filter(|body| !body.is_empty()),
        }))
    }

    fn dns(&self, place: &Place<'_>) -> Option<CheckKind> {
        let query = place.required("query", &self.query, "\"www.example.com\"")?;
        let labels = query.trim_end_matches('.').split('.');
        let good = |label: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            (1..=63).contains(&label.len()) && label.chars().all(plain)
        };
        if query.len() > 253 || !labels.into_iter().all(good) {
            return place.key("query").wrong(
                format_args!("{query:?} is not a name of the DNS"),
                "write one like \"www.example.com\"",
            );
        }
        let words = [
            ("A", Record::A),
            ("AAAA", Record::Aaaa),
            ("CNAME", Record::Cname),
            ("MX", Record::Mx),
            ("NS", Record::Ns),
            ("SOA", Record::Soa),
            ("TXT", Record::Txt),
        ];
        let record = self.record.as_deref().unwrap_or("A");
        let record = word(record, &words, &place.key("record"))?;
        let answer = optional(self.answer.as_deref(), |text| {
            let wanted = address(text, &place.key("answer"))?;
            let fits = match record {
                Record::A => wanted.is_ipv4(),
                Record::Aaaa => wanted.is_ipv6(),
                _ => false,
            };
            if fits {
                return Some(wanted);
            }
            place.key("answer").wrong(
                format_args!("{wanted} is no answer to such a question"),
                "write an IPv4 address for record = \"A\", an IPv6 address for \"AAAA\"",
            )
        });
        Some(CheckKind::Dns(Dns {
            query: query.clone(),
            record,
            answer: answer?,
        }))
    }

    fn grpc(&self, place: &Place<'_>) -> Option<CheckKind> {
        let wants_tls = self.tls.unwrap_or(false);
        if !wants_tls && (self.server_name.is_some() || self.ca_file.is_some()) {
            return place.key("tls").wrong(
                "a name or a certificate for TLS, and no TLS",
                "write tls = true",
            );
        }
        let tls = self.tls(place);
        let host = optional(self.host.as_deref(), |text| host(text, &place.key("host")));
        Some(CheckKind::Grpc(Grpc {
            service: self.service.clone().unwrap_or_default(),
            host: host?,
            tls: wants_tls.then_some(tls?),
        }))
    }

    fn script(&self, place: &Place<'_>) -> Option<CheckKind> {
        let script = place.required("script", &self.script, "\"check-db\"")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if script.starts_with('.') || script.is_empty() || !script.chars().all(plain) {
            return place.key("script").wrong(
                format_args!("{script:?} is not the name of a file"),
                "write the name of a file in `system.script_directory`, without a path",
            );
        }
        let arguments = self.arguments.clone().unwrap_or_default();
        for argument in &arguments {
            is_no_mark(argument, &place.key("arguments"))?;
        }
        if arguments.iter().any(|argument| argument.contains('\0')) {
            return place
                .key("arguments")
                .wrong("an argument with a zero byte", "take it out");
        }
        Some(CheckKind::Script {
            script: script.clone(),
            arguments,
        })
    }
}

/// A text, or bytes as `hex:00ff`.
fn payload(text: Option<&str>, place: &Place<'_>) -> Option<Vec<u8>> {
    let text = text.unwrap_or_default();
    let bytes = match text.strip_prefix("hex:") {
        None => text.as_bytes().to_vec(),
        Some(digits) => {
            let digits: Vec<u8> = digits.bytes().filter(|b| !b" :".contains(b)).collect();
            let byte = |pair: &[u8]| {
                let pair = std::str::from_utf8(pair)
                    .ok()
                    .filter(|pair| pair.len() == 2)?;
                u8::from_str_radix(pair, 16).ok()
            };
            match digits.chunks(2).map(byte).collect() {
                Some(bytes) => bytes,
                None => {
                    return place.wrong(
                        format_args!("{text:?} is not bytes in hexadecimal"),
                        "write two digits for each byte, like \"hex:00ff\"",
                    );
                }
            }
        }
    };
    if bytes.len() > MAX_PAYLOAD {
        return place.wrong(
            format_args!("{} bytes", bytes.len()),
            format_args!("write {MAX_PAYLOAD} at most"),
        );
    }
    Some(bytes)
}

/// A host's name as it stands in a header, with a port perhaps.
pub(crate) fn host(text: &str, place: &Place<'_>) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
    if (1..=255).contains(&text.len()) && text.chars().all(plain) {
        return Some(text.to_owned());
    }
    place.wrong(
        format_args!("{text:?} is not the name of a host"),
        "write one like \"www.example.com\"",
    )
}

/// A status of HTTP, or a range of them.
fn status(item: &Loose, place: &Place<'_>) -> Option<PortRange> {
    let range = match item {
        Loose::Number(status) => u16::try_from(*status).ok().map(|status| (status, status)),
        Loose::Text(text) => match text.split_once('-') {
            None => text.trim().parse().ok().map(|status| (status, status)),
            Some((first, last)) => first.trim().parse().ok().zip(last.trim().parse().ok()),
        },
    };
    match range {
        Some((first, last)) if (100..=599).contains(&first) && (first..=599).contains(&last) => {
            Some((first, last))
        }
        _ => place.wrong(
            format_args!("{item} is not a status of HTTP or a range of them"),
            "write a number from 100 to 599, or a range like \"200-299\"",
        ),
    }
}
