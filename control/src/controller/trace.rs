//! A trace goes from worker to worker as the packet would.

use std::time::Instant;

use sluice_dataplane::io::DeviceId;
use sluice_dataplane::mailbox::trace::{Trace, Verdict};
use sluice_dataplane::mailbox::{RequestId, ToWorker};
use sluice_wire::parse::{Kind, parse};
use sluice_wire::{V4, V6};

use super::action::{ActionError, Answer, Outcome};
use super::pending::{Pending, Work};
use super::{Controller, PATIENCE, sessions};
use crate::trace::{Names, TraceFault, TraceQuery, frame};

/// Workers that a packet may be handed to: one for each reason, and one to spare.
const HANDOVERS: usize = 5;

impl Controller {
    /// Asks the worker that the packet would come to.
    pub(super) fn start_trace(&mut self, query: &TraceQuery, answer: Answer, now: Instant) {
        let (device, tag, bytes) = match self.packet_of(query) {
            Ok(packet) => packet,
            Err(TraceFault { key, found, remedy }) => {
                let why = ActionError::Body {
                    pointer: format!("/{key}"),
                    found,
                    remedy: remedy.to_owned(),
                };
                let _ = answer.send(Err(why));
                return;
            }
        };
        let worker = self.first_worker(device, tag, &bytes);
        let work = Work::Trace {
            worker,
            steps: Vec::new(),
            handovers: 0,
        };
        let request = self.wait_for(work, answer, now + PATIENCE);
        let trace = Trace::new(request, device, tag, bytes);
        self.send_trace(request, worker, Box::new(trace));
    }

    /// A worker has answered: it knows, or another one does.
    pub(super) fn take_trace(&mut self, from: usize, mut trace: Box<Trace>) {
        let request = trace.request;
        let registry = &self.registry;
        let Some(Pending {
            work:
                Work::Trace {
                    worker,
                    steps,
                    handovers,
                },
            ..
        }) = self.pending.get_mut(&request)
        else {
            return;
        };
        let names = Names {
            registry,
            state: sessions::state_name,
        };
        let view = names.view(
            &trace
                .steps
                .drain(..)
                .map(|step| (from, step))
                .collect::<Vec<_>>(),
            trace.verdict,
        );
        steps.extend(view.steps.iter().cloned());
        match trace.verdict {
            Verdict::Pass(to, why) if *handovers < HANDOVERS && why > trace.why => {
                steps.push(Names::handover(from, to, why));
                *handovers += 1;
                *worker = usize::from(to);
                trace.why = why;
                self.send_trace(request, usize::from(to), trace);
            }
            _ => {
                let steps = std::mem::take(steps);
                let view = crate::trace::TraceView { steps, ..view };
                self.answer(request, Ok(Outcome::Trace(Box::new(view))));
            }
        }
    }

    fn send_trace(&mut self, request: RequestId, worker: usize, trace: Box<Trace>) {
        match self.workers.get_mut(worker) {
            Some(link) => link.send(ToWorker::Trace(trace)),
            None => self.answer(request, Err(ActionError::Silent(worker))),
        }
    }

    fn packet_of(
        &self,
        query: &TraceQuery,
    ) -> Result<(DeviceId, Option<u16>, Vec<u8>), TraceFault> {
        let names = self.registry.ports();
        let at = names.iter().position(|name| *name == query.port);
        let known = at.and_then(|at| self.snapshot.ports.get(at));
        let port = known.ok_or_else(|| TraceFault {
            key: "port",
            found: format!("there is no port {:?}", query.port),
            remedy: "write the name of a port",
        })?;
        let (bytes, tag) = frame(query, port)?;
        Ok((port.device, tag, bytes))
    }

    /// The worker that the device gives the frame to. Where the device does not spread, any worker
    /// may get it, and hands it to the one that is home to its tuple.
    fn first_worker(&self, device: DeviceId, tag: Option<u16>, frame: &[u8]) -> usize {
        let Ok(parsed) = parse(frame, tag, true) else {
            return 0;
        };
        if !matches!(parsed.kind, Kind::Session | Kind::IcmpError) {
            return 0;
        }
        let tuple = match parsed.v6 {
            true => parsed.key_v6(frame, 0).tuple::<V6>(),
            false => parsed.key_v4(frame, 0).tuple::<V4>(),
        };
        usize::from(self.snapshot.steering.home_of(device, &tuple))
    }
}
