//! The memory layout of a session.
//!
//! A session is two [`Flow`]s, one cache line each for IPv4, side by side, so that a packet of
//! either direction touches its own line, and TCP, which must see both directions, the line next to
//! it. What is needed only when a session is opened, listed or ended is in [`Cold`], in an array of
//! its own.

use sluice_wire::{Family, Key, Tuple, proto};
use zerocopy::FromZeros;

use crate::snapshot::{ServerId, ServiceId};
use crate::tcp::state::State;

/// Index of a [`crate`] path: next hop plus accounting, cached by the worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, FromZeros)]
#[repr(transparent)]
pub struct PathId(pub u16);

/// One direction of a session: how its packets are recognised, and what is done to them.
///
/// Times are in milliseconds since start, cut to 32 bits (they wrap after 49 days; differences are
/// taken with wrapping arithmetic). Deltas are one's complement sums in wire order, see
/// `sluice_wire::checksum`.
#[derive(Clone, Copy, FromZeros)]
#[repr(C, align(64))]
pub struct Flow<F: Family> {
    /// Source and destination that packets of this flow arrive with, wire order.
    pub addrs: F::Addrs,
    /// Source and destination port that they arrive with, wire order (see [`Key`]).
    pub ports: u32,
    /// IP protocol.
    pub proto: u8,
    /// Ingress zone.
    pub zone: u8,
    /// Bits of [`flags`].
    pub flags: u16,
    /// Source and destination that they leave with, wire order.
    pub new_addrs: F::Addrs,
    /// Source and destination port that they leave with, wire order.
    pub new_ports: u32,
    /// Added to the IPv4 header checksum: addresses, and the TTL's decrement.
    pub ip_delta: u16,
    /// Added to the transport checksum: addresses and ports.
    pub l4_delta: u16,
    /// Next hop and accounting.
    pub path: PathId,
    /// State of the session, the same in both flows (see `tcp::state` and `session::state`).
    pub state: u8,
    /// Index into the snapshot's timeout sets, the same in both flows.
    pub timeouts: u8,
    /// Epoch of the snapshot under which the flow was last validated.
    pub epoch: u32,
    /// When the last packet of this flow came.
    pub seen: u32,
    /// Packets of this flow; wraps.
    pub packets: u32,
    /// Bytes of this flow (IP length), low part.
    pub bytes_low: u32,
    /// TCP: sequence number after the last one sent in this direction.
    pub tcp_end: u32,
    /// TCP: highest acknowledgement of this direction's data that the other direction sent.
    pub tcp_acked: u32,
    /// TCP: largest window that this direction advertised, before scaling.
    pub tcp_max_win: u16,
    /// TCP: by how many bits this direction's windows are shifted (see `tcp::window`).
    pub tcp_scale: u8,
    /// Bytes of this flow, high part: the counter wraps at 2^40.
    pub bytes_high: u8,
}

/// [`Flow::epoch`] of flows that no snapshot has checked: copies of the other appliance's sessions,
/// and those taken over from it that no packet has met since. No snapshot has this epoch, so whatever
/// meets such a flow looks closely.
pub const UNCHECKED: u32 = 0;

/// [`Flow::epoch`] of an original flow whose packets go by the other appliance, until that is known to
/// have the session (see `worker::ha`). No snapshot has this epoch either.
pub const UNTOLD: u32 = u32::MAX;

/// Bits of [`Flow::flags`].
pub mod flags {
    /// Addresses or ports change.
    pub const TRANSLATE: u16 = 1 << 0;
    /// Only one direction of this session passes here (direct server return).
    pub const ONE_WAY: u16 = 1 << 1;
    /// The MSS option of SYN segments is clamped.
    pub const CLAMP_MSS: u16 = 1 << 3;
    /// TCP was taken up in mid-connection: window and handshake were not seen.
    pub const ADOPTED: u16 = 1 << 4;
    /// The session is a copy of one that the other appliance owns; the same in both flows.
    pub const REPLICA: u16 = 1 << 2;
    /// The window scale of this direction is known from its SYN.
    pub const SCALE_KNOWN: u16 = 1 << 5;
    /// `tcp_max_win` comes from a SYN, whose window is never scaled.
    pub const WINDOW_FROM_SYN: u16 = 1 << 6;
    /// A packet of this flow has been seen.
    pub const SEEN: u16 = 1 << 7;
    /// The home worker of this flow's tuple is another one, which was told to hand packets over.
    pub const REGISTERED: u16 = 1 << 8;
    /// The sequence numbers of this direction are known.
    pub const TCP_KNOWN: u16 = 1 << 9;
    /// The six bits from here on: the worker that [`REGISTERED`] speaks of.
    pub const HOME_SHIFT: u32 = 10;
}

/// Workers that [`Flow::register_with`] can tell apart.
pub const MAX_WORKERS: u16 = 64;

impl<F: Family> Flow<F> {
    /// A flow that arrives as `key` and leaves as `key`, with everything else zero.
    pub fn new(key: &Key<F::Addrs>) -> Self {
        let mut flow = Self::new_zeroed();
        flow.addrs = key.addrs;
        flow.ports = key.ports;
        flow.proto = key.proto;
        flow.zone = key.zone;
        flow.new_addrs = key.addrs;
        flow.new_ports = key.ports;
        flow
    }

    /// Whether packets with this key belong to the flow.
    #[inline]
    pub fn matches(&self, key: &Key<F::Addrs>) -> bool {
        self.addrs == key.addrs
            && self.ports == key.ports
            && self.proto == key.proto
            && self.zone == key.zone
    }

    /// The key that packets of the flow arrive with.
    pub fn key(&self) -> Key<F::Addrs> {
        Key {
            addrs: self.addrs,
            ports: self.ports,
            proto: self.proto,
            zone: self.zone,
            zero: 0,
        }
    }

    /// The tuple that packets of the flow arrive with.
    pub fn arrives(&self) -> Tuple {
        self.key().tuple::<F>()
    }

    /// The tuple that packets of the flow leave with.
    pub fn leaves(&self) -> Tuple {
        Key {
            addrs: self.new_addrs,
            ports: self.new_ports,
            ..self.key()
        }
        .tuple::<F>()
    }

    /// Notes that the flow's packets come to another worker (below [`MAX_WORKERS`]), which was told.
    pub fn register_with(&mut self, home: u16) {
        self.flags &= (1 << flags::HOME_SHIFT) - 1;
        self.flags |= flags::REGISTERED | home << flags::HOME_SHIFT;
    }

    /// The worker that was told of this flow, if one was.
    pub fn registered_with(&self) -> Option<u16> {
        (self.flags & flags::REGISTERED != 0).then_some(self.flags >> flags::HOME_SHIFT)
    }

    /// Bytes counted, modulo 2^40.
    pub fn bytes(&self) -> u64 {
        u64::from(self.bytes_high) << 32 | u64::from(self.bytes_low)
    }

    /// Counts one packet of `len` bytes that came at `now` (milliseconds).
    #[inline]
    pub fn count(&mut self, len: u16, now: u32) {
        self.seen = now;
        self.packets = self.packets.wrapping_add(1);
        let (low, carry) = self.bytes_low.overflowing_add(u32::from(len));
        self.bytes_low = low;
        self.bytes_high = self.bytes_high.wrapping_add(u8::from(carry));
    }
}

/// The two flows of a session: original (the opener's direction) first, then the reply.
///
/// Aligned to a pair of cache lines: processors fetch the other line of a pair along with the one
/// that was missed.
#[derive(Clone, Copy, FromZeros)]
#[repr(C, align(128))]
pub struct Session<F: Family> {
    /// `[original, reply]`
    pub flows: [Flow<F>; 2],
}

impl<F: Family> Session<F> {
    /// Whether the other appliance owns it, and this is a copy.
    #[inline]
    pub fn is_replica(&self) -> bool {
        self.flows[0].flags & flags::REPLICA != 0
    }

    /// Whether it is TCP that is closed: what it waits for are stragglers, and its hosts have nothing
    /// to do with it any more. Nothing leads out of this but the session's end.
    #[inline]
    pub fn is_over(&self) -> bool {
        let [flow, _] = &self.flows;
        flow.proto == proto::TCP
            && matches!(State::from_u8(flow.state), State::TimeWait | State::Closed)
    }

    /// Milliseconds since the last packet of either direction, or since it was opened.
    #[inline]
    pub fn idle(&self, now: u32) -> u32 {
        let [original, reply] = &self.flows;
        now.wrapping_sub(original.seen)
            .min(now.wrapping_sub(reply.seen))
    }
}

/// What opening, listing and ending a session needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromZeros)]
#[repr(C)]
pub struct Cold {
    /// When it was opened, milliseconds since start cut to 32 bits.
    pub created: u32,
    /// The configured service that it runs under.
    pub service: ServiceId,
    /// The real server it was given to, or [`ServerId::NONE`].
    pub server: ServerId,
    /// Handle of what hangs on it: an endpoint-independent mapping; 0 for nothing. Of a copy of the
    /// other appliance's session: of which meeting with it (see `worker::ha`).
    pub extra: u32,
}

#[cfg(test)]
mod tests {
    use sluice_wire::{V4, V6};

    use super::*;

    #[test]
    fn an_ipv4_flow_is_one_cache_line() {
        assert_eq!(size_of::<Flow<V4>>(), 64);
        assert_eq!(size_of::<Session<V4>>(), 128);
        assert_eq!(size_of::<Flow<V6>>(), 128);
        assert_eq!(size_of::<Cold>(), 12);
    }

    #[test]
    fn a_registration_keeps_the_other_flags() {
        let mut flow = Flow::<V4>::new_zeroed();
        flow.flags = flags::TRANSLATE | flags::TCP_KNOWN;
        assert_eq!(flow.registered_with(), None);
        for home in [0, 1, MAX_WORKERS - 1] {
            flow.register_with(home);
            assert_eq!(flow.registered_with(), Some(home));
            assert_eq!(flow.flags & flags::TCP_KNOWN, flags::TCP_KNOWN);
        }
    }

    #[test]
    fn bytes_carry_into_the_high_part() {
        let mut flow = Flow::<V4>::new_zeroed();
        flow.bytes_low = u32::MAX - 9;
        flow.count(20, 7);
        assert_eq!(
            (flow.bytes(), flow.packets, flow.seen),
            ((1 << 32) + 10, 1, 7)
        );
    }
}
