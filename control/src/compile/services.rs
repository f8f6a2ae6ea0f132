//! Virtual servers, real servers, NAT and firewall: everything that has a name in counters.

use sluice_dataplane::firewall;
use sluice_dataplane::nat::rules::{self, Nat, SourceNat};
use sluice_dataplane::shared_names::SyncMode;
use sluice_dataplane::snapshot::{
    RealServer, ServerId, ServerState, ServiceId, ServiceName, SessionLimits, VirtualServer,
};
use sluice_dataplane::timeouts::Timeouts;

use super::tiers::{self, Members};
use super::{CompileError, Registry};
use crate::config::{self, Config, Name, NewSource, Sync, TimeoutOverrides, ZoneIndex};
use crate::health::Ramps;

pub(super) struct Services<'a> {
    config: &'a Config,
    zones: &'a [u8],
    registry: &'a mut Registry,
    pub(super) names: Vec<Option<ServiceName>>,
    pub(super) servers: Vec<Option<RealServer>>,
    /// By pool in the configuration.
    members: Vec<Members>,
    pub(super) timeouts: Vec<Timeouts>,
    /// How the other appliance is told of services' sessions, if not by default.
    pub(super) modes: Vec<(ServiceId, SyncMode)>,
}

impl<'a> Services<'a> {
    /// With all real servers, and the default timeouts.
    pub(super) fn new(
        config: &'a Config,
        zones: &'a [u8],
        registry: &'a mut Registry,
    ) -> Result<Self, CompileError> {
        let mut servers = vec![None];
        let mut members = Vec::new();
        for pool in &config.pools {
            for server in &pool.servers {
                let name = pool.full_name(server);
                let id = registry.server(&name)?;
                put(
                    &mut servers,
                    id.0,
                    RealServer {
                        name,
                        address: server.address,
                        port: server.port,
                        weight: server.weight,
                        state: server.state,
                        limits: server.limits,
                    },
                );
            }
            members.push(Members::of(pool, registry));
        }
        let mut services = Self {
            config,
            zones,
            registry,
            names: vec![None],
            servers,
            members,
            timeouts: vec![config.timeouts.clone()],
            modes: vec![],
        };
        services.forget_timeout_sets()?;
        Ok(services)
    }

    /// Sets of services that are gone, or have no timeouts of their own any more, are free again.
    fn forget_timeout_sets(&mut self) -> Result<(), CompileError> {
        let config = self.config;
        let with_sets = |kind, name: &Name, set: &TimeoutOverrides| {
            (!set.is_empty()).then(|| service_name(kind, name))
        };
        let virtual_servers = config.virtual_servers.iter();
        let named: Vec<ServiceName> = virtual_servers
            .filter_map(|x| with_sets(VIRTUAL_SERVER, &x.name, &x.timeouts))
            .chain(
                config
                    .forwards
                    .iter()
                    .filter_map(|x| with_sets(FORWARD, &x.name, &x.timeouts)),
            )
            .chain(
                config
                    .snat
                    .iter()
                    .filter_map(|x| with_sets(SNAT, &x.name, &x.timeouts)),
            )
            .chain(
                config
                    .firewall
                    .rules
                    .iter()
                    .filter_map(|x| with_sets(FIREWALL, &x.name, &x.timeouts)),
            )
            .collect();
        let living: Result<Vec<ServiceId>, _> = named
            .iter()
            .map(|name| self.registry.service(name))
            .collect();
        self.registry.forget_timeout_sets_but(&living?);
        Ok(())
    }

    fn service(&mut self, kind: &'static str, name: &Name) -> Result<ServiceId, CompileError> {
        let name = service_name(kind, name);
        let id = self.registry.service(&name)?;
        put(&mut self.names, id.0, name);
        Ok(id)
    }

    fn told(&mut self, service: ServiceId, sync: Sync) {
        let mode = match sync {
            Sync::Async => return,
            Sync::Inline => SyncMode::Inline,
            Sync::None => SyncMode::None,
        };
        self.modes.push((service, mode));
    }

    fn timeout_set(
        &mut self,
        service: ServiceId,
        overrides: &TimeoutOverrides,
    ) -> Result<u8, CompileError> {
        if overrides.is_empty() {
            return Ok(0);
        }
        let set = self.registry.timeout_set(service)?;
        let defaults = &self.config.timeouts;
        if self.timeouts.len() <= usize::from(set) {
            self.timeouts.resize(usize::from(set) + 1, defaults.clone());
        }
        self.timeouts[usize::from(set)] = overrides.over(defaults);
        Ok(set)
    }

    fn zone(&self, zone: ZoneIndex) -> u8 {
        self.zones[zone.0]
    }

    pub(super) fn virtual_servers(&mut self) -> Result<Vec<VirtualServer>, CompileError> {
        let config = self.config;
        let compiled = config.virtual_servers.iter().map(|vs| {
            let service = self.service(VIRTUAL_SERVER, &vs.name)?;
            self.told(service, vs.sync);
            let sorry = self.sorry_server(vs)?;
            let of = |pool: config::PoolIndex| &self.members[pool.0];
            let backup = vs.backup_pool.map(of);
            // Who has less than its share is seen to by `restate`.
            let known = (&self.servers[..], &Ramps::default());
            let tiers = tiers::tiers(vs.scheduler, of(vs.pool), backup, sorry, known);
            Ok(VirtualServer {
                service,
                name: vs.name.as_str().to_owned(),
                ports: vs.ports,
                mode: vs.mode,
                tiers,
                persistence: vs.persistence,
                snat_pool: vs.snat_pool.map(|pool| pool.0 as u16),
                timeouts: self.timeout_set(service, &vs.timeouts)?,
                clamp_mss: vs.clamp_mss,
            })
        });
        compiled.collect()
    }

    /// The real server that stands in for all others.
    fn sorry_server(
        &mut self,
        vs: &config::VirtualServer,
    ) -> Result<Option<ServerId>, CompileError> {
        let Some(sorry) = &vs.sorry_server else {
            return Ok(None);
        };
        // No pool's name has a colon.
        let name = format!("sorry:{}", vs.name);
        let id = self.registry.server(&name)?;
        let server = RealServer {
            name,
            address: sorry.address,
            port: sorry.port,
            weight: 1,
            state: ServerState::Up,
            limits: SessionLimits::default(),
        };
        put(&mut self.servers, id.0, server);
        Ok(Some(id))
    }

    pub(super) fn nat(&mut self) -> Result<Nat, CompileError> {
        let config = self.config;
        let rules = config.snat.iter().map(|rule| {
            let service = self.service(SNAT, &rule.name)?;
            self.told(service, rule.sync);
            Ok(rules::SnatRule {
                service,
                from: rule.from.map(|zone| self.zone(zone)),
                to: rule.to.map(|zone| self.zone(zone)),
                source: rule.source.clone(),
                destination: rule.destination.clone(),
                proto: rule.protocol,
                to_source: source_nat(rule.new_source),
                timeouts: self.timeout_set(service, &rule.timeouts)?,
                clamp_mss: rule.clamp_mss,
            })
        });
        let rules = rules.collect::<Result<_, CompileError>>()?;
        let forwards = config.forwards.iter().map(|forward| {
            let service = self.service(FORWARD, &forward.name)?;
            Ok(rules::Forward {
                service,
                address: forward.address,
                proto: forward.protocol,
                ports: forward.ports,
                to: forward.to.ip(),
                to_port: forward.to.port(),
                source: source_nat(forward.source),
                timeouts: self.timeout_set(service, &forward.timeouts)?,
            })
        });
        let forwards = forwards.collect::<Result<_, CompileError>>()?;
        let statics = config.static_nat.iter().map(|nat| {
            Ok(rules::StaticNat {
                service: self.service(STATIC, &nat.name)?,
                external: nat.external,
                internal: nat.internal,
                open_from: nat.open_from.iter().map(|&zone| self.zone(zone)).collect(),
            })
        });
        let statics = statics.collect::<Result<_, CompileError>>()?;
        let pools = config.snat_pools.iter().map(|pool| rules::SnatPool {
            name: pool.name.as_str().to_owned(),
            addresses: pool.addresses.clone(),
            ports: pool.ports,
            mapping: pool.mapping,
            filtering: pool.filtering,
            parity: pool.parity,
        });
        Ok(Nat::new(rules, pools.collect(), forwards, statics))
    }

    pub(super) fn firewall(&mut self, zones: u8) -> Result<firewall::Firewall, CompileError> {
        let config = self.config;
        let rules = config.firewall.rules.iter().map(|rule| {
            let service = self.service(FIREWALL, &rule.name)?;
            Ok(firewall::Rule {
                service,
                from: rule.from.map(|zone| self.zone(zone)),
                to: rule.to.map(|zone| self.zone(zone)),
                source: rule.source.clone(),
                destination: rule.destination.clone(),
                proto: rule.protocol,
                ports: rule.ports.clone(),
                allow: rule.allow,
                timeouts: self.timeout_set(service, &rule.timeouts)?,
            })
        });
        let rules = rules.collect::<Result<_, CompileError>>()?;
        let pairs = config.firewall.open.iter();
        let open = pairs.map(|&(from, to)| (self.zone(from), self.zone(to)));
        Ok(firewall::Firewall::new(zones, rules, open.collect()))
    }
}

/// Kinds of services, as the API names them.
const VIRTUAL_SERVER: &str = "virtual_server";
const FORWARD: &str = "forward";
const STATIC: &str = "static";
const SNAT: &str = "snat";
const FIREWALL: &str = "firewall";

fn service_name(kind: &'static str, name: &Name) -> ServiceName {
    ServiceName {
        kind,
        name: name.as_str().to_owned(),
    }
}

fn source_nat(source: NewSource) -> SourceNat {
    match source {
        NewSource::Keep => SourceNat::Keep,
        NewSource::Pool(pool) => SourceNat::Pool(pool.0 as u16),
        NewSource::Masquerade => SourceNat::Masquerade,
    }
}

/// Sets `list[at]`, growing the list as needed.
fn put<T>(list: &mut Vec<Option<T>>, at: u16, value: T) {
    let at = usize::from(at);
    if list.len() <= at {
        list.resize_with(at + 1, || None);
    }
    list[at] = Some(value);
}
