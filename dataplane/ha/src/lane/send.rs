//! The sending half: frames until they are acknowledged.

use super::recv::Receiver;
use super::timing::Timing;
use super::wire::Head;
use super::{Counters, Event, LaneConfig};
use crate::record::{self, Item, Record};

mod acks;
mod packets;

pub use packets::Mark;

/// How often a peer that does not answer is asked, milliseconds.
const PROBE: u32 = 50;
/// Frames under way at once, whatever was lost.
const MIN_FLIGHT: u32 = 16;

/// Why a lane stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// There was no room for a record: the peer is slower than the changes, or the link is.
    Full,
    /// Nothing was acknowledged for too long.
    Silent,
    /// The peer was started anew.
    Restarted,
}

/// The record was not taken: the lane stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lane stands alone")]
pub struct NotSent;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Being filled, or waiting to be sent for the first time.
    Waiting,
    /// Under way.
    Sent,
    /// To be sent again.
    Lost,
    /// Arrived, but not the first one that is missing.
    Arrived,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    state: State,
    len: u16,
    /// When it was first sent, and last.
    since: u32,
    at: u32,
    /// Which datagram of the stream that was.
    order: u64,
    /// Whether it was sent once only, so that its acknowledgement tells the round trip.
    once: bool,
    /// When the first packet was put in it that may have to be recalled.
    packet: Option<u32>,
}

const EMPTY: Slot = Slot {
    state: State::Waiting,
    len: 0,
    since: 0,
    at: 0,
    order: 0,
    once: true,
    packet: None,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Asking the peer, since this datagram, whether it takes this generation.
    Asking {
        asked: Option<u32>,
    },
    Open,
}

pub(super) struct Sender {
    slots: Box<[Slot]>,
    bytes: Box<[u8]>,
    capacity: usize,
    /// Bytes of a frame that the session allows.
    room: usize,
    patience: u32,
    /// Frames that the peer takes beyond the first that it misses.
    window: u32,
    phase: Phase,
    generation: u16,
    /// Numbers of the first frame that is not acknowledged, of the first that was never sent, and of
    /// the one being filled.
    first: u32,
    unsent: u32,
    filling: u32,
    /// Frames to be sent again, and from where on to look for them.
    lost: u32,
    look: u32,
    /// Datagrams with frames, ever.
    order: u64,
    /// The latest of them that arrived.
    arrived: u64,
    flight: u32,
    timing: Timing,
    /// When the first frame became the first, or was first sent.
    progress: u32,
    /// How long frames take to be acknowledged, be it that they are repeated: eight times that,
    /// smoothed, milliseconds.
    takes: u32,
    /// When the oldest packet was put in that may not have arrived, or earlier.
    oldest: Option<u32>,
    opened: bool,
    alone: Option<Alone>,
}

impl Sender {
    pub(super) fn new(config: &LaneConfig, capacity: usize) -> Self {
        // A power of two, so that numbers may wrap.
        let slots = usize::from(config.slots).max(2).next_power_of_two();
        Self {
            slots: vec![EMPTY; slots].into_boxed_slice(),
            bytes: vec![0; slots * capacity].into_boxed_slice(),
            capacity,
            room: capacity,
            patience: config.patience,
            window: 1,
            phase: Phase::Asking { asked: None },
            generation: 0,
            first: 0,
            unsent: 0,
            filling: 0,
            lost: 0,
            look: 0,
            order: 0,
            arrived: 0,
            flight: u32::MAX,
            timing: Timing::default(),
            progress: 0,
            takes: 0,
            oldest: None,
            opened: false,
            alone: None,
        }
    }

    /// Frames have `room` bytes at most from now on, and `window` of them may be under way.
    pub(super) fn limit(&mut self, room: usize, window: u16) {
        self.room = room.min(self.capacity);
        self.window = u32::from(window.clamp(1, LaneConfig::MAX_REORDER));
    }

    pub(super) fn restart(&mut self, counters: &mut Counters) {
        (self.timing, self.takes) = (Timing::default(), 0);
        if self.phase == Phase::Open {
            self.stand_alone(Alone::Restarted, counters);
        } else {
            self.forget(counters);
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    pub(super) fn has_room(&self) -> bool {
        self.is_open() && self.used() <= self.slots.len() as u32 / 2
    }

    fn used(&self) -> u32 {
        self.filling.wrapping_sub(self.first)
    }

    pub(super) fn lag(&self) -> u32 {
        self.used() + u32::from(self.slot(self.filling).len > 0)
    }

    fn index(&self, position: u32) -> usize {
        position as usize & (self.slots.len() - 1)
    }

    fn slot(&self, position: u32) -> &Slot {
        &self.slots[self.index(position)]
    }

    fn slot_mut(&mut self, position: u32) -> &mut Slot {
        let index = self.index(position);
        &mut self.slots[index]
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        if let Some(why) = self.alone.take() {
            return Some(Event::Alone(why));
        }
        std::mem::take(&mut self.opened).then_some(Event::Open)
    }

    #[inline]
    pub(super) fn push(&mut self, record: &Record, counters: &mut Counters) -> Result<(), NotSent> {
        if self.phase != Phase::Open {
            counters.records_lost += 1;
            return Err(NotSent);
        }
        if self.append(record) || self.close() && self.append(record) {
            counters.records_sent += 1;
            return Ok(());
        }
        counters.records_lost += 1;
        self.stand_alone(Alone::Full, counters);
        Err(NotSent)
    }

    /// Puts the record in the frame that is being filled, if there is room.
    #[inline]
    fn append(&mut self, record: &Record) -> bool {
        self.append_by(|place| record::encode(record, place))
    }

    #[inline]
    fn append_by(&mut self, encode: impl FnOnce(&mut [u8]) -> Option<usize>) -> bool {
        let index = self.index(self.filling);
        let (start, end) = (index * self.capacity, index * self.capacity + self.room);
        let slot = &mut self.slots[index];
        let place = &mut self.bytes[start + usize::from(slot.len)..end];
        let Some(len) = encode(place) else {
            return false;
        };
        slot.len += len as u16;
        true
    }

    fn may_close(&self) -> bool {
        self.used() + 1 < self.slots.len() as u32
    }

    /// Goes on to the next frame; false if its slot is not free yet.
    fn close(&mut self) -> bool {
        if !self.may_close() {
            return false;
        }
        self.filling = self.filling.wrapping_add(1);
        *self.slot_mut(self.filling) = EMPTY;
        true
    }

    /// Forgets all frames, and asks the peer whether it takes a new generation.
    fn stand_alone(&mut self, why: Alone, counters: &mut Counters) {
        self.alone = Some(why);
        self.opened = false;
        counters.alone += 1;
        self.forget(counters);
    }

    fn forget(&mut self, counters: &mut Counters) {
        let mut position = self.first;
        loop {
            let index = self.index(position);
            let start = index * self.capacity;
            let len = usize::from(self.slots[index].len);
            let mut items = record::Records::new(&self.bytes[start..start + len], 0);
            while let Some(item) = items.next_item() {
                match item {
                    Item::Record(_) => counters.records_lost += 1,
                    Item::Packet(packet) => {
                        counters.packets_lost += u64::from(!packet.recalled);
                    }
                }
            }
            self.slots[index] = EMPTY;
            if position == self.filling {
                break;
            }
            position = position.wrapping_add(1);
        }
        self.generation = self.generation.wrapping_add(1);
        (self.first, self.unsent, self.filling) = (0, 0, 0);
        (self.lost, self.look) = (0, 0);
        self.oldest = None;
        self.flight = u32::MAX;
        self.slots[0] = EMPTY;
        self.phase = Phase::Asking { asked: None };
    }

    /// Writes head and records of what is to be sent now.
    pub(super) fn fill(
        &mut self,
        now: u32,
        receiver: &Receiver,
        body: &mut [u8],
        counters: &mut Counters,
    ) -> Option<usize> {
        self.judge_silence(now, counters);
        let position = self.next_frame(now, counters);
        let ask = match &mut self.phase {
            Phase::Asking { asked } => {
                let due = asked.is_none_or(|asked| now.wrapping_sub(asked) >= PROBE);
                if due {
                    *asked = Some(now);
                }
                due
            }
            Phase::Open => false,
        };
        if position.is_none() && !ask && receiver.timeout(now) != Some(0) {
            return None;
        }
        let head = Head {
            generation: self.generation,
            seq: position,
            ask,
            ack: receiver.ack(),
        };
        let at = head.write(body)?;
        let Some(position) = position else {
            return Some(at);
        };
        let index = self.index(position);
        let (start, len) = (index * self.capacity, usize::from(self.slots[index].len));
        let frame = &self.bytes[start..start + len];
        body.get_mut(at..at + len)?.copy_from_slice(frame);
        Some(at + len)
    }

    /// The frame to send now, which is noted as sent.
    fn next_frame(&mut self, now: u32, counters: &mut Counters) -> Option<u32> {
        if self.phase != Phase::Open {
            return None;
        }
        let again = self.find_lost();
        let position = again.or_else(|| self.find_unsent(now))?;
        self.order += 1;
        let order = self.order;
        let slot = self.slot_mut(position);
        if again.is_none() {
            slot.since = now;
        }
        slot.once = again.is_none();
        slot.state = State::Sent;
        slot.at = now;
        slot.order = order;
        counters.repeated += u64::from(again.is_some());
        Some(position)
    }

    fn find_lost(&mut self) -> Option<u32> {
        if self.look.wrapping_sub(self.first).cast_signed() < 0 {
            self.look = self.first;
        }
        while self.lost > 0 && self.look != self.unsent {
            let position = self.look;
            self.look = self.look.wrapping_add(1);
            if self.slot(position).state == State::Lost {
                self.lost -= 1;
                return Some(position);
            }
        }
        self.lost = 0;
        None
    }

    fn find_unsent(&mut self, now: u32) -> Option<u32> {
        if !self.may_send_more() || self.unsent == self.filling && !self.close() {
            return None;
        }
        if self.unsent == self.first {
            self.progress = now;
        }
        self.unsent = self.unsent.wrapping_add(1);
        Some(self.unsent.wrapping_sub(1))
    }

    /// Whether there is a frame that was never sent, and may be.
    fn may_send_more(&self) -> bool {
        let under_way = self.unsent.wrapping_sub(self.first);
        under_way < self.window.min(self.flight)
            && if self.unsent == self.filling {
                self.slot(self.filling).len > 0 && self.may_close()
            } else {
                true
            }
    }

    /// Repeats what was not acknowledged in time, and gives the peer up when nothing was for too
    /// long.
    fn judge_silence(&mut self, now: u32, counters: &mut Counters) {
        if self.phase != Phase::Open || self.unsent == self.first {
            return;
        }
        if now.wrapping_sub(self.progress) >= self.patience {
            self.stand_alone(Alone::Silent, counters);
            return;
        }
        let repeat = self.timing.wait();
        if self.lost > 0 || now.wrapping_sub(self.slot(self.first).at) < repeat {
            return;
        }
        let mut position = self.first;
        while position != self.unsent {
            // The first frame is repeated even if it has arrived: the peer has not dealt with it, or
            // what it said about that was lost.
            let is_first = position == self.first;
            let slot = self.slot_mut(position);
            let late = slot.state == State::Sent || is_first && slot.state == State::Arrived;
            if late && now.wrapping_sub(slot.at) >= repeat {
                slot.state = State::Lost;
                self.lost += 1;
            }
            position = position.wrapping_add(1);
        }
        self.look = self.first;
        self.timing.double();
        let under_way = self.unsent.wrapping_sub(self.first);
        self.flight = (under_way / 2).max(MIN_FLIGHT);
    }

    pub(super) fn timeout(&self, now: u32) -> Option<u32> {
        match self.phase {
            Phase::Asking { asked } => {
                let ago = asked.map_or(u32::MAX, |asked| now.wrapping_sub(asked));
                Some(PROBE.saturating_sub(ago))
            }
            Phase::Open if self.lost > 0 || self.may_send_more() => Some(0),
            Phase::Open if self.unsent != self.first => {
                let ago = now.wrapping_sub(self.slot(self.first).at);
                Some(self.timing.wait().saturating_sub(ago))
            }
            Phase::Open => None,
        }
    }
}

#[cfg(test)]
impl Sender {
    /// As if `number` frames had been sent and acknowledged.
    pub(super) fn start_at(&mut self, number: u32) {
        assert_eq!(self.lag(), 0);
        (self.first, self.unsent, self.filling) = (number, number, number);
        self.look = number;
    }
}
