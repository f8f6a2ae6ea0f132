//! `sluice-pktgen`, which measures once for each line that it is sent.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdout, Command};

use serde::Deserialize;

use super::process::Process;
use super::{CORES, Rig};
use crate::groups::Failed;
use crate::profile::Profile;

/// A generator, idle between measurements.
#[derive(Debug)]
pub(crate) struct Generator {
    process: Process,
    answers: BufReader<ChildStdout>,
}

/// What came of one window.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    /// Packets sent.
    pub(crate) sent: u64,
    pub(crate) received_pps: f64,
    /// TCP connections completed per second.
    pub(crate) cps: f64,
    /// TCP connections given up or reset.
    pub(crate) failed: u64,
    /// Of stamped packets, in microseconds.
    pub(crate) latency: Option<Latency>,
}

/// A distribution's tail, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

/// What is read of the generator's report.
#[derive(Debug, Deserialize)]
struct Answer {
    best: Option<Window>,
    #[serde(default)]
    streams: Vec<Stream>,
}

#[derive(Debug, Deserialize)]
struct Window {
    #[serde(default)]
    sent: u64,
    #[serde(default)]
    received_pps: f64,
    #[serde(default)]
    cps: f64,
    #[serde(default)]
    failed: u64,
}

#[derive(Debug, Deserialize)]
struct Stream {
    forward: Option<Check>,
}

#[derive(Debug, Deserialize)]
struct Check {
    latency_us: Option<Latency>,
}

impl Generator {
    /// Starts it; it opens every session if the profile says so, and then waits.
    pub(super) fn start(rig: &Rig, name: &str, profile: &Profile) -> Result<Self, Failed> {
        let path = rig.path().join(format!("{name}-pktgen.toml"));
        let devices = rig.devices(name, "client");
        std::fs::write(&path, profile.text([&devices[0], &devices[1]]))?;
        let mut command = Command::new(rig.binaries.join("sluice-pktgen"));
        command.arg("run").arg(&path).args(["--step", "--quiet"]);
        command.args(["--core", &CORES[1].to_string()]);
        command.args(["--file-prefix", &format!("{name}-pktgen")]);
        if !profile.warm_up && profile.connections.is_none() {
            command.arg("--no-warm-up");
        }
        let name = format!("{name}-pktgen");
        let mut process = Process::start(rig.path(), &name, &mut command, true)?;
        let Some(stdout) = process.child.stdout.take() else {
            return Err(Failed("the generator has no output".into()));
        };
        let mut generator = Self {
            process,
            answers: BufReader::new(stdout),
        };
        // It says that it is ready.
        generator.line()?;
        Ok(generator)
    }

    fn line(&mut self) -> Result<String, Failed> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(self.process.failed("ended"));
        }
        Ok(line)
    }

    pub(super) fn measure(&mut self) -> Result<Measured, Failed> {
        let Some(stdin) = &mut self.process.child.stdin else {
            return Err(Failed("the generator has no input".into()));
        };
        stdin.write_all(b"\n")?;
        let answer: Answer = serde_json::from_str(&self.line()?)?;
        let Some(best) = answer.best else {
            return Err(Failed("the generator measured nothing".into()));
        };
        let forward = answer.streams.into_iter().find_map(|stream| stream.forward);
        Ok(Measured {
            sent: best.sent,
            received_pps: best.received_pps,
            cps: best.cps,
            failed: best.failed,
            latency: forward.and_then(|check| check.latency_us),
        })
    }
}
