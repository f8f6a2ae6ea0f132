//! One environment for all tests of a process, without huge pages, and devices to play with.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use sluice_dataplane::io::Frame;
use sluice_dpdk::{
    Device, Eal, EalConfig, Mbuf, Pages, Pool, PoolConfig, PortConfig, RxQueue, Started, TxQueue,
};

static EAL: LazyLock<Eal> = LazyLock::new(|| {
    Eal::init(&EalConfig {
        pages: Pages::Ordinary,
        memory_mib: Some(512),
        telemetry: true,
        ..EalConfig::default()
    })
    .unwrap()
});

pub fn eal() -> Eal {
    *EAL
}

/// Devices are made and unmade by one test at a time, as by control in the appliance.
pub fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poison| poison.into_inner())
}

pub fn pool(mtu: u16) -> Pool {
    Pool::create(eal(), &PoolConfig::for_mtu(4096, mtu)).unwrap()
}

pub fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub fn start(device: &str, config: &PortConfig, pool: &Pool) -> Started {
    Device::probe(eal(), &device.parse().unwrap())
        .unwrap()
        .start(config, pool)
        .unwrap()
}

/// A device whose transmitted frames come back to it.
pub fn loopback(pool: &Pool) -> Started {
    start(
        &format!("net_ring{}", number()),
        &PortConfig::default(),
        pool,
    )
}

pub fn frame(pool: &Pool, bytes: &[u8]) -> Mbuf {
    let mut frame = pool.alloc().unwrap();
    assert!(frame.set_len(bytes.len()));
    frame.bytes_mut().copy_from_slice(bytes);
    frame
}

/// `len` bytes that differ from place to place and from `seed` to `seed`.
pub fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed))
        .collect()
}

pub fn send_all(queue: &mut TxQueue, frames: impl IntoIterator<Item = Mbuf>) {
    let mut burst: ArrayVec<Mbuf, 128> = frames.into_iter().collect();
    let until = Instant::now() + Duration::from_secs(5);
    while !burst.is_empty() {
        queue.send(&mut burst);
        assert!(Instant::now() < until, "the device takes nothing");
    }
}

/// Waits for `count` frames.
pub fn receive(queue: &mut RxQueue, count: usize) -> Vec<Mbuf> {
    let mut all = Vec::new();
    let mut burst: ArrayVec<Mbuf, 64> = ArrayVec::new();
    let until = Instant::now() + Duration::from_secs(5);
    while all.len() < count {
        queue.receive(&mut burst);
        all.extend(burst.drain(..));
        assert!(Instant::now() < until, "{} of {count} frames", all.len());
    }
    all
}
