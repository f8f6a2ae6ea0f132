//! Servers that are full, and connections that expire, as kernels and nginx see them.

use std::net::{SocketAddr, TcpStream};

use sluice_tests::lab::{Host, Lab};
use sluice_tests::servers::Nginx;
use sluice_tests::wait;

use crate::{VIP, virtual_server};

/// A pool of one server.
fn pool(name: &str, host: &Host, settings: &str) -> String {
    format!(
        "[[pool]]\nname = \"{name}\"\n[[pool.server]]\nname = \"{}\"\naddress = \"{}\"\n{settings}\n",
        host.name(),
        host.address()
    )
}

#[test]
fn what_a_full_server_cannot_take_goes_to_the_backup_and_then_to_the_sorry_server() {
    let mut lab = Lab::gateway("overload");
    let client = lab.outside(10);
    let hosts = [lab.inside(11), lab.inside(12), lab.inside(13)];
    let _nginx = hosts.each_ref().map(Nginx::start);
    let [web, spare, sorry] = &hosts;
    let sorry = format!(
        "backup_pool = \"spare\"\nsorry_server = {{ address = \"{}\", port = 80 }}",
        sorry.address()
    );
    let sluice = lab.start(
        &(pool("web", web, "port = 80\nmax_sessions = 2")
            + &pool("spare", spare, "port = 80\nmax_sessions = 1")
            + &virtual_server(&sorry)),
    );
    let names = client.python("full_servers.py", &[VIP]);
    assert_eq!(names.trim(), "in11 in11 in12 in13 in13 in11");
    // Who takes new sessions is known from what workers count: two that are open fill the pool.
    let taker = |wanted: &str| {
        let tiers = sluice.json("/api/v1/tiers?virtual_server=web");
        tiers["virtual_servers"][0]["taker"] == wanted
    };
    wait::expect("the pool to have room", || taker("pool"));
    let vip = SocketAddr::new(VIP.parse().expect("an address"), 80);
    let connect = || TcpStream::connect(vip).expect("a connection");
    let held = client.namespace().inside(|| [connect(), connect()]);
    wait::expect("the pool to be full", || taker("backup"));
    drop(held);
    wait::expect("it to have room again", || taker("pool"));
    let stats = sluice.json("/api/v1/stats");
    let overflowed = stats["services"][0]["sessions_overflowed"].as_u64();
    assert!(overflowed >= Some(3), "{}", stats["services"]);
    let names: Vec<_> = stats["servers"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    assert!(
        names.iter().any(|server| server["name"] == "sorry:web"),
        "{names:?}"
    );
}

#[test]
fn idle_connections_are_reset_at_both_ends_or_kept_by_probes() {
    let mut lab = Lab::gateway("expiry");
    let client = lab.outside(10);
    let web = lab.inside(11);
    let probed = format!(
        "[[virtual_server]]\nname = \"probed\"\naddress = \"{VIP}\"\nport = 81\npool = \"web\"\n\
         timeouts = {{ tcp_established = \"10s\", on_expiry = \"probe\" }}\n"
    );
    let sluice = lab.start(
        &(pool("web", &web, "")
            + &virtual_server("timeouts = { tcp_established = \"2s\", on_expiry = \"reset\" }")
            + &probed),
    );
    std::thread::scope(|scope| {
        let server = scope.spawn(|| web.python("idle_server.py", &[]));
        let seen = client.python("idle_client.py", &[VIP]);
        assert_eq!(seen.lines().collect::<Vec<_>>(), ["80 reset", "81 still"]);
        let seen = server.join().expect("the server");
        assert_eq!(seen.lines().collect::<Vec<_>>(), ["80 reset", "81 closed"]);
    });
    let total = &sluice.json("/api/v1/stats")["total"];
    assert_eq!(total["expiry_resets"], 2, "{total}");
    assert!(total["expiry_probes"].as_u64() >= Some(2), "{total}");
}
