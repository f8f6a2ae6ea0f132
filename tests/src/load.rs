//! Clients that keep asking, for tests of what must not be noticed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::http;
use crate::netns::Namespace;

/// What came of the requests.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Answered with 200, by the trimmed text of the answer.
    pub answers: BTreeMap<String, u64>,
    /// Why others failed.
    pub failures: Vec<String>,
}

impl Tally {
    /// How many were answered.
    pub fn answered(&self) -> u64 {
        self.answers.values().sum()
    }

    /// How many were answered like this.
    pub fn answered_by(&self, answer: &str) -> u64 {
        self.answers.get(answer).copied().unwrap_or(0)
    }

    fn merge(&mut self, other: Self) {
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
        self.failures.extend(other.failures);
    }
}

/// Clients at work, each sending one request after the other, each on a connection of its own.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    failed: Vec<Arc<AtomicUsize>>,
    clients: Vec<JoinHandle<Tally>>,
}

impl Load {
    /// Sends `clients` of them to ask `server` for `path`, from `namespace`, with `pause` between
    /// two requests of one.
    pub fn start(
        namespace: &Arc<Namespace>,
        clients: usize,
        server: SocketAddr,
        path: &str,
        pause: Duration,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let failed: Vec<_> = (0..clients)
            .map(|_| Arc::new(AtomicUsize::new(0)))
            .collect();
        let clients = failed
            .iter()
            .map(|failed| {
                let (stop, done, failed) =
                    (Arc::clone(&stop), Arc::clone(&done), Arc::clone(failed));
                let namespace = Arc::clone(namespace);
                let path = path.to_owned();
                std::thread::spawn(move || {
                    namespace.enter();
                    let mut tally = Tally::default();
                    while !stop.load(Ordering::Relaxed) {
                        match http::get(server, &path) {
                            Ok(answer) if answer.status == 200 => {
                                let text = answer.text().trim().to_owned();
                                *tally.answers.entry(text).or_default() += 1;
                            }
                            Ok(answer) => tally.failures.push(format!("status {}", answer.status)),
                            Err(why) => tally.failures.push(why),
                        }
                        failed.store(tally.failures.len(), Ordering::Relaxed);
                        done.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(pause);
                    }
                    tally
                })
            })
            .collect();
        Self {
            stop,
            done,
            failed,
            clients,
        }
    }

    /// Requests that have ended so far.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Requests that have failed so far.
    pub fn failed(&self) -> usize {
        self.failed
            .iter()
            .map(|failed| failed.load(Ordering::Relaxed))
            .sum()
    }

    /// Waits until that many more requests have ended.
    ///
    /// # Panics
    /// If they don't.
    #[track_caller]
    pub fn run_for(&self, requests: u64) {
        let target = self.done() + requests;
        crate::wait::expect("the load to go on", || self.done() >= target);
    }

    /// Lets each client end its request, and adds up what they saw.
    ///
    /// # Panics
    /// If a client did.
    pub fn finish(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Tally::default();
        for client in self.clients {
            total.merge(client.join().expect("a client panicked"));
        }
        total
    }
}
