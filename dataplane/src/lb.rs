//! Load balancing: which real server gets a new session.
//!
//! A [`Balancer`] belongs to one worker. It is asked once per session, never per packet, and works
//! in memory that was taken at start. Of other workers it knows their sessions per real server
//! ([`loads`]) and nothing else.
//!
//! A virtual server has its members in tiers. Its scheduler chooses within the first tier of which
//! a member may take the session: is there, up, and not full.

use std::net::IpAddr;

use sluice_wire::{KeyHasher, Tuple};

use crate::io::{Memory, OutOfMemory};
use crate::snapshot::{
    Persistence, RealServer, Scheduler, ServerId, ServerState, Snapshot, Tier, VirtualServer,
};
use loads::{Cap, Loads, REFRESH_MS};
use persistence::{Client, Clients, Occupancy};
use turns::{Member, Place, Turns};

pub mod hash;
pub mod loads;
pub mod maglev;
pub mod persistence;
pub mod rendezvous;
pub mod scheduler;
pub mod translate;
pub mod turns;

#[cfg(test)]
mod tests;

/// Choices that are made anew because other workers took the last places of those before.
const ATTEMPTS: usize = 4;

/// The weight with which a server takes new sessions: 0 unless it is there and up.
pub fn share(servers: &[Option<RealServer>], id: ServerId) -> u16 {
    match servers.get(usize::from(id.0)) {
        Some(Some(server)) if server.state == ServerState::Up => server.weight,
        _ => 0,
    }
}

/// How much a worker's balancer has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Service ids are below this.
    pub services: usize,
    /// Server ids are below this.
    pub servers: usize,
    /// Members of all virtual servers together; a server that is in two counts twice.
    pub members: usize,
    /// Clients (networks) that are remembered by persistence.
    pub clients: usize,
}

impl Default for Limits {
    /// Every id that there can be, in some 5 MiB.
    fn default() -> Self {
        Self {
            services: 1 << 16,
            servers: 1 << 16,
            members: 1 << 16,
            clients: 1 << 16,
        }
    }
}

/// A choice of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picked {
    /// The server.
    pub server: ServerId,
    /// Which of the virtual server's tiers it is in.
    pub tier: u16,
    /// Persistence gives the client's next sessions to it as well.
    pub remembered: bool,
}

/// Why there is no choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoServer {
    /// No member is there, up and of a weight above zero.
    NoneUp,
    /// All that are have as many sessions as they may.
    AllFull,
}

/// One worker's load balancer.
pub struct Balancer {
    turns: Turns,
    loads: Loads,
    clients: Clients,
    hasher: KeyHasher,
}

impl Balancer {
    /// Takes all memory that it will ever need.
    ///
    /// `loads` has the worker's own counts and the boards of all others. `hasher` is keyed alike on
    /// all workers.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn new(
        memory: &mut impl Memory,
        limits: &Limits,
        (worker, workers): (u16, u16),
        loads: Loads,
        hasher: KeyHasher,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            turns: Turns::new(memory, limits.services, limits.members, worker, workers)?,
            loads,
            clients: Clients::new(memory, limits.clients)?,
            hasher,
        })
    }

    /// Takes up a new snapshot: call it before the first [`Self::pick`] under it. Virtual servers
    /// whose members did not change go on as if nothing had happened.
    pub fn on_snapshot(&mut self, snapshot: &Snapshot) {
        self.lay_out(&snapshot.virtual_servers, &snapshot.servers);
    }

    /// The same with what it needs of the snapshot.
    pub fn lay_out(&mut self, virtual_servers: &[VirtualServer], servers: &[Option<RealServer>]) {
        self.turns.lay_out(virtual_servers, servers);
        self.loads.set_caps(servers.iter().map(|server| {
            let limits = server.as_ref().map(|server| server.limits);
            Cap::from(limits.unwrap_or_default())
        }));
    }

    /// The real server for a new session to `vs` that opens with a packet of `tuple`. The session
    /// counts once [`Self::opened`] says so. A place at a server that has a limit is kept for it
    /// until then, but for no longer than to the next pick or [`Self::tick`].
    ///
    /// With persistence the client's last server takes it, unless that takes no new sessions any
    /// more (draining, down, weight 0, no member, full), or a tier that comes first has servers
    /// again: then the client gets another for good. What overflows to a later tier is not
    /// remembered.
    ///
    /// # Errors
    /// [`NoServer`]
    pub fn pick(
        &mut self,
        vs: &VirtualServer,
        tuple: &Tuple,
        now: u32,
    ) -> Result<Picked, NoServer> {
        self.loads.withdraw();
        let Some(persistence) = &vs.persistence else {
            return self.schedule(vs, tuple, now);
        };
        let (hash, client) = self.client(vs, persistence, tuple.src);
        let first = self.turns.first_tier(vs.service);
        let last = self.clients.get(hash, &client, now);
        let last = last.zip(first).filter(|&(server, tier)| {
            self.turns.is_member(vs.service, tier, server) && self.loads.reserve(server, now)
        });
        let picked = match last {
            Some((server, tier)) => Picked {
                server,
                tier,
                remembered: true,
            },
            None => match self.schedule(vs, tuple, now) {
                Ok(picked) if Some(picked.tier) == first => Picked {
                    remembered: true,
                    ..picked
                },
                Ok(overflow) => return Ok(overflow),
                Err(NoServer::AllFull) => return Err(NoServer::AllFull),
                Err(NoServer::NoneUp) => {
                    self.clients.forget(hash, &client);
                    return Err(NoServer::NoneUp);
                }
            },
        };
        let timeout = persistence.timeout_ms;
        self.clients.set(hash, client, picked.server, now, timeout);
        Ok(picked)
    }

    /// What [`pick`](Self::pick) would give now. Nobody's turn is over by it, and no place is kept.
    ///
    /// # Errors
    /// [`NoServer`]
    pub fn rehearse(
        &mut self,
        vs: &VirtualServer,
        tuple: &Tuple,
        now: u32,
    ) -> Result<Picked, NoServer> {
        self.loads.withdraw();
        if let Some(persistence) = &vs.persistence {
            let (hash, client) = self.client(vs, persistence, tuple.src);
            let last = self.clients.get(hash, &client, now);
            let last = last.zip(self.turns.first_tier(vs.service));
            if let Some((server, tier)) = last
                && self.turns.is_member(vs.service, tier, server)
                && self.loads.has_room(server, now)
            {
                return Ok(Picked {
                    server,
                    tier,
                    remembered: true,
                });
            }
        }
        let kept = self.turns.copy(vs.service).ok_or(NoServer::NoneUp)?;
        let picked = self.schedule(vs, tuple, now);
        self.turns.put_back(vs.service, &kept);
        self.loads.withdraw();
        picked
    }

    /// The choice of the scheduler, from the first tier that has one.
    fn schedule(
        &mut self,
        vs: &VirtualServer,
        tuple: &Tuple,
        now: u32,
    ) -> Result<Picked, NoServer> {
        let counts = vs.tiers.first().is_some_and(|tier| {
            matches!(
                tier.scheduler,
                Scheduler::LeastConnections
                    | Scheduler::WeightedLeastConnections
                    | Scheduler::PacedLoads(_)
            )
        });
        if let Some(members) = self.turns.due(vs.service, counts, (now, REFRESH_MS)) {
            self.loads.refresh_all(members);
        }
        let mut why = NoServer::NoneUp;
        for (tier, at) in vs.tiers.iter().zip(0..) {
            match self.schedule_in(vs, tier, at, tuple, now) {
                Ok(server) => {
                    return Ok(Picked {
                        server,
                        tier: at,
                        remembered: false,
                    });
                }
                Err(NoServer::NoneUp) => {}
                Err(NoServer::AllFull) => why = NoServer::AllFull,
            }
        }
        Err(why)
    }

    fn schedule_in(
        &mut self,
        vs: &VirtualServer,
        tier: &Tier,
        at: u16,
        tuple: &Tuple,
        now: u32,
    ) -> Result<ServerId, NoServer> {
        let Self { turns, loads, .. } = self;
        let of = turns.get(vs.service, at).ok_or(NoServer::NoneUp)?;
        let (place, members, capped) = of;
        if members.is_empty() {
            return Err(NoServer::NoneUp);
        }
        if !capped {
            return choose(&self.hasher, tier, place, members, loads, tuple, |_, _| {
                true
            })
            .ok_or(NoServer::NoneUp);
        }
        for attempt in 0..ATTEMPTS {
            let room = |loads: &Loads, server| loads.has_room(server, now);
            let server = choose(&self.hasher, tier, place, members, loads, tuple, room)
                .ok_or(NoServer::AllFull)?;
            if loads.reserve(server, now) {
                return Ok(server);
            }
            if attempt == 0 {
                // Others filled it meanwhile, and may have filled more.
                loads.refresh_all(members);
            }
        }
        Err(NoServer::AllFull)
    }

    /// Who `source` is to persistence, and its hash.
    fn client(
        &self,
        vs: &VirtualServer,
        persistence: &Persistence,
        source: IpAddr,
    ) -> (u64, Client) {
        let client = Client {
            network: persistence::network(persistence, source),
            service: vs.service,
        };
        let hash = hash::of_client(&self.hasher, client.network, client.service.0);
        (hash, client)
    }

    /// For a virtual server with persistence: a hash of the client's network and the service, the
    /// same on all workers. The worker that it names modulo their number decides for the client and
    /// keeps its sessions; the others hand the first packet over. `None` without persistence.
    pub fn affinity(&self, vs: &VirtualServer, client: IpAddr) -> Option<u64> {
        let (hash, _) = self.client(vs, vs.persistence.as_ref()?, client);
        // Hashed once more: all clients that a worker decides for agree in some bits of this number,
        // and must not agree in those by which its map places them.
        Some(hash::spread(!hash))
    }

    /// Another appliance gave a client network of `vs` to `server`, for `left_ms` more. Where this one
    /// remembers another server that could still take sessions, both decided at the same time, and
    /// the other one's word counts if it `wins`.
    pub fn remember(
        &mut self,
        vs: &VirtualServer,
        network: IpAddr,
        server: ServerId,
        (now, left_ms): (u32, u32),
        wins: bool,
    ) {
        let Some(persistence) = &vs.persistence else {
            return;
        };
        let (hash, client) = self.client(vs, persistence, network);
        let known = self.clients.get(hash, &client, now);
        let first = self.turns.first_tier(vs.service);
        let differs = known.zip(first).is_some_and(|(known, tier)| {
            known != server && self.turns.is_member(vs.service, tier, known)
        });
        if wins || !differs {
            let left_ms = left_ms.min(persistence.timeout_ms);
            self.clients.set(hash, client, server, now, left_ms);
        }
    }

    /// See [`Clients::at`].
    pub fn client_at(&self, place: usize, now: u32) -> Option<Option<(Client, ServerId, u32)>> {
        self.clients.at(place, now)
    }

    /// Call it every millisecond or so: gives up a place that was kept for a session that did not
    /// come about, and forgets clients whose time is up, going on through the next `budget` places
    /// of its memory.
    pub fn tick(&mut self, now: u32, budget: usize) {
        self.loads.withdraw();
        self.clients.sweep(now, budget);
    }

    /// The session that was picked for last is not opened: gives up the place that was kept for it.
    #[inline]
    pub fn withdraw(&mut self) {
        self.loads.withdraw();
    }

    /// How full the memory of clients is.
    pub fn occupancy(&self) -> Occupancy {
        self.clients.occupancy()
    }

    /// A session to `server` was opened at this worker.
    #[inline]
    pub fn opened(&mut self, server: ServerId) {
        self.loads.opened(server);
    }

    /// A session to `server` has ended at this worker.
    #[inline]
    pub fn closed(&mut self, server: ServerId) {
        self.loads.closed(server);
    }
}

/// What the tier's scheduler chooses among `members` for which there is `room`.
fn choose(
    hasher: &KeyHasher,
    tier: &Tier,
    place: &mut Place,
    members: &mut [Member],
    loads: &Loads,
    tuple: &Tuple,
    room: impl Fn(&Loads, ServerId) -> bool,
) -> Option<ServerId> {
    let room = |server| room(loads, server);
    match &tier.scheduler {
        Scheduler::RoundRobin => scheduler::round_robin(place, members, room),
        Scheduler::WeightedRoundRobin | Scheduler::PacedTurns(_) => {
            scheduler::weighted_round_robin(members, room)
        }
        Scheduler::LeastConnections => {
            scheduler::least_connections(place, members, loads, false, room)
        }
        Scheduler::WeightedLeastConnections | Scheduler::PacedLoads(_) => {
            scheduler::least_connections(place, members, loads, true, room)
        }
        Scheduler::SourceHash(rendezvous) => {
            rendezvous.get(hash::of_client(&hash::EVERYWHERE, tuple.src, 0), room)
        }
        Scheduler::Maglev(table) => {
            let hash = hash::of_client(hasher, tuple.src, tuple.sport);
            let server = |index: u16| tier.members.get(usize::from(index)).copied();
            table
                .walk(hash)
                .filter_map(server)
                .find(|&server| room(server))
                // Of few slots that are not full, the walk may find none.
                .or_else(|| scheduler::round_robin(place, members, room))
        }
    }
}
