//! Two appliances, and addresses that one of them holds: hosts know one gateway, whoever serves them.

use std::process::Stdio;
use std::time::Duration;

use sluice_tests::lab::{Host, Lab, Twin};
use sluice_tests::load::Load;
use sluice_tests::servers::Nginx;
use sluice_tests::sluice::Sluice;
use sluice_tests::wait;

use crate::two_nodes::{GATEWAYS, SERVER, SMALL, await_ready, holds};
use crate::{get, snat};

/// A lab with two nodes, whose clients and servers know the gateways only.
struct Pair {
    lab: Lab,
    twin: Twin,
    client: Host,
    nginx: Nginx,
    rest: String,
}

impl Pair {
    fn new(name: &str) -> Self {
        let mut lab = Lab::gateway(name);
        lab.system(SMALL);
        let (client, server) = (lab.inside(11), lab.outside(10));
        let twin = lab.twin();
        for (host, gateway) in [&client, &server].into_iter().zip(GATEWAYS) {
            host.ok(&["ip", "route", "replace", "default", "via", gateway]);
        }
        let nginx = Nginx::start(&server);
        let rest = format!(
            "[[ha.group]]\nname = \"gateways\"\nnumber = 1\naddresses = {GATEWAYS:?}\n\n{}",
            snat("")
        );
        Self {
            lab,
            twin,
            client,
            nginx,
            rest,
        }
    }

    fn first(&self) -> Sluice {
        self.lab.start_first(&self.rest)
    }

    fn second(&self) -> Sluice {
        self.lab.start_second(&self.twin, &self.rest)
    }
}

#[test]
fn hosts_keep_their_gateway_when_its_node_is_killed() {
    let pair = Pair::new("roles");
    std::fs::write(pair.nginx.root().join("blob"), vec![b's'; 12_000_000]).expect("cannot write");
    let (first, second) = (pair.first(), pair.second());
    await_ready(&first);
    await_ready(&second);
    wait::expect("one to hold the group", || {
        holds(&first, 0) != holds(&second, 0)
    });
    let (holder, other) = if holds(&first, 0) {
        (first, second)
    } else {
        (second, first)
    };
    let ha = other.json("/api/v1/ha");
    assert_eq!(ha["witness"], true, "{ha}");
    let neighbour = |host: &Host| host.ok(&["ip", "neigh", "show", GATEWAYS[0]]);
    get(&pair.client, SERVER, "/from").expect("an answer");
    assert!(neighbour(&pair.client).contains("00:00:5e:00:01:01"));
    let mut download = pair
        .client
        .namespace()
        .command("curl")
        .args(["-sS", "--fail", "--limit-rate", "4M", "-o", "blob"])
        .arg(format!("http://{SERVER}/blob"))
        .current_dir(pair.client.directory())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("cannot run curl");
    let blob = pair.client.directory().join("blob");
    let so_far = || std::fs::metadata(&blob).map_or(0, |blob| blob.len());
    wait::expect("the download to be under way", || so_far() > 2_000_000);
    wait::expect("the other node to know of it", || {
        holder.json("/api/v1/ha")["ready"] == true
    });
    assert!(so_far() < 12_000_000, "it is over already");
    holder.kill();
    assert!(download.wait().expect("curl's end").success());
    assert_eq!(so_far(), 12_000_000);
    assert!(holds(&other, 0));
    assert!(neighbour(&pair.client).contains("00:00:5e:00:01:01"));
    get(&pair.client, SERVER, "/from").expect("an answer");
    let events = other.get("/api/v1/events").expect("an answer").text();
    for kind in ["ha.peer.dead", "ha.group.taken", "ha.path.down"] {
        assert!(events.contains(kind), "{kind}: {events}");
    }
}

#[test]
fn both_nodes_restart_one_after_the_other_and_no_request_fails() {
    let pair = Pair::new("rolling");
    let (mut first, mut second) = (pair.first(), pair.second());
    await_ready(&first);
    await_ready(&second);
    wait::expect("one to hold the group", || {
        holds(&first, 0) != holds(&second, 0)
    });
    let server = format!("{SERVER}:80").parse().expect("an address");
    let pause = Duration::from_millis(2);
    let load = Load::start(pair.client.namespace(), 4, server, "/from", pause);
    load.run_for(200);
    first.finish();
    assert!(holds(&second, 0));
    load.run_for(200);
    first = pair.first();
    await_ready(&first);
    await_ready(&second);
    second.finish();
    assert!(holds(&first, 0));
    load.run_for(200);
    second = pair.second();
    await_ready(&second);
    load.run_for(200);
    let tally = load.finish();
    assert_eq!(tally.failures, [""; 0], "of {}", tally.answered());
}
