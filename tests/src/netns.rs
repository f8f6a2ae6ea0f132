//! Network namespaces that remove themselves.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const DIRECTORY: &str = "/run/netns";
/// All our namespaces are `sluice-PID-NUMBER-ROLE`; scripts/testbed knows this as well.
const PREFIX: &str = "sluice-";

/// A named network namespace; it goes with the last reference to it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one whose name no other process, living or dead, uses.
    ///
    /// # Panics
    /// If `ip netns add` fails.
    pub fn create(role: &str) -> Arc<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}-{role}", std::process::id());
        ip(&["netns", "add", &name]);
        let namespace = Arc::new(Self { name });
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace.sysctl("net/ipv6/conf/default/accept_dad", "0");
        namespace.sysctl("net/ipv6/conf/default/accept_ra", "0");
        namespace.sysctl("net/ipv6/conf/default/router_solicitations", "0");
        namespace
    }

    /// As `ip netns` lists it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` on it.
    ///
    /// # Panics
    /// If `ip` fails.
    #[track_caller]
    pub fn ip(&self, args: &[&str]) -> String {
        ip(&[&["-n", &self.name], args].concat())
    }

    /// Sets a network sysctl, given as a path below `/proc/sys`, if this kernel has it.
    ///
    /// # Panics
    /// If the kernel refuses the value.
    #[track_caller]
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{name}");
        self.inside(|| match std::fs::write(&path, value) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                panic!("cannot write {value} to {path}: {why}")
            }
            _ => (),
        });
    }

    /// A command that will run in it, and that dies with the thread that starts it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={DIRECTORY}/{}", self.name));
        command.args(["setpriv", "--pdeathsig", "KILL", "--", program]);
        command.env("LC_ALL", "C");
        command
    }

    /// Calls `f` on a thread that is in the namespace. Sockets that it opens stay there.
    ///
    /// # Panics
    /// If `f` does, or the namespace cannot be entered.
    pub fn inside<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                f()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread into it, for good: for threads that were started for this.
    ///
    /// # Panics
    /// If that fails.
    pub fn enter(&self) {
        let path = PathBuf::from(DIRECTORY).join(&self.name);
        let file = std::fs::File::open(&path)
            .unwrap_or_else(|why| panic!("cannot open {}: {why}", path.display()));
        setns(file, CloneFlags::CLONE_NEWNET)
            .unwrap_or_else(|why| panic!("cannot enter {}: {why}", self.name));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Runs `ip` and gives what it printed.
///
/// # Panics
/// If it fails.
#[track_caller]
pub fn ip(args: &[&str]) -> String {
    let output = Command::new("ip")
        .args(args)
        .output()
        .expect("cannot run ip (package iproute2)");
    assert!(
        output.status.success(),
        "ip {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Ends whatever still runs in a namespace of ours, and removes it. Never panics: it runs on drop.
fn remove(name: &str) {
    if let Ok(output) = Command::new("ip").args(["netns", "pids", name]).output() {
        let pids = String::from_utf8_lossy(&output.stdout);
        for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    for _ in 0..20 {
        match Command::new("ip").args(["netns", "del", name]).output() {
            Ok(output)
                if !output.status.success() && PathBuf::from(DIRECTORY).join(name).exists() =>
            {
                std::thread::sleep(Duration::from_millis(50));
            }
            _ => return,
        }
    }
    eprintln!("cannot remove namespace {name}");
}

/// Removes the namespaces of runs that were killed before they could.
pub fn sweep() {
    let Ok(entries) = std::fs::read_dir(DIRECTORY) else {
        return;
    };
    for name in entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
    {
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        let Some(pid) = owner.and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        if !PathBuf::from(format!("/proc/{pid}")).exists() {
            remove(&name);
        }
    }
}
