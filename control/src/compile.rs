//! From [`Config`] to [`Snapshot`]: names become numbers, and what only devices know is added.

mod facts;
mod groups;
mod ports;
mod registry;
mod restate;
mod services;
mod tables;
mod tiers;

use sluice_dataplane::host::{Allow, HostPolicy};
use sluice_dataplane::http_redirect::TooLong;
use sluice_dataplane::published::Layout;
use sluice_dataplane::services::ServiceMap;
use sluice_dataplane::shared_names::SharedNames;
use sluice_dataplane::snapshot::Snapshot;
use sluice_dataplane::stack::routes::RouteError;
use sluice_dataplane::steer::{Spread, SpreadError, Steering};

pub use facts::{DeviceFacts, KEY};
pub use registry::Registry;
pub use restate::restate;

use crate::config::{Config, Host};

#[cfg(test)]
pub(crate) mod tests;

/// Why a configuration that is right in itself cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// There are numbers for so many only. Names that are no longer used keep theirs.
    #[error(
        "no room for more {what} than {limit}, counting those that were taken out since the start; \
         restart to begin anew"
    )]
    Full {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The devices are not those that the process was started with.
    #[error("the configuration names {wanted} devices, and other ones ({given}) were started")]
    Facts {
        /// Started.
        given: usize,
        /// Named.
        wanted: usize,
    },
    /// Two routes for one network.
    #[error(transparent)]
    Routes(#[from] RouteError),
    /// A redirect whose response would not fit everywhere.
    #[error(transparent)]
    Redirect(#[from] TooLong),
    /// A device spreads packets in a way that cannot be.
    #[error(transparent)]
    Spread(#[from] SpreadError),
    /// Services claim the same destination.
    #[error("services overlap")]
    Overlap,
}

/// Room for counters: what the configuration needs now, and a few changes of it.
pub fn layout(config: &Config) -> Layout {
    let services = config.virtual_servers.len()
        + config.forwards.len()
        + config.static_nat.len()
        + config.snat.len()
        + config.firewall.rules.len();
    let pools = config.pools.iter().map(|pool| pool.servers.len());
    let servers: usize = pools.sum::<usize>() + config.sorry_servers().count();
    let room = |needed: usize| (4 * needed + 1).clamp(4096, usize::from(u16::MAX));
    Layout {
        ports: (4 * config.ports.len()).max(64),
        services: room(services),
        servers: room(servers),
        peers: config.ha.as_ref().map_or(0, |ha| ha.peers.len()),
    }
}

/// Compiles the configuration. `facts` are in the order of [`Config::devices`] of the first
/// configuration that was compiled with this registry. What is the same as in `before`, and takes long to
/// make, is taken from there.
///
/// # Errors
/// [`CompileError`]; the registry is unchanged then.
pub fn compile(
    config: &Config,
    facts: &[DeviceFacts],
    registry: &mut Registry,
    (epoch, before): (u32, Option<&Snapshot>),
) -> Result<Snapshot, CompileError> {
    let mut numbers = registry.clone();
    let snapshot = compile_with(config, facts, &mut numbers, (epoch, before))?;
    *registry = numbers;
    Ok(snapshot)
}

fn compile_with(
    config: &Config,
    facts: &[DeviceFacts],
    registry: &mut Registry,
    (epoch, before): (u32, Option<&Snapshot>),
) -> Result<Snapshot, CompileError> {
    let zones = config.zones.iter().map(|zone| registry.zone(zone.as_str()));
    let zones = zones.collect::<Result<Vec<u8>, _>>()?;
    let zone_names = registry.zones().to_vec();
    let devices = registry.in_order(config.devices())?;
    let ports = ports::Ports::compile(config, &devices, facts, &zones, registry)?;
    let local = ports.local(config);
    let routes = ports.routes(config)?;
    let workers = config.system.workers.len() as u16;
    let spreads: Vec<Spread> = devices
        .iter()
        .zip(facts)
        .map(|(device, facts)| facts.spread(device.rss))
        .collect();
    let tables = tables::Tables::of(before);
    let mut services = services::Services::new(config, &zones, registry, tables)?;
    let virtual_servers = services.virtual_servers(&|address| {
        let hop = routes.lookup(address)?;
        let port = ports.ports.get(usize::from(hop.port.0))?;
        Some(port.zone)
    })?;
    let mut nat = services.nat()?;
    if let Some(ha) = &config.ha {
        nat.divide(ha.share(), ha.shares);
    }
    let groups = groups::compile(config, &ports);
    let firewall = services.firewall(zone_names.len() as u8)?;
    let named = || {
        let names = SharedNames::new(&zone_names, &services.names, &services.servers);
        names.with_modes(&services.modes)
    };
    let shared_names = config.ha.as_ref().map(|_| named());
    Ok(Snapshot {
        epoch,
        devices: ports.devices,
        ports: ports.ports,
        zones: zone_names,
        local,
        routes,
        firewall,
        services: ServiceMap::build(&config.definitions()).map_err(|_| CompileError::Overlap)?,
        virtual_servers,
        servers: services.servers,
        nat,
        timeouts: services.timeouts,
        steering: Steering::new(workers, &spreads)?,
        tcp: config.tcp,
        alg: config.alg.clone(),
        host: config.host.as_ref().map(|host| policy(host, &zones)),
        icmp_errors_per_s: config.icmp.errors_per_second,
        service_names: services.names,
        shared_names,
        groups,
    })
}

fn policy(host: &Host, zones: &[u8]) -> HostPolicy {
    let allow = host.allow.iter().map(|allow| Allow {
        from: allow.from.map(|zone| zones[zone.0]),
        source: allow.source.iter().copied().collect(),
        proto: allow.protocol,
        ports: allow.ports.clone(),
    });
    HostPolicy {
        allow: allow.collect(),
        strangers_per_s: host.strangers_per_second,
    }
}
