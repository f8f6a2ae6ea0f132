//! What a run needs of the machine: rights, its turn, memory.

use std::fs::File;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use nix::fcntl::{Flock, FlockArg};

/// Held while a lab stands: one at a time, in this process and among those that were built in the
/// same place, because each has two polling workers and a machine may have only two cores.
#[derive(Debug)]
pub struct Turn {
    _file: Flock<File>,
    _here: MutexGuard<'static, ()>,
}

/// Waits for its turn, after making sure that the process may do what it will try.
///
/// # Panics
/// Without root's rights, or if the lock file cannot be made.
pub fn take_turn() -> Turn {
    static HERE: Mutex<()> = Mutex::new(());
    static SWEEP: Once = Once::new();
    assert!(
        nix::unistd::geteuid().is_root(),
        "network namespaces need root: use `make test`, or run this as root"
    );
    let here = HERE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = build_directory().join("sluice-tests.lock");
    let file =
        File::create(&path).unwrap_or_else(|why| panic!("cannot make {}: {why}", path.display()));
    let file = Flock::lock(file, FlockArg::LockExclusive)
        .unwrap_or_else(|(_, why)| panic!("cannot lock {}: {why}", path.display()));
    SWEEP.call_once(crate::netns::sweep);
    Turn {
        _file: file,
        _here: here,
    }
}

/// Where cargo put the binaries of this build.
///
/// # Panics
/// If the running program is in no directory.
pub fn build_directory() -> std::path::PathBuf {
    let mut path = std::env::current_exe().expect("no path to the running program");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path
}

/// MiB of huge pages (of 2 MiB) that nobody uses.
pub fn free_huge_mb() -> u64 {
    std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .map_or(0, |pages| pages * 2)
}
