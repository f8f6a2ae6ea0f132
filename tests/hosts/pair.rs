//! Two appliances between real hosts: requests go through one, replies through the other, and one
//! dies.

use std::process::Stdio;

use sluice_tests::lab::Lab;
use sluice_tests::servers::{Nginx, UdpEcho};
use sluice_tests::wait;

use crate::two_nodes::{SERVER, SMALL, await_peer};
use crate::{echoes, get, snat, udp};

#[test]
fn replies_come_by_the_other_node_and_a_download_outlives_its_own() {
    let mut lab = Lab::gateway("pair");
    lab.system(SMALL);
    let (client, server) = (lab.inside(11), lab.outside(10));
    let twin = lab.twin();
    let nginx = Nginx::start(&server);
    let _echo = UdpEcho::start(server.namespace(), server.address(), 7);
    std::fs::write(nginx.root().join("blob"), vec![b's'; 12_000_000]).expect("cannot write");
    let rest = snat("");
    let first = lab.start_first(&rest);
    let second = lab.start_second(&twin, &rest);
    await_peer(&first, "present");
    await_peer(&second, "present");
    // Requests by the first, replies by the second: nothing that the server sends meets its owner.
    server.ok(&["ip", "route", "replace", "default", "via", "198.51.100.2"]);
    for _ in 0..100 {
        get(&client, SERVER, "/from").expect("an answer");
    }
    let socket = udp(&client, client.address(), 40_000);
    assert!(echoes(
        &socket,
        server.at(7),
        b"to the first, by the second"
    ));
    // Workers publish what they count once a millisecond, or when they wake.
    wait::expect("replies to be redirected", || {
        second.stats().total().redirected > 100
    });
    for sluice in [&first, &second] {
        assert_eq!(sluice.stats().dropped("out_of_state"), 0);
    }
    wait::expect("the first node to own all sessions", || {
        first.json("/api/v1/ha")["sessions_own"].as_u64() == Some(101)
    });

    // A download of some seconds, whose node is killed when it is well under way.
    let mut download = client
        .namespace()
        .command("curl")
        .args(["-sS", "--fail", "--limit-rate", "4M", "-o", "blob"])
        .arg(format!("http://{SERVER}/blob"))
        .current_dir(client.directory())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("cannot run curl");
    let so_far = || client.size_of("blob");
    wait::expect("the download to be under way", || so_far() > 3_000_000);
    wait::expect("the second node to know of it", || {
        first.json("/api/v1/ha")["ready"] == true
    });
    assert!(so_far() < 12_000_000, "it is over already");
    first.kill();
    // What a routing protocol would do.
    client.ok(&["ip", "route", "replace", "default", "via", "10.1.0.2"]);
    assert!(download.wait().expect("curl's end").success());
    assert_eq!(so_far(), 12_000_000);
    await_peer(&second, "dead");
    assert!(echoes(&socket, server.at(7), b"by the second alone"));
    wait::expect("both sessions to be taken over", || {
        second.json("/api/v1/ha")["sessions_taken_over"].as_u64() >= Some(2)
    });

    // It comes back, is told everything, and packets may come by it again.
    let first = lab.start_first(&rest);
    await_peer(&first, "present");
    await_peer(&second, "present");
    client.ok(&["ip", "route", "replace", "default", "via", "10.1.0.1"]);
    assert!(echoes(
        &socket,
        server.at(7),
        b"to the second, by the first"
    ));
    for _ in 0..20 {
        get(&client, SERVER, "/from").expect("an answer");
    }
}
