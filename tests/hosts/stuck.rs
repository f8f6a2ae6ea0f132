//! Nodes that stand still, wholly or in part, and go on later.

use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use sluice_tests::wait;

use crate::two_nodes::{Pair, Ways, await_held, await_ready, holds};

const PAUSE: Duration = Duration::from_millis(5);

#[test]
fn a_node_that_stood_still_lets_go_of_what_the_other_one_has_taken() {
    let pair = Pair::new("still", Ways::Together);
    let [mut first, second] = pair.both();
    await_held(&[(&first, 0)]);
    let (steady, load) = (pair.steady(100), pair.load(2, PAUSE));
    steady.expect_answers();
    load.run_for(50);
    first.process().signal(Signal::SIGSTOP);
    await_held(&[(&second, 0)]);
    steady.expect_answers();
    load.run_for(50);
    first.process().signal(Signal::SIGCONT);
    // By priority it takes the group again, but not before it was told what happened meanwhile.
    await_ready(&first);
    await_held(&[(&first, 0)]);
    steady.expect_answers();
    load.run_for(50);
    assert_eq!(steady.finish(), [""; 0]);
    assert_eq!(load.finish().failures, [""; 0]);
}

#[test]
fn a_node_with_a_stuck_worker_gives_groups_and_sessions_away() {
    let pair = Pair::new("stuck", Ways::Together);
    let [mut first, second] = pair.both();
    await_held(&[(&first, 0)]);
    let (steady, load) = (pair.steady(100), pair.load(2, PAUSE));
    steady.expect_answers();
    load.run_for(50);
    let worker = Stopped::new(first.process().pid(), "sluice-w1");
    await_held(&[(&second, 0)]);
    wait::expect("the first node to let go", || !holds(&first, 0));
    steady.expect_answers();
    load.run_for(50);
    drop(worker);
    await_held(&[(&first, 0)]);
    steady.expect_answers();
    load.run_for(50);
    assert_eq!(steady.finish(), [""; 0]);
    assert_eq!(load.finish().failures, [""; 0]);
}

/// A thread of another process that stands still until this is dropped.
struct Stopped(Pid);

impl Stopped {
    fn new(process: u32, name: &str) -> Self {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("a process");
        let thread = tasks.flatten().find(|task| {
            let comm = std::fs::read_to_string(task.path().join("comm"));
            comm.is_ok_and(|comm| comm.trim() == name)
        });
        let thread = thread.unwrap_or_else(|| panic!("no thread {name}"));
        let id = thread.file_name().to_string_lossy().parse();
        let id = Pid::from_raw(id.expect("a thread's number"));
        ptrace::seize(id, ptrace::Options::empty()).expect("PTRACE_SEIZE");
        ptrace::interrupt(id).expect("PTRACE_INTERRUPT");
        waitpid(id, Some(WaitPidFlag::__WALL)).expect("a thread that stops");
        Self(id)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = ptrace::detach(self.0, None);
    }
}
