//! Worker threads: each on its own core, known to DPDK.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use core_affinity::CoreId;

use crate::cores::{self, CoreError};
use crate::{Eal, eal, log};

/// A running worker.
#[derive(Debug)]
pub struct Worker<T> {
    handle: JoinHandle<Result<T, ThreadError>>,
    core: usize,
}

/// A worker did not start, or did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThreadError {
    /// It cannot run on its core.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// No thread.
    #[error("no thread for the worker on core {core}: {reason}")]
    Spawn {
        /// Its core.
        core: usize,
        /// The kernel's word.
        reason: String,
    },
    /// DPDK refused it.
    #[error("DPDK does not take the worker on core {core}: {reason}")]
    Register {
        /// Its core.
        core: usize,
        /// DPDK's word.
        reason: String,
    },
    /// It panicked. In release builds a panic ends the process instead.
    #[error("the worker on core {core} panicked: {message}")]
    Panicked {
        /// Its core.
        core: usize,
        /// What it said.
        message: String,
    },
}

/// Starts a thread on `core` and runs `body` on it, with buffer stores of its own in every pool.
/// Returns once it runs there. Of `name` the kernel shows 15 bytes.
///
/// # Errors
/// If it does not come to run.
pub fn spawn<T, F>(_: Eal, core: usize, name: &str, body: F) -> Result<Worker<T>, ThreadError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (ready, is_ready) = mpsc::sync_channel(1);
    let handle = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _registered = enter(core)?;
            // Whoever starts this thread waits for the word.
            let _ = ready.send(());
            Ok(body())
        })
        .map_err(|error| ThreadError::Spawn {
            core,
            reason: error.to_string(),
        })?;
    let worker = Worker { handle, core };
    match is_ready.recv() {
        Ok(()) => Ok(worker),
        // It ended without the word, so with an error.
        Err(mpsc::RecvError) => match worker.join() {
            Err(error) => Err(error),
            Ok(_) => Err(ThreadError::Spawn {
                core,
                reason: "it ended at once".to_owned(),
            }),
        },
    }
}

impl<T> Worker<T> {
    /// Waits for it to end, and gives what it returned.
    ///
    /// # Errors
    /// If it panicked.
    pub fn join(self) -> Result<T, ThreadError> {
        let core = self.core;
        self.handle.join().unwrap_or_else(|panic| {
            Err(ThreadError::Panicked {
                core,
                message: panic_message(&*panic),
            })
        })
    }

    /// Its core.
    pub fn core(&self) -> usize {
        self.core
    }

    /// It has ended; [`join`](Self::join) won't wait.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

/// Takes the calling thread out of DPDK's books when dropped, if it is there.
struct Registered {
    is_there: bool,
    /// Only the thread itself can.
    _not_send: PhantomData<*const ()>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        if !self.is_there {
            return;
        }
        // SAFETY: this thread has been registered, and does not use its stores after this: what
        // `body` had is gone by now.
        unsafe { dpdk_sys::rte_thread_unregister() }
    }
}

/// Makes the calling thread a worker's.
fn enter(core: usize) -> Result<Registered, ThreadError> {
    leave_signals_to_control();
    let refused = || CoreError::Refused {
        cores: core.to_string(),
        reason: "the kernel does not let this process use it".to_owned(),
    };
    if !core_affinity::set_for_current(CoreId { id: core }) || cores::allowed() != [core] {
        return Err(refused().into());
    }
    if eal::shares() {
        return take_number(core);
    }
    // SAFETY: the environment is initialised, and this thread is new, so not registered.
    if unsafe { dpdk_sys::rte_thread_register() } != 0 {
        // SAFETY: reads a variable of this thread.
        let code = unsafe { dpdk_sys::sluice_errno() };
        return Err(ThreadError::Register {
            core,
            reason: log::error_text(code),
        });
    }
    Ok(Registered {
        is_there: true,
        _not_send: PhantomData,
    })
}

/// What registering a thread does for a worker, for a process that others attach to: DPDK would have
/// none do so any more. Numbers are not given twice, as what is in a worker's store stays there.
fn take_number(core: usize) -> Result<Registered, ThreadError> {
    /// 0 is the main thread's.
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // SAFETY: writes a variable of this thread. The number is nobody else's: the environment has one
    // lcore, 0, and no thread is registered while others may attach.
    if unsafe { dpdk_sys::sluice_take_lcore(number) } != 0 {
        return Err(ThreadError::Register {
            core,
            reason: "there are no numbers left".to_owned(),
        });
    }
    Ok(Registered {
        is_there: false,
        _not_send: PhantomData,
    })
}

/// No signal interrupts a worker; control's threads take them.
fn leave_signals_to_control() {
    // SAFETY: a sigset_t is an array of integers, for which all zeros is a value; sigfillset and
    // pthread_sigmask read and write only it.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a word".to_owned())
}
