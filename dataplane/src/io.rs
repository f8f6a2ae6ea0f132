//! What the data plane asks of packet buffers and devices.
//!
//! `ffi/dpdk` implements these over mbufs and NIC queues, [`memory`] over plain vectors for tests
//! and the simulator. An [`Io`] belongs to one worker: it holds that worker's own queues, so no two
//! threads can poll one queue, by type.

use arrayvec::ArrayVec;

use crate::snapshot::PortId;

pub mod memory;

/// Most frames that one receive call returns.
pub const RX_BURST: usize = 64;
/// Most frames staged for one device before they must be handed to it.
pub const TX_BURST: usize = 128;

/// Frames as they came from a device, oldest first.
pub type RxBurst<F> = ArrayVec<F, RX_BURST>;
/// Frames on their way to a device, oldest first.
pub type TxBurst<F> = ArrayVec<F, TX_BURST>;

/// Index of a device (a DPDK port) in the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct DeviceId(pub u16);

impl DeviceId {
    /// Set for what is no device, but the host's interface of a port.
    const HOST: u16 = 1 << 15;

    /// Stands for the host's interface of `port`: what is sent there, the kernel gets.
    pub const fn host(port: PortId) -> Self {
        Self(Self::HOST | port.0)
    }

    /// The port whose interface of the host it stands for.
    pub const fn host_port(self) -> Option<PortId> {
        match self.0 & Self::HOST {
            0 => None,
            _ => Some(PortId(self.0 & !Self::HOST)),
        }
    }
}

/// What the device found out about a received frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RxMeta {
    /// VLAN tag control information that the device took out of the frame, host order.
    pub vlan_tci: Option<u16>,
    /// IPv4 header checksum, as the device judged it.
    pub ip_checksum: Checksum,
    /// The frame lies in more than one buffer; `bytes` shows the first one only.
    pub segmented: bool,
}

/// A device's word on a checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checksum {
    /// Not checked: software has to.
    #[default]
    Unknown,
    /// Correct.
    Good,
    /// Wrong.
    Bad,
}

/// One packet buffer, owned. Dropping it gives it back to its pool.
pub trait Frame: Sized + Send {
    /// The frame from its destination MAC address on, without FCS.
    fn bytes(&self) -> &[u8];
    /// The same, writable.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// What the device said of it at reception; the default for frames made here.
    fn meta(&self) -> RxMeta;
    /// Grows the frame by `n` bytes at its front (contents undefined). False, and unchanged, if
    /// there is no headroom for them.
    fn grow_front(&mut self, n: usize) -> bool;
    /// Cuts `n` bytes off the front; cuts all if there are fewer.
    fn cut_front(&mut self, n: usize);
    /// Grows (with undefined contents) or cuts the frame at its end to `len` bytes. False, and
    /// unchanged, if the buffer ends before that.
    fn set_len(&mut self, len: usize) -> bool;
    /// Makes the frame the one of `len` bytes that lies in it from byte `at` on. What the device found
    /// out about it concerned the outer one, and is forgotten.
    fn open(&mut self, at: usize, len: usize) {
        self.cut_front(at);
        self.set_len(len);
    }
    /// Asks the processor for the frame's first cache line, so that [`bytes`](Self::bytes) need not
    /// wait for memory a little later.
    #[inline]
    fn prefetch(&self) {}
}

/// A worker's queues on all devices, and its packet buffer pool.
pub trait Io {
    /// The packet buffer.
    type Frame: Frame;

    /// Takes what has arrived on this worker's receive queues of `device`, appending to `burst` at
    /// most as many as it has room for. Devices on which this worker has no receive queue give
    /// nothing.
    fn rx(&mut self, device: DeviceId, burst: &mut RxBurst<Self::Frame>);

    /// Hands frames to this worker's transmit queue of `device`, oldest first. What the device took
    /// is removed from `burst`; the rest stays with the caller.
    fn tx(&mut self, device: DeviceId, burst: &mut TxBurst<Self::Frame>);

    /// True if this worker has a transmit queue of its own on `device`.
    fn can_tx(&self, device: DeviceId) -> bool;

    /// An empty frame from the pool, with headroom; `None` when the pool is exhausted.
    fn alloc(&mut self) -> Option<Self::Frame>;

    /// Appends `count` such frames to `burst`, or as many as it has room for; returns how many that
    /// was, which may be none while the pool has a few left.
    #[inline]
    fn alloc_burst(&mut self, burst: &mut TxBurst<Self::Frame>, count: usize) -> usize {
        let before = burst.len();
        let room = burst.remaining_capacity();
        burst.extend((0..count.min(room)).map_while(|_| self.alloc()));
        burst.len() - before
    }

    /// Nanoseconds since 1970; 0 where there is no clock. Read once a burst, and only while packets are
    /// captured.
    fn wall_ns(&self) -> u64 {
        0
    }

    /// Gives frames back to their pools at once, which is cheaper than dropping each.
    #[inline]
    fn free(&mut self, frames: &mut TxBurst<Self::Frame>) {
        frames.clear();
    }
}

/// Where tables take their memory: huge pages in production, the heap in tests.
///
/// What is given is zeroed and stays for the life of the process.
pub trait Memory {
    /// `len` zeroed values, aligned to a cache line at least.
    ///
    /// # Errors
    /// [`OutOfMemory`] names what was asked for when it is not there.
    #[expect(clippy::mut_from_ref, reason = "the memory does not come from `what`")]
    fn zeroed<T>(
        &mut self,
        what: &'static str,
        len: usize,
    ) -> Result<&'static mut [T], OutOfMemory>
    where
        T: zerocopy::FromZeros + Send + 'static;
}

/// There is not enough memory for a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no memory for {what}: {bytes} bytes asked for; give Sluice more huge pages or lower its limits"
)]
pub struct OutOfMemory {
    /// The table.
    pub what: &'static str,
    /// Bytes asked for.
    pub bytes: usize,
}
