//! Port forwarding, static translation, hairpin, both sides at once.

use sluice_tests::lab::{Host, INSIDE, Lab};
use sluice_tests::servers::{Nginx, UdpEcho};

use crate::{NAT, echoes, get, snat, udp};

/// `NAT:8080` to a host's port 80, and UDP 7.
fn forwards(host: &Host) -> String {
    let to = host.address();
    format!(
        "[[forward]]\nname = \"www\"\naddress = \"{NAT}\"\nprotocol = \"tcp\"\nport = 8080\n\
         to = \"{to}:80\"\n\
         [[forward]]\nname = \"echo\"\naddress = \"{NAT}\"\nprotocol = \"udp\"\nport = 7\n\
         to = \"{to}:7\"\n"
    )
}

#[test]
fn a_forwarded_port_leads_inside_and_shows_the_client() {
    let mut lab = Lab::gateway("forward");
    let client = lab.outside(10);
    let server = lab.inside(11);
    let _nginx = Nginx::start(&server);
    let _echo = UdpEcho::start(server.namespace(), server.address(), 7);
    let _sluice = lab.start(&forwards(&server));
    for _ in 0..10 {
        let seen = get(&client, &format!("{NAT}:8080"), "/from")
            .expect("an answer")
            .text();
        assert!(
            seen.starts_with("198.51.100.10 ") && seen.trim().ends_with(" 80"),
            "{seen}"
        );
    }
    let socket = udp(&client, client.address(), 0);
    let forwarded = format!("{NAT}:7").parse().expect("an address");
    for round in 0..10_u8 {
        assert!(echoes(&socket, forwarded, &[round; 100]));
    }
    // The port next to it leads nowhere.
    let closed = client.run(&["curl", "-sS", "-m", "3", &format!("http://{NAT}:8081/")]);
    assert!(!closed.status.success());
}

#[test]
fn inside_hosts_reach_a_forwarded_port_by_its_outside_address() {
    let mut lab = Lab::gateway("hairpin");
    let server = lab.inside(11);
    let clients = [lab.inside(12), lab.inside(13)];
    let nginx = Nginx::start(&server);
    std::fs::write(nginx.root().join("blob"), vec![b'h'; 3_000_000]).expect("cannot write");
    let _echo = UdpEcho::start(server.namespace(), server.address(), 7);
    let _sluice = lab.start(&(snat("") + &forwards(&server)));
    for client in clients.iter().chain([&server]) {
        let seen = get(client, &format!("{NAT}:8080"), "/from")
            .expect("an answer")
            .text();
        // The server must not see the client's address, or its answers would go around us.
        let source = seen.split_whitespace().next().unwrap_or_default();
        assert!([NAT, INSIDE].contains(&source), "{seen}");
    }
    let size = clients[0].sh(&format!("curl -sS --fail http://{NAT}:8080/blob | wc -c"));
    assert_eq!(size.trim(), "3000000");
    let socket = udp(&clients[1], clients[1].address(), 0);
    for round in 0..10_u8 {
        assert!(echoes(
            &socket,
            format!("{NAT}:7").parse().expect("an address"),
            &[round; 10]
        ));
    }
}

#[test]
fn static_translation_works_from_both_sides_and_for_ping() {
    let mut lab = Lab::gateway("static");
    let outside = lab.outside(10);
    let inside = lab.inside(11);
    let external = "203.0.113.11";
    let (_web, _far) = (Nginx::start(&inside), Nginx::start(&outside));
    let _sluice = lab.start(&format!(
        "[firewall]\nopen = [{{ from = \"inside\", to = \"outside\" }}]\n\
         [[static_nat]]\nname = \"one\"\nexternal = \"{external}\"\ninternal = \"10.1.0.11\"\n\
         open_from = [\"outside\"]\n"
    ));
    for _ in 0..5 {
        let seen = get(&outside, external, "/from").expect("an answer").text();
        assert!(seen.starts_with("198.51.100.10 "), "{seen}");
        let seen = get(&inside, "198.51.100.10", "/from")
            .expect("an answer")
            .text();
        assert!(seen.starts_with(&format!("{external} ")), "{seen}");
    }
    outside.ok(&["ping", "-c", "3", "-W", "5", external]);
    inside.ok(&["ping", "-c", "3", "-W", "5", "198.51.100.10"]);
}
