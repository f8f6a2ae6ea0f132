//! Whose turn it is, per virtual server: what schedulers remember from one session to the next.
//!
//! The memory is taken at start. A new snapshot is laid out in the half that is not in use, taking
//! over what the other half knows of every virtual server that did not change.

use std::ops::Range;

use zerocopy::FromZeros;

use super::share;
use crate::io::{Memory, OutOfMemory};
use crate::snapshot::{
    RealServer, Scheduler, ServerId, ServiceId, SessionLimits, Tier, VirtualServer,
};

/// Most steps by which a worker's weighted round robin starts ahead of worker 0's.
const MAX_HEAD_START: u64 = 128;

/// A member that may take sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromZeros)]
#[repr(C)]
pub struct Member {
    /// Weighted round robin: how much it is due. Over the members of a tier these sum to 0.
    pub due: i64,
    /// Which it is.
    pub server: ServerId,
    /// Its share; never 0.
    pub weight: u16,
    /// Which of the virtual server's tiers it is in; they are in this order.
    tier: u16,
    pad: [u8; 2],
}

impl Member {
    fn is_like(&self, other: &Self) -> bool {
        (self.server, self.weight, self.tier) == (other.server, other.weight, other.tier)
    }
}

/// Where a tier's scheduler has got to.
#[derive(Debug, Clone, Copy, Default, FromZeros)]
#[repr(C)]
pub struct Place {
    /// The member to look at first.
    pub next: u32,
}

/// What is kept of a virtual server.
#[derive(Debug, Clone, Copy, Default, FromZeros)]
#[repr(C)]
struct Turn {
    first: u32,
    len: u32,
    /// Members of the first tier.
    leading: u32,
    /// Of the layout that the numbers above speak of.
    layout: u32,
    /// 1 if one of the members has a limit.
    capped: u32,
    /// When the other workers' sessions with the members of all tiers were looked at.
    refreshed: u32,
    /// In the first tier, and in whichever other one is in use: seldom more than one.
    places: [Place; 2],
}

/// A copy of what is kept of a virtual server.
pub struct Kept(Turn, Vec<Member>);

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

    /// Where a tier of `service` has got to, its members that may take sessions, and whether any of
    /// the service's has a limit.
    #[inline]
    pub fn get(
        &mut self,
        service: ServiceId,
        tier: u16,
    ) -> Option<(&mut Place, &mut [Member], bool)> {
        let (turn, all) = self.all(service)?;
        let (leading, others) = all.split_at_mut_checked(turn.leading as usize)?;
        let [first, second] = &mut turn.places;
        let capped = turn.capped != 0;
        if tier == 0 {
            return Some((first, leading, capped));
        }
        let from = others.partition_point(|member| member.tier < tier);
        let to = others.partition_point(|member| member.tier <= tier);
        Some((second, others.get_mut(from..to)?, capped))
    }

    /// The members of all tiers of `service`, if it has limits or goes by loads (`counts`), and it is
    /// so many milliseconds since this was asked the last time: what other workers have of them is to
    /// be looked at. Of all at once: a tier that is full is one that nobody would look at by itself.
    pub fn due(
        &mut self,
        service: ServiceId,
        counts: bool,
        (now, every): (u32, u32),
    ) -> Option<&[Member]> {
        let (turn, all) = self.all(service)?;
        if !(counts || turn.capped != 0) || now.wrapping_sub(turn.refreshed) < every {
            return None;
        }
        turn.refreshed = now;
        Some(all)
    }

    /// A copy of what is kept of `service`.
    pub fn copy(&mut self, service: ServiceId) -> Option<Kept> {
        let (turn, members) = self.all(service)?;
        Some(Kept(*turn, members.to_vec()))
    }

    /// Makes it what it was when it was copied; nothing else may have happened.
    pub fn put_back(&mut self, service: ServiceId, Kept(turn, members): &Kept) {
        if let Some((now, places)) = self.all(service)
            && places.len() == members.len()
        {
            *now = *turn;
            places.copy_from_slice(members);
        }
    }

    #[inline]
    fn all(&mut self, service: ServiceId) -> Option<(&mut Turn, &mut [Member])> {
        let turn = self.services.get_mut(usize::from(service.0))?;
        if turn.layout != self.layout {
            return None;
        }
        let [even, odd] = &mut self.halves;
        let half = if self.layout & 1 == 0 { even } else { odd };
        let members = half.get_mut(turn.range())?;
        Some((turn, members))
    }

    /// The first tier of `service` that has a member which may take sessions.
    pub fn first_tier(&self, service: ServiceId) -> Option<u16> {
        let turn = self.services.get(usize::from(service.0))?;
        let [even, odd] = &self.halves;
        let half = if self.layout & 1 == 0 { even } else { odd };
        let members = half.get(turn.range())?;
        (turn.layout == self.layout).then_some(members.first()?.tier)
    }

    /// Whether `server` may take sessions of `service`, in this tier.
    pub fn is_member(&mut self, service: ServiceId, tier: u16, server: ServerId) -> bool {
        self.get(service, tier)
            .is_some_and(|(_, members, _)| members.iter().any(|member| member.server == server))
    }

    /// Lays out the members of a new snapshot. Virtual servers for which there is no room get no
    /// sessions; the configuration allows no more members than there is room for.
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
                old.get(before.range()).unwrap_or(&[])
            } else {
                &[]
            };
            let members = &mut room[..len];
            let capped = members.iter().any(|member| {
                let server = servers.get(usize::from(member.server.0));
                let limits = server.and_then(Option::as_ref).map(|server| server.limits);
                limits.is_some_and(|limits| limits != SessionLimits::default())
            });
            *turn = Turn {
                first: first as u32,
                len: len as u32,
                leading: members.iter().take_while(|member| member.tier == 0).count() as u32,
                layout,
                capped: u32::from(capped),
                refreshed: before.refreshed,
                places: Default::default(),
            };
            carry_over(
                (before, was),
                turn,
                members,
                vs,
                (self.worker, self.workers),
            );
            first += len;
        }
        self.layout = layout;
    }
}

impl Turn {
    fn range(&self) -> Range<usize> {
        self.first as usize..self.first as usize + self.len as usize
    }
}

/// Writes the members of `vs` that may take sessions to the front of `room`. `None` if they don't
/// fit.
fn fill(room: &mut [Member], vs: &VirtualServer, servers: &[Option<RealServer>]) -> Option<usize> {
    let mut len = 0;
    for (tier, of) in (0..).zip(&vs.tiers) {
        for (at, &server) in of.members.iter().enumerate() {
            let weight = match (share(servers, server), &of.scheduler) {
                (1.., Scheduler::PacedTurns(weights) | Scheduler::PacedLoads(weights)) => {
                    weights.get(at).copied().unwrap_or(0)
                }
                (share, _) => share,
            };
            if weight > 0 {
                *room.get_mut(len)? = Member {
                    due: 0,
                    server,
                    weight,
                    tier,
                    pad: [0; 2],
                };
                len += 1;
            }
        }
    }
    Some(len)
}

/// Goes on where the last snapshot left off, or starts at this worker's place.
fn carry_over(
    (before, was): (Turn, &[Member]),
    turn: &mut Turn,
    members: &mut [Member],
    vs: &VirtualServer,
    at: (u16, u16),
) {
    let mut same = was.iter().zip(members.iter());
    if was.len() == members.len() && same.all(|(a, b)| a.is_like(b)) {
        members.copy_from_slice(was);
        turn.places = before.places;
        return;
    }
    let was = was.get(..before.leading as usize).unwrap_or(&[]);
    let leading = members.get(..turn.leading as usize).unwrap_or(&[]);
    turn.places[0].next = next_of(was, before.places[0].next, leading, at);
    turn.places[1].next = u32::from(at.0);
    for tier in members.chunk_by_mut(|a, b| a.tier == b.tier) {
        let of = tier
            .first()
            .and_then(|member| vs.tiers.get(usize::from(member.tier)));
        let by_turns = |of: &Tier| {
            matches!(
                of.scheduler,
                Scheduler::WeightedRoundRobin | Scheduler::PacedTurns(_)
            )
        };
        if of.is_some_and(by_turns) {
            let total: u64 = tier.iter().map(|m| u64::from(m.weight)).sum();
            let ahead = u64::from(at.0) * total.min(MAX_HEAD_START) / u64::from(at.1);
            for _ in 0..ahead {
                super::scheduler::weighted_round_robin(tier, |_| true);
            }
        }
    }
}

/// Of members that are others now: the turn stays with the server that had it, or goes to the next
/// that is still there.
fn next_of(was: &[Member], next: u32, members: &[Member], (worker, workers): (u16, u16)) -> u32 {
    let start = (next as usize).min(was.len());
    let (behind, ahead) = was.split_at(start);
    let next = ahead
        .iter()
        .chain(behind)
        .find_map(|old| members.iter().position(|new| new.server == old.server));
    let place = usize::from(worker) * members.len() / usize::from(workers);
    next.unwrap_or(place) as u32
}
