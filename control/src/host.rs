//! The host interface: a TUN interface for each port, in a network namespace of their own, and the
//! thread that carries packets between them and the workers.
//!
//! The namespace keeps the data plane's addresses and routes apart from the machine's management
//! network. Whatever runs in it speaks by Sluice's ports: the health checks, and programs that are
//! started there by `ip netns exec`.

mod links;
mod namespace;
mod pump;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use ipnet::IpNet;
use sluice_dataplane::host::HostEnd;
use sluice_dataplane::snapshot::{Port, PortId, Snapshot, is_link_local};

use crate::config::{Config, Host, VirtualServer};
use namespace::Namespace;
use pump::{Command, Pump};

/// Longest name of an interface, in bytes.
const LONGEST_NAME: usize = 15;

/// Why there is no host interface.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The namespace cannot be made or entered.
    #[error("network namespace {name:?}: {reason}; Sluice needs CAP_SYS_ADMIN for it")]
    Namespace {
        /// Its name.
        name: String,
        /// What the kernel says.
        reason: io::Error,
    },
    /// The interfaces cannot be made.
    #[error("host interface: {0}; Sluice needs CAP_NET_ADMIN and /dev/net/tun for it")]
    Interface(String),
    /// The thread does not start.
    #[error("the thread of the host interface does not start: {0}")]
    Thread(io::Error),
}

/// An interface as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    port: PortId,
    mtu: u16,
    addresses: Vec<IpNet>,
}

/// What the namespace should have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Plan {
    /// By the interface's name.
    interfaces: BTreeMap<String, Wanted>,
    /// Networks that are not connected: interface, and the address to speak from.
    routes: BTreeMap<IpNet, (String, IpAddr)>,
}

impl Plan {
    fn of(config: &Config, snapshot: &Snapshot) -> Self {
        let mut plan = Self::default();
        if config.host.is_none() {
            return plan;
        }
        let ports = snapshot.ports.iter().zip((0..).map(PortId));
        for (port, id) in ports.filter(|(port, _)| port.mtu > 0) {
            let own = port.addresses.iter();
            let wanted = Wanted {
                port: id,
                mtu: port.mtu,
                addresses: own
                    .filter(|own| !is_link_local(own.addr()))
                    .copied()
                    .collect(),
            };
            plan.interfaces
                .insert(interface_name(&port.name, id), wanted);
        }
        for (network, hop) in snapshot.routes.iter() {
            let Some(port) = snapshot.ports.get(usize::from(hop.port.0)) else {
                continue;
            };
            if port.addresses.iter().any(|own| own.trunc() == network) {
                continue;
            }
            let gateway = hop.gateway.filter(|gateway| !is_link_local(*gateway));
            let peer = gateway.unwrap_or(network.addr());
            if let Some(source) = port.source_for(peer).filter(|own| !is_link_local(*own)) {
                let name = interface_name(&port.name, hop.port);
                plan.routes.insert(network, (name, source));
            }
        }
        let unrouted = config.virtual_servers.iter();
        for vs in unrouted.filter(|vs| snapshot.routes.lookup(vs.address).is_none()) {
            if let Some((id, port, source)) = way_to(config, snapshot, vs) {
                let name = interface_name(&port.name, id);
                plan.routes.insert(vs.address.into(), (name, source));
            }
        }
        plan
    }
}

/// The port that the host speaks to a VIP by, where no route of the data plane leads there (it is
/// routers that have one, to us), and from which address: preferably by one that the real servers are not
/// behind, as clients do.
pub(crate) fn way_to<'a>(
    config: &Config,
    snapshot: &'a Snapshot,
    vs: &VirtualServer,
) -> Option<(PortId, &'a Port, IpAddr)> {
    let pool = config.pools.get(vs.pool.0);
    let server = pool.and_then(|pool| pool.servers.first());
    let hop = server.and_then(|server| snapshot.routes.lookup(server.address));
    let behind = hop.and_then(|hop| snapshot.ports.get(usize::from(hop.port.0)));
    let behind = behind.map(|port| port.zone);
    let ports = (0..).map(PortId).zip(&snapshot.ports);
    let mut able = ports.filter_map(|(id, port)| {
        let own = port.addresses.iter().map(IpNet::addr);
        let mut own = own.filter(|own| own.is_ipv4() == vs.address.is_ipv4());
        let source = own.find(|own| !is_link_local(*own))?;
        (port.mtu > 0).then_some((id, port, source))
    });
    let first = able.next()?;
    let outside = |(_, port, _): &(PortId, &Port, IpAddr)| Some(port.zone) != behind;
    Some(match outside(&first) {
        true => first,
        false => able.find(outside).unwrap_or(first),
    })
}

/// The port's own name, where the kernel takes it for an interface.
fn interface_name(port: &str, id: PortId) -> String {
    let taken = ["lo", "all", "default"].contains(&port);
    if port.len() <= LONGEST_NAME && !taken {
        port.to_owned()
    } else {
        format!("port{}", id.0)
    }
}

/// The running host interface. Its interfaces go when it is dropped, and the namespace if it was made
/// here.
#[derive(Debug)]
pub struct Interface {
    commands: Sender<Command>,
    thread: Option<JoinHandle<()>>,
    namespace: Namespace,
}

impl Interface {
    /// Makes namespace and interfaces, and starts the thread; it inherits the caller's cores.
    /// `largest` is the largest IP packet of any port, ever, in bytes.
    ///
    /// # Errors
    /// [`HostError`]; nothing is left behind.
    pub fn start(
        host: &Host,
        config: &Config,
        snapshot: &Arc<Snapshot>,
        largest: u16,
        ends: Vec<HostEnd>,
    ) -> Result<Self, HostError> {
        let namespace = Namespace::open(host.namespace.as_str())?;
        let (commands, orders) = channel();
        let (ready, is_ready) = channel();
        let inside = namespace.clone();
        let first = Command::Apply(Plan::of(config, snapshot), Arc::clone(snapshot));
        let thread = std::thread::Builder::new().name("sluice-host".to_owned());
        let thread = thread.spawn(move || {
            let pump = inside.enter().and_then(|()| {
                let mut pump = Pump::new(ends, largest)?;
                pump.apply(first)?;
                Ok(pump)
            });
            match pump {
                Ok(pump) => {
                    let _ = ready.send(Ok(()));
                    pump.run(&orders);
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        });
        let thread = thread.map_err(HostError::Thread)?;
        let mut interface = Self {
            commands,
            thread: Some(thread),
            namespace,
        };
        let gone = || Err(HostError::Interface("its thread ended".to_owned()));
        match is_ready.recv().unwrap_or_else(|_| gone()) {
            Ok(()) => Ok(interface),
            Err(error) => {
                interface.end();
                Err(error)
            }
        }
    }

    /// Follows a change of the configuration.
    pub fn apply(&mut self, config: &Config, snapshot: &Arc<Snapshot>) {
        let command = Command::Apply(Plan::of(config, snapshot), Arc::clone(snapshot));
        if self.commands.send(command).is_err() {
            tracing::error!("the host interface has stopped; restart Sluice");
        }
    }

    /// Where the namespace can be entered.
    pub fn path(&self) -> &Path {
        self.namespace.path()
    }

    fn end(&mut self) {
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the host interface ended by a panic");
        }
    }
}

impl Drop for Interface {
    fn drop(&mut self) {
        self.end();
    }
}

/// Moves the calling thread into the namespace at `path`, for good.
///
/// # Errors
/// [`HostError::Namespace`].
pub fn enter(path: &Path) -> Result<(), HostError> {
    namespace::enter(path)
}

#[cfg(test)]
mod tests;
