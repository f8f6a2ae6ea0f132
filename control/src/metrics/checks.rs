//! Health checks: a series for each check of each server, durations and failures by check alone.

use super::families::{Families, Family};
use super::{MOST, family, float};
use crate::controller::Health;
use crate::health::Verdict;

const UP: Family = family(
    "sluice_health_check_up",
    "1 if the check found the server up, 0 if down; absent until it knows.",
);
const DURATION: Family = family(
    "sluice_health_check_duration_seconds",
    "How long checks took that succeeded, all servers together.",
);
const FAILURES: Family = family(
    "sluice_health_check_failures_total",
    "Checks that failed, by reason, all servers together. \"local\" says nothing of servers.",
);

pub(super) fn checks(families: &mut Families, health: &Health) {
    let servers = health.servers.iter().take(MOST);
    for server in servers {
        let (pool, name) = server.name.split_once('/').unwrap_or(("", &server.name));
        for check in &server.checks {
            let up = match check.health {
                Verdict::Unknown => continue,
                Verdict::Up => 1.0,
                Verdict::Down => 0.0,
            };
            let labels = &[("pool", pool), ("server", name), ("check", &check.name)];
            families.gauge(UP, labels, up);
        }
    }
    for check in &health.checks {
        let name = check.name.as_str();
        let classes = check.durations_ms.iter();
        let seconds = classes.map(|class| {
            let bound = class.up_to.map_or(f64::INFINITY, |ms| float(ms) / 1000.0);
            (bound, class.count)
        });
        let sum = check.total_ms / 1000.0;
        families.histogram(DURATION, &[("check", name)], seconds, sum);
        for (reason, &count) in &check.failures {
            let labels = &[("check", name), ("reason", reason)];
            families.counter(FAILURES, labels, float(count));
        }
    }
}
