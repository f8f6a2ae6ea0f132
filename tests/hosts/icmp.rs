//! ping, traceroute and path MTU discovery: ICMP about translated packets.

use sluice_tests::lab::{Host, INSIDE, INSIDE6, Lab, OUTSIDE};
use sluice_tests::servers::Nginx;

use crate::{VIP, get, pool, snat, virtual_server};

/// A router outside and a host behind it; the link between them takes `mtu` bytes.
pub(crate) fn beyond(lab: &mut Lab, mtu: u16) -> (Host, Host) {
    let router = lab.outside(254);
    let far = lab.lone_host("far", &["192.0.2.9/24", "2001:db8:2::9/64"]);
    router.cable("eth1", "192.0.2.1/24", &far, "192.0.2.9/24", mtu);
    far.namespace()
        .ip(&["route", "add", "default", "via", "192.0.2.1"]);
    if mtu >= 1280 {
        for (host, address, interface) in [
            (&router, "2001:db8:2::1/64", "eth1"),
            (&far, "2001:db8:2::9/64", "eth0"),
        ] {
            host.namespace()
                .ip(&["addr", "add", address, "dev", interface]);
        }
        far.namespace()
            .ip(&["route", "add", "default", "via", "2001:db8:2::1"]);
    }
    router.namespace().sysctl("net/ipv4/ip_forward", "1");
    router
        .namespace()
        .sysctl("net/ipv6/conf/all/forwarding", "1");
    router.namespace().sysctl("net/ipv4/icmp_ratelimit", "0");
    (router, far)
}

/// The appliance's default routes lead to the router.
pub(crate) const ROUTES: &str = "[[route]]\nto = \"0.0.0.0/0\"\nvia = \"198.51.100.254\"\n\
                      [[route]]\nto = \"::/0\"\nvia = \"2001:db8:51::254\"\n";

#[test]
fn ping_through_nat_from_several_hosts_at_once() {
    let mut lab = Lab::gateway("ping");
    let server = lab.outside(10);
    let clients = [lab.inside(11), lab.inside(12)];
    let sluice = lab.start(&snat(""));
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| {
                let ping = "ping -c 10 -i 0.2 -W 5 198.51.100.10";
                let seen = client.sh(ping);
                assert!(seen.contains(" 0% packet loss"), "{seen}");
                assert!(!seen.contains("DUP"), "{seen}");
                client.ok(&["ping", "-c", "3", "-W", "5", "-s", "1472", "198.51.100.10"]);
            });
        }
    });
    // Its own addresses answer on both sides, in both families.
    clients[0].ok(&["ping", "-c", "1", "-W", "5", INSIDE]);
    clients[0].ok(&["ping", "-6", "-c", "1", "-W", "5", INSIDE6]);
    server.ok(&["ping", "-c", "1", "-W", "5", OUTSIDE]);
    drop(sluice);
}

#[test]
fn traceroute_through_nat_shows_every_hop() {
    let mut lab = Lab::gateway("trace");
    let (_router, _far) = beyond(&mut lab, 1500);
    let client = lab.inside(11);
    let _sluice = lab.start(&(snat("") + ROUTES));
    // One probe a hop, slowly: hosts limit the rate of their ICMP errors.
    for kind in ["-I", "-U", "-T -p 80"] {
        let trace = client.sh(&format!(
            "traceroute -n -q 2 -N 1 -w 5 -m 6 {kind} 192.0.2.9"
        ));
        let hops: Vec<&str> = trace
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().find(|word| word.contains('.')))
            .collect();
        assert_eq!(
            hops,
            [INSIDE, "198.51.100.254", "192.0.2.9"],
            "traceroute {kind}:\n{trace}"
        );
    }
    let trace = client.sh("traceroute -6 -n -q 2 -N 1 -w 5 -m 6 2001:db8:2::9");
    for hop in [INSIDE6, "2001:db8:51::254", "2001:db8:2::9"] {
        assert!(trace.contains(hop), "{trace}");
    }
}

#[test]
fn path_mtu_discovery_works_through_snat_through_a_vip_and_in_ipv6() {
    let mut lab = Lab::gateway("pmtu");
    let (_router, far) = beyond(&mut lab, 1200);
    let inside = lab.inside(11);
    let far_nginx = Nginx::start(&far);
    let nginx = Nginx::start(&inside);
    let blob = vec![b'm'; 2_000_000];
    std::fs::write(nginx.root().join("blob"), &blob).expect("cannot write");
    let _sluice = lab.start(
        &(snat("")
            + ROUTES
            + &pool(&[(&inside, 1)])
            + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"")),
    );
    // Upwards through SNAT: the router's "fragmentation needed" is about the translated packet.
    let file = nginx.root().join("blob").display().to_string();
    inside.sh(&format!(
        "curl -sS --fail --max-time 50 -T {file} http://192.0.2.9/in/blob"
    ));
    let stored = std::fs::read(far_nginx.root().join("in/blob")).expect("the upload");
    assert!(stored == blob, "{} bytes arrived", stored.len());
    let route = inside.ok(&["ip", "route", "get", "192.0.2.9"]);
    assert!(
        route.contains("mtu 1200"),
        "the sender never heard of the MTU: {route}"
    );

    // Down from a real server: the error is sent to the virtual server's address.
    inside.ok(&["ip", "route", "flush", "cache"]);
    let route = inside.ok(&["ip", "route", "get", "192.0.2.9"]);
    assert!(!route.contains("mtu 1200"), "{route}");
    let size = far.sh(&format!(
        "curl -sS --fail --max-time 50 http://{VIP}/blob | wc -c"
    ));
    assert_eq!(size.trim(), "2000000");
    let route = inside.ok(&["ip", "route", "get", "192.0.2.9"]);
    assert!(
        route.contains("mtu 1200"),
        "the real server never heard of the MTU: {route}"
    );

    // A ping that must not be fragmented fails with the router's word, not in silence.
    inside.ok(&["ip", "route", "flush", "cache"]);
    let ping = inside.run(&[
        "ping",
        "-c",
        "2",
        "-W",
        "3",
        "-M",
        "do",
        "-s",
        "1400",
        "192.0.2.9",
    ]);
    let said = String::from_utf8_lossy(&ping.stdout).into_owned();
    assert!(!ping.status.success());
    assert!(
        said.contains("mtu = 1200") || said.contains("mtu=1200"),
        "{said}"
    );
}

#[test]
fn ipv6_packet_too_big_from_beyond_reaches_the_sender() {
    let mut lab = Lab::gateway("pmtu6");
    let (_router, far) = beyond(&mut lab, 1300);
    let inside = lab.inside(11);
    let _far = Nginx::start(&far);
    let _sluice = lab.start(
        &("[firewall]\nopen = [{ from = \"inside\", to = \"outside\" }]\n".to_owned() + ROUTES),
    );
    inside.sh("head -c 1000000 /dev/zero >zeros; \
               curl -6 -g -sS --fail --max-time 50 -T zeros 'http://[2001:db8:2::9]/in/zeros'");
    let route = inside.ok(&["ip", "-6", "route", "get", "2001:db8:2::9"]);
    assert!(route.contains("mtu 1300"), "{route}");
}

#[test]
fn the_appliance_itself_says_when_a_packet_is_too_big_for_its_next_link() {
    let mut lab = Lab::gateway("ownmtu");
    let far = lab.outside(10);
    let inside = lab.inside(11);
    let _far = Nginx::start(&far);
    lab.ports()[1].settings += "mtu = 1280\n";
    let sluice = lab.start(&snat(""));
    let ping = inside.run(&[
        "ping",
        "-c",
        "2",
        "-W",
        "3",
        "-M",
        "do",
        "-s",
        "1400",
        "198.51.100.10",
    ]);
    let said = String::from_utf8_lossy(&ping.stdout).into_owned();
    assert!(said.contains(&format!("From {INSIDE}")), "{said}");
    assert!(said.contains("1280"), "{said}");
    inside.sh("ip route flush cache; head -c 1000000 /dev/zero >zeros; \
               curl -sS --fail --max-time 50 -T zeros http://198.51.100.10/in/zeros");
    sluice.expect_dropped("too_big", 1);
}

#[test]
fn a_closed_udp_port_behind_nat_is_reported_to_the_client() {
    let mut lab = Lab::gateway("unreach");
    let _server = lab.outside(10);
    let client = lab.inside(11);
    let _sluice = lab.start(&snat(""));
    let socket = crate::udp(&client, client.address(), 0);
    socket.connect("198.51.100.10:9").expect("connected");
    let refused = (0..5).any(|_| {
        let _ = socket.send(b"anyone?");
        let mut answer = [0; 16];
        matches!(socket.recv(&mut answer),
            Err(why) if why.kind() == std::io::ErrorKind::ConnectionRefused)
    });
    assert!(refused, "port unreachable did not come through");
    assert!(get(&client, "198.51.100.10", "/").is_err_and(|why| why.contains("refused")));
}
