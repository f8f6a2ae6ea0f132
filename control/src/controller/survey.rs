//! Questions about all sessions that match: how many, who has most, which NAT ports are in use.
//!
//! Workers fill pages, slice by slice, as for a listing; a page is added up here and goes back to its
//! worker to be filled again. So an answer about ten million sessions needs one page a worker, and what
//! it keeps is bounded whatever the network sends.

mod ports;
mod top;

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;
use sluice_dataplane::mailbox::{Cursor, Filter, RequestId, SessionPage, SessionRow, ToWorker};

use super::action::{ActionError, Answer, Outcome, SessionFilter};
use super::pending::{Pending, Work};
use super::{Controller, PATIENCE, sessions};
use crate::config::protocol_name;

pub use ports::{AddressUse, SnatUse, WorkerUse};
pub use top::{Group, GroupBy, Order, Top};

use ports::PortBooks;
use top::Groups;

/// Sessions on a page between a worker and control.
const PAGE: usize = 2048;
/// Surveys at once: each keeps a page for every worker, and groups.
const AT_ONCE: usize = 4;

/// What is asked about the sessions that match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// How many there are.
    Count,
    /// Which groups of them have most.
    Top {
        /// What they are grouped by.
        by: GroupBy,
        /// What counts.
        order: Order,
        /// Groups to tell of.
        limit: usize,
    },
    /// Which NAT ports they hold.
    SnatPorts,
}

/// How many sessions match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SessionCount {
    /// All of them.
    pub sessions: u64,
    /// Of these: copies of sessions that the peer owns.
    pub replicas: u64,
    /// By protocol.
    pub protocols: BTreeMap<String, u64>,
    /// By state.
    pub states: BTreeMap<String, u64>,
    /// By worker, in the order of `system.workers`.
    pub workers: Vec<u64>,
}

/// A survey under way.
#[derive(Debug)]
pub(super) struct Survey {
    /// Workers that have not come to the end of their tables.
    pub(super) left: Vec<usize>,
    sum: Sum,
}

#[derive(Debug)]
enum Sum {
    Count(SessionCount),
    Top(Groups),
    Ports(Box<PortBooks>),
}

impl Sum {
    fn add(&mut self, worker: usize, row: &SessionRow) {
        match self {
            Self::Count(count) => {
                count.sessions += 1;
                count.replicas += u64::from(row.replica);
                let protocol = protocol_name(row.original.proto);
                *count.protocols.entry(protocol).or_default() += 1;
                let state = sessions::state_name(row.original.proto, row.state);
                *count.states.entry(state.to_owned()).or_default() += 1;
                if let Some(of_worker) = count.workers.get_mut(worker) {
                    *of_worker += 1;
                }
            }
            Self::Top(groups) => groups.add(row),
            Self::Ports(books) => books.add(worker, row),
        }
    }
}

impl Controller {
    /// Begins a survey.
    pub(super) fn survey(
        &mut self,
        filter: &SessionFilter,
        question: &Question,
        answer: Answer,
        now: Instant,
    ) {
        let running = self.pending.values();
        let running = running.filter(|it| matches!(it.work, Work::Survey(_)));
        if running.count() >= AT_ONCE {
            let _ = answer.send(Err(ActionError::Busy));
            return;
        }
        let resolved = self.resolve(filter);
        let (filter, only) = match resolved {
            Ok(resolved) => resolved,
            Err(why) => {
                let _ = answer.send(Err(why));
                return;
            }
        };
        let sum = match question {
            Question::Count => Sum::Count(SessionCount {
                workers: vec![0; self.workers.len()],
                ..SessionCount::default()
            }),
            Question::Top { by, order, limit } => Sum::Top(Groups::new(*by, *order, *limit)),
            Question::SnatPorts => Sum::Ports(Box::new(self.port_books())),
        };
        let left = match only {
            Some(worker) => vec![worker],
            None => (0..self.workers.len()).collect(),
        };
        let asked = left.clone();
        let work = Work::Survey(Survey { left, sum });
        let request = self.wait_for(work, answer, now + PATIENCE);
        for worker in asked {
            let page = SessionPage::new(request, filter, Cursor::default(), PAGE);
            self.workers[worker].send(ToWorker::ListSessions(Box::new(page)));
        }
    }

    /// Adds a page up. False if it belongs to no survey.
    pub(super) fn take_survey(&mut self, from: usize, mut page: Box<SessionPage>) {
        let request = page.request;
        let Some(Pending {
            work: Work::Survey(survey),
            ..
        }) = self.pending.get_mut(&request)
        else {
            return;
        };
        for row in &page.rows {
            survey.sum.add(from, row);
        }
        if page.cursor.is_some() {
            page.rows.clear();
            return self.workers[from].send(ToWorker::ListSessions(page));
        }
        survey.left.retain(|&worker| worker != from);
        if survey.left.is_empty() {
            self.finish_survey(request);
        }
    }

    fn finish_survey(&mut self, request: RequestId) {
        let Some(Pending {
            work: Work::Survey(survey),
            answer,
            ..
        }) = self.pending.remove(&request)
        else {
            return;
        };
        let outcome = match survey.sum {
            Sum::Count(count) => Outcome::Count(count),
            Sum::Top(groups) => Outcome::Top(groups.finish(&self.registry)),
            Sum::Ports(books) => Outcome::SnatPools(self.snat_use(&books)),
        };
        let _ = answer.send(Ok(outcome));
    }

    /// A filter with its names looked up, and the one worker that it is about, if it is about one.
    pub(super) fn resolve(
        &self,
        filter: &SessionFilter,
    ) -> Result<(Filter, Option<usize>), ActionError> {
        if let Some(worker) = filter.worker.filter(|&it| it >= self.workers.len()) {
            return Err(ActionError::Unknown {
                parameter: "worker",
                kind: "worker",
                name: worker.to_string(),
                known: (0..self.workers.len()).map(|n| n.to_string()).collect(),
            });
        }
        Ok((sessions::resolve(filter, &self.registry)?, filter.worker))
    }
}
