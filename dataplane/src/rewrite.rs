//! The compiled edit of a flow: made once by [`compile`], done to every packet by [`apply`].
//!
//! Only what changes is touched. Checksums are never computed anew but moved by the difference
//! (RFC 1624), so a packet that was damaged before it came stays damaged, and its receiver can tell.

use sluice_wire::{Delta, Family, Kind, Parsed, Tuple, icmp4, ipv4, ipv6, key, proto, tcp};
use zerocopy::IntoBytes;

use crate::session::flow::{Flow, flags};

pub mod icmp;

/// DCCP (RFC 4340): its checksum covers the addresses.
const DCCP: u8 = 33;
/// UDP-Lite (RFC 3828): its checksum covers the addresses.
const UDP_LITE: u8 = 136;
/// Offset of the checksum in UDP, UDP-Lite and DCCP.
const DATAGRAM_CHECKSUM: usize = 6;

/// Makes the packets of `flow` leave as `leaves`. The flow's arriving side must be set
/// ([`Flow::new`]); everything but addresses, ports and deltas, and the flag
/// [`flags::TRANSLATE`], stays.
pub fn compile<F: Family>(flow: &mut Flow<F>, leaves: &Tuple) {
    flow.new_addrs = F::pack(leaves.src, leaves.dst);
    flow.new_ports = key::pack_ports(leaves.sport, leaves.dport);

    let addrs = Delta::addrs::<F>(flow.addrs, flow.new_addrs);
    let ports = Delta::word32(flow.ports, flow.new_ports);
    flow.ip_delta = if F::IS_V6 {
        0
    } else {
        addrs.and(Delta::TTL_DECREMENT).0
    };
    flow.l4_delta = match flow.proto {
        proto::ICMP => ports,
        proto::TCP | proto::UDP | proto::ICMPV6 | DCCP | UDP_LITE => addrs.and(ports),
        _ => Delta::NONE,
    }
    .0;
    if flow.addrs == flow.new_addrs && flow.ports == flow.new_ports {
        flow.flags &= !flags::TRANSLATE;
    } else {
        flow.flags |= flags::TRANSLATE;
    }
}

/// Edits a packet of `flow`: addresses, ports, checksums, TTL. `parsed` must be what parsing `frame`
/// gave, of any kind but [`Kind::IcmpError`] (see [`icmp::apply`]), with a TTL of 1 at least.
///
/// Fragments but the first have no transport header: their addresses change, and no more.
#[inline]
pub fn apply<F: Family>(flow: &Flow<F>, frame: &mut [u8], parsed: &Parsed) {
    let Some(frame) = frame.get_mut(..usize::from(parsed.end)) else {
        return;
    };
    let translate = flow.flags & flags::TRANSLATE != 0;
    let l3 = usize::from(parsed.l3);
    age::<F>(frame, l3, Delta(flow.ip_delta));
    if translate {
        put_addrs::<F>(frame, l3, flow.new_addrs);
        if parsed.kind != Kind::FragmentRest {
            let l4 = usize::from(parsed.l4);
            transport(frame, l4, flow.proto, flow.new_ports, Delta(flow.l4_delta));
        }
    }
}

/// The same for what [`sluice_wire::parse_plain`] recognised: all fields lie at known places.
#[inline(always)]
pub fn apply_plain<F: Family>(flow: &Flow<F>, frame: &mut [u8]) {
    if F::IS_V6 {
        apply_at::<F, { L3 + ipv6::HEADER_LEN }, { L3 + ipv6::HEADER_LEN + 8 }>(flow, frame);
    } else {
        apply_at::<F, { L3 + ipv4::MIN_LEN }, { L3 + ipv4::MIN_LEN + 8 }>(flow, frame);
    }
}

/// Offset of an IP header right behind the Ethernet header.
const L3: usize = 14;

/// The transport header is at `L4`; all that TCP and UDP have in common ends at `HEAD`.
#[inline(always)]
fn apply_at<F: Family, const L4: usize, const HEAD: usize>(flow: &Flow<F>, frame: &mut [u8]) {
    let Some((head, rest)) = frame.split_first_chunk_mut::<HEAD>() else {
        return;
    };
    age::<F>(head, L3, Delta(flow.ip_delta));
    if flow.flags & flags::TRANSLATE == 0 {
        return;
    }
    put_addrs::<F>(head, L3, flow.new_addrs);
    sluice_wire::bytes::put(head, L4, flow.new_ports.to_ne_bytes());
    let delta = Delta(flow.l4_delta);
    if flow.proto == proto::UDP {
        delta.patch_udp(head, L4 + DATAGRAM_CHECKSUM);
    } else {
        delta.patch(rest, L4 + tcp::CHECKSUM - HEAD);
    }
}

/// Lowers the MSS option of a SYN to `limit` bytes; everything else stays. Returns whether anything
/// changed.
#[inline]
pub fn clamp_mss(frame: &mut [u8], parsed: &Parsed, limit: u16) -> bool {
    if parsed.tcp_flags & tcp::flag::SYN == 0 {
        return false;
    }
    frame
        .get_mut(usize::from(parsed.l4)..usize::from(parsed.end))
        .is_some_and(|segment| tcp::clamp_mss(segment, limit))
}

/// One less TTL or hop limit; `delta` goes to the checksum of an IPv4 header.
#[inline(always)]
fn age<F: Family>(frame: &mut [u8], l3: usize, delta: Delta) {
    let at = if F::IS_V6 {
        ipv6::field::HOP_LIMIT
    } else {
        ipv4::field::TTL
    };
    if let Some(ttl) = frame.get_mut(l3 + at) {
        *ttl = ttl.wrapping_sub(1);
    }
    if !F::IS_V6 {
        delta.patch(frame, l3 + ipv4::field::CHECKSUM);
    }
}

/// Source and destination address of the header at `l3`.
#[inline(always)]
fn put_addrs<F: Family>(frame: &mut [u8], l3: usize, addrs: F::Addrs) {
    let at = l3 + addrs_at::<F>();
    if let Some(place) = frame.get_mut(at..at + size_of::<F::Addrs>()) {
        place.copy_from_slice(addrs.as_bytes());
    }
}

/// Offset of the addresses in an IP header.
#[inline(always)]
const fn addrs_at<F: Family>() -> usize {
    if F::IS_V6 {
        ipv6::field::ADDRS
    } else {
        ipv4::field::ADDRS
    }
}

/// Ports (or identifier) and checksum of the transport header at `l4`. Fields that lie outside the
/// frame are left.
#[inline(always)]
fn transport(frame: &mut [u8], l4: usize, protocol: u8, ports: u32, delta: Delta) {
    use sluice_wire::bytes::put;
    let ports = ports.to_ne_bytes();
    match protocol {
        proto::TCP => {
            put(frame, l4, ports);
            delta.patch(frame, l4 + tcp::CHECKSUM);
        }
        proto::UDP => {
            put(frame, l4, ports);
            delta.patch_udp(frame, l4 + DATAGRAM_CHECKSUM);
        }
        proto::ICMP | proto::ICMPV6 => {
            // One of the two is the identifier, the other 0 (see `Tuple`). ICMPv6 has its fields
            // where ICMP has them.
            let [a, b, c, d] = ports;
            put(frame, l4 + icmp4::ECHO_ID, [a | c, b | d]);
            delta.patch(frame, l4 + icmp4::CHECKSUM);
        }
        DCCP | UDP_LITE => delta.patch_udp(frame, l4 + DATAGRAM_CHECKSUM),
        _ => {}
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
