//! The connectivity test, by `sluicectl`: what is named is what was broken.

use std::process::Command;

use serde_json::Value;
use sluice_tests::lab::Lab;
use sluice_tests::servers::Nginx;

use crate::kernel::namespace;
use crate::ping::ctl;
use crate::{VIP, get, pool, virtual_server};

/// Every step as `server, zone or virtual server, step, verdict`, and the summary.
fn steps(out: &str) -> (Vec<String>, Value) {
    let mut steps = Vec::new();
    for line in out.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {out}"));
        if line["summary"].is_object() {
            return (steps, line["summary"].clone());
        }
        let step = &line["step"];
        let word = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
        let of = match word("server") {
            server if !server.is_empty() => server,
            _ if !word("zone").is_empty() => word("zone"),
            _ => word("virtual_server"),
        };
        steps.push(format!("{of} {} {}", word("step"), word("verdict")));
    }
    panic!("it has no end: {out}")
}

#[test]
fn a_connectivity_test_names_the_step_that_is_broken() {
    let mut lab = Lab::gateway("connectivity");
    let client = lab.outside(10);
    let (good, silent) = (lab.inside(11), lab.inside(12));
    let _nginx = Nginx::start(&good);
    let host = format!("[host]\nnamespace = \"{}\"\n", namespace(&lab));
    let check = "[[health_check]]\nname = \"page\"\ntype = \"http\"\npath = \"/from\"\n\
                 interval = \"1h\"\ntimeout = \"2s\"\n";
    let servers = pool(&[(&good, 1)]).replace(
        "name = \"web\"\n",
        "name = \"web\"\nhealth_check = \"page\"\n",
    );
    let rule = "[[firewall.rule]]\nname = \"block\"\nfrom = \"inside\"\naction = \"deny\"\n";
    let service = virtual_server("mode = \"dnat\"");
    let begin = format!("{host}{check}{rule}{servers}{service}");
    let mut sluice = lab.start(&begin);

    // All is well, though clients of one zone are kept out; and clients agree.
    let (code, out, err) = ctl(&lab, &["--json", "connectivity", "web", "-W", "5000"]);
    let (found, summary) = steps(&out);
    for step in [
        "web/in11 state ok",
        "web/in11 route ok",
        "web/in11 neighbour ok",
        "web/in11 ping ok",
        "web/in11 connect ok",
        "web/in11 check ok",
        "outside service ok",
        "outside server ok",
        "outside client ok",
        "inside policy warning",
        "inside client warning",
        "web connect ok",
        "web check ok",
    ] {
        assert!(found.iter().any(|it| it == step), "{step}: {out}");
    }
    assert_eq!(
        (code, &summary["failed"]),
        (Some(0), &0.into()),
        "{out}{err}"
    );
    assert_eq!(summary["verdict"], "warning", "{out}");
    assert!(get(&client, VIP, "/").is_ok());
    // Other programs of the appliance's are served as well, and leave a session as everybody does.
    let space = namespace(&lab);
    let curl = ["netns", "exec", &space, "curl", "-sf", "-m", "5"];
    let page = Command::new("ip")
        .args(curl)
        .arg(format!("http://{VIP}/from"))
        .output()
        .expect("curl runs");
    assert!(page.status.success(), "{page:?}");
    let (_, sessions, _) = ctl(&lab, &["--json", "sessions", "list"]);
    assert!(sessions.contains("\"198.51.100.1\""), "{sessions}");

    // Asked for by name, the zone is to get through.
    let (code, out, err) = ctl(&lab, &["connectivity", "web", "--zone", "inside"]);
    assert_eq!(code, Some(1), "{out}{err}");
    let policy = out.lines().find(|line| line.contains(" policy "));
    assert!(
        policy.is_some_and(|line| line.starts_with("failed") && line.contains("firewall/block")),
        "{out}"
    );
    assert!(err.contains("2 steps failed"), "{err}");

    // Nobody listens; the wrong port; nobody is there.
    let broken = "[[pool.server]]\nname = \"in12\"\naddress = \"10.1.0.12\"\nport = 80\n\
                  [[pool.server]]\nname = \"port\"\naddress = \"10.1.0.11\"\nport = 81\n\
                  [[pool.server]]\nname = \"gone\"\naddress = \"10.1.0.99\"\nport = 80\n";
    let more = format!("{servers}{broken}");
    sluice.reload_and_wait(&servers, &more);
    let (code, out, err) = ctl(&lab, &["--json", "connectivity", "-W", "4000"]);
    let (found, summary) = steps(&out);
    assert_eq!(code, Some(1), "{out}{err}");
    for step in [
        "web/in11 connect ok",
        "web/in12 neighbour ok",
        "web/in12 ping ok",
        "web/in12 connect failed",
        "web/in12 check failed",
        "web/port connect failed",
        "web/gone route ok",
        "web/gone neighbour failed",
        "web/gone ping warning",
        "web/gone connect failed",
    ] {
        assert!(found.iter().any(|it| it == step), "{step}: {out}");
    }
    assert!(out.contains("10.1.0.99 does not answer ARP"), "{out}");
    assert!(out.contains("10.1.0.11:81: Connection refused"), "{out}");
    assert!(
        out.contains("1 of 4 real servers are without fault"),
        "{out}"
    );
    assert_eq!(summary["verdict"], "failed", "{out}");

    // What the configuration has taken out is no surprise.
    let down = more.replace("port = 81\n", "port = 81\nstate = \"down\"\n");
    let down = down.replace(
        "10.1.0.99\"\nport = 80\n",
        "10.1.0.99\"\nport = 80\nstate = \"down\"\n",
    );
    let down = down.replace(
        "10.1.0.12\"\nport = 80\n",
        "10.1.0.12\"\nport = 80\nstate = \"down\"\n",
    );
    sluice.reload_and_wait(&more, &down);
    let (code, out, err) = ctl(
        &lab,
        &["--json", "connectivity", "--client", "198.51.100.10"],
    );
    assert_eq!(code, Some(0), "{out}{err}");
    let (found, _) = steps(&out);
    assert!(
        found.iter().any(|it| it == "web/port connect warning"),
        "{out}"
    );

    let (code, _, err) = ctl(&lab, &["connectivity", "wbe"]);
    assert_eq!(code, Some(3), "{err}");
    assert!(err.contains("there is no virtual server \"wbe\""), "{err}");
    drop(silent);
    assert!(sluice.assert_accounted().total().injected > 0);
}
