//! Interfaces, addresses and routes in the namespace: TUN devices, and netlink.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use nix::net::if_::if_nametoindex;
use rtnetlink::{AddressMessageBuilder, Handle, LinkUnspec, RouteMessageBuilder};
use sluice_dataplane::snapshot::PortId;
use tokio::runtime::Runtime;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::{HostError, Plan, Wanted};

/// Index of the loopback interface in every namespace.
const LOOPBACK: u32 = 1;

/// An interface that is there.
pub(super) struct Link {
    pub(super) port: PortId,
    pub(super) device: SyncDevice,
    index: u32,
    has: Wanted,
}

/// All of them, and what else the namespace was told.
pub(super) struct Links {
    runtime: Runtime,
    netlink: Handle,
    pub(super) links: BTreeMap<String, Link>,
    routes: BTreeMap<IpNet, (String, IpAddr)>,
}

fn failed(what: &str) -> impl Fn(&dyn std::fmt::Display) -> HostError + use<> {
    let what = what.to_owned();
    move |why| HostError::Interface(format!("{what}: {why}"))
}

impl Links {
    /// None yet, in the calling thread's namespace.
    pub(super) fn new() -> Result<Self, HostError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(HostError::Thread)?;
        let netlink = {
            let _inside = runtime.enter();
            let (connection, handle, _) =
                rtnetlink::new_connection().map_err(|why| failed("netlink")(&why))?;
            runtime.spawn(connection);
            handle
        };
        let links = Self {
            runtime,
            netlink,
            links: BTreeMap::new(),
            routes: BTreeMap::new(),
        };
        let up = LinkUnspec::new_with_index(LOOPBACK).up().build();
        links
            .runtime
            .block_on(links.netlink.link().set(up).execute())
            .map_err(|why| failed("lo")(&why))?;
        Ok(links)
    }

    /// Makes the namespace what the plan says.
    pub(super) fn apply(&mut self, plan: &Plan) -> Result<(), HostError> {
        self.links.retain(|name, link| {
            plan.interfaces
                .get(name)
                .is_some_and(|w| w.port == link.port)
        });
        for (name, wanted) in &plan.interfaces {
            let fail = failed(name);
            match self.links.get_mut(name) {
                Some(link) if link.has == *wanted => continue,
                Some(link) => {
                    let netlink = &self.netlink;
                    self.runtime.block_on(change(netlink, link, wanted))
                }
                None => {
                    let mut link = make(name, wanted).map_err(|why| fail(&why))?;
                    let done = self
                        .runtime
                        .block_on(change(&self.netlink, &mut link, wanted));
                    self.links.insert(name.clone(), link);
                    done
                }
            }
            .map_err(|why| fail(&why))?;
        }
        self.routes(plan)
    }

    /// Routes of interfaces that went, or lost the address, went with them: all are set again.
    fn routes(&mut self, plan: &Plan) -> Result<(), HostError> {
        for (network, (name, source)) in std::mem::take(&mut self.routes) {
            let stays = plan.routes.contains_key(&network);
            if let Some(link) = self.links.get(&name).filter(|_| !stays) {
                let gone = route(network, link.index, source)?.build();
                // It may have gone with its address.
                let _ = self
                    .runtime
                    .block_on(self.netlink.route().del(gone).execute());
            }
        }
        for (network, (name, source)) in &plan.routes {
            let Some(link) = self.links.get(name) else {
                continue;
            };
            let wanted = route(*network, link.index, *source)?.build();
            let set = self.netlink.route().add(wanted).replace().execute();
            self.runtime
                .block_on(set)
                .map_err(|why| failed(&format!("route {network}"))(&why))?;
        }
        self.routes = plan.routes.clone();
        Ok(())
    }
}

fn make(name: &str, wanted: &Wanted) -> std::io::Result<Link> {
    let device = DeviceBuilder::new()
        .name(name)
        .layer(Layer::L3)
        .mtu(wanted.mtu)
        .build_sync()?;
    device.set_nonblocking(true)?;
    Ok(Link {
        port: wanted.port,
        device,
        index: if_nametoindex(name)?,
        has: Wanted {
            addresses: Vec::new(),
            ..wanted.clone()
        },
    })
}

async fn change(netlink: &Handle, link: &mut Link, to: &Wanted) -> Result<(), rtnetlink::Error> {
    for own in &link.has.addresses {
        if !to.addresses.contains(own) {
            let gone = match own {
                IpNet::V4(own) => AddressMessageBuilder::<Ipv4Addr>::new()
                    .index(link.index)
                    .address(own.addr(), own.prefix_len())
                    .build(),
                IpNet::V6(own) => AddressMessageBuilder::<Ipv6Addr>::new()
                    .index(link.index)
                    .address(own.addr(), own.prefix_len())
                    .build(),
            };
            netlink.address().del(gone).execute().await?;
        }
    }
    if link.has.mtu != to.mtu {
        let set = LinkUnspec::new_with_index(link.index)
            .mtu(u32::from(to.mtu))
            .build();
        netlink.link().set(set).execute().await?;
    }
    for own in &to.addresses {
        let add = netlink
            .address()
            .add(link.index, own.addr(), own.prefix_len());
        add.replace().execute().await?;
    }
    link.has = to.clone();
    Ok(())
}

/// Gateways are the data plane's to know: to the kernel every network is on the interface itself.
fn route(to: IpNet, index: u32, source: IpAddr) -> Result<RouteMessageBuilder<IpAddr>, HostError> {
    let fail = failed(&format!("route {to}"));
    let route = RouteMessageBuilder::<IpAddr>::new();
    let route = route.destination_prefix(to.addr(), to.prefix_len());
    let route = route.and_then(|route| route.pref_source(source));
    Ok(route.map_err(|why| fail(&why))?.output_interface(index))
}
