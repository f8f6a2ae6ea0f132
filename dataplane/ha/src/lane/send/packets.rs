//! Packets in the stream, and how far it has come.

use super::super::Counters;
use super::{NotSent, Sender};
use crate::record::{Item, PacketRecord, Records};

/// A place in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Which stream.
    pub generation: u16,
    /// Number of the frame.
    pub frame: u32,
}

impl Sender {
    pub(in super::super) fn push_packet(
        &mut self,
        packet: &PacketRecord<'_>,
        now: u32,
        counters: &mut Counters,
    ) -> Result<(), NotSent> {
        let len = PacketRecord::overhead(packet.hop) + packet.packet.len();
        if !self.has_room() || len > self.room {
            return Err(NotSent);
        }
        let append = |sender: &mut Self| sender.append_by(|place| packet.encode(place));
        if !(append(self) || self.close() && append(self)) {
            return Err(NotSent);
        }
        self.slot_mut(self.filling).packet.get_or_insert(now);
        self.oldest.get_or_insert(now);
        counters.packets_sent += 1;
        Ok(())
    }

    pub(in super::super) fn mark(&self) -> Mark {
        let empty = u32::from(self.slot(self.filling).len == 0);
        Mark {
            generation: self.generation,
            frame: self.filling.wrapping_sub(empty),
        }
    }

    pub(in super::super) fn has_passed(&self, mark: Mark) -> Option<bool> {
        let is_same = self.is_open() && mark.generation == self.generation;
        is_same.then(|| !self.is_under_way(mark))
    }

    pub(in super::super) fn is_under_way(&self, mark: Mark) -> bool {
        self.is_open()
            && mark.generation == self.generation
            && mark.frame.wrapping_sub(self.first).cast_signed() >= 0
    }

    pub(in super::super) fn keeps_up(&self, now: u32, budget: u32) -> bool {
        let age = match self.unsent != self.first {
            true => now.wrapping_sub(self.slot(self.first).since),
            false => 0,
        };
        self.is_open() && age <= budget && self.takes / 8 <= budget
    }

    pub(in super::super) fn is_overdue(&self, now: u32, budget: u32) -> bool {
        let is_due = |since: u32| now.wrapping_sub(since) >= budget;
        self.oldest.is_some_and(is_due)
    }

    /// Goes through the frames that are not acknowledged, to the first that is not to be recalled yet.
    pub(in super::super) fn recall(
        &mut self,
        now: u32,
        budget: u32,
        frames: u32,
        mut back: impl FnMut(&PacketRecord<'_>),
    ) {
        if !self.is_overdue(now, budget) {
            return;
        }
        let is_due = |since: u32| now.wrapping_sub(since) >= budget;
        self.oldest = None;
        let (mut position, mut left) = (self.first, frames);
        loop {
            match self.slot(position).packet {
                Some(since) if is_due(since) && left > 0 => {
                    left -= 1;
                    self.recall_frame(position, &mut back);
                }
                // Frames are filled in turn, so none after it is older.
                Some(since) => {
                    self.oldest = Some(since);
                    return;
                }
                None => {}
            }
            if position == self.filling {
                return;
            }
            position = position.wrapping_add(1);
        }
    }

    fn recall_frame(&mut self, position: u32, back: &mut impl FnMut(&PacketRecord<'_>)) {
        let index = self.index(position);
        let start = index * self.capacity;
        self.slots[index].packet = None;
        let frame = &mut self.bytes[start..start + usize::from(self.slots[index].len)];
        let mut at = 0;
        loop {
            let mut items = Records::new(frame, at);
            let Some(item) = items.next_item() else {
                return;
            };
            let next = items.offset();
            if let Item::Packet(packet) = item {
                back(&packet);
                PacketRecord::recall(&mut frame[at..next]);
            }
            at = next;
        }
    }
}
