//! The devices under test: Sluice, and testpmd for comparison.

use std::process::Command;

use nix::sys::signal::Signal;

use super::process::Process;
use super::{CORES, Rig, START};
use crate::groups::Failed;

/// A running device under test.
#[derive(Debug)]
pub(crate) struct Dut(Process);

impl Dut {
    pub(super) fn sluice(rig: &Rig, config: &str) -> Result<Self, Failed> {
        let path = rig.path().join("sluice.toml");
        std::fs::write(&path, config)?;
        let mut command = Command::new(rig.binaries.join("sluice"));
        command.arg("run").arg(&path);
        let mut process = Process::start(rig.path(), "sluice", &mut command, false)?;
        process.wait_for("ready;", START)?;
        Ok(Self(process))
    }

    /// The settings are testpmd's own but for the number of buffers, which is Sluice's, so that both
    /// use as much cache.
    pub(super) fn testpmd(rig: &Rig, devices: &[String; 2]) -> Result<Self, Failed> {
        let core = CORES[0];
        let mut command = Command::new("dpdk-testpmd");
        // Its main thread does not forward; both are on the core under test.
        command.args([
            "--lcores",
            &format!("0@{core},10@{core}"),
            "--main-lcore",
            "0",
        ]);
        command.args(["--in-memory", "--no-pci", "--no-telemetry", "-m", "256"]);
        for device in devices {
            command.args(["--vdev", device]);
        }
        command.args(["--", "--forward-mode=mac", "--total-num-mbufs=32768"]);
        let mut process = Process::start(rig.path(), "testpmd", &mut command, false)?;
        // What it says after this stays in its output's buffer.
        process.wait_for("Checking link statuses", START)?;
        Ok(Self(process))
    }

    /// Takes it off its core.
    pub(super) fn pause(&self) -> Result<(), Failed> {
        self.0.signal(Signal::SIGSTOP)
    }

    /// Lets it go on.
    pub(super) fn resume(&self) -> Result<(), Failed> {
        self.0.signal(Signal::SIGCONT)
    }

    pub(super) fn stop(&mut self) {
        // A stopped process takes no other signal.
        let _ = self.resume();
        self.0.stop();
    }
}
