//! Programs that run beside a test, and end with it.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netns::Namespace;
use crate::wait;

/// A running program in a namespace. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    namespace: Arc<Namespace>,
}

impl Process {
    /// Starts `command` (program and arguments). What it prints goes to `NAME.log` in `directory`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[track_caller]
    pub fn start(
        namespace: &Arc<Namespace>,
        directory: &Path,
        name: &str,
        command: &[&str],
    ) -> Self {
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log).expect("cannot make a log file");
        let child = namespace
            .command(command[0])
            .args(&command[1..])
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("cannot share a log file"))
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|why| panic!("cannot start {command:?}: {why}"));
        Self {
            name: name.to_owned(),
            child,
            log,
            namespace: Arc::clone(namespace),
        }
    }

    /// The name given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace it runs in.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it no longer runs.
    #[track_caller]
    pub fn signal(&mut self, signal: Signal) {
        if let Some(status) = self.exited() {
            panic!(
                "{} ended before {signal}: {status}\n{}",
                self.name,
                self.log()
            );
        }
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, signal).unwrap_or_else(|why| panic!("{signal} to {}: {why}", self.name));
    }

    /// Its exit status, once it has one.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for it to end; `None` if it does not within `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        wait::until(patience, || self.exited().ok_or(())).ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
