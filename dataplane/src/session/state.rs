//! State of sessions whose protocol has no connections: UDP, ICMP echo and all the rest.

use sluice_wire::Family;

use super::Flow;
use super::table::Direction;

/// Only the opener has spoken.
pub const NEW: u8 = 0;
/// The other side has answered.
pub const REPLIED: u8 = 1;

/// Whether a packet of `this` flow changes nothing: [`step`] would say false.
#[inline(always)]
pub fn is_settled<F: Family>(this: &Flow<F>, direction: Direction) -> bool {
    (this.state != NEW) | (direction as u8 == Direction::Original as u8)
}

/// Takes a packet of `this` flow into account. True if the session's state changed, and with it its
/// timeout.
#[inline]
pub fn step<F: Family>(this: &mut Flow<F>, other: &mut Flow<F>, direction: Direction) -> bool {
    if is_settled(this, direction) {
        return false;
    }
    this.state = REPLIED;
    other.state = REPLIED;
    true
}

#[cfg(test)]
mod tests {
    use sluice_wire::V4;
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn only_the_first_answer_changes_the_state() {
        let (mut original, mut reply) = (Flow::<V4>::new_zeroed(), Flow::new_zeroed());
        // A sender that nobody answers keeps the short timeout, however much it sends.
        for _ in 0..3 {
            assert!(!step(&mut original, &mut reply, Direction::Original));
            assert_eq!((original.state, reply.state), (NEW, NEW));
        }
        assert!(step(&mut reply, &mut original, Direction::Reply));
        assert_eq!((original.state, reply.state), (REPLIED, REPLIED));
        assert!(!step(&mut reply, &mut original, Direction::Reply));
        assert!(!step(&mut original, &mut reply, Direction::Original));
    }
}
