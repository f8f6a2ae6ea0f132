//! Listing the neighbour table from control.

use std::net::IpAddr;

use sluice_wire::MacAddr;

use super::RequestId;
use crate::snapshot::PortId;

/// A question for neighbours, and room for the answer.
#[derive(Debug, Default)]
pub struct NeighbourPage {
    /// Copied to the answer.
    pub request: RequestId,
    /// The entry to look at next; the worker moves it on. `None` in the answer: nothing is left.
    pub cursor: Option<u32>,
    /// The worker pushes rows while there is spare capacity and never grows it.
    pub rows: Vec<NeighbourRow>,
}

impl NeighbourPage {
    /// A page with room for `rows` that begins at entry `cursor`.
    pub fn new(request: RequestId, cursor: u32, rows: usize) -> Self {
        Self {
            request,
            cursor: Some(cursor),
            rows: Vec::with_capacity(rows),
        }
    }

    /// Whether another row would make it grow.
    pub fn is_full(&self) -> bool {
        self.rows.len() == self.rows.capacity()
    }
}

/// A neighbour, as it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighbourRow {
    /// The port it is behind.
    pub port: PortId,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address, if it has answered.
    pub mac: Option<MacAddr>,
    /// `reachable`, `stale`, `resolving` or `failed`.
    pub state: &'static str,
    /// Milliseconds since it was last heard of.
    pub age_ms: u32,
}
