//! What nodes tell each other about roles, as bytes of a heartbeat.

use crate::bytes::{In, Out};

/// Groups at most.
pub const MAX_GROUPS: usize = 16;
/// The vote for nobody.
pub(super) const NOBODY: u8 = 0x7f;

const HOLDS: u8 = 0x80;
const READY: u8 = 1 << 0;
const WAS_READY: u8 = 1 << 1;
const DRAINING: u8 = 1 << 2;
const DEGRADED: u8 = 1 << 3;
const LEAVING: u8 = 1 << 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct OfGroup {
    pub(super) priority: u8,
    pub(super) vote: u8,
    pub(super) holds: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Said {
    pub(super) ready: bool,
    /// Has been ready since it started, or waited long enough.
    pub(super) was_ready: bool,
    pub(super) draining: bool,
    /// A tracker of it fails.
    pub(super) degraded: bool,
    /// It is about to stop: its sessions are to be taken over now.
    pub(super) leaving: bool,
    /// Counts up with each change of what is said.
    pub(super) version: u32,
    /// The version of the receiver that this one has heard.
    pub(super) heard: u32,
    pub(super) groups: [OfGroup; MAX_GROUPS],
    pub(super) len: u8,
}

impl Said {
    pub(super) fn push(&mut self, priority: u8, vote: u8, holds: bool) {
        if let Some(group) = self.groups.get_mut(usize::from(self.len)) {
            *group = OfGroup {
                priority,
                vote,
                holds,
            };
            self.len += 1;
        }
    }

    /// Whether it holds any group.
    pub(super) fn holds_any(&self) -> bool {
        let mut groups = self.groups.iter().take(usize::from(self.len));
        groups.any(|group| group.holds)
    }

    pub(super) fn group(&self, index: usize) -> Option<&OfGroup> {
        self.groups[..usize::from(self.len)].get(index)
    }

    /// Gives the length; 0 if the buffer is too short.
    pub(super) fn write(&self, buffer: &mut [u8]) -> usize {
        let flag = |set, bit| if set { bit } else { 0 };
        let flags = flag(self.ready, READY)
            | flag(self.was_ready, WAS_READY)
            | flag(self.draining, DRAINING)
            | flag(self.degraded, DEGRADED)
            | flag(self.leaving, LEAVING);
        let mut out = Out::new(buffer);
        out.put([flags, self.len]);
        out.u32(self.version);
        out.u32(self.heard);
        for group in &self.groups[..usize::from(self.len)] {
            out.put([group.priority, group.vote | flag(group.holds, HOLDS)]);
        }
        out.finish().unwrap_or(0)
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut input = In(bytes);
        let [flags, len] = input.take()?;
        let mut said = Self {
            ready: flags & READY != 0,
            was_ready: flags & WAS_READY != 0,
            draining: flags & DRAINING != 0,
            degraded: flags & DEGRADED != 0,
            leaving: flags & LEAVING != 0,
            version: input.u32()?,
            heard: input.u32()?,
            ..Self::default()
        };
        for _ in 0..usize::from(len).min(MAX_GROUPS) {
            let [priority, vote] = input.take()?;
            said.push(priority, vote & !HOLDS, vote & HOLDS != 0);
        }
        Some(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_these_bytes() {
        let mut said = Said {
            ready: true,
            draining: true,
            leaving: true,
            version: 0x0102_0304,
            heard: 0x0506_0708,
            ..Said::default()
        };
        said.push(100, 3, true);
        said.push(0, NOBODY, false);
        let bytes = [21, 2, 1, 2, 3, 4, 5, 6, 7, 8, 100, 0x83, 0, 0x7f];
        let mut buffer = [0; 64];
        assert_eq!(said.write(&mut buffer), bytes.len());
        assert_eq!(buffer[..bytes.len()], bytes);
        assert_eq!(Said::parse(&bytes), Some(said));
        assert_eq!(Said::parse(&bytes[..13]), None);
        assert_eq!(Said::parse(&[]), None);
    }
}
