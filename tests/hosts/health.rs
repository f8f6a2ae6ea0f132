//! Health checks: through the data plane, and what clients see of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::signal::Signal;
use sluice_tests::lab::{INSIDE, Lab};
use sluice_tests::load::Load;
use sluice_tests::servers::Nginx;
use sluice_tests::sluice::Sluice;
use sluice_tests::wait;

use crate::kernel::namespace;
use crate::{VIP, get, pool, virtual_server};

/// What the checks of each server say, by the server's name and the check's.
fn health(sluice: &Sluice) -> BTreeMap<(String, String), String> {
    let health = sluice.json("/api/v1/health");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let servers = health["servers"].as_array().expect("servers");
    let rows = servers.iter().flat_map(|server| {
        let checks = server["checks"].as_array().expect("checks");
        checks.iter().map(|check| {
            let key = (text(&server["name"]), text(&check["name"]));
            (key, text(&check["health"]))
        })
    });
    rows.collect()
}

#[test]
fn a_server_that_dies_gets_no_more_sessions_and_one_that_comes_back_does() {
    let mut lab = Lab::gateway("health");
    let client = lab.outside(10);
    let web = [lab.inside(11), lab.inside(12)];
    let mut nginx = [&web[0], &web[1]].map(Nginx::start);
    // nginx tells whom it sees: the check finds it up only if that is the port's own address.
    let checks = format!(
        "[host]\nnamespace = \"{}\"\n\
         [[health_check]]\nname = \"page\"\ntype = \"http\"\npath = \"/from\"\nbody = \"{INSIDE} \"\n\
         interval = \"200ms\"\ntimeout = \"200ms\"\nfall = 2\nrise = 2\n\
         [[health_check]]\nname = \"ping\"\ntype = \"icmp\"\ninterval = \"200ms\"\ntimeout = \"200ms\"\n",
        namespace(&lab)
    );
    let servers = pool(&[(&web[0], 1), (&web[1], 1)]);
    let servers = servers.replace(
        "name = \"web\"\n",
        "name = \"web\"\nhealth_check = [\"page\", \"ping\"]\n",
    );
    let sluice = lab.start(
        &(checks + &servers + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"")),
    );
    let says = |server: &str, check: &str| {
        let key = (format!("web/{server}"), check.to_owned());
        health(&sluice).remove(&key).unwrap_or_default()
    };
    wait::expect("all checks to say up", || {
        let health = health(&sluice);
        health.len() == 4 && health.values().all(|health| health == "up")
    });
    let vip = SocketAddr::new(VIP.parse().expect("an address"), 80);
    let load = Load::start(client.namespace(), 2, vip, "/", Duration::from_millis(5));
    load.run_for(100);

    let epoch = sluice.epoch();
    nginx[0].process().signal(Signal::SIGTERM);
    wait::expect("in11 to be found down", || says("in11", "page") == "down");
    assert_eq!(says("in11", "ping"), "up", "the host lives");
    wait::expect("workers to know", || {
        let stats = sluice.json("/api/v1/stats");
        stats["servers"][0]["state"] == "draining" && stats["servers"][0]["health"] == "down"
    });
    // What answered may have come by an older snapshot; from here on none may fail.
    load.run_for(20);
    for _ in 0..60 {
        let answer = get(&client, VIP, "/").expect("another server");
        assert_eq!((answer.status, answer.text().trim()), (200, "in12"));
    }
    assert_eq!(sluice.epoch(), epoch, "no session was judged anew");
    let events = sluice.json("/api/v1/events?after=0&limit=1000");
    let events = events["events"].as_array().expect("events").clone();
    let down = events.iter().find(|event| event["kind"] == "health.down");
    let down = down.expect("an event");
    assert_eq!(down["details"]["server"], "web/in11");
    assert_eq!(down["details"]["reason"], "refused");

    nginx[0] = Nginx::start(&web[0]);
    wait::expect("in11 to be found up", || says("in11", "page") == "up");
    wait::expect("in11 to get sessions", || {
        get(&client, VIP, "/").is_ok_and(|answer| answer.text().trim() == "in11")
    });
    let tally = load.finish();
    assert!(
        tally.answered_by("in11") > 0 && tally.answered_by("in12") > 0,
        "{tally:?}"
    );
}
