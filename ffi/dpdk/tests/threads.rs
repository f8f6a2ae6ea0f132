//! Worker threads, and what they share.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrayvec::ArrayVec;
use common::{eal, frame, loopback, one_at_a_time, pool, send_all};
use sluice_dataplane::io::Memory;
use sluice_dpdk::thread::{ThreadError, spawn};
use sluice_dpdk::{Clock, Cores, HugeMemory, Mbuf, Started};

#[test]
fn a_worker_runs_on_its_core_alone() {
    let core = core_affinity::get_core_ids().unwrap().last().unwrap().id;
    let worker = spawn(eal(), core, "worker-0", || {
        let name = std::thread::current().name().map(str::to_owned);
        let cores = core_affinity::get_core_ids().unwrap();
        (name, cores.iter().map(|core| core.id).collect::<Vec<_>>())
    })
    .unwrap();
    assert_eq!(worker.core(), core);
    assert_eq!(
        worker.join().unwrap(),
        (Some("worker-0".into()), vec![core])
    );
}

#[test]
fn a_core_that_is_not_there_is_an_error() {
    let error = spawn(eal(), 900, "worker-0", || ()).unwrap_err();
    assert!(matches!(error, ThreadError::Core(_)), "{error}");
    assert!(
        Cores::plan(&[900], None)
            .unwrap_err()
            .to_string()
            .contains("no core 900")
    );
}

#[test]
fn a_panic_ends_the_worker_and_frees_what_it_had() {
    let pool = pool(1500);
    let held = frame(&pool, b"x");
    let worker = spawn(eal(), 0, "worker-0", move || {
        let _held = held;
        if true {
            panic!("on purpose");
        }
    })
    .unwrap();
    let error = worker.join().unwrap_err().to_string();
    assert_eq!(error, "the worker on core 0 panicked: on purpose");
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn workers_can_come_and_go_many_times() {
    for round in 0..300 {
        let worker = spawn(eal(), 0, "worker-0", move || round).unwrap();
        assert_eq!(worker.join().unwrap(), round);
    }
}

#[test]
fn frames_cross_threads_and_none_is_lost() {
    let _one = one_at_a_time();
    let pool = pool(1500);
    let Started {
        port,
        mut rx,
        mut tx,
    } = loopback(&pool);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let mut queue = rx.pop().unwrap();
    let receiver = spawn(eal(), 0, "receiver", move || {
        let mut burst: ArrayVec<Mbuf, 64> = ArrayVec::new();
        let mut count = 0;
        loop {
            // Looked at first, so that what came before is received.
            let last = stopped.load(Ordering::Acquire);
            count += queue.receive(&mut burst);
            let empty = burst.is_empty();
            burst.clear();
            if last && empty {
                return count;
            }
        }
    })
    .unwrap();
    let sender = spawn(eal(), 0, "sender", move || {
        let mut sent = 0;
        while sent < 200_000 {
            let burst: ArrayVec<Mbuf, 32> = std::iter::from_fn(|| pool.alloc()).take(32).collect();
            sent += burst.len();
            send_all(&mut tx[0], burst);
        }
        sent
    })
    .unwrap();
    let sent = sender.join().unwrap();
    stop.store(true, Ordering::Release);
    assert_eq!(receiver.join().unwrap(), sent);
    assert_eq!(pool.in_use(), 0);
    assert_eq!(port.stats().rx_packets, sent as u64);
}

#[test]
fn the_clock_shows_milliseconds() {
    let clock = Clock::start(eal());
    let (start, watch) = (clock.now_ms(), std::time::Instant::now());
    std::thread::sleep(std::time::Duration::from_millis(50));
    let (shown, true_ms) = (clock.now_ms() - start, watch.elapsed().as_millis() as u32);
    assert!(
        shown.abs_diff(true_ms) <= 2 + true_ms / 100,
        "{shown} for {true_ms}"
    );
}

#[test]
fn tables_are_zeroed_and_aligned_and_absurd_ones_refused() {
    let mut memory = HugeMemory::near_core(eal(), 0);
    let table: &mut [u64] = memory.zeroed("a table", 1 << 20).unwrap();
    assert!(table.iter().all(|&value| value == 0));
    assert_eq!(table.as_ptr() as usize % 64, 0);
    table.fill(u64::MAX);
    let next: &mut [u64] = memory.zeroed("the next", 1 << 10).unwrap();
    assert!(next.iter().all(|&value| value == 0));
    assert_eq!(memory.bytes(), (8 << 20) + (8 << 10));
    assert!(memory.zeroed::<u64>("none", 0).unwrap().is_empty());

    for len in [1 << 40, usize::MAX] {
        let error = memory.zeroed::<u64>("the session table", len).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("no memory for the session table: ")
        );
    }
}
