//! Time from the time stamp counter, read once a burst.

use crate::Eal;

/// A clock that is read without a system call.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: u64,
    hz: u64,
    /// Milliseconds per tick, in 2^-64.
    ms_per_tick: u64,
    /// Nanoseconds per tick, in 2^-32.
    ns_per_tick: u64,
}

impl Clock {
    /// A clock that shows 0 now. Copies of it agree, on all cores.
    pub fn start(_: Eal) -> Self {
        // SAFETY: takes nothing; the environment, which an `Eal` proves to be initialised, has
        // measured the frequency.
        let hz = unsafe { dpdk_sys::rte_get_tsc_hz() }.max(1001);
        Self {
            start: ticks(),
            hz,
            // Above 1000 Hz this is less than 2^64.
            ms_per_tick: ((1000_u128 << 64) / u128::from(hz)) as u64,
            // 1e9 * 2^32 is less than 2^62.
            ns_per_tick: (1_000_000_000 << 32) / hz,
        }
    }

    /// Milliseconds since the start; wraps after 49 days, as the data plane's `now` does.
    #[inline]
    pub fn now_ms(&self) -> u32 {
        self.ms_at(ticks())
    }

    /// Milliseconds from the start to this reading of the counter; wraps after 49 days.
    #[inline]
    pub fn ms_at(&self, ticks: u64) -> u32 {
        let elapsed = ticks.wrapping_sub(self.start);
        ((u128::from(elapsed) * u128::from(self.ms_per_tick)) >> 64) as u32
    }

    /// Nanoseconds between two readings of the counter, `ticks` apart.
    #[inline]
    pub fn ns(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.ns_per_tick)) >> 32) as u64
    }

    /// The counter itself, for measuring.
    #[inline]
    pub fn ticks(&self) -> u64 {
        ticks()
    }

    /// Ticks of the counter per second.
    pub fn hz(&self) -> u64 {
        self.hz
    }
}

#[inline]
fn ticks() -> u64 {
    // SAFETY: reads a register that every processor DPDK runs on has, and touches no memory.
    unsafe { dpdk_sys::sluice_tsc() }
}
