//! Listing and ending sessions from control.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use sluice_wire::Tuple;

use super::{Filter, RequestId};
use crate::firewall::Firewall;
use crate::snapshot::{ServerId, ServiceId};

/// One of a worker's two session tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Table {
    /// Sessions over IPv4.
    #[default]
    V4,
    /// Sessions over IPv6.
    V6,
}

/// Where to go on in a worker's tables: IPv4 first, then IPv6, each by index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Cursor {
    /// The table.
    pub table: Table,
    /// The entry to look at next.
    pub index: u32,
}

/// A question for sessions, and room for the answer.
#[derive(Debug, Default)]
pub struct SessionPage {
    /// Copied to the answer.
    pub request: RequestId,
    /// Which sessions.
    pub filter: Filter,
    /// Where to begin; the worker moves it on as it scans. `None` in the answer: nothing is left.
    pub cursor: Option<Cursor>,
    /// The worker pushes rows while there is spare capacity and never grows it.
    pub rows: Vec<SessionRow>,
}

impl SessionPage {
    /// A page with room for `rows` that begins at `cursor`.
    pub fn new(request: RequestId, filter: Filter, cursor: Cursor, rows: usize) -> Self {
        Self {
            request,
            filter,
            cursor: Some(cursor),
            rows: Vec::with_capacity(rows),
        }
    }

    /// Whether another row would make it grow.
    pub fn is_full(&self) -> bool {
        self.rows.len() == self.rows.capacity()
    }

    /// Takes the row if it matches under this firewall. True if the page is full afterwards.
    pub fn offer(&mut self, row: &SessionRow, firewall: &Firewall) -> bool {
        if !self.is_full() && self.filter.matches(row, firewall) {
            self.rows.push(*row);
        }
        self.is_full()
    }
}

/// Sessions to end.
#[derive(Debug, Default)]
pub struct EndRequest {
    /// Copied to the answer.
    pub request: RequestId,
    /// Which sessions.
    pub filter: Filter,
    /// Of those, only such whose real server keeps none: it is down, or gone.
    pub homeless: bool,
    /// Both ends of a TCP session are told by a reset.
    pub reset: bool,
    /// Where the worker is; `None` in the answer.
    pub cursor: Option<Cursor>,
    /// How many were ended.
    pub ended: u64,
    /// The same, for whoever wants to know how far it is. The worker writes it, control reads it.
    pub so_far: Arc<AtomicU64>,
}

impl EndRequest {
    /// A request that begins at the first entry.
    pub fn new(request: RequestId, filter: Filter) -> Self {
        Self {
            request,
            filter,
            homeless: false,
            reset: false,
            cursor: Some(Cursor::default()),
            ended: 0,
            so_far: Arc::default(),
        }
    }

    /// Writes down there how far it is.
    #[must_use]
    pub fn noting(self, so_far: Arc<AtomicU64>) -> Self {
        Self { so_far, ..self }
    }

    /// Has both ends told, or not.
    #[must_use]
    pub fn telling(self, reset: bool) -> Self {
        Self { reset, ..self }
    }
}

/// A session, as it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionRow {
    /// The opener's packets, as they arrive.
    pub original: Tuple,
    /// The packets that answer, as they arrive.
    pub reply: Tuple,
    /// Zones that original and reply packets arrive from, indexes into `Snapshot::zones`.
    pub zones: [u8; 2],
    /// As in `Flow::state`.
    pub state: u8,
    /// What it runs under.
    pub service: ServiceId,
    /// The real server it was given to.
    pub server: ServerId,
    /// It is a copy of a session of the other appliance's.
    pub replica: bool,
    /// Milliseconds since it was opened.
    pub age_ms: u32,
    /// Milliseconds since its last packet.
    pub idle_ms: u32,
    /// Milliseconds until it ends, if no packet comes.
    pub expires_ms: u32,
    /// Packets, original and reply; each wraps at 2^32.
    pub packets: [u32; 2],
    /// Bytes (IP length), original and reply; each wraps at 2^40.
    pub bytes: [u64; 2],
}
