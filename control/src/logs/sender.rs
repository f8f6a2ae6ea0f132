//! One syslog server: a bounded queue, and the thread that empties it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::transport::Way;
use super::{Counts, Line, SyslogState, syslog};
use crate::config::{Syslog, Transport};

/// Lines that wait at most.
pub(super) const WAITING: usize = 1024;
/// How long a server that cannot be reached is left alone: at first, and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(15)];
/// A way that breaks sooner is taken for none. That a datagram was refused is told when the next one is sent.
const HELD: Duration = Duration::from_secs(1);

/// The way to one server. Its thread ends some time after [`Sender::close`].
#[derive(Debug)]
pub(super) struct Sender {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    facility: u8,
    host: String,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<String>,
    counts: Counts,
    /// Lost lines that the server was told of.
    told: u64,
    connected: bool,
    error: Option<String>,
    closed: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        super::lock(&self.queue)
    }
}

impl Sender {
    pub(super) fn start(server: &Syslog, host: &str) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            facility: server.facility,
            host: host.to_owned(),
            queue: Mutex::default(),
            changed: Condvar::new(),
        });
        let (server, theirs) = (server.clone(), Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("sluice-syslog".to_owned());
        let thread = thread.spawn(move || empty(&server, &theirs))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Puts a line into the queue, or counts it as lost.
    pub(super) fn push(&self, line: &Line) {
        let Shared { facility, host, .. } = &*self.shared;
        let message = syslog::message(line, *facility, host);
        let mut queue = self.shared.queue();
        if queue.closed {
            return;
        }
        if queue.messages.len() == WAITING {
            queue.counts.lost += 1;
            return;
        }
        queue.messages.push_back(message);
        self.shared.changed.notify_one();
    }

    pub(super) fn counts(&self) -> Counts {
        self.shared.queue().counts
    }

    pub(super) fn state(&self, server: &Syslog) -> SyslogState {
        let queue = self.shared.queue();
        SyslogState {
            name: server.name.to_string(),
            server: server.server.clone(),
            transport: match server.transport {
                Transport::Udp => "udp",
                Transport::Tcp => "tcp",
                Transport::Tls { .. } => "tls",
            },
            connected: queue.connected,
            error: queue.error.clone(),
            waiting: queue.messages.len(),
            counts: queue.counts,
        }
    }

    /// Takes no more lines. The thread ends when those that wait are sent, or cannot be.
    pub(super) fn close(&self) {
        self.shared.queue().closed = true;
        self.shared.changed.notify_all();
    }

    /// Waits for the thread until `end`.
    pub(super) fn join(mut self, end: Instant) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        while !thread.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

/// The thread: takes messages out and sends them, over one way after the other.
fn empty(server: &Syslog, shared: &Shared) {
    let (mut way, mut pause, mut complained) = (None::<Way>, PAUSES[0], false);
    let mut since = Instant::now();
    // Whether it was said that lines go, and whether the way before this one broke soon: what is said of
    // ways is a line to be sent itself, and must not keep a way opening and breaking for ever.
    let (mut told, mut shaky) = (false, false);
    // What was taken out and not sent yet.
    let mut message: Option<String> = None;
    loop {
        if message.is_none() {
            message = next(shared);
        }
        let Some(text) = &message else { return };
        let sent = match &mut way {
            Some(way) => way.send(text),
            None => Way::open(server).and_then(|mut opened| {
                since = Instant::now();
                tell_of_losses(&mut opened, shared)?;
                let sent = opened.send(text);
                way = Some(opened);
                sent
            }),
        };
        let mut queue = shared.queue();
        match sent {
            Ok(()) => {
                queue.connected = true;
                queue.error = None;
                queue.counts.sent += 1;
                drop(queue);
                shaky &= since.elapsed() < HELD;
                if !shaky {
                    (pause, complained) = (PAUSES[0], false);
                }
                if !shaky && !std::mem::replace(&mut told, true) {
                    tracing::info!(
                        name = server.name.as_str(),
                        "log lines go to the syslog server"
                    );
                }
                message = None;
            }
            Err(why) => {
                let was = way.take().is_some();
                let held = was && since.elapsed() >= HELD;
                shaky = !held && (was || shaky);
                told = false;
                queue.connected = false;
                queue.error = Some(why.to_string());
                if queue.closed {
                    queue.counts.lost += 1 + queue.messages.len() as u64;
                    queue.messages.clear();
                    return;
                }
                if !held && !complained {
                    complained = true;
                    drop(queue);
                    tracing::warn!(name = server.name.as_str(), %why, "no way to the syslog server");
                    queue = shared.queue();
                }
                // One that was there for a while is tried anew at once: the server may have been restarted.
                if !held {
                    let closed = |queue: &mut Queue| !queue.closed;
                    let waited = shared.changed.wait_timeout_while(queue, pause, closed);
                    drop(waited);
                    pause = (2 * pause).min(PAUSES[1]);
                }
            }
        }
    }
}

/// The next message; `None` when there will be none.
fn next(shared: &Shared) -> Option<String> {
    let mut queue = shared.queue();
    loop {
        if let Some(message) = queue.messages.pop_front() {
            return Some(message);
        }
        if queue.closed {
            return None;
        }
        let waited = shared.changed.wait(queue);
        queue = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
    }
}

/// Says to the server how many lines it will never see.
fn tell_of_losses(way: &mut Way, shared: &Shared) -> io::Result<()> {
    let lost = {
        let queue = shared.queue();
        queue.counts.lost - queue.told
    };
    if lost == 0 {
        return Ok(());
    }
    let mut fields = serde_json::Map::new();
    fields.insert("lost".to_owned(), lost.into());
    let line = Line {
        id: 0,
        time: crate::clock::now(),
        level: super::Level::Warn,
        target: "logs".to_owned(),
        message: format!("{lost} log lines were lost while this server could not be reached"),
        fields,
    };
    way.send(&syslog::message(&line, shared.facility, &shared.host))?;
    shared.queue().told += lost;
    Ok(())
}
