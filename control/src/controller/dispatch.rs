//! Which action is whose.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use sluice_dataplane::mailbox::Cursor;

use super::action::{Action, ActionError, Answer, Outcome};
use super::pending::Work;
use super::{Controller, Host, MAX_PENDING, PATIENCE};

impl Controller {
    /// Begins an action. The answer comes at once or out of a later [`Controller::poll`].
    pub fn submit(&mut self, action: Action, answer: Answer, now: Instant) {
        let outcome = match action {
            Action::ReadConfig => {
                let (tag, revision) = self.running();
                Ok(Outcome::Config {
                    config: Arc::clone(&self.config),
                    epoch: self.snapshot.epoch,
                    revision,
                    tag,
                })
            }
            Action::ReadPart(part) => self.read_part(&part),
            Action::ReadCandidate(author) => self.read_candidate(&author),
            Action::DropCandidate(author) => self.drop_candidate(&author),
            Action::ReadNext => self.read_next(),
            Action::DropNext => self.drop_next(),
            Action::Compare { from, to } => self.compare(&from, &to),
            Action::ListRevisions => Ok(Outcome::Revisions(self.revisions())),
            Action::ReadRevision(number) => self.read_revision(number),
            Action::Ha => Ok(Outcome::Ha(self.ha(now).map(Box::new))),
            Action::Handover(duty) => {
                let done = self.set_duty(duty, now);
                done.map(|()| Outcome::Ha(self.ha(now).map(Box::new)))
            }
            Action::Health(filter) => self
                .has_pool(&filter)
                .map(|()| Outcome::Health(Box::new(self.health(&filter, now)))),
            Action::Status => Ok(Outcome::Status(Box::new(self.status(now)))),
            Action::Stats => Ok(Outcome::Stats(Box::new(self.stats(now)))),
            Action::ListRoutes => Ok(Outcome::Routes(self.routes())),
            Action::ListTiers(name) => self.tiers(name.as_deref(), now).map(Outcome::Tiers),
            Action::ListWorkers => Ok(Outcome::Workers(self.worker_states())),
            Action::ListDrops => Ok(Outcome::Drops(self.drop_states())),
            Action::ListPorts => Ok(Outcome::Ports(self.port_states(now))),
            Action::ReadDevice(name) => self
                .device_state(&name)
                .map(|device| Outcome::Device(Box::new(device))),
            Action::FindHost => match &self.host {
                Host::On(interface) if self.config.host.is_some() => {
                    Ok(Outcome::HostNamespace(interface.path().to_owned()))
                }
                _ => Err(ActionError::NoHost),
            },
            Action::PlanConnectivity(query) => self.plan_connectivity(&query, now),
            Action::StartCapture(new) => self.start_capture(*new),
            Action::ListCaptures => Ok(self.list_captures()),
            Action::FindCapture(id) => {
                let found = self.find_capture(id);
                found.map(|capture| Outcome::CaptureHandle(capture.clone()))
            }
            Action::FindEnding(id) => self.find_ending(id),
            Action::StopCapture(id) => self.stop_capture(id),
            Action::RemoveCapture(id) => self.remove_capture(id),
            // Whoever asks much must not keep anybody from changing things, or from confirming them.
            Action::Change(change) => return self.change(*change, answer, now),
            Action::Confirm(author) => {
                let done = self.confirm(&author);
                return self.finish_trial(done, answer, now);
            }
            Action::Revert(author) => {
                let done = self.revert(&author);
                return self.finish_trial(done, answer, now);
            }
            waiting if self.pending.len() >= MAX_PENDING => {
                tracing::warn!(?waiting, "too many requests wait for workers");
                Err(ActionError::Busy)
            }
            Action::Trace(query) => return self.start_trace(&query, answer, now),
            Action::ListSessions(query) => match self.resolve(&query.filter) {
                Ok((filter, only)) => {
                    let (worker, from) = match only {
                        Some(only) if query.from.worker < only => (only, Cursor::default()),
                        _ => (query.from.worker, query.from.entry),
                    };
                    let work = Work::List {
                        filter,
                        limit: query.limit,
                        worker,
                        only: only.is_some(),
                        rows: Vec::new(),
                    };
                    let request = self.wait_for(work, answer, now + PATIENCE);
                    return self.ask_for_sessions(request, from);
                }
                Err(why) => Err(why),
            },
            Action::Survey(filter, question) => {
                return self.survey(&filter, &question, answer, now);
            }
            Action::EndSessions { filter, reset } => {
                return self.end_sessions(&filter, reset, answer, now);
            }
            Action::ListNeighbours => {
                let work = Work::Neighbours {
                    worker: 0,
                    rows: HashMap::new(),
                };
                let request = self.wait_for(work, answer, now + PATIENCE);
                return self.ask_for_neighbours(request, 0);
            }
        };
        // Whoever asked may have gone away.
        let _ = answer.send(outcome);
    }
}
