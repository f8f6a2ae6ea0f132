//! DPDK's `rte_hash`, which the session table is measured against. The appliance does not use it.

use std::ffi::{CString, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use dpdk_sys::{rte_hash, rte_hash_parameters};
use zerocopy::{Immutable, IntoBytes};

use crate::{Eal, log};

/// A hash table of keys of type `K`, each of which gets a position; for one thread.
#[derive(Debug)]
pub struct RteHash<K> {
    raw: NonNull<rte_hash>,
    _keys: PhantomData<K>,
}

/// The table cannot be had, or has no room for a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Not created.
    #[error("no rte_hash for {entries} keys: {reason}")]
    Create {
        /// Keys asked for.
        entries: u32,
        /// DPDK's word.
        reason: String,
    },
    /// The key has no place left.
    #[error("rte_hash has no room for another key")]
    Full,
}

impl<K: IntoBytes + Immutable> RteHash<K> {
    /// Keys that one [`lookup_bulk`](Self::lookup_bulk) takes at most.
    pub const BULK: usize = dpdk_sys::RTE_HASH_LOOKUP_BULK_MAX as usize;

    /// A table for `entries` keys at most, with DPDK's own choice of hash function (CRC32 on x86)
    /// and without the locks that several threads would need.
    ///
    /// # Errors
    /// If DPDK has no memory for it.
    pub fn create(_: Eal, entries: u32) -> Result<Self, HashError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = CString::new(format!("sluice_hash_{number}")).unwrap_or_default();
        let parameters = rte_hash_parameters {
            name: name.as_ptr(),
            entries,
            key_len: size_of::<K>() as u32,
            // What DPDK makes of SOCKET_ID_ANY here is any node, too.
            socket_id: dpdk_sys::SOCKET_ID_ANY,
            ..rte_hash_parameters::default()
        };
        log::forget_errors();
        // SAFETY: the environment is initialised; the parameters and the terminated name outlive the
        // call, which copies both.
        let raw = unsafe { dpdk_sys::rte_hash_create(&parameters) };
        match NonNull::new(raw) {
            Some(raw) => Ok(Self {
                raw,
                _keys: PhantomData,
            }),
            None => Err(HashError::Create {
                entries,
                // SAFETY: reads a variable of this thread.
                reason: log::explain(unsafe { dpdk_sys::sluice_errno() }),
            }),
        }
    }

    /// Puts a key in, and gives its position; the one that it has, if it is there.
    ///
    /// # Errors
    /// [`HashError::Full`].
    pub fn insert(&mut self, key: &K) -> Result<i32, HashError> {
        // SAFETY: the table lives as long as `self`, and was made for keys of this size, which are
        // copied; nobody else is in the table, as `self` is borrowed mutably and not `Sync`.
        let position = unsafe {
            dpdk_sys::rte_hash_add_key(self.raw.as_ptr(), std::ptr::from_ref(key).cast())
        };
        if position >= 0 {
            Ok(position)
        } else {
            Err(HashError::Full)
        }
    }

    /// Looks up to [`BULK`](Self::BULK) keys up at once; `positions` gets theirs, and something
    /// negative for those that are not there. Goes as far as the shorter of the slices.
    #[inline]
    pub fn lookup_bulk(&self, keys: &[&K], positions: &mut [i32]) {
        let count = keys.len().min(positions.len()).min(Self::BULK);
        if count == 0 {
            return;
        }
        // SAFETY: the table lives as long as `self` and was made for keys of this size; a `&K` is
        // a pointer to one, and both arrays have `count` elements, at most what DPDK allows.
        unsafe {
            dpdk_sys::rte_hash_lookup_bulk(
                self.raw.as_ptr(),
                keys.as_ptr().cast::<*const c_void>().cast_mut(),
                count as u32,
                positions.as_mut_ptr(),
            );
        }
    }
}

impl<K> Drop for RteHash<K> {
    fn drop(&mut self) {
        // SAFETY: `create` made it, and nobody uses it after this.
        unsafe { dpdk_sys::rte_hash_free(self.raw.as_ptr()) }
    }
}
