//! A worker's queues on all devices.

use sluice_dataplane::io::{DeviceId, Io, RxBurst, TxBurst};

use crate::mbuf::{self, Mbuf};
use crate::{Pool, RxQueue, TxQueue};

/// One worker's receive and transmit queues, and the pool that it takes new frames from.
#[derive(Debug)]
pub struct WorkerIo {
    /// By device.
    devices: Vec<Queues>,
    pool: Pool,
}

#[derive(Debug, Default)]
struct Queues {
    rx: Vec<RxQueue>,
    /// The receive queue that is polled first the next time, so that none starves.
    first: usize,
    tx: Option<TxQueue>,
}

impl WorkerIo {
    /// A worker without queues yet, whose own frames come from `pool`.
    pub fn new(pool: Pool) -> Self {
        Self {
            devices: Vec::new(),
            pool,
        }
    }

    /// Gives the worker receive queues of `device`, in addition to those that it has.
    pub fn add_rx(&mut self, device: DeviceId, queues: impl IntoIterator<Item = RxQueue>) {
        self.queues(device).rx.extend(queues);
    }

    /// Gives the worker its transmit queue of `device`. Returns the one that it had.
    pub fn set_tx(&mut self, device: DeviceId, queue: TxQueue) -> Option<TxQueue> {
        self.queues(device).tx.replace(queue)
    }

    fn queues(&mut self, device: DeviceId) -> &mut Queues {
        let index = usize::from(device.0);
        if self.devices.len() <= index {
            self.devices.resize_with(index + 1, Queues::default);
        }
        &mut self.devices[index]
    }
}

impl Io for WorkerIo {
    type Frame = Mbuf;

    #[inline]
    fn rx(&mut self, device: DeviceId, burst: &mut RxBurst<Mbuf>) {
        let Some(queues) = self.devices.get_mut(usize::from(device.0)) else {
            return;
        };
        if let [queue] = &mut queues.rx[..] {
            queue.receive(burst);
            return;
        }
        let count = queues.rx.len();
        if count == 0 {
            return;
        }
        let first = queues.first;
        queues.first = if first + 1 < count { first + 1 } else { 0 };
        let (before, from) = queues.rx.split_at_mut(first.min(count));
        for queue in from.iter_mut().chain(before) {
            if burst.is_full() {
                return;
            }
            queue.receive(burst);
        }
    }

    #[inline]
    fn tx(&mut self, device: DeviceId, burst: &mut TxBurst<Mbuf>) {
        if let Some(Queues {
            tx: Some(queue), ..
        }) = self.devices.get_mut(usize::from(device.0))
        {
            queue.send(burst);
        }
    }

    #[inline]
    fn can_tx(&self, device: DeviceId) -> bool {
        self.devices
            .get(usize::from(device.0))
            .is_some_and(|queues| queues.tx.is_some())
    }

    #[inline]
    fn alloc(&mut self) -> Option<Mbuf> {
        self.pool.alloc()
    }

    #[inline]
    fn alloc_burst(&mut self, burst: &mut TxBurst<Mbuf>, count: usize) -> usize {
        self.pool.alloc_bulk(burst, count)
    }

    fn wall_ns(&self) -> u64 {
        // Of the vDSO: no system call.
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0))
    }

    #[inline]
    fn free(&mut self, frames: &mut TxBurst<Mbuf>) {
        mbuf::free_bulk(frames);
    }
}
