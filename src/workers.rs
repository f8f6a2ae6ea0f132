//! Worker threads: built where they run, and polled until told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use sluice_dataplane::io::OutOfMemory;
use sluice_dataplane::worker::{Parts, Worker};
use sluice_dpdk::thread::{self, ThreadError};
use sluice_dpdk::{Clock, Eal, HugeMemory, Mbuf, WorkerIo};

use crate::confine;

/// Empty polls before a worker that may rest gives its core to others between polls.
const YIELD_AFTER: u32 = 64;
/// Empty polls before it sleeps between polls.
const SLEEP_AFTER: u32 = 512;
/// How long it sleeps: short against the time that a packet takes through a kernel.
const NAP: Duration = Duration::from_micros(50);

/// What a worker does when there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idle {
    /// Polls on: lowest latency, a core at full load.
    Spin,
    /// Pauses, then yields, then sleeps between polls.
    BackOff,
}

/// A worker that is to be started.
pub(crate) struct Plan {
    pub(crate) core: usize,
    pub(crate) idle: Idle,
    pub(crate) io: WorkerIo,
    pub(crate) parts: Parts<Mbuf>,
}

/// The running workers.
#[derive(Default)]
pub(crate) struct Crew {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::Worker<Result<(), OutOfMemory>>>,
}

/// Why workers do not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CrewError {
    #[error(transparent)]
    Thread(#[from] ThreadError),
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
}

impl Crew {
    /// Starts all workers. Each takes its memory on its own core, near which it then is.
    /// `harden` restricts each to what it needs from then on.
    pub(crate) fn start(
        eal: Eal,
        clock: Clock,
        harden: bool,
        plans: Vec<Plan>,
    ) -> Result<Self, CrewError> {
        let mut crew = Self {
            stop: Arc::default(),
            threads: Vec::new(),
        };
        let (ready, is_ready) = channel();
        let count = plans.len();
        for (number, plan) in plans.into_iter().enumerate() {
            let (stop, ready, core) = (Arc::clone(&crew.stop), ready.clone(), plan.core);
            let body = move || work(eal, clock, harden, plan, &stop, ready);
            match thread::spawn(eal, core, &format!("sluice-w{number}"), body) {
                Ok(thread) => crew.threads.push(thread),
                Err(error) => {
                    let _ = crew.stop();
                    return Err(error.into());
                }
            }
        }
        drop(ready);
        // A worker that could not be built ends without the word, and says why when it is joined.
        if is_ready.iter().take(count).count() < count {
            crew.stop()?;
        }
        Ok(crew)
    }

    /// Stops all workers and waits for them.
    pub(crate) fn stop(&mut self) -> Result<(), CrewError> {
        self.stop.store(true, Ordering::Relaxed);
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            let ended = thread.join().map_err(CrewError::from);
            result = result.and(ended.and_then(|ended| ended.map_err(CrewError::from)));
        }
        result
    }
}

/// A worker's life.
fn work(
    eal: Eal,
    clock: Clock,
    harden: bool,
    plan: Plan,
    stop: &AtomicBool,
    ready: Sender<()>,
) -> Result<(), OutOfMemory> {
    let mut memory = HugeMemory::near_core(eal, plan.core);
    let mut worker = Worker::new(plan.io, &mut memory, plan.parts, clock.now_ms())?;
    if harden {
        confine::worker();
    }
    let _ = ready.send(());
    drop(ready);
    let mut empty = 0;
    let mut started = clock.ticks();
    while !stop.load(Ordering::Relaxed) {
        let busy = worker.poll(clock.ms_at(started));
        // The end of one round is the start of the next: one look at the clock for both.
        let ended = clock.ticks();
        if busy {
            worker.took(clock.ns(ended.wrapping_sub(started)));
            empty = 0;
        } else if plan.idle == Idle::BackOff {
            empty += 1;
            rest(&mut worker, empty);
            started = clock.ticks();
            continue;
        }
        started = ended;
    }
    drop(worker.stop());
    Ok(())
}

fn rest(worker: &mut Worker<WorkerIo>, empty: u32) {
    if empty < YIELD_AFTER {
        std::hint::spin_loop();
    } else if empty < SLEEP_AFTER {
        std::thread::yield_now();
    } else {
        worker.slept();
        std::thread::sleep(NAP);
    }
}
