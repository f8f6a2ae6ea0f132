//! What is counted of services and of real servers alike.

use sluice_dataplane::published::FlowCounter;

use super::families::{Families, Family, Labels};
use super::{family, float};
use crate::controller::Counts;

/// Names of what is counted alike for services and for real servers.
pub(super) struct Flows {
    packets: Family,
    bytes: Family,
    opened: Family,
    ended: Family,
    refused: Family,
    /// Of services: ports are theirs.
    exhausted: Option<Family>,
    overflowed: Family,
    /// Of virtual servers.
    redirects: Option<Family>,
    pub(super) sessions: Family,
    answered: Family,
    unanswered: Family,
    rejected: Family,
}

pub(super) const SERVICE: Flows = Flows {
    packets: family(
        "sluice_service_packets_total",
        "Packets of a service, by direction.",
    ),
    bytes: family(
        "sluice_service_bytes_total",
        "Bytes of a service (IP length), by direction.",
    ),
    opened: family("sluice_service_sessions_opened_total", "Sessions opened."),
    ended: family("sluice_service_sessions_ended_total", "Sessions ended."),
    refused: family(
        "sluice_service_refused_packets_total",
        "Packets that were not let open a session; of a firewall rule, that it denied.",
    ),
    exhausted: Some(family(
        "sluice_service_nat_exhausted_packets_total",
        "Packets that opened no session because no NAT port was free for them.",
    )),
    overflowed: family(
        "sluice_service_sessions_overflowed_total",
        "Sessions given to a lower priority group, the backup pool or the sorry server.",
    ),
    redirects: Some(family(
        "sluice_service_http_redirects_total",
        "HTTP requests that a virtual server answered by its redirect.",
    )),
    answered: family(
        "sluice_service_connections_answered_total",
        "TCP connections that its real servers answered.",
    ),
    unanswered: family(
        "sluice_service_connections_unanswered_total",
        "TCP connections that its real servers did not answer: clients asked again, or gave up.",
    ),
    rejected: family(
        "sluice_service_connections_refused_total",
        "TCP connections that its real servers refused by a reset.",
    ),
    sessions: family("sluice_service_sessions", "Sessions of a service now."),
};

pub(super) const SERVER: Flows = Flows {
    packets: family(
        "sluice_server_packets_total",
        "Packets of a real server, by direction.",
    ),
    bytes: family(
        "sluice_server_bytes_total",
        "Bytes of a real server (IP length), by direction.",
    ),
    opened: family("sluice_server_sessions_opened_total", "Sessions opened."),
    ended: family("sluice_server_sessions_ended_total", "Sessions ended."),
    refused: family(
        "sluice_server_refused_packets_total",
        "Packets that were not let open a session.",
    ),
    exhausted: None,
    overflowed: family(
        "sluice_server_sessions_overflowed_total",
        "Sessions that it was given because servers that go before it could not take them.",
    ),
    redirects: None,
    answered: family(
        "sluice_server_connections_answered_total",
        "TCP connections that it answered.",
    ),
    unanswered: family(
        "sluice_server_connections_unanswered_total",
        "TCP connections that it did not answer: clients asked again, or gave up.",
    ),
    rejected: family(
        "sluice_server_connections_refused_total",
        "TCP connections that it refused by a reset.",
    ),
    sessions: family("sluice_server_sessions", "Sessions of a real server now."),
};

pub(super) fn flows(families: &mut Families, names: &Flows, labels: Labels<'_>, counts: &Counts) {
    for &counter in FlowCounter::ALL {
        let count = float(counts.get(counter.name()).copied().unwrap_or(0));
        let directed = |families: &mut Families, family, direction| {
            let labels: Vec<_> = labels
                .iter()
                .copied()
                .chain([("direction", direction)])
                .collect();
            families.counter(family, &labels, count);
        };
        match counter {
            FlowCounter::PacketsOriginal => directed(families, names.packets, "original"),
            FlowCounter::PacketsReply => directed(families, names.packets, "reply"),
            FlowCounter::BytesOriginal => directed(families, names.bytes, "original"),
            FlowCounter::BytesReply => directed(families, names.bytes, "reply"),
            FlowCounter::Opened => families.counter(names.opened, labels, count),
            FlowCounter::Ended => families.counter(names.ended, labels, count),
            FlowCounter::Refused => families.counter(names.refused, labels, count),
            FlowCounter::NatExhausted => {
                if let Some(family) = names.exhausted {
                    families.counter(family, labels, count);
                }
            }
            FlowCounter::HttpRedirects => {
                if let Some(family) = names.redirects {
                    families.counter(family, labels, count);
                }
            }
            FlowCounter::Overflowed => families.counter(names.overflowed, labels, count),
            FlowCounter::Answered => families.counter(names.answered, labels, count),
            FlowCounter::Unanswered => families.counter(names.unanswered, labels, count),
            FlowCounter::Rejected => families.counter(names.rejected, labels, count),
        }
    }
}
