//! What other nodes are told of control connections and related sessions, and what they tell.
//!
//! A node that takes a control connection over goes on with its numbers, and with reading at the next
//! line. What was announced before is not expected there: the client has to ask anew.

use sluice_ha::record::{SessionRecord, session, side};
use sluice_wire::{Key, Tuple};

use super::super::tables::PerFamily;
use super::{Alg, Parent, Side, Watch};
use crate::alg::edits::Edits;
use crate::alg::ftp::Talk;
use crate::session::flow::{Session, UNCHECKED};
use crate::snapshot::ServerId;

/// What a session's record says of it.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Told {
    pub(in super::super) flags: u8,
    pub(in super::super) shifts: [u32; 2],
}

impl Alg {
    /// What other nodes are to be told of a session.
    pub(in super::super) fn told_of<F: PerFamily>(&self, of: &Session<F>, now: u32) -> Told {
        if self.watches.is_empty() && self.related.is_empty() {
            return Told::default();
        }
        let key = F::any(of.flows[0].key());
        let hash = self.hash(&key);
        if let Some(watch) = self.watches.get(hash, &key, now) {
            let [client, server] = &watch.sides;
            return Told {
                flags: session::WATCHED,
                shifts: [client.edits.shift(), server.edits.shift()],
            };
        }
        let related = self.related.get(hash, &key, now).is_some();
        Told {
            flags: if related { session::RELATED } else { 0 },
            ..Told::default()
        }
    }

    /// A copy was made of another node's session.
    pub(in super::super) fn copied<F: PerFamily>(
        &mut self,
        (key, leaves): (&Key<F::Addrs>, &Tuple),
        (reply_zone, server): (u8, ServerId),
        told: &SessionRecord<F>,
        now: u32,
    ) {
        let any = F::any(*key);
        if told.flags & session::RELATED != 0 {
            // Without room it ends when it is taken over.
            self.relate(any, None, now);
        }
        if told.flags & session::WATCHED == 0 {
            return;
        }
        let known = |of: &sluice_ha::record::Side| (of.flags & side::KNOWN != 0).then_some(of.end);
        let side = |at: usize| Side {
            next: known(&told.progress.sides[at]),
            resumed: true,
            edits: Edits::shifted(told.shifts[at]),
        };
        let watch = Watch {
            parent: Parent {
                arrives: key.tuple::<F>(),
                leaves: *leaves,
                zones: (key.zone, reply_zone),
                server,
                mapped: told.flags & session::MAPPED != 0,
            },
            talk: Talk::resumed(),
            sides: [side(0), side(1)],
            epoch: UNCHECKED,
            expects: None,
        };
        self.begin(any, watch, now);
    }
}
