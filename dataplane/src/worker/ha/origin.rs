//! Where a replica comes from.

use sluice_wire::Family;

use crate::session::flow::{Cold, Session};

/// How long a bit field of [`Origin`] is.
const MEETING_BITS: u32 = 9;
const LANE_BITS: u32 = 6;

/// What a replica is told apart by, in place of a mapping in `Cold::extra`.
///
/// A replica belongs to the peer while it comes from the present meeting; those of a former boot of
/// the peer are nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Origin {
    /// Which boot of the peer told of it; wraps.
    pub(super) meeting: u16,
    /// The lane that it was told on.
    pub(super) lane: u8,
    /// The round in which it was told whole (see `sluice_ha::bulk`).
    pub(super) mark: u16,
    /// Its source is translated by an endpoint-independent mapping, or its destination is.
    pub(super) mapped: bool,
}

/// Whether a session's source is translated by an endpoint-independent mapping, or its destination is.
pub(in super::super) fn is_mapped<F: Family>(session: &Session<F>, cold: &Cold) -> bool {
    match session.is_replica() {
        // It has its origin where others have the mapping's number.
        true => Origin::unpack(cold.extra).mapped,
        false => cold.extra != 0,
    }
}

impl Origin {
    /// A meeting as far as it is kept.
    pub(super) const fn meeting(count: u32) -> u16 {
        (count & ((1 << MEETING_BITS) - 1)) as u16
    }

    pub(super) fn pack(self) -> u32 {
        let lane = u32::from(self.lane) & ((1 << LANE_BITS) - 1);
        u32::from(self.mapped) << (16 + LANE_BITS + MEETING_BITS)
            | u32::from(Self::meeting(u32::from(self.meeting))) << (16 + LANE_BITS)
            | lane << 16
            | u32::from(self.mark)
    }

    pub(super) fn unpack(packed: u32) -> Self {
        Self {
            mapped: packed >> (16 + LANE_BITS + MEETING_BITS) != 0,
            meeting: Self::meeting(packed >> (16 + LANE_BITS)),
            lane: (packed >> 16) as u8 & ((1 << LANE_BITS) - 1),
            mark: packed as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_out_again() {
        for (meeting, lane, mark, mapped) in
            [(0, 0, 0, false), (511, 63, 65535, true), (1, 2, 3, false)]
        {
            let origin = Origin {
                meeting,
                lane,
                mark,
                mapped,
            };
            assert_eq!(Origin::unpack(origin.pack()), origin);
        }
    }
}
