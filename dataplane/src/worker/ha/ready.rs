//! What would be lost if this node died now.

use sluice_ha::NodeSet;
use sluice_wire::{V4, V6};

use super::super::Worker;
use super::super::tables::PerFamily;
use super::Ha;
use crate::io::Io;

impl Ha {
    /// Replicas that nobody owns until they are taken over.
    pub(super) fn orphans(&self) -> u64 {
        let dead = self
            .peers
            .iter()
            .filter(|peer| peer.link.is_none() && !peer.lives);
        self.strays + dead.map(|peer| peer.copies).sum::<u64>()
    }

    /// The nodes that may take over and can be told; without any, those that can be told.
    pub(super) fn able(&self) -> NodeSet {
        match self.heirs.and(self.linked) {
            able if able.is_empty() => self.linked,
            able => able,
        }
    }
}

impl<I: Io> Worker<I> {
    /// Sessions that this node owns, on this worker.
    pub(in super::super) fn own_sessions(&self) -> u64 {
        let all = (V4::table(&self.tables).len() + V6::table(&self.tables).len()) as u64;
        all.saturating_sub(self.ha.as_ref().map_or(0, |ha| ha.replicas))
    }

    /// Sessions of ours that would be lost if this node died now: of the nodes that may take over, the
    /// one counts that knows least.
    pub(in super::super) fn untold(&mut self) -> u64 {
        let own = self.own_sessions();
        let Some(ha) = &mut self.ha else { return 0 };
        if !ha.parts.sync {
            return own;
        }
        if ha.backs_up() {
            return self.untold_to_backups();
        }
        let able = ha.able();
        let able = ha.peers.iter_mut().filter(|peer| able.has(peer.id));
        able.map(|peer| peer.untold(own)).max().unwrap_or(own)
    }

    /// Sessions that no other node would have if this one died now: of ours, and of those that dead nodes
    /// left here.
    fn untold_to_backups(&mut self) -> u64 {
        let own = self.own_sessions();
        let Some(ha) = &mut self.ha else { return own };
        let (mut held, mut unsure) = (0, 0);
        for peer in ha.peers.iter_mut().filter(|peer| peer.link.is_some()) {
            held += peer.holds;
            unsure += peer.untold(peer.holds);
        }
        (ha.told.saturating_sub(held) + unsure).min(own) + ha.orphans()
    }
}
