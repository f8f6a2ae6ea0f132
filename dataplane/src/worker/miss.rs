//! A packet that has no session on this worker: whose is it?

use sluice_wire::parse::{Kind, Parsed};
use sluice_wire::{Key, Tuple, proto};

use super::Worker;
use super::burst::Packet;
use super::open::{Blueprint, Refusal};
use super::plan;
use super::tables::PerFamily;
use crate::counters::DropReason;
use crate::handoff::{Message, Why};
use crate::io::{Frame, Io};
use crate::snapshot::{OutOfState, Snapshot};
use crate::tcp::{self, Opening};

/// What a packet is that nobody knows, before policy is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// It may open a session.
    Opens,
    /// It is an echo request to us.
    Echo,
    /// It is answered by a reset.
    Reset,
    /// It must not go further.
    Expired,
    /// It is dropped.
    Drop(DropReason),
}

/// Looks at a packet that has no session.
pub(super) fn look(snapshot: &Snapshot, parsed: &Parsed, tuple: &Tuple) -> Look {
    if matches!(tuple.proto, proto::ICMP | proto::ICMPV6) {
        if tuple.sport != 0 && plan::answers_echo(snapshot, tuple.dst) {
            return Look::Echo;
        }
        if tuple.sport == 0 && tuple.dport != 0 {
            // An echo reply that nobody asked for.
            return Look::Drop(DropReason::OutOfState);
        }
    }
    if parsed.ttl <= 1 {
        return Look::Expired;
    }
    if tuple.proto != proto::TCP {
        return Look::Opens;
    }
    let opening = match parsed.kind {
        Kind::FragmentRest => Opening::Reply,
        _ => tcp::opening(parsed.tcp_flags),
    };
    match (opening, snapshot.tcp.out_of_state) {
        (Opening::Syn, _) | (Opening::Middle, OutOfState::Adopt) => Look::Opens,
        (Opening::Middle, OutOfState::Reset) => Look::Reset,
        (Opening::Invalid, _) => Look::Drop(DropReason::TcpInvalid),
        _ => Look::Drop(DropReason::OutOfState),
    }
}

impl<I: Io> Worker<I> {
    /// Finds the worker that deals with the packet; here, opens a session if policy lets it.
    #[cold]
    pub(super) fn miss<F: PerFamily>(
        &mut self,
        packet: Packet<I::Frame>,
        key: &Key<F::Addrs>,
        hash: u64,
    ) {
        if let Some(flow) = self.find_among_firsts::<F>(&packet, key, hash) {
            return self.hit::<F>(packet, flow);
        }
        if self.rings.workers() > 1 {
            if packet.why < Why::Owner
                && let Some(owner) = F::registered(&mut self.tables, key, hash, self.now)
            {
                return self.pass(owner, packet, Why::Owner);
            }
            let home = self.home_of::<F>(key, packet.port);
            if packet.why < Why::Home && home != self.id {
                return self.pass(home, packet, Why::Home);
            }
            if packet.why == Why::Owner {
                // The pointer that led here is out of date.
                let message = Message::Unregister {
                    key: F::any(*key),
                    owner: self.id,
                };
                let _ = self.rings.push(home, message);
            }
        }
        let Some(packet) = self.meet_expected::<F>(packet, key, hash) else {
            return;
        };
        if self.snapshot.host.is_some()
            && let Some(claim) = self.host_claims::<F>(&packet, key)
        {
            return self.punt(packet, claim);
        }
        let tuple = key.tuple::<F>();
        let bytes = packet.frame.bytes();
        if let Some(talk) = self.redirected(&packet.parsed, bytes, &tuple, packet.corrected) {
            return self.talk(packet, &tuple, &talk);
        }
        if self.awaits_peer(&tuple) {
            return self.reject(packet, DropReason::HaWaiting);
        }
        let why = self.is_pointed::<F>(key, packet.corrected);
        let why = why.or_else(|| self.is_for_peer(&packet, &tuple));
        let Some(packet) = self.correct_if(packet, why) else {
            return;
        };
        match packet.parsed.kind {
            Kind::IcmpError => self.reject(packet, DropReason::IcmpUnrelated),
            _ => self.consider::<F>(packet, key, hash),
        }
    }

    /// Nobody knows the packet: answer it, open a session for it, or refuse it.
    fn consider<F: PerFamily>(&mut self, packet: Packet<I::Frame>, key: &Key<F::Addrs>, hash: u64) {
        let tuple = key.tuple::<F>();
        match look(&self.snapshot, &packet.parsed, &tuple) {
            Look::Opens => {}
            Look::Echo => return self.echo(packet),
            Look::Reset => return self.refuse_by_reset(packet),
            Look::Expired => return self.refuse(packet, DropReason::TtlExceeded),
            Look::Drop(reason) => return self.reject(packet, reason),
        }
        let blueprint = match self.design::<F>(&packet, key.zone, &tuple) {
            Ok(blueprint) => blueprint,
            Err(refusal) => return self.turn_away(packet, &tuple, refusal),
        };
        let key = (key, hash);
        if let Some((packet, blueprint)) = self.wait_for_burst::<F>(packet, key, &tuple, blueprint)
        {
            self.conclude::<F>(packet, key, &tuple, blueprint);
        }
    }

    /// Opens the session that was designed for its first packet, and sends that on. No flow has the
    /// packet's key, which comes with its hash.
    pub(super) fn conclude<F: PerFamily>(
        &mut self,
        packet: Packet<I::Frame>,
        key: (&Key<F::Addrs>, u64),
        tuple: &Tuple,
        blueprint: Blueprint,
    ) {
        match self.open::<F>(&packet, key, tuple, blueprint) {
            Ok(at) => self.hit::<F>(packet, at),
            Err(refusal) => self.turn_away(packet, tuple, refusal),
        }
    }

    pub(super) fn turn_away(&mut self, packet: Packet<I::Frame>, tuple: &Tuple, refusal: Refusal) {
        match refusal {
            Refusal::PassTo(worker) => self.pass(worker, packet, Why::Affinity),
            Refusal::Correct(errand) => {
                if let Some(packet) = self.correct(packet, errand) {
                    self.refuse(packet, DropReason::NatNoMapping);
                }
            }
            Refusal::Redirect(virtual_server) => self.accept(packet, tuple, virtual_server),
            Refusal::Drop(reason) => {
                let why = self.is_for_peer_though(&packet, tuple, reason);
                let Some(packet) = self.correct_if(packet, why) else {
                    return;
                };
                self.refuse(packet, reason);
            }
        }
    }
}
