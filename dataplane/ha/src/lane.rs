//! A lane: records in both directions between two workers, in order, each exactly once.
//!
//! Lane `l` joins worker `l % workers` of one node with worker `l % workers` of the other; there are
//! as many as the larger node has workers. A worker says what happens to its sessions on the lane of
//! its own number, and listens on all that are its.
//!
//! Records are gathered into frames, frames are numbered, acknowledged and, when lost, repeated. The
//! memory for what is not acknowledged is fixed. When it is full, or when nothing was acknowledged for
//! too long, the lane *stands alone*: what is not acknowledged is forgotten, further records are
//! refused, and traffic goes on. As soon as the peer answers again the stream begins anew with a
//! higher generation, and [`Event::Open`] asks for a bulk sync.
//!
//! Nothing here waits, and nothing is allocated after [`Lane::new`] but the keys of a new session.

use crate::frame::{HEADER, Kind, Refused, TAG};
use crate::hello::Session;
use crate::link::Link;
use crate::record::{self, PacketRecord, Record};

mod recv;
mod send;
mod timing;
mod wire;

pub use recv::{Sink, Take};
pub use send::{Alone, Mark, NotSent};

use recv::Receiver;
use send::Sender;

/// Sizes and times of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneConfig {
    /// Bytes of the longest datagram, header and tag included, as told in [`crate::hello::Node`].
    pub mtu: u16,
    /// Frames that wait for their acknowledgement at most: the link's delay times the rate of
    /// records, and what traffic may get ahead of a slow peer.
    pub slots: u16,
    /// Frames that are kept when an earlier one is missing, at most [`LaneConfig::MAX_REORDER`].
    pub reorder: u16,
    /// How long the peer may acknowledge nothing before the lane stands alone, milliseconds.
    pub patience: u32,
}

impl LaneConfig {
    /// As many as an acknowledgement can name.
    pub const MAX_REORDER: u16 = wire::MAX_WORDS as u16 * 64;
}

impl Default for LaneConfig {
    /// For a link with an MTU of 1500: 4 MiB a lane.
    fn default() -> Self {
        Self {
            mtu: 1500,
            slots: 2048,
            reorder: 1024,
            patience: 1000,
        }
    }
}

/// What happened on a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The peer answers, and records are accepted from now on. It lacks everything that was not told
    /// since, so a bulk sync is due.
    Open,
    /// Records are lost from now on.
    Alone(Alone),
    /// The peer begins its stream anew, and will tell everything again. What it told before stays
    /// until then.
    PeerRestarted,
}

/// What a lane counted since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Datagrams sent.
    pub sent: u64,
    /// Of them, frames that were sent before.
    pub repeated: u64,
    /// Records accepted for sending.
    pub records_sent: u64,
    /// Records refused because the lane stands alone, or forgotten when it began to.
    pub records_lost: u64,
    /// Datagrams accepted.
    pub received: u64,
    /// Frames that came a second time.
    pub duplicates: u64,
    /// Frames that came before an earlier one.
    pub early: u64,
    /// Frames that came too far ahead to be kept.
    pub too_early: u64,
    /// Frames of an earlier generation of the stream.
    pub outdated: u64,
    /// Records delivered.
    pub records_received: u64,
    /// Packets accepted for sending.
    pub packets_sent: u64,
    /// Packets forgotten when the lane began to stand alone.
    pub packets_lost: u64,
    /// Packets delivered.
    pub packets_received: u64,
    /// Records that could not be read; those of a later release among them.
    pub records_unknown: u64,
    /// How often the lane began to stand alone.
    pub alone: u64,
    /// Datagrams refused, by [`Refused`].
    pub refused: [u64; 7],
}

/// See the module's description.
pub struct Lane {
    link: Link,
    sender: Sender,
    receiver: Receiver,
    counters: Counters,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("id", &self.link.lane())
            .field("session", &self.link.session())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Lane {
    /// Lane number `id`, with its memory.
    pub fn new(id: u8, config: &LaneConfig) -> Self {
        let capacity = usize::from(config.mtu).saturating_sub(HEADER + TAG + wire::MAX_HEAD);
        let capacity = capacity.max(record::MAX_LEN);
        Self {
            link: Link::new(id, Kind::Stream),
            sender: Sender::new(config, capacity),
            receiver: Receiver::new(config, capacity),
            counters: Counters::default(),
        }
    }

    /// Number of the lane.
    pub fn id(&self) -> u8 {
        self.link.lane()
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Begins to speak under a session. If only the keys are new the stream goes on; if the peer was
    /// started anew, both streams begin from the start.
    pub fn associate(&mut self, session: &Session) {
        let anew = self.link.associate(session);
        let room = session.body().saturating_sub(wire::MAX_HEAD);
        self.sender.limit(room, session.window);
        if anew {
            self.sender.restart(&mut self.counters);
            self.receiver.restart();
        }
    }

    /// Whether records are accepted: the peer answers and keeps up.
    pub fn is_open(&self) -> bool {
        self.sender.is_open()
    }

    /// Whether a bulk sync may push: there is as much room as changes may need meanwhile.
    pub fn has_room(&self) -> bool {
        self.sender.has_room()
    }

    /// Frames that are not acknowledged, or not sent. Nil means that the peer has all that was
    /// pushed.
    pub fn lag(&self) -> u32 {
        self.sender.lag()
    }

    /// Whether the peer has taken all that was pushed up to a mark; `None` if it never will, because
    /// the stream began anew.
    pub fn has_passed(&self, mark: Mark) -> Option<bool> {
        self.sender.has_passed(mark)
    }

    /// Puts a record in the stream. It leaves with the next [`Self::poll_transmit`].
    ///
    /// # Errors
    /// [`NotSent`]: the lane stands alone, maybe because there was no room for this very record. It
    /// will be made up for by the bulk sync that [`Event::Open`] asks for.
    #[inline]
    pub fn push(&mut self, record: &Record) -> Result<(), NotSent> {
        self.sender.push(record, &mut self.counters)
    }

    /// Puts a packet in the stream, behind all records so far: it is delivered after them. The lane
    /// goes on as it is if it has no room, so that records have what there is.
    ///
    /// # Errors
    /// [`NotSent`]: the lane stands alone, is more than half full, or has no frame so long.
    pub fn push_packet(&mut self, packet: &PacketRecord<'_>, now: u32) -> Result<(), NotSent> {
        self.sender.push_packet(packet, now, &mut self.counters)
    }

    /// Whether there may be something to [`Self::recall`].
    pub fn is_overdue(&self, now: u32, budget: u32) -> bool {
        self.sender.is_overdue(now, budget)
    }

    /// Takes packets back that were pushed `budget` milliseconds ago or earlier and are not
    /// acknowledged, so that `back` sends them by another way: from the oldest on, those of `frames`
    /// frames at most. The peer may have got them all the same; what has not reached it yet it will
    /// not send on.
    pub fn recall(
        &mut self,
        now: u32,
        budget: u32,
        frames: u32,
        back: impl FnMut(&PacketRecord<'_>),
    ) {
        self.sender.recall(now, budget, frames, back);
    }

    /// Whether the peer acknowledges within `budget` milliseconds what it is told.
    pub fn keeps_up(&self, now: u32, budget: u32) -> bool {
        self.sender.keeps_up(now, budget)
    }

    /// The place in the stream of what was pushed last.
    pub fn mark(&self) -> Mark {
        self.sender.mark()
    }

    /// Whether what was pushed at a place of the stream may not have arrived yet, but will. False once
    /// it was acknowledged, and when the lane has forgotten it.
    pub fn is_under_way(&self, mark: Mark) -> bool {
        self.sender.is_under_way(mark)
    }

    /// Writes the next datagram to send, and gives its length. To be called until it gives `None`, or
    /// until there is nowhere to send to; what is left goes out later.
    pub fn poll_transmit(&mut self, now: u32, buffer: &mut [u8]) -> Option<usize> {
        let (sender, receiver) = (&mut self.sender, &mut self.receiver);
        let len = self.link.seal(buffer, |body| {
            let len = sender.fill(now, receiver, body, &mut self.counters)?;
            receiver.acked();
            Some(len)
        })?;
        self.counters.sent += 1;
        Some(len)
    }

    /// Takes a datagram, which is opened in place, and gives its records, in order and each once, to
    /// `sink`. If that answers [`Take::Later`], the record and all after it are kept and offered
    /// again by [`Self::resume`]; the peer is held back meanwhile.
    ///
    /// # Errors
    /// Why the datagram was refused, which is counted.
    pub fn handle(
        &mut self,
        datagram: &mut [u8],
        now: u32,
        sink: &mut impl Sink,
    ) -> Result<(), Refused> {
        let accepted = self.accept(datagram, now, sink);
        match accepted {
            Ok(()) => self.counters.received += 1,
            Err(refused) => self.counters.refused[refused as usize] += 1,
        }
        accepted
    }

    fn accept(
        &mut self,
        datagram: &mut [u8],
        now: u32,
        sink: &mut impl Sink,
    ) -> Result<(), Refused> {
        let body = self.link.open(datagram)?;
        let (head, records) = wire::Head::parse(body).ok_or(Refused::Malformed)?;
        if let Some(ack) = &head.ack {
            self.sender.acknowledged(ack, now);
        }
        let records = &body[records..];
        self.receiver
            .frame(&head, records, now, sink, &mut self.counters);
        Ok(())
    }

    /// Offers again what `sink` put off.
    pub fn resume(&mut self, sink: &mut impl Sink) {
        self.receiver.resume(sink, &mut self.counters);
    }

    /// Whether there is something to [`Self::resume`].
    pub fn is_blocked(&self) -> bool {
        self.receiver.is_blocked()
    }

    /// What happened since the last call; to be called until it gives `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.receiver.take_restarted() {
            return Some(Event::PeerRestarted);
        }
        self.sender.poll_event()
    }

    /// In how many milliseconds [`Self::poll_transmit`] has something to do, if nothing comes and
    /// nothing is pushed.
    pub fn poll_timeout(&self, now: u32) -> Option<u32> {
        self.link.session()?;
        let ack = self.receiver.timeout(now);
        let repeat = self.sender.timeout(now);
        [ack, repeat].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
