//! What would become of a packet: the way of `burst`, `hit`, `miss` and `open`, on paper.
//!
//! Whatever decides something is the function that decides about packets; only what they do about it
//! is left out. What has a turn (scheduler) or a place (lease) is asked on a copy. Random packets in
//! `dataplane/tests/trace.rs` hold what is said here against what then happens.

use std::net::IpAddr;

use sluice_wire::parse::Kind;
use sluice_wire::{Key, Tuple, V4, V6, proto};

use super::Worker;
use super::burst::{Packet, judge_arrival};
use super::ha::{Whose, is_mapped, opens};
use super::hit;
use super::http_redirect::may_be_redirected;
use super::miss::{Look, look};
use super::open::{Blueprint, Denial, Refusal};
use super::plan;
use super::revalidate::renewal;
use super::source::{Chosen, Sources};
use super::tables::PerFamily;
use crate::counters::DropReason;
use crate::handoff::{Corrected, Why};
use crate::host;
use crate::io::{Io, RxMeta};
use crate::lb;
use crate::mailbox::trace::{Over, Step, TcpVerdict, Trace, Verdict};
use crate::nat::mapping::MappingError;
use crate::rewrite;
use crate::session::table::{Direction, FlowRef, SessionId};
use crate::snapshot::{PortId, ServerId};
use crate::stack::neighbour::Reach;
use crate::tcp;

mod way;

use way::Hop;

/// A packet on paper: the frame itself stays in the [`Trace`].
type OnPaper = Packet<()>;

impl<I: Io> Worker<I> {
    /// Judges a packet, and changes nothing.
    #[cold]
    pub(super) fn trace(&mut self, trace: &mut Trace) {
        let meta = RxMeta {
            vlan_tci: trace.tci,
            ..RxMeta::default()
        };
        let arrived = judge_arrival(
            &self.snapshot,
            trace.device,
            &trace.frame,
            &meta,
            self.taken(),
        );
        trace.verdict = match arrived {
            Err((reason, port)) => {
                if let Some(port) = port {
                    self.note_port(trace, port);
                }
                Verdict::Drop(reason)
            }
            Ok((parsed, port)) => {
                if trace.why == Why::Arrived {
                    self.note_port(trace, port);
                }
                let packet = Packet {
                    frame: (),
                    parsed,
                    port,
                    why: trace.why,
                    datagram: None,
                    corrected: Corrected::NO,
                    hosted: false,
                };
                match self.zone(port) {
                    None => Verdict::Drop(DropReason::Internal),
                    Some(zone) if parsed.v6 => self.trace_kind::<V6>(trace, &packet, zone),
                    Some(zone) => self.trace_kind::<V4>(trace, &packet, zone),
                }
            }
        };
    }

    fn note_port(&self, trace: &mut Trace, port: PortId) {
        let zone = self.zone(port).unwrap_or_default();
        trace.steps.push(Step::Port(port, zone));
    }

    fn trace_kind<F: PerFamily>(
        &mut self,
        trace: &mut Trace,
        packet: &OnPaper,
        zone: u8,
    ) -> Verdict {
        let parsed = &packet.parsed;
        match parsed.kind {
            Kind::Session | Kind::IcmpError => {}
            Kind::FragmentFirst | Kind::FragmentRest => {
                let home = self.home_of_pieces(parsed, &trace.frame, packet.port, zone);
                return match home != self.id && packet.why < Why::Pieces {
                    true => Verdict::Pass(home, Why::Pieces),
                    false => Verdict::Fragment,
                };
            }
            Kind::Arp | Kind::NeighbourDiscovery | Kind::MulticastListener => {
                return Verdict::Consume;
            }
        }
        let key = parsed.key::<F>(&trace.frame, zone);
        if packet.why == Why::Arrived {
            trace.steps.push(Step::Parsed {
                kind: parsed.kind,
                tuple: key.tuple::<F>(),
                ttl: parsed.ttl,
                length: parsed.ip_len(),
                flags: parsed.tcp_flags,
            });
        }
        let table = F::table(&self.tables);
        if let Some(at) = table.lookup(&key, table.hash(&key)) {
            match self.trace_hit::<F>(trace, packet, at) {
                Ok(verdict) => return verdict,
                Err(over) => {
                    trace.steps.push(Step::SessionOver(over));
                    return self.trace_miss::<F>(trace, packet, &key, Some(at.session()));
                }
            }
        }
        self.trace_miss::<F>(trace, packet, &key, None)
    }

    /// As [`hit`](Worker::hit). Errs if the session is over.
    fn trace_hit<F: PerFamily>(
        &self,
        trace: &mut Trace,
        packet: &OnPaper,
        at: FlowRef,
    ) -> Result<Verdict, Over> {
        let internal = Verdict::Drop(DropReason::Internal);
        let (id, direction, parsed) = (at.session(), at.direction(), &packet.parsed);
        let table = F::table(&self.tables);
        let (Some(session), Some(cold)) = (table.session(id), table.cold(id)) else {
            return Ok(internal);
        };
        let [original, reply] = session.flows;
        trace.steps.push(Step::Session {
            direction,
            original: original.arrives(),
            reply: reply.arrives(),
            state: original.state,
            service: cold.service,
            server: cold.server,
        });
        let (mut this, mut other) = match direction {
            Direction::Original => (original, reply),
            Direction::Reply => (reply, original),
        };
        let mut today = None;
        if this.epoch != self.snapshot.epoch {
            if session.is_replica()
                && self.whose::<F>(id, packet.corrected, opens(parsed)) != Whose::Ours
            {
                trace.steps.push(Step::Peer);
                return Ok(Verdict::Redirect);
            }
            let mapped = is_mapped(session, cold);
            let (arrives, leaves) = (original.arrives(), original.leaves());
            let zones = (original.zone, reply.zone);
            let renewed = renewal(
                &self.snapshot,
                &arrives,
                &leaves,
                zones,
                cold.server,
                mapped,
            );
            let renewed = renewed.ok_or(Over::Configuration)?;
            today = Some(match direction {
                Direction::Original => renewed.forth,
                Direction::Reply => renewed.back,
            });
            this.timeouts = renewed.timeouts();
        }
        let limit = self.snapshot.timeout(this.timeouts, this.proto, this.state);
        let idle = |seen: u32| self.now.wrapping_sub(seen) >= limit;
        if idle(this.seen) && idle(other.seen) {
            return Err(Over::Timeout);
        }
        if parsed.kind != Kind::IcmpError
            && hit::asks_again(&this, &other, direction, parsed)
            && cold.server != ServerId::NONE
            && lb::share(&self.snapshot.servers, cold.server) == 0
        {
            return Err(Over::Unanswered);
        }
        let hop = match today {
            Some(way) => self.hop(&way),
            None => self.paths.get(this.path).map(|path| Hop {
                port: path.port,
                mtu: path.mtu,
                address: self
                    .neighbours
                    .name(path.neighbour)
                    .map(|(_, address)| address),
                reach: self.neighbours.reach(path.neighbour, self.now),
                kernel: path.neighbour == host::KERNEL,
            }),
        };
        let Some(hop) = hop else {
            return Ok(internal);
        };
        if let Some(reason) = self.trace_obstacle(trace, parsed, &hop) {
            return Ok(Verdict::Drop(reason));
        }
        if parsed.kind == Kind::IcmpError {
            if !rewrite::icmp::apply(&this, &mut trace.frame.clone(), parsed) {
                return Ok(Verdict::Drop(DropReason::IcmpUnrelated));
            }
        } else if this.proto == proto::TCP {
            let Some(segment) = hit::segment(&trace.frame, parsed) else {
                return Ok(Verdict::Drop(DropReason::BadL4Header));
            };
            let (fate, says) = match tcp::step(&mut this, &mut other, direction, &segment, self.now)
            {
                tcp::Verdict::Pass | tcp::Verdict::Moved => (None, TcpVerdict::Fits),
                tcp::Verdict::OutOfWindow => {
                    let strict = self.snapshot.tcp.strict_window;
                    let reason = strict.then_some(DropReason::TcpOutOfWindow);
                    (reason, TcpVerdict::OutOfWindow)
                }
                tcp::Verdict::Invalid => (Some(DropReason::TcpInvalid), TcpVerdict::Invalid),
                tcp::Verdict::Reopen => return Err(Over::Reopened),
            };
            trace.steps.push(Step::Tcp(says));
            if let Some(reason) = fate {
                return Ok(Verdict::Drop(reason));
            }
        }
        if hop.kernel {
            trace.steps.push(Step::Host { reply: true });
            return Ok(Verdict::Punt);
        }
        Ok(Verdict::Forward {
            port: hop.port,
            leaves: this.leaves(),
            waits: hop.reach == Reach::Wait,
        })
    }

    /// As [`miss`](Worker::miss). The packet would have ended session `over`.
    fn trace_miss<F: PerFamily>(
        &mut self,
        trace: &mut Trace,
        packet: &OnPaper,
        key: &Key<F::Addrs>,
        over: Option<SessionId>,
    ) -> Verdict {
        let (parsed, why) = (&packet.parsed, packet.why);
        trace.steps.push(Step::NoSession);
        if self.rings.workers() > 1 {
            let hash = F::table(&self.tables).hash(key);
            if why < Why::Owner
                && let Some(owner) = F::find_registered(&self.tables, key, hash, self.now)
            {
                trace.steps.push(Step::Registered(owner));
                return Verdict::Pass(owner, Why::Owner);
            }
            let home = self.home_of::<F>(key, packet.port);
            if why < Why::Home && home != self.id {
                trace.steps.push(Step::Home(home));
                return Verdict::Pass(home, Why::Home);
            }
        }
        if self.snapshot.host.is_some() {
            let reply = F::host(&self.tables).has(key, self.now);
            if reply || self.host_admits::<F>(parsed, key) {
                trace.steps.push(Step::Host { reply });
                return Verdict::Punt;
            }
        }
        let tuple = key.tuple::<F>();
        if let Some(talk) = self.redirected(parsed, &trace.frame, &tuple, packet.corrected) {
            let answer = self.judge_talk(parsed, &trace.frame, &tuple, &talk, packet.port);
            return match answer {
                Ok(answer) => {
                    trace.steps.push(Step::Redirected(answer));
                    Verdict::Consume
                }
                Err(denial) => self.trace_denial(trace, denial),
            };
        }
        if self.awaits_peer(&tuple) {
            return Verdict::Drop(DropReason::HaWaiting);
        }
        let pointed = self.is_pointed::<F>(key, packet.corrected);
        if pointed
            .or_else(|| self.is_for_peer(packet, &tuple))
            .is_some()
        {
            trace.steps.push(Step::Peer);
            return Verdict::Redirect;
        }
        if parsed.kind == Kind::IcmpError {
            return Verdict::Drop(DropReason::IcmpUnrelated);
        }
        let look = look(&self.snapshot, parsed, &tuple);
        trace.steps.push(Step::Opens(look == Look::Opens));
        match look {
            Look::Opens => {}
            Look::Echo => return Verdict::Consume,
            Look::Reset => return Verdict::Drop(DropReason::OutOfState),
            Look::Expired => return Verdict::Drop(DropReason::TtlExceeded),
            Look::Drop(reason) => return Verdict::Drop(reason),
        }
        match self.trace_opening::<F>(trace, packet, (key, &tuple), over) {
            Ok(verdict) => verdict,
            Err(Refusal::PassTo(worker)) => {
                trace.steps.push(Step::Decider(worker));
                Verdict::Pass(worker, Why::Affinity)
            }
            Err(Refusal::Correct(_)) => {
                trace.steps.push(Step::Peer);
                Verdict::Redirect
            }
            Err(Refusal::Redirect(index)) => {
                let judged = self.judge_redirect(parsed, &trace.frame, &tuple, index, packet.port);
                match judged {
                    Ok(()) => {
                        trace.steps.push(Step::LastResort);
                        Verdict::Consume
                    }
                    Err(denial) => self.trace_denial(trace, denial),
                }
            }
            Err(Refusal::Drop(reason)) => {
                if self.is_for_peer_though(packet, &tuple, reason).is_some() {
                    trace.steps.push(Step::Peer);
                    return Verdict::Redirect;
                }
                Verdict::Drop(reason)
            }
        }
    }

    /// As for segments to a virtual server that redirects.
    fn trace_denial(&self, trace: &mut Trace, denial: Denial) -> Verdict {
        if let Some(rule) = denial.rule {
            trace.steps.push(Step::Denied(rule));
        }
        Verdict::Drop(denial.reason)
    }

    /// As [`design`](Worker::design) and [`open`](Worker::open).
    fn trace_opening<F: PerFamily>(
        &mut self,
        trace: &mut Trace,
        packet: &OnPaper,
        (key, tuple): (&Key<F::Addrs>, &Tuple),
        over: Option<SessionId>,
    ) -> Result<Verdict, Refusal> {
        let zone = key.zone;
        let inbound = plan::inbound(&self.snapshot, tuple, zone);
        trace.steps.push(Step::Service(inbound.service));
        let aim = self.aim(packet.why, zone, tuple)?;
        if aim.mapping != 0 {
            trace
                .steps
                .push(Step::Mapping(aim.target.dst, aim.target.dport));
        }
        let mut server = ServerId::NONE;
        if let Some(index) = aim.virtual_server {
            let missing = DropReason::NoRealServer;
            let servers = &self.snapshot.virtual_servers;
            let vs = servers.get(usize::from(index)).ok_or(missing)?;
            server = match self.balancer.rehearse(vs, tuple, self.now) {
                Ok(picked) => picked.server,
                Err(_) if may_be_redirected(vs, packet) => return Err(Refusal::Redirect(index)),
                Err(why) => return Err(DropReason::from(why).into()),
            };
            trace.steps.push(Step::Server(server));
        }
        let judged = self.judge(&aim, server, zone, tuple);
        self.note_policy(trace, &aim, server, zone, tuple);
        let mut blueprint = judged.map_err(|denial| denial.reason)?;
        let sources = Sources {
            snapshot: &self.snapshot,
            tables: &self.tables,
            inherits: self.inherits_ports(),
            shared: self.ha.is_some() && self.rings.workers() > 1,
            now: self.now,
            except: over,
        };
        let mut leases = self.leases.clone();
        let chosen = sources.choose::<F>(&mut leases, packet.why, tuple.proto, &blueprint)?;
        let source = match chosen {
            Chosen::Tuple(leaves) | Chosen::Lease(leaves, _) => {
                blueprint.leaves = leaves;
                Some((leaves.src, leaves.sport))
            }
            Chosen::Mapping(pool) => self.foresee_mapping(packet, tuple, pool, &mut blueprint)?,
        };
        trace.steps.push(Step::Source {
            service: blueprint.outbound.service,
            source,
        });
        let table = F::table(&self.tables);
        if table.len() >= table.capacity() && over.is_none() {
            return Err(DropReason::SessionTableFull.into());
        }
        let leaves = blueprint.leaves;
        let reply = Key::new::<F>(&leaves.reverse(), blueprint.forth.zone);
        let taken = table.lookup(&reply, table.hash(&reply));
        if source.is_some() && taken.is_some_and(|at| Some(at.session()) != over) {
            return Err(DropReason::TupleClash.into());
        }
        let hop = self.hop(&blueprint.forth).ok_or(DropReason::Internal)?;
        if let Some(reason) = self.trace_obstacle(trace, &packet.parsed, &hop) {
            return Ok(Verdict::Drop(reason));
        }
        Ok(Verdict::Forward {
            port: hop.port,
            leaves,
            waits: hop.reach == Reach::Wait,
        })
    }

    /// As `map_source`: the mapping that there is, or `None` where one would be made.
    fn foresee_mapping(
        &self,
        packet: &OnPaper,
        tuple: &Tuple,
        pool: u16,
        blueprint: &mut Blueprint,
    ) -> Result<Option<(IpAddr, u16)>, Refusal> {
        let pool = self.snapshot.nat.pools.get(usize::from(pool));
        let pool = pool.ok_or(DropReason::Internal)?;
        let decider = self.mapping_decider(pool, tuple);
        if decider != self.id && packet.why < Why::Affinity {
            return Err(Refusal::PassTo(decider));
        }
        let found = self.mappings.foresee(pool, tuple);
        let found = found.map_err(|_: MappingError| DropReason::NatMappingsFull)?;
        let mapping = found.and_then(|id| self.mappings.get(id));
        let Some(mapping) = mapping.filter(|_| decider == self.id) else {
            let address = self.mappings.first_address(pool, tuple.src);
            blueprint.leaves.src = address.unwrap_or(tuple.src);
            blueprint.leaves.sport = 0;
            return Ok(None);
        };
        if let Some(id) = found.filter(|_| self.ha.is_some()) {
            self.decided_by_owner(packet.why, id)?;
        }
        blueprint.leaves = mapping.outbound(blueprint.leaves);
        Ok(Some(mapping.external))
    }
}
