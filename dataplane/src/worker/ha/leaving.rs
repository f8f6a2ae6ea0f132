//! Going away without a loss.
//!
//! A node that goes opens no connection from then on: what would open one, or another in place of one that is over,
//! goes to a node that stays. With a long link and traffic there is always something that has not been
//! acknowledged, so it does not wait until there is nothing. After it has let its groups go, the others have heard
//! that it goes, and what they had sent here before has come, it waits until they know all that it had
//! said by then. Only then do they take over what they get packets of: a copy that is older than the session would
//! bring back a connection that is over.

use super::super::Worker;
use super::super::burst::Packet;
use super::super::tables::PerFamily;
use super::{Correction, Errand, Ha};
use crate::handoff::{Going, Seat};
use crate::io::Io;
use crate::published::WorkerCounter;
use crate::session::table::SessionId;

/// How far a worker has come with going away.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    going: Going,
    /// Since when.
    since: u32,
    /// The others know all that this worker had said.
    passed: bool,
}

impl Ha {
    /// Whom a packet goes to that would open a session, if this node is about to go and another one stays.
    pub(super) fn successor(&self) -> Option<Errand> {
        if self.leaving.going == Going::No || self.heirs.has(self.parts.node) {
            return None;
        }
        self.ask(Correction::Leaving)
    }

    /// Whether a node has been told everything, and does not go.
    pub(super) fn stays(&self, seat: Seat) -> bool {
        let peer = self.peers.get(usize::from(seat.0));
        peer.is_some_and(|peer| self.ready.has(peer.id))
    }

    /// Whether the nodes that may take over know all that had been said when this was asked first.
    fn is_known(&mut self) -> bool {
        let mut all = self.parts.sync && self.has_refilled() && !self.linked.is_empty();
        let able = self.able();
        for peer in &mut self.peers {
            if able.has(peer.id) {
                let mut mark = peer.fence;
                all &= peer.has_passed(&mut mark);
                peer.fence = mark;
            } else if peer.link.is_none() && peer.lives {
                // It takes over as well, and may be back before this node has gone.
                all &= !self.ready.has(peer.id);
            }
        }
        all
    }
}

impl<I: Io> Worker<I> {
    /// This node is about to go, or stays.
    pub(in super::super) fn set_going(&mut self, going: Going) {
        let now = self.now;
        if let Some(ha) = &mut self.ha {
            ha.leaving = Leaving {
                going,
                since: now,
                passed: false,
            };
            ha.peers.iter_mut().for_each(|peer| peer.fence = None);
        }
    }

    /// Says whether what this worker has may be left to the others.
    pub(super) fn follow_leaving(&mut self) {
        let own = self.own_sessions();
        let now = self.now;
        let Some(ha) = &mut self.ha else { return };
        // What is under way for longer comes from a node that counts as dead.
        let silence = ha.parts.heartbeat_ms * ha.parts.dead_after;
        let since = now.wrapping_sub(ha.leaving.since);
        if !ha.leaving.passed && ha.leaving.going == Going::Heard && since >= silence {
            ha.leaving.passed = own == 0 || ha.is_known();
        }
        self.counters
            .set(WorkerCounter::HaPassed, u64::from(ha.leaving.passed));
    }

    /// Gives a packet that opens another session in place of one that is over to a node that stays, if this one
    /// goes; then that one is over here, too. Gives it back if not.
    pub(in super::super) fn leave_opener<F: PerFamily>(
        &mut self,
        packet: Packet<I::Frame>,
        id: SessionId,
    ) -> Option<Packet<I::Frame>> {
        let errand = self.ha.as_ref().and_then(|ha| ha.successor());
        let packet = self.correct_if(packet, errand);
        if packet.is_none() {
            self.end_session::<F>(id);
        }
        packet
    }
}
