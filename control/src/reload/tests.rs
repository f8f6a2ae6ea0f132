use super::*;
use crate::compile::tests::facts;
use crate::config::Source;

const WHOLE: &str = include_str!("../config/tests/whole.toml");

fn read(text: &str) -> Config {
    Config::read(Source::toml(text)).unwrap_or_else(|why| panic!("{why}"))
}

/// What is said when the process runs with the whole configuration and `piece` of it is replaced.
fn refused(piece: &str, by: &str) -> Vec<String> {
    assert!(WHOLE.contains(piece), "{piece:?}");
    let running = read(WHOLE);
    let new = read(&WHOLE.replacen(piece, by, 1));
    match check(&running, &facts(&running), &new, false) {
        Ok(()) => Vec::new(),
        Err(why) => why.problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn what_needs_a_restart_is_refused_by_its_key() {
    let cases = [
        (
            "workers = [0, 1]",
            "workers = [0, 2]",
            "line 3: system.workers: is [0, 1] in the running process, [0, 2] here",
        ),
        (
            "idle = \"backoff\"",
            "idle = \"spin\"",
            "line 4: system.idle: is backoff in the running process, spin here",
        ),
        (
            "sessions = 2000000",
            "sessions = 3000000",
            "line 5: system.sessions: is 2000000 in the running process, 3000000 here",
        ),
        (
            "sessions_v6 = 50000",
            "sessions_v6 = 50001",
            "line 6: system.sessions_v6: is 50000 in the running process, 50001 here",
        ),
        (
            "memory_mb = 2048",
            "memory_mb = 4096",
            "line 7: system.memory_mb: is 2048 in the running process, 4096 here",
        ),
        (
            "packet_buffers = 65536",
            "packet_buffers = 65535",
            "line 8: system.packet_buffers: is 65536 in the running process, 65535 here",
        ),
        (
            "eal_args = [\"--no-huge\"]",
            "eal_args = []",
            "line 9: system.eal_args: is [\"--no-huge\"] in the running process, [] here",
        ),
        (
            "file_prefix = \"a\"",
            "file_prefix = \"b\"",
            "line 10: system.file_prefix: is a in the running process, b here",
        ),
        (
            "file_prefix = \"a\"",
            "file_prefix = \"a\"\nharden = false",
            "line 11: system.harden: is true in the running process, false here",
        ),
        (
            "listen = \"127.0.0.1:8081\"",
            "listen = \"127.0.0.1:8082\"",
            "line 13: api.listen: the API listens already, and cannot follow",
        ),
        (
            "iface=wan0",
            "iface=wan1",
            "line 15: port: the devices are net_af_packet0,iface=wan0 and 0000:03:00.0 in the running process, \
          net_af_packet0,iface=wan1 and 0000:03:00.0 here",
        ),
        (
            "queues = 2",
            "queues = 1",
            "line 21: port[0].queues: differs from what net_af_packet0,iface=wan0 was started with",
        ),
        (
            "rss = \"tuple\"",
            "rss = \"source\"",
            "line 22: port[0].rss: differs from what net_af_packet0,iface=wan0 was started with",
        ),
        (
            "rss_key = \"6d5a",
            "rss_key = \"6d5b",
            "line 23: port[0].rss_key: differs from what net_af_packet0,iface=wan0 was started with",
        ),
        (
            "mac = \"02:00:00:00:00:01\"",
            "mac = \"02:00:00:00:00:02\"",
            "line 24: port[0].mac: differs from what net_af_packet0,iface=wan0 was started with",
        ),
        (
            "mtu = 1500",
            "mtu = 9000",
            "line 20: port[0].mtu: 9000 is more than the 1500 that net_af_packet0,iface=wan0 was started with",
        ),
    ];
    for (piece, by, wanted) in cases {
        let wanted =
            format!("{wanted}; put it into the file and restart Sluice, or leave it as it is");
        assert_eq!(refused(piece, by), [wanted], "{piece:?} -> {by:?}");
    }
}

#[test]
fn with_a_state_directory_a_plain_restart_is_not_advised() {
    let (running, new) = (
        read(WHOLE),
        read(&WHOLE.replacen("idle = \"backoff\"", "idle = \"spin\"", 1)),
    );
    let why = check(&running, &facts(&running), &new, true).expect_err("another idle");
    assert!(
        why.to_string()
            .contains("give at_restart=true and restart Sluice"),
        "{why}"
    );
}

#[test]
fn everything_else_may_change() {
    for (piece, by) in [
        ("name = \"sluice-a\"", "name = \"sluice-b\""),
        ("mtu = 1500", "mtu = 1400"),
        ("vlan = 101", "vlan = 102"),
        (
            "addresses = [\"10.0.1.1/24\"]",
            "addresses = [\"10.0.1.2/24\"]",
        ),
        ("zone = \"dmz\"", "zone = \"inside\"\n"),
        ("via = \"203.0.113.254\"", "via = \"203.0.113.253\""),
        ("udp = \"5m\"", "udp = \"6m\""),
        ("out_of_state = \"reset\"", "out_of_state = \"adopt\""),
        ("ports = \"1024-65535\"", "ports = \"2048-65535\""),
        ("weight = 3", "weight = 4"),
        (
            "scheduler = \"maglev\"\nmaglev_size = 65537",
            "scheduler = \"source_hash\"",
        ),
    ] {
        let by = if by.ends_with('\n') {
            by.trim_end()
        } else {
            by
        };
        let text = WHOLE.replacen(piece, by, 1);
        let running = read(WHOLE);
        // A zone that no port is in any more must not be spoken about.
        let text = if text.contains("zone = \"dmz\"") {
            text
        } else {
            text.replace("\"dmz\" }", "\"inside\" }")
                .replace("to = \"dmz\"", "to = \"inside\"")
        };
        let new = read(&text);
        assert_eq!(
            check(&running, &facts(&running), &new, false),
            Ok(()),
            "{piece:?} -> {by:?}"
        );
    }
}
