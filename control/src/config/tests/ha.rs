//! `[ha]`: what is needed of it, and what does not go together with the rest.

use super::*;

const EXAMPLE: &str = include_str!("../../../../examples/ha.toml");

/// What is said of the example after a change of it.
fn after(from: &str, to: &str) -> Vec<String> {
    assert!(EXAMPLE.contains(from), "{from}");
    problems(&EXAMPLE.replacen(from, to, 1))
}

#[test]
fn the_example_names_a_link_of_its_own() {
    let config = Config::read(Source::toml(EXAMPLE)).expect("the example is right");
    let devices = config.devices();
    assert_eq!(devices.len(), 3);
    assert_eq!(devices[2].name.as_str(), "0000:04:00.0", "the last one");
    let ha = config.ha.expect("there is an [ha]");
    assert_eq!((ha.node, ha.peer, ha.key.0[31]), (1, 2, 0x1f));
    assert!(!format!("{ha:?}").contains("1f"), "the key is not shown");
}

#[test]
fn what_cannot_be_is_said_with_its_place() {
    let key = "key = \"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"";
    let cases = [
        (
            "peer = 2",
            "peer = 1",
            "ha.peer: 1 is this node's own number",
        ),
        ("peer = 2", "peer = 16", "ha.peer: 16 is out of range"),
        ("peer = 2\n", "", "ha: `peer` is missing"),
        (key, "", "ha: there is no key"),
        (key, "key = \"0123\"", "ha.key: not a key of 32 bytes"),
        (
            key,
            "key_file = \"/nowhere/ha.key\"",
            "ha.key_file: \"/nowhere/ha.key\" cannot be read",
        ),
        (
            "0000:04:00.0",
            "0000:03:00.1",
            "ha.device: this device is port \"outside\"",
        ),
        (
            "peer = 2",
            "peer = 2\nsync = \"inline\"",
            "ha.sync: \"inline\" is unknown",
        ),
        (
            "peer = 2",
            "peer = 2\nheartbeat_ms = 1",
            "ha.heartbeat_ms: 1 is out of range",
        ),
        (
            "name = \"internet\"",
            "name = \"internet\"\nports = \"1024-1100\"",
            "snat_pool[0].ports: too few ports to share between two nodes",
        ),
        (
            "addresses = [\"10.0.0.2/16\"]",
            "addresses = [\"10.0.0.2/16\"]\nmtu = 9000",
            "",
        ),
    ];
    for (from, to, expected) in cases {
        let problems = after(from, to);
        match expected {
            "" => assert_eq!(problems, [""; 0], "{to}"),
            _ => assert!(
                problems.len() == 1 && problems[0].contains(expected),
                "{to}: {problems:?}"
            ),
        }
    }
}
