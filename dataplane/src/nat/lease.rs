//! Endpoint-dependent leases: the external address and port of a new session.
//!
//! A lease is held by the session itself: a port is free if no session has the tuple that the reply
//! to it would have, so one port serves many destinations at once, and nothing needs to be given
//! back or can be given back twice. No two workers look for the same tuple, because each port is
//! one worker's to lease (see [`ReplyHomes::claims`]): where the port decides which worker the
//! replies come to, it is leased by that worker, and no reply is ever handed over.
//!
//! The internal port is not preserved. Keeping it would let whoever knows how a host chooses its
//! ports know ours (RFC 6056 section 4), and it could be kept for one session in as many as there
//! are workers only.
//!
//! [`ReplyHomes::claims`]: crate::steer::ReplyHomes::claims

use std::net::IpAddr;

use sluice_wire::{KeyHasher, Tuple, proto};

use super::ports::{Candidates, PortRange, Probes, Searches};
use super::{Purpose, from_own, has_ports, hash, own_of};
use crate::io::DeviceId;
use crate::nat::rules::SnatPool;
use crate::services::ServiceMap;
use crate::steer::Steering;

/// What a lease is wanted for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The session's first packet: the source as it came, the destination as it will leave.
    pub tuple: &'a Tuple,
    /// Addresses to choose from, of the tuple's family.
    pub addresses: &'a [IpAddr],
    /// First and last port to choose from, both included; identifiers as well.
    pub ports: (u16, u16),
    /// UDP ports stay even or odd (RFC 4787 REQ-4).
    pub parity: bool,
    /// The device that replies come by.
    pub device: DeviceId,
}

impl<'a> Request<'a> {
    /// From a pool.
    pub fn pool(tuple: &'a Tuple, pool: &'a SnatPool, device: DeviceId) -> Self {
        Self {
            tuple,
            addresses: &pool.addresses,
            ports: pool.ports,
            parity: pool.parity,
            device,
        }
    }

    /// From these ports of a single address of ours.
    pub fn masquerade(
        tuple: &'a Tuple,
        address: &'a IpAddr,
        ports: (u16, u16),
        device: DeviceId,
    ) -> Self {
        Self {
            tuple,
            addresses: std::slice::from_ref(address),
            ports,
            parity: true,
            device,
        }
    }
}

impl Request<'_> {
    fn candidates(&self) -> Option<Candidates> {
        let range = PortRange::new(self.ports)?;
        if self.parity && self.tuple.proto == proto::UDP {
            range.parity(self.tuple.sport)
        } else {
            Some(range.all())
        }
    }
}

/// An external endpoint for one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The address that the source becomes.
    pub address: IpAddr,
    /// The port or identifier that it becomes; 0 for protocols without.
    pub port: u16,
    /// The worker that replies come to. If it is not this one, it must be told to hand them over.
    pub home: u16,
}

impl Lease {
    /// The tuple with this source.
    #[must_use]
    pub fn apply(&self, tuple: Tuple) -> Tuple {
        Tuple {
            src: self.address,
            sport: self.port,
            ..tuple
        }
    }
}

/// What is known of a search before it begins: it follows from the request alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    /// The host's own address, by its place in the request's list.
    own: usize,
    /// What a port of that address must be unique within.
    subject: u64,
}

/// Why there is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseError {
    /// Every port towards this destination is taken, or so many that no free one was found yet.
    Exhausted,
    /// The protocol has no ports, and the replies to each address come to other workers. Only this
    /// one can tell whether the address is free: give it the packet.
    Elsewhere(u16),
}

/// A worker's search for leases.
#[derive(Debug, Clone)]
pub struct Leaser {
    worker: u16,
    hasher: KeyHasher,
    searches: Searches,
}

impl Leaser {
    /// For worker `worker`. The secret is the same for all workers, so that a host has the same
    /// external address on each.
    pub fn new(worker: u16, hasher: KeyHasher) -> Self {
        Self {
            worker,
            hasher,
            searches: Searches::default(),
        }
    }

    /// Finds an external endpoint. `taken` tells whether a session has this reply tuple, in the zone
    /// that replies come by.
    ///
    /// The host's own address is tried first, others only when it has nothing left for this
    /// destination. Ports that `services` defines on the address are never leased. The last tuple that
    /// `taken` is asked for is the lease's.
    ///
    /// # Errors
    /// See [`LeaseError`]. Exhaustion is remembered for a second, or until [`Leaser::give_back`], so
    /// that it does not cost a search per packet.
    pub fn lease(
        &mut self,
        steering: &Steering,
        services: &ServiceMap,
        (request, prepared): (&Request<'_>, Option<Prepared>),
        now: u32,
        mut taken: impl FnMut(&Tuple) -> bool,
    ) -> Result<Lease, LeaseError> {
        let tuple = *request.tuple;
        let candidates = request.candidates().ok_or(LeaseError::Exhausted)?;
        let mut probes = Probes::default();
        let mut elsewhere = None;
        let own = prepared.map_or_else(|| self.own_of(request), |prepared| prepared.own);
        let mut subjects = prepared.map(|prepared| prepared.subject);
        for address in from_own(request.addresses, own, tuple.src.is_ipv4()) {
            let reply = Tuple {
                dst: address,
                dport: 0,
                ..tuple.reverse()
            };
            let homes = steering.replies(request.device, &reply);
            let here = services.at(address);
            let defined = |port| here.is_some_and(|s| s.find(tuple.proto, port).is_some());
            if !has_ports(tuple.proto) {
                let home = homes.home(0);
                if home != self.worker {
                    elsewhere = elsewhere.or(Some(home));
                } else if !defined(0) && !taken(&reply) {
                    return Ok(Lease {
                        address,
                        port: 0,
                        home,
                    });
                }
                continue;
            }
            let subject = subjects.take();
            let port = self.searches.find(
                subject.unwrap_or_else(|| subject_of(&self.hasher, &reply)),
                candidates,
                now,
                &mut probes,
                |port| homes.claims(self.worker, port),
                |port| {
                    defined(port)
                        || taken(&Tuple {
                            dport: port,
                            ..reply
                        })
                },
            );
            if let Some(port) = port {
                return Ok(Lease {
                    address,
                    port,
                    home: homes.home(port),
                });
            }
            if probes.spent() {
                break;
            }
        }
        Err(elsewhere.map_or(LeaseError::Exhausted, LeaseError::Elsewhere))
    }

    /// The reply tuple of the lease that is likely to be found: not a promise, only something to
    /// fetch early. Asked again before [`Leaser::lease`], it gives the one after that. Beside it what
    /// the search need not find out again.
    pub fn foresee(
        &mut self,
        steering: &Steering,
        request: &Request<'_>,
    ) -> Option<(Tuple, Option<Prepared>)> {
        let tuple = *request.tuple;
        let own = self.own_of(request);
        let address = from_own(request.addresses, own, tuple.src.is_ipv4()).next()?;
        let reply = Tuple {
            dst: address,
            dport: 0,
            ..tuple.reverse()
        };
        if !has_ports(tuple.proto) {
            return Some((reply, None));
        }
        let homes = steering.replies(request.device, &reply);
        let subject = subject_of(&self.hasher, &reply);
        let ours = |port| homes.claims(self.worker, port);
        let dport = self
            .searches
            .foresee(subject, request.candidates()?, ours)?;
        Some((Tuple { dport, ..reply }, Some(Prepared { own, subject })))
    }

    fn own_of(&self, request: &Request<'_>) -> usize {
        own_of(&self.hasher, request.addresses.len(), request.tuple.src)
    }

    /// A session has ended whose replies came with this tuple. Costs next to nothing, and may be
    /// told of every session that had its source translated.
    pub fn give_back(&mut self, reply: &Tuple) {
        if has_ports(reply.proto) {
            let port = reply.dport;
            let subject = subject_of(&self.hasher, &Tuple { dport: 0, ..*reply });
            self.searches.give_back(subject, port);
        }
    }
}

/// What a port must be unique within: the reply tuple but for the port itself.
fn subject_of(hasher: &KeyHasher, reply: &Tuple) -> u64 {
    hash(hasher, Purpose::Search, reply)
}

#[cfg(test)]
mod tests;
