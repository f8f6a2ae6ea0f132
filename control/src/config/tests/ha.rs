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
    assert_eq!((ha.node, &*ha.peers, ha.key.0[31]), (1, &[2][..], 0x1f));
    assert_eq!((ha.share(), ha.shares), (0, 2));
    assert!(!format!("{ha:?}").contains("1f"), "the key is not shown");
}

#[test]
fn nodes_share_ports_in_the_order_of_their_numbers() {
    let ha = |node: &str, peers: &str| {
        let text = EXAMPLE.replacen("node = 1", node, 1);
        let text = text.replacen("peer = 2", peers, 1);
        let config = Config::read(Source::toml(&text)).expect("it is right");
        config.ha.expect("there is an [ha]")
    };
    let of_three = [
        ("node = 2", "peers = [9, 5]", 0),
        ("node = 5", "peers = [2, 9]", 1),
        ("node = 9", "peers = [5, 2]", 2),
    ];
    for (node, peers, share) in of_three {
        let ha = ha(node, peers);
        assert_eq!((ha.share(), ha.shares), (share, 3));
        assert!(ha.peers.is_sorted());
    }
    let more = ha("node = 5", "peers = [2]\nshares = 16");
    assert_eq!((more.share(), more.shares), (1, 16));
    assert_eq!(ha("node = 1", "peers = [2]"), ha("node = 1", "peer = 2"));
}

#[test]
fn a_pool_has_ports_enough_for_every_share() {
    let text = EXAMPLE.replacen("peer = 2", "peer = 2\nshares = 4", 1);
    let text = text.replacen(
        "name = \"internet\"",
        "name = \"internet\"\nports = \"1024-1200\"",
        1,
    );
    let problems = problems(&text);
    let expected = "snat_pool[0].ports: too few ports for 4 nodes to share";
    assert!(problems[0].contains(expected), "{problems:?}");
}

#[test]
fn groups_are_changed_one_by_one() {
    use crate::config::edit::{self, Address, Edit, Operation, Part, Position};
    let address = |name: &str| {
        Address(vec![
            Part::Key("ha"),
            Part::Key("group"),
            Part::Item(name.to_owned()),
        ])
    };
    let edited = |text: &str, name: &str, operation: Operation| {
        let config = Config::read(Source::toml(text)).expect("it is right");
        let edit = Edit {
            address: address(name),
            operation,
            position: Position::Keep,
        };
        let edited = edit::apply(&config.raw, &edit)?;
        let sent = edited.source.clone();
        let read = Config::edited(&edited, sent, &config.raw).expect("it is right");
        Ok::<_, edit::EditError>((edited, read))
    };
    let group = serde_json::json!({ "number": 1, "addresses": ["10.0.0.1"], "priority": 150 });
    let (made, before) = edited(EXAMPLE, "gateway", Operation::Put(group)).expect("a link");
    assert_eq!(
        made.path.expect("a place").to_string(),
        "ha.group[0]",
        "counted as everywhere"
    );
    let lower = Operation::Merge(serde_json::json!({ "priority": 7 }));
    let lowered = edit::apply(
        &before.raw,
        &Edit {
            address: address("gateway"),
            operation: lower.clone(),
            position: Position::Keep,
        },
    );
    let lowered = lowered.expect("it is there");
    let sent = lowered.source.clone();
    let after = Config::edited(&lowered, sent, &before.raw).expect("it is right");
    let (before, after) = (before.raw.ha.expect("an [ha]"), after.raw.ha.expect("one"));
    let groups = after.group.expect("groups");
    assert_eq!((groups.len(), groups[0].priority), (1, Some(7)));
    assert_eq!(
        groups[0].addresses,
        before.group.expect("groups")[0].addresses
    );
    assert_eq!(after.key, before.key, "all else stays");
    // Where there is no other node, there are no groups.
    for operation in [lower, Operation::Delete] {
        assert!(edited(WHOLE, "gateway", operation).is_err());
    }
    let config = Config::read(Source::toml(WHOLE)).expect("it is right");
    assert_eq!(
        edit::get(&config.raw, &Address(vec![Part::Key("ha")])),
        None
    );
}

#[test]
fn all_other_nodes_have_copies_unless_one_is_to() {
    let copies = |key: &str| {
        let text = EXAMPLE.replace("peer = 2", &format!("peers = [2, 3]\n{key}"));
        let config = Config::read(Source::toml(&text)).expect("it is right");
        config.ha.expect("an [ha]").copies
    };
    assert_eq!(copies(""), Copies::Full);
    assert_eq!(copies("copies = \"full\""), Copies::Full);
    assert_eq!(copies("copies = \"backup\""), Copies::Backup);
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
        ("peer = 2", "peers = []", "ha.peers: there is none"),
        (
            "peer = 2",
            "peers = [3, 1]",
            "ha.peers: 1 is this node's own number",
        ),
        ("peer = 2", "peers = [3, 3]", "ha.peers: 3 is there twice"),
        (
            "peer = 2",
            "peers = [3, 16]",
            "ha.peers: 16 is out of range",
        ),
        (
            "peer = 2",
            "peer = 2\npeers = [3]",
            "ha.peers: there is a `peer` as well",
        ),
        (
            "peer = 2",
            "peers = [2, 3, 4]\nshares = 3",
            "ha.shares: 3 is out of range",
        ),
        (
            "name = \"internet\"",
            "name = \"internet\"\nports = \"1024-1200\"",
            "",
        ),
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
            "peers = [2, 3]\ncopies = \"one\"",
            "ha.copies: \"one\" is unknown",
        ),
        (
            "to = \"outside\"\npool",
            "to = \"outside\"\nsync = \"never\"\npool",
            "snat[0].sync: \"never\" is unknown",
        ),
        (
            "to = \"outside\"\npool",
            "to = \"outside\"\nsync = \"inline\"\npool",
            "",
        ),
        ("peer = 2", "peer = 2\ninline_budget_ms = 50", ""),
        (
            "peer = 2",
            "peer = 2\ninline_budget_ms = 1000",
            "ha.inline_budget_ms: 1000 is out of range",
        ),
        (
            "peer = 2",
            "peer = 2\nheartbeat_ms = 1",
            "ha.heartbeat_ms: 1 is out of range",
        ),
        (
            "name = \"internet\"",
            "name = \"internet\"\nports = \"1024-1100\"",
            "snat_pool[0].ports: too few ports for 2 nodes to share",
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

#[test]
fn nobody_is_told_inline_where_nobody_is_told() {
    let inline = EXAMPLE.replacen(
        "to = \"outside\"\npool",
        "to = \"outside\"\nsync = \"inline\"\npool",
        1,
    );
    assert_eq!(problems(&inline), [""; 0]);
    let problems = problems(&inline.replacen("peer = 2", "peer = 2\nsync = \"none\"", 1));
    let expected = "snat[0].sync: `[ha]` says that nobody is told";
    assert!(
        problems.len() == 1 && problems[0].contains(expected),
        "{problems:?}"
    );
}

const GROUP: &str = "[[ha.group]]\nname = \"gate\"\nnumber = 1\naddresses = [\"10.0.0.1\"]\n";

/// What is said of the example with more in its `[ha]`.
fn with(more: &str) -> Vec<String> {
    after("[[port]]", &format!("{more}\n[[port]]"))
}

#[test]
fn groups_are_of_addresses_that_somebody_may_ask_for() {
    let pool = GROUP.replace("10.0.0.1", "198.51.100.1-198.51.100.14");
    let track = "[[ha.track]]\ngateway = \"203.0.113.254\"\n[[ha.track]]\nport = \"inside\"\n";
    for right in [GROUP, &pool, &format!("{GROUP}{track}")] {
        assert_eq!(with(right), [""; 0], "{right}");
    }
    let cases = [
        (
            GROUP.replace("10.0.0.1", "192.0.2.1"),
            "192.0.2.1 is on no network of a port",
        ),
        (
            GROUP.replace("10.0.0.1", "10.0.0.2"),
            "10.0.0.2 is a port's own",
        ),
        (
            GROUP.replace("number = 1", "number = 17"),
            "17 is out of range",
        ),
        (GROUP.replace("= [\"10.0.0.1\"]", "= []"), "no address"),
        (
            format!("{GROUP}preempt_after = \"soon\"\n"),
            "\"soon\" is not a length of time",
        ),
        (
            format!("{GROUP}{}", GROUP.replace("gate", "other")),
            "10.0.0.1 is in group \"gate\" as well",
        ),
        (
            format!("{GROUP}[[ha.track]]\ngateway = \"192.0.2.1\"\n"),
            "192.0.2.1 is on no network of a port",
        ),
        (
            format!("{GROUP}[[ha.track]]\nlower_by = 5\n"),
            "not one of `port` and `gateway`",
        ),
    ];
    for (more, said) in cases {
        let problems = with(&more);
        assert!(
            problems.iter().any(|line| line.contains(said)),
            "{said}: {problems:?}"
        );
    }
}

#[test]
fn a_witness_is_a_port_and_virtual_macs_are_stations() {
    let peer = |more: &str| after("peer = 2\n", &format!("peer = 2\n{more}\n"));
    assert_eq!(
        peer("witness = \"inside\"\nvirtual_mac = \"02:53:4c:00:00\""),
        [""; 0]
    );
    for (wrong, said) in [
        ("witness = \"insied\"", "insied"),
        (
            "virtual_mac = \"01:00:5e:00:01\"",
            "not the beginning of a station's MAC address",
        ),
        (
            "virtual_mac = \"02:53:4c:00\"",
            "not the beginning of a station's MAC address",
        ),
        ("next_key = \"00\"", "not a key of 32 bytes"),
    ] {
        let problems = peer(wrong);
        assert!(
            problems.iter().any(|line| line.contains(said)),
            "{said}: {problems:?}"
        );
    }
}
