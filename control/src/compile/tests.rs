mod shared;

use std::net::IpAddr;

use ipnet::IpNet;
use sluice_dataplane::io::DeviceId;
use sluice_dataplane::nat::rules::SourceNat;
use sluice_dataplane::services::Target;
use sluice_dataplane::shared_names::SyncMode;
use sluice_dataplane::snapshot::{
    Local, PortId, Scheduler, ServerId, ServerState, ServiceId, Snapshot,
};
use sluice_dataplane::tcp::state::State;
use sluice_wire::{MacAddr, Tuple};

use super::*;
use crate::config::Source;

const WHOLE: &str = include_str!("../config/tests/whole.toml");

fn read(text: &str) -> Config {
    Config::read(Source::toml(text)).unwrap_or_else(|why| panic!("{why}"))
}

/// Facts of devices that every worker can send by, with a MAC address by their number.
pub(crate) fn facts(config: &Config) -> Vec<DeviceFacts> {
    let workers = config.system.workers.len() as u16;
    let devices = config.devices();
    let facts = devices.iter().zip(1..).map(|(device, n)| {
        let mac = device.mac.unwrap_or(MacAddr([2, 0, 0, 0, 0xaa, n]));
        DeviceFacts::software(mac, device.mtu, workers, device)
    });
    facts.collect()
}

fn compiled(text: &str) -> Snapshot {
    let config = read(text);
    let mut registry = Registry::new(layout(&config));
    compile(&config, &facts(&config), &mut registry, (1, None))
        .unwrap_or_else(|why| panic!("{why}"))
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a network")
}

#[test]
fn every_example_compiles() {
    for (name, text) in [
        (
            "load-balancer",
            include_str!("../../../examples/load-balancer.toml"),
        ),
        (
            "nat-gateway",
            include_str!("../../../examples/nat-gateway.toml"),
        ),
        ("both", include_str!("../../../examples/both.toml")),
        ("ha", include_str!("../../../examples/ha.toml")),
        ("ha-three", include_str!("../../../examples/ha-three.toml")),
        (
            "ha-tunnel",
            include_str!("../../../examples/ha-tunnel.toml"),
        ),
        ("health", include_str!("../../../examples/health.toml")),
    ] {
        let snapshot = compiled(text);
        assert_eq!(snapshot.ports.len(), 2, "{name}");
        assert_eq!(snapshot.steering.workers(), 2, "{name}");
    }
}

#[test]
fn ports_have_their_devices_vlans_and_addresses() {
    let snapshot = compiled(WHOLE);
    assert_eq!(snapshot.zones, ["outside", "inside", "dmz"]);
    let [outside, nic] = &snapshot.devices[..] else {
        panic!("two devices");
    };
    assert_eq!(
        (outside.untagged, outside.vlans.len()),
        (Some(PortId(0)), 0)
    );
    assert_eq!(nic.untagged, None);
    assert_eq!(nic.vlans, [(100, PortId(1)), (101, PortId(2))]);

    let port = &snapshot.ports[0];
    assert_eq!(port.mac, MacAddr([2, 0, 0, 0, 0, 1]));
    // The link-local address comes from the MAC address that was configured.
    assert_eq!(
        port.addresses,
        [
            net("203.0.113.1/24"),
            net("2001:db8:1::1/64"),
            net("fe80::ff:fe00:1/64")
        ]
    );
    assert_eq!((port.zone, snapshot.ports[2].zone), (0, 2));
    assert_eq!(snapshot.ports[2].device, DeviceId(1));

    let local = &snapshot.local;
    assert_eq!(local.get(ip("10.0.1.1")), Some(Local::Own(PortId(2))));
    assert_eq!(
        local.get(ip("fe80::ff:fe00:1")),
        Some(Local::Own(PortId(0)))
    );
    assert_eq!(local.get(ip("203.0.113.80")), Some(Local::Vip));
    assert_eq!(local.get(ip("203.0.113.19")), Some(Local::Nat));
    assert_eq!(local.get(ip("203.0.113.20")), Some(Local::Nat));
    // A forward on a port's own address does not take it from the port.
    assert_eq!(local.get(ip("203.0.113.1")), Some(Local::Own(PortId(0))));
}

#[test]
fn connected_networks_and_static_routes_lead_out() {
    let routes = compiled(WHOLE).routes;
    let hop = |address: &str| {
        let hop = routes.lookup(ip(address)).expect("a route");
        (hop.port, hop.gateway)
    };
    assert_eq!(hop("10.0.1.7"), (PortId(2), None));
    assert_eq!(hop("192.0.2.1"), (PortId(0), Some(ip("203.0.113.254"))));
    assert_eq!(hop("2001:db8:ffff::1"), (PortId(0), Some(ip("fe80::1"))));
    assert_eq!(hop("2001:db8:2::5"), (PortId(1), None));
}

#[test]
fn services_are_found_and_named() {
    let snapshot = compiled(WHOLE);
    let find = |address, proto, port| snapshot.services.find(ip(address), proto, port);
    assert_eq!(find("203.0.113.80", 6, 80), Some(Target::VirtualServer(0)));
    assert_eq!(find("203.0.113.80", 6, 81), None);
    assert_eq!(find("203.0.113.1", 6, 2209), Some(Target::Forward(0)));
    assert_eq!(find("203.0.113.20", 47, 0), Some(Target::Static(0)));

    let vs = &snapshot.virtual_servers[0];
    assert_eq!(
        (vs.ports, vs.snat_pool, vs.clamp_mss),
        (Some((80, 80)), Some(0), Some(1440))
    );
    assert_eq!(vs.tiers[0].members, [ServerId(1), ServerId(2)]);
    let Scheduler::Maglev(table) = &vs.tiers[0].scheduler else {
        panic!("a Maglev table");
    };
    // web1 drains: web2 has all slots.
    assert_eq!(table.slots().len(), 65_537);
    assert!(table.slots().iter().all(|&member| member == 1));
    let server = snapshot.servers[1].as_ref().expect("web1");
    assert_eq!(
        (server.name.as_str(), server.state),
        ("web/web1", ServerState::Draining)
    );
    assert!(snapshot.servers[0].is_none() && snapshot.service_names[0].is_none());

    let name = |id: ServiceId| {
        let name = snapshot.service_names[usize::from(id.0)].as_ref();
        name.map(|name| (name.kind, name.name.as_str()))
    };
    assert_eq!(name(vs.service), Some(("virtual_server", "web")));
    assert_eq!(
        name(snapshot.nat.forwards[0].service),
        Some(("forward", "ssh"))
    );
    assert_eq!(
        name(snapshot.nat.statics[0].service),
        Some(("static", "mail"))
    );
    assert_eq!(
        name(snapshot.nat.rules[1].service),
        Some(("snat", "internet"))
    );
    assert_eq!(
        name(snapshot.firewall.rules()[0].service),
        Some(("firewall", "ssh"))
    );
    assert_eq!(snapshot.nat.rules[1].to_source, SourceNat::Pool(0));

    // Each with its own timeouts, and what it does not change by [timeouts].
    let established =
        |set: u8| snapshot.timeouts[usize::from(set)].tcp[State::Established as usize];
    assert_eq!(established(0), 7_440_000);
    assert_eq!(established(vs.timeouts), 600_000);
    assert_eq!(snapshot.timeouts[usize::from(vs.timeouts)].udp_new, 30_000);
    assert_eq!(
        established(snapshot.firewall.rules()[0].timeouts),
        86_400_000
    );
    assert_eq!(snapshot.nat.forwards[0].timeouts, 0);
}

#[test]
fn policy_speaks_about_the_zones_that_it_names() {
    let snapshot = compiled(WHOLE);
    let ssh = Tuple {
        proto: 6,
        src: ip("198.51.100.7"),
        sport: 40_000,
        dst: ip("10.0.1.5"),
        dport: 22,
    };
    let allowed = |from, to| snapshot.firewall.decide(from, to, &ssh).allow;
    let (outside, inside, dmz) = (0, 1, 2);
    assert!(allowed(outside, dmz) && allowed(inside, dmz) && allowed(inside, outside));
    assert!(!allowed(outside, inside) && !allowed(dmz, outside));
}

#[test]
fn numbers_stay_with_their_names_across_changes() {
    let first = read(WHOLE);
    let mut registry = Registry::new(layout(&first));
    let before = compile(&first, &facts(&first), &mut registry, (1, None)).expect("it compiles");

    // Without web1, with a server and a service put in front, another zone order, and no dmz.
    let changed = WHOLE
        .replace(
            "[[pool.server]]\nname = \"web1\"\naddress = \"10.0.0.11\"\nport = 8080\nweight = 3\nstate = \"draining\"\n",
            "[[pool.server]]\nname = \"web0\"\naddress = \"10.0.0.10\"\n",
        )
        .replace(
            "[[virtual_server]]\n",
            "[[virtual_server]]\nname = \"first\"\naddress = \"203.0.113.81\"\nport = 80\npool = \"web\"\n\
             timeouts = { udp = \"1m\" }\n\n[[virtual_server]]\n",
        )
        .replace("zone = \"dmz\"", "zone = \"lab\"")
        .replace("\"dmz\" }", "\"lab\" }")
        .replace("to = \"dmz\"", "to = \"lab\"")
        .replace("name = \"dmz\"", "name = \"lab\"");
    let second = read(&changed);
    let after = compile(&second, &facts(&second), &mut registry, (2, None)).expect("it compiles");
    assert_eq!(
        after.virtual_servers[1].service,
        before.virtual_servers[0].service
    );
    assert_eq!(
        after.virtual_servers[1].timeouts,
        before.virtual_servers[0].timeouts
    );
    assert!(after.virtual_servers[0].service.0 > 0);
    assert_ne!(
        after.virtual_servers[0].service,
        before.virtual_servers[0].service
    );
    assert_eq!(
        after.virtual_servers[1].tiers[0].members,
        [ServerId(3), ServerId(2)]
    );
    assert!(
        after.servers[1].is_none(),
        "web1 is gone, and nobody has its number"
    );
    assert_eq!(after.zones, ["outside", "inside", "dmz", "lab"]);
    assert_eq!(after.ports.len(), 4);
    assert_eq!(
        after.ports[2].addresses,
        [],
        "the dmz port is gone, and nobody has its number"
    );
    assert_eq!(
        (after.ports[3].name.as_str(), after.ports[3].zone),
        ("lab", 3)
    );
    assert_eq!(after.devices[1].vlans, [(100, PortId(1)), (101, PortId(3))]);

    // And back: everything as it was.
    let back = compile(&first, &facts(&first), &mut registry, (3, None)).expect("it compiles");
    assert_eq!(
        back.virtual_servers[0].tiers[0].members,
        before.virtual_servers[0].tiers[0].members
    );
    assert_eq!(back.ports[2].zone, 2);
    assert_eq!(
        back.virtual_servers[0].timeouts,
        before.virtual_servers[0].timeouts
    );
}

#[test]
fn a_registry_without_room_says_so_and_stays_as_it_was() {
    let config = read(WHOLE);
    let mut registry = Registry::new(Layout {
        ports: 3,
        services: 7,
        servers: 2,
        peers: 0,
    });
    let refused = compile(&config, &facts(&config), &mut registry, (1, None));
    assert_eq!(
        refused.err().map(|why| why.to_string()).as_deref(),
        Some(
            "no room for more real servers than 2, counting those that were taken out since the start; \
             restart to begin anew"
        )
    );
    assert_eq!(registry.used(), (1, 1));
    assert!(registry.zones().is_empty() && registry.ports().is_empty());
}

#[test]
fn devices_keep_their_order_when_ports_change_theirs() {
    let first = read(WHOLE);
    let mut registry = Registry::new(layout(&first));
    let facts = facts(&first);
    let before = compile(&first, &facts, &mut registry, (1, None)).expect("it compiles");
    let (head, rest) = WHOLE.split_once("[[port]]").expect("ports");
    let (outside, rest) = rest.split_once("[[port]]").expect("ports");
    let (others, tail) = rest.split_once("[[route]]").expect("routes");
    let turned = format!("{head}[[port]]{others}[[port]]{outside}[[route]]{tail}");
    let second = read(&turned);
    assert_eq!(second.devices()[0].name.as_str(), "0000:03:00.0");
    assert_eq!(crate::reload::check(&first, &facts, &second, false), Ok(()));
    let after = compile(&second, &facts, &mut registry, (2, None)).expect("it compiles");
    let names = |snapshot: &Snapshot| -> Vec<String> {
        let names = snapshot.devices.iter().map(|device| device.name.clone());
        names.collect()
    };
    assert_eq!(names(&after), names(&before));
    assert_eq!(after.ports[0].mac, before.ports[0].mac);
    assert_eq!(
        (after.ports[0].device, after.ports[1].device),
        (DeviceId(0), DeviceId(1))
    );
}

#[test]
fn three_nodes_have_three_shares_of_the_ports() {
    let text = include_str!("../../../examples/ha-three.toml");
    let ports = [(1, "[2, 3]"), (2, "[1, 3]"), (3, "[1, 2]")].map(|(node, peers)| {
        let text = text.replace("node = 1", &format!("node = {node}"));
        let text = text.replace("peers = [2, 3]", &format!("peers = {peers}"));
        compiled(&text).nat.pools[0].ports
    });
    // The fourth is for a node to come.
    assert_eq!(ports, [(1024, 17151), (17152, 33279), (33280, 49407)]);
}

#[test]
fn two_nodes_divide_the_ports_and_share_the_names() {
    let text = include_str!("../../../examples/ha.toml");
    let first = compiled(text);
    let second = compiled(
        &text
            .replace("node = 1", "node = 2")
            .replace("peer = 2", "peer = 1"),
    );
    assert_eq!(first.nat.pools[0].ports.0, 1024);
    assert_eq!(first.nat.pools[0].ports.1 + 1, second.nat.pools[0].ports.0);
    assert_eq!(second.nat.pools[0].ports.1, 65535);
    assert_eq!(first.devices.len(), 3);
    assert_eq!(first.devices[2].untagged, None, "the HA link is no port");
    let names = |snapshot: &Snapshot| snapshot.shared_names.clone().expect("names");
    let snat = first.nat.rules[0].service;
    assert_eq!(
        names(&second).service_of(names(&first).service(snat)),
        Some(snat)
    );
    assert!(compiled(WHOLE).shared_names.is_none());
    let quiet = compiled(&format!("{text}sync = \"none\"\n"));
    let inline = compiled(&format!("{text}sync = \"inline\"\n"));
    let mode = |snapshot| names(snapshot).mode(snat);
    assert_eq!(
        [&first, &quiet, &inline].map(mode),
        [SyncMode::Async, SyncMode::None, SyncMode::Inline]
    );
}
