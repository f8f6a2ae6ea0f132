//! Ping and traceroute from the appliance itself, by `sluicectl`.

use std::process::Output;

use serde_json::Value;
use sluice_tests::lab::Lab;
use sluice_tests::machine::build_directory;

use crate::icmp::{ROUTES, beyond};
use crate::kernel::namespace;

/// Runs `sluicectl` where the API listens: exit code, what it says, what it complains of.
pub(crate) fn ctl(lab: &Lab, words: &[&str]) -> (Option<i32>, String, String) {
    let program = build_directory().join("sluicectl");
    assert!(program.is_file(), "cargo build -p sluice-ctl makes it");
    let output: Output = lab
        .appliance()
        .command("timeout")
        .arg("30")
        .arg(program)
        .args(words)
        .output()
        .expect("cannot run timeout");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn the_appliance_pings_and_finds_routers_by_its_own_ports() {
    let mut lab = Lab::gateway("own-ping");
    let (router, _far) = beyond(&mut lab, 1500);
    let web = lab.inside(11);
    let mut sluice = lab.start(ROUTES);

    let (code, _, err) = ctl(&lab, &["ping", "10.1.0.11"]);
    assert_eq!(code, Some(5), "{err}");
    assert!(err.contains("[host]"), "it says what is missing: {err}");

    let host = format!("[host]\nnamespace = \"{}\"\n{ROUTES}", namespace(&lab));
    sluice.reload_and_wait(ROUTES, &host);
    for address in [web.address(), web.address6()] {
        let address = address.to_string();
        let few = ["ping", "-c", "3", "-i", "50", "-W", "5000", &address];
        let (code, out, err) = ctl(&lab, &few);
        assert_eq!(code, Some(0), "{out}{err}");
        assert!(out.contains("3 sent, 3 received, 0"), "{out}");
        assert!(out.contains(&format!("{address}  ")), "{out}");
    }
    // A router that refuses is named, and what it says.
    router
        .namespace()
        .ip(&["route", "add", "prohibit", "192.0.2.77/32"]);
    let (code, out, err) = ctl(&lab, &["ping", "-c", "1", "-W", "5000", "192.0.2.77"]);
    assert_eq!(code, Some(1), "{out}{err}");
    let said = out.lines().next().unwrap_or_default();
    assert!(said.contains("198.51.100.254"), "{out}");
    assert!(said.ends_with("administratively prohibited"), "{out}");

    for (to, hops) in [
        ("192.0.2.9", ["198.51.100.254", "192.0.2.9"]),
        ("2001:db8:2::9", ["2001:db8:51::254", "2001:db8:2::9"]),
    ] {
        let (code, out, err) = ctl(&lab, &["--json", "traceroute", "-q", "1", "-W", "5000", to]);
        assert_eq!(code, Some(0), "{out}{err}");
        let lines: Vec<Value> = out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {out}")))
            .collect();
        let from: Vec<&str> = lines
            .iter()
            .filter_map(|line| line["probe"]["from"].as_str())
            .collect();
        assert_eq!(from, hops, "{out}");
        assert_eq!(lines[2]["summary"]["hops"], 2, "{out}");
    }
    // A way on which nobody answers is gone to its end in a few seconds, not one for each request.
    let silent = ["route", "add", "blackhole", "192.0.2.66/32"];
    router.namespace().ip(&silent);
    let far = [
        "traceroute",
        "-q",
        "3",
        "-m",
        "20",
        "-W",
        "1000",
        "192.0.2.66",
    ];
    let (code, out, err) = ctl(&lab, &far);
    assert_eq!(code, Some(1), "{out}{err}");
    assert_eq!(out.matches("no answer in time").count(), 60, "{out}");
    // Each hop once, however many requests were under way.
    let (code, out, err) = ctl(&lab, &["--json", "traceroute", "-W", "5000", "192.0.2.9"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let lines = out.lines().map(serde_json::from_str::<Value>);
    let hops: Vec<u64> = lines
        .filter_map(|line| line.expect("JSON")["probe"]["hop"].as_u64())
        .collect();
    assert_eq!(hops, [1, 1, 1, 2, 2, 2], "{out}");
    // Nobody has this address.
    let nobody = ["ping", "-c", "1", "-W", "300", "10.1.0.99"];
    let (code, out, _) = ctl(&lab, &nobody);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("1 sent, 0 received, 100"), "{out}");
    assert!(sluice.assert_accounted().total().injected > 0);
}
