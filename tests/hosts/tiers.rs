//! Priority groups and `min_up`, as clients of real servers see them.

use std::collections::BTreeSet;

use sluice_tests::lab::{Host, Lab};
use sluice_tests::servers::Nginx;
use sluice_tests::sluice::Sluice;
use sluice_tests::wait;

use nix::sys::signal::Signal;

use crate::kernel::namespace;
use crate::{VIP, get, virtual_server};

/// Who answers a client's connections, each a new one.
fn answering(client: &Host) -> Result<BTreeSet<String>, String> {
    let answers = (0..40).map(|_| {
        let answer = get(client, VIP, "/")?;
        assert_eq!(answer.status, 200);
        Ok(answer.text().trim().to_owned())
    });
    answers.collect()
}

/// States of servers, by name, as workers go by them.
fn states(sluice: &Sluice) -> Vec<(String, String)> {
    let stats = sluice.json("/api/v1/stats");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let servers = stats["servers"].as_array().expect("servers");
    let states = servers
        .iter()
        .map(|server| (text(&server["name"]), text(&server["state"])));
    states.collect()
}

#[test]
fn a_lower_priority_group_joins_while_fewer_than_min_up_of_the_first_live() {
    let mut lab = Lab::gateway("tiers");
    let client = lab.outside(10);
    let hosts = [lab.inside(11), lab.inside(12), lab.inside(13)];
    let [mut first, mut second, _spare] = hosts.each_ref().map(Nginx::start);
    let mut pool = format!(
        "[host]\nnamespace = \"{}\"\n\
         [[health_check]]\nname = \"page\"\ntype = \"http\"\npath = \"/\"\ninterval = \"200ms\"\n\
         timeout = \"200ms\"\nfall = 2\nrise = 2\n\
         [[pool]]\nname = \"web\"\nmin_up = 2\nhealth_check = \"page\"\n",
        namespace(&lab)
    );
    for (host, priority) in hosts.iter().zip([20, 20, 10]) {
        pool += &format!(
            "[[pool.server]]\nname = \"{}\"\naddress = \"{}\"\nport = 80\npriority = {priority}\n",
            host.name(),
            host.address()
        );
    }
    let sluice = lab.start(&(pool + &virtual_server("scheduler = \"round_robin\"")));
    let is = |server: &str, state: &str| {
        wait::expect(&format!("{server} to be {state}"), || {
            let all = states(&sluice);
            all.contains(&(format!("web/{server}"), state.to_owned()))
        });
    };
    let expect = |servers: &[&str]| {
        let wanted: BTreeSet<String> = servers.iter().map(|&name| name.to_owned()).collect();
        // Workers may be a moment behind what is told; after that none may go elsewhere, or fail.
        wait::expect("workers to know", || {
            answering(&client).as_ref() == Ok(&wanted)
        });
        assert_eq!(answering(&client), Ok(wanted));
    };
    for server in ["in11", "in12", "in13"] {
        is(server, "up");
    }
    expect(&["in11", "in12"]);

    // One of two is too few: the second group joins the one that is left.
    first.process().signal(Signal::SIGTERM);
    is("in11", "down");
    expect(&["in12", "in13"]);
    // None of the first is left, and the second has it alone.
    second.process().signal(Signal::SIGTERM);
    is("in12", "down");
    expect(&["in13"]);

    // And back, step by step.
    let _first = Nginx::start(&hosts[0]);
    is("in11", "up");
    expect(&["in11", "in13"]);
    let _second = Nginx::start(&hosts[1]);
    is("in12", "up");
    expect(&["in11", "in12"]);
}
