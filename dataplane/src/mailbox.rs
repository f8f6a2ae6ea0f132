//! What control and a worker say to each other.
//!
//! Every worker has one [`mailbox`]: two bounded queues, one each way, that never block and
//! never wake anybody. A worker takes at most a few messages per poll, and looks through its tables
//! in slices between bursts. It neither allocates nor frees: pages come with room for their rows
//! already taken, and what a worker is done with goes back to control to be dropped there.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

pub mod filter;
pub mod neighbours;
pub mod sessions;
pub mod trace;

pub use filter::{Filter, StateFilter, TupleFilter};
pub use neighbours::{NeighbourPage, NeighbourRow};
pub use sessions::{Cursor, EndRequest, SessionPage, SessionRow, Table};
pub use trace::Trace;

use crate::capture::{CaptureId, Tap};
use crate::snapshot::{PortId, Snapshot};

/// Messages that wait in one direction at most.
pub const CAPACITY: usize = 64;

/// Names a request and its answer; control gives it out, workers only copy it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct RequestId(pub u64);

/// From control to a worker.
#[derive(Debug)]
pub enum ToWorker {
    /// Work by this snapshot from the next burst on, and send back the one before as
    /// [`FromWorker::Retired`].
    Swap(Arc<Snapshot>),
    /// Fill the page with sessions from its cursor on, and send it back as
    /// [`FromWorker::Sessions`] when it is full or the table's end is reached.
    ListSessions(Box<SessionPage>),
    /// End all sessions that match, and send it back as [`FromWorker::Ended`] with their number.
    EndSessions(Box<EndRequest>),
    /// The same as `ListSessions` for the neighbour table.
    ListNeighbours(Box<NeighbourPage>),
    /// What two appliances divide is to be divided otherwise. For worker 0.
    Roles(RoleOrders),
    /// Capture packets by this tap. Where there are too many it comes back at once, as
    /// [`FromWorker::CaptureEnded`].
    Capture(Box<Tap>),
    /// Say what would become of a packet, and send it back as [`FromWorker::Traced`].
    Trace(Box<Trace>),
    /// End a capture, and send its tap back as [`FromWorker::CaptureEnded`].
    EndCapture(CaptureId),
}

/// What control asks of this node's roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoleOrders {
    /// Give all groups away, as soon as the peer can have them.
    pub draining: bool,
    /// The others are to take over all sessions: this node is about to stop.
    pub leaving: bool,
    /// What failing trackers take from the priority of each group, by its place.
    pub penalties: [u8; sluice_ha::roles::MAX_GROUPS],
}

/// Something changed between appliances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HaEvent {
    /// How another node is.
    Peer {
        /// Which one.
        node: u8,
        /// As [`crate::published::PeerCounter::State`] says it.
        state: u64,
    },
    /// Another node knows of other nodes than this one, or divides ports otherwise.
    Differs {
        /// Which one.
        node: u8,
    },
    /// A way to a node works in both directions, or does not.
    Path {
        /// Which node.
        node: u8,
        /// Not the HA link, but the data port.
        witness: bool,
        /// Whether it works.
        works: bool,
    },
    /// A group was taken, or let go.
    Group {
        /// Which.
        group: crate::groups::GroupId,
        /// Whether this node holds it now.
        holds: bool,
    },
    /// A worker's stream of records stands alone, or goes on and tells everything anew.
    Alone {
        /// Whom it is for.
        node: u8,
        /// The worker.
        worker: u16,
        /// Whether it stands alone.
        alone: bool,
    },
}

/// From a worker to control.
#[derive(Debug)]
pub enum FromWorker {
    /// A snapshot that this worker no longer reads.
    Retired(Arc<Snapshot>),
    /// A page that is full, or the last one.
    Sessions(Box<SessionPage>),
    /// How many sessions were ended.
    Ended(Box<EndRequest>),
    /// A page of the neighbour table.
    Neighbours(Box<NeighbourPage>),
    /// What would become of a packet.
    Traced(Box<Trace>),
    /// A tap that captures nothing any more.
    CaptureEnded(Box<Tap>),
    /// Something that an operator should read in the log.
    Event(Event),
}

/// What a worker finds worth a log line. Workers limit the rate of each kind themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Another station on this port claims an address of ours.
    AddressConflict {
        /// Where it was seen.
        port: PortId,
        /// The address.
        address: std::net::IpAddr,
        /// The other station.
        mac: sluice_wire::MacAddr,
    },
    /// A next hop does not answer.
    NeighbourLost {
        /// Where it should be.
        port: PortId,
        /// The next hop.
        address: std::net::IpAddr,
    },
    /// Something changed between two appliances.
    Ha(HaEvent),
    /// Another appliance speaks no version of the protocol that we do.
    PeerVersion {
        /// Which one.
        node: u8,
        /// The oldest that it speaks.
        oldest: u8,
        /// The newest.
        newest: u8,
    },
}

/// Control's end of the two queues.
#[derive(Debug)]
pub struct ControlEnd {
    to: Arc<ArrayQueue<ToWorker>>,
    from: Arc<ArrayQueue<FromWorker>>,
}

/// The worker's end of the two queues.
#[derive(Debug)]
pub struct WorkerEnd {
    to: Arc<ArrayQueue<ToWorker>>,
    from: Arc<ArrayQueue<FromWorker>>,
}

/// The two ends of a new mailbox.
pub fn mailbox() -> (ControlEnd, WorkerEnd) {
    let to = Arc::new(ArrayQueue::new(CAPACITY));
    let from = Arc::new(ArrayQueue::new(CAPACITY));
    let control = ControlEnd {
        to: Arc::clone(&to),
        from: Arc::clone(&from),
    };
    (control, WorkerEnd { to, from })
}

impl ControlEnd {
    /// Hands a message to the worker.
    ///
    /// # Errors
    /// Gives the message back when the queue is full; try again later.
    pub fn send(&self, message: ToWorker) -> Result<(), ToWorker> {
        self.to.push(message)
    }

    /// The oldest message of the worker, if there is one.
    pub fn receive(&self) -> Option<FromWorker> {
        self.from.pop()
    }
}

impl WorkerEnd {
    /// The oldest message of control, if there is one.
    #[inline]
    pub fn receive(&self) -> Option<ToWorker> {
        self.to.pop()
    }

    /// Hands a message to control.
    ///
    /// # Errors
    /// Gives the message back when the queue is full. Only events may be dropped; anything else is
    /// kept and sent after a later burst.
    pub fn send(&self, message: FromWorker) -> Result<(), FromWorker> {
        self.from.push(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_gives_the_message_back_and_loses_nothing() {
        let (control, worker) = mailbox();
        for _ in 0..CAPACITY {
            control
                .send(ToWorker::EndSessions(Box::default()))
                .expect("there is room");
        }
        let marked = EndRequest {
            request: RequestId(7),
            ..EndRequest::default()
        };
        let back = control.send(ToWorker::EndSessions(Box::new(marked)));
        assert!(matches!(back, Err(ToWorker::EndSessions(end)) if end.request == RequestId(7)));
        assert_eq!(std::iter::from_fn(|| worker.receive()).count(), CAPACITY);
    }
}
