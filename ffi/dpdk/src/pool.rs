//! Where packet buffers come from.

use std::ffi::{CString, c_uint};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use arrayvec::ArrayVec;
use dpdk_sys::rte_mempool;

use crate::mbuf::{self, Mbuf};
use crate::{Eal, log};

/// Buffers that a thread keeps for itself, so that it seldom meets others at the pool. DPDK's
/// testpmd takes about as many.
const CACHE: u32 = 256;
/// NICs take buffers in steps of so many bytes (ixgbe).
const STEP: u32 = 1024;
/// What NICs expect at least, so that they need not spread an ordinary frame.
const LEAST_ROOM: u32 = 2048;

/// How large a pool is to be.
#[derive(Debug, Clone, Copy)]
pub struct PoolConfig {
    /// Buffers: for each receive and transmit descriptor, plus what workers hold, plus 512 for each
    /// thread's own store.
    pub mbufs: u32,
    /// Largest frame in bytes, from the destination MAC address to the end of the payload: the
    /// largest MTU plus 22 (header, two tags). It fits into one buffer.
    pub largest_frame: u32,
    /// NUMA node, or `None` for any.
    pub numa_node: Option<u32>,
}

impl PoolConfig {
    /// Room for the frames of ports with this MTU at most, with an Ethernet header and two tags.
    pub fn for_mtu(mbufs: u32, mtu: u16) -> Self {
        Self {
            mbufs,
            largest_frame: u32::from(mtu) + 22,
            numa_node: None,
        }
    }
}

/// There is no such pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// A frame that no mbuf can hold.
    #[error("no packet buffer holds a frame of {0} bytes; at most 64,000")]
    FrameTooLarge(u32),
    /// No buffers at all, or more than can be counted.
    #[error("a pool of {0} packet buffers is no pool; give 1,024 to 100,000,000")]
    Size(u32),
    /// Not enough memory.
    #[error(
        "no memory for {mbufs} packet buffers of {room} bytes ({mib} MiB): {reason}; give Sluice \
         more huge pages or fewer buffers"
    )]
    Memory {
        /// Buffers asked for.
        mbufs: u32,
        /// Bytes of each.
        room: u32,
        /// About what they take.
        mib: u64,
        /// DPDK's word.
        reason: String,
    },
}

/// A pool of packet buffers. It lives for the life of the process; handles are copied freely.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    raw: NonNull<rte_mempool>,
    size: u32,
    room: u32,
}

// SAFETY: the pool lives for ever, was made for many producers and consumers, and is only used by
// functions that DPDK documents as safe to call from any thread.
unsafe impl Send for Pool {}
// SAFETY: as for `Send`.
unsafe impl Sync for Pool {}

impl Pool {
    /// Makes a pool.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn create(_: Eal, config: &PoolConfig) -> Result<Self, PoolError> {
        let PoolConfig {
            mbufs,
            largest_frame,
            numa_node,
        } = *config;
        if largest_frame > 64_000 {
            return Err(PoolError::FrameTooLarge(largest_frame));
        }
        if !(1_024..=100_000_000).contains(&mbufs) {
            return Err(PoolError::Size(mbufs));
        }
        let room = largest_frame.next_multiple_of(STEP).max(LEAST_ROOM);
        let whole = u16::try_from(room + dpdk_sys::RTE_PKTMBUF_HEADROOM)
            .map_err(|_| PoolError::FrameTooLarge(largest_frame))?;
        let node = numa_node
            .and_then(|node| i32::try_from(node).ok())
            .unwrap_or(dpdk_sys::SOCKET_ID_ANY);
        let name = unique_name();
        // A cache may be two thirds of the pool at most.
        let cache = CACHE.min(mbufs / 3);
        log::forget_errors();
        // SAFETY: the environment is initialised; `name` is terminated and copied; all numbers are
        // checked by DPDK.
        let raw = unsafe {
            dpdk_sys::rte_pktmbuf_pool_create(name.as_ptr(), mbufs, cache, 0, whole, node)
        };
        match NonNull::new(raw) {
            Some(raw) => Ok(Self {
                raw,
                size: mbufs,
                room,
            }),
            None => Err(PoolError::Memory {
                mbufs,
                room,
                // 128 for the mbuf itself, 64 for the mempool's header.
                mib: (u64::from(mbufs) * u64::from(u32::from(whole) + 192)) >> 20,
                // SAFETY: reads a variable of this thread.
                reason: log::explain(unsafe { dpdk_sys::sluice_errno() }),
            }),
        }
    }

    /// An empty frame with headroom; `None` when the pool is exhausted.
    #[inline]
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool lives for ever.
        let raw = unsafe { dpdk_sys::sluice_mbuf_alloc(self.raw.as_ptr()) };
        // SAFETY: what the pool gives nobody else has.
        NonNull::new(raw).map(|raw| unsafe { Mbuf::from_raw(raw) })
    }

    /// Appends `count` empty frames to a burst, or as many as it has room for. Returns how many that
    /// was: none if the pool has not so many. Cheaper than [`alloc`](Self::alloc) one by one.
    #[inline]
    pub fn alloc_bulk<const N: usize>(&self, burst: &mut ArrayVec<Mbuf, N>, count: usize) -> usize {
        // SAFETY: the pool lives for ever. It writes as many pointers as are asked for, which is no
        // more than there is room for, or none, says which, and nobody else has what it gives.
        unsafe {
            mbuf::extend_with(burst, |free, room| {
                let count = count.min(usize::from(room)) as u16;
                dpdk_sys::sluice_mbuf_alloc_bulk(self.raw.as_ptr(), free, count)
            })
        }
    }

    /// Buffers in the pool when all are there.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Largest frame that fits into one buffer.
    pub fn room(&self) -> u32 {
        self.room
    }

    /// Buffers that are in devices, in flight or held. Looks at every thread's store, so not for
    /// the data path; exact only while nothing moves.
    pub fn in_use(&self) -> u32 {
        // SAFETY: the pool lives for ever; counting only reads.
        unsafe { dpdk_sys::rte_mempool_in_use_count(self.raw.as_ptr()) }
    }

    /// Buffers that are free, as exact as [`in_use`](Self::in_use).
    pub fn available(&self) -> u32 {
        // SAFETY: as for `in_use`.
        unsafe { dpdk_sys::rte_mempool_avail_count(self.raw.as_ptr()) }
    }

    pub(crate) fn as_ptr(&self) -> *mut rte_mempool {
        self.raw.as_ptr()
    }
}

/// A name that no other pool of this process has.
fn unique_name() -> CString {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number: c_uint = NEXT.fetch_add(1, Ordering::Relaxed);
    CString::new(format!("sluice_pool_{number}")).unwrap_or_default()
}
