//! First packets of a burst, and the memory that their sessions will be in.
//!
//! Whether the tuple of a session's replies is free, only the session table can tell, in a line of
//! memory that nobody has touched for long. So the first packets of a burst wait until all of them
//! were looked at and all of these lines were asked for; then their sessions are opened, in the
//! order of arrival. Nothing is reserved meanwhile, and whatever is not a plain packet waits until
//! they are through.

use arrayvec::ArrayVec;
use sluice_wire::parse::Kind;
use sluice_wire::proto::TCP;
use sluice_wire::tcp::flag;
use sluice_wire::{Key, Tuple, V4, V6};

use super::Worker;
use super::burst::Packet;
use super::open::Blueprint;
use super::tables::PerFamily;
use crate::handoff::AnyKey;
use crate::io::{Io, RX_BURST};
use crate::session::table::FlowRef;
use crate::snapshot::ServerId;

/// A first packet, and what its session will be.
pub(super) struct First<F> {
    packet: Packet<F>,
    key: AnyKey,
    hash: u64,
    tuple: Tuple,
    blueprint: Blueprint,
}

/// Those that wait.
pub(super) type Firsts<F> = ArrayVec<First<F>, RX_BURST>;

impl<I: Io> Worker<I> {
    /// Lets the packet wait for the rest of its burst if that is worth it. Gives it back if its
    /// session is to be opened now.
    pub(super) fn wait_for_burst<F: PerFamily>(
        &mut self,
        packet: Packet<I::Frame>,
        (key, hash): (&Key<F::Addrs>, u64),
        tuple: &Tuple,
        mut blueprint: Blueprint,
    ) -> Option<(Packet<I::Frame>, Blueprint)> {
        // A server or a mapping that was chosen counts for the next choice.
        let chosen = blueprint.server != ServerId::NONE || blueprint.mapping != 0;
        let whole = packet.parsed.kind == Kind::Session && packet.datagram.is_none();
        let room = self.firsts.as_ref().is_some_and(|list| !list.is_full());
        if chosen || !whole || !self.gathering || !room {
            return Some((packet, blueprint));
        }
        self.foresee::<F>(&mut blueprint);
        if let Some(list) = &mut self.firsts {
            list.push(First {
                packet,
                key: F::any(*key),
                hash,
                tuple: *tuple,
                blueprint,
            });
        }
        None
    }

    /// A packet that opens nothing by itself, and is lost without a session: its first packet may be
    /// one that waits. Gives the session that there is then.
    pub(super) fn find_among_firsts<F: PerFamily>(
        &mut self,
        packet: &Packet<I::Frame>,
        key: &Key<F::Addrs>,
        hash: u64,
    ) -> Option<FlowRef> {
        const KIND: u8 = flag::SYN | flag::ACK | flag::RST | flag::FIN;
        let opens = key.proto != TCP || packet.parsed.tcp_flags & KIND == flag::SYN;
        let waiting = self.firsts.as_ref().is_some_and(|list| !list.is_empty());
        if opens || !waiting {
            return None;
        }
        self.admit_all();
        F::table(&self.tables).lookup(key, hash)
    }

    /// Opens the sessions of all that wait.
    #[inline]
    pub(super) fn admit_firsts(&mut self) {
        if self.firsts.as_ref().is_some_and(|list| !list.is_empty()) {
            self.admit_all();
        }
    }

    #[inline(never)]
    fn admit_all(&mut self) {
        let Some(mut list) = self.firsts.take() else {
            return;
        };
        for first in list.drain(..) {
            match first.key {
                AnyKey::V4(key) => self.admit::<V4>(&key, first),
                AnyKey::V6(key) => self.admit::<V6>(&key, first),
            }
        }
        self.firsts = Some(list);
    }

    fn admit<F: PerFamily>(&mut self, key: &Key<F::Addrs>, first: First<I::Frame>) {
        let First {
            packet,
            hash,
            tuple,
            blueprint,
            ..
        } = first;
        match F::table(&self.tables).lookup(key, hash) {
            // Opened by a packet just before it.
            Some(flow) => self.hit::<F>(packet, flow),
            None => self.conclude::<F>(packet, (key, hash), &tuple, blueprint),
        }
    }
}
