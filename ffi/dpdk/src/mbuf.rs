//! One packet buffer, owned.

use std::ptr::NonNull;

use arrayvec::ArrayVec;
use dpdk_sys::rte_mbuf;
use sluice_dataplane::io::{Checksum, Frame, RxMeta};

/// An mbuf that nobody else has. Dropping it gives it, with what is chained to it, to its pool.
///
/// Its bytes are those of its first segment; [`RxMeta::segmented`] tells when there are more.
#[repr(transparent)]
pub struct Mbuf(NonNull<rte_mbuf>);

// SAFETY: an mbuf belongs to no thread: whoever has the pointer may use it, and pools are made for
// many producers and consumers, so that it may be freed anywhere.
unsafe impl Send for Mbuf {}
// SAFETY: through `&Mbuf` the mbuf is only read.
unsafe impl Sync for Mbuf {}

/// A field of the mbuf, by the offset that the shim exports, as a pointer.
macro_rules! field {
    ($mbuf:expr, $offset:ident, $kind:ty) => {
        $mbuf
            .0
            .as_ptr()
            .cast::<u8>()
            .wrapping_add(dpdk_sys::$offset as usize)
            .cast::<$kind>()
    };
}

/// The field's value.
macro_rules! get {
    ($mbuf:expr, $offset:ident, $kind:ty) => {{
        // SAFETY: an `Mbuf` points to a whole, initialised rte_mbuf that only its owner writes to,
        // and C's offsetof and type name an aligned field of it.
        unsafe { field!($mbuf, $offset, $kind).read() }
    }};
}

/// Writes the field.
macro_rules! set {
    ($mbuf:expr, $offset:ident, $kind:ty, $value:expr) => {{
        // SAFETY: as for `get!`, and `$mbuf` is `&mut`, so that nobody reads it meanwhile.
        unsafe { field!($mbuf, $offset, $kind).write($value) }
    }};
}

impl Mbuf {
    /// Takes ownership.
    ///
    /// # Safety
    /// `raw` must be a live mbuf with one reference, from a pool of this process, and nobody else
    /// may use it from here on.
    pub(crate) unsafe fn from_raw(raw: NonNull<rte_mbuf>) -> Self {
        Self(raw)
    }

    /// The hash that the device placed the frame by, if it tells: to be compared with the one that
    /// software computes.
    #[inline]
    pub fn rss_hash(&self) -> Option<u32> {
        let flags = get!(self, SLUICE_MBUF_OL_FLAGS, u64);
        (flags & dpdk_sys::SLUICE_RX_RSS_HASH != 0).then(|| get!(self, SLUICE_MBUF_RSS_HASH, u32))
    }

    /// Length of the whole frame, with all segments.
    #[inline]
    pub fn total_len(&self) -> u32 {
        get!(self, SLUICE_MBUF_PKT_LEN, u32)
    }

    /// Whether DPDK finds the mbuf in order: for tests.
    pub fn is_sane(&self) -> bool {
        let mut reason = std::ptr::null();
        // SAFETY: the pointer is to a live mbuf, and `reason` takes a pointer to a static string.
        unsafe { dpdk_sys::rte_mbuf_check(self.0.as_ptr(), 1, &mut reason) == 0 }
    }

    #[inline]
    fn data_off(&self) -> u16 {
        get!(self, SLUICE_MBUF_DATA_OFF, u16)
    }

    #[inline]
    fn data_len(&self) -> u16 {
        get!(self, SLUICE_MBUF_DATA_LEN, u16)
    }

    /// The first byte of the frame.
    #[inline]
    fn data(&self) -> *mut u8 {
        get!(self, SLUICE_MBUF_BUF_ADDR, *mut u8).wrapping_add(usize::from(self.data_off()))
    }

    /// Sets the first segment's length, and with it the frame's.
    #[inline]
    fn set_data_len(&mut self, len: u16) {
        let total = self
            .total_len()
            .wrapping_sub(u32::from(self.data_len()))
            .wrapping_add(u32::from(len));
        set!(self, SLUICE_MBUF_DATA_LEN, u16, len);
        set!(self, SLUICE_MBUF_PKT_LEN, u32, total);
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this was the mbuf's owner, and is gone after this.
        unsafe { dpdk_sys::sluice_mbuf_free(self.0.as_ptr()) }
    }
}

impl std::fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mbuf")
            .field("bytes", &self.bytes())
            .field("meta", &self.meta())
            .finish()
    }
}

impl Frame for Mbuf {
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: DPDK keeps data_off + data_len within the buffer, and so do the methods below.
        // The buffer's bytes are initialised (huge pages are given zeroed), and shared with nobody.
        unsafe { std::slice::from_raw_parts(self.data(), usize::from(self.data_len())) }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`; `&mut self` is the only way to the buffer: received and allocated
        // mbufs have one reference, and no clone is ever made.
        unsafe { std::slice::from_raw_parts_mut(self.data(), usize::from(self.data_len())) }
    }

    #[inline]
    fn meta(&self) -> RxMeta {
        let flags = get!(self, SLUICE_MBUF_OL_FLAGS, u64);
        RxMeta {
            vlan_tci: (flags & dpdk_sys::SLUICE_RX_VLAN_STRIPPED != 0)
                .then(|| get!(self, SLUICE_MBUF_VLAN_TCI, u16)),
            ip_checksum: match flags & dpdk_sys::SLUICE_RX_IP_CKSUM_MASK {
                dpdk_sys::SLUICE_RX_IP_CKSUM_GOOD => Checksum::Good,
                dpdk_sys::SLUICE_RX_IP_CKSUM_BAD => Checksum::Bad,
                // Both bits: the header is intact but the field is not filled in, so look.
                _ => Checksum::Unknown,
            },
            segmented: get!(self, SLUICE_MBUF_NB_SEGS, u16) > 1,
        }
    }

    #[inline]
    fn grow_front(&mut self, n: usize) -> bool {
        let Some(offset) = usize::from(self.data_off()).checked_sub(n) else {
            return false;
        };
        let Ok(len) = u16::try_from(usize::from(self.data_len()) + n) else {
            return false;
        };
        // `offset` is not above what was a u16.
        set!(self, SLUICE_MBUF_DATA_OFF, u16, offset as u16);
        self.set_data_len(len);
        true
    }

    #[inline]
    fn cut_front(&mut self, n: usize) {
        let cut = n.min(usize::from(self.data_len())) as u16;
        let offset = self.data_off() + cut;
        set!(self, SLUICE_MBUF_DATA_OFF, u16, offset);
        self.set_data_len(self.data_len() - cut);
    }

    #[inline]
    fn set_len(&mut self, len: usize) -> bool {
        let room = get!(self, SLUICE_MBUF_BUF_LEN, u16).saturating_sub(self.data_off());
        if len > usize::from(room) {
            return false;
        }
        self.set_data_len(len as u16);
        true
    }

    #[inline]
    fn open(&mut self, at: usize, len: usize) {
        const OUTER: u64 = dpdk_sys::SLUICE_RX_VLAN_STRIPPED
            | dpdk_sys::SLUICE_RX_IP_CKSUM_MASK
            | dpdk_sys::SLUICE_RX_RSS_HASH;
        self.cut_front(at);
        self.set_len(len);
        let flags = get!(self, SLUICE_MBUF_OL_FLAGS, u64);
        set!(self, SLUICE_MBUF_OL_FLAGS, u64, flags & !OUTER);
    }

    #[inline]
    fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a prefetch reads nothing that the program could see, and faults nowhere.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(self.data().cast_const().cast()) };
        }
    }
}

/// Gives many mbufs back at once, which is cheaper than one by one.
#[inline]
pub fn free_bulk<const N: usize>(frames: &mut ArrayVec<Mbuf, N>) {
    let count = frames.len();
    // SAFETY: 0 elements are always initialised; the vector forgets its elements before they are
    // given away, so that none is freed twice.
    unsafe { frames.set_len(0) };
    // SAFETY: the first `count` elements were owned mbufs, and `Mbuf` is a pointer to one. Length
    // fits, as no burst has 2^32 frames.
    unsafe {
        dpdk_sys::rte_pktmbuf_free_bulk(
            frames.as_mut_ptr().cast::<*mut rte_mbuf>(),
            count as std::ffi::c_uint,
        );
    }
}

/// Receives into the free part of a burst. `take` gets where to write pointers and how many there is
/// room for, and returns how many it wrote.
///
/// # Safety
/// `take` must write that many pointers to mbufs that it gives up, and no more than there is room
/// for.
#[inline]
pub(crate) unsafe fn extend_with<const N: usize>(
    frames: &mut ArrayVec<Mbuf, N>,
    take: impl FnOnce(*mut *mut rte_mbuf, u16) -> u16,
) -> usize {
    let len = frames.len();
    let room = frames.remaining_capacity().min(usize::from(u16::MAX));
    // SAFETY: `len` is at most the capacity.
    let free = unsafe { frames.as_mut_ptr().add(len) };
    let taken = usize::from(take(free.cast::<*mut rte_mbuf>(), room as u16));
    debug_assert!(taken <= room);
    // SAFETY: the caller promises that so many were written, in the representation of `Mbuf`, a
    // transparent non-null pointer, and that they are the vector's now.
    unsafe { frames.set_len(len + taken) };
    taken
}

/// Gives the first of a burst away. `give` gets pointers and their number and returns how many of
/// the first of them it took; the others stay in the burst, in order.
///
/// # Safety
/// `give` must own what it says to have taken, and leave the rest alone.
#[inline]
pub(crate) unsafe fn drain_with<const N: usize>(
    frames: &mut ArrayVec<Mbuf, N>,
    give: impl FnOnce(*mut *mut rte_mbuf, u16) -> u16,
) -> usize {
    let len = frames.len();
    let offered = len.min(usize::from(u16::MAX)) as u16;
    // The burst owns nothing while `give` decides, so that nothing could be freed twice.
    // SAFETY: 0 elements are always initialised.
    unsafe { frames.set_len(0) };
    let start = frames.as_mut_ptr();
    let given = usize::from(give(start.cast::<*mut rte_mbuf>(), offered)).min(len);
    // SAFETY: both ranges lie in the first `len` elements, which are initialised; `copy` allows them
    // to overlap. The first `given` belong to the taker now, as the caller promises, and the rest,
    // moved to the front, to the vector again.
    unsafe {
        std::ptr::copy(start.add(given), start, len - given);
        frames.set_len(len - given);
    }
    given
}
