//! IPv6 neighbour discovery (RFC 4861): the four messages, and the options that matter here.

use std::net::Ipv6Addr;

use crate::bytes::{array, be16, be32, put, put_be16, put_be32, u8_at};
use crate::icmp6;
use crate::key::{Family, V6};
use crate::mac::MacAddr;

/// Hop limit that proves that a message was sent by a neighbour.
pub const HOP_LIMIT: u8 = 255;
/// Room that any message written here needs.
pub const MAX_LEN: usize = 40;

/// Options, by their type.
mod option {
    pub(super) const SOURCE_MAC: u8 = 1;
    pub(super) const TARGET_MAC: u8 = 2;
    pub(super) const MTU: u8 = 5;
}

/// A message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// Who has the target address?
    NeighbourSolicitation {
        /// The address that is asked for.
        target: Ipv6Addr,
        /// MAC address of who asks; none when it looks for duplicates of an address that it does
        /// not have yet.
        source_mac: Option<MacAddr>,
    },
    /// The sender has the target address.
    NeighbourAdvertisement {
        /// The address.
        target: Ipv6Addr,
        /// MAC address of the target.
        target_mac: Option<MacAddr>,
        /// The sender is a router.
        router: bool,
        /// This answers a solicitation.
        solicited: bool,
        /// A MAC address that is cached for the target shall be replaced.
        replace: bool,
    },
    /// Are there routers?
    RouterSolicitation {
        /// MAC address of who asks.
        source_mac: Option<MacAddr>,
    },
    /// The sender is a router.
    RouterAdvertisement {
        /// Hop limit to use; 0 for no word on it.
        hop_limit: u8,
        /// Seconds for which it wants to be a default router; 0 for not at all.
        lifetime: u16,
        /// MAC address of the router.
        source_mac: Option<MacAddr>,
        /// MTU of the link.
        mtu: Option<u32>,
    },
}

impl Message {
    /// Reads and verifies a message, as sections 6.1 and 7.1 have it: hop limit 255, checksum,
    /// code, length, addresses and options that fit together. `addrs` are source and destination of
    /// its packet, in wire order. `None` for anything that must be ignored.
    pub fn parse(addrs: [u64; 4], hop_limit: u8, message: &[u8]) -> Option<Self> {
        let (src, dst) = unpack(addrs);
        let code = u8_at(message, 1)?;
        if hop_limit != HOP_LIMIT || code != 0 || !icmp6::checksum_ok(addrs, message) {
            return None;
        }
        match u8_at(message, 0)? {
            icmp6::NEIGHBOUR_SOLICITATION => {
                let target = target(message)?;
                let options = Options::parse(message.get(24..)?)?;
                let duplicate_check = src.is_unspecified();
                if duplicate_check && (options.source_mac.is_some() || !is_solicited_node(dst)) {
                    return None;
                }
                Some(Self::NeighbourSolicitation {
                    target,
                    source_mac: options.source_mac,
                })
            }
            icmp6::NEIGHBOUR_ADVERTISEMENT => {
                let flags = u8_at(message, 4)?;
                let target = target(message)?;
                let options = Options::parse(message.get(24..)?)?;
                let solicited = flags & 0x40 != 0;
                if dst.is_multicast() && solicited {
                    return None;
                }
                Some(Self::NeighbourAdvertisement {
                    target,
                    target_mac: options.target_mac,
                    router: flags & 0x80 != 0,
                    solicited,
                    replace: flags & 0x20 != 0,
                })
            }
            icmp6::ROUTER_SOLICITATION => {
                let source_mac = Options::parse(message.get(8..)?)?.source_mac;
                if src.is_unspecified() && source_mac.is_some() {
                    return None;
                }
                Some(Self::RouterSolicitation { source_mac })
            }
            icmp6::ROUTER_ADVERTISEMENT => {
                let options = Options::parse(message.get(16..)?)?;
                if !src.is_unicast_link_local() {
                    return None;
                }
                Some(Self::RouterAdvertisement {
                    hop_limit: u8_at(message, 4)?,
                    lifetime: be16(message, 6)?,
                    source_mac: options.source_mac,
                    mtu: options.mtu,
                })
            }
            _ => None,
        }
    }

    /// Writes the message for a packet between `addrs` (wire order), checksum included, and gives
    /// its length. `None` if `out` is too short; [`MAX_LEN`] always suffices. The packet's hop limit
    /// must be [`HOP_LIMIT`].
    pub fn write(&self, addrs: [u64; 4], out: &mut [u8]) -> Option<usize> {
        let mut bytes = [0; MAX_LEN];
        let len = match *self {
            Self::NeighbourSolicitation { target, source_mac } => {
                bytes[0] = icmp6::NEIGHBOUR_SOLICITATION;
                put(&mut bytes, 8, target.octets());
                put_mac(&mut bytes, 24, option::SOURCE_MAC, source_mac)
            }
            Self::NeighbourAdvertisement {
                target,
                target_mac,
                router,
                solicited,
                replace,
            } => {
                bytes[0] = icmp6::NEIGHBOUR_ADVERTISEMENT;
                bytes[4] =
                    u8::from(router) << 7 | u8::from(solicited) << 6 | u8::from(replace) << 5;
                put(&mut bytes, 8, target.octets());
                put_mac(&mut bytes, 24, option::TARGET_MAC, target_mac)
            }
            Self::RouterSolicitation { source_mac } => {
                bytes[0] = icmp6::ROUTER_SOLICITATION;
                put_mac(&mut bytes, 8, option::SOURCE_MAC, source_mac)
            }
            Self::RouterAdvertisement {
                hop_limit,
                lifetime,
                source_mac,
                mtu,
            } => {
                bytes[0] = icmp6::ROUTER_ADVERTISEMENT;
                bytes[4] = hop_limit;
                put_be16(&mut bytes, 6, lifetime);
                let len = put_mac(&mut bytes, 16, option::SOURCE_MAC, source_mac);
                match mtu {
                    Some(mtu) => {
                        put(&mut bytes, len, [option::MTU, 1]);
                        put_be32(&mut bytes, len + 4, mtu);
                        len + 8
                    }
                    None => len,
                }
            }
        };
        let message = bytes.get_mut(..len)?;
        icmp6::seal(addrs, message);
        out.get_mut(..len)?.copy_from_slice(message);
        Some(len)
    }
}

/// What the options say. Unknown ones are passed over, of repeated ones the last counts.
#[derive(Default)]
struct Options {
    source_mac: Option<MacAddr>,
    target_mac: Option<MacAddr>,
    mtu: Option<u32>,
}

impl Options {
    /// `None` if one has no length or reaches past the message, or claims a MAC address that no
    /// station can have.
    fn parse(mut rest: &[u8]) -> Option<Self> {
        let mut options = Self::default();
        while !rest.is_empty() {
            let [kind, units] = array(rest, 0)?;
            if units == 0 {
                return None;
            }
            let (option, after) = rest.split_at_checked(usize::from(units) * 8)?;
            match kind {
                option::SOURCE_MAC | option::TARGET_MAC => {
                    let mac = MacAddr(array(option, 2)?);
                    if !mac.is_unicast() {
                        return None;
                    }
                    let place = match kind {
                        option::SOURCE_MAC => &mut options.source_mac,
                        _ => &mut options.target_mac,
                    };
                    *place = Some(mac);
                }
                option::MTU => options.mtu = be32(option, 4),
                _ => {}
            }
            rest = after;
        }
        Some(options)
    }
}

/// The target of a neighbour message; never multicast.
fn target(message: &[u8]) -> Option<Ipv6Addr> {
    let target = Ipv6Addr::from(array::<16>(message, 8)?);
    (!target.is_multicast()).then_some(target)
}

/// Writes a MAC address option at `at`, if there is one, and gives where the next option goes.
fn put_mac(bytes: &mut [u8], at: usize, kind: u8, mac: Option<MacAddr>) -> usize {
    let Some(mac) = mac else {
        return at;
    };
    put(bytes, at, [kind, 1]);
    put(bytes, at + 2, mac.0);
    at + 8
}

fn unpack(addrs: [u64; 4]) -> (Ipv6Addr, Ipv6Addr) {
    let [src, dst]: [[u8; 16]; 2] = zerocopy::transmute!(addrs);
    (src.into(), dst.into())
}

/// `ff02::1:ffxx:xxxx`, to which solicitations for `target` are sent.
pub const fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | a as u16,
        (b as u16) << 8 | c as u16,
    )
}

fn is_solicited_node(addr: Ipv6Addr) -> bool {
    solicited_node(addr) == addr
}

/// The MAC address that packets to a multicast address are sent to (RFC 2464 section 7).
pub const fn multicast_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// Packs source and destination of a message to be written.
pub fn addrs(src: Ipv6Addr, dst: Ipv6Addr) -> [u64; 4] {
    V6::pack(src.into(), dst.into())
}

#[cfg(test)]
mod tests;
