//! A worker for tests: answers its mailbox as the real one does, over a list instead of a table.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use sluice_dataplane::capture::Tap;
use sluice_dataplane::mailbox::trace::Verdict;
use sluice_dataplane::mailbox::{
    Cursor, Event, FromWorker, NeighbourPage, NeighbourRow, SessionPage, SessionRow, Table,
    ToWorker,
};
use sluice_dataplane::published::{Slot, WorkerCounter};
use sluice_dataplane::snapshot::{ServerId, ServerState, ServiceId};
use sluice_wire::Tuple;

use crate::compile::tests::facts;
use crate::config::{Config, Source};
use crate::controller::{Controller, NoDevices, WorkerSide};

/// The configuration that uses every section, with two workers.
pub(crate) const WHOLE: &str = include_str!("config/tests/whole.toml");

pub(crate) fn controller(text: &str) -> (Controller, Vec<FakeWorker>) {
    let config = Config::read(Source::toml(text)).unwrap_or_else(|why| panic!("{why}"));
    let facts = facts(&config);
    let (controller, sides) = Controller::new(config, facts, Box::new(NoDevices), "1.2.3")
        .unwrap_or_else(|why| panic!("{why}"));
    (controller, sides.into_iter().map(FakeWorker::new).collect())
}

/// One that knows no names.
pub(crate) fn registry() -> crate::compile::Registry {
    let config = Config::read(Source::toml(WHOLE)).unwrap_or_else(|why| panic!("{why}"));
    crate::compile::Registry::new(crate::compile::layout(&config))
}

/// IPv4 sessions first, each at its index.
pub(crate) struct FakeWorker {
    pub(crate) side: WorkerSide,
    pub(crate) sessions: Vec<Option<SessionRow>>,
    /// So many sessions instead, which take no memory here.
    pub(crate) invented: u32,
    pub(crate) neighbours: Vec<NeighbourRow>,
    taps: Vec<Tap>,
    /// Sends a page back after so many rows, full or not.
    pub(crate) slice: usize,
}

impl FakeWorker {
    fn new(side: WorkerSide) -> Self {
        Self {
            side,
            sessions: Vec::new(),
            invented: 0,
            neighbours: Vec::new(),
            taps: Vec::new(),
            slice: usize::MAX,
        }
    }

    pub(crate) fn poll(&mut self) {
        while let Some(message) = self.side.mailbox.receive() {
            let answer = match message {
                // It captures nothing; its end is the worker's word for it.
                ToWorker::Capture(tap) => {
                    self.taps.push(*tap);
                    continue;
                }
                ToWorker::Trace(mut trace) => {
                    trace.verdict = Verdict::Consume;
                    FromWorker::Traced(trace)
                }
                ToWorker::EndCapture(id) => {
                    let at = self.taps.iter().position(|tap| tap.id() == id);
                    let Some(at) = at else { continue };
                    FromWorker::CaptureEnded(Box::new(self.taps.remove(at)))
                }
                ToWorker::Swap(snapshot) => {
                    let epoch = u64::from(snapshot.epoch);
                    let publisher = &mut self.side.publisher;
                    publisher.publish(|writer| {
                        writer.set(Slot::Worker(WorkerCounter::Epoch), epoch);
                    });
                    let old = std::mem::replace(&mut self.side.snapshot, snapshot);
                    FromWorker::Retired(old)
                }
                ToWorker::Roles(_) => continue,
                ToWorker::ListSessions(mut page) => {
                    self.list(&mut page);
                    FromWorker::Sessions(page)
                }
                ToWorker::EndSessions(mut end) => {
                    let firewall = &self.side.snapshot.firewall;
                    for session in &mut self.sessions {
                        let at_home = |row: &SessionRow| {
                            let servers = &self.side.snapshot.servers;
                            let server = servers.get(usize::from(row.server.0));
                            let server = server.and_then(Option::as_ref);
                            row.server == ServerId::NONE
                                || server.is_some_and(|it| it.state != ServerState::Down)
                        };
                        let concerned = |row: &SessionRow| {
                            end.filter.matches(row, firewall) && !(end.homeless && at_home(row))
                        };
                        if session.as_ref().is_some_and(concerned) {
                            *session = None;
                            end.ended += 1;
                            end.so_far.store(end.ended, Ordering::Relaxed);
                        }
                    }
                    end.cursor = None;
                    FromWorker::Ended(end)
                }
                ToWorker::ListNeighbours(mut page) => {
                    self.list_neighbours(&mut page);
                    FromWorker::Neighbours(page)
                }
            };
            self.side
                .mailbox
                .send(answer)
                .expect("control reads its mail");
        }
    }

    pub(crate) fn tell(&self, event: Event) {
        let sent = self.side.mailbox.send(FromWorker::Event(event));
        sent.expect("control reads its mail");
    }

    fn list(&self, page: &mut SessionPage) {
        let Some(cursor) = page.cursor else { return };
        assert_eq!(cursor.table, Table::V4);
        let from = cursor.index as usize;
        let firewall = &self.side.snapshot.firewall;
        let all = self.sessions.len().max(self.invented as usize);
        let mut at = from;
        while at < all && !page.is_full() && at - from < self.slice {
            if at < self.invented as usize {
                page.offer(&session(at as u16, 2), firewall);
            } else if let Some(row) = &self.sessions[at] {
                page.offer(row, firewall);
            }
            at += 1;
        }
        page.cursor = (at < all).then_some(Cursor {
            table: Table::V4,
            index: at as u32,
        });
    }

    fn list_neighbours(&self, page: &mut NeighbourPage) {
        let from = page.cursor.unwrap_or_default() as usize;
        let rest = self.neighbours.get(from..).unwrap_or_default();
        while !page.is_full() && page.rows.len() < rest.len() {
            page.rows.push(rest[page.rows.len()]);
        }
        let next = from + page.rows.len();
        page.cursor = (next < self.neighbours.len()).then_some(next as u32);
    }

    /// Runs on a thread of its own until the guard is dropped.
    pub(crate) fn spawn(mut self) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                self.poll();
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        Running {
            stop,
            thread: Some(thread),
        }
    }
}

pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A TCP session of client `n` to the web server, in this state.
pub(crate) fn session(n: u16, state: u8) -> SessionRow {
    let client = "198.51.100.7".parse().expect("an address");
    let original = Tuple {
        proto: 6,
        src: client,
        sport: n,
        dst: "203.0.113.80".parse().expect("an address"),
        dport: 80,
    };
    let reply = Tuple {
        proto: 6,
        src: "10.0.0.11".parse().expect("an address"),
        sport: 8080,
        dst: client,
        dport: n,
    };
    SessionRow {
        original,
        reply,
        zones: [0, 1],
        state,
        service: ServiceId::NONE,
        server: ServerId::NONE,
        replica: false,
        age_ms: 3000,
        idle_ms: 1000,
        expires_ms: 5000,
        packets: [7, 5],
        bytes: [700, 5000],
    }
}
