//! Log lines, besides those on standard error: the latest are remembered for the API, and all go to the
//! syslog servers of the configuration.
//!
//! Whoever logs waits for nobody: a line is put into bounded queues, and counted where there is no room.
//! Workers don't log at all.

mod layer;
mod level;
mod ring;
mod sender;
mod syslog;
mod transport;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::config::{Log, Syslog};

pub use layer::LogLayer;
pub use level::{DirectiveError, Directives, Filter, LogLevel, NewLogLevel};
pub use ring::{Level, Line, Lines};

pub(crate) use level::{Fixed, Turn};

use level::Switch;
use sender::Sender;

/// Where log lines go. Clones lead to the same places.
#[derive(Debug, Clone, Default)]
pub struct Logs {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    level: Switch,
    lines: Lines,
    senders: Mutex<Vec<(Syslog, Sender)>>,
    /// What servers had of lines before they were changed, or taken out, by name.
    before: Mutex<HashMap<String, Counts>>,
}

/// What became of the lines for a syslog server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Counts {
    /// Lines handed to the network.
    pub sent: u64,
    /// Lines for which there was no room while the server could not be reached.
    pub lost: u64,
}

/// How a syslog server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SyslogState {
    /// Its name.
    pub name: String,
    /// Host and port.
    pub server: String,
    /// `udp`, `tcp` or `tls`.
    pub transport: &'static str,
    /// Whether there is a connection; of `udp`, whether the latest datagram could be sent.
    pub connected: bool,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Lines that wait.
    pub waiting: usize,
    /// What became of the others.
    #[serde(flatten)]
    pub counts: Counts,
}

impl Logs {
    /// What puts lines in here, for a subscriber.
    pub fn layer(&self) -> LogLayer {
        LogLayer::new(self.clone())
    }

    /// What decides how much is logged, for a subscriber, before all other layers. The level of the one
    /// that was made last can be changed.
    pub fn filter(&self, at_start: &Directives) -> Filter {
        self.inner.level.filter(at_start)
    }

    /// What is logged; `None` if no [`filter`](Self::filter) was made.
    pub fn level(&self) -> Option<LogLevel> {
        self.inner.level.view()
    }

    /// Logs this from now on. The [`Turn`] is for [`end_level`](Self::end_level), which is to be called
    /// when `time` is over.
    ///
    /// # Errors
    /// [`Fixed`]: no filter was made, or its subscriber is gone.
    pub(crate) fn set_level(
        &self,
        directives: Directives,
        time: Option<Duration>,
    ) -> Result<(LogLevel, Turn), Fixed> {
        self.inner.level.set(directives, time)
    }

    /// Logs what was logged at the start, unless the level was set again meanwhile; whether it was so.
    pub(crate) fn end_level(&self, turn: Turn) -> bool {
        self.inner.level.end(turn)
    }

    /// The latest lines.
    pub fn lines(&self) -> &Lines {
        &self.inner.lines
    }

    /// Sends to these servers from now on, as `host`. Connections to servers that stay are kept.
    pub fn apply(&self, config: &Log, host: &str) {
        // Nothing is logged under a lock: what is logged takes them.
        let mut old = std::mem::take(&mut *self.senders());
        let mut senders = Vec::new();
        for server in &config.syslog {
            let same = old.iter().position(|(known, _)| known == server);
            let sender = match same {
                Some(at) => old.swap_remove(at).1,
                None => match Sender::start(server, host) {
                    Ok(sender) => sender,
                    Err(why) => {
                        // Seen on standard error, and by the next look at the list.
                        tracing::error!(server = server.server, %why, "no thread for a syslog server");
                        continue;
                    }
                },
            };
            senders.push((server.clone(), sender));
        }
        *self.senders() = senders;
        let mut before = lock(&self.inner.before);
        for (server, sender) in old {
            let counts = before.entry(server.name.to_string()).or_default();
            let more = sender.counts();
            counts.sent += more.sent;
            counts.lost += more.lost;
            sender.close();
        }
    }

    /// How the servers are.
    pub fn servers(&self) -> Vec<SyslogState> {
        let before = lock(&self.inner.before);
        let senders = self.senders();
        let states = senders.iter().map(|(server, sender)| {
            let mut state = sender.state(server);
            if let Some(before) = before.get(server.name.as_str()) {
                state.counts.sent += before.sent;
                state.counts.lost += before.lost;
            }
            state
        });
        states.collect()
    }

    /// Lets what waits go out, for so long at most, and ends.
    pub fn finish(&self, patience: Duration) {
        let senders = std::mem::take(&mut *self.senders());
        for (_, sender) in &senders {
            sender.close();
        }
        let end = std::time::Instant::now() + patience;
        for (_, sender) in senders {
            sender.join(end);
        }
    }

    fn take(&self, line: Line) {
        let line = self.inner.lines.push(line);
        for (server, sender) in self.senders().iter() {
            if line.level.is_within(server.level) {
                sender.push(&line);
            }
        }
    }

    fn senders(&self) -> MutexGuard<'_, Vec<(Syslog, Sender)>> {
        lock(&self.inner.senders)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
