//! What a connectivity test is about.

use std::time::Instant;

use super::action::{ActionError, HealthFilter, Outcome};
use super::{Controller, Host};
use crate::connectivity::{ConnectivityQuery, Ground};

impl Controller {
    /// What there is to do. Begins the thread of the checks, where there were none.
    pub(super) fn plan_connectivity(
        &mut self,
        query: &ConnectivityQuery,
        now: Instant,
    ) -> Result<Outcome, ActionError> {
        let there = matches!(self.host, Host::On(_)) && self.config.host.is_some();
        if there && self.checker.is_none() {
            self.start_checker();
        }
        let prober = self.checker.as_ref().filter(|_| there);
        let ground = Ground {
            config: &self.config,
            snapshot: &self.snapshot,
            ports: self.living_ports().map(|(_, port)| port).collect(),
            health: self.health(&HealthFilter::default(), now).servers,
            prober: prober.and_then(|checker| checker.prober()),
        };
        let plan = ground.plan(query)?;
        Ok(Outcome::Connectivity(Box::new(plan)))
    }
}
