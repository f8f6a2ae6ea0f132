//! Virtual servers, real servers, NAT and firewall: everything that has a name in counters.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use sluice_dataplane::firewall;
use sluice_dataplane::http_redirect::HttpRedirect;
use sluice_dataplane::nat::rules::{self, Nat, SourceNat};
use sluice_dataplane::networks::Networks;
use sluice_dataplane::shared_names::SyncMode;
use sluice_dataplane::snapshot::{
    RealServer, ServerId, ServerState, ServiceId, ServiceName, SessionLimits, VirtualServer,
};
use sluice_dataplane::timeouts::Timeouts;

use super::tables::Tables;
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
    /// What rules speak of, once each, by where it is: many may name one list.
    networks: HashMap<*const IpNet, Networks>,
    tables: Tables,
    /// How the other appliance is told of services' sessions, if not by default.
    pub(super) modes: Vec<(ServiceId, SyncMode)>,
}

impl<'a> Services<'a> {
    /// With all real servers, and the default timeouts. `tables` are those that are there already.
    pub(super) fn new(
        config: &'a Config,
        zones: &'a [u8],
        registry: &'a mut Registry,
        tables: Tables,
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
            networks: HashMap::new(),
            tables,
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

    fn networks(&mut self, listed: &'a Arc<[IpNet]>) -> Networks {
        if listed.is_empty() {
            return Networks::default();
        }
        let known = self.networks.entry(listed.as_ptr());
        known
            .or_insert_with(|| listed.iter().copied().collect())
            .clone()
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

    /// `zone_of`: the zone that an address is routed to.
    pub(super) fn virtual_servers(
        &mut self,
        zone_of: &dyn Fn(IpAddr) -> Option<u8>,
    ) -> Result<Vec<VirtualServer>, CompileError> {
        let config = self.config;
        let compiled = config.virtual_servers.iter().map(|vs| {
            let service = self.service(VIRTUAL_SERVER, &vs.name)?;
            self.told(service, vs.sync);
            let sorry = self.sorry_server(vs)?;
            let of = |pool: config::PoolIndex| &self.members[pool.0];
            let backup = vs.backup_pool.map(of);
            // Who has less than its share is seen to by `restate`.
            let ramps = Ramps::default();
            let known = (&self.servers[..], &ramps, &mut self.tables);
            let tiers = tiers::tiers(vs.scheduler, of(vs.pool), backup, sorry, known);
            Ok(VirtualServer {
                service,
                name: vs.name.as_str().to_owned(),
                ports: vs.ports,
                mode: vs.mode,
                tiers,
                redirect: self.redirect(vs, zone_of)?,
                persistence: vs.persistence,
                snat_pool: vs.snat_pool.map(|pool| pool.0 as u16),
                timeouts: self.timeout_set(service, &vs.timeouts)?,
                clamp_mss: vs.clamp_mss,
            })
        });
        compiled.collect()
    }

    fn redirect(
        &self,
        vs: &config::VirtualServer,
        zone_of: &dyn Fn(IpAddr) -> Option<u8>,
    ) -> Result<Option<Arc<HttpRedirect>>, CompileError> {
        let Some(redirect) = &vs.redirect else {
            return Ok(None);
        };
        let pools = [Some(vs.pool), vs.backup_pool].into_iter().flatten();
        let servers = pools.flat_map(|pool| &self.config.pools[pool.0].servers);
        let zones: BTreeSet<u8> = servers
            .filter_map(|server| zone_of(server.address))
            .collect();
        let config::Redirect {
            url,
            status,
            append_path,
        } = redirect;
        let zones = zones.into_iter().collect();
        let compiled = HttpRedirect::new(url, *status, *append_path, zones)?;
        Ok(Some(Arc::new(compiled)))
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
                source: self.networks(&rule.source),
                destination: self.networks(&rule.destination),
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
                source: self.networks(&rule.source),
                destination: self.networks(&rule.destination),
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
