//! ICMP errors of our own: when they may be sent, how often, and what they say.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use sluice_wire::parse::{Kind, Parsed};
use sluice_wire::proto::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use sluice_wire::{Family, V4, V6, icmp4, icmp6, ipv4, ipv6};

use crate::io::Frame;
use crate::snapshot::Port;
use crate::stack::{TTL, ether};

#[cfg(test)]
mod tests;

/// What went wrong with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// TTL or hop limit used up.
    TtlExceeded,
    /// No route.
    NoRoute,
    /// The next hop did not answer.
    HostUnreachable,
    /// Nothing listens on that port.
    PortUnreachable,
    /// Forbidden by policy.
    Prohibited,
    /// Larger than this, which is what the next link takes, in bytes.
    TooBig(u16),
    /// The rest of the datagram did not come in time.
    ReassemblyTimeExceeded,
}

/// Longest IPv4 error, bytes (RFC 1812 section 4.3.2.3).
const LONGEST_V4: usize = 576;
/// Longest IPv6 error, bytes: the least MTU (RFC 4443 section 2.4 (c)).
const LONGEST_V6: usize = 1280;
/// "Internetwork control" (RFC 1812 section 4.3.2.5).
const PRECEDENCE: u8 = 0xc0;

/// Makes `out`, an empty frame, an error about a packet, to be sent out by the port that the packet
/// came in by, to the station that sent it.
///
/// `frame` is the frame as it was received, and `parsed` what was found in it. False if no error may
/// be sent about it (RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 (e)), or if the port has no
/// address to send one from. Whether the rate allows it is the caller's business: ask
/// [`may_answer`], then [`RateLimit`], then for a frame.
pub fn error<F: Frame>(
    error: Error,
    frame: &[u8],
    parsed: &Parsed,
    port: &Port,
    out: &mut F,
) -> bool {
    if !may_answer(error, frame, parsed, port) {
        return false;
    }
    let built = if parsed.v6 {
        error_v6(error, frame, parsed, port, out)
    } else {
        error_v4(error, frame, parsed, port, out)
    };
    built.is_some()
}

/// Whether an error may be sent about a packet.
pub fn may_answer(error: Error, frame: &[u8], parsed: &Parsed, port: &Port) -> bool {
    // Parsing has refused sources that are no single host: multicast, broadcast, loopback, none.
    let later_fragment = parsed.kind == Kind::FragmentRest && !parsed.v6;
    let silent = matches!(
        parsed.kind,
        Kind::IcmpError | Kind::NeighbourDiscovery | Kind::MulticastListener | Kind::Arp
    );
    if later_fragment || silent || ether::sender(frame).is_none() {
        return false;
    }
    let (src, dst) = addresses(frame, parsed);
    let ours = port.addresses.iter().any(|own| own.addr() == src);
    let group_mac = frame.first().is_none_or(|first| first & 1 != 0);
    // Multicast senders need "packet too big" (RFC 4443 section 2.4 (e.3)).
    let to_group = (group_mac || dst.is_multicast() || is_broadcast(port, dst))
        && !(parsed.v6 && matches!(error, Error::TooBig(_)));
    // RFC 1812 section 4.3.2.7: a source that is the broadcast address of our network is no host.
    !ours && !to_group && !is_broadcast(port, src)
}

fn is_broadcast(port: &Port, address: IpAddr) -> bool {
    let IpAddr::V4(address) = address else {
        return false;
    };
    address == Ipv4Addr::BROADCAST
        || port.addresses.iter().any(|own| match own {
            IpNet::V4(net) if net.prefix_len() < 31 => {
                address == net.broadcast() || address == net.network()
            }
            _ => false,
        })
}

fn addresses(frame: &[u8], parsed: &Parsed) -> (IpAddr, IpAddr) {
    if parsed.v6 {
        V6::unpack(parsed.key_v6(frame, 0).addrs)
    } else {
        V4::unpack(parsed.key_v4(frame, 0).addrs)
    }
}

fn error_v4<F: Frame>(
    error: Error,
    frame: &[u8],
    parsed: &Parsed,
    port: &Port,
    out: &mut F,
) -> Option<()> {
    let (to, _) = addresses(frame, parsed);
    let from = port.source_for(to)?;
    let header = match error {
        Error::TtlExceeded => icmp4::Error::TtlExceeded,
        Error::NoRoute => icmp4::Error::Unreachable(icmp4::unreachable::NET),
        Error::HostUnreachable => icmp4::Error::Unreachable(icmp4::unreachable::HOST),
        Error::PortUnreachable => icmp4::Error::Unreachable(icmp4::unreachable::PORT),
        Error::Prohibited => icmp4::Error::Unreachable(icmp4::unreachable::PROHIBITED),
        Error::TooBig(mtu) => icmp4::Error::FragmentationNeeded(mtu),
        Error::ReassemblyTimeExceeded => icmp4::Error::ReassemblyTimeExceeded,
    }
    .header();
    let head = ipv4::MIN_LEN + icmp4::HEADER_LEN;
    let about = parsed.packet(frame);
    let about = about.get(..LONGEST_V4 - head).unwrap_or(about);
    let len = head + about.len();
    let ip = ipv4::Build {
        total_len: len as u16,
        tos: PRECEDENCE,
        id: 0,
        // Whole and not to be fragmented: its identification means nothing (RFC 6864).
        fragment: ipv4::DONT_FRAGMENT,
        ttl: TTL,
        proto: proto::ICMP,
        addrs: V4::pack(from, to),
    };
    let packet = ether::compose(out, port, ether::sender(frame)?, ETHERTYPE_IPV4, len)?;
    let (ip_header, message) = packet.split_first_chunk_mut()?;
    *ip_header = ip.bytes();
    fill(message, header, about)?;
    icmp4::seal(message);
    Some(())
}

fn error_v6<F: Frame>(
    error: Error,
    frame: &[u8],
    parsed: &Parsed,
    port: &Port,
    out: &mut F,
) -> Option<()> {
    let (to, _) = addresses(frame, parsed);
    let from = port.source_for(to)?;
    let header = match error {
        Error::TtlExceeded => icmp6::Error::HopLimitExceeded,
        Error::NoRoute => icmp6::Error::Unreachable(icmp6::unreachable::NO_ROUTE),
        Error::HostUnreachable => icmp6::Error::Unreachable(icmp6::unreachable::ADDRESS),
        Error::PortUnreachable => icmp6::Error::Unreachable(icmp6::unreachable::PORT),
        Error::Prohibited => icmp6::Error::Unreachable(icmp6::unreachable::PROHIBITED),
        Error::TooBig(mtu) => icmp6::Error::PacketTooBig(u32::from(mtu)),
        Error::ReassemblyTimeExceeded => icmp6::Error::ReassemblyTimeExceeded,
    }
    .header();
    let head = ipv6::HEADER_LEN + icmp6::HEADER_LEN;
    let about = parsed.packet(frame);
    let about = about.get(..LONGEST_V6 - head).unwrap_or(about);
    let message_len = icmp6::HEADER_LEN + about.len();
    let ip = ipv6::Build {
        traffic_class: PRECEDENCE,
        payload_len: message_len as u16,
        next: proto::ICMPV6,
        hop_limit: TTL,
        addrs: V6::pack(from, to),
    };
    let len = ipv6::HEADER_LEN + message_len;
    let packet = ether::compose(out, port, ether::sender(frame)?, ETHERTYPE_IPV6, len)?;
    let (ip_header, message) = packet.split_first_chunk_mut()?;
    *ip_header = ip.bytes();
    fill(message, header, about)?;
    icmp6::seal(ip.addrs, message);
    Some(())
}

fn fill(message: &mut [u8], header: [u8; 8], about: &[u8]) -> Option<()> {
    let (start, rest) = message.split_first_chunk_mut()?;
    *start = header;
    rest.get_mut(..about.len())?.copy_from_slice(about);
    Some(())
}

/// How many ICMP errors and resets a worker may send: a token bucket (RFC 1812 section 4.3.2.8, RFC
/// 4443 section 2.4 (f)), full at the start.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    per_s: u32,
    /// Thousandths of a message.
    tokens: u32,
    refilled: u32,
}

impl RateLimit {
    /// So many messages per second, and as many as come within a tenth of a second (ten at least)
    /// at once. 0 sends none.
    pub fn new(per_s: u32, now: u32) -> Self {
        let mut limit = Self {
            per_s: 0,
            tokens: 0,
            refilled: now,
        };
        limit.set(per_s);
        limit.tokens = limit.most();
        limit
    }

    /// Another rate, from now on.
    pub fn set(&mut self, per_s: u32) {
        // Keeps thousandths of the burst, and of a second's worth, within 32 bits.
        self.per_s = per_s.min(4_000_000);
        self.tokens = self.tokens.min(self.most());
    }

    /// Whether one more may be sent at `now` (milliseconds); if so, it is counted.
    pub fn allow(&mut self, now: u32) -> bool {
        self.allow_many(now, 1)
    }

    /// The same of several at once: all of them or none. More than come at once never do.
    pub fn allow_many(&mut self, now: u32, messages: u32) -> bool {
        let passed = now.wrapping_sub(self.refilled).min(1000);
        self.refilled = now;
        self.tokens = (self.tokens.saturating_add(passed * self.per_s)).min(self.most());
        match self.tokens.checked_sub(messages.saturating_mul(1000)) {
            Some(rest) => {
                self.tokens = rest;
                true
            }
            None => false,
        }
    }

    fn most(&self) -> u32 {
        match self.per_s {
            0 => 0,
            per_s => (per_s / 10).max(10) * 1000,
        }
    }
}
