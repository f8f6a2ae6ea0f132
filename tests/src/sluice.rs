//! The appliance under test.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::http::{self, Response};
use crate::netns::Namespace;
use crate::process::Process;
use crate::stats::{Report, Stats};
use crate::wait;

/// Where the API listens, inside the appliance's namespace.
pub const API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The binary: `SLUICE_BIN`, or the one that was built with these tests.
pub fn binary() -> PathBuf {
    std::env::var_os("SLUICE_BIN").map_or_else(
        || crate::machine::build_directory().join("sluice"),
        PathBuf::from,
    )
}

/// A running appliance. When it is dropped, and the test has not failed before, it must account for
/// every frame that it received, end on SIGTERM with exit code 0, and miss no packet buffer.
#[derive(Debug)]
pub struct Sluice {
    process: Process,
    config: PathBuf,
    stopped: bool,
}

impl Sluice {
    /// Starts it with this configuration and waits until its API answers.
    ///
    /// # Panics
    /// If it does not come up; with its log.
    #[track_caller]
    pub fn start(namespace: &Arc<Namespace>, directory: &Path, config: &str) -> Self {
        let path = directory.join("sluice.toml");
        std::fs::write(&path, config).expect("cannot write the configuration");
        let process = Self::launch(namespace, directory, &path);
        let mut sluice = Self {
            process,
            config: path,
            stopped: false,
        };
        let ready = wait::until(2 * wait::PATIENCE, || {
            if let Some(status) = sluice.process.exited() {
                return Ok(Err(format!("ended at the start: {status}")));
            }
            match sluice.get("/api/v1/status") {
                Ok(answer) if answer.status == 200 => Ok(Ok(())),
                Ok(answer) => Err(format!("status {}", answer.status)),
                Err(why) => Err(why),
            }
        });
        if let Ok(Err(why)) | Err(why) = ready {
            panic!(
                "sluice does not come up: {why}\n{config}\n{}",
                sluice.process.log()
            );
        }
        sluice
    }

    /// Starts the binary and does not wait: for starts that must fail.
    ///
    /// # Panics
    /// If there is no binary.
    #[track_caller]
    pub fn launch(namespace: &Arc<Namespace>, directory: &Path, config: &Path) -> Process {
        let binary = binary();
        assert!(
            binary.is_file(),
            "no binary at {}: `cargo build` makes it (`make test` does all)",
            binary.display()
        );
        let (binary, config) = (binary.display().to_string(), config.display().to_string());
        Process::start(namespace, directory, "sluice", &[&binary, "run", &config])
    }

    /// Asks the API.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn get(&self, path: &str) -> Result<Response, String> {
        self.process.namespace().inside(|| http::get(API, path))
    }

    /// Asks the API for JSON.
    ///
    /// # Panics
    /// If it does not answer with 200 and JSON.
    #[track_caller]
    pub fn json(&self, path: &str) -> serde_json::Value {
        let answer = self
            .get(path)
            .unwrap_or_else(|why| panic!("GET {path}: {why}"));
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        serde_json::from_slice(&answer.body)
            .unwrap_or_else(|why| panic!("GET {path}: {why}: {}", answer.text()))
    }

    /// Sends something to the API.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn put(&self, path: &str, body: &[u8]) -> Result<Response, String> {
        self.ask("PUT", path, body)
    }

    /// Sends something to the API by any method.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> Result<Response, String> {
        self.process
            .namespace()
            .inside(|| http::request(API, method, path, body))
    }

    /// Its counters.
    ///
    /// # Panics
    /// If the API does not give them.
    #[track_caller]
    pub fn stats(&self) -> Stats {
        let stats = self.json("/api/v1/stats");
        serde_json::from_value(stats.clone()).unwrap_or_else(|why| panic!("{why}: {stats:#}"))
    }

    /// Waits until at least so many frames are counted as dropped for a reason. Workers publish
    /// what they count after the frame is gone: whoever has seen that no answer came may be ahead.
    ///
    /// # Panics
    /// If they never are.
    #[track_caller]
    pub fn expect_dropped(&self, reason: &str, at_least: u64) {
        wait::expect(&format!("{at_least} drops as {reason}"), || {
            self.stats().dropped(reason) >= at_least
        });
    }

    /// Its counters, and when they were read.
    ///
    /// # Panics
    /// As [`stats`](Self::stats).
    #[track_caller]
    pub fn report(&self) -> Report {
        Report {
            at: std::time::Instant::now(),
            stats: self.stats(),
        }
    }

    /// Its configuration, as the test gave it last.
    ///
    /// # Panics
    /// If the file cannot be read.
    pub fn config(&self) -> String {
        std::fs::read_to_string(&self.config).expect("cannot read the configuration back")
    }

    /// Replaces a piece of its configuration file and sends SIGHUP.
    ///
    /// # Panics
    /// If the piece is not there exactly once.
    #[track_caller]
    pub fn reload(&mut self, piece: &str, by: &str) {
        let config = self.config();
        assert_eq!(config.matches(piece).count(), 1, "{piece:?} in\n{config}");
        std::fs::write(&self.config, config.replace(piece, by)).expect("cannot write");
        self.process.signal(Signal::SIGHUP);
    }

    /// The epoch of the configuration that is in force.
    ///
    /// # Panics
    /// If the API does not tell.
    #[track_caller]
    pub fn epoch(&self) -> u64 {
        let status = self.json("/api/v1/status");
        status["epoch"]
            .as_u64()
            .unwrap_or_else(|| panic!("no epoch in {status:#}"))
    }

    /// [`reload`](Self::reload), and waits until the new configuration is in force.
    ///
    /// # Panics
    /// If it never is.
    #[track_caller]
    pub fn reload_and_wait(&mut self, piece: &str, by: &str) {
        let before = self.epoch();
        self.reload(piece, by);
        wait::expect("the new configuration to be in force", || {
            self.epoch() > before
        });
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits until nothing is held any more, and checks that every received frame has ended
    /// somewhere.
    ///
    /// # Panics
    /// If one has not, or has twice.
    #[track_caller]
    pub fn assert_accounted(&self) -> Stats {
        let mut last = self.stats();
        let outcome = wait::until(wait::PATIENCE, || {
            std::thread::sleep(Duration::from_millis(100));
            let before = std::mem::replace(&mut last, self.stats());
            last.balanced()?;
            // Two appliances never stop talking to each other, nor do health checks.
            let talks =
                |config: &str| config.contains("[ha]") || config.contains("[[health_check]]");
            if last == before || talks(&self.config()) {
                Ok(())
            } else {
                Err("frames still arrive".to_owned())
            }
        });
        if let Err(why) = outcome {
            panic!("{why}: {:#?}", last.workers);
        }
        last
    }

    /// Kills it, as a failing machine would: nothing is asked of it.
    ///
    /// # Panics
    /// If it does not run any more.
    #[track_caller]
    pub fn kill(mut self) {
        self.stopped = true;
        self.process.signal(Signal::SIGKILL);
        let ended = self.process.wait(wait::PATIENCE);
        assert!(ended.is_some(), "SIGKILL ends everything");
    }

    /// Ends it and checks what it leaves, see [`Sluice`].
    ///
    /// # Panics
    /// If a frame or a packet buffer is missing or the end is not clean.
    #[track_caller]
    pub fn finish(&mut self) -> Stats {
        self.stopped = true;
        let stats = self.assert_accounted();
        self.process.signal(Signal::SIGTERM);
        let status = self.process.wait(wait::PATIENCE);
        let log = self.process.log();
        assert!(
            status.is_some_and(|status| status.success()),
            "SIGTERM must end it with exit code 0, and did {status:?}\n{log}"
        );
        // The driver of AF_XDP keeps what lies in the kernel's fill ring when it closes.
        let fill_ring = self.config().contains("net_af_xdp");
        assert!(
            fill_ring || log.contains("packet buffers missing: 0"),
            "packet buffers are missing\n{log}"
        );
        stats
    }
}

impl Drop for Sluice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let stats = self.get("/api/v1/stats").map(|answer| answer.text());
            eprintln!("--- stats\n{stats:?}\n--- configuration\n{}", self.config());
            eprintln!("--- log of sluice\n{}", self.log());
        } else if !self.stopped {
            self.finish();
        }
    }
}
