//! The thread between the workers' queues and the TUN interfaces.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use nix::poll::{PollFd, PollFlags, poll};
use sluice_dataplane::host::{HostEnd, QUEUE, ethernet_header, home};
use sluice_dataplane::snapshot::Snapshot;

use super::links::Links;
use super::{HostError, Plan};

/// Packets taken from one interface before the others have their turn.
const TURN: usize = 64;
/// Milliseconds between two looks at the workers' queues while nothing happens. Workers wake nobody.
const NAP_MS: u8 = 1;
/// Larger than any packet.
const BUFFER: usize = 65_536;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Make the namespace so, and find workers by this snapshot.
    Apply(Plan, Arc<Snapshot>),
    /// Stop.
    Stop,
}

/// The thread's state.
pub(super) struct Pump {
    ends: Vec<HostEnd>,
    links: Links,
    snapshot: Option<Arc<Snapshot>>,
    buffer: Vec<u8>,
}

impl Pump {
    pub(super) fn new(ends: Vec<HostEnd>, largest: u16) -> Result<Self, HostError> {
        for end in &ends {
            end.stock(usize::from(largest));
        }
        Ok(Self {
            ends,
            links: Links::new()?,
            snapshot: None,
            buffer: vec![0; BUFFER],
        })
    }

    pub(super) fn apply(&mut self, command: Command) -> Result<(), HostError> {
        let Command::Apply(plan, snapshot) = command else {
            return Ok(());
        };
        self.snapshot = Some(snapshot);
        self.links.apply(&plan)
    }

    pub(super) fn run(mut self, orders: &Receiver<Command>) {
        loop {
            match orders.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return,
                Ok(command) => {
                    if let Err(error) = self.apply(command) {
                        tracing::error!(%error, "the host interface does not follow the configuration");
                    }
                }
                Err(TryRecvError::Empty) => {}
            }
            let moved = self.deliver() + self.collect();
            if moved == 0 {
                self.rest();
            }
        }
    }

    /// Gives the kernel what workers punted.
    fn deliver(&mut self) -> usize {
        let mut moved = 0;
        for end in &self.ends {
            for _ in 0..QUEUE {
                let Some(parcel) = end.receive() else { break };
                moved += 1;
                let mut links = self.links.links.values();
                if let Some(link) = links.find(|link| link.port == parcel.port()) {
                    // What the kernel has no room for is lost, as on any link.
                    let _ = link.device.send(parcel.bytes());
                }
                end.give_back(parcel);
            }
        }
        moved
    }

    /// Gives workers what the kernel sends.
    fn collect(&mut self) -> usize {
        let Some(snapshot) = &self.snapshot else {
            return 0;
        };
        let mut moved = 0;
        for link in self.links.links.values() {
            for _ in 0..TURN {
                // The packet stands behind room for a header that finding its worker needs.
                let (header, rest) = self.buffer.split_at_mut(HEADER);
                let Ok(length) = link.device.recv(rest) else {
                    break;
                };
                moved += 1;
                let Some(ethernet) = ethernet_header(&rest[..length]) else {
                    continue;
                };
                header.copy_from_slice(&ethernet);
                let worker = home(snapshot, &self.buffer[..HEADER + length]);
                if let Some(end) = self.ends.get(usize::from(worker)) {
                    // A full queue is a full link: the kernel sends again.
                    let _ = end.inject(&self.buffer[HEADER..HEADER + length]);
                }
            }
        }
        moved
    }

    /// Waits for the kernel, and not for long.
    fn rest(&self) {
        let fds = self.links.links.values();
        let mut fds: Vec<PollFd<'_>> = fds
            .map(|link| PollFd::new(link.device.as_fd(), PollFlags::POLLIN))
            .collect();
        let _ = poll(&mut fds, NAP_MS);
    }
}

/// Bytes of an Ethernet header.
const HEADER: usize = 14;
