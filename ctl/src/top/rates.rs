//! What changed between two looks at the counters, a second.

use serde_json::Value;

use crate::client::{Client, Failure};
use crate::table::{cell, list, number};

/// All counters at one time, and what runs.
pub(super) struct Look {
    pub(super) stats: Value,
    pub(super) status: Value,
    /// `null` where there is no other appliance.
    pub(super) ha: Value,
}

impl Look {
    pub(super) fn take(client: &Client) -> Result<Self, Failure> {
        Ok(Self {
            stats: client.get("/stats", &[])?,
            status: client.get("/status", &[])?,
            ha: client.get("/ha", &[])?,
        })
    }
}

/// Of a worker.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WorkerRate {
    /// Share of its time in rounds that found something.
    pub(super) load: f64,
    pub(super) received: f64,
    pub(super) dropped: f64,
    pub(super) sessions: u64,
    pub(super) opened: f64,
}

/// Of a port.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PortRate {
    pub(super) name: String,
    pub(super) up: bool,
    /// Frames and bits, in and out.
    pub(super) rates: [f64; 4],
}

/// Of a real server.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ServerRate {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) sessions: u64,
    pub(super) opened: f64,
    /// Bits of both directions.
    pub(super) bits: f64,
}

/// Of the other appliance.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HaRate {
    /// `present`, `joining` or `dead`.
    pub(super) peer: String,
    /// Nothing would be lost if this node died.
    pub(super) ready: bool,
    pub(super) own: u64,
    pub(super) replicas: u64,
    pub(super) untold: u64,
    pub(super) lag: u64,
    /// Records told and heard, packets handed over and taken, a second.
    pub(super) rates: [f64; 4],
}

/// Everything on the screen.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rates {
    pub(super) name: String,
    pub(super) uptime_ms: u64,
    pub(super) epoch: u64,
    pub(super) sessions: u64,
    pub(super) limit: u64,
    pub(super) opened: f64,
    pub(super) ended: f64,
    pub(super) workers: Vec<WorkerRate>,
    pub(super) ports: Vec<PortRate>,
    pub(super) servers: Vec<ServerRate>,
    /// Reason, a second, and since the start; what is dropped now first.
    pub(super) drops: Vec<(String, f64, u64)>,
    /// The other appliance, if there is one.
    pub(super) ha: Option<HaRate>,
}

impl Rates {
    /// Counters that went back belong to another process, and count from 0.
    pub(super) fn between(before: &Look, now: &Look) -> Self {
        let time = |look: &Look| number(&look.stats["uptime_ms"]);
        let restarted = time(now) < time(before);
        let nothing = Value::Null;
        let old = if restarted { &nothing } else { &before.stats };
        let passed = time(now).saturating_sub(if restarted { 0 } else { time(before) });
        let seconds = (passed as f64 / 1000.0).max(0.001);
        let grown = |now: &Value, old: &Value, key: &str| {
            number(&now[key]).saturating_sub(number(&old[key])) as f64 / seconds
        };
        let sum =
            |worker: &Value, keys: &[&str]| keys.iter().map(|&key| number(&worker[key])).sum();
        let dropped = |worker: &Value| -> u64 {
            let drops = worker["dropped"].as_object().into_iter().flatten();
            drops.map(|(_, count)| number(count)).sum()
        };
        let workers = list(&now.stats, "workers").enumerate().map(|(at, worker)| {
            let old = &old["workers"][at];
            WorkerRate {
                load: grown(worker, old, "busy_ns") / 1e9,
                received: grown(worker, old, "received"),
                dropped: dropped(worker).saturating_sub(dropped(old)) as f64 / seconds,
                sessions: sum(worker, &["sessions_v4", "sessions_v6"]),
                opened: grown(worker, old, "sessions_opened"),
            }
        });
        // Items of lists come and go with the configuration, so they are found by name.
        let of = |list_name: &str, item: &Value| {
            let found = list(old, list_name).find(|old| old["name"] == item["name"]);
            found.cloned().unwrap_or_default()
        };
        let ports = list(&now.stats, "ports").map(|port| {
            let old = of("ports", port);
            let status = list(&now.status, "ports").find(|it| it["name"] == port["name"]);
            PortRate {
                name: cell(&port["name"]),
                up: status.is_some_and(|port| port["link"]["up"] == Value::Bool(true)),
                rates: [
                    grown(port, &old, "rx_frames"),
                    8.0 * grown(port, &old, "rx_bytes"),
                    grown(port, &old, "tx_frames"),
                    8.0 * grown(port, &old, "tx_bytes"),
                ],
            }
        });
        let servers = list(&now.stats, "servers").map(|server| {
            let old = of("servers", server);
            let bytes = grown(server, &old, "bytes_original") + grown(server, &old, "bytes_reply");
            ServerRate {
                name: cell(&server["name"]),
                state: cell(&server["state"]),
                sessions: number(&server["sessions"]),
                opened: grown(server, &old, "sessions_opened"),
                bits: 8.0 * bytes,
            }
        });
        let total = &now.stats["total"];
        let all = total["dropped"].as_object().into_iter().flatten();
        let drops = all.filter(|(_, count)| number(count) > 0);
        let mut drops: Vec<_> = drops
            .map(|(reason, count)| {
                let rate = grown(&total["dropped"], &old["total"]["dropped"], reason);
                (reason.clone(), rate, number(count))
            })
            .collect();
        drops.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.2.cmp(&a.2)));
        let sessions = &now.status["sessions"];
        let old_ha = if restarted { &nothing } else { &before.ha };
        let ha = now.ha.is_object().then(|| HaRate {
            peer: cell(&now.ha["peer_state"]),
            ready: now.ha["ready"] == Value::Bool(true),
            own: number(&now.ha["sessions_own"]),
            replicas: number(&now.ha["sessions_replica"]),
            untold: number(&now.ha["sessions_untold"]),
            lag: number(&now.ha["lag"]),
            rates: [
                "records_sent",
                "records_received",
                "redirected",
                "corrected_received",
            ]
            .map(|key| grown(&now.ha, old_ha, key)),
        });
        Self {
            name: cell(&now.status["name"]),
            uptime_ms: time(now),
            epoch: number(&now.status["epoch"]),
            sessions: sum(sessions, &["v4", "v6"]),
            limit: sum(sessions, &["limit_v4", "limit_v6"]),
            opened: grown(total, &old["total"], "sessions_opened"),
            ended: grown(total, &old["total"], "sessions_ended"),
            workers: workers.collect(),
            ports: ports.collect(),
            servers: servers.collect(),
            drops,
            ha,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn look(uptime_ms: u64, received: u64, denied: u64) -> Look {
        Look {
            stats: json!({
                "uptime_ms": uptime_ms,
                "workers": [{ "received": received, "busy_ns": received * 1_000_000,
                              "dropped": { "denied": denied }, "sessions_v4": 3 }],
                "total": { "dropped": { "denied": denied, "spoofed": 9, "no_route": 0 } },
                "ports": [{ "name": "wan", "rx_bytes": received * 100 }],
                "servers": [{ "name": "web/a", "state": "up", "sessions": 2 }],
            }),
            status: json!({ "name": "a", "epoch": 4, "sessions": { "v4": 3, "limit_v4": 10 },
                            "ports": [{ "name": "wan", "link": { "up": true } }] }),
            ha: json!({ "peer_state": "present", "ready": true, "records_sent": received }),
        }
    }

    #[test]
    fn rates_are_by_the_appliances_own_clock() {
        let rates = Rates::between(&look(1000, 100, 5), &look(3000, 300, 25));
        assert_eq!(rates.workers[0].received, 100.0);
        assert_eq!(rates.workers[0].dropped, 10.0);
        assert!((rates.workers[0].load - 0.1).abs() < 1e-9);
        assert_eq!(rates.ports[0].rates[1], 80_000.0);
        assert!(rates.ports[0].up);
        let ha = rates.ha.as_ref().expect("a peer");
        assert_eq!((ha.ready, ha.rates[0]), (true, 100.0));
        assert_eq!((rates.sessions, rates.limit), (3, 10));
        let drops: Vec<_> = rates.drops.iter().map(|it| (it.0.as_str(), it.1)).collect();
        assert_eq!(drops, [("denied", 10.0), ("spoofed", 0.0)]);
    }

    #[test]
    fn after_a_restart_counters_begin_at_nothing() {
        let rates = Rates::between(&look(900_000, 5000, 5), &look(2000, 300, 4));
        assert_eq!(rates.workers[0].received, 150.0);
        assert_eq!(rates.drops[0].1, 4.5);
    }
}
