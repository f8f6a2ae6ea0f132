//! Where a packet on paper would go, and what stands in its way.

use std::net::IpAddr;

use sluice_wire::Tuple;
use sluice_wire::parse::Parsed;

use super::super::Worker;
use super::super::open::Aim;
use super::super::plan::{self, Way};
use crate::counters::DropReason;
use crate::host;
use crate::io::Io;
use crate::mailbox::trace::{Step, Trace};
use crate::snapshot::{PortId, ServerId};
use crate::stack::neighbour::Reach;

impl<I: Io> Worker<I> {
    /// Writes down what routes and policy say, as far as they were asked.
    pub(super) fn note_policy(
        &self,
        trace: &mut Trace,
        aim: &Aim,
        server: ServerId,
        zone: u8,
        tuple: &Tuple,
    ) {
        let real = self.snapshot.servers.get(usize::from(server.0));
        let real = real.and_then(Option::as_ref).map(|real| real.address);
        let to = real.unwrap_or(aim.via);
        let Ok(forth) = plan::way(&self.snapshot, to) else {
            return;
        };
        trace.steps.push(Step::Route {
            to,
            port: forth.hop.port,
            zone: forth.zone,
            via: forth.neighbour,
        });
        let Ok(back) = plan::way(&self.snapshot, tuple.src) else {
            return;
        };
        trace
            .steps
            .push(Step::SourceRoute(back.hop.port, back.zone));
        if back.zone != zone {
            return;
        }
        let decision = self.snapshot.firewall.decide(zone, forth.zone, tuple);
        trace.steps.push(Step::Policy {
            from: zone,
            to: forth.zone,
            allow: decision.allow,
            rule: decision.service,
            published: aim.inbound.published,
        });
    }

    pub(super) fn hop(&self, way: &Way) -> Option<Hop> {
        let port = plan::port(&self.snapshot, way.hop.port)?;
        let known = self.neighbours.find(way.hop.port, way.neighbour);
        Some(Hop {
            port: way.hop.port,
            mtu: port.mtu,
            address: Some(way.neighbour),
            // One that is not known is asked for.
            reach: known.map_or(Reach::Wait, |id| self.neighbours.reach(id, self.now)),
            kernel: host::is_own(&self.snapshot, way.neighbour),
        })
    }

    /// As [`obstacle`](Worker::obstacle).
    pub(super) fn trace_obstacle(
        &self,
        trace: &mut Trace,
        parsed: &Parsed,
        hop: &Hop,
    ) -> Option<DropReason> {
        if parsed.ttl <= 1 {
            return Some(DropReason::TtlExceeded);
        }
        if parsed.ip_len() > hop.mtu && parsed.dont_fragment(&trace.frame) {
            return Some(DropReason::TooBig);
        }
        if hop.kernel {
            return None;
        }
        if let Some(address) = hop.address {
            let mac = match hop.reach {
                Reach::At(mac) => Some(mac),
                Reach::Wait | Reach::Unreachable => None,
            };
            trace.steps.push(Step::Neighbour { address, mac });
        }
        (hop.reach == Reach::Unreachable).then_some(DropReason::NeighbourUnresolved)
    }
}

/// The next link of a packet.
pub(super) struct Hop {
    pub(super) port: PortId,
    pub(super) mtu: u16,
    pub(super) address: Option<IpAddr>,
    pub(super) reach: Reach,
    /// It is the host's kernel: there is no neighbour.
    pub(super) kernel: bool,
}
