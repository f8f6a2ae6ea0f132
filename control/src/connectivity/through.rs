//! Whether the appliance itself is served at a VIP, as a client by the host interface.

use std::net::SocketAddr;

use futures_util::future::join_all;
use sluice_dataplane::snapshot::{LbMode, Local, Snapshot};
use sluice_wire::proto;

use super::run::{attempt, tell};
use super::{StepResult, Verdict};
use crate::config::{CheckKind, Config, VirtualServer, Words};
use crate::health::{Attempt, Prober};
use crate::host::way_to;

/// Attempts at a VIP.
#[derive(Debug, Clone)]
pub(super) struct ThroughPlan {
    /// What is tried, as `connect` or by the name of a health check; `Err` says why nothing is.
    pub(super) attempts: Result<Vec<(Option<String>, Attempt)>, &'static str>,
    /// What it means if one fails.
    pub(super) bad: Verdict,
}

impl ThroughPlan {
    /// A connection, and those health checks of the pool that ask for what clients are served.
    pub(super) fn of(
        config: &Config,
        snapshot: &Snapshot,
        vs: &VirtualServer,
        timeout_ms: u32,
    ) -> Self {
        // Who is redirected where no server takes him is a client; the appliance itself is refused.
        let bad = match vs.redirect {
            Some(_) => Verdict::Warning,
            None => Verdict::Failed,
        };
        Self {
            attempts: attempts(config, snapshot, vs, timeout_ms),
            bad,
        }
    }

    /// One step for each attempt.
    pub(super) async fn steps(&self, prober: Option<&Prober>) -> Vec<StepResult> {
        let attempts = match &self.attempts {
            Ok(attempts) => attempts,
            Err(why) => return vec![StepResult::new("connect", Verdict::Skipped, *why)],
        };
        let tried = attempts.iter().map(|(check, it)| async move {
            let tried = attempt(prober, it.clone()).await;
            let to = it.address;
            let step = if check.is_some() { "check" } else { "connect" };
            tell(step, &tried, self.bad, |why| match (check, why) {
                (None, None) => format!("{to} takes connections of the appliance itself"),
                (None, Some(why)) => format!("{to}, of the appliance itself: {why}"),
                (Some(name), None) => format!("{name} finds what it wants at {to}"),
                (Some(name), Some(why)) => format!("{name} at {to}: {why}"),
            })
        });
        join_all(tried).await
    }
}

fn attempts(
    config: &Config,
    snapshot: &Snapshot,
    vs: &VirtualServer,
    timeout_ms: u32,
) -> Result<Vec<(Option<String>, Attempt)>, &'static str> {
    if vs.mode == LbMode::Dsr {
        return Err("real servers that return directly cannot answer the appliance itself");
    }
    if let Some(Local::Own(_)) = snapshot.local.get(vs.address) {
        return Err("what the appliance sends to an address of its port does not leave its kernel");
    }
    if snapshot.routes.lookup(vs.address).is_none() && way_to(config, snapshot, vs).is_none() {
        return Err("the appliance has no address of the VIP's family");
    }
    let tcp = vs.protocol.is_none_or(|it| it == proto::TCP);
    let port = vs.ports.map_or(80, |(first, _)| first);
    let address = SocketAddr::new(vs.address, port);
    let mut attempts = Vec::new();
    if tcp {
        let connect = Attempt {
            address,
            host: None,
            kind: CheckKind::Tcp(Words::default()),
            timeout_ms,
        };
        attempts.push((None, connect));
    }
    let pool = config.pools.get(vs.pool.0);
    let checks = pool.and_then(|pool| {
        let server = pool.servers.first()?;
        let served = server.port.or(vs.ports.map(|(first, _)| first));
        let checks = config.checks(pool, server).into_iter();
        let same = checks.filter(move |check| {
            is_over(&check.kind, tcp) && config.check_port(pool, server, check) == served
        });
        Some(same.map(|check| {
            let attempt = Attempt {
                address,
                host: server.check_host.clone(),
                kind: check.kind.clone(),
                timeout_ms: check.timeout_ms,
            };
            (Some(check.name.to_string()), attempt)
        }))
    });
    attempts.extend(checks.into_iter().flatten());
    match attempts.is_empty() {
        true => Err("there is nothing to send: no connections but those of TCP, and no check"),
        false => Ok(attempts),
    }
}

/// Whether a check asks by TCP, or by UDP, for what the service has.
fn is_over(kind: &CheckKind, tcp: bool) -> bool {
    match kind {
        CheckKind::Tls(_) | CheckKind::Http(_) | CheckKind::Grpc(_) => tcp,
        // An empty one is a connection, which is tried anyway.
        CheckKind::Tcp(words) => tcp && *words != Words::default(),
        CheckKind::Dns(_) | CheckKind::Udp(_) => !tcp,
        CheckKind::Icmp | CheckKind::Script { .. } => false,
    }
}
