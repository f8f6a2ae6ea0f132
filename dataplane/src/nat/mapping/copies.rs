//! Copies of another appliance's mappings, beside one's own: whoever asks for an endpoint finds
//! whichever there is, and no port is given away twice.

use std::net::IpAddr;

use super::super::rules::Filtering;
use super::{Copied, Mapping, MappingError, MappingId, Mappings, UNHELD_MS, find_external};

/// How long a copy is kept that nobody has any more, and nobody asked for, milliseconds.
const ORPHAN_MS: u32 = 600_000;

/// What another appliance tells of a mapping.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// IP protocol.
    pub proto: u8,
    /// Address and port of the host.
    pub internal: (IpAddr, u16),
    /// Address and port that the world sees.
    pub external: (IpAddr, u16),
    /// Who may open sessions to it.
    pub filtering: Filtering,
    /// Number of the statement.
    pub version: u32,
    /// Where the copy comes from.
    pub origin: u32,
}

impl Mapping {
    /// Whether this is a copy whose time is over.
    pub(super) fn ages(&mut self, now: u32, is_orphan: impl Fn(u32) -> bool) -> bool {
        let held = self.sessions > 0;
        let Some(copy) = &mut self.copy else {
            return false;
        };
        if held || !is_orphan(copy.origin) {
            copy.orphaned = None;
            return false;
        }
        let until = *copy.orphaned.get_or_insert(now.wrapping_add(ORPHAN_MS));
        now.wrapping_sub(until).cast_signed() >= 0
    }
}

impl Mappings {
    /// The mapping or copy with an external endpoint, whatever its time.
    pub fn find(&self, proto: u8, external: (IpAddr, u16)) -> Option<MappingId> {
        let (hasher, entries) = (&self.hasher, &self.entries);
        let position = find_external(hasher, entries, &self.by_external, proto, external)?;
        MappingId::at(position)
    }

    /// Keeps a copy of another appliance's mapping. What was known of its external endpoint before
    /// is gone, but for the sessions that hold it.
    ///
    /// # Errors
    /// [`MappingError::Full`].
    pub fn keep(&mut self, told: &Told) -> Result<(), MappingError> {
        let copy = Some(Copied {
            origin: told.origin,
            orphaned: None,
        });
        if let Some(id) = self.find(told.proto, told.external) {
            let position = id.position();
            let same = |mapping: &Mapping| mapping.internal == told.internal;
            if self.entries.get(position).is_some_and(same) {
                if let Some(mapping) = self.entries.get_mut(position) {
                    self.copies += usize::from(mapping.copy.is_none());
                    (mapping.copy, mapping.version) = (copy, told.version);
                    (mapping.foreign, mapping.filtering) = (true, told.filtering);
                }
                return Ok(());
            }
            self.end(position);
        }
        self.insert(Mapping {
            proto: told.proto,
            internal: told.internal,
            external: told.external,
            filtering: told.filtering,
            sessions: 0,
            deadline: 0,
            foreign: true,
            version: told.version,
            copy,
        })?;
        Ok(())
    }

    /// Makes a copy a mapping of this worker's, which goes if no session holds it within a second.
    pub fn adopt(&mut self, id: MappingId, version: u32, now: u32) {
        if let Some(mapping) = self.entries.get_mut(id.position())
            && mapping.copy.take().is_some()
        {
            self.copies -= 1;
            mapping.version = version;
            mapping.deadline = now.wrapping_add(UNHELD_MS);
        }
    }

    /// A statement was made of a mapping.
    pub fn set_version(&mut self, id: MappingId, version: u32) {
        if let Some(mapping) = self.entries.get_mut(id.position()) {
            mapping.version = version;
        }
    }

    /// Forgets a copy; a mapping of this worker's is left alone.
    pub fn forget(&mut self, id: MappingId) {
        if self.get(id).is_some_and(|mapping| mapping.copy.is_some()) {
            self.end(id.position());
        }
    }

    /// What is at a place: `None` behind the last one, `Some(None)` where there is nothing.
    pub fn at(&self, place: u32) -> Option<Option<(MappingId, &Mapping)>> {
        if place >= self.entries.places() {
            return None;
        }
        let found = self.entries.get(place);
        Some(found.and_then(|mapping| Some((MappingId::at(place)?, mapping))))
    }
}
