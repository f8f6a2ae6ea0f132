//! What the peer says has arrived.

use super::super::wire::Ack;
use super::{Phase, Sender, State};

/// A frame is taken for lost when one that left so many datagrams later has arrived.
const REORDERED: u64 = 4;

impl Sender {
    pub(in super::super) fn acknowledged(&mut self, ack: &Ack, now: u32) {
        if ack.generation != self.generation {
            return;
        }
        if self.phase != Phase::Open {
            self.phase = Phase::Open;
            self.opened = true;
            return;
        }
        let done = ack.next.wrapping_sub(self.first);
        if done > self.unsent.wrapping_sub(self.first) {
            // Older than the last one.
            return;
        }
        for _ in 0..done {
            let took = now.wrapping_sub(self.slot(self.first).since);
            self.takes = self.takes - self.takes / 8 + took.min(self.patience);
            self.arrive(self.first, now);
            self.first = self.first.wrapping_add(1);
        }
        if done > 0 {
            self.progress = now;
            self.flight = self.flight.saturating_add(done);
        }
        let mut last = self.first;
        for (word, &bits) in ack.words.iter().enumerate().take(usize::from(ack.len)) {
            let mut bits = bits;
            while bits != 0 {
                let position = self
                    .first
                    .wrapping_add(word as u32 * 64 + bits.trailing_zeros());
                bits &= bits - 1;
                if position.wrapping_sub(self.first) >= self.unsent.wrapping_sub(self.first) {
                    break;
                }
                self.arrive(position, now);
                last = position;
            }
        }
        self.find_gaps(last);
    }

    /// Notes that a frame has arrived.
    fn arrive(&mut self, position: u32, now: u32) {
        let slot = self.slot_mut(position);
        let (state, order) = (slot.state, slot.order);
        if state == State::Arrived {
            return;
        }
        slot.state = State::Arrived;
        let took = (state == State::Sent && slot.once).then(|| now.wrapping_sub(slot.at));
        self.lost -= u32::from(state == State::Lost).min(self.lost);
        self.arrived = self.arrived.max(order);
        if let Some(took) = took {
            self.timing.measure(took);
        }
    }

    /// Takes frames before `last` for lost if later datagrams arrived.
    fn find_gaps(&mut self, last: u32) {
        let mut position = self.first;
        while position != last {
            let arrived = self.arrived;
            let slot = self.slot_mut(position);
            if slot.state == State::Sent && slot.order + REORDERED <= arrived {
                slot.state = State::Lost;
                self.lost += 1;
                if position.wrapping_sub(self.first) < self.look.wrapping_sub(self.first) {
                    self.look = position;
                }
            }
            position = position.wrapping_add(1);
        }
    }
}
