//! Scripts: a program of the operator's ends with 0.
//!
//! No shell sees its arguments: the program is a file in a directory that the configuration file names and
//! the API cannot change, and gets its arguments as they are. It runs as a user of its own, in the network
//! namespace of the checks, with nothing of this process's environment, and is killed with all that it
//! started. It is another process that runs it, see [`runner`](super::runner).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::checker::unprepared;
use super::probe::Tools;
use super::runner::{AT_ONCE, Order, Report};
use super::{Failure, Reason};

/// Bytes of what it writes to its standard error that are passed on.
const MOST: u64 = 200;

/// What to run, for the process that runs it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Program {
    /// The network namespace to run it in; none: that of the process.
    pub(super) namespace: Option<PathBuf>,
    /// The name of its file.
    pub(super) script: String,
    /// Its arguments, as they are.
    pub(super) arguments: Vec<String>,
    /// The server's address.
    pub(super) address: IpAddr,
    /// Its port; 0 if it has none.
    pub(super) port: u16,
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Report>>>>;

/// The way to the process that runs scripts.
#[derive(Debug)]
pub(super) struct Scripts {
    namespace: Option<PathBuf>,
    pub(super) turns: Semaphore,
    last: AtomicU64,
    orders: mpsc::UnboundedSender<Order>,
    waiting: Waiting,
}

impl Scripts {
    /// Speaks over this socket from now on, by tasks of the runtime that it is called in.
    ///
    /// # Errors
    /// If the runtime does not take the socket.
    pub(super) fn new(socket: StdStream, namespace: Option<PathBuf>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (reports, mut out) = UnixStream::from_std(socket)?.into_split();
        let (orders, mut taken) = mpsc::unbounded_channel::<Order>();
        let waiting = Waiting::default();
        tokio::spawn(async move {
            while let Some(order) = taken.recv().await {
                let Ok(mut line) = serde_json::to_vec(&order) else {
                    continue;
                };
                line.push(b'\n');
                if out.write_all(&line).await.is_err() {
                    return;
                }
            }
        });
        let known = Arc::clone(&waiting);
        tokio::spawn(async move {
            let mut reports = BufReader::new(reports).lines();
            while let Ok(Some(line)) = reports.next_line().await {
                let Ok(report) = serde_json::from_str::<Report>(&line) else {
                    break;
                };
                if let Some(waits) = lock(&known).remove(&report.id) {
                    let _ = waits.send(report);
                }
            }
            tracing::error!("the process that runs scripts has ended; restart Sluice");
            lock(&known).clear();
        });
        Ok(Self {
            namespace,
            turns: Semaphore::new(AT_ONCE),
            last: AtomicU64::new(0),
            orders,
            waiting,
        })
    }
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Report>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run that is called off when nobody waits for it any more.
struct Run<'a> {
    id: u64,
    scripts: &'a Scripts,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if lock(&self.scripts.waiting).remove(&self.id).is_some() {
            let (id, run) = (self.id, None);
            let _ = self.scripts.orders.send(Order { id, run });
        }
    }
}

pub(super) async fn check(
    address: SocketAddr,
    name: &str,
    arguments: &[String],
    tools: &Tools,
) -> Result<(), Failure> {
    let Some(scripts) = &tools.scripts else {
        return Err(unprepared("scripts are off"));
    };
    let program = Program {
        namespace: scripts.namespace.clone(),
        script: name.to_owned(),
        arguments: arguments.to_vec(),
        address: address.ip(),
        port: address.port(),
    };
    let id = scripts.last.fetch_add(1, Ordering::Relaxed);
    let (done, report) = oneshot::channel();
    lock(&scripts.waiting).insert(id, done);
    let _run = Run { id, scripts };
    let gone = || unprepared("the process that runs scripts has ended");
    let run = Some(program);
    scripts.orders.send(Order { id, run }).map_err(|_| gone())?;
    match report.await.map_err(|_| gone())?.failed {
        None => Ok(()),
        Some((true, detail)) => Err(Failure::new(Reason::Script, detail)),
        Some((false, detail)) => Err(unprepared(detail)),
    }
}

/// In the other process: a failure that is not the script's.
pub(super) fn unmade(why: impl std::fmt::Display) -> Failure {
    unprepared(why)
}

/// A group of processes that is killed when this is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// In the other process: a program that runs.
pub(super) struct Started {
    child: Child,
    _group: Group,
}

/// In the other process: starts a program, in the network namespace that the thread is in.
pub(super) fn start(program: &Program, directory: &Path, user: &str) -> Result<Started, Failure> {
    let name = &program.script;
    // The configuration has seen to it; but nobody is to be able to make it otherwise.
    if name.starts_with('.') || name.contains(['/', '\0']) {
        return Err(unprepared(format_args!(
            "{name:?} is not the name of a file"
        )));
    }
    let mut command = Command::new(directory.join(name));
    command
        .args(&program.arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("SLUICE_ADDRESS", program.address.to_string())
        .env("SLUICE_PORT", program.port.to_string())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if nix::unistd::geteuid().is_root() {
        let found = User::from_name(user).map_err(unprepared)?;
        let found = found.ok_or_else(|| unprepared(format_args!("there is no user {user:?}")))?;
        command.uid(found.uid.as_raw()).gid(found.gid.as_raw());
    }
    let child = command
        .spawn()
        .map_err(|why| unprepared(format_args!("{name}: {why}")))?;
    let group = Group(child.id().map(|id| Pid::from_raw(id as i32)));
    Ok(Started {
        child,
        _group: group,
    })
}

impl Started {
    /// Waits for its end, and says whether all was well.
    pub(super) async fn end(mut self) -> Result<(), Failure> {
        let said = said(&mut self.child).await;
        let status = self.child.wait().await.map_err(unprepared)?;
        if status.success() {
            return Ok(());
        }
        let detail = match said.is_empty() {
            true => status.to_string(),
            false => format!("{status}: {said}"),
        };
        Err(Failure::new(Reason::Script, detail))
    }
}

/// The beginning of what it has to complain about.
async fn said(child: &mut Child) -> String {
    let Some(errors) = child.stderr.take() else {
        return String::new();
    };
    let mut text = Vec::new();
    let mut errors = errors.take(MOST);
    let _ = errors.read_to_end(&mut text).await;
    // The rest goes nowhere, and does not hold it up.
    let mut rest = errors.into_inner();
    let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&text).trim().to_owned()
}
