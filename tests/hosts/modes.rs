//! What else a virtual server can do to packets: full NAT, direct server return, UDP.

use std::net::SocketAddr;

use sluice_tests::lab::{INSIDE, Lab};
use sluice_tests::servers::{Nginx, UdpEcho};

use crate::{NAT, VIP, echoes, get, pool, udp, virtual_server};

#[test]
fn fullnat_reaches_servers_that_have_no_route_to_the_client() {
    let mut lab = Lab::gateway("fullnat");
    let client = lab.outside(10);
    let web = lab.host("in11", "inside", &["10.1.0.11/24"], &[]);
    web.namespace()
        .ip(&["route", "add", &format!("{NAT}/32"), "via", INSIDE]);
    let nginx = Nginx::start(&web);
    std::fs::write(nginx.root().join("blob"), vec![b'f'; 2_000_000]).expect("cannot write");
    let _sluice = lab.start(
        &(pool(&[(&web, 1)])
            + &virtual_server(
                "mode = \"fullnat\"\nscheduler = \"round_robin\"\nsnat_pool = \"public\"",
            )
            + &format!("[[snat_pool]]\nname = \"public\"\naddresses = [\"{NAT}\"]\n")),
    );
    for _ in 0..20 {
        let seen = get(&client, VIP, "/from").expect("an answer").text();
        assert!(seen.starts_with(&format!("{NAT} ")), "{seen}");
    }
    let size = client.sh(&format!("curl -sS --fail http://{VIP}/blob | wc -c"));
    assert_eq!(size.trim(), "2000000");
}

#[test]
fn dsr_answers_go_around_the_appliance() {
    let mut lab = Lab::gateway("dsr");
    // Client and servers share a network, so that answers can go around.
    let client = lab.host("client", "inside", &["10.1.0.50/24"], &[]);
    client
        .namespace()
        .ip(&["route", "add", &format!("{VIP}/32"), "via", INSIDE]);
    let web = [lab.inside(11), lab.inside(12)];
    let servers = [&web[0], &web[1]].map(|host| {
        host.namespace().sysctl("net/ipv4/conf/all/arp_ignore", "1");
        host.namespace()
            .sysctl("net/ipv4/conf/all/arp_announce", "2");
        host.namespace()
            .ip(&["addr", "add", &format!("{VIP}/32"), "dev", "lo"]);
        let nginx = Nginx::start(host);
        std::fs::write(nginx.root().join("blob"), vec![b'd'; 5_000_000]).expect("cannot write");
        nginx
    });
    let sluice = lab.start(
        &(pool(&[(&web[0], 1), (&web[1], 1)]).replace("port = 80\n", "")
            + &virtual_server("mode = \"dsr\"\nscheduler = \"round_robin\"")),
    );
    let mut answers: Vec<_> = (0..10)
        .map(|_| {
            get(&client, VIP, "/")
                .expect("an answer")
                .text()
                .trim()
                .to_owned()
        })
        .collect();
    answers.sort();
    answers.dedup();
    assert_eq!(answers, ["in11", "in12"]);
    let seen = get(&client, VIP, "/from").expect("an answer").text();
    assert!(
        seen.starts_with("10.1.0.50 ") && seen.contains(VIP),
        "{seen}"
    );

    let before = sluice.assert_accounted().total().forwarded;
    let size = client.sh(&format!("curl -sS --fail http://{VIP}/blob | wc -c"));
    assert_eq!(size.trim(), "5000000");
    let acks = sluice.assert_accounted().total().forwarded - before;
    // 5 MB are 3,454 segments of 1,448 bytes: with the answers it would be far more.
    assert!(acks < 3_454, "{acks} frames for one direction of 5 MB");
    drop(servers);
}

#[test]
fn udp_virtual_server_keeps_a_socket_on_its_server() {
    let mut lab = Lab::gateway("udpvip");
    let client = lab.outside(10);
    let servers = [lab.inside(11), lab.inside(12)];
    let _echo = servers
        .each_ref()
        .map(|host| UdpEcho::start(host.namespace(), host.address(), 53));
    let _sluice = lab.start(
        &(pool(&[(&servers[0], 1), (&servers[1], 1)]).replace("port = 80", "port = 53")
            + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"")
                .replace("port = 80", "port = 53")
                .replace("\"tcp\"", "\"udp\"")),
    );
    let vip = SocketAddr::new(VIP.parse().expect("an address"), 53);
    for number in 0..20_u8 {
        let socket = udp(&client, client.address(), 0);
        for round in 0..3 {
            // The echo checks that the answer comes from the virtual server.
            assert!(
                echoes(&socket, vip, &[number, round]),
                "socket {number}, round {round}"
            );
        }
        // A checksum that happens to be 0 must be sent as 0xffff; lengths of all parities.
        assert!(echoes(
            &socket,
            vip,
            &vec![number; usize::from(number) * 73]
        ));
    }
}
