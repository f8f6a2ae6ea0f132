//! Load balancing: which real server gets a new session.
//!
//! A [`Balancer`] belongs to one worker. It is asked once per session, never per packet, and works
//! in memory that was taken at start. Of other workers it knows their sessions per real server
//! ([`loads`]) and nothing else.

use std::net::IpAddr;

use sluice_wire::{KeyHasher, Tuple};

use crate::io::{Memory, OutOfMemory};
use crate::snapshot::{
    Persistence, RealServer, Scheduler, ServerId, ServerState, Snapshot, VirtualServer,
};
use loads::Loads;
use persistence::{Client, Clients, Occupancy};
use turns::Turns;

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

/// A configuration that is larger than what memory was taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {found} {what}, and there is room for {room}")]
pub struct OverLimit {
    /// Of what there is too much.
    pub what: &'static str,
    /// How many the configuration has.
    pub found: usize,
    /// How many there may be.
    pub room: usize,
}

impl Limits {
    /// Whether balancers with these limits can serve these of a snapshot. Control asks before it
    /// sends one.
    ///
    /// # Errors
    /// [`OverLimit`] names the first thing of which there is too much.
    pub fn admit(
        &self,
        virtual_servers: &[VirtualServer],
        servers: &[Option<RealServer>],
    ) -> Result<(), OverLimit> {
        let services = virtual_servers
            .iter()
            .map(|vs| usize::from(vs.service.0) + 1);
        let members = virtual_servers.iter().map(|vs| vs.members.len());
        for (what, found, room) in [
            ("services", services.max().unwrap_or(0), self.services),
            ("real servers", servers.len(), self.servers),
            ("pool members", members.sum(), self.members),
        ] {
            if found > room {
                return Err(OverLimit { what, found, room });
            }
        }
        Ok(())
    }
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
    }

    /// The real server for a new session to `vs` that opens with a packet of `tuple`, or `None` if
    /// no member may take it. The session counts once [`Self::opened`] says so.
    ///
    /// With persistence the client's last server takes it, unless that takes no new sessions any
    /// more (draining, down, weight 0, no member): then the client gets another for good.
    pub fn pick(&mut self, vs: &VirtualServer, tuple: &Tuple, now: u32) -> Option<ServerId> {
        let Some(persistence) = &vs.persistence else {
            return self.schedule(vs, tuple, now);
        };
        let (hash, client) = self.client(vs, persistence, tuple.src);
        let last = self.clients.get(hash, &client, now);
        let picked = match last.filter(|&server| self.turns.is_member(vs.service, server)) {
            Some(server) => server,
            None => match self.schedule(vs, tuple, now) {
                Some(server) => server,
                None => {
                    self.clients.forget(hash, &client);
                    return None;
                }
            },
        };
        self.clients
            .set(hash, client, picked, now, persistence.timeout_ms);
        Some(picked)
    }

    /// What [`pick`](Self::pick) would give now. Nobody's turn is over by it.
    pub fn rehearse(&mut self, vs: &VirtualServer, tuple: &Tuple, now: u32) -> Option<ServerId> {
        if let Some(persistence) = &vs.persistence {
            let (hash, client) = self.client(vs, persistence, tuple.src);
            let last = self.clients.get(hash, &client, now);
            let last = last.filter(|&server| self.turns.is_member(vs.service, server));
            if last.is_some() {
                return last;
            }
        }
        let kept = self.turns.copy(vs.service)?;
        let picked = self.schedule(vs, tuple, now);
        self.turns.put_back(vs.service, &kept);
        picked
    }

    /// The choice of the virtual server's scheduler.
    fn schedule(&mut self, vs: &VirtualServer, tuple: &Tuple, now: u32) -> Option<ServerId> {
        let (turn, members) = self.turns.get(vs.service)?;
        match &vs.scheduler {
            Scheduler::RoundRobin => scheduler::round_robin(turn, members),
            Scheduler::WeightedRoundRobin => scheduler::weighted_round_robin(members),
            Scheduler::LeastConnections => {
                scheduler::least_connections(turn, members, &mut self.loads, false, now)
            }
            Scheduler::WeightedLeastConnections => {
                scheduler::least_connections(turn, members, &mut self.loads, true, now)
            }
            Scheduler::SourceHash(rendezvous) => {
                rendezvous.get(hash::of_client(&hash::EVERYWHERE, tuple.src, 0))
            }
            Scheduler::Maglev(table) => {
                let index = table.get(hash::of_client(&self.hasher, tuple.src, tuple.sport))?;
                vs.members.get(usize::from(index)).copied()
            }
        }
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
        let differs =
            known.is_some_and(|known| known != server && self.turns.is_member(vs.service, known));
        if wins || !differs {
            let left_ms = left_ms.min(persistence.timeout_ms);
            self.clients.set(hash, client, server, now, left_ms);
        }
    }

    /// See [`Clients::at`].
    pub fn client_at(&self, place: usize, now: u32) -> Option<Option<(Client, ServerId, u32)>> {
        self.clients.at(place, now)
    }

    /// Forgets clients whose time is up, going on through the next `budget` places of its memory.
    pub fn sweep(&mut self, now: u32, budget: usize) {
        self.clients.sweep(now, budget);
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
