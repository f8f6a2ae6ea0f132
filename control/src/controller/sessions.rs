//! Sessions by name: filters in, views out.

use sluice_dataplane::mailbox::{Filter, SessionRow, StateFilter};
use sluice_dataplane::session::state::{NEW, REPLIED};
use sluice_dataplane::tcp::state::State;
use sluice_wire::{Tuple, proto};

use super::action::{ActionError, FlowView, SessionFilter, SessionView};
use crate::compile::Registry;
use crate::config::protocol_name;

const OTHER_STATES: [(&str, u8); 2] = [("new", NEW), ("replied", REPLIED)];

fn unknown(
    parameter: &'static str,
    kind: &'static str,
    name: &str,
    known: impl Iterator<Item = String>,
) -> ActionError {
    ActionError::Unknown {
        parameter,
        kind,
        name: name.to_owned(),
        known: known.collect(),
    }
}

/// Looks names up.
pub(super) fn resolve(filter: &SessionFilter, registry: &Registry) -> Result<Filter, ActionError> {
    let state = filter.state.as_deref().map(|name| {
        let tcp = State::ALL.iter().find(|state| state.name() == name);
        let other = || OTHER_STATES.iter().find(|(known, _)| *known == name);
        let found = match tcp {
            Some(state) => Some(StateFilter::Tcp(*state as u8)),
            None => other().map(|&(_, state)| StateFilter::Other(state)),
        };
        let names = State::ALL.iter().map(|state| state.name());
        let names = names.chain(OTHER_STATES.iter().map(|&(name, _)| name));
        found.ok_or_else(|| unknown("state", "state", name, names.map(str::to_owned)))
    });
    let service = filter.service.as_deref().map(|name| {
        let (kind, plain) = name.split_once('/').unwrap_or(("virtual_server", name));
        let found = registry.service_by_name(kind, plain);
        found.ok_or_else(|| {
            let known = registry.service_names().map(|known| match known.kind {
                "virtual_server" => known.name.clone(),
                kind => format!("{kind}/{}", known.name),
            });
            unknown("service", "service", name, known)
        })
    });
    let rule = filter.rule.as_deref().map(|name| {
        let found = registry.service_by_name("firewall", name);
        found.ok_or_else(|| {
            let rules = registry
                .service_names()
                .filter(|known| known.kind == "firewall");
            let known = rules.map(|known| known.name.clone());
            unknown("rule", "firewall rule", name, known)
        })
    });
    let server = filter.server.as_deref().map(|name| {
        let found = registry.server_by_name(name);
        let known = registry.server_names().map(str::to_owned);
        found.ok_or_else(|| unknown("server", "real server", name, known))
    });
    Ok(Filter {
        proto: filter.proto,
        state: state.transpose()?,
        service: service.transpose()?,
        server: server.transpose()?,
        rule: rule.transpose()?,
        replica: filter.replica,
        min_age_ms: filter.min_age_ms,
        max_age_ms: filter.max_age_ms,
        min_idle_ms: filter.min_idle_ms,
        address: filter.address,
        port: filter.port,
        original: filter.original,
        reply: filter.reply,
    })
}

/// Puts names in.
pub(super) fn view(worker: usize, row: &SessionRow, registry: &Registry) -> SessionView {
    let service = registry.service_name(row.service);
    SessionView {
        worker,
        protocol: protocol_name(row.original.proto),
        state: state_name(row.original.proto, row.state),
        original: flow(&row.original, row, 0, registry),
        reply: flow(&row.reply, row, 1, registry),
        service: service.map(|name| format!("{}/{}", name.kind, name.name)),
        server: registry.server_name(row.server).map(str::to_owned),
        age_ms: row.age_ms,
        idle_ms: row.idle_ms,
        expires_ms: row.expires_ms,
        owner: if row.replica { "peer" } else { "this" },
    }
}

fn flow(tuple: &Tuple, row: &SessionRow, direction: usize, registry: &Registry) -> FlowView {
    let zone = registry.zones().get(usize::from(row.zones[direction]));
    FlowView {
        zone: zone.cloned().unwrap_or_default(),
        source: tuple.src,
        source_port: tuple.sport,
        destination: tuple.dst,
        destination_port: tuple.dport,
        packets: row.packets[direction],
        bytes: row.bytes[direction],
    }
}

pub(super) fn state_name(protocol: u8, state: u8) -> &'static str {
    if protocol == proto::TCP {
        return State::from_u8(state).name();
    }
    let known = OTHER_STATES.iter().find(|&&(_, known)| known == state);
    known.map_or("unknown", |&(name, _)| name)
}
