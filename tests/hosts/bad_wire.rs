//! Requests by one node, replies by the other, and a bad HA link between them: all that a server says
//! has to cross it.

use std::process::{Child, Stdio};
use std::time::Duration;

use sluice_tests::wait;
use sluice_tests::wire::Impairment;

use crate::two_nodes::{Pair, SERVER, Ways};

/// Delay of the HA link in milliseconds, how many requests are made over it, and how long a file is
/// downloaded. The longer the way, the more time TCP takes to make up for what is lost.
const WIRES: [(u64, u64, usize); 4] = [
    (0, 200, 2_000_000),
    (1, 200, 2_000_000),
    (20, 1000, 400_000),
    (200, 100, 60_000),
];
/// Makes so many requests over each wire instead.
const REQUESTS: &str = "SLUICE_CURLS";
/// Requests at once.
const AT_ONCE: &str = "50";

#[test]
fn no_request_fails_however_late_and_lossy_the_ha_link_is() {
    let asked = std::env::var(REQUESTS).ok();
    let asked: Option<u64> = asked.map(|text| text.parse().expect("a number of requests"));
    let mut pair = Pair::new("wire", Ways::Fixed);
    if asked.is_some() {
        // Sessions of connections that are over stay for some minutes.
        pair.lab.system(
            "workers = [0, 1]\nidle = \"backoff\"\nsessions = 131072\nsessions_v6 = 1024\n\
             memory_mb = 384\npacket_buffers = 8192\n",
        );
    }
    let [first, second] = pair.both();
    for (delay, requests, bytes) in WIRES {
        let requests = asked.unwrap_or(requests);
        let delay = Duration::from_millis(delay);
        pair.wire.impair(Impairment {
            delay,
            lost: 100,
            doubled: 10,
            held_up: 10,
        });
        let blob: Vec<u8> = (0..bytes).map(|at| ((at * 7919) >> 8) as u8).collect();
        std::fs::write(pair.nginx.root().join("blob"), &blob).expect("cannot write");
        let download = ["one", "other"].map(|name| (name, download(&pair, name)));
        let curls = curls(&pair, requests);
        eprintln!("{delay:?}: {curls:?}; {:?}", pair.wire.carried());
        assert_eq!(curls, [format!("{requests} 200 0")], "{delay:?}");
        for (name, mut curl) in download {
            let status = wait::until(4 * wait::PATIENCE, || {
                curl.try_wait().ok().flatten().ok_or("it goes on")
            });
            assert!(status.is_ok_and(|status| status.success()), "{status:?}");
            let came = std::fs::read(pair.client.directory().join(name)).expect("a file");
            assert!(came == blob, "{} bytes of {bytes}", came.len());
        }
    }
    for node in [&first, &second] {
        let drops = node.stats().total().dropped;
        let drops: Vec<_> = drops.iter().filter(|(_, count)| **count > 0).collect();
        eprintln!("drops: {drops:?}");
        assert_eq!(node.stats().dropped("out_of_state"), 0);
    }
    let redirected = second.stats().total().redirected;
    assert!(redirected > 1000, "{redirected}");
    for host in [&pair.client, &pair.server] {
        // EstabResets of RFC 4022: connections that a reset ended.
        let resets = host.sh("awk '/^Tcp:/ && ++n == 2 { print $8 }' /proc/net/snmp");
        assert_eq!(resets.trim(), "0", "{}", host.name());
    }
}

/// Begins a download by curl.
fn download(pair: &Pair, to: &str) -> Child {
    pair.client
        .namespace()
        .command("curl")
        .args(["-sS", "--fail", "-o", to])
        .arg(format!("http://{SERVER}/blob"))
        .current_dir(pair.client.directory())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("cannot run curl")
}

/// Requests by curl, each by a connection of its own: "COUNT STATUS EXITCODE" for each outcome.
pub(crate) fn curls(pair: &Pair, requests: u64) -> Vec<String> {
    let url = format!("http://{SERVER}/from?[1-{requests}]");
    let command = [
        "curl",
        "--silent",
        "--parallel",
        "--parallel-immediate",
        "--parallel-max",
        AT_ONCE,
        "--header",
        "Connection: close",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code} %{exitcode}\\n",
        &url,
    ];
    let output = pair
        .client
        .run_for(Duration::from_secs(900), &command)
        .stdout;
    let text = String::from_utf8_lossy(&output);
    let mut counts = std::collections::BTreeMap::<&str, u64>::new();
    for line in text.lines() {
        *counts.entry(line).or_default() += 1;
    }
    let told = counts.iter().map(|(what, count)| format!("{count} {what}"));
    told.collect()
}
