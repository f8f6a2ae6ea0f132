//! Counters that workers publish and control reads.
//!
//! Every worker has a block of its own cache lines and is its only writer, by type: there is one
//! [`Publisher`] for each. Stores are relaxed, no line is written by two cores, and no read-modify-
//! write instruction is used. All stores of one [`Publisher::publish`] become visible together: a
//! reader that meets a block half written reads it again, so that for each worker, at any moment
//! and to the frame,
//!
//! received + taken over + injected
//!     = forwarded + redirected + punted + consumed + dropped + held + handed over
//!
//! Summed over workers, what was handed over and not yet taken over lies in a ring between them.
//! All values count up from the start of the process and never go back, except those that say they
//! are what is there at the moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

use crate::counters::DropReason;
use crate::load;
use crate::snapshot::{PortId, ServerId, ServiceId};

macro_rules! counters {
    ($(#[doc = $about:literal])+ $enum:ident {
        $($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum $enum {
            $($(#[doc = $doc])+ $name,)+
        }

        impl $enum {
            /// All of them, in the order of their discriminants.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in the API and in metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

counters! {
    /// What a worker counts once for all its ports.
    WorkerCounter {
        /// Frames that its receive queues gave.
        Received = "received",
        /// Frames of another worker that it took out of a ring.
        TakenOver = "taken_over",
        /// Packets of the host stack that it was given to send.
        Injected = "injected",
        /// Frames sent on, translated or not.
        Forwarded = "forwarded",
        /// Frames given to the node that owns their session.
        Redirected = "redirected",
        /// Of the redirected: packets of sessions that the peer owns.
        RedirectedReplica = "redirected_replica",
        /// Of the redirected: packets that open no session and have none here.
        RedirectedNoSession = "redirected_no_session",
        /// Of the redirected: to an address and port that NAT gives away, but no session here has.
        RedirectedPort = "redirected_port",
        /// Of the redirected: ICMP errors about no packet of ours.
        RedirectedError = "redirected_icmp_error",
        /// Of the redirected: packets that policy lets open no session.
        RedirectedRefused = "redirected_refused",
        /// Of the redirected: packets that came before the peer had told all that it knows.
        RedirectedJoining = "redirected_joining",
        /// Frames that the peer received, and gave to this node (part of `received`).
        CorrectedReceived = "corrected_received",
        /// Frames given to the host stack.
        Punted = "punted",
        /// Frames to the appliance itself: ARP, neighbour discovery, echo, ICMP errors.
        Consumed = "consumed",
        /// Frames that wait for a neighbour or for a fragment, at the moment.
        Held = "held",
        /// Frames put in the ring of the worker that owns their session.
        HandedOver = "handed_over",
        /// Frames made here and sent: ARP, neighbour discovery, echo replies, ICMP errors.
        Originated = "originated",
        /// Frames made here that a device did not take.
        OriginatedLost = "originated_lost",
        /// Frames handed over because another worker is home to their tuple: the device has no RSS.
        Steered = "steered",
        /// Segments outside the TCP window, passed on or (where the policy is strict) dropped.
        TcpOutOfWindow = "tcp_out_of_window",
        /// Resets sent for segments without a session.
        ResetsSent = "resets_sent",
        /// Resets sent to the ends of sessions whose time was over, or that an operator ended.
        ExpiryResets = "expiry_resets",
        /// Probes sent to the ends of sessions whose time was about to be over.
        ExpiryProbes = "expiry_probes",
        /// Sessions whose ends were not told, or not probed at that time, for the sake of the rate.
        ExpiryLimited = "expiry_limited",
        /// Such resets and probes for which there was no buffer, or whose next hop is not known.
        ExpiryUnsent = "expiry_unsent",
        /// ICMP errors sent.
        IcmpErrorsSent = "icmp_errors_sent",
        /// ICMP errors that the rate limit kept back.
        IcmpErrorsLimited = "icmp_errors_limited",
        /// Stations heard that claim one of our addresses.
        AddressConflicts = "address_conflicts",
        /// Tuples of other workers' sessions for which there was no room here.
        Unregistrable = "unregistrable",
        /// Fragments among the received frames.
        Fragments = "fragments",
        /// Sessions opened.
        SessionsOpened = "sessions_opened",
        /// Sessions ended for any reason.
        SessionsEnded = "sessions_ended",
        /// Milliseconds that ended sessions had lived, together.
        SessionMs = "session_ms",
        /// IPv4 sessions, at the moment.
        SessionsV4 = "sessions_v4",
        /// IPv6 sessions, at the moment.
        SessionsV6 = "sessions_v6",
        /// Times that the worker looked at its queues.
        Polls = "polls",
        /// Times that it found something there.
        BusyPolls = "busy_polls",
        /// Nanoseconds that it spent in rounds that found something.
        BusyNs = "busy_ns",
        /// Times that it slept because there was nothing.
        Sleeps = "sleeps",
        /// Sessions taken over from a peer that died, or that did not know them.
        SessionsTakenOver = "sessions_taken_over",
        /// Copies of the peer's sessions, at the moment.
        SessionsReplica = "sessions_replica",
        /// Sessions of ours that the peer may not know yet, at the moment.
        SessionsUntold = "sessions_untold",
        /// Records put in the stream to the peer.
        HaRecordsSent = "ha_records_sent",
        /// Records that the peer sent.
        HaRecordsReceived = "ha_records_received",
        /// Records that found no room, here or there.
        HaRecordsLost = "ha_records_lost",
        /// Records that say other than what is known here: of tuples that both nodes have, or late.
        HaConflicts = "ha_conflicts",
        /// Records of zones that the configuration does not have.
        HaRecordsForeign = "ha_records_foreign",
        /// 0 no peer configured, 1 the peer is dead, 2 it has not told all that it knows, 3 present,
        /// 4 it lives and cannot be reached by the HA link.
        PeerState = "peer_state",
        /// Buckets of the peer's digest that were not what is known here.
        HaDigestMismatches = "ha_digest_mismatches",
        /// Buckets that the peer asked to be told anew.
        HaRepairs = "ha_repairs",
        /// Copies removed because the peer, telling all it has, did not tell of them.
        HaSwept = "ha_swept",
        /// Milliseconds since all that the peer tells was last found to be known here, at the moment.
        HaDigestAge = "ha_digest_age_ms",
        /// Groups of addresses that this node holds, at the moment: bit n is group n.
        HaGroupsHeld = "ha_groups_held",
        /// Groups that the peer says it holds, at the moment.
        HaGroupsPeer = "ha_groups_peer",
        /// Ways to the peer that work, at the moment: bit 0 the HA link, bit 1 the data port.
        HaPaths = "ha_paths",
        /// Tracked routers that do not answer, at the moment: bit n is the n-th.
        HaGatewaysLost = "ha_gateways_lost",
        /// Whether the peer knows that this node is about to stop, and has taken everything over.
        HaAway = "ha_away",
        /// Whether this node has been told everything since its start, and may hold groups.
        HaJoined = "ha_joined",
        /// Frames of records that the peer has not acknowledged, at the moment.
        HaLag = "ha_lag",
        /// Endpoint-independent NAT mappings, at the moment.
        NatMappings = "nat_mappings",
        /// Clients that persistence remembers, at the moment.
        PersistentClients = "persistent_clients",
        /// Clients that persistence had no room for.
        PersistenceFull = "persistence_full",
        /// Epoch of the snapshot that it works by, at the moment.
        Epoch = "epoch",
    }
}

counters! {
    /// What a worker counts per logical port.
    PortCounter {
        /// Frames received.
        RxFrames = "rx_frames",
        /// Their bytes, without FCS.
        RxBytes = "rx_bytes",
        /// Frames sent.
        TxFrames = "tx_frames",
        /// Their bytes, without FCS.
        TxBytes = "tx_bytes",
        /// Frames received on this port that were dropped.
        RxDropped = "rx_dropped",
        /// Frames that the device did not take.
        TxDropped = "tx_dropped",
    }
}

counters! {
    /// What a worker counts per service and per real server.
    FlowCounter {
        /// Packets of openers.
        PacketsOriginal = "packets_original",
        /// Bytes (IP length) of openers.
        BytesOriginal = "bytes_original",
        /// Packets that answer.
        PacketsReply = "packets_reply",
        /// Bytes (IP length) that answer.
        BytesReply = "bytes_reply",
        /// Sessions opened.
        Opened = "sessions_opened",
        /// Sessions ended.
        Ended = "sessions_ended",
        /// Packets that were not let open a session (for a firewall rule: that it denied).
        Refused = "refused",
        /// Packets that opened no session because no NAT port was free (part of no other counter).
        NatExhausted = "nat_exhausted",
        /// Sessions that were given to a lower priority group, the backup pool or the sorry server.
        Overflowed = "sessions_overflowed",
        /// TCP connections that a real server answered.
        Answered = "connections_answered",
        /// TCP connections to a real server that it did not answer: the client had to ask again, or gave
        /// up.
        Unanswered = "connections_unanswered",
        /// TCP connections that a real server refused by a reset.
        Rejected = "connections_refused",
    }
}

/// How many ports, services and real servers there is room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Logical ports.
    pub ports: usize,
    /// Services, [`ServiceId::NONE`] included.
    pub services: usize,
    /// Real servers, [`ServerId::NONE`] included.
    pub servers: usize,
}

const DROPS_AT: usize = WorkerCounter::COUNT;
const BURSTS_AT: usize = DROPS_AT + DropReason::COUNT;
const ROUNDS_AT: usize = BURSTS_AT + load::BURST_CLASSES;
const AGES_AT: usize = ROUNDS_AT + load::ROUND_CLASSES;
const PORTS_AT: usize = AGES_AT + load::AGE_CLASSES;

impl Layout {
    fn services_at(&self) -> usize {
        PORTS_AT + self.ports * PortCounter::COUNT
    }

    fn servers_at(&self) -> usize {
        self.services_at() + self.services * FlowCounter::COUNT
    }

    fn len(&self) -> usize {
        self.servers_at() + self.servers * FlowCounter::COUNT
    }

    fn slot(&self, at: Slot) -> Option<usize> {
        let within = |index: usize, limit: usize| (index < limit).then_some(index);
        Some(match at {
            Slot::Worker(counter) => counter as usize,
            Slot::Drop(reason) => DROPS_AT + reason as usize,
            Slot::Burst(class) => BURSTS_AT + within(class, load::BURST_CLASSES)?,
            Slot::Round(class) => ROUNDS_AT + within(class, load::ROUND_CLASSES)?,
            Slot::Age(class) => AGES_AT + within(class, load::AGE_CLASSES)?,
            Slot::Port(port, counter) => {
                let port = within(usize::from(port.0), self.ports)?;
                PORTS_AT + port * PortCounter::COUNT + counter as usize
            }
            Slot::Service(service, counter) => {
                let service = within(usize::from(service.0), self.services)?;
                self.services_at() + service * FlowCounter::COUNT + counter as usize
            }
            Slot::Server(server, counter) => {
                let server = within(usize::from(server.0), self.servers)?;
                self.servers_at() + server * FlowCounter::COUNT + counter as usize
            }
        })
    }
}

/// One counter of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// Of the worker as a whole.
    Worker(WorkerCounter),
    /// Frames dropped for a reason.
    Drop(DropReason),
    /// Bursts received, by the class of their size; see [`load`].
    Burst(usize),
    /// Rounds that found something, by the class of the time that they took; see [`load`].
    Round(usize),
    /// Sessions that ended, by the class of their age; see [`load`].
    Age(usize),
    /// Of a logical port.
    Port(PortId, PortCounter),
    /// Of a service.
    Service(ServiceId, FlowCounter),
    /// Of a real server.
    Server(ServerId, FlowCounter),
}

/// Two cache lines, because adjacent-line prefetchers fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Line([AtomicU64; LINE]);

const LINE: usize = 16;

struct Block {
    /// Odd while the worker is writing.
    version: AtomicU32,
    lines: Box<[Line]>,
}

impl Block {
    #[inline]
    fn counter(&self, slot: usize) -> Option<&AtomicU64> {
        self.lines.get(slot / LINE)?.0.get(slot % LINE)
    }

    fn read(&self, into: &mut [u64]) {
        for (value, counter) in into
            .iter_mut()
            .zip(self.lines.iter().flat_map(|line| &line.0))
        {
            *value = counter.load(Ordering::Relaxed);
        }
    }
}

/// The counters of all workers, for reading.
pub struct Published {
    layout: Layout,
    blocks: Box<[Block]>,
}

impl Published {
    /// Room for the counters of `workers` workers, and the writing end of each.
    pub fn new(workers: usize, layout: Layout) -> (Arc<Self>, Vec<Publisher>) {
        let block = |_| Block {
            version: AtomicU32::new(0),
            lines: (0..layout.len().div_ceil(LINE))
                .map(|_| Line::default())
                .collect(),
        };
        let published = Arc::new(Self {
            layout,
            blocks: (0..workers).map(block).collect(),
        });
        let publishers = (0..workers)
            .map(|worker| Publisher {
                published: Arc::clone(&published),
                worker,
            })
            .collect();
        (published, publishers)
    }

    /// What there is room for.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.blocks.len()
    }

    /// All counters of one worker, of one moment. Zeros for a worker that is not there.
    ///
    /// May sleep for some milliseconds when the worker lost its core in the middle of publishing, and
    /// then takes what it has: a worker that was stopped for good can still be read.
    pub fn worker(&self, worker: usize) -> Values {
        let mut values = Values::zero(self.layout);
        let Some(block) = self.blocks.get(worker) else {
            return values;
        };
        for attempt in 0..READ_TRIES {
            let before = block.version.load(Ordering::Acquire);
            if before % 2 == 0 {
                block.read(&mut values.values);
                fence(Ordering::Acquire);
                if block.version.load(Ordering::Relaxed) == before {
                    return values;
                }
            }
            if attempt < SPIN_TRIES {
                std::hint::spin_loop();
            } else {
                std::thread::sleep(Duration::from_micros(20));
            }
        }
        block.read(&mut values.values);
        values
    }

    /// One counter, summed over workers. May be taken in the middle of a burst.
    pub fn sum(&self, at: Slot) -> u64 {
        let Some(slot) = self.layout.slot(at) else {
            return 0;
        };
        self.blocks
            .iter()
            .filter_map(|block| block.counter(slot))
            .fold(0, |sum, counter| {
                sum.wrapping_add(counter.load(Ordering::Relaxed))
            })
    }

    /// Sessions that a real server has now, on all workers together.
    pub fn sessions_of(&self, server: ServerId) -> u64 {
        let ended = self.sum(Slot::Server(server, FlowCounter::Ended));
        self.sum(Slot::Server(server, FlowCounter::Opened))
            .saturating_sub(ended)
    }
}

const SPIN_TRIES: usize = 100;
const READ_TRIES: usize = 1000;

impl std::fmt::Debug for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Published")
            .field("layout", &self.layout)
            .field("workers", &self.blocks.len())
            .finish()
    }
}

/// The writing end of one worker's counters.
#[derive(Debug)]
pub struct Publisher {
    published: Arc<Published>,
    worker: usize,
}

impl Publisher {
    /// The counters of all workers.
    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// Lets `write` change counters; readers see all of its changes or none.
    #[inline]
    pub fn publish(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        let Some(block) = self.published.blocks.get(self.worker) else {
            return;
        };
        let version = block.version.load(Ordering::Relaxed);
        block
            .version
            .store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        write(&mut Writer {
            layout: &self.published.layout,
            block,
        });
        block
            .version
            .store(version.wrapping_add(2), Ordering::Release);
    }
}

/// Changes counters of one worker. Slots that the layout has no room for are ignored.
pub struct Writer<'a> {
    layout: &'a Layout,
    block: &'a Block,
}

impl Writer<'_> {
    /// Adds to a counter.
    #[inline]
    pub fn add(&mut self, at: Slot, n: u64) {
        if let Some(counter) = self.counter(at) {
            counter.store(
                counter.load(Ordering::Relaxed).wrapping_add(n),
                Ordering::Relaxed,
            );
        }
    }

    /// Sets a counter that the worker keeps the value of.
    #[inline]
    pub fn set(&mut self, at: Slot, value: u64) {
        if let Some(counter) = self.counter(at) {
            counter.store(value, Ordering::Relaxed);
        }
    }

    #[inline]
    fn counter(&self, at: Slot) -> Option<&AtomicU64> {
        self.block.counter(self.layout.slot(at)?)
    }
}

/// A copy of counters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Values {
    layout: Layout,
    values: Vec<u64>,
}

impl Values {
    /// All zero.
    pub fn zero(layout: Layout) -> Self {
        Self {
            layout,
            values: vec![0; layout.len()],
        }
    }

    /// One counter; 0 where the layout has no room for it.
    pub fn get(&self, at: Slot) -> u64 {
        let value = self
            .layout
            .slot(at)
            .and_then(|slot| self.values.get(slot).copied());
        value.unwrap_or(0)
    }

    /// Adds the counters of another worker, of the same layout.
    pub fn add(&mut self, other: &Self) {
        for (value, other) in self.values.iter_mut().zip(&other.values) {
            *value = value.wrapping_add(*other);
        }
    }

    /// Frames dropped, for any reason.
    pub fn dropped(&self) -> u64 {
        let drops = DropReason::ALL
            .iter()
            .map(|&reason| self.get(Slot::Drop(reason)));
        drops.fold(0, u64::wrapping_add)
    }

    /// What came in less what is accounted for, in frames: 0, or a frame was lost or counted twice.
    pub fn unaccounted(&self) -> i64 {
        let count = |counter| self.get(Slot::Worker(counter));
        let came = [
            WorkerCounter::Received,
            WorkerCounter::TakenOver,
            WorkerCounter::Injected,
        ];
        let went = [
            WorkerCounter::Forwarded,
            WorkerCounter::Redirected,
            WorkerCounter::Punted,
            WorkerCounter::Consumed,
            WorkerCounter::Held,
            WorkerCounter::HandedOver,
        ];
        let came = came.map(count).into_iter().fold(0, u64::wrapping_add);
        let went = went
            .map(count)
            .into_iter()
            .fold(self.dropped(), u64::wrapping_add);
        came.wrapping_sub(went).cast_signed()
    }
}

#[cfg(test)]
mod tests;
