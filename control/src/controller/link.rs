//! One worker, as the controller knows it.

use std::collections::VecDeque;
use std::sync::Arc;

use sluice_dataplane::mailbox::{ControlEnd, FromWorker, ToWorker};
use sluice_dataplane::snapshot::Snapshot;

/// A worker's mailbox, what waits for room in it, and the snapshots on their way.
#[derive(Debug)]
pub(super) struct WorkerLink {
    mailbox: ControlEnd,
    waiting: VecDeque<ToWorker>,
    /// Epochs of snapshots that were sent and not yet adopted.
    sent: VecDeque<u32>,
    /// Epoch of the snapshot that it works by.
    pub(super) epoch: u32,
}

impl WorkerLink {
    pub(super) fn new(mailbox: ControlEnd, epoch: u32) -> Self {
        Self {
            mailbox,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            epoch,
        }
    }

    /// Sends in order, now or when there is room.
    pub(super) fn send(&mut self, message: ToWorker) {
        self.waiting.push_back(message);
        self.flush();
    }

    pub(super) fn swap(&mut self, snapshot: Arc<Snapshot>) {
        self.sent.push_back(snapshot.epoch);
        self.send(ToWorker::Swap(snapshot));
    }

    /// Whether a snapshot was sent and not yet adopted.
    pub(super) fn is_adopting(&self) -> bool {
        !self.sent.is_empty()
    }

    pub(super) fn flush(&mut self) {
        while let Some(message) = self.waiting.pop_front() {
            if let Err(message) = self.mailbox.send(message) {
                self.waiting.push_front(message);
                return;
            }
        }
    }

    /// The next message. Retired snapshots are dropped here, off the worker's core.
    pub(super) fn receive(&mut self) -> Option<FromWorker> {
        let message = self.mailbox.receive()?;
        if matches!(message, FromWorker::Retired(_))
            && let Some(epoch) = self.sent.pop_front()
        {
            self.epoch = epoch;
        }
        Some(message)
    }
}
