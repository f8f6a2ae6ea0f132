//! Questions that take more than one message: workers are asked one after the other.

use sluice_dataplane::mailbox::{Cursor, NeighbourPage, RequestId, SessionPage, ToWorker};

use super::action::{Neighbour, Outcome, SessionCursor, SessionList};
use super::pending::{Pending, Work};
use super::{Controller, sessions};

/// Neighbours per message.
const NEIGHBOUR_PAGE: usize = 256;

impl Controller {
    /// Sends a question on, or answers if no worker is left to ask.
    pub(super) fn ask_for_sessions(&mut self, request: RequestId, from: Cursor) {
        let Some(Pending {
            work:
                Work::List {
                    filter,
                    limit,
                    worker,
                    rows,
                    ..
                },
            ..
        }) = self.pending.get(&request)
        else {
            return;
        };
        let room = limit.saturating_sub(rows.len());
        let link = self.workers.get_mut(*worker);
        if let Some(link) = link.filter(|_| room > 0) {
            let page = SessionPage::new(request, *filter, from, room);
            return link.send(ToWorker::ListSessions(Box::new(page)));
        }
        let next = (*worker < self.workers.len()).then(|| {
            let cursor = SessionCursor {
                worker: *worker,
                entry: from,
            };
            cursor.to_string()
        });
        let rows = rows.iter();
        let sessions = rows
            .map(|(worker, row)| sessions::view(*worker, row, &self.registry))
            .collect();
        let list = SessionList { sessions, next };
        self.answer(request, Ok(Outcome::Sessions(list)));
    }

    pub(super) fn take_sessions(&mut self, from: usize, page: Box<SessionPage>) {
        let all = self.workers.len();
        let Some(Pending {
            work: Work::List {
                worker, rows, only, ..
            },
            ..
        }) = self.pending.get_mut(&page.request)
        else {
            return self.take_survey(from, page);
        };
        rows.extend(page.rows.iter().map(|row| (from, *row)));
        if page.cursor.is_none() {
            *worker = if *only { all } else { *worker + 1 };
        }
        self.ask_for_sessions(page.request, page.cursor.unwrap_or_default());
    }

    pub(super) fn ask_for_neighbours(&mut self, request: RequestId, from: u32) {
        let Some(Pending {
            work: Work::Neighbours { worker, rows },
            ..
        }) = self.pending.get(&request)
        else {
            return;
        };
        if let Some(link) = self.workers.get_mut(*worker) {
            let page = NeighbourPage::new(request, from, NEIGHBOUR_PAGE);
            return link.send(ToWorker::ListNeighbours(Box::new(page)));
        }
        let mut neighbours: Vec<Neighbour> = rows
            .values()
            .map(|row| Neighbour {
                port: self.port_name(row.port),
                address: row.address,
                mac: row.mac.map(|mac| mac.to_string()),
                state: row.state,
                age_ms: row.age_ms,
            })
            .collect();
        neighbours.sort_by(|a, b| (&a.port, a.address).cmp(&(&b.port, b.address)));
        self.answer(request, Ok(Outcome::Neighbours(neighbours)));
    }

    pub(super) fn take_neighbours(&mut self, page: &NeighbourPage) {
        let Some(Pending {
            work: Work::Neighbours { worker, rows },
            ..
        }) = self.pending.get_mut(&page.request)
        else {
            return;
        };
        for row in &page.rows {
            let latest = rows.entry((row.port, row.address)).or_insert(*row);
            // A worker that knows the MAC address knows more than one that still asks for it.
            if (row.mac.is_none(), row.age_ms) < (latest.mac.is_none(), latest.age_ms) {
                *latest = *row;
            }
        }
        if page.cursor.is_none() {
            *worker += 1;
        }
        self.ask_for_neighbours(page.request, page.cursor.unwrap_or_default());
    }
}
