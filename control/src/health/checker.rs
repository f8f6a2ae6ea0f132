//! The thread that checks: a task for each target, in the network namespace of the host interface.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::attempt::{Attempt, Attempted, Prober};
use super::board::Board;
use super::probe::{Probe, Tools};
use super::runner::ScriptRunner;
use super::script::Scripts;
use super::target::{Key, Target, Targets};
use super::{Failure, Machine, Reason};
use crate::config::{CheckKind, HealthCheck};
use crate::host;

/// Checks under way at once, at most; each has a socket. What comes later waits, and its time begins
/// when it has its turn.
const AT_ONCE: usize = 4096;
/// Descriptors that are left to the rest of the process.
const RESERVE: u64 = 512;
/// Longest time over which the first checks are spread.
const SPREAD: Duration = Duration::from_secs(2);

/// What the thread is to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Check these from now on.
    Targets(Targets),
    /// Try this once, while somebody waits for it.
    Once(Box<Attempt>, oneshot::Sender<Attempted>),
}

/// The running thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Checker {
    orders: Option<mpsc::UnboundedSender<Order>>,
    board: Arc<Board>,
    thread: Option<JoinHandle<()>>,
}

impl Checker {
    /// Starts the thread; it inherits the caller's cores. `namespace` is the network namespace that it
    /// speaks from; `None`: the caller's. `runner` runs scripts; without one there are none.
    ///
    /// # Errors
    /// If the system has no thread or event queue to give, or the namespace cannot be entered.
    pub fn start(namespace: Option<PathBuf>, runner: Option<&ScriptRunner>) -> io::Result<Self> {
        let scripts = runner.map(ScriptRunner::socket).transpose()?;
        Self::start_with(namespace, scripts)
    }

    fn start_with(namespace: Option<PathBuf>, scripts: Option<UnixStream>) -> io::Result<Self> {
        let board = Arc::new(Board::default());
        let (orders, received) = mpsc::unbounded_channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let inside = Arc::clone(&board);
        let thread = std::thread::Builder::new().name("sluice-health".to_owned());
        let thread = thread.spawn(move || {
            let entered = match &namespace {
                Some(path) => host::enter(path).map_err(io::Error::other),
                None => Ok(()),
            };
            let runtime = entered.and_then(|()| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
            });
            match runtime {
                Ok(runtime) => {
                    let _ = ready.send(Ok(()));
                    runtime.block_on(run(inside, received, scripts, namespace));
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        })?;
        let gone = || Err(io::Error::other("the thread of the health checks ended"));
        is_ready.recv().unwrap_or_else(|_| gone())?;
        Ok(Self {
            orders: Some(orders),
            board,
            thread: Some(thread),
        })
    }

    /// Checks these from now on, and nothing else.
    pub fn apply(&self, targets: Targets) {
        self.board.set_rows(targets.all.iter());
        let order = Order::Targets(targets);
        let sent = self.orders.as_ref().map(|orders| orders.send(order));
        if sent.is_none_or(|sent| sent.is_err()) {
            tracing::error!("the health checks have stopped; restart Sluice");
        }
    }

    /// The way to it for single attempts.
    pub fn prober(&self) -> Option<Prober> {
        let orders = self.orders.as_ref()?.downgrade();
        Some(Prober { orders })
    }

    /// What was found.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the health checks ended by a panic");
        }
    }
}

/// A target's task.
struct Running {
    target: Target,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    board: Arc<Board>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    scripts: Option<UnixStream>,
    namespace: Option<PathBuf>,
) {
    let scripts = scripts.map(|socket| Scripts::new(socket, namespace));
    let scripts = scripts.and_then(|made| {
        let failed = |why: &io::Error| tracing::error!(%why, "scripts cannot be run");
        made.inspect_err(failed).ok()
    });
    let tools = Arc::new(Tools::new(scripts));
    let permits = Arc::new(Semaphore::new(room()));
    let mut running: BTreeMap<Key, Running> = BTreeMap::new();
    while let Some(order) = orders.recv().await {
        let targets = match order {
            Order::Targets(targets) => targets,
            Order::Once(attempt, answer) => {
                tokio::spawn(once(
                    *attempt,
                    answer,
                    Arc::clone(&permits),
                    Arc::clone(&tools),
                ));
                continue;
            }
        };
        running.retain(|key, known| targets.all.get(key) == Some(&known.target));
        let fresh: Vec<_> = targets
            .all
            .into_iter()
            .filter(|(key, _)| !running.contains_key(key))
            .collect();
        let count = fresh.len().max(1) as u32;
        for ((key, target), place) in fresh.into_iter().zip(0u32..) {
            // Evenly over the first interval, and not all at once.
            let interval = Duration::from_millis(target.check.interval_ms.into());
            let first = interval.min(SPREAD) * place / count;
            let task = tokio::spawn(watch(
                key.clone(),
                target.clone(),
                first,
                Arc::clone(&board),
                Arc::clone(&permits),
                Arc::clone(&tools),
            ));
            let task = task.abort_handle();
            running.insert(key, Running { target, task });
        }
    }
}

/// Checks one target until it is aborted.
pub(super) async fn watch(
    key: Key,
    target: Target,
    first: Duration,
    board: Arc<Board>,
    permits: Arc<Semaphore>,
    tools: Arc<Tools>,
) {
    let mut probe = Probe::new(Attempt::of(&target), &tools);
    sleep(first).await;
    loop {
        let (kind, limit) = (&target.check.kind, target.check.timeout_ms);
        let Some((begun, (result, took))) = turn(kind, limit, &mut probe, &permits, &tools).await
        else {
            return;
        };
        board.take(&key, &target, result, took);
        let next = begun + pause(&target.check, board.machine(&key));
        sleep_until(next).await;
    }
}

/// Checks when it may; also says when it began. `None` where the thread ends.
async fn turn(
    kind: &CheckKind,
    limit_ms: u32,
    probe: &mut Probe,
    permits: &Semaphore,
    tools: &Tools,
) -> Option<(Instant, Attempted)> {
    let turn = tools.turn(kind).await;
    let permit = permits.acquire().await.ok()?;
    let begun = Instant::now();
    let result = within(limit_ms, probe.check()).await;
    let took = begun.elapsed();
    drop((turn, permit));
    Some((begun, (result, took)))
}

/// An attempt, unless nobody waits for it any more.
async fn once(
    attempt: Attempt,
    mut answer: oneshot::Sender<Attempted>,
    permits: Arc<Semaphore>,
    tools: Arc<Tools>,
) {
    let (kind, limit) = (attempt.kind.clone(), attempt.timeout_ms);
    let mut probe = Probe::new(attempt, &tools);
    tokio::select! {
        attempted = turn(&kind, limit, &mut probe, &permits, &tools) => {
            if let Some((_, attempted)) = attempted {
                let _ = answer.send(attempted);
            }
        }
        () = answer.closed() => {}
    }
}

pub(super) async fn within(
    limit_ms: u32,
    probe: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let limit = Duration::from_millis(limit_ms.into());
    let late = |_| Err(Failure::timeout(limit_ms));
    timeout(limit, probe).await.unwrap_or_else(late)
}

fn pause(check: &HealthCheck, machine: Machine) -> Duration {
    machine.interval(check, random())
}

/// Any number; without the system's random numbers there is no jitter.
pub(super) fn random() -> u32 {
    use ring::rand::SecureRandom;
    let mut bytes = (1u32 << 31).to_ne_bytes();
    let _ = ring::rand::SystemRandom::new().fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

/// How many checks may be under way: half of the descriptors that the process can get.
fn room() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return AT_ONCE / 8;
    };
    let wanted = (2 * AT_ONCE as u64 + RESERVE).min(hard);
    let now = match wanted > soft && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() {
        true => wanted,
        false => soft,
    };
    let room = now.saturating_sub(RESERVE) / 2;
    (room as usize).clamp(16, AT_ONCE)
}

/// A failure to prepare a check: it says nothing of any server.
pub(super) fn unprepared(why: impl std::fmt::Display) -> Failure {
    Failure::new(Reason::Local, why)
}
