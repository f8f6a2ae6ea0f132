//! The process that runs scripts for the health checks.
//!
//! Running a program as another user takes rights that the appliance gives up at its start, and system
//! calls that it may not make from then on. So another process is started before that. It has nothing of
//! the appliance's memory or devices, knows one directory and one user, both from its command line, and
//! runs the files of that directory as that user: whoever might take the appliance over could have it do
//! no more. It ends, and with it all that it runs, when its socket closes.
//!
//! Requests and answers are lines of JSON on a Unix socket. One thread does everything, because programs
//! are started in the network namespace that the thread is in.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::script::{self, Program};
use super::{Failure, Reason};
use crate::host;

/// Programs that run at once, at most.
pub(super) const AT_ONCE: usize = 16;

/// What is asked of the process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Names the program's run.
    pub(super) id: u64,
    /// What to run; none: the run with this number is of no use any more.
    pub(super) run: Option<Program>,
}

/// What came of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    /// Which.
    pub(super) id: u64,
    /// Why it failed, if it did: the script's doing, or ours.
    pub(super) failed: Option<(bool, String)>,
}

impl Report {
    fn new(id: u64, result: Result<(), Failure>) -> Self {
        let failed = result.err();
        let failed = failed.map(|why| (why.reason == Reason::Script, why.detail));
        Self { id, failed }
    }
}

/// The process, as the appliance has it.
#[derive(Debug)]
pub struct ScriptRunner {
    child: Child,
    socket: StdStream,
}

impl ScriptRunner {
    /// Starts `program` (the appliance's own) with these arguments, its end of the socket being standard
    /// input; there it is to call [`serve`].
    ///
    /// # Errors
    /// If the system has no socket or process to give.
    pub fn start(program: &Path, arguments: &[&std::ffi::OsStr]) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        let (ours, theirs) = StdStream::pair()?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            // What a terminal's Ctrl-C ends is the appliance.
            .process_group(0)
            .spawn()?;
        Ok(Self {
            child,
            socket: ours,
        })
    }

    /// Its number among the processes of the system.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The appliance's end of the socket.
    pub(super) fn socket(&self) -> io::Result<StdStream> {
        self.socket.try_clone()
    }
}

impl Drop for ScriptRunner {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}

/// Runs what it is asked to over `socket`: files of `directory`, as `user`. Returns when the other end is
/// closed; everything that still runs is killed.
///
/// # Errors
/// If the system has no event queue to give.
pub fn serve(socket: StdStream, directory: PathBuf, user: String) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    socket.set_nonblocking(true)?;
    runtime.block_on(async {
        let socket = UnixStream::from_std(socket)?;
        let (orders, mut answers) = socket.into_split();
        let mut orders = BufReader::new(orders).lines();
        let (done, mut reports) = mpsc::channel::<Report>(AT_ONCE);
        let mut running: HashMap<u64, AbortHandle> = HashMap::new();
        loop {
            tokio::select! {
                line = orders.next_line() => {
                    let Ok(Some(line)) = line else { return Ok(()) };
                    let Ok(Order { id, run }) = serde_json::from_str(&line) else { return Ok(()) };
                    running.retain(|_, task| !task.is_finished());
                    match run {
                        None => {
                            if let Some(task) = running.remove(&id) {
                                task.abort();
                            }
                        }
                        Some(program) => {
                            // Here and not in the task: programs that end are not to wait for it.
                            let started = match running.len() < 2 * AT_ONCE {
                                true => enter(&program).and_then(|()| {
                                    script::start(&program, &directory, &user)
                                }),
                                false => Err(script::unmade("too many scripts run")),
                            };
                            let done = done.clone();
                            let task = tokio::spawn(async move {
                                let result = match started {
                                    Ok(started) => started.end().await,
                                    Err(why) => Err(why),
                                };
                                let _ = done.send(Report::new(id, result)).await;
                            });
                            running.insert(id, task.abort_handle());
                        }
                    }
                }
                Some(report) = reports.recv() => {
                    let Ok(mut line) = serde_json::to_vec(&report) else { continue };
                    line.push(b'\n');
                    if answers.write_all(&line).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    })
}

fn enter(program: &Program) -> Result<(), Failure> {
    match &program.namespace {
        Some(path) => host::enter(path).map_err(script::unmade),
        None => Ok(()),
    }
}
