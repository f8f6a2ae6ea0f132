//! Names for sessions and flows of a table.

use std::num::NonZeroU32;

/// Which flow of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// The opener's.
    Original = 0,
    /// The other one.
    Reply = 1,
}

impl Direction {
    /// Of a flow's reference.
    #[inline(always)]
    pub(super) const fn of(reference: u32) -> Self {
        match reference & 1 {
            0 => Self::Original,
            _ => Self::Reply,
        }
    }

    /// The other one.
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// A session of one table. Ids of ended sessions are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u32);

impl SessionId {
    /// One of its flows.
    #[inline]
    pub const fn flow(self, direction: Direction) -> FlowRef {
        FlowRef::new(self.0 << 1 | direction as u32)
    }
}

/// A flow of one table: session and direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowRef(NonZeroU32);

impl FlowRef {
    #[inline(always)]
    pub(super) const fn new(reference: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(reference))
    }

    #[inline(always)]
    pub(super) const fn reference(self) -> u32 {
        self.0.get() - 1
    }

    #[inline(always)]
    pub(super) const fn at(self) -> (usize, usize) {
        let reference = self.reference() as usize;
        (reference >> 1, reference & 1)
    }

    /// Its session.
    #[inline]
    pub const fn session(self) -> SessionId {
        SessionId(self.reference() >> 1)
    }

    /// Its direction.
    #[inline]
    pub const fn direction(self) -> Direction {
        Direction::of(self.reference())
    }

    /// The other flow of the session.
    #[inline]
    #[must_use]
    pub const fn reverse(self) -> Self {
        Self::new(self.reference() ^ 1)
    }
}
