//! An appliance without networks, on DPDK's null devices and the loopback: for what its API and its
//! process show. Takes no rights and no namespace, and several run side by side.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::http::{self, Response};
use crate::sluice::binary;
use crate::wait;

const CONFIG: &str = include_str!("alone.toml");

/// A running appliance with a state directory. Dropping it kills it.
#[derive(Debug)]
pub struct Alone {
    child: Child,
    directory: PathBuf,
    /// Of the command line, besides the usual ones.
    arguments: &'static [&'static str],
    /// Where DPDK keeps its files when it may use /run; a killed process leaves them.
    runtime: PathBuf,
    api: SocketAddr,
    starts: u32,
}

impl Alone {
    /// Starts it for the first time. `settings` is what `[api]` says besides; files go to `directory`.
    ///
    /// # Panics
    /// If it does not come up.
    #[track_caller]
    pub fn start(directory: &Path, settings: &str) -> Self {
        Self::start_with(directory, settings, &[])
    }

    /// The same with more arguments.
    ///
    /// # Panics
    /// If it does not come up.
    #[track_caller]
    pub fn start_with(
        directory: &Path,
        settings: &str,
        arguments: &'static [&'static str],
    ) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("sluice-alone-{}-{number}", std::process::id());
        let config = CONFIG
            .replace("@PREFIX@", &prefix)
            .replace("@API@", settings);
        std::fs::write(directory.join("sluice.toml"), config).expect("cannot write");
        let (child, api) = launch(directory, arguments, 0);
        Self {
            child,
            directory: directory.to_owned(),
            arguments,
            runtime: Path::new("/var/run/dpdk").join(&prefix),
            api,
            starts: 1,
        }
    }

    /// Where its API listens.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its state directory.
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// What all its processes have printed so far.
    pub fn log(&self) -> String {
        let logs = (0..self.starts).map(|start| log(&self.directory, start));
        logs.filter_map(|log| std::fs::read_to_string(log).ok())
            .collect()
    }

    /// Ends it as a failing machine would, and does not start it again.
    ///
    /// # Panics
    /// If it does not run any more.
    #[track_caller]
    pub fn kill(&mut self) {
        let ended = self.child.try_wait().expect("its state");
        assert_eq!(ended, None, "it ended by itself:\n{}", self.log());
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("it is gone");
    }

    /// Starts it again, with the same files; it listens somewhere else then.
    ///
    /// # Panics
    /// If it still runs, or does not come up.
    #[track_caller]
    pub fn start_again(&mut self) {
        let ended = self.child.try_wait().expect("its state");
        assert!(ended.is_some(), "it still runs");
        (self.child, self.api) = launch(&self.directory, self.arguments, self.starts);
        self.starts += 1;
    }

    /// Ends it by SIGTERM.
    ///
    /// # Panics
    /// If that is not clean, or a packet buffer is missing.
    #[track_caller]
    pub fn stop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a pid"));
        kill(pid, Signal::SIGTERM).expect("it runs");
        let status = wait::until(wait::PATIENCE, || {
            self.child.try_wait().ok().flatten().ok_or(())
        });
        let clean = status.is_ok_and(|status| status.success());
        let log = self.log();
        assert!(clean && log.contains("packet buffers missing: 0"), "{log}");
    }

    /// Asks the API. `headers` are whole lines with their ends.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Result<Response, String> {
        http::send(self.api, method, path, headers, body.as_bytes())
    }

    /// Asks the API for JSON.
    ///
    /// # Panics
    /// If it does not answer with 200 and JSON.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, "Accept: application/json\r\n", "");
        let answer = answer.unwrap_or_else(|why| panic!("GET {path}: {why}\n{}", self.log()));
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap_or_else(|why| panic!("GET {path}: {why}"))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.runtime);
        if std::thread::panicking() {
            eprintln!("--- log of sluice\n{}", self.log());
        }
    }
}

fn log(directory: &Path, start: u32) -> PathBuf {
    directory.join(format!("sluice-{start}.log"))
}

/// Starts the process, and waits until it says where its API listens.
#[track_caller]
fn launch(directory: &Path, arguments: &[&str], start: u32) -> (Child, SocketAddr) {
    let path = log(directory, start);
    let file = File::create(&path).expect("cannot make a log file");
    let mut child = Command::new(binary())
        .arg("run")
        .arg("--state-dir")
        .arg(directory.join("state"))
        .arg(directory.join("sluice.toml"))
        .args(["--log", "debug"])
        .args(arguments)
        // Where DPDK keeps its files, if it may not use /run.
        .env("XDG_RUNTIME_DIR", directory)
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("cannot share a log file"))
        .stderr(file)
        .spawn()
        .unwrap_or_else(|why| panic!("{}: {why}; cargo build makes it", binary().display()));
    let address = wait::until(2 * wait::PATIENCE, || {
        let said = std::fs::read_to_string(&path).unwrap_or_default();
        let place = said.split_once("ready; API on ").map(|(_, rest)| rest);
        let place = place.and_then(|place| place.split_once("://")?.1.split_once('/'));
        match place.and_then(|(address, _)| address.parse().ok()) {
            Some(address) => Ok(Ok(address)),
            None if child.try_wait().ok().flatten().is_some() => Ok(Err(said)),
            None => Err(said),
        }
    });
    match address {
        Ok(Ok(address)) => (child, address),
        Ok(Err(said)) | Err(said) => {
            let _ = child.kill();
            let _ = child.wait();
            panic!("sluice does not come up:\n{said}")
        }
    }
}
