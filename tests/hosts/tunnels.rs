//! Two nodes whose HA links the kernel routes between: it sees and judges every header of the tunnels.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sluice_tests::beat::Beat;
use sluice_tests::lab::{HA, Host, Lab};
use sluice_tests::servers::{Nginx, UdpEcho};
use sluice_tests::steady::{Steady, TcpEcho};
use sluice_tests::wait;

use crate::two_nodes::{GATEWAYS, SMALL, await_held, await_peer, await_ready, gap};
use crate::{echoes, snat, udp};

/// Where the echoes listen.
const ECHO: u16 = 7;
/// Far longer than it takes: a test machine has other work as well. The figure is printed.
const AT_MOST: Duration = Duration::from_secs(4);
/// What is downloaded, bytes.
const BLOB: usize = 3_000_000;

/// Node 1 prefers to hold the gateway inside and so gets the requests, node 2 that outside.
fn rest(node: u8, kind: &str) -> String {
    let other = 3 - node;
    let tunnel = format!(
        "[ha.tunnel]\nkind = \"{kind}\"\nid = 4711\naddress = \"10.99.{node}.1/23\"\n\
         gateway = \"10.99.{node}.254\"\n\n\
         [[ha.tunnel.node]]\nnode = {other}\naddress = \"10.99.{other}.1\"\n\n"
    );
    let group = |number: u8| {
        let priority = if node == number { 150 } else { 100 };
        let address = GATEWAYS[usize::from(number) - 1];
        format!(
            "[[ha.group]]\nname = \"group-{number}\"\nnumber = {number}\n\
             addresses = [\"{address}\"]\npriority = {priority}\npreempt_after = \"1s\"\n\n"
        )
    };
    tunnel + &group(1) + &group(2) + &snat("")
}

fn download(client: &Host, server: SocketAddr) -> Vec<u8> {
    let url = format!("http://{server}/blob");
    client.ok(&["curl", "-sS", "--fail", "-m", "60", "-o", "blob", &url]);
    std::fs::read(client.directory().join("blob")).expect("a file")
}

/// The path takes 1,500 bytes, so the tunnel takes less than the networks of the ports.
fn replies_by_the_other_side_of_a_router(kind: &str, mtu: u16) {
    let mut lab = Lab::gateway(kind);
    lab.system(SMALL);
    lab.ha(&format!("{HA}mtu = {mtu}\n"));
    let (client, server) = (lab.inside(11), lab.outside(10));
    let (twin, router) = lab.twin_by_router();
    for (host, gateway) in [&client, &server].into_iter().zip(GATEWAYS) {
        host.ok(&["ip", "route", "replace", "default", "via", gateway]);
    }
    let nginx = Nginx::start(&server);
    let _echoes = (
        TcpEcho::start(server.namespace(), server.at(ECHO)),
        UdpEcho::start(server.namespace(), server.address(), ECHO),
    );
    let blob: Vec<u8> = (0..BLOB).map(|at| ((at * 7919) >> 8) as u8).collect();
    std::fs::write(nginx.root().join("blob"), &blob).expect("cannot write");
    let first = lab.start_first(&rest(1, kind));
    let second = lab.start_second(&twin, &rest(2, kind));
    [&first, &second].into_iter().for_each(await_ready);
    await_held(&[(&first, 0), (&second, 1)]);

    // Segments are as large as the ports take until the server hears that the tunnel takes less.
    assert!(
        download(&client, server.at(80)) == blob,
        "what came is what was sent"
    );
    assert!(second.stats().dropped("too_big") > 0, "it was told");
    let socket = udp(&client, client.address(), 20_000);
    // The answer is cut by node 2. (Fragments cannot be sent here: with several queues DPDK's af_packet has
    // the kernel put them together before it delivers them.)
    assert!(echoes(&socket, server.at(ECHO), &[7; 1472]));
    let corrected = second.json("/api/v1/ha")["redirected"].as_u64();
    assert!(corrected > Some(100), "{corrected:?}");
    let discarded = router
        .command("nstat")
        .args(["-az", "IpInHdrErrors", "IpInDiscards"])
        .output();
    let discarded = String::from_utf8(discarded.expect("nstat").stdout).expect("text");
    for line in discarded.lines().skip(1) {
        let count = line.split_whitespace().nth(1);
        assert_eq!(count, Some("0"), "{discarded}");
    }

    // A router that is deaf for a while is nobody's death but the link's.
    router.ip(&["link", "set", "to2", "down"]);
    await_peer(&first, "unreachable");
    router.ip(&["link", "set", "to2", "up"]);
    [&first, &second].into_iter().for_each(await_ready);
    await_held(&[(&first, 0), (&second, 1)]);
    assert!(download(&client, server.at(80)) == blob, "as before");

    let period = Duration::from_millis(500);
    let steady = Steady::start(client.namespace(), server.at(ECHO), 100, period);
    let beat = Beat::start(client.namespace(), server.at(ECHO));
    steady.expect_answers();
    wait::expect("what was told to be known", || {
        first.json("/api/v1/ha")["ready"] == true
    });
    let killed = Instant::now();
    second.kill();
    let silent = gap(&beat, killed, "a node behind a router killed");
    assert!(silent < AT_MOST, "{silent:?}");
    await_held(&[(&first, 0), (&first, 1)]);
    steady.expect_answers();
    assert_eq!(steady.finish(), [""; 0]);
}

#[test]
fn nodes_behind_routers_are_one_by_vxlan() {
    replies_by_the_other_side_of_a_router("vxlan", 1450);
}

#[test]
fn nodes_behind_routers_are_one_by_gre() {
    replies_by_the_other_side_of_a_router("gre", 1458);
}
