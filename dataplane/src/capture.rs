//! Packet capture: copies of frames, with what became of them, from workers to control.
//!
//! A capture is a [`Tap`] at each worker. A worker that has one takes all packets the long way and
//! copies those that the tap's filter matches into [`Record`]s, which go round between two queues as
//! the parcels of the host interface do, so that a worker neither allocates nor frees. A worker that
//! has none pays one comparison a burst.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayVec;
use crossbeam_queue::ArrayQueue;

use crate::counters::DropReason;
use crate::io::{DeviceId, Frame};
use crate::snapshot::{PortId, Snapshot};
use crate::stack::icmp::RateLimit;

pub mod bpf;

use bpf::{Program, View};

/// Captures at a time.
pub const MOST: usize = 4;
/// Records of one worker's tap.
pub const QUEUE: usize = 2048;
/// Stands for the port of a frame that belongs to none.
pub const NO_PORT: PortId = PortId(u16::MAX);
/// Stands for the link to the other appliance, which is no port.
pub const LINK: PortId = PortId(u16::MAX - 1);

/// Names a capture; control gives it out, workers only copy it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct CaptureId(pub u64);

/// What became of a captured frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fate {
    /// Received, and sent on.
    #[default]
    Forwarded,
    /// Received, and dropped.
    Dropped(DropReason),
    /// Received, and for the appliance itself.
    Consumed,
    /// Received, and given to the host's kernel.
    Punted,
    /// Received, and given to the other appliance.
    Redirected,
    /// Received, and waits for a neighbour, or for the rest of its datagram.
    Held,
    /// Handed to a device: a frame that was received before, or injected.
    Sent,
    /// Handed to a device: made here.
    Originated,
}

impl Fate {
    /// Whether the frame was on its way out when it was captured.
    pub fn is_tx(self) -> bool {
        matches!(self, Self::Sent | Self::Originated)
    }
}

/// A captured frame.
#[derive(Debug, Default)]
pub struct Record {
    /// When its burst was, nanoseconds since 1970.
    pub at_ns: u64,
    /// The port, or [`NO_PORT`] or [`LINK`].
    pub port: PortId,
    /// What became of it.
    pub fate: Fate,
    /// Bytes that it had.
    pub length: u32,
    bytes: Vec<u8>,
}

impl Record {
    /// Its first bytes, as on the wire (without FCS).
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The queues between one worker's tap and control.
#[derive(Debug)]
struct Queues {
    filled: ArrayQueue<Record>,
    blanks: ArrayQueue<Record>,
    missed: AtomicU64,
    limited: AtomicU64,
}

/// Control's end of a tap.
#[derive(Debug)]
pub struct TapEnd(Arc<Queues>);

impl TapEnd {
    /// The oldest record. Give it back.
    pub fn receive(&self) -> Option<Record> {
        self.0.filled.pop()
    }

    /// A record is empty again.
    pub fn give_back(&self, record: Record) {
        let _ = self.0.blanks.push(record);
    }

    /// Frames that matched, and for which there was no record: control did not keep up.
    pub fn missed(&self) -> u64 {
        self.0.missed.load(Ordering::Relaxed)
    }

    /// Frames that matched, and were beyond the rate.
    pub fn limited(&self) -> u64 {
        self.0.limited.load(Ordering::Relaxed)
    }

    /// The tap is gone: nothing more will come than what is in the queue.
    pub fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// What a tap captures.
#[derive(Debug, Clone)]
pub struct TapSpec {
    /// The capture.
    pub id: CaptureId,
    /// What matches.
    pub program: Arc<Program>,
    /// By port, whether its frames are captured; empty means all.
    pub ports: Arc<[bool]>,
    /// Whether frames of the link to the other appliance are captured.
    pub link: bool,
    /// Bytes of a frame that are kept.
    pub snaplen: usize,
    /// Frames a second, of this worker.
    pub per_s: u32,
}

/// A worker's end of a capture.
#[derive(Debug)]
pub struct Tap {
    spec: TapSpec,
    limit: RateLimit,
    queues: Arc<Queues>,
}

/// A tap, and control's end of it, with all its records.
pub fn tap(spec: TapSpec) -> (Box<Tap>, TapEnd) {
    let queues = Arc::new(Queues {
        filled: ArrayQueue::new(QUEUE),
        blanks: ArrayQueue::new(QUEUE),
        missed: AtomicU64::new(0),
        limited: AtomicU64::new(0),
    });
    let blank = || Record {
        bytes: Vec::with_capacity(spec.snaplen),
        ..Record::default()
    };
    while queues.blanks.push(blank()).is_ok() {}
    let tap = Tap {
        limit: RateLimit::new(spec.per_s, 0),
        spec,
        queues: Arc::clone(&queues),
    };
    (Box::new(tap), TapEnd(queues))
}

impl Tap {
    /// The capture that it belongs to.
    pub fn id(&self) -> CaptureId {
        self.spec.id
    }

    fn wants(&self, port: PortId) -> bool {
        let ports = &self.spec.ports;
        if port == LINK {
            return self.spec.link;
        }
        ports.is_empty() || ports.get(usize::from(port.0)).copied().unwrap_or(false)
    }

    /// Copies a frame, if it is to be captured and there is room.
    fn copy(&mut self, at_ns: u64, port: PortId, view: &View<'_>) -> Option<Record> {
        if !self.wants(port) || !self.spec.program.matches(view) {
            return None;
        }
        let now_ms = (at_ns / 1_000_000) as u32;
        if !self.limit.allow(now_ms) {
            self.queues.limited.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let Some(mut record) = self.queues.blanks.pop() else {
            self.queues.missed.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        record.at_ns = at_ns;
        record.port = port;
        record.length = u32::try_from(view.len()).unwrap_or(u32::MAX);
        record.bytes.clear();
        // Never more than there was room for from the start.
        let most = self.spec.snaplen.min(record.bytes.capacity());
        view.copy(most, &mut record.bytes);
        Some(record)
    }

    fn finish(&self, mut record: Record, fate: Fate) {
        record.fate = fate;
        // There are as many records as places.
        let _ = self.queues.filled.push(record);
    }

    fn forget(&self, record: Record) {
        let _ = self.queues.blanks.push(record);
    }
}

/// Copies of a frame that is being worked on, one for each tap that wants it.
pub(crate) type Copies = ArrayVec<(CaptureId, Record), MOST>;

/// All taps of a worker.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    list: ArrayVec<Box<Tap>, MOST>,
    /// To tell ports by; there while there are taps.
    snapshot: Option<Arc<Snapshot>>,
}

impl Taps {
    /// Whether anything is captured.
    #[inline]
    pub(crate) fn are_there(&self) -> bool {
        !self.list.is_empty()
    }

    /// Begins a capture; gives the tap back if there are too many.
    pub(crate) fn add(&mut self, tap: Box<Tap>, snapshot: &Arc<Snapshot>) -> Result<(), Box<Tap>> {
        self.list.try_push(tap).map_err(|full| full.element())?;
        self.snapshot = Some(Arc::clone(snapshot));
        Ok(())
    }

    /// Ends a capture.
    pub(crate) fn remove(&mut self, id: CaptureId) -> Option<Box<Tap>> {
        let at = self.list.iter().position(|tap| tap.id() == id)?;
        let gone = self.list.remove(at);
        if self.list.is_empty() {
            self.snapshot = None;
        }
        Some(gone)
    }

    /// Another configuration is in use.
    pub(crate) fn on_snapshot(&mut self, snapshot: &Arc<Snapshot>) {
        if self.snapshot.is_some() {
            self.snapshot = Some(Arc::clone(snapshot));
        }
    }

    /// Copies a received frame for all taps that want it.
    pub(crate) fn copy<F: Frame>(&mut self, at_ns: u64, port: PortId, frame: &F) -> Copies {
        let view = View::new(frame.bytes(), frame.meta().vlan_tci);
        let copies = self.list.iter_mut().filter_map(|tap| {
            let record = tap.copy(at_ns, port, &view)?;
            Some((tap.id(), record))
        });
        copies.collect()
    }

    /// What became of the frame; `None`: another worker will say.
    pub(crate) fn finish(&mut self, copies: Copies, fate: Option<Fate>) {
        for (id, record) in copies {
            // A tap does not go while a frame is worked on.
            let Some(tap) = self.list.iter().find(|tap| tap.id() == id) else {
                continue;
            };
            match fate {
                Some(fate) => tap.finish(record, fate),
                None => tap.forget(record),
            }
        }
    }

    /// A frame is handed to a device, which may be the `link` to the other appliance.
    pub(crate) fn sent<F: Frame>(
        &mut self,
        at_ns: u64,
        (device, link): (DeviceId, bool),
        frame: &F,
        originated: bool,
    ) {
        let port = match link {
            true => Some(LINK),
            false => self.port_of(device, frame.bytes()),
        };
        let Some(port) = port else {
            return;
        };
        let fate = match originated {
            true => Fate::Originated,
            false => Fate::Sent,
        };
        let view = View::new(frame.bytes(), None);
        for tap in &mut self.list {
            if let Some(record) = tap.copy(at_ns, port, &view) {
                tap.finish(record, fate);
            }
        }
    }

    /// The port that a frame leaves by.
    fn port_of(&self, device: DeviceId, frame: &[u8]) -> Option<PortId> {
        let tagged = matches!(frame.get(12..14), Some([0x81, 0x00]));
        let vlan = match frame.get(14..16) {
            Some(&[high, low]) if tagged => Some(u16::from_be_bytes([high, low]) & 0x0fff),
            _ => None,
        };
        let snapshot = self.snapshot.as_ref()?;
        snapshot.devices.get(usize::from(device.0))?.port(vlan)
    }
}
