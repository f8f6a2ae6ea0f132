//! Packets that wait for a neighbour's MAC address.
//!
//! RFC 1122 section 2.3.2.2 wants the first packet to an unresolved address kept, so that opening a
//! connection does not begin with a loss. Bounded per neighbour and in all, in frames and in time.

use crate::stack::neighbour::NeighbourId;

/// Bounds of [`Hold`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most frames in all.
    pub total: usize,
    /// Most frames for one neighbour.
    pub per_neighbour: usize,
    /// How long a frame waits at most, milliseconds.
    pub wait_ms: u32,
}

impl Default for Limits {
    /// Three seconds: as long as three solicitations take.
    fn default() -> Self {
        Self {
            total: 256,
            per_neighbour: 16,
            wait_ms: 3000,
        }
    }
}

/// Frames that wait. `F` is whatever the caller needs to go on with one.
#[derive(Debug)]
pub struct Hold<F> {
    limits: Limits,
    /// Oldest first; as long as `frames`. Apart, so that counting one neighbour's frames reads a
    /// few cache lines.
    ids: Vec<NeighbourId>,
    frames: Vec<Held<F>>,
}

#[derive(Debug)]
struct Held<F> {
    frame: F,
    since: u32,
}

impl<F> Hold<F> {
    /// Nothing held.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ids: Vec::with_capacity(limits.total),
            frames: Vec::with_capacity(limits.total),
        }
    }

    /// Frames held.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Keeps a frame until the neighbour is known.
    ///
    /// # Errors
    /// The frame, if too many wait already.
    pub fn hold(&mut self, id: NeighbourId, frame: F, now: u32) -> Result<(), F> {
        let waiting = self.ids.iter().filter(|held| **held == id).count();
        if self.frames.len() >= self.limits.total || waiting >= self.limits.per_neighbour {
            return Err(frame);
        }
        self.ids.push(id);
        self.frames.push(Held { frame, since: now });
        Ok(())
    }

    /// Takes out the oldest frame that waits for a neighbour: because the neighbour is known now,
    /// or because it failed.
    pub fn take(&mut self, id: NeighbourId) -> Option<F> {
        let at = self.ids.iter().position(|held| *held == id)?;
        Some(self.remove(at))
    }

    /// Takes out the oldest frame of all, if it has waited too long.
    pub fn take_expired(&mut self, now: u32) -> Option<F> {
        let oldest = self.frames.first()?;
        (now.wrapping_sub(oldest.since) >= self.limits.wait_ms).then(|| self.remove(0))
    }

    /// Takes out the oldest frame of all, whatever it waits for.
    pub fn take_any(&mut self) -> Option<F> {
        (!self.is_empty()).then(|| self.remove(0))
    }

    fn remove(&mut self, at: usize) -> F {
        self.ids.remove(at);
        self.frames.remove(at).frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NeighbourId = NeighbourId(1);
    const B: NeighbourId = NeighbourId(2);

    fn hold() -> Hold<&'static str> {
        Hold::new(Limits {
            total: 4,
            per_neighbour: 2,
            wait_ms: 3000,
        })
    }

    #[test]
    fn packets_leave_in_order_and_others_keep_waiting() {
        let mut hold = hold();
        hold.hold(A, "a1", 0).unwrap();
        hold.hold(B, "b1", 1).unwrap();
        hold.hold(A, "a2", 2).unwrap();
        assert_eq!(
            [hold.take(A), hold.take(A), hold.take(A)],
            [Some("a1"), Some("a2"), None]
        );
        assert_eq!(hold.len(), 1);
        assert_eq!(hold.take_any(), Some("b1"));
        assert_eq!((hold.is_empty(), hold.take_any()), (true, None));
    }

    #[test]
    fn one_dead_neighbour_cannot_take_all_the_room() {
        let mut hold = hold();
        hold.hold(A, "a1", 0).unwrap();
        hold.hold(A, "a2", 0).unwrap();
        assert_eq!(hold.hold(A, "a3", 0), Err("a3"));
        hold.hold(B, "b1", 0).unwrap();
        hold.hold(NeighbourId(3), "c1", 0).unwrap();
        assert_eq!(hold.hold(NeighbourId(4), "d1", 0), Err("d1"), "full");
    }

    #[test]
    fn waiting_ends_also_where_the_clock_wraps() {
        let mut hold = hold();
        let start = u32::MAX - 1000;
        hold.hold(A, "a1", start).unwrap();
        hold.hold(B, "b1", start.wrapping_add(2000)).unwrap();
        assert_eq!(hold.take_expired(start.wrapping_add(2999)), None);
        assert_eq!(hold.take_expired(start.wrapping_add(3000)), Some("a1"));
        assert_eq!(hold.take_expired(start.wrapping_add(3000)), None);
        assert_eq!(hold.take(B), Some("b1"));
    }
}
