//! Sessions that are being ended, where that takes longer than somebody waits for an answer: both ends of a
//! million of them are told at a bounded rate.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sluice_dataplane::mailbox::{EndRequest, RequestId, ToWorker};

use super::Controller;
use super::action::{ActionError, Answer, Ended, Outcome, SessionFilter};
use super::pending::{Pending, Work};

/// How long the answer waits for the last of them.
const PATIENCE: Duration = Duration::from_secs(10);
/// Endings that can be asked about; older ones are forgotten.
const KEPT: usize = 64;

/// What workers do of one request.
#[derive(Debug)]
pub(super) struct Ending {
    /// Workers that are not done, and how many sessions each has ended so far.
    left: Vec<(usize, Arc<AtomicU64>)>,
    /// Those that the others have ended.
    ended: u64,
}

impl Ending {
    /// The worker that is waited for.
    pub(super) fn waits_for(&self) -> usize {
        self.left.first().map_or(0, |&(worker, _)| worker)
    }

    /// `id`: the request's.
    fn view(&self, id: RequestId) -> Ended {
        let so_far = self.left.iter();
        let so_far: u64 = so_far.map(|(_, ended)| ended.load(Ordering::Relaxed)).sum();
        Ended {
            id: id.0,
            ended: self.ended + so_far,
            going_on: !self.left.is_empty(),
        }
    }

    fn take(&mut self, worker: usize, end: &EndRequest) {
        self.left.retain(|&(known, _)| known != worker);
        self.ended += end.ended;
    }
}

/// Those that nobody waits for any more, by their requests.
pub(super) type Endings = VecDeque<(RequestId, Ending)>;

impl Controller {
    /// Has workers end sessions. The answer comes when they have, or says after a while how far they are.
    pub(super) fn end_sessions(
        &mut self,
        filter: &SessionFilter,
        reset: bool,
        answer: Answer,
        now: Instant,
    ) {
        let (filter, only) = match self.resolve(filter) {
            Ok(resolved) => resolved,
            Err(why) => return drop(answer.send(Err(why))),
        };
        let asked = match only {
            Some(only) => only..only + 1,
            None => 0..self.workers.len(),
        };
        let left = asked.map(|worker| (worker, Arc::<AtomicU64>::default()));
        let left: Vec<_> = left.collect();
        let to = left.clone();
        let work = Work::End(Ending { left, ended: 0 });
        let request = self.wait_for(work, answer, now + PATIENCE);
        for (worker, so_far) in to {
            let end = EndRequest::new(request, filter).telling(reset);
            let end = end.noting(so_far);
            self.workers[worker].send(ToWorker::EndSessions(Box::new(end)));
        }
    }

    /// A worker is done.
    pub(super) fn take_ended(&mut self, from: usize, end: &EndRequest) {
        if let Some(Pending {
            work: Work::End(ending),
            ..
        }) = self.pending.get_mut(&end.request)
        {
            ending.take(from, end);
            let view = ending.view(end.request);
            if !view.going_on {
                self.answer(end.request, Ok(Outcome::Ended(view)));
            }
        } else if let Some((_, ending)) = self.endings.iter_mut().find(|it| it.0 == end.request) {
            ending.take(from, end);
        }
    }

    /// It goes on without anybody who waits; what there is to say now.
    pub(super) fn go_on_ending(&mut self, request: RequestId, ending: Ending) -> Ended {
        if self.endings.len() >= KEPT {
            self.endings.pop_front();
        }
        let view = ending.view(request);
        self.endings.push_back((request, ending));
        view
    }

    /// How far one is that was not done in time.
    pub(super) fn find_ending(&self, id: u64) -> Result<Outcome, ActionError> {
        let found = self.endings.iter().find(|it| it.0.0 == id);
        let (request, ending) = found.ok_or(ActionError::NoSuchEnding(id))?;
        Ok(Outcome::Ended(ending.view(*request)))
    }
}
