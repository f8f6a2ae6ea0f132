//! Sequence numbers and windows: does a segment belong to the connection?
//!
//! After Guido van Rooij, "Real Stateful TCP Packet Filtering in IP Filter" (2001): seen from the
//! middle, a segment is plausible if its data ends within what the receiver may have allowed, does
//! not begin longer ago than one window, and acknowledges nothing that was not sent, nor anything
//! too long ago (RFC 5961 5). Each flow keeps the end of what its sender sent, what of that was
//! acknowledged, and the largest window that its sender advertised. All comparisons are modulo 2^32.

use sluice_wire::Family;

use super::Segment;
use crate::session::Flow;
use crate::session::flow::flags::{ADOPTED, SCALE_KNOWN, TCP_KNOWN, WINDOW_FROM_SYN};

/// The flag that both flows must have before numbers can be compared.
pub(super) const KNOWN: u16 = TCP_KNOWN;
/// Largest shift of the window scale option (RFC 7323 2.3).
const MAX_SCALE: u8 = 14;
/// How far back old data and acknowledgements are tolerated at least, however small the windows:
/// the largest window without scaling, and a segment.
const MIN_BACK: u32 = 67_000;
/// How far ahead of what was seen an adopted connection may be: some of it was not seen.
const UNSEEN: u32 = 1 << 30;

/// Whether `a` comes after `b`.
#[inline(always)]
pub(crate) const fn after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

/// The largest window that the sender of this flow ever advertised, in bytes: below 2^30.
#[inline(always)]
fn largest_window<F: Family>(flow: &Flow<F>) -> u32 {
    let from_syn = flow.flags & WINDOW_FROM_SYN != 0;
    let shift = if from_syn { 0 } else { flow.tcp_scale };
    u32::from(flow.tcp_max_win) << (shift & 15)
}

/// Whether the numbers of a segment of `this` flow are plausible; both flows must be known.
#[inline(always)]
pub(super) fn fits<F: Family>(this: &Flow<F>, other: &Flow<F>, segment: &Segment) -> bool {
    let slack = if this.flags & ADOPTED != 0 { UNSEEN } else { 0 };
    let ack_back = segment.ack.wrapping_sub(other.tcp_acked).cast_signed();
    let ack_ahead = segment.ack.wrapping_sub(other.tcp_end).cast_signed();
    // Bitwise: it nearly always fits, so there is nothing to gain from stopping early.
    within(this, other, segment)
        & (ack_back >= -back(largest_window(this)))
        & (ack_ahead <= slack.cast_signed())
}

/// The part of [`fits`] that is about sequence numbers.
#[inline(always)]
pub(super) fn within<F: Family>(this: &Flow<F>, other: &Flow<F>, segment: &Segment) -> bool {
    let window = largest_window(other);
    let first = segment.seq.wrapping_sub(this.tcp_acked).cast_signed();
    let last = segment.end().wrapping_sub(this.tcp_acked).cast_signed();
    // One byte more than the window: a probe of a window that was never open (RFC 9293 3.8.6.1).
    (first >= -back(window)) & (last <= window.max(1).cast_signed())
}

#[inline(always)]
fn back(window: u32) -> i32 {
    window.max(MIN_BACK).cast_signed()
}

/// Moves the numbers on; the segment must fit.
#[inline(always)]
pub(super) fn advance<F: Family>(this: &mut Flow<F>, other: &mut Flow<F>, segment: &Segment) {
    let end = segment.end();
    if after(end, this.tcp_end) {
        this.tcp_end = end;
    }
    if after(segment.ack, other.tcp_acked) {
        other.tcp_acked = segment.ack;
        // Only where the connection was adopted: what is acknowledged was sent.
        if after(segment.ack, other.tcp_end) {
            other.tcp_end = segment.ack;
        }
    }
    if u32::from(segment.window) << (this.tcp_scale & 15) > largest_window(this) {
        this.tcp_max_win = segment.window;
        this.flags &= !WINDOW_FROM_SYN;
    }
}

/// Moves on the only number that matters where the other direction is never seen.
#[inline(always)]
pub(super) fn advance_alone<F: Family>(this: &mut Flow<F>, segment: &Segment) {
    let end = segment.end();
    if after(end, this.tcp_end) {
        this.tcp_end = end;
    }
}

/// Takes the numbers from a SYN, with or without ACK.
pub(super) fn start<F: Family>(this: &mut Flow<F>, segment: &Segment) {
    this.tcp_end = segment.end();
    this.tcp_acked = segment.seq;
    this.tcp_max_win = segment.window;
    this.flags |= TCP_KNOWN | WINDOW_FROM_SYN;
    this.flags &= !(SCALE_KNOWN | ADOPTED);
    this.tcp_scale = 0;
    if let Some(scale) = segment.wscale {
        this.tcp_scale = scale.min(MAX_SCALE);
        this.flags |= SCALE_KNOWN;
    }
}

/// After the SYNs of both sides: windows are scaled if both asked for it (RFC 7323 2.2).
pub(super) fn agree<F: Family>(this: &mut Flow<F>, other: &mut Flow<F>) {
    if this.flags & other.flags & SCALE_KNOWN == 0 {
        for flow in [this, other] {
            flow.flags &= !SCALE_KNOWN;
            flow.tcp_scale = 0;
        }
    }
}

/// Forgets the numbers: a new SYN of the other side made them void.
pub(super) fn forget<F: Family>(flow: &mut Flow<F>) {
    flow.flags &= !(TCP_KNOWN | SCALE_KNOWN | WINDOW_FROM_SYN | ADOPTED);
    flow.tcp_scale = 0;
}

/// Whether a SYN is the one that `this` started from, again. It may come without the data of the
/// first (RFC 7413).
pub(super) fn is_same_syn<F: Family>(this: &Flow<F>, segment: &Segment) -> bool {
    let first = segment.seq.wrapping_add(1);
    this.flags & TCP_KNOWN != 0
        && (segment.seq == this.tcp_acked || first == this.tcp_acked || first == this.tcp_end)
}

/// Whether a segment may come after all that was seen of a connection, some of which was not.
pub(super) fn may_follow<F: Family>(this: &Flow<F>, other: &Flow<F>, segment: &Segment) -> bool {
    let follows = |flow: &Flow<F>, number: u32| {
        flow.flags & TCP_KNOWN == 0 || number.wrapping_sub(flow.tcp_end) < UNSEEN
    };
    follows(this, segment.seq) && follows(other, segment.ack)
}

/// Takes up a connection of which nothing was seen before this segment. What scale was agreed on
/// can't be known any more, so the largest is reckoned with.
pub(super) fn adopt<F: Family>(this: &mut Flow<F>, other: &mut Flow<F>, segment: &Segment) {
    this.tcp_end = segment.end();
    this.tcp_acked = segment.seq;
    other.tcp_end = segment.ack;
    other.tcp_acked = segment.ack;
    for flow in [this, other] {
        flow.tcp_max_win = u16::MAX;
        flow.tcp_scale = MAX_SCALE;
        flow.flags |= TCP_KNOWN | ADOPTED;
        flow.flags &= !(SCALE_KNOWN | WINDOW_FROM_SYN);
    }
}
