//! Packets in the stream, and how far it has come.

use super::super::Counters;
use super::{NotSent, Sender};
use crate::record::PacketRecord;

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
        counters: &mut Counters,
    ) -> Result<(), NotSent> {
        let len = PacketRecord::overhead(packet.hop) + packet.packet.len();
        if !self.has_room() || len > self.room {
            return Err(NotSent);
        }
        let append = |sender: &mut Self| sender.append_by(|place| packet.encode(place));
        if append(self) || self.close() && append(self) {
            counters.packets_sent += 1;
            return Ok(());
        }
        Err(NotSent)
    }

    pub(in super::super) fn mark(&self) -> Mark {
        let empty = u32::from(self.slot(self.filling).len == 0);
        Mark {
            generation: self.generation,
            frame: self.filling.wrapping_sub(empty),
        }
    }

    pub(in super::super) fn is_under_way(&self, mark: Mark) -> bool {
        self.is_open()
            && mark.generation == self.generation
            && mark.frame.wrapping_sub(self.first).cast_signed() >= 0
    }
}
