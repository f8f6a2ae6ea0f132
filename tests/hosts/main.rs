//! Sluice between real hosts, each time with two workers; one module a subject.
//!
//! At the end of every test every frame is accounted for and no packet buffer is missing:
//! `sluice_tests::sluice::Sluice` sees to that when it is dropped.

mod api_rate;
mod bad_wire;
mod balancing;
mod capture;
mod connectivity;
mod control;
mod cuts;
mod demo;
mod firewall;
mod fragments;
mod ftp;
mod health;
mod hostile;
mod icmp;
mod inline;
mod kernel;
mod keys;
mod kill;
mod modes;
mod monitoring;
mod neighbours;
mod overload;
mod pair;
mod ping;
mod plain;
mod quickstart;
mod redirect;
mod reload;
mod roles;
mod rolling;
mod snat;
mod startup;
mod stuck;
mod syslog;
mod three;
mod tiers;
mod translations;
mod tunnels;
mod two_nodes;
mod vlan;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use sluice_tests::http::Response;
use sluice_tests::lab::Host;

/// The usual virtual server: its address is on no network of ours, clients route it to us.
const VIP: &str = "203.0.113.80";
/// The same in IPv6.
const VIP6: &str = "2001:db8:80::80";
/// An address that sources are translated to; on no network of ours either.
const NAT: &str = "203.0.113.1";

/// A pool `web` of servers `(host, weight)`, named as their hosts are.
fn pool(servers: &[(&Host, u16)]) -> String {
    let mut pool = "[[pool]]\nname = \"web\"\n".to_owned();
    for (host, weight) in servers {
        pool += &format!(
            "[[pool.server]]\nname = \"{}\"\naddress = \"{}\"\nport = 80\nweight = {weight}\n\
             state = \"up\"\n",
            host.name(),
            host.address()
        );
    }
    pool
}

/// The virtual server `web` at [`VIP`], port 80, in front of the pool `web`.
fn virtual_server(settings: &str) -> String {
    format!(
        "[[virtual_server]]\nname = \"web\"\naddress = \"{VIP}\"\nport = 80\nprotocol = \"tcp\"\n\
         pool = \"web\"\n{settings}\n"
    )
}

/// Inside may open sessions to outside, with sources translated to [`NAT`].
fn snat(settings: &str) -> String {
    format!(
        "[firewall]\nopen = [{{ from = \"inside\", to = \"outside\" }}]\n\
         [[snat_pool]]\nname = \"public\"\naddresses = [\"{NAT}\"]\n{settings}\n\
         [[snat]]\nname = \"all\"\nfrom = \"inside\"\nto = \"outside\"\npool = \"public\"\n"
    )
}

/// Asks from a host.
fn get(from: &Host, server: &str, path: &str) -> Result<Response, String> {
    let server = server.parse::<SocketAddr>().or_else(|_| {
        server
            .parse::<IpAddr>()
            .map(|address| SocketAddr::new(address, 80))
    });
    let server = server.expect("an address");
    from.namespace()
        .inside(|| sluice_tests::http::get(server, path))
}

/// A UDP socket on a host, with a timeout for answers that should come.
fn udp(host: &Host, address: IpAddr, port: u16) -> UdpSocket {
    let socket = host
        .namespace()
        .inside(|| UdpSocket::bind(SocketAddr::new(address, port)))
        .unwrap_or_else(|why| panic!("{}: UDP port {port}: {why}", host.name()));
    socket
        .set_read_timeout(Some(Duration::from_secs(2)))
        .expect("a timeout");
    socket
}

/// Sends a datagram until its echo comes back: UDP may be lost, but not five times.
fn echoes(socket: &UdpSocket, server: SocketAddr, datagram: &[u8]) -> bool {
    let mut answer = vec![0; 65_536];
    (0..5).any(|_| {
        socket.send_to(datagram, server).expect("cannot send");
        matches!(socket.recv_from(&mut answer),
            Ok((length, from)) if from == server && &answer[..length] == datagram)
    })
}
