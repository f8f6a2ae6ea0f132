//! Frames, devices and memory without a NIC: for tests, the simulator and benchmarks.

use std::cell::Cell;
use std::collections::VecDeque;

use super::{DeviceId, Frame, Io, Memory, OutOfMemory, RxBurst, RxMeta, TxBurst};

/// Headroom of a fresh frame, as DPDK's default.
const HEADROOM: usize = 128;

/// A frame in a vector.
#[derive(Clone, Debug)]
pub struct VecFrame {
    buffer: Vec<u8>,
    start: usize,
    meta: RxMeta,
    looks: Cell<u32>,
}

impl VecFrame {
    /// A frame with these bytes, as a device would deliver it, in a buffer of `room` bytes at least
    /// (headroom comes on top).
    pub fn new(bytes: &[u8], room: usize) -> Self {
        let mut buffer = vec![0; HEADROOM];
        buffer.reserve_exact(room.max(bytes.len()));
        buffer.extend_from_slice(bytes);
        Self {
            buffer,
            start: HEADROOM,
            meta: RxMeta::default(),
            looks: Cell::new(0),
        }
    }

    /// How often somebody asked for its bytes: a measure of the work on it, the same wherever it runs.
    pub fn looks(&self) -> u32 {
        self.looks.get()
    }

    fn look(&self) {
        self.looks.set(self.looks.get().wrapping_add(1));
    }

    /// The same frame with another word of the device.
    #[must_use]
    pub fn with_meta(mut self, meta: RxMeta) -> Self {
        self.meta = meta;
        self
    }
}

impl Frame for VecFrame {
    fn bytes(&self) -> &[u8] {
        self.look();
        &self.buffer[self.start..]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.look();
        &mut self.buffer[self.start..]
    }

    fn meta(&self) -> RxMeta {
        self.meta
    }

    fn grow_front(&mut self, n: usize) -> bool {
        match self.start.checked_sub(n) {
            Some(start) => {
                self.start = start;
                true
            }
            None => false,
        }
    }

    fn cut_front(&mut self, n: usize) {
        self.start = (self.start + n).min(self.buffer.len());
    }

    fn set_len(&mut self, len: usize) -> bool {
        if self.start + len > self.buffer.capacity() {
            return false;
        }
        self.buffer.resize(self.start + len, 0);
        true
    }

    fn open(&mut self, at: usize, len: usize) {
        self.cut_front(at);
        self.set_len(len);
        self.meta = RxMeta::default();
    }
}

/// Devices as queues in memory. Counts live frames, so that a test can tell when one went missing.
#[derive(Debug, Default)]
pub struct MemoryIo {
    /// What waits to be received, per device.
    pub rx: Vec<VecDeque<VecFrame>>,
    /// What was sent, per device.
    pub tx: Vec<VecDeque<VecFrame>>,
    /// Most frames that `tx` of a device holds before it refuses more.
    pub tx_room: usize,
    /// Frames that `alloc` still gives.
    pub pool: usize,
    /// What `wall_ns` says.
    pub wall_ns: u64,
    clock_reads: Cell<u64>,
}

impl MemoryIo {
    /// `devices` empty devices with room for plenty.
    pub fn new(devices: usize) -> Self {
        Self {
            rx: (0..devices).map(|_| VecDeque::new()).collect(),
            tx: (0..devices).map(|_| VecDeque::new()).collect(),
            tx_room: usize::MAX,
            pool: usize::MAX,
            wall_ns: 0,
            clock_reads: Cell::new(0),
        }
    }

    /// How often `wall_ns` was asked.
    pub fn clock_reads(&self) -> u64 {
        self.clock_reads.get()
    }
}

impl Io for MemoryIo {
    type Frame = VecFrame;

    fn rx(&mut self, device: DeviceId, burst: &mut RxBurst<VecFrame>) {
        if let Some(queue) = self.rx.get_mut(usize::from(device.0)) {
            let n = queue.len().min(burst.remaining_capacity());
            burst.extend(queue.drain(..n));
        }
    }

    fn tx(&mut self, device: DeviceId, burst: &mut TxBurst<VecFrame>) {
        if let Some(queue) = self.tx.get_mut(usize::from(device.0)) {
            let n = burst.len().min(self.tx_room.saturating_sub(queue.len()));
            queue.extend(burst.drain(..n));
        }
    }

    fn can_tx(&self, device: DeviceId) -> bool {
        usize::from(device.0) < self.tx.len()
    }

    fn wall_ns(&self) -> u64 {
        self.clock_reads.set(self.clock_reads.get() + 1);
        self.wall_ns
    }

    fn alloc(&mut self) -> Option<VecFrame> {
        self.pool = self.pool.checked_sub(1)?;
        Some(VecFrame::new(&[], 2048))
    }
}

/// Memory from the heap, never given back.
#[derive(Debug, Default)]
pub struct Heap;

impl Memory for Heap {
    fn zeroed<T>(
        &mut self,
        _what: &'static str,
        len: usize,
    ) -> Result<&'static mut [T], OutOfMemory>
    where
        T: zerocopy::FromZeros + Send + 'static,
    {
        // Types that want a cache line of their own say `align(64)`, and the heap honours it.
        let mut values = Vec::new();
        values.resize_with(len, T::new_zeroed);
        Ok(Vec::leak(values))
    }
}
