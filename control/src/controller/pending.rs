//! Actions that wait for workers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use sluice_dataplane::mailbox::{Filter, NeighbourRow, RequestId, SessionRow};
use sluice_dataplane::snapshot::PortId;

use super::Controller;
use super::action::{ActionError, Answer, Outcome};
use super::change::Committed;
use super::endings::Ending;
use super::survey::Survey;
use crate::trace::StepView;

/// An action that is not done yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) answer: Answer,
    /// When to give up.
    pub(super) deadline: Instant,
    pub(super) work: Work,
}

/// What is left of it.
#[derive(Debug)]
pub(super) enum Work {
    /// All workers have to reach its epoch.
    Adopt(Box<Committed>),
    /// Workers are asked one after the other until the page is full.
    List {
        filter: Filter,
        limit: usize,
        worker: usize,
        /// Ask no other.
        only: bool,
        rows: Vec<(usize, SessionRow)>,
    },
    /// Workers that end sessions.
    End(Ending),
    /// Pages come from all workers at once, and are added up.
    Survey(Survey),
    /// A packet is followed from worker to worker.
    Trace {
        worker: usize,
        steps: Vec<StepView>,
        handovers: usize,
    },
    /// Workers are asked one after the other; the latest news of each neighbour.
    Neighbours {
        worker: usize,
        rows: HashMap<(PortId, IpAddr), NeighbourRow>,
    },
}

impl Work {
    /// The worker that it waits for, to blame it.
    pub(super) fn waits_for(&self) -> usize {
        match self {
            Self::Adopt(_) => 0,
            Self::List { worker, .. }
            | Self::Trace { worker, .. }
            | Self::Neighbours { worker, .. } => *worker,
            Self::End(ending) => ending.waits_for(),
            Self::Survey(Survey { left, .. }) => left.first().copied().unwrap_or(0),
        }
    }
}

impl Controller {
    /// Gives up on what takes too long, or nobody waits for. Sessions go on being ended all the same.
    pub(super) fn give_up_on_late(&mut self, now: Instant) {
        let late = |(&request, pending): (&RequestId, &Pending)| {
            (pending.deadline <= now || pending.answer.is_closed()).then_some(request)
        };
        let late: Vec<RequestId> = self.pending.iter().filter_map(late).collect();
        for request in late {
            let Some(Pending { answer, work, .. }) = self.pending.remove(&request) else {
                continue;
            };
            let outcome = match work {
                Work::End(ending) => Ok(Outcome::Ended(self.go_on_ending(request, ending))),
                work => Err(ActionError::Silent(work.waits_for())),
            };
            let _ = answer.send(outcome);
        }
    }
}
