//! Asking for neighbours, again and again, until they answer or it is in vain.

use std::net::IpAddr;

use super::{Action, NeighbourId, Neighbours, Reach, State};
use crate::snapshot::PortId;

impl Neighbours {
    /// Runs timers, looking at no more than `budget` entries and wanting no more than so many actions.
    /// Cheap when there is nothing to do.
    pub fn tick(&mut self, now: u32, budget: usize, mut act: impl FnMut(Action)) {
        for _ in 0..budget.min(self.active.len()) {
            if self.cursor >= self.active.len() {
                self.cursor = 0;
            }
            let Some(&id) = self.active.get(self.cursor) else {
                return;
            };
            if self.advance(NeighbourId(id), now, &mut act) {
                self.cursor += 1;
            } else {
                self.active.swap_remove(self.cursor);
                self.retire(id);
            }
        }
    }

    /// One entry's timer. False if it has none any more.
    fn advance(&mut self, id: NeighbourId, now: u32, act: &mut impl FnMut(Action)) -> bool {
        let limits = self.limits;
        let entry = &mut self.entries[usize::from(id.0)];
        match entry.state {
            // Was answered, or its port is gone.
            State::Reachable | State::Stale | State::Static | State::Failed => return false,
            State::Incomplete if entry.references == 0 && !entry.sought => {
                entry.state = State::Failed;
                entry.at = now;
                return false;
            }
            State::Probe if entry.references == 0 && !entry.sought => {
                entry.state = State::Stale;
                return false;
            }
            State::Incomplete | State::Probe => {}
        }
        if (now.wrapping_sub(entry.at) as i32) < 0 {
            return true;
        }
        if entry.tries >= limits.tries {
            entry.tries = 0;
            if entry.state == State::Incomplete {
                entry.state = State::Failed;
                entry.at = now;
                act(Action::Failed(id));
                return false;
            }
            // Asked for by broadcast from the next tick on.
            entry.state = State::Incomplete;
            act(Action::Lost(id));
            return true;
        }
        entry.tries += 1;
        entry.at = now.wrapping_add(limits.retransmit_ms);
        act(Action::Solicit {
            port: entry.port,
            addr: entry.addr,
            unicast: entry.mac(),
        });
        true
    }

    /// Takes note that an entry left `active`.
    fn retire(&mut self, id: u16) {
        let entry = &mut self.entries[usize::from(id)];
        (entry.active, entry.sought) = (false, false);
        if entry.references == 0 && !entry.listed {
            self.free.push(id);
        }
    }

    /// The MAC address of a neighbour that nobody refers to: for a single packet, or for later. It is
    /// asked for like others.
    pub fn seek(&mut self, port: PortId, addr: IpAddr, now: u32) -> Reach {
        let Ok(id) = self.resolve(port, addr, now) else {
            return Reach::Unreachable;
        };
        let reach = self.used(id, now);
        let entry = &mut self.entries[usize::from(id.0)];
        entry.sought = matches!(entry.state, State::Incomplete | State::Probe);
        self.release(id);
        reach
    }

    /// Starts asking, at the next tick.
    pub(super) fn ask(&mut self, id: NeighbourId, state: State, now: u32) {
        let entry = &mut self.entries[usize::from(id.0)];
        entry.state = state;
        entry.tries = 0;
        entry.at = now;
        if !entry.active {
            entry.active = true;
            self.active.push(id.0);
        }
    }

    /// Marks an entry as heard from.
    pub(super) fn confirm(&mut self, id: NeighbourId, now: u32) {
        // xorshift64: no secret, only to keep workers and neighbours out of step.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let base = self.limits.reachable_ms;
        let entry = &mut self.entries[usize::from(id.0)];
        entry.state = State::Reachable;
        entry.at = now;
        entry.trust_ms = base / 2 + (((self.random >> 32) * u64::from(base)) >> 32) as u32;
    }
}
