//! Sessions that control connections announce: where they will come to, and what they become.

use std::io::Write;
use std::net::IpAddr;

use sluice_wire::tcp::flag;
use sluice_wire::{Key, Tuple, proto};

use super::super::Worker;
use super::super::burst::Packet;
use super::super::miss::{Look, look};
use super::super::open::{Blueprint, Refusal, may_be_forwarded};
use super::super::plan::{self, Outbound, Source};
use super::super::revalidate::{Renewal, renewal};
use super::super::tables::PerFamily;
use super::{Expected, Parent};
use crate::alg::edits::Text;
use crate::alg::ftp::{Form, Found};
use crate::counters::DropReason;
use crate::handoff::{AnyKey, Message, Why};
use crate::io::Io;
use crate::nat::lease::Request;
use crate::nat::mapping;
use crate::nat::rules::Mapping;
use crate::published::WorkerCounter;
use crate::session::flow::Session;
use crate::snapshot::{ServerId, ServiceId, Snapshot};

/// Lowest port of a data connection (RFC 2577 section 3: none of a service).
const LOWEST: u16 = 1024;
/// Ports of a published address that are tried, besides the server's own.
const TRIES: u16 = 32;
/// Those are from here on, so many.
const SPARE: (u16, u16) = (20_000, 40_000);

impl Parent {
    /// What a session under this control connection is allowed by today.
    fn today(&self, snapshot: &Snapshot) -> Option<Renewal> {
        renewal(
            snapshot,
            &self.arrives,
            &self.leaves,
            self.zones,
            self.server,
            self.mapped,
        )
    }
}

impl<I: Io> Worker<I> {
    /// An endpoint was announced: expects its session, and gives what is to be announced instead. `None`
    /// if it is not to be expected.
    ///
    /// # Errors
    /// Another worker cannot be told now: the announcement must not leave.
    pub(super) fn announced<F: PerFamily>(
        &mut self,
        parent_key: &AnyKey,
        parent: &Parent,
        found: &Found,
    ) -> Result<Option<Text>, DropReason> {
        let (arrives, leaves) = (&parent.arrives, &parent.leaves);
        let active = matches!(found.form, Form::Port | Form::Eprt);
        // An endpoint of the speaker's own and of nobody else (RFC 2577 section 3).
        let own = match (active, found.address) {
            (true, address) => address == Some(arrives.src),
            (false, None) => true,
            (false, address) => address == Some(leaves.dst) || address == Some(arrives.dst),
        };
        if !own || found.port < LOWEST {
            return Ok(None);
        }
        let port = match active {
            true => self.port_outside::<F>(parent_key, parent, found.port),
            false => self.port_published::<F>(parent_key, parent, found.port),
        };
        let Some(port) = port else {
            return Ok(None);
        };
        let key = expected_key::<F>(parent, active, port);
        let now = self.now;
        let watch = self.alg.watch(parent_key, now);
        let old = watch.and_then(|watch| watch.expects);
        if let Some(old) = old.filter(|old| *old != key) {
            self.expect_no_more(&old);
        }
        let expected = Expected::Here {
            parent: *parent_key,
            port: found.port,
            active,
        };
        if !self.alg.expect(key, expected, now) {
            return Ok(None);
        }
        // Before others are told: should one not be, the rest forgets it with its control connection.
        if let Some(watch) = self.alg.watch(parent_key, now) {
            watch.expects = Some(key);
        }
        for worker in (0..self.rings.workers()).filter(|worker| *worker != self.id) {
            let message = Message::Expect {
                key,
                by: self.id,
                expects: true,
            };
            let told = self.rings.push(worker, message);
            told.map_err(|_| DropReason::HandoffFull)?;
        }
        let address = if active { leaves.src } else { arrives.dst };
        Ok(written(found.form, address, port))
    }

    /// The port of the address that the server sees, for one of the client's.
    fn port_outside<F: PerFamily>(
        &mut self,
        of: &AnyKey,
        parent: &Parent,
        port: u16,
    ) -> Option<u16> {
        let (arrives, leaves) = (&parent.arrives, &parent.leaves);
        let Self {
            snapshot,
            tables,
            leases,
            mappings,
            alg,
            rings,
            id,
            now,
            ..
        } = self;
        let (id, now, workers) = (*id, *now, rings.workers());
        let free = |port| alg.is_free(of, &expected_key::<F>(parent, true, port), now);
        if leaves.src == arrives.src {
            return free(port).then_some(port);
        }
        let today = parent.today(snapshot)?;
        let (ports, pool) = match today.outbound().source {
            Source::Keep | Source::Static(_) => return free(port).then_some(port),
            Source::Masquerade(_) => (snapshot.nat.masquerade_ports(), None),
            Source::Pool(index) => {
                let pool = snapshot.nat.pools.get(usize::from(index))?;
                (pool.ports, Some(pool))
            }
        };
        // Servers connect from the port below their own (RFC 959 section 3.2), if they can: such a
        // connection comes to this worker by itself.
        let as_if = Tuple {
            proto: proto::TCP,
            src: arrives.src,
            dst: leaves.dst,
            sport: port,
            dport: leaves.dport.wrapping_sub(1),
        };
        let request = Request {
            tuple: &as_if,
            addresses: std::slice::from_ref(&leaves.src),
            ports,
            parity: false,
            device: plan::port(snapshot, today.forth.hop.port)?.device,
        };
        let mapped = pool.filter(|pool| pool.mapping == Mapping::EndpointIndependent);
        let taken = |reply: &Tuple| {
            let key = Key::new::<F>(reply, parent.zones.1);
            let elsewhere = mapped.is_some_and(|pool| {
                mapping::block_owner(pool.ports, workers, reply.dport) != Some(id)
                    || mappings
                        .inbound(proto::TCP, reply.dst, reply.dport, now)
                        .is_some()
            });
            elsewhere
                || F::table(tables).contains(&key)
                || F::host(tables).has(&key, now)
                || !free(reply.dport)
        };
        let leased = leases.lease(
            &snapshot.steering,
            &snapshot.services,
            (&request, None),
            now,
            taken,
        );
        leased.ok().map(|lease| lease.port)
    }

    /// The port of the address that the client speaks to, for one of the server's.
    fn port_published<F: PerFamily>(&self, of: &AnyKey, parent: &Parent, port: u16) -> Option<u16> {
        let (arrives, leaves) = (&parent.arrives, &parent.leaves);
        let services = &self.snapshot.services;
        let published = arrives.dst != leaves.dst;
        let own = services.find(arrives.dst, proto::TCP, arrives.dport);
        let (first, count) = SPARE;
        let spare = (0..TRIES).map(|at| {
            let step = port.wrapping_mul(31).wrapping_add(at.wrapping_mul(7919));
            first + step % count
        });
        let tries = if published { usize::from(TRIES) } else { 0 };
        std::iter::once(port)
            .chain(spare.take(tries))
            .find(|&port| {
                let here = services.find(arrives.dst, proto::TCP, port);
                (!published || here.is_none() || here == own)
                    && self
                        .alg
                        .is_free(of, &expected_key::<F>(parent, false, port), self.now)
            })
    }

    /// What was expected is so no longer, on any worker.
    pub(super) fn expect_no_more(&mut self, key: &AnyKey) {
        self.alg.forget(key);
        for worker in (0..self.rings.workers()).filter(|worker| *worker != self.id) {
            let message = Message::Expect {
                key: *key,
                by: self.id,
                expects: false,
            };
            // Should the ring be full it hands over what comes, until its time is over.
            let _ = self.rings.push(worker, message);
        }
    }

    /// A session has ended: what it announced is not expected any more.
    pub(in super::super) fn watch_no_more<F: PerFamily>(&mut self, session: &Session<F>) {
        if let Some(expected) = self.alg.ended(session) {
            self.expect_no_more(&expected);
        }
    }

    /// A packet without a session: if it opens one that is expected, it goes on from here. Gives it back
    /// if not.
    pub(in super::super) fn meet_expected<F: PerFamily>(
        &mut self,
        packet: Packet<I::Frame>,
        key: &Key<F::Addrs>,
        hash: u64,
    ) -> Option<Packet<I::Frame>> {
        const KIND: u8 = flag::SYN | flag::ACK | flag::RST | flag::FIN;
        let syn = key.proto == proto::TCP && packet.parsed.tcp_flags & KIND == flag::SYN;
        if self.alg.expected.is_empty() || !syn || packet.hosted {
            return Some(packet);
        }
        let tuple = key.tuple::<F>();
        let wild = F::any(Key::new::<F>(&Tuple { sport: 0, ..tuple }, key.zone));
        let Some(expected) = self.alg.expected(&wild, self.now) else {
            return Some(packet);
        };
        let (parent, port, active) = match expected {
            Expected::At(worker) if packet.why < Why::Owner && worker != self.id => {
                self.pass(worker, packet, Why::Owner);
                return None;
            }
            Expected::At(_) => return Some(packet),
            Expected::Here {
                parent,
                port,
                active,
            } => (parent, port, active),
        };
        if look(&self.snapshot, &packet.parsed, &tuple) != Look::Opens {
            return Some(packet);
        }
        let Some(watch) = self.alg.watch(&parent, self.now) else {
            return Some(packet);
        };
        let parent = watch.parent;
        let opened = self
            .design_related::<F>(&parent, &tuple, (port, active))
            .and_then(|blueprint| {
                let own = F::any(*key);
                if !self.alg.relate(own, Some(parent), self.now) {
                    return Err(DropReason::SessionTableFull.into());
                }
                self.open::<F>(&packet, (key, hash), &tuple, blueprint)
                    .inspect_err(|_| self.alg.unrelate(&own))
            });
        match opened {
            Ok(at) => {
                self.expect_no_more(&wild);
                self.counters.count(WorkerCounter::AlgOpened);
                self.hit::<F>(packet, at);
            }
            Err(refusal) => self.turn_away(packet, &tuple, refusal),
        }
        None
    }

    /// What an expected session will be.
    fn design_related<F: PerFamily>(
        &mut self,
        parent: &Parent,
        tuple: &Tuple,
        (port, active): (u16, bool),
    ) -> Result<Blueprint, Refusal> {
        let today = parent.today(&self.snapshot).ok_or(DropReason::Denied)?;
        let (arrives, leaves) = (&parent.arrives, &parent.leaves);
        let (client, server) = parent.zones;
        let mut target = *tuple;
        let (zones, source) = if active {
            (target.dst, target.dport) = (arrives.src, port);
            let published = arrives.dst != leaves.dst;
            let source = if published {
                Source::Static(arrives.dst)
            } else {
                Source::Keep
            };
            ((server, client), source)
        } else {
            (target.dst, target.dport) = (leaves.dst, port);
            ((client, server), today.outbound().source)
        };
        if !may_be_forwarded(&target) {
            return Err(DropReason::NoRoute.into());
        }
        let back = self.lately.about(&self.snapshot, tuple.src).way?;
        let forth = self.lately.about(&self.snapshot, target.dst).way?;
        if back.zone != zones.0 {
            return Err(DropReason::Spoofed.into());
        }
        if forth.zone != zones.1 {
            return Err(DropReason::NoRoute.into());
        }
        let outbound = Outbound {
            source,
            ..*today.outbound()
        };
        Ok(Blueprint::related(
            target,
            (forth, back),
            outbound,
            parent.server,
        ))
    }

    /// How a related session would be carried on today: as its control connection is, to where its own
    /// packets go.
    pub(in super::super) fn renew_related(
        &self,
        parent: Option<&Parent>,
        [arrives, leaves]: [&Tuple; 2],
        zones: (u8, u8),
        (service, server): (ServiceId, ServerId),
    ) -> Option<Renewal> {
        let snapshot = &self.snapshot;
        let outbound = match parent {
            Some(parent) => *parent.today(snapshot)?.outbound(),
            // Taken over: that it was let in is all that is known.
            None if server == ServerId::NONE || plan::keeps_sessions(snapshot, server) => {
                Outbound {
                    source: Source::Keep,
                    service,
                    timeouts: 0,
                    clamp_mss: false,
                }
            }
            None => return None,
        };
        let forth = plan::way(&self.snapshot, leaves.dst).ok()?;
        let back = plan::way(&self.snapshot, arrives.src).ok()?;
        let same = (back.zone, forth.zone) == zones;
        same.then(|| Renewal::new(forth, back, outbound))
    }
}

/// The key that data connections to a port come with, but for their source port.
fn expected_key<F: PerFamily>(parent: &Parent, active: bool, port: u16) -> AnyKey {
    let (arrives, leaves) = (&parent.arrives, &parent.leaves);
    let (src, dst, zone) = if active {
        (leaves.dst, leaves.src, parent.zones.1)
    } else {
        (arrives.src, arrives.dst, parent.zones.0)
    };
    let tuple = Tuple {
        proto: proto::TCP,
        src,
        dst,
        sport: 0,
        dport: port,
    };
    F::any(Key::new::<F>(&tuple, zone))
}

/// An endpoint as its form wants it. `None`: the form has no such addresses.
fn written(form: Form, address: IpAddr, port: u16) -> Option<Text> {
    let mut place = [0; crate::alg::edits::TEXT];
    let mut left = &mut place[..];
    match (form, address) {
        (Form::Port | Form::Pasv, IpAddr::V4(v4)) => {
            let [a, b, c, d] = v4.octets();
            let [high, low] = port.to_be_bytes();
            write!(left, "{a},{b},{c},{d},{high},{low}").ok()?;
        }
        (Form::Port | Form::Pasv, IpAddr::V6(_)) => return None,
        (Form::Eprt, IpAddr::V4(v4)) => write!(left, "|1|{v4}|{port}|").ok()?,
        (Form::Eprt, IpAddr::V6(v6)) => write!(left, "|2|{v6}|{port}|").ok()?,
        (Form::Epsv, _) => write!(left, "{port}").ok()?,
    }
    let rest = left.len();
    let len = place.len() - rest;
    place.get(..len)?.iter().copied().collect::<Text>().into()
}
