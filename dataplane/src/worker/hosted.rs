//! The host as a client of services: what its kernel sends to a virtual server, a forward or a static
//! translation, and what comes back.
//!
//! Such a packet counts as one that came in by the port whose own address it has as its source, so that
//! its session is chosen, translated, shared and ended as every other is. The way back leads to the
//! kernel ([`host::link`]): no device has it, so [`Egress`](super::egress::Egress) keeps the frames apart.

use std::net::IpAddr;

use sluice_wire::parse::{Kind, Parsed};

use super::Worker;
use super::burst::{NOWHERE, Packet, arrive};
use super::egress::Hosted;
use super::forward::encapsulate;
use super::host::macs;
use super::plan;
use super::tables::PerFamily;
use crate::counters::DropReason;
use crate::io::{Frame, Io};
use crate::path::UNTAGGED;
use crate::published::WorkerCounter;

/// Length of an Ethernet header without a tag.
const ETHERNET: usize = 14;

impl<I: Io> Worker<I> {
    /// A packet of the host, from its address `from`, for an address of ours that is none of the kernel's:
    /// a service may take it.
    pub(super) fn serve_host<F: PerFamily>(
        &mut self,
        mut frame: I::Frame,
        parsed: &Parsed,
        from: IpAddr,
    ) -> Result<(), (I::Frame, DropReason)> {
        if !matches!(parsed.kind, Kind::Session | Kind::IcmpError) {
            return Err((frame, DropReason::NoRoute));
        }
        let own = plan::way(&self.snapshot, from).map(|way| way.hop.port);
        let Some((id, port)) = own
            .ok()
            .and_then(|id| Some((id, plan::port(&self.snapshot, id)?)))
        else {
            return Err((frame, DropReason::NoRoute));
        };
        let key = parsed.key::<F>(frame.bytes(), port.zone);
        let tuple = key.tuple::<F>();
        let served = F::table(&self.tables).contains(&key)
            || parsed.kind == Kind::IcmpError
            || !plan::inbound(&self.snapshot, &tuple, port.zone).is_for_nobody();
        if !served {
            return Err((frame, DropReason::NotListening));
        }
        // Another worker may have to look at it, and would as at what the device delivers.
        let (zone, device, macs) = (port.zone, port.device, macs(port.mac, port.mac));
        let vlan = port.vlan.unwrap_or(UNTAGGED);
        if !encapsulate(&mut frame, &macs, vlan, parsed.l3, parsed.v6) {
            return Err((frame, DropReason::NoBuffer));
        }
        let (parsed, _) = match arrive(&self.snapshot, device, &frame, self.taken()) {
            Ok(arrived) => arrived,
            Err((reason, _)) => return Err((frame, reason)),
        };
        let packet = Packet {
            hosted: true,
            ..Packet::arrived(frame, parsed, id)
        };
        self.find(packet, zone);
        Ok(())
    }

    /// Gives the host what services have for it.
    pub(super) fn deliver_to_host(&mut self) {
        let Some(hosted) = self.egress.take_hosted() else {
            return;
        };
        for Hosted {
            frame,
            port,
            originated,
        } in hosted
        {
            let given = match self.host.blank() {
                None => Err(DropReason::HostQueueFull),
                Some(mut parcel) => {
                    let packet = frame.bytes().get(ETHERNET..).unwrap_or_default();
                    if parcel.fill(port, packet) {
                        self.host.punt(parcel);
                        Ok(())
                    } else {
                        self.host.keep(parcel);
                        Err(DropReason::TooBig)
                    }
                }
            };
            match (given, originated) {
                (Ok(()), false) => self.counters.count(WorkerCounter::Punted),
                (Ok(()), true) => self.counters.count(WorkerCounter::Originated),
                (Err(_), true) => self.counters.count(WorkerCounter::OriginatedLost),
                (Err(reason), false) => self.drop(frame, NOWHERE, reason),
            }
        }
    }
}
