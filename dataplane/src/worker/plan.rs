//! What the configuration says about a new session, before anything is chosen or reserved.
//!
//! The same function serves opening a session and checking, after a change of configuration,
//! whether a session that is there would still be opened the same way.

use std::net::IpAddr;

use sluice_wire::{Tuple, proto};

use crate::counters::DropReason;
use crate::nat::rules::SourceNat;
use crate::services::Target;
use crate::snapshot::{LbMode, Local, PortId, ServerId, ServiceId, Snapshot};
use crate::stack::routes::NextHop;

/// Where a session's packets are to go, before routing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Destination {
    /// To the address they name.
    Keep,
    /// To a real server of this virtual server (index into the snapshot).
    VirtualServer(u16),
    /// To this address and port.
    Translate(IpAddr, u16),
}

/// The first half of the decision: destination translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Inbound {
    /// Where to.
    pub destination: Destination,
    /// The service that says so, or none.
    pub service: ServiceId,
    /// Source translation that the service itself asks for.
    pub source: SourceNat,
    /// Timeout set of the service.
    pub timeouts: u8,
    /// Whether its SYNs have their MSS clamped.
    pub clamp_mss: bool,
    /// Whether a service that is there to be reached from outside was named; the zones' default
    /// policy does not apply to it, explicit rules do.
    pub published: bool,
}

impl Inbound {
    /// Whether no service takes the packet.
    pub(super) fn is_for_nobody(&self) -> bool {
        self.destination == Destination::Keep
    }
}

/// Finds the service that a first packet names.
pub(super) fn inbound(snapshot: &Snapshot, tuple: &Tuple, zone: u8) -> Inbound {
    let plain = Inbound {
        destination: Destination::Keep,
        service: ServiceId::NONE,
        source: SourceNat::Keep,
        timeouts: 0,
        clamp_mss: false,
        published: false,
    };
    let at = |index: u16| usize::from(index);
    match snapshot.services.find(tuple.dst, tuple.proto, tuple.dport) {
        None => plain,
        Some(Target::VirtualServer(index)) => match snapshot.virtual_servers.get(at(index)) {
            None => plain,
            Some(server) => Inbound {
                destination: Destination::VirtualServer(index),
                service: server.service,
                source: match (server.mode, server.snat_pool) {
                    (LbMode::Fullnat, Some(pool)) => SourceNat::Pool(pool),
                    (LbMode::Fullnat, None) => SourceNat::Masquerade,
                    (LbMode::Dnat | LbMode::Dsr, _) => SourceNat::Keep,
                },
                timeouts: server.timeouts,
                clamp_mss: server.clamp_mss.is_some(),
                published: true,
            },
        },
        Some(Target::Forward(index)) => match snapshot.nat.forwards.get(at(index)) {
            None => plain,
            Some(forward) => {
                let to = forward.apply(*tuple);
                Inbound {
                    destination: Destination::Translate(to.dst, to.dport),
                    service: forward.service,
                    source: forward.source,
                    timeouts: forward.timeouts,
                    published: true,
                    ..plain
                }
            }
        },
        Some(Target::Static(index)) => match snapshot.nat.statics.get(at(index)) {
            None => plain,
            Some(fixed) => {
                let to = fixed.inbound(*tuple);
                Inbound {
                    destination: Destination::Translate(to.dst, to.dport),
                    service: fixed.service,
                    published: fixed.opens_from(zone),
                    ..plain
                }
            }
        },
    }
}

/// Where the packets of one direction leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Way {
    /// Route.
    pub hop: NextHop,
    /// The neighbour to give them to.
    pub neighbour: IpAddr,
    /// Zone of the egress port.
    pub zone: u8,
}

/// Routes an address.
///
/// # Errors
/// [`DropReason::NoRoute`].
pub(super) fn way(snapshot: &Snapshot, to: IpAddr) -> Result<Way, DropReason> {
    let hop = snapshot.routes.lookup(to).ok_or(DropReason::NoRoute)?;
    let port = snapshot
        .ports
        .get(usize::from(hop.port.0))
        .ok_or(DropReason::Internal)?;
    Ok(Way {
        hop,
        neighbour: hop.gateway.unwrap_or(to),
        zone: port.zone,
    })
}

/// The second half: policy and source translation, once the destination is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Outbound {
    /// What the source becomes.
    pub source: Source,
    /// The service that the session runs under.
    pub service: ServiceId,
    /// Timeout set.
    pub timeouts: u8,
    /// Whether its SYNs have their MSS clamped, by the service or for a port's sake.
    pub clamp_mss: bool,
}

/// What the source becomes, with the address known where it is fixed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// Stays.
    Keep,
    /// This address, port unchanged.
    Static(IpAddr),
    /// An address and port of this pool.
    Pool(u16),
    /// This address (the egress port's own) and a free port.
    Masquerade(IpAddr),
}

/// Asks the firewall and the source translation about a session from `zone` that arrives as `tuple`
/// and goes on to `target` (destination translated, source not yet). `way` leads there, and `back`
/// to the source.
///
/// # Errors
/// Why the session may not be opened.
pub(super) fn outbound(
    snapshot: &Snapshot,
    inbound: &Inbound,
    tuple: &Tuple,
    target: &Tuple,
    zone: u8,
    [way, back]: [&Way; 2],
) -> Result<Outbound, DropReason> {
    let decision = snapshot.firewall.decide(zone, way.zone, tuple);
    let by_rule = decision.service != ServiceId::NONE;
    if !decision.allow && (by_rule || !inbound.published) {
        return Err(DropReason::Denied);
    }
    let mut plan = Outbound {
        source: Source::Keep,
        service: inbound.service,
        timeouts: inbound.timeouts,
        clamp_mss: inbound.clamp_mss,
    };
    let port = snapshot
        .ports
        .get(usize::from(way.hop.port.0))
        .ok_or(DropReason::Internal)?;
    let came_by = self::port(snapshot, back.hop.port);
    plan.clamp_mss |= port.clamp_mss || came_by.is_some_and(|port| port.clamp_mss);
    if plan.service == ServiceId::NONE {
        plan.service = decision.service;
        plan.timeouts = decision.timeouts;
    }
    let own = || port.source_for(way.neighbour).ok_or(DropReason::NoRoute);
    let resolve = |source: SourceNat| -> Result<Source, DropReason> {
        Ok(match source {
            SourceNat::Keep => Source::Keep,
            SourceNat::Pool(pool) => Source::Pool(pool),
            SourceNat::Masquerade => Source::Masquerade(own()?),
        })
    };
    if inbound.source != SourceNat::Keep {
        plan.source = resolve(inbound.source)?;
        return Ok(plan);
    }
    if inbound.destination != Destination::Keep {
        // A host that reaches its own network by a published address: without translating the
        // source, the answer would go straight to it from an address that it never spoke to.
        if zone == way.zone && !is_dsr(snapshot, inbound) {
            plan.source = hairpin(snapshot, tuple, target, zone, &own)?;
        }
        return Ok(plan);
    }
    let rule = snapshot.nat.source_rule(zone, way.zone, target);
    // A rule that says "keep" exempts even a host with a static translation.
    let exempt = rule.is_some_and(|rule| rule.to_source == SourceNat::Keep);
    if let Some(fixed) = snapshot.nat.static_of(tuple.src)
        && zone != way.zone
        && !exempt
    {
        plan.source = Source::Static(fixed.external);
        plan.service = fixed.service;
        return Ok(plan);
    }
    if let Some(rule) = rule {
        plan.source = resolve(rule.to_source)?;
        plan.service = rule.service;
        plan.timeouts = rule.timeouts;
        plan.clamp_mss |= rule.clamp_mss.is_some();
    }
    Ok(plan)
}

fn is_dsr(snapshot: &Snapshot, inbound: &Inbound) -> bool {
    match inbound.destination {
        Destination::VirtualServer(index) => snapshot
            .virtual_servers
            .get(usize::from(index))
            .is_some_and(|server| server.mode == LbMode::Dsr),
        _ => false,
    }
}

/// RFC 4787 REQ-9: the source becomes what the outside would see, where there is such a thing, and
/// else our own address on that port.
fn hairpin(
    snapshot: &Snapshot,
    tuple: &Tuple,
    target: &Tuple,
    zone: u8,
    own: &impl Fn() -> Result<IpAddr, DropReason>,
) -> Result<Source, DropReason> {
    if let Some(fixed) = snapshot.nat.static_of(tuple.src) {
        return Ok(Source::Static(fixed.external));
    }
    // The rule that would apply if the host spoke to the world by the address it named.
    let outside = snapshot
        .routes
        .lookup(tuple.dst)
        .and_then(|hop| snapshot.ports.get(usize::from(hop.port.0)));
    let rule = outside
        .filter(|port| port.zone != zone)
        .and_then(|port| snapshot.nat.source_rule(zone, port.zone, tuple));
    match rule.map(|rule| rule.to_source) {
        Some(SourceNat::Pool(pool)) if target.src.is_ipv4() == tuple.dst.is_ipv4() => {
            Ok(Source::Pool(pool))
        }
        _ => Ok(Source::Masquerade(own()?)),
    }
}

/// Whether an echo request to `address` is ours to answer.
pub(super) fn answers_echo(snapshot: &Snapshot, address: IpAddr) -> bool {
    matches!(
        snapshot.local.get(address),
        Some(Local::Own(_) | Local::Vip | Local::Virtual)
    )
}

/// What a packet to one of our addresses, which no service takes, is dropped as.
pub(super) fn unserved(address: Option<Local>) -> Option<DropReason> {
    match address? {
        Local::Nat => Some(DropReason::NatNoMapping),
        Local::Own(_) | Local::Vip | Local::Virtual => Some(DropReason::NotListening),
    }
}

/// Whether the protocol has ports that translation may change.
pub(super) fn has_ports(number: u8) -> bool {
    matches!(
        number,
        proto::TCP | proto::UDP | proto::ICMP | proto::ICMPV6
    )
}

/// Whether a real server may keep the sessions that it has.
pub(super) fn keeps_sessions(snapshot: &Snapshot, server: ServerId) -> bool {
    use crate::snapshot::ServerState;
    let known = snapshot
        .servers
        .get(usize::from(server.0))
        .and_then(Option::as_ref);
    known.is_some_and(|server| server.state != ServerState::Down)
}

/// The port, if the snapshot has it.
pub(super) fn port(snapshot: &Snapshot, id: PortId) -> Option<&crate::snapshot::Port> {
    snapshot.ports.get(usize::from(id.0))
}
