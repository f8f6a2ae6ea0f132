//! Next hops: paths for sessions, neighbours that are not known yet, and packets that wait.

use sluice_wire::{Key, MacAddr};

use super::Worker;
use super::burst::Packet;
use super::lately::Wanted;
use super::plan::Way;
use super::tables::PerFamily;
use crate::counters::DropReason;
use crate::handoff::{Message, Passed};
use crate::host;
use crate::io::Io;
use crate::mailbox::Event;
use crate::path::{Link, UNTAGGED};
use crate::session::flow::PathId;
use crate::snapshot::{PortId, ServerId, ServiceId};
use crate::stack::icmp;
use crate::stack::neighbour::{Action, Change, How, Learned, NeighbourId, Reach};

/// Neighbour timers per tick.
const TIMERS_PER_TICK: usize = 64;

impl<I: Io> Worker<I> {
    /// The worker that is home to a tuple that arrives by `port`.
    pub(super) fn home_of<F: PerFamily>(&self, key: &Key<F::Addrs>, port: PortId) -> u16 {
        let Some(port) = self.snapshot.ports.get(usize::from(port.0)) else {
            return self.id;
        };
        // Ports that are in the key are known, be it of a fragment or within an error.
        self.snapshot
            .steering
            .home::<F>(port.device, key.addrs, key.ports, key.proto, true)
    }

    /// A path by this way, with a reference for the caller to give back.
    pub(super) fn acquire_path(
        &mut self,
        way: &Way,
        service: ServiceId,
        server: ServerId,
        reply: bool,
    ) -> Result<PathId, DropReason> {
        let wanted = Wanted {
            epoch: self.snapshot.epoch,
            port: way.hop.port,
            address: way.neighbour,
            service,
            server,
            reply,
        };
        // What an address stands for, and whether the path is there, may have changed meanwhile.
        if let Some((neighbour, id)) = self.lately.path(&wanted)
            && self.neighbours.is(neighbour, wanted.port, wanted.address)
            && self.paths.acquire_again(id, &wanted.key(neighbour))
        {
            return Ok(id);
        }
        let Some(port) = self.snapshot.ports.get(usize::from(way.hop.port.0)) else {
            return Err(DropReason::Internal);
        };
        if host::is_own(&self.snapshot, way.neighbour) {
            let link = host::link(way.hop.port, port);
            let key = wanted.key(host::KERNEL);
            let found = self.paths.acquire(&key, &link, Some(link.source));
            return found.map(|(id, _)| id).ok_or(DropReason::PathTableFull);
        }
        let link = Link {
            source: port.mac,
            device: port.device,
            vlan: port.vlan.unwrap_or(UNTAGGED),
            mtu: port.mtu,
        };
        let full = |_| DropReason::PathTableFull;
        let port = way.hop.port;
        let neighbour = self
            .neighbours
            .resolve(port, way.neighbour, self.now)
            .map_err(full)?;
        let mac = self.neighbours.get(neighbour);
        let found = self.paths.acquire(&wanted.key(neighbour), &link, mac);
        if !matches!(found, Some((_, true))) {
            // A path that was there has its own reference to the neighbour.
            self.neighbours.release(neighbour);
        }
        let (id, _) = found.ok_or(DropReason::PathTableFull)?;
        self.lately.note_path(&wanted, neighbour, id);
        Ok(id)
    }

    /// Something is in a packet's way: no life left, the next hop unknown, or the next link too
    /// narrow. Gives the packet back if it can go on all the same.
    #[cold]
    pub(super) fn obstacle(
        &mut self,
        packet: Packet<I::Frame>,
        path: PathId,
    ) -> Option<Packet<I::Frame>> {
        if packet.parsed.ttl <= 1 {
            self.refuse(packet, DropReason::TtlExceeded);
            return None;
        }
        let Some(path) = self.paths.get(path).copied() else {
            self.reject(packet, DropReason::Internal);
            return None;
        };
        let bytes = crate::io::Frame::bytes(&packet.frame);
        if packet.parsed.ip_len() > path.mtu && packet.parsed.dont_fragment(bytes) {
            self.answer(&packet, icmp::Error::TooBig(path.mtu));
            self.reject(packet, DropReason::TooBig);
            return None;
        }
        if path.resolved {
            return Some(packet);
        }
        match self.neighbours.used(path.neighbour, self.now) {
            Reach::At(mac) => {
                self.paths.set_mac(path.neighbour, Some(mac));
                Some(packet)
            }
            Reach::Wait => {
                self.wait_for(path.neighbour, packet);
                None
            }
            Reach::Unreachable => {
                self.refuse(packet, DropReason::NeighbourUnresolved);
                None
            }
        }
    }

    fn wait_for(&mut self, neighbour: NeighbourId, packet: Packet<I::Frame>) {
        let Packet {
            frame,
            port,
            why,
            datagram,
            corrected,
            hosted,
            ..
        } = packet;
        let passed = Passed {
            frame,
            port,
            why,
            datagram,
            corrected,
            hosted,
        };
        if let Err(passed) = self.hold.hold(neighbour, passed, self.now) {
            self.drop(passed.frame, passed.port, DropReason::NeighbourQueueFull);
        }
    }

    /// Enters what this worker heard on the wire, and tells the others: whoever asked may be among
    /// them. What stations tell everybody, unasked, is passed on at a bounded rate.
    pub(super) fn learn(&mut self, learned: &Learned) {
        if learned.how == How::Announce && !self.announcements.allow(self.now) {
            return;
        }
        for worker in (0..self.rings.workers()).filter(|&worker| worker != self.id) {
            // A worker whose ring is full asks for itself.
            let _ = self.rings.push(worker, Message::Neighbour(*learned));
        }
        self.hear(learned);
    }

    /// Enters what was heard, here or by another worker. An answer to one worker is made use of by
    /// all, so that each neighbour is asked for once.
    pub(super) fn hear(&mut self, learned: &Learned) {
        if !self.snapshot.groups.gateways.is_empty() {
            self.heard_gateway(learned);
        }
        let mut learned = *learned;
        let answers = matches!(
            learned.how,
            How::Reply
                | How::Advert {
                    solicited: true,
                    ..
                }
        );
        let known = self.neighbours.find(learned.port, learned.addr).is_some();
        if answers && !known && learned.mac.is_some() {
            learned.how = How::Request;
        }
        if let Some(Change { id, mac }) = self.neighbours.learn(&learned, self.now) {
            self.resolved(id, mac);
        }
    }

    fn resolved(&mut self, id: NeighbourId, mac: MacAddr) {
        self.paths.set_mac(id, Some(mac));
        // Taken out before the first one is sent on, which may make others wait.
        while let Some(passed) = self.hold.take(id) {
            self.resume(passed);
        }
    }

    /// Solicitations, and packets whose neighbour does not answer.
    pub(super) fn neighbour_timers(&mut self) {
        let mut solicit = arrayvec::ArrayVec::<Action, TIMERS_PER_TICK>::new();
        self.neighbours.tick(self.now, TIMERS_PER_TICK, |action| {
            let _ = solicit.try_push(action);
        });
        for action in solicit {
            match action {
                Action::Solicit {
                    port,
                    addr,
                    unicast,
                } => self.solicit(port, addr, unicast),
                Action::Lost(id) => self.paths.set_mac(id, None),
                Action::Failed(id) => self.failed(id),
            }
        }
        while let Some(passed) = self.hold.take_expired(self.now) {
            self.drop(passed.frame, passed.port, DropReason::NeighbourUnresolved);
        }
    }

    fn failed(&mut self, id: NeighbourId) {
        self.paths.set_mac(id, None);
        if let Some((port, address)) = self.neighbours.name(id) {
            self.tell(Event::NeighbourLost { port, address });
        }
        while let Some(passed) = self.hold.take(id) {
            self.unreachable(passed);
        }
    }

    /// Neighbours that the new snapshot no longer allows are forgotten.
    pub(super) fn forget_foreign_neighbours(&mut self) {
        let snapshot = &self.snapshot;
        self.neighbours.renumber(|port, address| {
            let known = snapshot.ports.get(usize::from(port.0))?;
            let ours = snapshot.local.get(address).is_some();
            (known.is_connected(address) && !ours).then_some(port)
        });
    }
}
