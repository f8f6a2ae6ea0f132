//! Profiles, checked: streams, connections and stations, or what is wrong.

use std::net::Ipv4Addr;

use sluice_wire::tcp::flag;
use sluice_wire::{MacAddr, ipv4};

use super::{
    Mix, Port, Profile, ProfileError, RawCheck, RawFlag, RawOrder, RawProtocol, RawScope, RawSize,
    RawStream,
};
use crate::check::Scope;
use crate::flows::{Addresses, Order, Ports, Space};
use crate::station::Station;
use crate::stream::{Check, StreamSpec};
use crate::tcp::TcpSpec;
use crate::tcp::client::Script;
use crate::template::{FCS, L4, LEAST, Protocol};

/// Most data of one segment, for an MTU of 1500.
const MSS: u32 = 1460;
/// Most combinations of addresses and ports that connections are kept for, 16 bytes each.
const MOST_CONNECTIONS: u64 = 1 << 25;

/// The usual simple IMIX: 7 of 64 bytes, 4 of 594, 1 of 1518.
const IMIX: [(u16, u16); 3] = [(64, 7), (594, 4), (1518, 1)];
/// Largest frame, FCS included.
const LARGEST: u16 = 9018;
/// Most flows of a stream.
const MOST_FLOWS: u64 = 1 << 28;

fn wrong<T>(at: impl Into<String>, what: impl Into<String>) -> Result<T, ProfileError> {
    Err(ProfileError::Value {
        at: at.into(),
        what: what.into(),
    })
}

impl Profile {
    /// Reads a profile.
    pub(crate) fn parse(text: &str) -> Result<Self, ProfileError> {
        toml::from_str(text).map_err(|error| ProfileError::Toml(error.to_string().trim().into()))
    }

    /// The place of a port.
    fn port(&self, at: &str, name: &str) -> Result<usize, ProfileError> {
        match self.ports.iter().position(|port| port.name == name) {
            Some(place) => Ok(place),
            None => {
                let names: Vec<_> = self.ports.iter().map(|port| port.name.as_str()).collect();
                wrong(
                    at,
                    format!("there is no port {name:?}; there are: {}", names.join(", ")),
                )
            }
        }
    }

    /// What stands behind the ports, whose MAC addresses are these.
    pub(crate) fn stations(&self, macs: &[MacAddr]) -> Result<Vec<Station>, ProfileError> {
        let station = |(port, mac): (&Port, &MacAddr)| port.station(*mac);
        self.ports.iter().zip(macs).map(station).collect()
    }

    /// The connections, checked.
    pub(crate) fn tcp(&self) -> Result<Option<TcpSpec>, ProfileError> {
        let Some(raw) = &self.tcp else {
            if self.streams.is_empty() {
                return wrong("profile", "needs a [[stream]] or [tcp]");
            }
            return Ok(None);
        };
        if !self.streams.is_empty() || self.search.is_some() {
            return wrong("tcp", "goes neither with a [[stream]] nor with [search]");
        }
        let server = self.port("tcp, server", &raw.server)?;
        let sources = addresses("tcp, source", &raw.source)?;
        let destinations = addresses("tcp, destination", &raw.destination)?;
        let source_ports = ports("tcp, source_ports", &raw.source_ports)?;
        let destination_ports = ports("tcp, destination_ports", &raw.destination_ports)?;
        let most = Space::size(&sources, &destinations, source_ports, destination_ports);
        let flows = raw.flows.map_or(most.min(MOST_CONNECTIONS), u64::from);
        if flows == 0 || flows > most.min(MOST_CONNECTIONS) {
            return wrong(
                "tcp, flows",
                format!(
                    "{flows} are asked for; these addresses and ports make {most}, and \
                     {MOST_CONNECTIONS} are the most"
                ),
            );
        }
        if raw
            .rate
            .is_some_and(|rate| !(rate > 0.0 && rate.is_finite()))
        {
            return wrong(
                "tcp, rate",
                "connections per second, above 0; leave it out for flat out",
            );
        }
        if raw.request > MSS || raw.response > MSS {
            return wrong(
                "tcp, request and response",
                format!("at most {MSS} bytes, a segment"),
            );
        }
        if raw.response > 0 && raw.request == 0 {
            return wrong("tcp, response", "needs a request");
        }
        if raw.concurrent == 0 || !(1..=60_000).contains(&raw.retransmit_ms) {
            return wrong("tcp", "concurrent is 1 or more, retransmit_ms 1 to 60000");
        }
        Ok(Some(TcpSpec {
            client: self.port("tcp, client", &raw.client)?,
            server,
            replies: match &raw.replies_via {
                Some(via) => self.port("tcp, replies_via", via)?,
                None => server,
            },
            space: Space::new(
                sources,
                destinations,
                source_ports,
                destination_ports,
                flows as u32,
            ),
            rate: raw.rate,
            concurrent: raw.concurrent,
            script: Script {
                request: raw.request,
                response: raw.response,
                hold_ms: raw.hold_ms,
                retransmit_ms: raw.retransmit_ms,
                retries: raw.retries,
            },
        }))
    }

    /// The streams, checked.
    pub(crate) fn streams(&self) -> Result<Vec<StreamSpec>, ProfileError> {
        let specs = self
            .streams
            .iter()
            .enumerate()
            .map(|(number, raw)| self.stream(number, raw))
            .collect::<Result<Vec<_>, _>>()?;
        if specs.len() > 256 {
            return wrong("stream", "at most 256");
        }
        for (place, port) in self.ports.iter().enumerate() {
            let here: Vec<_> = specs
                .iter()
                .filter(|spec| spec.to == place || (spec.reflect.is_some() && spec.from == place))
                .collect();
            if here.len() > 1 && here.iter().any(|spec| spec.check == Check::Count) {
                return wrong(
                    format!("port {:?}", port.name),
                    format!(
                        "packets of the streams {} come here and must be told apart; give these \
                         streams check = \"stamp\"",
                        here.iter()
                            .map(|spec| spec.name.as_str())
                            .collect::<Vec<_>>()
                            .join(", ")
                    ),
                );
            }
        }
        Ok(specs)
    }

    fn stream(&self, number: usize, raw: &RawStream) -> Result<StreamSpec, ProfileError> {
        let name = raw
            .name
            .clone()
            .unwrap_or_else(|| format!("stream{number}"));
        let at = |key: &str| format!("stream {name:?}, {key}");
        let from = self.port(&at("from"), &raw.from)?;
        let to = self.port(&at("to"), &raw.to)?;
        let reflect = match &raw.reflect_via {
            Some(via) => Some(self.port(&at("reflect_via"), via)?),
            None => raw.reflect.then_some(to),
        };
        if reflect.is_some() && from == to {
            return wrong(
                at("reflect"),
                "needs two ports, or packets would go round for ever",
            );
        }
        let flags = raw.tcp_flags.as_deref().unwrap_or(&[RawFlag::Syn]);
        let flags = flags.iter().fold(0, |flags, flag| {
            flags
                | match flag {
                    RawFlag::Fin => flag::FIN,
                    RawFlag::Syn => flag::SYN,
                    RawFlag::Rst => flag::RST,
                    RawFlag::Psh => flag::PSH,
                    RawFlag::Ack => flag::ACK,
                }
        });
        let protocol = match raw.protocol {
            RawProtocol::Udp if raw.tcp_flags.is_some() => {
                return wrong(at("tcp_flags"), "only with protocol = \"tcp\"");
            }
            RawProtocol::Udp => Protocol::Udp,
            RawProtocol::Tcp => Protocol::Tcp(flags),
        };
        let check = match raw.check {
            RawCheck::Count if raw.latency => Check::Stamp,
            RawCheck::Count => Check::Count,
            RawCheck::Stamp => Check::Stamp,
            RawCheck::Full => Check::Full,
        };
        let sources = addresses(&at("source"), &raw.source)?;
        let destinations = addresses(&at("destination"), &raw.destination)?;
        let source_ports = ports(&at("source_ports"), &raw.source_ports)?;
        let destination_ports = ports(&at("destination_ports"), &raw.destination_ports)?;
        let most = Space::size(&sources, &destinations, source_ports, destination_ports);
        let flows = raw.flows.map_or(most, u64::from);
        if flows == 0 || flows > most.min(MOST_FLOWS) {
            return wrong(
                at("flows"),
                format!(
                    "{flows} are asked for; these addresses and ports make {most}, and {MOST_FLOWS} are the most"
                ),
            );
        }
        if raw
            .rate
            .is_some_and(|rate| !(rate > 0.0 && rate.is_finite()))
        {
            return wrong(
                at("rate"),
                "packets per second, above 0; leave it out for flat out",
            );
        }
        let flows = flows as u32;
        Ok(StreamSpec {
            from,
            to,
            reflect,
            protocol,
            sizes: sizes(&at("size"), &raw.size, protocol, check)?,
            space: Space::new(
                sources,
                destinations,
                source_ports,
                destination_ports,
                flows,
            ),
            order: match raw.order {
                RawOrder::Sequential => Order::Sequential,
                RawOrder::Random => Order::Random,
            },
            rate: raw.rate,
            check,
            scope: match raw.sequence {
                RawScope::Stream => Scope::Stream,
                RawScope::Flow => Scope::Flow(flows),
            },
            latency: raw.latency,
            name,
        })
    }
}

impl Port {
    fn station(&self, mac: MacAddr) -> Result<Station, ProfileError> {
        let at = |key: &str| format!("port {:?}, {key}", self.name);
        let gateway_mac = match &self.gateway_mac {
            None => None,
            Some(text) => match text.parse() {
                Ok(mac) => Some(mac),
                Err(error) => return wrong(at("gateway_mac"), format!("{error}")),
            },
        };
        if self.gateway.is_some() && self.address.is_none() {
            return wrong(
                at("address"),
                "is needed to ask for the gateway's MAC address",
            );
        }
        Ok(Station {
            name: self.name.clone(),
            mac,
            address: self.address,
            gateway: self.gateway,
            gateway_mac,
            answers: addresses(&at("answers"), &self.answers)?,
            mac_per_address: self.mac_per_address,
        })
    }
}

/// `10.0.0.1`, `10.0.0.1-10.0.0.9` or `10.0.0.0/24` (all of it), one after another.
pub(crate) fn addresses(at: &str, texts: &[String]) -> Result<Addresses, ProfileError> {
    let mut all = Addresses::default();
    for text in texts {
        let range = if let Some((first, last)) = text.split_once('-') {
            first.trim().parse().ok().zip(last.trim().parse().ok())
        } else if let Some((network, length)) = text.split_once('/') {
            let network: Option<Ipv4Addr> = network.parse().ok();
            let length: Option<u32> = length.parse().ok().filter(|length| *length <= 32);
            network.zip(length).map(|(network, length)| {
                let hosts = u32::MAX.checked_shr(length).unwrap_or(0);
                let first = network.to_bits() & !hosts;
                (first.into(), (first | hosts).into())
            })
        } else {
            text.parse().ok().map(|one| (one, one))
        };
        match range {
            Some((first, last)) if first <= last => all.push(first, last),
            _ => {
                return wrong(
                    at,
                    format!("{text:?} is none of 10.0.0.1, 10.0.0.1-10.0.0.9, 10.0.0.0/24"),
                );
            }
        }
    }
    Ok(all)
}

/// `53` or `1024-65535`.
pub(crate) fn ports(at: &str, text: &str) -> Result<Ports, ProfileError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.trim().parse(), last.trim().parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(Ports { first, last }),
        _ => wrong(
            at,
            format!("{text:?} is neither a port, 53, nor a range, 1024-65535"),
        ),
    }
}

/// Sizes in the order in which they are sent, well mixed.
fn sizes(
    at: &str,
    raw: &RawSize,
    protocol: Protocol,
    check: Check,
) -> Result<Vec<u16>, ProfileError> {
    let weighted = match raw {
        RawSize::Fixed(size) => vec![(*size, 1)],
        RawSize::Named(Mix::Imix) => IMIX.to_vec(),
        RawSize::Weighted(list) => list.clone(),
    };
    let total: u32 = weighted.iter().map(|&(_, weight)| u32::from(weight)).sum();
    if !(1..=4096).contains(&total) {
        return wrong(at, "weights add up to 1 to 4096");
    }
    let least = match check {
        Check::Count => LEAST + FCS,
        _ => (LEAST + FCS).max(FCS + L4 + protocol.header_len() + crate::stamp::LEN),
    };
    for &(size, _) in &weighted {
        if size > LARGEST || usize::from(size) < least {
            return wrong(
                at,
                format!(
                    "{size} bytes: frames of this stream have {least} to {LARGEST} (FCS included{})",
                    if check == Check::Count {
                        ""
                    } else {
                        ", room for the stamp too"
                    }
                ),
            );
        }
    }
    // The one furthest behind its share is next.
    let mut credit = vec![0_i64; weighted.len()];
    let mut mixed = Vec::new();
    for _ in 0..total {
        for (credit, &(_, weight)) in credit.iter_mut().zip(&weighted) {
            *credit += i64::from(weight);
        }
        let next =
            (0..weighted.len()).max_by_key(|&place| (credit[place], std::cmp::Reverse(place)));
        if let Some(next) = next {
            credit[next] -= i64::from(total);
            mixed.push(weighted[next].0);
        }
    }
    Ok(mixed)
}

/// The MTU that the largest frame of these streams needs.
pub(crate) fn mtu(specs: &[StreamSpec]) -> u16 {
    let largest = specs.iter().flat_map(|spec| &spec.sizes).max();
    let header_and_fcs = (IP_AT + FCS) as u16;
    largest.map_or(1500, |size| size.saturating_sub(header_and_fcs).max(1500))
}

const IP_AT: usize = L4 - ipv4::MIN_LEN;
