//! What a connectivity test has to do, out of the configuration and what is known of health.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use sluice_dataplane::snapshot::{LbMode, Port, ServerState, Snapshot, is_link_local};
use sluice_wire::proto;

use super::through::ThroughPlan;
use super::{ConnectivityQuery, Verdict};
use crate::config::{Config, Pool, Server, VirtualServer, protocol_name};
use crate::controller::{ActionError, ServerHealth};
use crate::health::{Attempt, Prober, Verdict as Health};

/// Hosts of a network that are looked at in search of one for a client.
const CANDIDATES: usize = 64;

/// What there is to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What leads to real servers, each once.
    pub(super) servers: Vec<ServerPlan>,
    /// What a client meets.
    pub(super) services: Vec<ServicePlan>,
    /// The way to the host interface; `None` where there is none.
    pub(super) prober: Option<Prober>,
    /// For a ping or a connection, milliseconds.
    pub(super) timeout_ms: u32,
}

/// A real server.
#[derive(Debug, Clone)]
pub(super) struct ServerPlan {
    pub(super) name: String,
    pub(super) address: IpAddr,
    /// What is known of it.
    pub(super) state: (Verdict, String),
    /// It is meant to be out: whatever fails is no surprise.
    pub(super) out: bool,
    /// The port that it is behind and the next hop; `None` if there is no route.
    pub(super) route: Option<(String, IpAddr)>,
    /// Where connections go.
    pub(super) connects: Vec<SocketAddr>,
    /// Why there are none.
    pub(super) no_connect: &'static str,
    /// It may well refuse connections to its own address.
    pub(super) direct_return: bool,
    /// Its health checks, by name.
    pub(super) checks: Vec<(String, Attempt)>,
}

/// A virtual server.
#[derive(Debug, Clone)]
pub(super) struct ServicePlan {
    pub(super) name: String,
    pub(super) address: IpAddr,
    pub(super) protocol: String,
    pub(super) port: u16,
    /// Names of the servers of its first pool.
    pub(super) members: Vec<String>,
    /// Who asks it, by zone; `Err` says why nobody can.
    pub(super) clients: Vec<(String, Result<Client, &'static str>)>,
    /// The clients are those that were asked for: they are to get through.
    pub(super) wanted: bool,
    /// What the appliance itself sends to it.
    pub(super) through: ThroughPlan,
}

/// Whose packet is traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Client {
    /// The port that it is behind.
    pub(super) port: String,
    pub(super) address: IpAddr,
}

/// What a plan is made of.
pub(crate) struct Ground<'a> {
    pub(crate) config: &'a Config,
    pub(crate) snapshot: &'a Snapshot,
    /// Names of ports that the configuration has.
    pub(crate) ports: Vec<&'a Port>,
    pub(crate) health: Vec<ServerHealth>,
    pub(crate) prober: Option<Prober>,
}

fn wrong(key: &str, found: String, remedy: &str) -> ActionError {
    ActionError::Body {
        pointer: format!("/{key}"),
        found,
        remedy: remedy.to_owned(),
    }
}

impl Ground<'_> {
    /// # Errors
    /// [`ActionError::Body`]: the query names what there is not.
    pub(crate) fn plan(self, query: &ConnectivityQuery) -> Result<Plan, ActionError> {
        if !(10..=10_000).contains(&query.timeout_ms) {
            let found = format!("{} is out of range", query.timeout_ms);
            return Err(wrong(
                "timeout_ms",
                found,
                "write a number from 10 to 10000",
            ));
        }
        let config = self.config;
        let named = |vs: &&VirtualServer| {
            let its = query.virtual_server.as_deref();
            its.map_or(query.pool.is_none(), |name| vs.name.as_str() == name)
        };
        let services: Vec<&VirtualServer> = config.virtual_servers.iter().filter(named).collect();
        if let (Some(name), true) = (&query.virtual_server, services.is_empty()) {
            let found = format!("there is no virtual server {name:?}");
            return Err(wrong("virtual_server", found, "write the name of one"));
        }
        let mut servers = BTreeMap::new();
        let mut pools: Vec<usize> = Vec::new();
        match &query.pool {
            Some(name) => {
                let same = |pool: &Pool| pool.name.as_str() == name;
                let at = config.pools.iter().position(same).ok_or_else(|| {
                    let found = format!("there is no pool {name:?}");
                    wrong("pool", found, "write the name of one")
                })?;
                pools.push(at);
            }
            None if query.virtual_server.is_none() => pools.extend(0..config.pools.len()),
            None => {}
        }
        for vs in &services {
            pools.push(vs.pool.0);
            pools.extend(vs.backup_pool.map(|pool| pool.0));
            self.sorry(vs, &mut servers);
        }
        let mut ordered = Vec::new();
        for at in pools {
            let Some(pool) = config.pools.get(at) else {
                continue;
            };
            for server in &pool.servers {
                let name = pool.full_name(server);
                if !servers.contains_key(&name) {
                    servers.insert(name.clone(), self.server(at, pool, server));
                    ordered.push(name);
                }
            }
        }
        let mut all: Vec<ServerPlan> = Vec::new();
        all.extend(ordered.iter().filter_map(|name| servers.remove(name)));
        all.extend(servers.into_values());
        let clients = |vs: &VirtualServer| self.clients(query, vs.address);
        let services = services.iter().map(|vs| {
            let pool = config.pools.get(vs.pool.0);
            let members = pool.map(|pool| pool.servers.iter().map(|it| pool.full_name(it)));
            Ok(ServicePlan {
                name: vs.name.to_string(),
                address: vs.address,
                protocol: protocol_name(vs.protocol.unwrap_or(proto::TCP)),
                port: vs.ports.map_or(80, |(first, _)| first),
                members: members.into_iter().flatten().collect(),
                clients: clients(vs)?,
                wanted: query.zone.is_some() || query.client.is_some(),
                through: ThroughPlan::of(config, self.snapshot, vs, query.timeout_ms),
            })
        });
        Ok(Plan {
            services: services.collect::<Result<_, ActionError>>()?,
            servers: all,
            prober: self.prober.clone(),
            timeout_ms: query.timeout_ms,
        })
    }

    /// The virtual servers that lead to a pool.
    fn services_of(&self, pool: usize) -> impl Iterator<Item = &VirtualServer> {
        self.config.virtual_servers.iter().filter(move |vs| {
            vs.pool.0 == pool || vs.backup_pool.is_some_and(|backup| backup.0 == pool)
        })
    }

    fn server(&self, at: usize, pool: &Pool, server: &Server) -> ServerPlan {
        let name = pool.full_name(server);
        let mut no_connect = "no virtual server has its pool, so its protocol is not known";
        let mut connects = Vec::new();
        for vs in self.services_of(at) {
            if vs.protocol.is_some_and(|it| it != proto::TCP) {
                no_connect = "there are no connections but those of TCP";
                continue;
            }
            match server.port.or(vs.ports.map(|(first, _)| first)) {
                Some(port) => connects.push(SocketAddr::new(server.address, port)),
                None => no_connect = "it serves all ports",
            }
        }
        connects.sort_unstable();
        connects.dedup();
        let target = server.check_address.unwrap_or(server.address);
        let checks = self.config.checks(pool, server).into_iter().map(|check| {
            let port = self.config.check_port(pool, server, check);
            let attempt = Attempt {
                address: SocketAddr::new(target, port.unwrap_or_default()),
                host: server.check_host.clone(),
                kind: check.kind.clone(),
                timeout_ms: check.timeout_ms,
            };
            (check.name.to_string(), attempt)
        });
        let direct = self.services_of(at).any(|vs| vs.mode == LbMode::Dsr);
        ServerPlan {
            state: self.state(&name, server),
            out: server.state == ServerState::Down,
            address: server.address,
            route: self.route(server.address),
            connects,
            no_connect,
            direct_return: direct,
            checks: checks.collect(),
            name,
        }
    }

    fn sorry(&self, vs: &VirtualServer, servers: &mut BTreeMap<String, ServerPlan>) {
        let Some(sorry) = &vs.sorry_server else {
            return;
        };
        let tcp = vs.protocol.is_none_or(|it| it == proto::TCP);
        let port = sorry.port.or(vs.ports.map(|(first, _)| first));
        let connect = port.filter(|_| tcp);
        let name = format!("sorry:{}", vs.name);
        let plan = ServerPlan {
            name: name.clone(),
            address: sorry.address,
            state: (Verdict::Ok, "gets what no pool can take".to_owned()),
            out: false,
            route: self.route(sorry.address),
            connects: connect
                .map(|port| SocketAddr::new(sorry.address, port))
                .into_iter()
                .collect(),
            no_connect: "there is no port of TCP to connect to",
            direct_return: false,
            checks: Vec::new(),
        };
        servers.insert(name, plan);
    }

    fn route(&self, to: IpAddr) -> Option<(String, IpAddr)> {
        let hop = self.snapshot.routes.lookup(to)?;
        let port = self.snapshot.ports.get(usize::from(hop.port.0))?;
        Some((port.name.clone(), hop.gateway.unwrap_or(to)))
    }

    /// What is known of a real server.
    fn state(&self, name: &str, server: &Server) -> (Verdict, String) {
        match server.state {
            ServerState::Down => {
                return (
                    Verdict::Warning,
                    "the configuration has taken it out".to_owned(),
                );
            }
            ServerState::Draining => {
                return (Verdict::Warning, "the configuration drains it".to_owned());
            }
            ServerState::Up if server.weight == 0 => {
                let text = "its weight is 0: it gets no new sessions";
                return (Verdict::Warning, text.to_owned());
            }
            ServerState::Up => {}
        }
        let Some(health) = self.health.iter().find(|it| it.name == name) else {
            return (Verdict::Ok, "takes new sessions".to_owned());
        };
        match (health.health, health.passive) {
            (Health::Down, _) => {
                let why = health.checks.iter().find_map(|check| check.error.clone());
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                (Verdict::Failed, format!("checks found it down{why}"))
            }
            (_, Some(Health::Down)) => {
                let text = "its connections failed lately, and it gets no new sessions for a while";
                (Verdict::Warning, text.to_owned())
            }
            _ if health.state != "up" => {
                let text = "it gets no sessions before its checks have found it up";
                (Verdict::Warning, text.to_owned())
            }
            _ => (Verdict::Ok, "takes new sessions".to_owned()),
        }
    }

    /// Who is to speak to a VIP: the client that was asked for, or one of each zone.
    #[expect(clippy::type_complexity, reason = "as `ServicePlan` has it")]
    fn clients(
        &self,
        query: &ConnectivityQuery,
        vip: IpAddr,
    ) -> Result<Vec<(String, Result<Client, &'static str>)>, ActionError> {
        let zone_of = |port: &Port| {
            let zone = self.snapshot.zones.get(usize::from(port.zone));
            zone.cloned().unwrap_or_default()
        };
        if let Some(client) = query.client {
            let hop = self.snapshot.routes.lookup(client);
            let port = hop.and_then(|hop| self.snapshot.ports.get(usize::from(hop.port.0)));
            let port = port.ok_or_else(|| {
                let found = format!("there is no route to {client}");
                wrong("client", found, "write the address of a client")
            })?;
            let zone = zone_of(port);
            if query.zone.as_ref().is_some_and(|asked| *asked != zone) {
                let found = format!("{client} is in zone {zone:?}");
                return Err(wrong("zone", found, "take it out, or write another client"));
            }
            let client = match client.is_ipv4() == vip.is_ipv4() {
                true => Ok(Client {
                    port: port.name.clone(),
                    address: client,
                }),
                false => Err("the client is of another family"),
            };
            return Ok(vec![(zone, client)]);
        }
        let mut zones: Vec<String> = Vec::new();
        for port in &self.ports {
            let zone = zone_of(port);
            if !zones.contains(&zone) && query.zone.as_ref().is_none_or(|asked| *asked == zone) {
                zones.push(zone);
            }
        }
        if let (Some(zone), true) = (&query.zone, zones.is_empty()) {
            let found = format!("there is no zone {zone:?}");
            return Err(wrong("zone", found, "write the name of one"));
        }
        let found = zones.into_iter().map(|zone| {
            let mine = self.ports.iter().filter(|port| zone_of(port) == zone);
            let client = mine.copied().find_map(|port| self.somebody(port, vip));
            let client = client.ok_or("the zone has no network of this family");
            (zone, client)
        });
        Ok(found.collect())
    }

    /// A host behind a port, of a VIP's family: the router there, or any host of its networks.
    fn somebody(&self, port: &Port, vip: IpAddr) -> Option<Client> {
        let mine = |address: IpAddr| {
            let hop = self.snapshot.routes.lookup(address);
            let there = hop.and_then(|hop| self.snapshot.ports.get(usize::from(hop.port.0)));
            let server = |it: &Server| it.address == address;
            let mut servers = self.config.pools.iter().flat_map(|pool| &pool.servers);
            address.is_ipv4() == vip.is_ipv4()
                && there.is_some_and(|there| there.name == port.name)
                && self.snapshot.local.get(address).is_none()
                && !servers.any(server)
        };
        let routers = self.snapshot.routes.iter().filter_map(|(_, hop)| {
            let gateway = hop.gateway.filter(|router| !is_link_local(*router))?;
            mine(gateway).then_some(gateway)
        });
        let networks = port.addresses.iter().map(IpNet::trunc);
        let networks = networks.filter(|network| !is_link_local(network.addr()));
        let hosts = networks.flat_map(|network| network.hosts().take(CANDIDATES));
        let address = routers.chain(hosts.filter(|&host| mine(host))).next()?;
        Some(Client {
            port: port.name.clone(),
            address,
        })
    }
}
