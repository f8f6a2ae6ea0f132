//! Versions of sessions that open in place of others.
//!
//! What a former owner still says of the other session must not be taken for news of the new one, so that begins behind
//! its version.

use sluice_ha::record::Stamp;

use super::super::Worker;
use super::super::tables::PerFamily;
use super::digest::place_of;
use crate::io::Io;
use crate::session::table::SessionId;

/// How many that have not opened yet are remembered.
const KEPT: usize = 8;

/// By the place of the original tuple ([`place_of`]): what the version of the session that opens there begins behind.
#[derive(Debug, Default)]
pub(super) struct Floors(arrayvec::ArrayVec<(u64, u32), KEPT>);

impl Floors {
    fn note(&mut self, place: u64, floor: u32) {
        self.0.retain(|(of, _)| *of != place);
        if self.0.is_full() {
            self.0.remove(0);
        }
        self.0.push((place, floor));
    }

    fn take(&mut self, place: u64) -> Option<u32> {
        let at = self.0.iter().position(|(of, _)| *of == place)?;
        Some(self.0.remove(at).1)
    }
}

impl<I: Io> Worker<I> {
    /// A session is about to be ended, and another one opened in its place; a copy as if it had been taken over
    /// before.
    pub(in super::super) fn note_floor<F: PerFamily>(&mut self, id: SessionId) {
        let table = F::table(&self.tables);
        let (Some(ha), Some(session)) = (&mut self.ha, table.session(id)) else {
            return;
        };
        let version = match (table.version(id), session.is_replica()) {
            (0, _) => return,
            (version, true) => version.wrapping_add(Stamp::TAKEOVER),
            (version, false) => version,
        };
        let [original, _] = &session.flows;
        // It is told that it has ended, too.
        ha.floors
            .note(place_of(original).hash(), version.wrapping_add(1));
    }

    /// What the version of a new session begins behind.
    pub(super) fn floor_of<F: PerFamily>(&mut self, id: SessionId) -> u32 {
        let Some(ha) = self.ha.as_mut().filter(|ha| !ha.floors.0.is_empty()) else {
            return 0;
        };
        let Some(session) = F::table(&self.tables).session(id) else {
            return 0;
        };
        let [original, _] = &session.flows;
        ha.floors.take(place_of(original).hash()).unwrap_or(0)
    }
}
