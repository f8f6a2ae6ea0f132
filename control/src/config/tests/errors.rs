//! Each thing that can be wrong, and what is said of it.

use super::*;

/// What is said when `piece` of the whole configuration is replaced by `by`.
#[track_caller]
fn edited(piece: &str, by: &str) -> Vec<String> {
    assert_eq!(WHOLE.matches(piece).count(), 1, "{piece:?} is there once");
    problems(&WHOLE.replace(piece, by))
}

/// Changes of the whole configuration, and what is said of each.
const CASES: &str = include_str!("errors.txt");

#[test]
fn a_wrong_value_is_named_with_line_place_and_remedy() {
    let mut cases = 0;
    let mut wrong = String::new();
    for block in CASES.split("\n\n").skip(1) {
        let marked = |mark: char| {
            let lines = block.lines().filter_map(|line| line.strip_prefix(mark));
            let lines: Vec<&str> = lines.map(|line| line.trim_start_matches(' ')).collect();
            lines.join("\n")
        };
        let found = edited(&marked('-'), &marked('+'));
        let wanted = marked('=');
        let as_wanted = match wanted.as_str() {
            "" => found.is_empty(),
            wanted => found.iter().any(|found| found == wanted),
        };
        if !as_wanted {
            wrong += &format!("\n{block}\nbut it says: {found:#?}\n");
        }
        cases += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(cases > 80, "only {cases} cases were read");
}

#[test]
fn what_toml_or_serde_refuse_is_said_in_our_words() {
    let cases = [
        (
            "[tcp]",
            "[tpc]",
            "line 73: tpc: there is no key `tpc`; did you mean `tcp`?",
        ),
        (
            "mtu = 1500",
            "mut = 1500",
            "line 20: port[0].mut: there is no key `mut`; did you mean `mtu`?",
        ),
        (
            "weight = 3",
            "wieght = 3",
            "line 126: pool[0].server[0].wieght: there is no key `wieght`; did you mean `weight`?",
        ),
        (
            "mtu = 1500",
            "mtu = \"1500\"",
            "line 20: port[0].mtu: found string \"1500\"; write a whole number",
        ),
        (
            "queues = 2",
            "queues = 2.5",
            "line 21: port[0].queues: found floating point `2.5`; write a whole number",
        ),
        (
            "clamp_mss = true",
            "clamp_mss = 1",
            "line 25: port[0].clamp_mss: found integer `1`; write true or false",
        ),
        (
            "addresses = [\"10.0.1.1/24\"]",
            "addresses = \"10.0.1.1/24\"",
            "line 39: port[2].addresses: found string \"10.0.1.1/24\"; write a list",
        ),
        (
            "port = 80\n",
            "port = true\n",
            "line 136: virtual_server[0].port: found boolean `true`; write a number or a text",
        ),
    ];
    for (piece, by, wanted) in cases {
        assert_eq!(edited(piece, by), [wanted], "{piece:?} -> {by:?}");
    }
    let broken = edited("idle = \"backoff\"", "idle = \"backoff");
    assert!(broken[0].starts_with("line 4: "), "{broken:?}");
    let twice = edited("[icmp]", "[tcp]");
    assert!(twice[0].starts_with("line 77: "), "{twice:?}");
}

#[test]
fn several_errors_come_at_once_in_the_order_of_their_lines() {
    let text = WHOLE
        .replace("mode = \"fullnat\"", "mode = \"nat\"")
        .replace("idle = \"backoff\"", "idle = \"nap\"")
        .replace("to = \"0.0.0.0/0\"", "to = \"everywhere\"");
    let found = problems(&text);
    let starts = [
        "line 4: system.idle",
        "line 42: route[0].to",
        "line 139: virtual_server[0].mode",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(start), "{found}");
    }
}

#[test]
fn services_that_overlap_are_named_both() {
    let another = "\n[[virtual_server]]\nname = \"other\"\naddress = \"203.0.113.1\"\nport = \"2205-2300\"\npool = \"web\"\n";
    let text = format!("{WHOLE}{another}").replace("port = 8080\n", "");
    assert_eq!(
        problems(&text),
        [
            "line 111: forward[0]: virtual server \"other\" and forward \"ssh\" claim the same address and port; \
          change the address, protocol or port of one of them"
        ]
    );
}

#[test]
fn direct_return_needs_a_neighbour_and_keeps_the_port() {
    let text = WHOLE
        .replace("mode = \"fullnat\"", "mode = \"dsr\"")
        .replace("snat_pool = \"internet\"\n", "")
        .replace("address = \"10.0.0.12\"", "address = \"10.9.0.12\"");
    assert_eq!(
        problems(&text),
        [
            "line 125: pool[0].server[0].port: virtual server \"web\" is \"dsr\", which cannot change the port; take `port` out",
            "line 131: pool[0].server[1].address: 10.9.0.12 is not on a connected network, and virtual server \"web\" is \"dsr\"; \
             give a port an address on the server's network, or use mode = \"dnat\"",
        ]
    );
}

#[test]
fn ports_of_one_device_must_not_contradict_each_other() {
    let text = WHOLE
        .replace("vlan = 100\n", "vlan = 100\nqueues = 1\n")
        .replace("vlan = 101\n", "vlan = 101\nqueues = 2\n");
    assert_eq!(
        problems(&text),
        [
            "line 39: port[2].queues: port \"inside\" says otherwise of the same device; write `queues` in one of them only"
        ]
    );
    // Said once, it holds for both.
    let text = WHOLE.replace("vlan = 101\n", "vlan = 101\nqueues = 1\n");
    let config = Config::read(Source::toml(text)).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(config.devices()[1].queues, 1);
}

#[test]
fn pools_must_not_give_the_same_lease() {
    let another = "\n[[snat_pool]]\nname = \"more\"\naddresses = [\"203.0.113.12\"]\nports = \"PORTS\"\n\
                   mapping = \"endpoint_independent\"\n";
    let clash = format!("{WHOLE}{another}").replace("PORTS", "60000-61000");
    let found = problems(&clash);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains(
        "snat_pool[1].addresses: 203.0.113.12 is in pool \"internet\" with the same ports"
    ));
    let divided = clash.replace("\"1024-65535\"", "\"1024-59999\"");
    assert_eq!(problems(&divided), [""; 0]);
}

#[test]
fn json_errors_carry_a_pointer() {
    let text = r#"{"system": {"workers": [1]}, "port": [
        {"name": "a", "device": "net_null0", "zone": "inside", "addresses": ["10.0.0.1/24", "10.0.0.0/33"]}]}"#;
    let why = Config::read(Source::json(text)).expect_err("a prefix of 33 bits");
    assert_eq!(
        why.problems[0].finding.path.pointer(),
        "/port/0/addresses/1"
    );
    assert_eq!(why.problems[0].line, None);

    let why =
        Config::read(Source::json("{\"system\": {\"worker\": []}}")).expect_err("no such key");
    assert_eq!(
        why.to_string(),
        "line 1: system.worker: there is no key `worker`; did you mean `workers`?"
    );
    assert_eq!(why.problems[0].finding.path.pointer(), "/system/worker");
    let why = Config::read(Source::json("{\"system\": ")).expect_err("half a document");
    assert_eq!(why.problems[0].line, Some(1));
    assert!(Config::read(Source::json("{} {}")).is_err());
}

#[test]
fn an_empty_configuration_says_what_is_needed() {
    assert_eq!(
        problems(""),
        ["system: `workers` is missing; write workers = [1], a list of cores"]
    );
    assert_eq!(
        problems("[system]\nworkers = [1]\n"),
        ["there is no port; write a [[port]] for each network"]
    );
}
