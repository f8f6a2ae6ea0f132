//! ICMP errors about a session's packets (RFC 5508 section 4.2, RFC 4443).
//!
//! An error travels against the packet that it is about, so it belongs to the flow of the other
//! direction, which is the one that its key finds. The outer header is edited as that flow's
//! packets are, and the packet within it back to what its sender had sent: its tuple is the reverse
//! of the flow's, before and after.

use sluice_wire::{Delta, Family, Parsed, Sum, icmp4, ipv4};
use zerocopy::{FromBytes, IntoBytes};

use super::{addrs_at, age, put_addrs, transport};
use crate::session::flow::{Flow, flags};

/// Bytes of a transport header in which something may change: up to the end of TCP's checksum.
const TRANSPORT_SPAN: usize = 18;

/// Edits an ICMP error that goes the way of `flow`, which is the flow that its key finds. `parsed`
/// must be what parsing `frame` gave. False, with the frame half done, if it is not an error or not
/// `flow`'s; it must then be dropped.
///
/// The source address, which may be a router's on the way, changes only if the flow hides its
/// sources behind an address of ours: then every sender on that side is hidden (RFC 5508 REQ-5 d).
/// Otherwise it stays, and traceroute sees it. A checksum that the quotation cuts off or through
/// stays as well. The length, and whatever follows the packet, stay.
pub fn apply<F: Family>(flow: &Flow<F>, frame: &mut [u8], parsed: &Parsed) -> bool {
    let Some(inner) = parsed.inner(frame) else {
        return false;
    };
    let Some(frame) = frame.get_mut(..usize::from(parsed.end)) else {
        return false;
    };
    let l3 = usize::from(parsed.l3);
    let Some(outer) = get_addrs::<F>(frame, l3) else {
        return false;
    };
    if flow.flags & flags::TRANSLATE == 0 {
        age::<F>(frame, l3, Delta::TTL_DECREMENT);
        return true;
    }

    let new_outer = outer_addrs::<F>(flow, outer);
    let outer_delta = Delta::addrs::<F>(outer, new_outer);
    age::<F>(frame, l3, outer_delta.and(Delta::TTL_DECREMENT));
    put_addrs::<F>(frame, l3, new_outer);

    let (inner_l3, inner_l4) = (usize::from(inner.l3), usize::from(inner.l4));
    let edited = inner_l3..(inner_l4 + TRANSPORT_SPAN).min(frame.len());
    let before = sum(frame, edited.clone());
    let Some(quoted) = frame.get_mut(..usize::from(inner.end)) else {
        return false;
    };
    if !F::IS_V6 {
        let delta = Delta::addrs::<F>(flow.addrs, flow.new_addrs);
        delta.patch(quoted, inner_l3 + ipv4::field::CHECKSUM);
    }
    put_addrs::<F>(quoted, inner_l3, F::swap(flow.new_addrs));
    // One's complement sums do not depend on order: what the flow's packets gain, those of its
    // reverse gain as well.
    let ports = flow.new_ports.rotate_left(16);
    transport(quoted, inner_l4, inner.proto, ports, Delta(flow.l4_delta));

    let mut delta = Delta::word16(before.fold(), sum(frame, edited).fold());
    if F::IS_V6 {
        delta = delta.and(outer_delta);
    }
    delta.patch(frame, usize::from(parsed.l4) + icmp4::CHECKSUM);
    true
}

/// The outer addresses that an error leaves with.
fn outer_addrs<F: Family>(flow: &Flow<F>, outer: F::Addrs) -> F::Addrs {
    let half = size_of::<F::Addrs>() / 2;
    let hides_sources = flow.addrs.as_bytes()[..half] != flow.new_addrs.as_bytes()[..half];
    if hides_sources {
        return flow.new_addrs;
    }
    let mut addrs = outer;
    addrs.as_mut_bytes()[half..].copy_from_slice(&flow.new_addrs.as_bytes()[half..]);
    addrs
}

/// The addresses of the header at `l3`.
fn get_addrs<F: Family>(frame: &[u8], l3: usize) -> Option<F::Addrs> {
    let at = l3 + addrs_at::<F>();
    F::Addrs::read_from_bytes(frame.get(at..at + size_of::<F::Addrs>())?).ok()
}

fn sum(frame: &[u8], range: std::ops::Range<usize>) -> Sum {
    Sum::ZERO.bytes(frame.get(range).unwrap_or_default())
}

#[cfg(test)]
mod tests;
