//! A program that runs beside the measurement and ends with it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::groups::Failed;

/// How long a program may take to end before it is killed.
const END: Duration = Duration::from_secs(5);
/// How often is looked whether something has happened.
const LOOK: Duration = Duration::from_millis(10);

/// A child, its output in a log.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    pub(super) child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it with its standard input kept open; what it prints on `stderr`, and unless
    /// `stdout_piped` on `stdout`, goes to a log.
    pub(super) fn start(
        directory: &Path,
        name: &str,
        command: &mut Command,
        stdout_piped: bool,
    ) -> Result<Self, Failed> {
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log)?;
        command.stdin(Stdio::piped()).stderr(file.try_clone()?);
        command.stdout(if stdout_piped {
            Stdio::piped()
        } else {
            file.into()
        });
        let child = command.spawn().map_err(|why| {
            Failed(format!(
                "{} does not start: {why}",
                command.get_program().display()
            ))
        })?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// Waits until its log has `word` in it.
    pub(super) fn wait_for(&mut self, word: &str, most: Duration) -> Result<(), Failed> {
        let until = Instant::now() + most;
        loop {
            let log = self.log();
            if log.contains(word) {
                return Ok(());
            }
            let ended = self.child.try_wait()?.is_some();
            if ended || Instant::now() > until {
                return Err(self.failed(if ended { "ended" } else { "is not ready" }));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The end of its log, under a heading.
    pub(super) fn failed(&self, what: &str) -> Failed {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(8)..].join("\n    ");
        Failed(format!("{} {what}:\n    {tail}", self.name))
    }

    fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), Failed> {
        kill(self.pid(), signal).map_err(|why| Failed(format!("{}: {why}", self.name)))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Ends it: by closing its input and a signal, and by force where that does not help.
    pub(super) fn stop(&mut self) {
        drop(self.child.stdin.take());
        let until = Instant::now() + END;
        // Whoever has ended gets no signal; that is all that can go wrong here.
        let _ = kill(self.pid(), Signal::SIGTERM);
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > until {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}
