//! Whose turn it is, per virtual server: what schedulers remember from one session to the next.
//!
//! The memory is taken at start. A new snapshot is laid out in the half that is not in use, taking
//! over what the other half knows of every virtual server that did not change.

use zerocopy::FromZeros;

use super::share;
use crate::io::{Memory, OutOfMemory};
use crate::snapshot::{RealServer, Scheduler, ServerId, ServiceId, VirtualServer};

/// Most steps by which a worker's weighted round robin starts ahead of worker 0's.
const MAX_HEAD_START: u64 = 128;

/// A member that may take sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromZeros)]
#[repr(C)]
pub struct Member {
    /// Weighted round robin: how much it is due. Over a virtual server's members these sum to 0.
    pub due: i64,
    /// Which it is.
    pub server: ServerId,
    /// Its share; never 0.
    pub weight: u16,
    pad: [u8; 4],
}

/// What is kept of a virtual server.
#[derive(Debug, Clone, Copy, Default, FromZeros)]
#[repr(C)]
pub struct Turn {
    first: u32,
    len: u32,
    /// Of the layout that `first` and `len` speak of.
    layout: u32,
    /// The member to look at first.
    pub next: u32,
    /// Least connections: when the other workers' sessions were looked at.
    pub refreshed: u32,
}

/// All virtual servers' turns.
pub struct Turns {
    /// By [`ServiceId`].
    services: &'static mut [Turn],
    halves: [&'static mut [Member]; 2],
    /// Grows with every snapshot; its lowest bit tells the half in use.
    layout: u32,
    worker: u16,
    workers: u16,
}

impl Turns {
    /// Room for service ids below `services` and for `members` members of all virtual servers.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn new(
        memory: &mut impl Memory,
        services: usize,
        members: usize,
        worker: u16,
        workers: u16,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            services: memory.zeroed("virtual servers' turns", services)?,
            halves: [
                memory.zeroed("virtual servers' members", members)?,
                memory.zeroed("virtual servers' members", members)?,
            ],
            layout: 0,
            worker,
            workers: workers.max(1),
        })
    }

    /// The turn of `service` and its members that may take sessions.
    #[inline]
    pub fn get(&mut self, service: ServiceId) -> Option<(&mut Turn, &mut [Member])> {
        let turn = self.services.get_mut(usize::from(service.0))?;
        if turn.layout != self.layout {
            return None;
        }
        let [even, odd] = &mut self.halves;
        let half = if self.layout & 1 == 0 { even } else { odd };
        let range = turn.first as usize..turn.first as usize + turn.len as usize;
        Some((turn, half.get_mut(range)?))
    }

    /// A copy of what is kept of `service`.
    pub fn copy(&mut self, service: ServiceId) -> Option<(Turn, Vec<Member>)> {
        let (turn, members) = self.get(service)?;
        Some((*turn, members.to_vec()))
    }

    /// Makes it what it was when it was copied; nothing else may have happened.
    pub fn put_back(&mut self, service: ServiceId, (turn, members): &(Turn, Vec<Member>)) {
        if let Some((now, places)) = self.get(service)
            && places.len() == members.len()
        {
            *now = *turn;
            places.copy_from_slice(members);
        }
    }

    /// Whether `server` may take sessions of `service`.
    pub fn is_member(&mut self, service: ServiceId, server: ServerId) -> bool {
        self.get(service)
            .is_some_and(|(_, members)| members.iter().any(|member| member.server == server))
    }

    /// Lays out the members of a new snapshot. Virtual servers for which there is no room get no
    /// sessions; `super::Limits::admit` keeps control from sending such a snapshot.
    pub fn lay_out(&mut self, virtual_servers: &[VirtualServer], servers: &[Option<RealServer>]) {
        let [even, odd] = &mut self.halves;
        let (old, new) = if self.layout & 1 == 0 {
            (even, odd)
        } else {
            (odd, even)
        };
        let layout = self.layout.wrapping_add(1);
        let mut first = 0;
        for vs in virtual_servers {
            let Some(turn) = self.services.get_mut(usize::from(vs.service.0)) else {
                continue;
            };
            let Some(room) = new.get_mut(first..) else {
                break;
            };
            let Some(len) = fill(room, vs, servers) else {
                continue;
            };
            let before = *turn;
            let was: &[Member] = if before.layout == self.layout {
                let from = before.first as usize;
                old.get(from..from + before.len as usize).unwrap_or(&[])
            } else {
                &[]
            };
            *turn = Turn {
                first: first as u32,
                len: len as u32,
                layout,
                ..Turn::default()
            };
            carry_over(
                (before, was),
                turn,
                &mut room[..len],
                &vs.scheduler,
                (self.worker, self.workers),
            );
            first += len;
        }
        self.layout = layout;
    }
}

/// Writes the members of `vs` that may take sessions to the front of `room`. `None` if they don't
/// fit.
fn fill(room: &mut [Member], vs: &VirtualServer, servers: &[Option<RealServer>]) -> Option<usize> {
    let mut len = 0;
    for &server in &vs.members {
        let weight = share(servers, server);
        if weight > 0 {
            *room.get_mut(len)? = Member {
                due: 0,
                server,
                weight,
                pad: [0; 4],
            };
            len += 1;
        }
    }
    Some(len)
}

/// Goes on where the last snapshot left off, or starts at this worker's place.
fn carry_over(
    (before, was): (Turn, &[Member]),
    turn: &mut Turn,
    members: &mut [Member],
    scheduler: &Scheduler,
    (worker, workers): (u16, u16),
) {
    let same = |(a, b): (&Member, &Member)| (a.server, a.weight) == (b.server, b.weight);
    if was.len() == members.len() && was.iter().zip(members.iter()).all(same) {
        members.copy_from_slice(was);
        (turn.next, turn.refreshed) = (before.next, before.refreshed);
        return;
    }
    // Others: the turn stays with the server that had it, or goes to the next that is still there.
    let start = (before.next as usize).min(was.len());
    let (behind, ahead) = was.split_at(start);
    let next = ahead
        .iter()
        .chain(behind)
        .find_map(|old| members.iter().position(|new| new.server == old.server));
    let place = usize::from(worker) * members.len() / usize::from(workers);
    turn.next = next.unwrap_or(place) as u32;
    if matches!(scheduler, Scheduler::WeightedRoundRobin) {
        let total: u64 = members.iter().map(|m| u64::from(m.weight)).sum();
        let ahead = u64::from(worker) * total.min(MAX_HEAD_START) / u64::from(workers);
        for _ in 0..ahead {
            super::scheduler::weighted_round_robin(members);
        }
    }
}
