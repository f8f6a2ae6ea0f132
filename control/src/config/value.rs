//! Values that several sections share: numbers, addresses, networks, port ranges, protocols.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use sluice_wire::proto;

use super::place::Place;

/// A number or a text, as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Loose {
    /// `port = 80`
    Number(i64),
    /// `port = "8000-8010"`
    Text(String),
}

impl fmt::Display for Loose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Loose;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a text")
            }

            fn visit_i64<E>(self, number: i64) -> Result<Loose, E> {
                Ok(Loose::Number(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Loose, E> {
                let number = i64::try_from(number);
                number
                    .map(Loose::Number)
                    .map_err(|_| E::custom("a number beyond all limits"))
            }

            fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
                Ok(Loose::Text(text.to_owned()))
            }
        }
        from.deserialize_any(Either)
    }
}

/// One item, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Several {
    /// `ports = 80`
    One(Loose),
    /// `ports = [80, 443]`
    Many(Vec<Loose>),
}

impl<'de> Deserialize<'de> for Several {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Several;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a text or a list of them")
            }

            fn visit_i64<E>(self, number: i64) -> Result<Several, E> {
                Ok(Several::One(Loose::Number(number)))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Several, E> {
                let number = i64::try_from(number);
                let number = number.map_err(|_| E::custom("a number beyond all limits"))?;
                Ok(Several::One(Loose::Number(number)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Several, E> {
                Ok(Several::One(Loose::Text(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Several, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Several::Many(list))
            }
        }
        from.deserialize_any(Either)
    }
}

/// Checks one item or every item of a list; an absent value is an empty list.
pub(super) fn several<T>(
    value: Option<&Several>,
    place: &Place<'_>,
    check: impl Fn(&Loose, &Place<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    match value {
        None => Some(Vec::new()),
        Some(Several::One(item)) => Some(vec![check(item, place)?]),
        Some(Several::Many(items)) => place.each(items, check),
    }
}

/// A whole number within limits.
pub(super) fn number<T>(value: i64, limits: RangeInclusive<T>, place: &Place<'_>) -> Option<T>
where
    T: TryFrom<i64> + PartialOrd + fmt::Display,
{
    match T::try_from(value) {
        Ok(number) if limits.contains(&number) => Some(number),
        _ => place.wrong(
            format_args!("{value} is out of range"),
            format_args!("write a number from {} to {}", limits.start(), limits.end()),
        ),
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)], place: &Place<'_>) -> Option<T> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let known: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
    place.wrong(
        format_args!("{text:?} is unknown"),
        format_args!("write one of {}", known.join(", ")),
    )
}

/// The address of a host: neither unspecified nor loopback, multicast or broadcast.
pub(super) fn address(text: &str, place: &Place<'_>) -> Option<IpAddr> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return place.wrong(
            format_args!("{text:?} is not an IPv4 or IPv6 address"),
            "write one like 10.0.0.1 or 2001:db8::1",
        );
    };
    unicast(address, text, place)
}

/// Refuses addresses that no host can have.
pub(super) fn unicast(address: IpAddr, text: &str, place: &Place<'_>) -> Option<IpAddr> {
    let what = match address {
        a if a.is_unspecified() => "is the unspecified address",
        a if a.is_loopback() => "is a loopback address",
        a if a.is_multicast() => "is a multicast address",
        IpAddr::V4(v4) if v4.is_broadcast() => "is the broadcast address",
        IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.octets()[0] >= 240 => "is a reserved address",
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "is an IPv4-mapped address",
        _ => return Some(address),
    };
    place.wrong(
        format_args!("{text:?} {what}"),
        "write the address of a host",
    )
}

/// A network for rules: `10.0.0.0/8`, or an address alone.
pub(super) fn network(item: &Loose, place: &Place<'_>) -> Option<IpNet> {
    let Loose::Text(text) = item else {
        return place.wrong(
            format_args!("{item} is not a network"),
            "write one like \"10.0.0.0/8\"",
        );
    };
    let parsed = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let Ok(net) = parsed else {
        return place.wrong(
            format_args!("{text:?} is not an IPv4 or IPv6 network"),
            "write one like 10.0.0.0/8, 2001:db8::/32 or 10.0.0.1",
        );
    };
    if net.addr() != net.network() {
        return place.wrong(
            format_args!("{text:?} has bits set beyond its prefix"),
            format_args!("write {} or {}", net.trunc(), net.addr()),
        );
    }
    Some(net)
}

/// First and last, both included.
pub type PortRange = (u16, u16);

/// A port or a range of ports, from `lowest` on.
pub(super) fn ports(item: &Loose, lowest: u16, place: &Place<'_>) -> Option<PortRange> {
    let range = match item {
        Loose::Number(port) => u16::try_from(*port).ok().map(|port| (port, port)),
        Loose::Text(text) => match text.split_once('-') {
            None => text.trim().parse().ok().map(|port| (port, port)),
            Some((first, last)) => first.trim().parse().ok().zip(last.trim().parse().ok()),
        },
    };
    match range {
        Some((first, last)) if first > last => place.wrong(
            format_args!("{item} ends before it begins"),
            format_args!("write \"{last}-{first}\""),
        ),
        Some(range) if range.0 >= lowest => Some(range),
        _ => place.wrong(
            format_args!("{item} is not a port or range of ports"),
            format_args!("write a number from {lowest} to 65535 or a range like \"8000-8010\""),
        ),
    }
}

/// An IP protocol by name or number.
pub(super) fn protocol(item: &Loose, place: &Place<'_>) -> Option<u8> {
    let number = match item {
        Loose::Number(number) => u8::try_from(*number).ok(),
        Loose::Text(text) => KNOWN_PROTOCOLS
            .iter()
            .find(|(name, _)| name == text)
            .map(|&(_, number)| number),
    };
    match number {
        Some(number) => Some(number),
        None => place.wrong(
            format_args!("{item} is not a protocol"),
            "write \"tcp\", \"udp\", \"icmp\", \"icmpv6\", \"sctp\", \"gre\", \"esp\" or a number from 0 to 255",
        ),
    }
}

const KNOWN_PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", proto::ICMP),
    ("tcp", proto::TCP),
    ("udp", proto::UDP),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", proto::ICMPV6),
    ("sctp", 132),
];

/// The name of an IP protocol, or its number.
pub fn protocol_name(number: u8) -> String {
    KNOWN_PROTOCOLS
        .iter()
        .find(|&&(_, known)| known == number)
        .map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

/// The number of an IP protocol, from its name or its digits.
pub fn protocol_number(text: &str) -> Option<u8> {
    KNOWN_PROTOCOLS
        .iter()
        .find(|(name, _)| *name == text)
        .map(|&(_, number)| number)
        .or_else(|| text.parse().ok())
}

/// `IPv4` or `IPv6`.
pub(super) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// Whether protocols of this number have ports.
pub(super) fn has_ports(proto: u8) -> bool {
    matches!(proto, proto::TCP | proto::UDP)
}
