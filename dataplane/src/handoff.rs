//! What workers pass to each other: packets that are not theirs, and what they must know of each
//! other's sessions and neighbours.
//!
//! Every worker has one bounded ring that all others push to. Messages of one sender arrive in the
//! order they were sent, and a worker empties its ring after it received a burst and before it works
//! on it: a reply that is in the burst was caused by a packet that its sender sent after it had
//! announced the session, so the announcement is already there.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use sluice_ha::NodeSet;
use sluice_ha::correct::Turn;
use sluice_wire::{Key, MacAddr};

use crate::groups::GroupSet;
use crate::io::DeviceId;
use crate::snapshot::PortId;
use crate::stack::fragment::Datagram;
use crate::stack::neighbour::Learned;

/// Messages that a worker's ring holds.
pub const RING_SIZE: usize = 8192;

/// A key of either family, with the family told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnyKey {
    /// IPv4
    V4(Key<u64>),
    /// IPv6
    V6(Key<[u64; 4]>),
}

/// Why a packet is passed on. A packet is passed on at most once for each reason, in this order, so
/// it can't circle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Why {
    /// It did not come at all: the host's kernel sends it. Never passed on.
    Injected,
    /// It came from the device.
    Arrived,
    /// It is a fragment, and the receiver is where all fragments of its datagram meet.
    Pieces,
    /// The receiver is home to its tuple.
    Home,
    /// The receiver decides for all sessions of this client or internal endpoint.
    Affinity,
    /// The receiver holds the session.
    Owner,
}

/// Whether another appliance received a packet and handed it over, and what is to be done with it
/// here (see `sluice_ha::correct`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Corrected(u8);

impl Corrected {
    /// It came in here.
    pub const NO: Self = Self(0);
    const YES: u8 = 1 << 7;

    /// Node `from` handed it over.
    pub const fn by(from: u8, turn: Turn) -> Self {
        Self(Self::YES | (turn as u8) << 4 | from & 0x0f)
    }

    /// From what [`Corrected::bits`] gave.
    pub const fn of_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// As a number.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether another appliance handed it over.
    #[inline]
    pub const fn is(self) -> bool {
        self.0 != 0
    }

    /// Which one, and what is to be done with it.
    pub const fn from(self) -> Option<(u8, Turn)> {
        let turn = match self.0 >> 4 & 0b11 {
            0 => Turn::Owner,
            1 => Turn::Asked,
            _ => Turn::Last,
        };
        if self.is() {
            Some((self.0 & 0x0f, turn))
        } else {
            None
        }
    }
}

/// Another node's place among those that this one is told of when it starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seat(pub u8);

/// A lane that is shared with another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaneOf {
    /// With whom.
    pub seat: Seat,
    /// Its number.
    pub lane: u8,
}

/// A packet on its way between two workers.
#[derive(Debug)]
pub struct Passed<F> {
    /// The frame as it was received.
    pub frame: F,
    /// The port it came in by.
    pub port: PortId,
    /// Why it is passed on.
    pub why: Why,
    /// Fragments: what is known of the datagram. Everything else is parsed anew.
    pub datagram: Option<Datagram>,
    /// Whether another appliance received it.
    pub corrected: Corrected,
    /// The host's kernel sends it, to a service, as if from the network of `port`.
    pub hosted: bool,
}

/// How another appliance is to be spoken to. Boxed, because it comes once in an hour.
#[derive(Debug, Clone, Copy)]
pub struct PeerUp {
    /// What the two nodes agreed on.
    pub session: sluice_ha::Session,
    /// Its MAC address on the HA link.
    pub mac: MacAddr,
    /// It is worse off than this node: its sessions are taken over as their packets come.
    pub yields: bool,
}

/// Whether a node is about to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Going {
    /// It stays.
    #[default]
    No,
    /// It is, and opens no session.
    Yes,
    /// It holds no addresses any more, and the other nodes have heard that it goes.
    Heard,
}

/// A message between workers.
#[derive(Debug)]
pub enum Message<F> {
    /// Deal with this packet.
    Packet(Passed<F>),
    /// Send this finished frame by your transmit queue: the sender has none on the device.
    Transmit {
        /// The frame, complete.
        frame: F,
        /// The device to send it by.
        device: DeviceId,
        /// Made here, not received.
        originated: bool,
    },
    /// Packets with this key are the sender's.
    Register {
        /// The key.
        key: AnyKey,
        /// The worker that holds the session.
        owner: u16,
    },
    /// They no longer are.
    Unregister {
        /// The key.
        key: AnyKey,
        /// The worker that held the session.
        owner: u16,
    },
    /// The first SYN with this key, but for its source port, is the sender's; or no longer is.
    Expect {
        /// The key, its source port 0.
        key: AnyKey,
        /// The sender.
        by: u16,
        /// Whether it is.
        expects: bool,
    },
    /// A neighbour was heard.
    Neighbour(Learned),
    /// A received datagram of the HA link, of one of your lanes.
    HaDatagram(F),
    /// A next hop of the HA link's tunnels was heard, or (without an address) has been silent for too
    /// long.
    TunnelHop {
        /// Its IP address.
        address: std::net::Ipv4Addr,
        /// Its MAC address.
        mac: Option<MacAddr>,
    },
    /// A heartbeat that came by a data port.
    HaWitness {
        /// The frame.
        frame: F,
        /// Where the datagram begins in it.
        at: usize,
    },
    /// Records of another appliance about sessions that are yours to keep: a frame made here, in
    /// which they stand as on the wire.
    HaRecords {
        /// The records.
        frame: F,
        /// The lane that they came on.
        of: LaneOf,
        /// The round in which they were told (see `sluice_ha::bulk`).
        mark: u16,
        /// The sender had what they speak of whole, and has it no more because of them.
        judged: bool,
    },
    /// Another appliance has told all that it has of what is within this scope, on this lane.
    HaSweep {
        /// The lane.
        of: LaneOf,
        /// What is to go, if it was not told of.
        sweep: sluice_ha::bulk::Sweep,
    },
    /// Say what your part is of these sums of the digest of what was told on a lane.
    HaSumsWanted {
        /// The lane.
        of: LaneOf,
        /// First bucket.
        first: u16,
        /// Of the question, to go with the answer.
        number: u8,
        /// The worker that asks.
        by: u16,
    },
    /// The answer: a frame with a record of the digest.
    HaSums {
        /// The record.
        frame: F,
        /// The lane.
        of: LaneOf,
        /// Of the question.
        number: u8,
        /// The worker that answers.
        from: u16,
    },
    /// Another appliance is there, or there again, or has other keys.
    PeerUp(Box<PeerUp>),
    /// Another appliance is dead, or cannot be reached.
    PeerDown {
        /// Which one.
        seat: Seat,
        /// It is heard by another way than the HA link.
        lives: bool,
    },
    /// Groups of addresses that this node holds from now on, and those that it takes frames for.
    Held([GroupSet; 2]),
    /// Nodes that have been told everything and are not about to go, this one included, as far as they say so.
    Ready(NodeSet),
    /// Whether this node is about to go.
    Going(Going),
    /// Another appliance has told on this lane everything that it had.
    PeerTold(LaneOf),
    /// A worker has applied that, and registered with others what they must know.
    PeerApplied {
        /// The lane.
        of: LaneOf,
        /// The worker.
        worker: u16,
    },
}

/// A worker's view of all rings: its own to empty, the others' to push to.
#[derive(Debug)]
pub struct Rings<F> {
    me: u16,
    rings: Arc<[ArrayQueue<Message<F>>]>,
}

impl<F> Rings<F> {
    /// The rings of `workers` workers, one view each, in the order of the workers.
    pub fn mesh(workers: u16) -> Vec<Self> {
        let rings: Arc<[_]> = (0..workers).map(|_| ArrayQueue::new(RING_SIZE)).collect();
        (0..workers)
            .map(|me| Self {
                me,
                rings: Arc::clone(&rings),
            })
            .collect()
    }

    /// Number of workers.
    pub fn workers(&self) -> u16 {
        self.rings.len() as u16
    }

    /// This worker's number.
    pub fn me(&self) -> u16 {
        self.me
    }

    /// Passes a message to another worker.
    ///
    /// # Errors
    /// Gives the message back if that worker's ring is full (or there is no such worker).
    pub fn push(&self, to: u16, message: Message<F>) -> Result<(), Message<F>> {
        match self.rings.get(usize::from(to)) {
            Some(ring) => ring.push(message),
            None => Err(message),
        }
    }

    /// The oldest message for this worker.
    pub fn pop(&self) -> Option<Message<F>> {
        self.rings.get(usize::from(self.me))?.pop()
    }
}
