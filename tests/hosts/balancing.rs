//! Virtual servers: spreading, persistence, draining, IPv6.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use sluice_tests::lab::{Host, Lab};
use sluice_tests::load::Load;
use sluice_tests::servers::Nginx;
use sluice_tests::wait;

use crate::{VIP, VIP6, get, pool, virtual_server};

/// Three web servers inside.
fn farm(lab: &mut Lab) -> ([Host; 3], [Nginx; 3]) {
    let hosts = [lab.inside(11), lab.inside(12), lab.inside(13)];
    let servers = [&hosts[0], &hosts[1], &hosts[2]].map(Nginx::start);
    (hosts, servers)
}

/// `count` curls, each a process and a connection of its own, eight at a time; who answered.
fn curls(client: &Host, count: u32, options: &str, url: &str) -> BTreeMap<String, u32> {
    let answers = client.sh(&format!(
        "seq {count} | xargs -P 8 -I @ curl -sS --fail --max-time 30 {options} '{url}'"
    ));
    let mut tally = BTreeMap::new();
    for answer in answers.lines() {
        *tally.entry(answer.to_owned()).or_default() += 1;
    }
    assert_eq!(tally.values().sum::<u32>(), count, "{tally:?}");
    tally
}

#[test]
fn thousand_curls_are_spread_by_weight() {
    let mut lab = Lab::gateway("weights");
    let client = lab.outside(10);
    let (web, _nginx) = farm(&mut lab);
    let _sluice = lab.start(
        &(pool(&[(&web[0], 1), (&web[1], 2), (&web[2], 1)])
            + &virtual_server("mode = \"dnat\"\nscheduler = \"weighted_round_robin\"")),
    );
    let tally = curls(&client, 1000, "", &format!("http://{VIP}/"));
    // Exact on each worker but for the round that is under way.
    for (name, share) in [("in11", 250), ("in12", 500), ("in13", 250)] {
        let got = tally.get(name).copied().unwrap_or(0);
        assert!(
            (share - 4..=share + 4).contains(&got),
            "{name} got {got}: {tally:?}"
        );
    }
}

#[test]
fn every_scheduler_uses_every_server_and_none_of_weight_0() {
    for scheduler in [
        "round_robin",
        "weighted_round_robin",
        "least_connections",
        "weighted_least_connections",
        "maglev",
    ] {
        let mut lab = Lab::gateway(scheduler);
        let client = lab.outside(10);
        let (web, _nginx) = farm(&mut lab);
        let _sluice = lab.start(
            &(pool(&[(&web[0], 1), (&web[1], 0), (&web[2], 1)])
                + &virtual_server(&format!("mode = \"dnat\"\nscheduler = \"{scheduler}\""))),
        );
        let tally = curls(&client, 60, "", &format!("http://{VIP}/"));
        let fair = 12..=48;
        assert!(
            fair.contains(tally.get("in11").unwrap_or(&0)),
            "{scheduler}: {tally:?}"
        );
        assert!(
            fair.contains(tally.get("in13").unwrap_or(&0)),
            "{scheduler}: {tally:?}"
        );
        assert_eq!(tally.get("in12"), None, "{scheduler}: {tally:?}");
    }
}

#[test]
fn source_hash_keeps_a_client_on_its_server() {
    let mut lab = Lab::gateway("srchash");
    let client = lab.outside(10);
    let (web, _nginx) = farm(&mut lab);
    let _sluice = lab.start(
        &(pool(&[(&web[0], 1), (&web[1], 1), (&web[2], 1)])
            + &virtual_server("mode = \"dnat\"\nscheduler = \"source_hash\"")),
    );
    same_client_same_server(&client);
}

#[test]
fn persistence_keeps_a_client_on_its_server() {
    let mut lab = Lab::gateway("sticky");
    let client = lab.outside(10);
    let (web, _nginx) = farm(&mut lab);
    let _sluice = lab.start(
        &(pool(&[(&web[0], 1), (&web[1], 1), (&web[2], 1)])
            + &virtual_server(
                "mode = \"dnat\"\nscheduler = \"round_robin\"\n\
                 persistence = { prefix_v4 = 32, timeout = \"60s\" }",
            )),
    );
    same_client_same_server(&client);
}

/// Twenty clients: each on one server, and not all on the same.
fn same_client_same_server(host: &Host) {
    let mut used = BTreeMap::new();
    for number in 100..120 {
        let address = format!("198.51.100.{number}");
        host.namespace()
            .ip(&["addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        let tally = curls(
            host,
            8,
            &format!("--interface {address}"),
            &format!("http://{VIP}/"),
        );
        assert_eq!(tally.len(), 1, "client {address} was spread: {tally:?}");
        *used.entry(tally.into_keys().next()).or_insert(0) += 1;
    }
    assert!(used.len() >= 2, "20 clients on one server: {used:?}");
}

#[test]
fn draining_under_load_loses_no_request_and_no_session() {
    let mut lab = Lab::gateway("drain");
    let client = lab.outside(10);
    let (web, nginx) = farm(&mut lab);
    let blob = nginx[0].root().join("blob");
    std::fs::write(&blob, vec![b'x'; 3_000_000]).expect("cannot write");
    let mut sluice = lab.start(
        &(pool(&[(&web[0], 1), (&web[1], 1), (&web[2], 1)])
            + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"")),
    );
    let vip = SocketAddr::new(VIP.parse().expect("an address"), 80);
    let load = Load::start(client.namespace(), 4, vip, "/", Duration::from_millis(5));
    load.run_for(100);

    // Only in11 has the blob, so one try in three starts a download that outlives the change.
    let slow = format!(
        "for i in $(seq 30); do \
           curl -sS --fail --limit-rate 500k -o slow-body http://{VIP}/blob 2>/dev/null \
             && {{ wc -c <slow-body; exit 0; }}; \
         done; exit 1"
    );
    let done = std::thread::scope(|scope| {
        let download = scope.spawn(|| client.run(&["bash", "-c", &slow]));
        wait::expect("the slow download to start", || {
            client.size_of("slow-body") > 10_000
        });
        sluice.reload_and_wait(
            &format!(
                "address = \"{}\"\nport = 80\nweight = 1\nstate = \"up\"",
                web[0].address()
            ),
            &format!(
                "address = \"{}\"\nport = 80\nweight = 1\nstate = \"draining\"",
                web[0].address()
            ),
        );
        load.run_for(50);
        let drained = Load::start(client.namespace(), 2, vip, "/", Duration::from_millis(5));
        drained.run_for(100);
        let drained = drained.finish();
        assert_eq!(drained.failures, Vec::<String>::new());
        assert_eq!(
            drained.answered_by("in11"),
            0,
            "a draining server got a new session"
        );
        download.join().expect("the download panicked")
    });
    assert!(
        done.status.success(),
        "the download on the draining server broke"
    );
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "3000000");

    let tally = load.finish();
    assert_eq!(tally.failures, Vec::<String>::new());
    assert!(
        tally.answered_by("in11") > 0,
        "the server was never used: {:?}",
        tally.answers
    );
}

#[test]
fn a_server_that_is_down_ends_its_sessions_and_gets_none() {
    let mut lab = Lab::gateway("down");
    let client = lab.outside(10);
    let (web, _nginx) = farm(&mut lab);
    let mut sluice = lab.start(
        &(pool(&[(&web[0], 1), (&web[1], 1)])
            + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"")),
    );
    let both = curls(&client, 20, "", &format!("http://{VIP}/"));
    assert_eq!(both.len(), 2, "{both:?}");
    sluice.reload_and_wait(
        &format!(
            "address = \"{}\"\nport = 80\nweight = 1\nstate = \"up\"",
            web[0].address()
        ),
        &format!(
            "address = \"{}\"\nport = 80\nweight = 1\nstate = \"down\"",
            web[0].address()
        ),
    );
    let one = curls(&client, 20, "", &format!("http://{VIP}/"));
    assert_eq!(one.get("in12"), Some(&20), "{one:?}");
}

#[test]
fn ipv6_virtual_server_under_curl_6() {
    let mut lab = Lab::gateway("vip6");
    let client = lab.outside(10);
    let (web, nginx) = farm(&mut lab);
    std::fs::write(nginx[0].root().join("blob"), vec![b'6'; 5_000_000]).expect("cannot write");
    std::fs::write(nginx[1].root().join("blob"), vec![b'6'; 5_000_000]).expect("cannot write");
    let servers = [&web[0], &web[1]].map(|host| {
        format!(
            "[[pool.server]]\nname = \"{}\"\naddress = \"{}\"\nport = 80\nweight = 1\n",
            host.name(),
            host.address6()
        )
    });
    let _sluice = lab.start(&format!(
        "[[pool]]\nname = \"web6\"\n{}{}\
         [[virtual_server]]\nname = \"web6\"\naddress = \"{VIP6}\"\nport = 80\nprotocol = \"tcp\"\n\
         pool = \"web6\"\nmode = \"dnat\"\nscheduler = \"round_robin\"\n",
        servers[0], servers[1]
    ));
    let tally = curls(&client, 100, "-6 -g", &format!("http://[{VIP6}]/"));
    assert_eq!(tally.keys().collect::<Vec<_>>(), ["in11", "in12"]);
    let size = client.sh(&format!(
        "curl -6 -g -sS --fail http://[{VIP6}]/blob | wc -c"
    ));
    assert_eq!(size.trim(), "5000000");
    client.ok(&["ping", "-6", "-c", "2", "-W", "5", VIP6]);
}

#[test]
fn a_virtual_server_on_a_connected_network_answers_arp_and_echo() {
    let mut lab = Lab::gateway("arp");
    let client = lab.outside(10);
    let (web, _nginx) = farm(&mut lab);
    let vip = "198.51.100.80";
    let _sluice = lab.start(
        &(pool(&[(&web[0], 1), (&web[1], 1)])
            + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"").replace(VIP, vip)),
    );
    assert_eq!(curls(&client, 20, "", &format!("http://{vip}/")).len(), 2);
    client.ok(&["ping", "-c", "2", "-W", "5", vip]);
    // The real server sees the client itself.
    let seen = get(&client, vip, "/from").expect("an answer").text();
    assert!(seen.starts_with("198.51.100.10 "), "{seen}");
}
