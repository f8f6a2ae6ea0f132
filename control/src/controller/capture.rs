//! Captures: begun at all workers, ended at all workers.

use std::sync::Arc;

use sluice_dataplane::capture::{self, CaptureId, MOST, TapSpec};
use sluice_dataplane::mailbox::ToWorker;

use super::Controller;
use super::action::{ActionError, Outcome};
use crate::capture::{Capture, CaptureSpec, Collector, Interfaces, KEPT, NewCapture};

/// Room for two VLAN tags and the Ethernet header on top of an MTU.
const HEADERS: usize = 22;

/// A capture, and whether workers were told that it is over.
#[derive(Debug)]
pub(super) struct Kept {
    capture: Capture,
    told: bool,
}

impl Controller {
    /// Begins a capture. Of those that are over, the oldest makes room.
    pub(super) fn start_capture(&mut self, new: NewCapture) -> Result<Outcome, ActionError> {
        let (ports, link) = self.ports_by_name(&new.spec)?;
        if self.captures.len() >= KEPT {
            let over = |kept: &Kept| kept.told && kept.capture.is_closed();
            let oldest = self.captures.iter().position(over);
            let oldest = oldest.ok_or(ActionError::TooManyCaptures(MOST))?;
            self.captures.remove(oldest).capture.forget();
        }
        self.last_capture += 1;
        let id = CaptureId(self.last_capture);
        let largest = self.facts.iter().map(|facts| usize::from(facts.mtu)).max();
        let spec = TapSpec {
            id,
            program: Arc::new(new.program),
            ports: ports.into(),
            link,
            snaplen: (new.spec.snaplen as usize).min(largest.unwrap_or(0) + HEADERS),
            per_s: new.spec.packets_per_second,
        };
        let taps = self.workers.iter().map(|_| capture::tap(spec.clone()));
        let (taps, ends): (Vec<_>, Vec<_>) = taps.unzip();
        let capture = Capture::new(id, new.spec);
        let failed = |why: String| ActionError::NoCapture(why);
        let program = format!("Sluice {}", self.version);
        let interfaces = Interfaces {
            ports: self.registry.ports().to_vec(),
            link: self.link_name().map(str::to_owned),
        };
        let collector = Collector::new(capture.clone(), ends, &program, &interfaces)
            .map_err(|why| failed(why.to_string()))?;
        std::thread::Builder::new()
            .name("sluice-capture".to_owned())
            .spawn(move || collector.run())
            .map_err(|why| failed(why.to_string()))?;
        for (worker, tap) in self.workers.iter_mut().zip(taps) {
            worker.send(ToWorker::Capture(tap));
        }
        let view = capture.view();
        self.captures.push(Kept {
            capture,
            told: false,
        });
        Ok(Outcome::Capture(Box::new(view)))
    }

    /// All captures, oldest first.
    pub(super) fn list_captures(&self) -> Outcome {
        let views = self.captures.iter().map(|kept| kept.capture.view());
        Outcome::Captures(views.collect())
    }

    /// One of them.
    pub(super) fn find_capture(&self, id: u64) -> Result<&Capture, ActionError> {
        let found = self.captures.iter().find(|kept| kept.capture.id().0 == id);
        let found = found.map(|kept| &kept.capture);
        found.ok_or(ActionError::NoSuchCapture(id))
    }

    /// Ends one, and keeps what it has.
    pub(super) fn stop_capture(&self, id: u64) -> Result<Outcome, ActionError> {
        let capture = self.find_capture(id)?;
        capture.stop();
        Ok(Outcome::Capture(Box::new(capture.view())))
    }

    /// Ends one, and forgets it.
    pub(super) fn remove_capture(&mut self, id: u64) -> Result<Outcome, ActionError> {
        self.find_capture(id)?.forget();
        self.tell_end(id);
        self.captures.retain(|kept| kept.capture.id().0 != id);
        Ok(Outcome::Done)
    }

    /// Tells workers of captures that are over.
    pub(super) fn look_at_captures(&mut self) {
        let over = |kept: &&Kept| !kept.told && kept.capture.is_over();
        let over = self.captures.iter().filter(over);
        let over: Vec<u64> = over.map(|kept| kept.capture.id().0).collect();
        for id in over {
            self.tell_end(id);
        }
    }

    fn tell_end(&mut self, id: u64) {
        let kept = self.captures.iter_mut();
        for kept in kept.filter(|kept| kept.capture.id().0 == id && !kept.told) {
            kept.told = true;
            for worker in &mut self.workers {
                worker.send(ToWorker::EndCapture(kept.capture.id()));
            }
        }
    }

    /// The device of the link to the other appliance.
    fn link_name(&self) -> Option<&str> {
        let ha = self.config.ha.as_ref()?;
        Some(ha.device.as_str())
    }

    /// By port, whether its frames are captured, empty for all ports; and whether those of the link to the
    /// other appliance are.
    fn ports_by_name(&self, spec: &CaptureSpec) -> Result<(Vec<bool>, bool), ActionError> {
        let (names, known) = (&spec.ports, self.registry.ports());
        let link = |name: &String| self.link_name() == Some(name.as_str());
        let unknown = |name: &String| !known.contains(name) && !link(name);
        if let Some(at) = names.iter().position(unknown) {
            return Err(ActionError::Body {
                pointer: format!("/ports/{at}"),
                found: format!("there is no port {:?}", names[at]),
                remedy: format!("write names of ports: {}", known.join(", ")),
            });
        }
        if spec.ha && self.link_name().is_none() {
            return Err(ActionError::NoPeer);
        }
        let ports = match names.is_empty() {
            true => Vec::new(),
            false => known.iter().map(|port| names.contains(port)).collect(),
        };
        Ok((ports, spec.ha || names.iter().any(link)))
    }
}
