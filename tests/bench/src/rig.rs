//! The rig on memif: a device under test on the first core, a generator on the second.
//!
//! Both devices under test, Sluice and testpmd, run for the whole measurement, each with a generator
//! of its own. The one whose turn it is not is stopped (SIGSTOP), all of its threads, so that the
//! other has the core to itself; the generators sleep between their turns. So sessions are opened
//! once, and windows of both can follow each other within a second.

mod dut;
mod generator;
mod process;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

pub(crate) use dut::Dut;
pub(crate) use generator::{Generator, Measured};

use crate::groups::Failed;
use crate::profile::Profile;
use crate::rounds::Rounds;

/// The device under test's core, and the generator's.
pub(crate) const CORES: [usize; 2] = [0, 1];
/// How long a device under test may take to start.
const START: Duration = Duration::from_secs(30);

/// Windows in which testpmd must begin to forward.
const TRIES: usize = 40;

/// Where sockets and logs of one measurement are. They go away with it.
pub(crate) struct Rig {
    directory: TempDir,
    binaries: PathBuf,
}

/// A device under test and its generator. The generator goes last: DPDK's memif may crash the one
/// that is left by its peer.
pub(crate) struct Side {
    dut: Dut,
    generator: Generator,
}

impl Rig {
    /// Binaries are those beside this one.
    pub(crate) fn new() -> Result<Self, Failed> {
        let mut binaries = match std::env::var_os("SLUICE_BENCH_BINARIES") {
            Some(given) => PathBuf::from(given).join("x"),
            None => std::env::current_exe()?,
        };
        binaries.pop();
        Ok(Self {
            directory: tempfile::tempdir()?,
            binaries,
        })
    }

    /// The two devices, as this side of the memif links names them.
    pub(crate) fn devices(&self, whose: &str, role: &str) -> [String; 2] {
        [0, 1].map(|n| {
            let socket = self.directory.path().join(format!("{whose}{n}.sock"));
            format!(
                "net_memif{n},role={role},socket={},socket-abstract=no,rsize=11",
                socket.display()
            )
        })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Sluice with this configuration, opening every session, and then stopped.
    pub(crate) fn sluice(
        &self,
        config: impl FnOnce([&str; 2]) -> String,
        profile: &Profile,
    ) -> Result<Side, Failed> {
        let devices = self.devices("sluice", "server");
        let config = config([&devices[0], &devices[1]]);
        let dut = Dut::sluice(self, &config)?;
        self.side(dut, "sluice", profile)
    }

    /// testpmd, forwarding by exchanging MAC addresses, and then stopped.
    pub(crate) fn testpmd(&self, profile: &Profile) -> Result<Side, Failed> {
        let dut = Dut::testpmd(self, &self.devices("testpmd", "server"))?;
        let profile = Profile {
            resolve: false,
            warm_up: false,
            ..profile.clone()
        };
        let mut side = self.side(dut, "testpmd", &profile)?;
        // It begins some time after its links are up, and does not tell.
        for _ in 0..TRIES {
            let measured = side.measure()?;
            if measured.received_pps > 0.0 || measured.cps > 0.0 {
                return Ok(side);
            }
        }
        Err(Failed("testpmd does not forward".into()))
    }

    fn side(&self, dut: Dut, name: &str, profile: &Profile) -> Result<Side, Failed> {
        let generator = Generator::start(self, name, profile)?;
        dut.pause()?;
        Ok(Side { dut, generator })
    }
}

impl Side {
    /// One window. The device under test runs for its length only.
    pub(crate) fn measure(&mut self) -> Result<Measured, Failed> {
        Ok(self.measure_during(|| ())?.0)
    }

    /// One window, at the beginning of which `act` begins. The device under test runs until both are over.
    pub(crate) fn measure_during<T: Send>(
        &mut self,
        act: impl FnOnce() -> T + Send,
    ) -> Result<(Measured, T), Failed> {
        self.dut.resume()?;
        let (measured, done) = std::thread::scope(|scope| {
            let act = scope.spawn(act);
            let measured = self.generator.measure();
            let done = act.join();
            (measured, done)
        });
        self.dut.pause()?;
        let done = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((measured?, done))
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.dut.stop();
    }
}

/// Packets per second through each, by turns.
pub(crate) fn alternate(
    rounds: usize,
    sluice: &mut Side,
    testpmd: &mut Side,
) -> Result<Rounds, Failed> {
    let mut measured = Rounds::default();
    for _ in 0..rounds {
        measured.push(
            sluice.measure()?.received_pps,
            testpmd.measure()?.received_pps,
        );
    }
    Ok(measured)
}
