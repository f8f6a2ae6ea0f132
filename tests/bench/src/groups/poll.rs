//! `poll.worst_gap_us`: the longest time between two polls of a worker that forwards flat out while
//! a million sessions expire and the configuration is replaced.
//!
//! Whoever else the machine's cores serve can make any gap longer. So the same is measured of a loop
//! that does nothing else than read the clock, for as long, right after: `poll.worst_gap_us.bare`.

use std::sync::Arc;

use sluice_dataplane::mailbox::ToWorker;
use sluice_dataplane::published::WorkerCounter;
use sluice_dpdk::{Clock, HugeMemory};

use super::{Effort, Failed, eal};
use crate::appliance::{self, drain};
use crate::figure::{Figure, Reach};
use crate::rounds::{Better, windows};
use crate::scenario;

/// Sessions that expire.
const EXPIRING: usize = 1_000_000;
/// Sessions that carry the load meanwhile.
const LOAD: usize = 64_512;
/// How long sessions live without packets, as configured below, milliseconds.
const TIMEOUT: u32 = 1500;
/// After their time is over it may take a second for the sweep to come by.
const SWEEP: u32 = 1500;

pub(super) fn run(effort: &Effort) -> Result<Vec<Figure>, Failed> {
    let eal = eal()?;
    let clock = Clock::start(eal);
    let mut memory = HugeMemory::new(eal, None);
    let extra = format!("\n[timeouts]\nudp_unreplied = \"{TIMEOUT}ms\"\n");
    let mut appliance = appliance::nat44(EXPIRING + LOAD, &mut memory, &extra)?;
    let us = |ticks: u64| ticks as f64 * 1e6 / clock.hz() as f64;
    let now = || clock.now_ms() + 20;
    let (mut gaps, mut bare) = (vec![], vec![]);
    for epoch in (2..).take(effort.rounds) {
        let expiring: Vec<_> = (LOAD..LOAD + EXPIRING).map(scenario::flow).collect();
        let load: Vec<_> = (0..LOAD).map(scenario::flow).collect();
        let mut snapshot = Some(Arc::new(appliance.snapshot(epoch)?));
        let worker = &mut appliance.workers[0];
        worker.io().rewind(0, Some(expiring));
        worker.io().offer(0, EXPIRING);
        drain(worker, now);
        worker.io().rewind(0, Some(load));
        let start = now();
        let (mut last, mut worst) = (clock.ticks(), 0);
        loop {
            let at = now();
            if at.wrapping_sub(start) > TIMEOUT + SWEEP / 4
                && let Some(snapshot) = snapshot.take()
            {
                let sent = appliance.control[0].send(ToWorker::Swap(snapshot));
                sent.map_err(|_| Failed("the worker's mailbox is full".into()))?;
            }
            if at.wrapping_sub(start) > TIMEOUT + SWEEP {
                break;
            }
            // As much as there can be in a poll, always.
            worker.io().offer(0, 64);
            worker.poll(at);
            let ticks = clock.ticks();
            worst = worst.max(ticks - last);
            last = ticks;
        }
        gaps.push(us(worst));
        bare.push(us(bare_loop(&clock, now)));
        worker.poll(now() + 2);
        let open = appliance.sum(WorkerCounter::SessionsV4);
        if open > LOAD as u64 {
            return Err(Failed(format!(
                "{open} sessions are open, {LOAD} should be"
            )));
        }
        if appliance.sum(WorkerCounter::Epoch) != u64::from(epoch) {
            return Err(Failed("the configuration was not replaced".into()));
        }
        while appliance.control[0].receive().is_some() {}
    }
    Ok(vec![
        windows("poll.worst_gap_us", Better::Less, &gaps).reach(Reach::AtMost(100.0)),
        windows("poll.worst_gap_us.bare", Better::Less, &bare),
    ])
}

/// The longest gap of a loop without work.
fn bare_loop(clock: &Clock, now: impl Fn() -> u32) -> u64 {
    let start = now();
    let (mut last, mut worst) = (clock.ticks(), 0);
    while now().wrapping_sub(start) < TIMEOUT + SWEEP {
        let ticks = clock.ticks();
        worst = worst.max(ticks - last);
        last = ticks;
    }
    worst
}
