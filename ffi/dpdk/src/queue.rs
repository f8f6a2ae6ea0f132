//! A device's queues, each polled by one thread, by type.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::mbuf::{self, Mbuf};
use crate::port::Running;

/// A receive queue. Made once, by [`Device::start`](crate::Device::start); may be moved to another
/// thread, and is polled by the one that has it.
///
/// ```compile_fail
/// fn twice(queue: sluice_dpdk::RxQueue) -> (sluice_dpdk::RxQueue, sluice_dpdk::RxQueue) {
///     (queue.clone(), queue)
/// }
/// ```
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<sluice_dpdk::RxQueue>();
/// ```
#[derive(Debug)]
pub struct RxQueue(Queue);

/// A transmit queue, as [`RxQueue`] is for receiving.
///
/// ```compile_fail
/// fn twice(queue: sluice_dpdk::TxQueue) -> (sluice_dpdk::TxQueue, sluice_dpdk::TxQueue) {
///     (queue.clone(), queue)
/// }
/// ```
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<sluice_dpdk::TxQueue>();
/// ```
#[derive(Debug)]
pub struct TxQueue(Queue);

#[derive(Debug)]
struct Queue {
    port: u16,
    index: u16,
    /// Keeps the port from being stopped.
    _running: Arc<Running>,
    _not_sync: PhantomData<Cell<()>>,
}

impl RxQueue {
    /// # Safety
    /// There must be no other `RxQueue` with this index on this port, which was started with so many.
    pub(crate) unsafe fn new(running: &Arc<Running>, index: u16) -> Self {
        Self(Queue::new(running, index))
    }

    /// Its number on its port.
    pub fn index(&self) -> u16 {
        self.0.index
    }

    /// Appends what has arrived, at most as much as there is room for. Returns how much that was.
    #[inline]
    pub fn receive<const N: usize>(&mut self, burst: &mut ArrayVec<Mbuf, N>) -> usize {
        let Queue { port, index, .. } = self.0;
        // SAFETY: DPDK writes at most `room` pointers to mbufs that it gives up, and says how many.
        unsafe {
            mbuf::extend_with(burst, |free, room| {
                dpdk_sys::sluice_rx_burst(port, index, free, room)
            })
        }
    }
}

impl TxQueue {
    /// # Safety
    /// There must be no other `TxQueue` with this index on this port, which was started with so many.
    pub(crate) unsafe fn new(running: &Arc<Running>, index: u16) -> Self {
        Self(Queue::new(running, index))
    }

    /// Its number on its port.
    pub fn index(&self) -> u16 {
        self.0.index
    }

    /// Hands frames to the device, oldest first. What it takes leaves the burst, the rest stays.
    /// Returns how many it took.
    #[inline]
    pub fn send<const N: usize>(&mut self, burst: &mut ArrayVec<Mbuf, N>) -> usize {
        let Queue { port, index, .. } = self.0;
        // SAFETY: DPDK owns the first mbufs, as many as it says, and leaves the others alone.
        unsafe {
            mbuf::drain_with(burst, |first, count| {
                dpdk_sys::sluice_tx_burst(port, index, first, count)
            })
        }
    }
}

impl Queue {
    fn new(running: &Arc<Running>, index: u16) -> Self {
        Self {
            port: running.id(),
            index,
            _running: Arc::clone(running),
            _not_sync: PhantomData,
        }
    }
}
