//! Datagrams in pieces on their way through, and packets that leave in other sizes than they came.

use sluice_wire::{Parsed, V4, V6};

use super::Worker;
use super::burst::Packet;
use super::tables::PerFamily;
use crate::counters::DropReason;
use crate::handoff::{Corrected, Passed, Why};
use crate::io::{Frame, Io};
use crate::published::WorkerCounter;
use crate::rewrite;
use crate::session::flow::{PathId, flags};
use crate::session::table::FlowRef;
use crate::snapshot::PortId;
use crate::stack::fragment::{Outcome, Piece};
use crate::stack::split;

/// What a held piece remembers: its port, and whether another appliance received it.
fn cookie(port: PortId, corrected: Corrected) -> u32 {
    u32::from(port.0) | u32::from(corrected.bits()) << 16
}

/// Datagrams whose time is looked at per tick.
const PER_TICK: usize = 64;

impl<I: Io> Worker<I> {
    /// A fragment as it came from the device: which datagram is it of?
    #[cold]
    pub(super) fn fragment(&mut self, packet: Packet<I::Frame>) {
        self.counters.count(WorkerCounter::Fragments);
        let Packet {
            frame,
            parsed,
            port,
            why,
            corrected,
            ..
        } = packet;
        let Some(zone) = self.zone(port) else {
            return self.drop(frame, port, DropReason::Internal);
        };
        // Pieces of a datagram may come to several workers where a device does not spread by address.
        let home = self.home_of_pieces(&parsed, frame.bytes(), port, zone);
        if home != self.id && why < Why::Pieces {
            let packet = Packet {
                frame,
                parsed,
                port,
                why,
                datagram: None,
                corrected,
                hosted: false,
            };
            return self.pass(home, packet, Why::Pieces);
        }
        let Some(piece) = Piece::of(&parsed, frame.bytes(), zone) else {
            return self.drop(frame, port, DropReason::FragmentInvalid);
        };
        match self
            .fragments
            .input(&piece, frame, cookie(port, corrected), self.now)
        {
            Outcome::Pass(frame, datagram) => {
                self.find(
                    Packet {
                        frame,
                        parsed,
                        port,
                        why,
                        datagram: Some(datagram),
                        corrected,
                        hosted: false,
                    },
                    zone,
                );
            }
            Outcome::Held => {}
            Outcome::Drop(frame, reason) => self.drop(frame, port, reason),
        }
        self.take_released_fragments();
    }

    /// Gives up datagrams that never became whole.
    pub(super) fn fragment_timers(&mut self) {
        self.fragments.expire(self.now, PER_TICK);
        self.take_released_fragments();
    }

    /// The worker where all pieces of a datagram meet.
    pub(super) fn home_of_pieces(
        &self,
        parsed: &Parsed,
        frame: &[u8],
        port: PortId,
        zone: u8,
    ) -> u16 {
        let Some(port) = self.snapshot.ports.get(usize::from(port.0)) else {
            return self.id;
        };
        let (steering, device) = (&self.snapshot.steering, port.device);
        if parsed.v6 {
            let key = parsed.key_v6(frame, zone);
            steering.home::<V6>(device, key.addrs, 0, key.proto, false)
        } else {
            let key = parsed.key_v4(frame, zone);
            steering.home::<V4>(device, key.addrs, 0, key.proto, false)
        }
    }

    /// The less common edits of a packet of a session: fragments, MSS clamping, and packets that are
    /// larger than the next link takes.
    #[cold]
    pub(super) fn rewrite_specially<F: PerFamily>(
        &mut self,
        packet: Packet<I::Frame>,
        at: FlowRef,
        moved: bool,
    ) {
        let Packet {
            mut frame,
            parsed,
            port,
            datagram,
            ..
        } = packet;
        let Some(flow) = F::table(&self.tables).flow(at).copied() else {
            return self.drop(frame, port, DropReason::Internal);
        };
        if moved {
            self.moved::<F>(at.session());
        }
        if flow.flags & flags::CLAMP_MSS != 0
            && let Some(limit) = self.mss_limit::<F>(at)
        {
            rewrite::clamp_mss(frame.bytes_mut(), &parsed, limit);
        }
        rewrite::apply(&flow, frame.bytes_mut(), &parsed);
        // Two hosts behind one address may number their datagrams alike (RFC 6864 section 5.3).
        let hides = flow.flags & flags::TRANSLATE != 0
            && F::unpack(flow.addrs).0 != F::unpack(flow.new_addrs).0;
        if let (true, Some(datagram)) = (hides, datagram) {
            parsed.set_fragment_id(frame.bytes_mut(), datagram.new_id);
        }
        self.send_along(frame, port, flow.path, &parsed);
    }

    /// Sends a packet along a path, in pieces if it must be.
    pub(super) fn send_along(
        &mut self,
        frame: I::Frame,
        came_by: PortId,
        path: PathId,
        parsed: &Parsed,
    ) {
        let Some(path) = self.paths.get(path).copied() else {
            return self.drop(frame, came_by, DropReason::Internal);
        };
        if parsed.ip_len() <= path.mtu {
            return self.send(frame, &path, parsed.l3, parsed.v6);
        }
        let id = (!parsed.is_fragment()).then(|| self.fragments.next_id_v4());
        let l3 = usize::from(parsed.l3);
        let pieces = match split::split(frame, l3, path.mtu, id, || self.io.alloc()) {
            Ok(pieces) => pieces,
            Err((frame, refusal)) => {
                let reason = match refusal {
                    split::Refusal::NoBuffer => DropReason::NoBuffer,
                    split::Refusal::DontFragment | split::Refusal::TooMany => DropReason::TooBig,
                };
                return self.drop(frame, came_by, reason);
            }
        };
        for (at, piece) in pieces.into_iter().enumerate() {
            // One frame came; the others are made here.
            self.send_as(piece, &path, parsed.l3, parsed.v6, at > 0);
        }
    }

    /// The MSS that SYNs of a session are held down to: the service's, and what fits the ports that
    /// ask for it.
    fn mss_limit<F: PerFamily>(&self, at: FlowRef) -> Option<u16> {
        let table = F::table(&self.tables);
        let (session, cold) = (table.session(at.session())?, table.cold(at.session())?);
        let headers = if F::IS_V6 { 60 } else { 40 };
        let ports = session.flows.iter().filter_map(|flow| {
            let port = self.paths.get(flow.path)?.port;
            self.snapshot
                .ports
                .get(usize::from(port.0))
                .filter(|port| port.clamp_mss)
        });
        let fits = ports.map(|port| port.mtu.saturating_sub(headers));
        fits.chain(self.snapshot.clamp_mss(cold.service)).min()
    }

    pub(super) fn take_released_fragments(&mut self) {
        while let Some(released) = self.fragments.pop() {
            let port = PortId(released.cookie as u16);
            let corrected = Corrected::of_bits((released.cookie >> 16) as u8);
            match released.fate {
                Ok(datagram) => self.resume(Passed {
                    frame: released.frame,
                    port,
                    why: Why::Arrived,
                    datagram: Some(datagram),
                    corrected,
                    hosted: false,
                }),
                Err(reason) => self.drop(released.frame, port, reason),
            }
        }
    }
}
