//! Huge pages for the data plane's tables.

use std::ffi::CString;

use sluice_dataplane::io::{Memory, OutOfMemory};
use zerocopy::FromZeros;

use crate::Eal;

/// A cache line, and what DPDK aligns to at least.
const CACHE_LINE: usize = 64;

/// Takes tables from DPDK's huge pages, near a worker's core. What is taken stays for the life of
/// the process.
#[derive(Debug)]
pub struct HugeMemory {
    node: i32,
    bytes: u64,
    remote_bytes: u64,
}

impl HugeMemory {
    /// Memory of this NUMA node, or of any (`None`).
    pub fn new(_: Eal, numa_node: Option<u32>) -> Self {
        Self {
            node: numa_node
                .and_then(|node| i32::try_from(node).ok())
                .unwrap_or(dpdk_sys::SOCKET_ID_ANY),
            bytes: 0,
            remote_bytes: 0,
        }
    }

    /// Memory near `core`.
    pub fn near_core(eal: Eal, core: usize) -> Self {
        Self::new(eal, crate::cores::numa_node(core))
    }

    /// Bytes taken.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of these that had to come from another NUMA node, which costs speed: to be warned of.
    pub fn remote_bytes(&self) -> u64 {
        self.remote_bytes
    }

    /// `bytes` zeroed bytes, or null. Contiguous in virtual addresses only, so that it may be larger
    /// than any physically contiguous stretch.
    fn take(&mut self, what: &'static str, bytes: usize, align: usize) -> *mut u8 {
        let name = CString::new(what).unwrap_or_default();
        let align = u32::try_from(align.max(CACHE_LINE)).unwrap_or(u32::MAX);
        // SAFETY: `name` is terminated and outlives the call; size and alignment are any numbers,
        // the latter a power of two as alignments of types are. The environment is initialised, as
        // `new` asked for an `Eal`.
        let take = |node| unsafe {
            dpdk_sys::rte_zmalloc_socket(name.as_ptr(), bytes, align, node).cast::<u8>()
        };
        let near = take(self.node);
        if !near.is_null() {
            self.bytes += bytes as u64;
            return near;
        }
        if self.node == dpdk_sys::SOCKET_ID_ANY {
            return near;
        }
        let far = take(dpdk_sys::SOCKET_ID_ANY);
        if !far.is_null() {
            self.bytes += bytes as u64;
            self.remote_bytes += bytes as u64;
        }
        far
    }
}

impl Memory for HugeMemory {
    fn zeroed<T>(&mut self, what: &'static str, len: usize) -> Result<&'static mut [T], OutOfMemory>
    where
        T: FromZeros + Send + 'static,
    {
        let bytes = len.saturating_mul(size_of::<T>());
        if bytes == 0 {
            let mut none = Vec::new();
            none.resize_with(len, T::new_zeroed);
            return Ok(Vec::leak(none));
        }
        let out_of_memory = OutOfMemory { what, bytes };
        if bytes > isize::MAX as usize {
            return Err(out_of_memory);
        }
        let start = self.take(what, bytes, align_of::<T>()).cast::<T>();
        if start.is_null() {
            return Err(out_of_memory);
        }
        // SAFETY: `start` points to `bytes` = `len` * size_of::<T>() bytes, at most isize::MAX,
        // aligned for `T` and zeroed, which `FromZeros` says is a value of `T`. Nobody else has the
        // pointer, and the memory is never freed (`take` is the only one to know of it, and the
        // environment is never cleaned up), so that the reference is unique and `'static`.
        Ok(unsafe { std::slice::from_raw_parts_mut(start, len) })
    }
}
