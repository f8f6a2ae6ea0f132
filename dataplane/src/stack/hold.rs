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

/// Frames that wait, each with a word that its owner gets back with it.
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
    cookie: u32,
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
    pub fn hold(&mut self, id: NeighbourId, frame: F, cookie: u32, now: u32) -> Result<(), F> {
        let waiting = self.ids.iter().filter(|held| **held == id).count();
        if self.frames.len() >= self.limits.total || waiting >= self.limits.per_neighbour {
            return Err(frame);
        }
        self.ids.push(id);
        self.frames.push(Held {
            frame,
            cookie,
            since: now,
        });
        Ok(())
    }

    /// Gives back what waits for a neighbour, in the order it came: because the neighbour is known
    /// now, or because it failed.
    pub fn release(&mut self, id: NeighbourId, mut give: impl FnMut(F, u32)) {
        if !self.ids.contains(&id) {
            return;
        }
        let ids = &self.ids;
        let mut at = 0;
        let taken = self.frames.extract_if(.., |_| {
            at += 1;
            ids.get(at - 1) == Some(&id)
        });
        for held in taken {
            give(held.frame, held.cookie);
        }
        self.ids.retain(|held| *held != id);
    }

    /// Gives back what has waited too long.
    pub fn expire(&mut self, now: u32, mut give: impl FnMut(NeighbourId, F, u32)) {
        let wait = self.limits.wait_ms;
        let old = self
            .frames
            .partition_point(|held| now.wrapping_sub(held.since) >= wait);
        if old == 0 {
            return;
        }
        for (id, held) in self.ids.drain(..old).zip(self.frames.drain(..old)) {
            give(id, held.frame, held.cookie);
        }
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

    fn released(hold: &mut Hold<&'static str>, id: NeighbourId) -> Vec<(&'static str, u32)> {
        let mut out = Vec::new();
        hold.release(id, |frame, cookie| out.push((frame, cookie)));
        out
    }

    #[test]
    fn packets_leave_in_order_and_others_keep_waiting() {
        let mut hold = hold();
        hold.hold(A, "a1", 10, 0).unwrap();
        hold.hold(B, "b1", 20, 1).unwrap();
        hold.hold(A, "a2", 11, 2).unwrap();
        assert_eq!(released(&mut hold, A), [("a1", 10), ("a2", 11)]);
        assert_eq!((hold.len(), released(&mut hold, A)), (1, vec![]));
        assert_eq!(released(&mut hold, B), [("b1", 20)]);
        assert!(hold.is_empty());
    }

    #[test]
    fn one_dead_neighbour_cannot_take_all_the_room() {
        let mut hold = hold();
        hold.hold(A, "a1", 0, 0).unwrap();
        hold.hold(A, "a2", 0, 0).unwrap();
        assert_eq!(hold.hold(A, "a3", 0, 0), Err("a3"));
        hold.hold(B, "b1", 0, 0).unwrap();
        hold.hold(NeighbourId(3), "c1", 0, 0).unwrap();
        assert_eq!(hold.hold(NeighbourId(4), "d1", 0, 0), Err("d1"), "full");
    }

    #[test]
    fn waiting_ends_also_where_the_clock_wraps() {
        let mut hold = hold();
        let start = u32::MAX - 1000;
        hold.hold(A, "a1", 7, start).unwrap();
        hold.hold(B, "b1", 8, start.wrapping_add(2000)).unwrap();
        let mut out = Vec::new();
        hold.expire(start.wrapping_add(2999), |_, frame, _| out.push(frame));
        assert!(out.is_empty());
        hold.expire(start.wrapping_add(3000), |id, frame, cookie| {
            assert_eq!((id, cookie), (A, 7));
            out.push(frame);
        });
        assert_eq!((out, hold.len()), (vec!["a1"], 1));
        assert_eq!(released(&mut hold, B), [("b1", 8)]);
    }
}
