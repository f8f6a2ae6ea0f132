//! Next hops that die, come back, and change.

use std::time::Duration;

use sluice_tests::lab::Lab;
use sluice_tests::servers::Nginx;
use sluice_tests::wait;

use crate::{get, pool, snat, virtual_server};

#[test]
fn a_next_hop_that_dies_and_comes_back_with_another_mac_is_found_again() {
    let mut lab = Lab::gateway("nexthop");
    let client = lab.inside(11);
    let server = lab.outside(10);
    let nginx = Nginx::start(&server);
    std::fs::write(nginx.root().join("blob"), vec![b'n'; 1_000_000]).expect("cannot write");
    let sluice = lab.start(&snat(""));
    let ping = || {
        client
            .run(&["ping", "-c", "1", "-W", "1", "198.51.100.10"])
            .status
            .success()
    };
    wait::expect("the first ping", ping);

    lab.unplug(&server);
    assert!(!ping(), "the cable is out");
    // A neighbour is trusted for up to 45 s (RFC 4861 section 6.3.2), then asked six times.
    let given_up = wait::until(Duration::from_secs(75), || {
        ping();
        match sluice.stats().dropped("neighbour_unresolved") {
            0 => Err("the neighbour is still there"),
            _ => Ok(()),
        }
    });
    assert_eq!(given_up, Ok(()));
    let told = client.run(&["ping", "-c", "3", "-W", "5", "198.51.100.10"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.contains("Unreachable"),
        "the client should be told: {told}"
    );

    server
        .namespace()
        .ip(&["link", "set", "eth0", "address", "02:00:00:00:be:ef"]);
    lab.plug_in(&server);
    wait::expect("pings to pass again", ping);
    let size = client.sh("curl -sS --fail http://198.51.100.10/blob | wc -c");
    assert_eq!(size.trim(), "1000000");
}

#[test]
fn a_mac_address_that_changes_under_a_running_download_is_followed() {
    let mut lab = Lab::gateway("newmac");
    let client = lab.inside(11);
    let server = lab.outside(10);
    let nginx = Nginx::start(&server);
    std::fs::write(nginx.root().join("blob"), vec![b'n'; 9_000_000]).expect("cannot write");
    let _sluice = lab.start(&snat(""));
    let so_far = || client.size_of("blob");
    std::thread::scope(|scope| {
        let download = scope.spawn(|| {
            client.sh("curl -sS --fail --limit-rate 600k -o blob http://198.51.100.10/blob")
        });
        wait::expect("the download to be under way", || so_far() > 600_000);
        server
            .namespace()
            .ip(&["link", "set", "eth0", "address", "02:00:00:00:ca:fe"]);
        // As a host does that takes over an address: RFC 5227 announcements.
        server.python("announce.py", &["eth0", "198.51.100.10"]);
        assert!(so_far() < 9_000_000, "it is over already");
        download.join().expect("the download panicked");
    });
    assert_eq!(so_far(), 9_000_000);
}

#[test]
fn the_first_packets_wait_for_the_neighbour_instead_of_being_lost() {
    let mut lab = Lab::gateway("firstpkt");
    let client = lab.outside(10);
    let web = lab.inside(11);
    let _nginx = Nginx::start(&web);
    let sluice = lab.start(
        &(pool(&[(&web, 1)]) + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"")),
    );
    // A lost SYN would cost a second (RFC 6298); that it was not counted as lost shows it as well.
    assert!(get(&client, crate::VIP, "/").is_ok());
    let mut dropped = sluice.assert_accounted().total().dropped;
    // Only multicast chatter of hosts may be dropped here.
    dropped.retain(|why, count| why != "multicast" && *count > 0);
    assert!(dropped.is_empty(), "{dropped:?}");
}
