//! What is for the appliance itself: neighbour protocols and echo.

use std::net::IpAddr;

use sluice_wire::{MacAddr, Parsed};

use super::Worker;
use super::burst::Packet;
use super::egress::Egress;
use crate::counters::DropReason;
use crate::handoff::{Message, Rings};
use crate::io::{DeviceId, Frame, Io};
use crate::mailbox::Event;
use crate::published::WorkerCounter;
use crate::snapshot::PortId;
use crate::stack::link::{Heard, Link};
use crate::stack::{arp, echo, ether, mld, nd};

impl<I: Io> Worker<I> {
    /// ARP.
    #[cold]
    pub(super) fn arp(&mut self, packet: Packet<I::Frame>) {
        self.neighbour_message(packet, DropReason::BadArp, arp::handle);
    }

    /// IPv6 neighbour discovery.
    #[cold]
    pub(super) fn neighbour_discovery(&mut self, packet: Packet<I::Frame>) {
        self.neighbour_message(packet, DropReason::BadNeighbourDiscovery, nd::handle);
    }

    fn neighbour_message(
        &mut self,
        packet: Packet<I::Frame>,
        malformed: DropReason,
        handle: impl FnOnce(&mut I::Frame, &Parsed, &Link<'_>) -> Option<Heard>,
    ) {
        let Packet {
            mut frame,
            parsed,
            port: id,
            ..
        } = packet;
        let Some(link) = Link::of(&self.snapshot, id, self.held()) else {
            return self.drop(frame, id, DropReason::Internal);
        };
        let device = link.port.device;
        let sender = ether::sender(frame.bytes()).unwrap_or(MacAddr::ZERO);
        let Some(heard) = handle(&mut frame, &parsed, &link) else {
            return self.drop(frame, id, malformed);
        };
        if let Some(address) = heard.conflict {
            self.counters.count(WorkerCounter::AddressConflicts);
            if self.error_limit.allow(self.now) {
                self.tell(Event::AddressConflict {
                    port: id,
                    address,
                    mac: sender,
                });
            }
        }
        if let Some(learned) = heard.learned {
            self.learn(&learned);
        }
        self.finish(frame, device, heard.answered);
    }

    /// An echo request to an address of ours.
    #[cold]
    pub(super) fn echo(&mut self, packet: Packet<I::Frame>) {
        let Packet {
            mut frame,
            parsed,
            port: id,
            ..
        } = packet;
        let Some(port) = self.snapshot.ports.get(usize::from(id.0)) else {
            return self.drop(frame, id, DropReason::Internal);
        };
        let device = port.device;
        if echo::reply(&mut frame, &parsed, port) {
            self.finish(frame, device, true);
        } else {
            self.drop(frame, id, DropReason::IcmpUnsupported);
        }
    }

    /// A received frame was for us; it may have become our answer.
    fn finish(&mut self, frame: I::Frame, device: DeviceId, answered: bool) {
        self.counters.count(WorkerCounter::Consumed);
        if answered {
            self.originate(frame, device);
        }
    }

    /// Asks who has an address.
    pub(super) fn solicit(&mut self, port: PortId, address: IpAddr, unicast: Option<MacAddr>) {
        let Some(port) = self.snapshot.ports.get(usize::from(port.0)) else {
            return;
        };
        let Some(mut frame) = self.io.alloc() else {
            return;
        };
        let made = match address {
            IpAddr::V4(target) => arp::solicit(port, target, unicast, &mut frame),
            IpAddr::V6(target) => nd::solicit(port, target, unicast, &mut frame),
        };
        if made {
            let device = port.device;
            self.originate(frame, device);
        }
    }

    /// Tells all neighbours which addresses are ours: stations that knew another MAC address for one
    /// of them learn of the change at once, and switches which groups to deliver. One worker speaks
    /// for all.
    pub(super) fn announce(&mut self) {
        if self.id != 0 {
            return;
        }
        let held = self.held();
        let Self {
            snapshot,
            io,
            egress,
            rings,
            ..
        } = self;
        for id in (0..snapshot.ports.len() as u16).map(PortId) {
            let Some(link) = Link::of(snapshot, id, held) else {
                continue;
            };
            report_groups(&link, mld::Why::Joined, io, egress, rings);
            for address in link.answered() {
                if !announce_on(&link, address, io, egress, rings) {
                    return;
                }
            }
        }
    }

    /// Multicast listener discovery: a query is answered by our groups on that port.
    #[cold]
    pub(super) fn listener_message(&mut self, packet: Packet<I::Frame>) {
        if !mld::is_query(packet.frame.bytes(), &packet.parsed) {
            return self.reject(packet, DropReason::Multicast);
        }
        self.counters.count(WorkerCounter::Consumed);
        let id = packet.port;
        if !self.error_limit.allow(self.now) {
            return;
        }
        if let Some(link) = Link::of(&self.snapshot, id, self.held()) {
            let (io, egress) = (&mut self.io, &mut self.egress);
            report_groups(&link, mld::Why::Asked, io, egress, &self.rings);
        }
    }

    /// Ends everything that waits for something that will not come any more.
    pub(super) fn drop_what_waits(&mut self) {
        while let Some(passed) = self.hold.take_any() {
            self.drop(passed.frame, passed.port, DropReason::Stopped);
        }
        self.fragments.clear(DropReason::Stopped);
        self.take_released_fragments();
        while let Some(message) = self.rings.pop() {
            match message {
                Message::Packet(passed) => {
                    self.counters.count(WorkerCounter::TakenOver);
                    self.drop(passed.frame, passed.port, DropReason::Stopped);
                }
                Message::Transmit {
                    frame,
                    device,
                    originated,
                } => {
                    self.counters
                        .add(WorkerCounter::TakenOver, u64::from(!originated));
                    self.egress
                        .push(&mut self.io, &self.rings, device, frame, originated);
                }
                Message::HaDatagram(_) | Message::HaWitness { .. } => {
                    self.counters.count(WorkerCounter::TakenOver);
                    self.counters.drop(DropReason::Stopped);
                }
                Message::Register { .. }
                | Message::Unregister { .. }
                | Message::Expect { .. }
                | Message::Neighbour(_)
                | Message::TunnelHop { .. }
                | Message::HaRecords { .. }
                | Message::HaSweep { .. }
                | Message::HaSumsWanted { .. }
                | Message::HaSums { .. }
                | Message::PeerUp(_)
                | Message::PeerDown { .. }
                | Message::Held(_)
                | Message::Ready(_)
                | Message::Going(_)
                | Message::PeerApplied { .. }
                | Message::PeerTold(_) => {}
            }
        }
    }
}

/// Tells all stations on a link that an address is ours. False if there is no packet buffer.
pub(super) fn announce_on<I: Io>(
    link: &Link<'_>,
    address: IpAddr,
    io: &mut I,
    egress: &mut Egress<I::Frame>,
    rings: &Rings<I::Frame>,
) -> bool {
    let Some(mut frame) = io.alloc() else {
        return false;
    };
    let (port, mac) = (link.port, link.mac_of(address));
    let made = match address {
        IpAddr::V4(own) => arp::announce(port, mac, own, &mut frame),
        IpAddr::V6(own) => nd::announce(port, mac, own, &mut frame),
    };
    if made {
        egress.push(io, rings, port.device, frame, true);
    }
    true
}

/// Tells switches that snoop which multicast groups a link is to be sent.
pub(super) fn report_groups<I: Io>(
    link: &Link<'_>,
    why: mld::Why,
    io: &mut I,
    egress: &mut Egress<I::Frame>,
    rings: &Rings<I::Frame>,
) {
    let mut reported = 0;
    while let Some(mut frame) = io.alloc() {
        match mld::report(link, reported, why, &mut frame) {
            Some(next) => reported = next,
            None => return,
        }
        egress.push(io, rings, link.port.device, frame, true);
    }
}
