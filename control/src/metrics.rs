//! What Prometheus reads: the counters of [`Stats`] and [`Status`] under the names and in the units
//! that it is used to.
//!
//! How many series there are depends on the configuration and on nothing that the network sends:
//! per worker, drop reason, port, device, other appliance, SNAT pool, service and real server. Of the
//! last two no more than 4096 each are told; the rest is a number in `sluice_metrics_omitted`.

mod checks;
mod families;
mod flows;
mod peers;
mod roles;
mod tiers;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::published::{PortCounter, WorkerCounter};

use crate::controller::{
    Class, DeviceStats, Ha, Health, PortStats, Stats, Status, Tiers, WorkerStats,
};
use crate::health::Verdict;
use families::{Families, Family};
use flows::{SERVER, SERVICE, flows};

/// Services and real servers at most, each, that are told of.
const MOST: usize = 4096;

/// The media type of [`text`].
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const fn family(name: &'static str, help: &'static str) -> Family {
    Family { name, help }
}

/// Nanoseconds in a second; to divide by, which rounds better than to multiply by its inverse.
const NS: f64 = 1e9;
/// Milliseconds in a second.
const MS: f64 = 1e3;

/// Counts above 2^53 lose their last bits; so they do in Prometheus itself.
fn float(count: u64) -> f64 {
    count as f64
}

/// Everything, in Prometheus' text format.
///
/// # Errors
/// If the encoder refuses a family; see `Families::text`.
pub fn text(
    stats: &Stats,
    status: &Status,
    health: &Health,
    tiers: &[Tiers],
    ha: Option<&Ha>,
) -> prometheus::Result<String> {
    let mut families = Families::default();
    node(&mut families, stats, status);
    for (number, worker) in stats.workers.iter().enumerate() {
        self::worker(&mut families, &number.to_string(), worker);
    }
    for port in &stats.ports {
        self::port(&mut families, port);
    }
    for port in &status.ports {
        let labels = &[
            ("port", port.name.as_str()),
            ("device", &port.device),
            ("zone", &port.zone),
        ];
        let up = f64::from(u8::from(port.link.up));
        families.gauge(PORT_UP, labels, up);
    }
    for device in &stats.devices {
        self::device(&mut families, device);
    }
    for pool in &stats.snat_pools {
        let labels = &[("pool", pool.name.as_str())];
        families.gauge(POOL_PORTS, labels, float(pool.ports));
        families.gauge(POOL_SESSIONS, labels, float(pool.sessions));
        families.counter(POOL_EXHAUSTED, labels, float(pool.exhausted));
    }
    for server in &stats.syslog {
        let labels = &[("server", server.name.as_str())];
        let connected = f64::from(u8::from(server.connected));
        families.gauge(SYSLOG_UP, labels, connected);
        families.counter(SYSLOG_SENT, labels, float(server.counts.sent));
        families.counter(SYSLOG_LOST, labels, float(server.counts.lost));
    }
    for service in stats.services.iter().take(MOST) {
        let labels = &[("kind", service.kind), ("service", service.name.as_str())];
        flows(&mut families, &SERVICE, labels, &service.counts);
        families.gauge(SERVICE.sessions, labels, float(service.sessions));
    }
    for server in stats.servers.iter().take(MOST) {
        let (pool, name) = server.name.split_once('/').unwrap_or(("", &server.name));
        let labels = &[("pool", pool), ("server", name)];
        flows(&mut families, &SERVER, labels, &server.counts);
        families.gauge(SERVER.sessions, labels, float(server.sessions));
        families.gauge(SERVER_WEIGHT, labels, f64::from(server.weight));
        let healthy = f64::from(u8::from(server.health != Verdict::Down));
        families.gauge(SERVER_HEALTHY, labels, healthy);
        for state in ["up", "draining", "down"] {
            let labels = &[("pool", pool), ("server", name), ("state", state)];
            let is = f64::from(u8::from(server.state == state));
            families.gauge(SERVER_STATE, labels, is);
        }
    }
    checks::checks(&mut families, health);
    tiers::tiers(&mut families, tiers);
    if let Some(ha) = ha {
        roles::roles(&mut families, ha);
        peers::peers(&mut families, ha);
    }
    let kinds = [
        ("service", stats.services.len()),
        ("server", stats.servers.len()),
    ];
    for (kind, there) in kinds {
        let omitted = there.saturating_sub(MOST) as u64;
        families.gauge(OMITTED, &[("kind", kind)], float(omitted));
    }
    families.text()
}

/// When the API's certificate ends, to stand beside [`text`].
///
/// # Errors
/// As of [`text`].
pub fn certificate(expires: u64) -> prometheus::Result<String> {
    let mut families = Families::default();
    families.gauge(CERTIFICATE, &[], float(expires));
    families.text()
}

const CERTIFICATE: Family = family(
    "sluice_api_certificate_expiry_timestamp_seconds",
    "When the API's certificate ends, in seconds since 1970.",
);
const INFO: Family = family("sluice_build_info", "Always 1; the labels tell what runs.");
const UPTIME: Family = family("sluice_uptime_seconds", "Time since the start.");
const EPOCH: Family = family(
    "sluice_config_epoch",
    "Number of the configuration by which all workers work; grows with every change.",
);
const LATEST: Family = family(
    "sluice_config_latest_epoch",
    "Number of the latest configuration; more than sluice_config_epoch while workers have yet to take it.",
);
const SESSIONS: Family = family("sluice_sessions", "Sessions now.");
const LIMIT: Family = family("sluice_sessions_limit", "Room for sessions.");
const BUFFERS: Family = family("sluice_packet_buffers", "Packet buffers, used or not.");
const FREE: Family = family("sluice_packet_buffers_free", "Packet buffers not in use.");
const OMITTED: Family = family(
    "sluice_metrics_omitted",
    "Services and real servers that have no series here, because there are too many.",
);

fn node(families: &mut Families, stats: &Stats, status: &Status) {
    let labels = &[
        ("name", status.name.as_str()),
        ("version", status.version.as_str()),
    ];
    families.gauge(INFO, labels, 1.0);
    families.gauge(UPTIME, &[], stats.uptime_ms as f64 / 1000.0);
    families.gauge(EPOCH, &[], f64::from(status.epoch));
    families.gauge(LATEST, &[], f64::from(status.latest_epoch));
    let sessions = &status.sessions;
    let by_family = [
        ("ipv4", sessions.v4, sessions.limit_v4),
        ("ipv6", sessions.v6, sessions.limit_v6),
    ];
    for (family, now, limit) in by_family {
        families.gauge(SESSIONS, &[("family", family)], float(now));
        families.gauge(LIMIT, &[("family", family)], f64::from(limit));
    }
    families.gauge(BUFFERS, &[], float(status.buffers.total));
    families.gauge(FREE, &[], float(status.buffers.free));
}

const FRAMES_IN: Family = family(
    "sluice_worker_frames_in_total",
    "Frames that came to a worker; together they are those of frames_out, dropped and held.",
);
const FRAMES_OUT: Family = family(
    "sluice_worker_frames_out_total",
    "Frames that left a worker, by where to.",
);
const DROPPED: Family = family(
    "sluice_worker_dropped_frames_total",
    "Frames dropped, by reason.",
);
const HELD: Family = family(
    "sluice_worker_held_frames",
    "Frames that wait for a neighbour, a fragment or their device.",
);
const WORKER_SESSIONS: Family = family("sluice_worker_sessions", "Sessions that a worker has now.");
const OPENED: Family = family("sluice_worker_sessions_opened_total", "Sessions opened.");
const ENDED: Family = family("sluice_worker_sessions_ended_total", "Sessions ended.");
const POLLS: Family = family(
    "sluice_worker_polls_total",
    "Times that a worker looked at its queues.",
);
const BUSY_POLLS: Family = family(
    "sluice_worker_busy_polls_total",
    "Times that it found something there.",
);
const BUSY_SECONDS: Family = family(
    "sluice_worker_busy_seconds_total",
    "Time spent in rounds that found something; its rate is the worker's load, 1 at most.",
);
const SLEEPS: Family = family(
    "sluice_worker_sleeps_total",
    "Times that a worker slept because there was nothing.",
);
const WORKER_EPOCH: Family = family(
    "sluice_worker_config_epoch",
    "Number of the configuration by which a worker works.",
);
const PEER_STATE: Family = family(
    "sluice_worker_peer_state",
    "0 no peer configured, 1 the peer is dead, 2 it has not told all that it knows, 3 present.",
);
const POINTERS: Family = family(
    "sluice_worker_pointers",
    "Tuples of sessions of which only the owner, another node, is known.",
);
const REPLICAS: Family = family(
    "sluice_worker_replica_sessions",
    "Copies of the peer's sessions, which sluice_worker_sessions includes.",
);
const UNTOLD: Family = family(
    "sluice_worker_untold_sessions",
    "Sessions of this node that the peer may not know yet.",
);
const LAG: Family = family(
    "sluice_worker_ha_lag_frames",
    "Frames of records that the peer has not acknowledged.",
);
const DIGEST_AGE: Family = family(
    "sluice_worker_ha_digest_age_seconds",
    "Time since all that the peer tells was last proven to be what is known here.",
);
const ROLES: Family = family(
    "sluice_worker_ha_roles",
    "Of worker 0: 1 if this node was told everything since it started (ha_joined), if it gave everything \
     away (ha_away); of each worker: 1 if the others know all that it had said before it is to go (ha_passed).",
);
const EVENTS: Family = family(
    "sluice_worker_events_total",
    "What else workers count; the API's documentation has a sentence for each.",
);
const BURST: Family = family(
    "sluice_worker_burst_frames",
    "Frames that a device gave at once, where it gave any.",
);
const AGE: Family = family(
    "sluice_worker_session_age_seconds",
    "Age of sessions when they ended.",
);
const MAPPINGS: Family = family(
    "sluice_worker_nat_mappings",
    "Endpoint-independent NAT mappings that a worker has now.",
);
const CONTROLS: Family = family(
    "sluice_worker_alg_controls",
    "Control connections (FTP) that a worker watches now.",
);
const EXPECTED: Family = family(
    "sluice_worker_alg_expected",
    "Sessions that control connections announced, of all workers, that a worker expects now.",
);
const PERSISTENT: Family = family(
    "sluice_worker_persistent_clients",
    "Clients that persistence remembers now.",
);
const ROUND: Family = family(
    "sluice_worker_round_seconds",
    "Time of rounds that found something.",
);

fn worker(families: &mut Families, number: &str, worker: &WorkerStats) {
    let alone = &[("worker", number)];
    let of = |counter: WorkerCounter| worker.counts.get(counter.name()).copied().unwrap_or(0);
    for &counter in WorkerCounter::ALL {
        let (name, value) = (counter.name(), float(of(counter)));
        let family = |families: &mut Families, family| {
            families.gauge(
                WORKER_SESSIONS,
                &[("worker", number), ("family", family)],
                value,
            );
        };
        match counter {
            WorkerCounter::Received | WorkerCounter::TakenOver | WorkerCounter::Injected => {
                families.counter(FRAMES_IN, &[("worker", number), ("from", name)], value);
            }
            WorkerCounter::Forwarded
            | WorkerCounter::Redirected
            | WorkerCounter::Punted
            | WorkerCounter::Consumed
            | WorkerCounter::HandedOver => {
                families.counter(FRAMES_OUT, &[("worker", number), ("to", name)], value);
            }
            WorkerCounter::Held => families.gauge(HELD, alone, float(worker.waiting)),
            WorkerCounter::SessionsOpened => families.counter(OPENED, alone, value),
            WorkerCounter::SessionsEnded => families.counter(ENDED, alone, value),
            WorkerCounter::SessionsV4 => family(families, "ipv4"),
            WorkerCounter::SessionsV6 => family(families, "ipv6"),
            WorkerCounter::Polls => families.counter(POLLS, alone, value),
            WorkerCounter::BusyPolls => families.counter(BUSY_POLLS, alone, value),
            WorkerCounter::BusyNs => families.counter(BUSY_SECONDS, alone, value / NS),
            WorkerCounter::Sleeps => families.counter(SLEEPS, alone, value),
            WorkerCounter::Epoch => families.gauge(WORKER_EPOCH, alone, value),
            WorkerCounter::PeerState => families.gauge(PEER_STATE, alone, value),
            WorkerCounter::SessionsReplica => families.gauge(REPLICAS, alone, value),
            WorkerCounter::HaPointers => families.gauge(POINTERS, alone, value),
            WorkerCounter::SessionsUntold => families.gauge(UNTOLD, alone, value),
            WorkerCounter::HaLag => families.gauge(LAG, alone, value),
            WorkerCounter::HaDigestAge => families.gauge(DIGEST_AGE, alone, value / MS),
            // Sets of bits, which `roles` has by name.
            WorkerCounter::HaGroupsHeld
            | WorkerCounter::HaGroupsPeer
            | WorkerCounter::HaPaths
            | WorkerCounter::HaGatewaysLost => {}
            WorkerCounter::HaAway | WorkerCounter::HaPassed | WorkerCounter::HaJoined => {
                families.gauge(ROLES, &[("worker", number), ("what", name)], value);
            }
            WorkerCounter::NatMappings => families.gauge(MAPPINGS, alone, value),
            WorkerCounter::AlgControls => families.gauge(CONTROLS, alone, value),
            WorkerCounter::AlgExpected => families.gauge(EXPECTED, alone, value),
            WorkerCounter::PersistentClients => families.gauge(PERSISTENT, alone, value),
            // The sum of a histogram, below.
            WorkerCounter::SessionMs => {}
            _ => families.counter(EVENTS, &[("worker", number), ("event", name)], value),
        }
    }
    for &reason in DropReason::ALL {
        let count = worker.dropped.get(reason.name()).copied().unwrap_or(0);
        let labels = &[("worker", number), ("reason", reason.name())];
        families.counter(DROPPED, labels, float(count));
    }
    let bound = |class: &Class| class.up_to.map_or(f64::INFINITY, float);
    let bursts = worker.bursts.iter();
    families.histogram(
        BURST,
        alone,
        bursts.map(|class| (bound(class), class.count)),
        float(of(WorkerCounter::Received)),
    );
    let ages = worker.ages_ms.iter();
    families.histogram(
        AGE,
        alone,
        ages.map(|class| (bound(class) / 1e3, class.count)),
        float(of(WorkerCounter::SessionMs)) / 1e3,
    );
    let rounds = worker.rounds_ns.iter();
    families.histogram(
        ROUND,
        alone,
        rounds.map(|class| (bound(class) / NS, class.count)),
        float(of(WorkerCounter::BusyNs)) / NS,
    );
}

const PORT_UP: Family = family("sluice_port_up", "Whether the link of the port is up.");
const RX_FRAMES: Family = family("sluice_port_receive_frames_total", "Frames received.");
const RX_BYTES: Family = family(
    "sluice_port_receive_bytes_total",
    "Bytes received, without FCS.",
);
const TX_FRAMES: Family = family("sluice_port_transmit_frames_total", "Frames sent.");
const TX_BYTES: Family = family(
    "sluice_port_transmit_bytes_total",
    "Bytes sent, without FCS.",
);
const RX_DROPPED: Family = family(
    "sluice_port_receive_dropped_frames_total",
    "Frames received on the port that were dropped.",
);
const TX_DROPPED: Family = family(
    "sluice_port_transmit_dropped_frames_total",
    "Frames that the device did not take.",
);

fn port(families: &mut Families, port: &PortStats) {
    for &counter in PortCounter::ALL {
        let family = match counter {
            PortCounter::RxFrames => RX_FRAMES,
            PortCounter::RxBytes => RX_BYTES,
            PortCounter::TxFrames => TX_FRAMES,
            PortCounter::TxBytes => TX_BYTES,
            PortCounter::RxDropped => RX_DROPPED,
            PortCounter::TxDropped => TX_DROPPED,
        };
        let count = port.counts.get(counter.name()).copied().unwrap_or(0);
        families.counter(family, &[("port", &port.name)], float(count));
    }
}

const DEVICE_UP: Family = family("sluice_device_up", "Whether the link is up.");
const DEVICE_SPEED: Family = family(
    "sluice_device_speed_bytes_per_second",
    "Speed of the link; 0 where the device does not tell.",
);

fn device(families: &mut Families, device: &DeviceStats) {
    let labels = &[("device", device.name.as_str())];
    let up = f64::from(u8::from(device.link.up));
    families.gauge(DEVICE_UP, labels, up);
    let speed = f64::from(device.link.speed_mbps) * 125_000.0;
    families.gauge(DEVICE_SPEED, labels, speed);
    let counters = &device.counters;
    let counts = [
        (
            "sluice_device_receive_frames_total",
            "Frames received, by the device's own count.",
            counters.rx_frames,
        ),
        (
            "sluice_device_receive_bytes_total",
            "Bytes received, by the device's own count.",
            counters.rx_bytes,
        ),
        (
            "sluice_device_transmit_frames_total",
            "Frames sent, by the device's own count.",
            counters.tx_frames,
        ),
        (
            "sluice_device_transmit_bytes_total",
            "Bytes sent, by the device's own count.",
            counters.tx_bytes,
        ),
        (
            "sluice_device_receive_missed_frames_total",
            "Frames lost because the receive queues were full: workers were too slow.",
            counters.rx_missed,
        ),
        (
            "sluice_device_receive_errors_total",
            "Frames with errors on the wire.",
            counters.rx_errors,
        ),
        (
            "sluice_device_receive_no_buffer_total",
            "Frames lost because there was no packet buffer.",
            counters.rx_no_buffer,
        ),
        (
            "sluice_device_transmit_errors_total",
            "Frames that could not be sent.",
            counters.tx_errors,
        ),
    ];
    for (name, help, count) in counts {
        families.counter(family(name, help), labels, float(count));
    }
}

const POOL_PORTS: Family = family(
    "sluice_snat_pool_ports",
    "Addresses of a SNAT pool times its ports: what it has towards one destination.",
);
const POOL_SESSIONS: Family = family(
    "sluice_snat_pool_sessions",
    "Sessions now of the rules and virtual servers that use the pool.",
);
const SYSLOG_UP: Family = family(
    "sluice_syslog_connected",
    "Whether log lines reach the syslog server.",
);
const SYSLOG_SENT: Family = family(
    "sluice_syslog_sent_lines_total",
    "Log lines handed to the network for the syslog server.",
);
const SYSLOG_LOST: Family = family(
    "sluice_syslog_lost_lines_total",
    "Log lines for which there was no room while the syslog server could not be reached.",
);
const POOL_EXHAUSTED: Family = family(
    "sluice_snat_pool_exhausted_packets_total",
    "Packets that opened no session because no port of the pool was free for them.",
);
const SERVER_WEIGHT: Family = family("sluice_server_weight", "Share of new sessions.");
const SERVER_HEALTHY: Family = family(
    "sluice_server_healthy",
    "0 if health checks found the real server down, else 1.",
);
const SERVER_STATE: Family = family(
    "sluice_server_state",
    "1 for the state that the real server is in.",
);

#[cfg(test)]
mod tests;
