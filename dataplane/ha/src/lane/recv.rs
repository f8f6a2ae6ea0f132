//! The receiving half: frames in order.

use arrayvec::ArrayVec;

use super::wire::{Ack, Head, MAX_WORDS};
use super::{Counters, LaneConfig};
use crate::record::{Item, PacketRecord, Record, Records};

/// An acknowledgement waits so long for company, milliseconds, and for so many frames.
const ACK_DELAY: u32 = 1;
const ACK_EVERY: u32 = 8;

/// What a sink makes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// It has it.
    Taken,
    /// It has no room for it, and wants to be asked again.
    Later,
}

/// Who takes what comes in a stream.
pub trait Sink {
    /// A record that is offered soon, after those before it. So there is time to have the memory fetched
    /// that it concerns.
    #[inline]
    fn foresee(&mut self, record: &Record) {
        let _ = record;
    }

    /// A record.
    fn record(&mut self, record: &Record) -> Take;

    /// A packet, which is for those who asked for it alone.
    fn packet(&mut self, _: &PacketRecord<'_>) -> Take {
        Take::Taken
    }
}

impl<F: FnMut(&Record) -> Take> Sink for F {
    #[inline]
    fn record(&mut self, record: &Record) -> Take {
        self(record)
    }
}

/// Records that are foreseen before the first of them is offered: a frame of births.
const FORESEEN: usize = 16;

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Whether there is a frame.
    kept: bool,
    len: u16,
    /// Where to go on.
    at: u16,
}

pub(super) struct Receiver {
    slots: Box<[Slot]>,
    bytes: Box<[u8]>,
    capacity: usize,
    generation: Option<u16>,
    /// Position of the frame that comes next.
    next: u32,
    /// Frames kept, how far they reach beyond `next`, and whether the next one is among them because
    /// the sink had no room.
    kept: u32,
    reach: u32,
    blocked: bool,
    /// Frames since the last acknowledgement, and since when.
    unacked: u32,
    since: u32,
    at_once: bool,
    restarted: bool,
}

impl Receiver {
    pub(super) fn new(config: &LaneConfig, capacity: usize) -> Self {
        let slots = usize::from(config.reorder.clamp(1, LaneConfig::MAX_REORDER));
        // A power of two, so that numbers may wrap.
        let slots = slots.next_power_of_two();
        Self {
            slots: vec![Slot::default(); slots].into_boxed_slice(),
            bytes: vec![0; slots * capacity].into_boxed_slice(),
            capacity,
            generation: None,
            next: 0,
            kept: 0,
            reach: 0,
            blocked: false,
            unacked: 0,
            since: 0,
            at_once: false,
            restarted: false,
        }
    }

    /// The peer's stream begins from the start, with whatever generation.
    pub(super) fn restart(&mut self) {
        self.clear();
        self.generation = None;
    }

    fn clear(&mut self) {
        self.slots.fill(Slot::default());
        (self.next, self.kept, self.reach) = (0, 0, 0);
        self.blocked = false;
        (self.unacked, self.at_once) = (0, false);
    }

    pub(super) fn take_restarted(&mut self) -> bool {
        std::mem::take(&mut self.restarted)
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    fn index(&self, position: u32) -> usize {
        position as usize & (self.slots.len() - 1)
    }

    pub(super) fn frame(
        &mut self,
        head: &Head,
        records: &[u8],
        now: u32,
        sink: &mut impl Sink,
        counters: &mut Counters,
    ) {
        match self.generation {
            Some(known) if known == head.generation => {}
            Some(known) if head.generation.wrapping_sub(known).cast_signed() < 0 => {
                counters.outdated += 1;
                return;
            }
            _ => {
                self.clear();
                self.generation = Some(head.generation);
                self.restarted = true;
                self.at_once = true;
            }
        }
        self.at_once |= head.ask;
        let Some(position) = head.seq else {
            return;
        };
        if self.unacked == 0 {
            self.since = now;
        }
        self.unacked += 1;
        let ahead = position.wrapping_sub(self.next);
        if ahead.cast_signed() < 0 {
            counters.duplicates += 1;
            self.at_once = true;
        } else if ahead as usize >= self.slots.len() || records.len() > self.capacity {
            counters.too_early += 1;
            self.at_once = true;
        } else if self.slots[self.index(position)].kept {
            counters.duplicates += 1;
            self.at_once = true;
        } else if ahead > 0 {
            counters.early += 1;
            self.at_once = true;
            self.keep(position, records, 0);
        } else {
            let at = deliver(records, 0, sink, counters);
            if at == records.len() {
                self.advance();
                self.deliver_kept(sink, counters);
            } else {
                self.keep(position, records, at);
                self.blocked = true;
            }
        }
        self.at_once |= self.unacked >= ACK_EVERY;
    }

    fn keep(&mut self, position: u32, records: &[u8], at: usize) {
        let index = self.index(position);
        let start = index * self.capacity;
        self.bytes[start..start + records.len()].copy_from_slice(records);
        self.slots[index] = Slot {
            kept: true,
            len: records.len() as u16,
            at: at as u16,
        };
        self.kept += 1;
        self.reach = self.reach.max(position.wrapping_sub(self.next) + 1);
    }

    fn advance(&mut self) {
        self.next = self.next.wrapping_add(1);
        self.reach = self.reach.saturating_sub(1);
    }

    pub(super) fn resume(&mut self, sink: &mut impl Sink, counters: &mut Counters) {
        if self.blocked {
            self.blocked = false;
            self.at_once = true;
            self.deliver_kept(sink, counters);
        }
    }

    /// Delivers frames that were waiting for the one before them.
    fn deliver_kept(&mut self, sink: &mut impl Sink, counters: &mut Counters) {
        while self.kept > 0 {
            let index = self.index(self.next);
            let slot = &mut self.slots[index];
            if !slot.kept {
                return;
            }
            let (start, len) = (index * self.capacity, usize::from(slot.len));
            let frame = &self.bytes[start..start + len];
            let at = deliver(frame, usize::from(slot.at), sink, counters);
            if at < len {
                slot.at = at as u16;
                self.blocked = true;
                return;
            }
            slot.kept = false;
            self.kept -= 1;
            self.advance();
            self.at_once = true;
        }
    }

    /// What to acknowledge.
    pub(super) fn ack(&self) -> Option<Ack> {
        let mut ack = Ack {
            generation: self.generation?,
            next: self.next,
            words: [0; MAX_WORDS],
            len: 0,
        };
        if self.kept > 0 {
            ack.len = self.reach.div_ceil(64).min(MAX_WORDS as u32) as u8;
            for ahead in 0..self.reach.min(u32::from(ack.len) * 64) {
                let slot = &self.slots[self.index(self.next.wrapping_add(ahead))];
                ack.words[ahead as usize / 64] |= u64::from(slot.kept) << (ahead % 64);
            }
        }
        Some(ack)
    }

    pub(super) fn acked(&mut self) {
        (self.unacked, self.at_once) = (0, false);
    }

    /// In how many milliseconds an acknowledgement is due.
    pub(super) fn timeout(&self, now: u32) -> Option<u32> {
        match (self.at_once, self.unacked) {
            (true, _) => Some(0),
            (false, 0) => None,
            (false, _) => Some(ACK_DELAY.saturating_sub(now.wrapping_sub(self.since))),
        }
    }
}

/// Gives the records from offset `at` on to the sink, and the offset of the first that it did not
/// take.
#[inline]
fn deliver(frame: &[u8], at: usize, sink: &mut impl Sink, counters: &mut Counters) -> usize {
    let mut records = Records::new(frame, at);
    let mut at = at;
    loop {
        let mut soon = ArrayVec::<_, FORESEEN>::new();
        while !soon.is_full()
            && let Some(item) = records.next_item()
        {
            if let Item::Record(record) = &item {
                sink.foresee(record);
            }
            soon.push((item, records.offset()));
        }
        for (item, end) in &soon {
            let (take, is_record) = match item {
                Item::Record(record) => (sink.record(record), true),
                Item::Packet(packet) => (sink.packet(packet), false),
            };
            if take == Take::Later {
                return at;
            }
            counters.records_received += u64::from(is_record);
            counters.packets_received += u64::from(!is_record);
            at = *end;
        }
        if !soon.is_full() {
            counters.records_unknown += u64::from(records.unknown());
            return frame.len();
        }
    }
}

#[cfg(test)]
impl Receiver {
    /// As if `number` frames had been dealt with.
    pub(super) fn start_at(&mut self, number: u32) {
        self.next = number;
    }
}
