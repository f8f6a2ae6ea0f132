//! Messages of control: a new snapshot at once, questions about tables in slices between bursts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrayvec::ArrayVec;
use sluice_wire::{V4, V6};

use super::Worker;
use super::plan::keeps_sessions;
use super::tables::PerFamily;
use crate::capture::{CaptureId, Tap};
use crate::io::Io;
use crate::mailbox::{
    CAPACITY, Cursor, EndRequest, Event, Filter, FromWorker, NeighbourPage, NeighbourRow,
    SessionPage, SessionRow, Table, ToWorker,
};
use crate::session::flow::{Cold, Session};
use crate::session::table::SessionId;
use crate::snapshot::{ServerId, Snapshot, timeout};
use crate::stack::neighbour::State;
use crate::timeouts::Timeouts;

/// Messages taken per poll.
const PER_POLL: usize = 4;
/// Table entries looked at per poll.
const SLICE: u32 = 256;
/// The same where each is held against the firewall's rules, which may be thousands.
const RULE_SLICE: u32 = 16;
/// Sessions ended per poll.
const END_SLICE: usize = 32;
/// Neighbours shown per poll.
const NEIGHBOUR_SLICE: usize = 64;

/// A question that takes more than one poll.
#[derive(Debug)]
enum Job {
    List(Box<SessionPage>),
    End(Box<EndRequest>),
    Neighbours(Box<NeighbourPage>),
}

/// Questions not yet answered and answers not yet taken.
#[derive(Debug)]
pub(super) struct Mail {
    jobs: VecDeque<Job>,
    out: VecDeque<FromWorker>,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            jobs: VecDeque::with_capacity(CAPACITY),
            out: VecDeque::with_capacity(2 * CAPACITY),
        }
    }
}

impl<I: Io> Worker<I> {
    /// Takes messages and works on a slice of the oldest question. Returns whether there was any.
    pub(super) fn mail(&mut self) -> bool {
        let mut busy = false;
        for _ in 0..PER_POLL {
            if self.mail.jobs.len() == CAPACITY || self.mail.out.len() >= CAPACITY {
                break;
            }
            let Some(message) = self.mailbox.receive() else {
                break;
            };
            busy = true;
            match message {
                ToWorker::Swap(snapshot) => self.swap(snapshot),
                ToWorker::ListSessions(page) => self.mail.jobs.push_back(Job::List(page)),
                ToWorker::EndSessions(request) => self.mail.jobs.push_back(Job::End(request)),
                ToWorker::Roles(orders) => self.order_roles(&orders),
                ToWorker::ListNeighbours(page) => self.mail.jobs.push_back(Job::Neighbours(page)),
                ToWorker::Trace(mut trace) => {
                    self.trace(&mut trace);
                    self.mail.out.push_back(FromWorker::Traced(trace));
                }
                ToWorker::Capture(tap) => self.begin_capture(tap),
                ToWorker::EndCapture(id) => self.end_capture(id),
            }
        }
        if let Some(job) = self.mail.jobs.pop_front() {
            busy = true;
            self.work_on(job);
        }
        while let Some(answer) = self.mail.out.pop_front() {
            if let Err(answer) = self.mailbox.send(answer) {
                self.mail.out.push_front(answer);
                break;
            }
        }
        busy
    }

    /// Does a slice of a job, and puts it behind the others if there is more to do: a long one, or one
    /// that waits for its rate, is not to hold up those that are done in a moment.
    fn work_on(&mut self, job: Job) {
        let (done, answer) = match job {
            Job::List(mut page) => (self.list(&mut page), FromWorker::Sessions(page)),
            Job::End(mut request) => (self.end_some(&mut request), FromWorker::Ended(request)),
            Job::Neighbours(mut page) => (
                self.list_neighbours(&mut page),
                FromWorker::Neighbours(page),
            ),
        };
        match answer {
            answer if done => self.mail.out.push_back(answer),
            FromWorker::Sessions(page) => self.mail.jobs.push_back(Job::List(page)),
            FromWorker::Ended(request) => self.mail.jobs.push_back(Job::End(request)),
            FromWorker::Neighbours(page) => self.mail.jobs.push_back(Job::Neighbours(page)),
            // Not answers of jobs.
            FromWorker::Retired(_)
            | FromWorker::Event(_)
            | FromWorker::CaptureEnded(_)
            | FromWorker::Traced(_) => {}
        }
    }

    /// Tells control something worth a log line; there may be no room for it.
    pub(super) fn tell(&mut self, event: Event) {
        let _ = self.mailbox.send(FromWorker::Event(event));
    }

    fn begin_capture(&mut self, tap: Box<Tap>) {
        if let Err(tap) = self.egress.watch(tap, &self.snapshot) {
            self.mail.out.push_back(FromWorker::CaptureEnded(tap));
        }
    }

    fn end_capture(&mut self, id: CaptureId) {
        if let Some(tap) = self.egress.taps.remove(id) {
            self.mail.out.push_back(FromWorker::CaptureEnded(tap));
        }
    }

    fn swap(&mut self, snapshot: Arc<Snapshot>) {
        self.grace = snapshot.shortest_timeout();
        self.redirects = snapshot.redirects();
        let old = std::mem::replace(&mut self.snapshot, snapshot);
        self.balancer.on_snapshot(&self.snapshot);
        self.egress.taps.on_snapshot(&self.snapshot);
        self.error_limit.set(self.snapshot.icmp_errors_per_s);
        self.strangers.set(super::strangers_per_s(&self.snapshot));
        self.forget_foreign_neighbours();
        self.follow_groups();
        let zones = |snapshot: &Snapshot| {
            let names = snapshot.shared_names.as_ref();
            names.map(|names| names.zones().to_vec())
        };
        if self.ha.is_some() && zones(&old) != zones(&self.snapshot) {
            self.tell_zones();
        }
        let regrouped = super::ha::groups_differ(&old.groups, &self.snapshot.groups);
        if regrouped || !old.local.iter().eq(self.snapshot.local.iter()) {
            self.announce();
        }
        self.mail.out.push_back(FromWorker::Retired(old));
    }

    /// Goes on with a listing; true when the page is full or the tables' end is reached.
    fn list(&mut self, page: &mut SessionPage) -> bool {
        let Some(Cursor { table, index }) = page.cursor else {
            return true;
        };
        let snapshot = &self.snapshot;
        let next = match table {
            Table::V4 => list_in(V4::table(&self.tables), snapshot, self.now, index, page),
            Table::V6 => list_in(V6::table(&self.tables), snapshot, self.now, index, page),
        };
        page.cursor = next_cursor(table, next);
        page.cursor.is_none() || page.is_full()
    }

    /// Goes on with ending sessions; true at the end of the tables.
    fn end_some(&mut self, request: &mut EndRequest) -> bool {
        let Some(Cursor { table, index }) = request.cursor else {
            return true;
        };
        let (next, ended) = match table {
            Table::V4 => self.end_in::<V4>(request, index),
            Table::V6 => self.end_in::<V6>(request, index),
        };
        request.ended += ended;
        request.so_far.store(request.ended, Ordering::Relaxed);
        request.cursor = next_cursor(table, next);
        request.cursor.is_none()
    }

    fn end_in<F: PerFamily>(&mut self, request: &EndRequest, from: u32) -> (Option<u32>, u64) {
        let mut found = ArrayVec::<SessionId, END_SLICE>::new();
        let table = F::table(&self.tables);
        let Snapshot {
            timeouts, firewall, ..
        } = &*self.snapshot;
        let mut more = None;
        let next = table.scan(from, slice(&request.filter), |id, session, cold| {
            // Copies are the other node's to end: it may see the server otherwise.
            let concerned = !request.homeless
                || cold.server != ServerId::NONE
                    && !session.is_replica()
                    && !keeps_sessions(&self.snapshot, cold.server);
            let matches = concerned
                && request
                    .filter
                    .matches(&row(session, cold, timeouts, self.now), firewall);
            if matches && more.is_none() && found.try_push(id).is_err() {
                more = Some(id.0);
            }
        });
        let mut ended = 0;
        for &id in &found {
            if request.reset && !self.reset_ends::<F>(id) {
                // As fast as resets may be sent: the rest is for a later poll.
                more = Some(id.0);
                break;
            }
            self.end_session::<F>(id);
            ended += 1;
        }
        (more.or(next), ended)
    }

    fn list_neighbours(&mut self, page: &mut NeighbourPage) -> bool {
        let Some(from) = page.cursor else { return true };
        let mut shown = 0;
        for listed in self
            .neighbours
            .iter(self.now)
            .skip(from as usize)
            .take(NEIGHBOUR_SLICE)
        {
            if page.is_full() {
                break;
            }
            shown += 1;
            page.rows.push(NeighbourRow {
                port: listed.port,
                address: listed.addr,
                mac: listed.mac,
                state: match listed.state {
                    State::Reachable => "reachable",
                    State::Stale | State::Probe => "stale",
                    State::Incomplete => "resolving",
                    State::Failed => "failed",
                    State::Static => "static",
                },
                age_ms: listed.age_ms,
            });
        }
        page.cursor = (shown > 0).then_some(from + shown);
        page.cursor.is_none() || page.is_full()
    }
}

fn next_cursor(table: Table, next: Option<u32>) -> Option<Cursor> {
    match (table, next) {
        (table, Some(index)) => Some(Cursor { table, index }),
        (Table::V4, None) => Some(Cursor {
            table: Table::V6,
            index: 0,
        }),
        (Table::V6, None) => None,
    }
}

fn list_in<F: PerFamily>(
    table: &crate::session::table::Table<F>,
    snapshot: &Snapshot,
    now: u32,
    from: u32,
    page: &mut SessionPage,
) -> Option<u32> {
    let mut stopped = None;
    let next = table.scan(from, slice(&page.filter), |id, session, cold| {
        let row = row(session, cold, &snapshot.timeouts, now);
        if stopped.is_none() && page.offer(&row, &snapshot.firewall) {
            stopped = Some(id.0 + 1);
        }
    });
    stopped.or(next)
}

/// How many entries may be looked at in one poll.
fn slice(filter: &Filter) -> u32 {
    if filter.rule.is_some() {
        RULE_SLICE
    } else {
        SLICE
    }
}

/// A session as control shows it.
fn row<F: PerFamily>(session: &Session<F>, cold: &Cold, sets: &[Timeouts], now: u32) -> SessionRow {
    let [original, reply] = &session.flows;
    let idle = now
        .wrapping_sub(original.seen)
        .min(now.wrapping_sub(reply.seen));
    let limit = timeout(sets, original.timeouts, original.proto, original.state);
    SessionRow {
        original: original.arrives(),
        reply: reply.arrives(),
        zones: [original.zone, reply.zone],
        state: original.state,
        service: cold.service,
        server: cold.server,
        replica: session.is_replica(),
        age_ms: now.wrapping_sub(cold.created),
        idle_ms: idle,
        expires_ms: limit.saturating_sub(idle),
        packets: [original.packets, reply.packets],
        bytes: [original.bytes(), reply.bytes()],
    }
}
