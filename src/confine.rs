//! What the process may not do, though it runs as root: capabilities and system calls.
//!
//! Three steps, each for the threads that the calling one starts from then on, or for all:
//! [`process`] before anything else, [`started`] when DPDK and its devices are there, [`worker`] on
//! each worker when it is built. docs/security.md has the whole list, and what each is for.
//!
//! A system call that is not allowed fails with EPERM, and the process goes on.

mod calls;
mod rights;

use tracing::warn;

/// Gives up, for the whole process and for all that it starts, the capabilities that nothing here
/// ever needs. To be called while there is one thread.
pub(crate) fn process() {
    if let Err(error) = rights::keep(rights::PROCESS) {
        warn!(%error, "capabilities that are not needed cannot be given up");
    }
}

/// What the process that runs scripts keeps of its capabilities. It is another one, and starts before
/// [`process`].
pub(crate) fn scripts() {
    if let Err(error) = rights::keep(rights::SCRIPTS) {
        eprintln!("capabilities that scripts do not need cannot be given up: {error}");
    }
}

/// No new privileges, and none of the system calls that only an intruder would make, for all threads
/// there are and will be; fewer capabilities for the calling thread and those that it starts. To be
/// called before workers are started.
pub(crate) fn started() {
    if let Err(error) = calls::deny() {
        warn!(%error, "system calls are not restricted");
    }
    if let Err(error) = rights::keep(rights::CONTROL) {
        warn!(%error, "capabilities that are not needed any more cannot be given up");
    }
}

/// No capability for the calling thread, and no system call but those of moving packets.
pub(crate) fn worker() {
    if let Err(error) = rights::keep(&[]) {
        warn!(%error, "a worker cannot give its capabilities up");
    }
    if let Err(error) = calls::allow_worker() {
        warn!(%error, "a worker's system calls are not restricted");
    }
}
