//! `[[health_check]]`, and what pools and servers say of checks.

use super::*;
use crate::health::OnDown;

pub(super) const HEALTH: &str = include_str!("health.toml");

fn config() -> Config {
    Config::read(Source::toml(HEALTH)).unwrap_or_else(|why| panic!("{why}"))
}

#[test]
fn every_value_means_what_it_says() {
    let config = config();
    let page = &config.health_checks[0];
    assert_eq!(
        (page.interval_ms, page.down_interval_ms, page.timeout_ms),
        (1000, 5000, 800)
    );
    assert_eq!(
        (page.rise, page.fall, page.jitter, page.wait),
        (3, 2, 20, true)
    );
    assert_eq!(page.port, Some(8443));
    let CheckKind::Http(http) = &page.kind else {
        panic!("{page:?}");
    };
    assert_eq!((http.method, http.path.as_str()), ("GET", "/health?deep=1"));
    assert_eq!(http.status, [(200, 200), (300, 399)]);
    assert_eq!(http.body.as_deref(), Some("fine"));
    let tls = http.tls.as_ref().expect("TLS");
    assert_eq!(tls.server_name.as_deref(), Some("www.example.com"));

    let ping = &config.health_checks[1];
    assert_eq!(
        (ping.interval_ms, ping.down_interval_ms, ping.timeout_ms),
        (2000, 2000, 1000)
    );
    assert_eq!(
        (ping.rise, ping.fall, ping.jitter, ping.wait),
        (2, 3, 10, false)
    );
    let CheckKind::Tcp(words) = &config.health_checks[2].kind else {
        panic!("{:?}", config.health_checks[2]);
    };
    assert_eq!(
        (words.send.as_slice(), words.expect.as_slice()),
        (&b"\r\n"[..], &b"220"[..])
    );
    assert_eq!(config.system.script_user, "daemon");
    assert_eq!(config.pools[0].on_down, OnDown::End);
}

#[test]
fn servers_have_checks_of_their_own_or_those_of_their_pool() {
    let config = config();
    let pool = &config.pools[0];
    let of = |index: usize| {
        let server = &pool.servers[index];
        let checks = config.checks(pool, server);
        let checks = checks
            .iter()
            .map(|check| (check.name.as_str(), config.check_port(pool, server, check)));
        checks.collect::<Vec<_>>()
    };
    assert_eq!(of(0), [("page", Some(8443)), ("ping", Some(8080))]);
    assert_eq!(of(1), [("banner", Some(8081))]);
    assert_eq!(of(2), []);
    assert_eq!(
        of(3)[0],
        ("banner", Some(80)),
        "as the virtual server has it"
    );
    assert!(config.rules(pool, &pool.servers[0]).wait);
    assert!(!config.rules(pool, &pool.servers[3]).wait);
}

#[test]
fn toml_and_json_come_back_as_they_were() {
    let config = config();
    let json = serde_json::to_string(&config.raw).expect("plain values");
    let again = Config::read(Source::json(json)).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(again.raw, config.raw);
    let again = Config::read(Source::toml(again.to_toml())).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(
        (again.health_checks, again.pools),
        (config.health_checks, config.pools)
    );
}

#[test]
fn a_wrong_value_is_named_with_place_and_remedy() {
    for (from, to, wanted) in [
        (
            "type = \"icmp\"",
            "type = \"snmp\"",
            "health_check[1].type: \"snmp\" is unknown",
        ),
        (
            "type = \"icmp\"",
            "type = \"icmp\"\nport = 7",
            "health_check[1].port: a check of type \"icmp\" has no `port`",
        ),
        (
            "timeout = \"800ms\"",
            "timeout = \"2s\"",
            "health_check[0].timeout: a check may take 2000 ms, and the next begins after 1000",
        ),
        (
            "path = \"/health?deep=1\"",
            "path = \"health\"",
            "health_check[0].path: \"health\" is not a path",
        ),
        (
            "\"300-399\"",
            "\"300-700\"",
            "health_check[0].status[1]: \"300-700\" is not a status",
        ),
        (
            "method = \"GET\"",
            "method = \"HEAD\"",
            "health_check[0].body: an answer to HEAD has no body",
        ),
        (
            "send = \"hex:0d 0a\"",
            "send = \"hex:0d 0\"",
            "health_check[2].send: \"hex:0d 0\" is not bytes",
        ),
        (
            "answer = \"192.0.2.1\"",
            "answer = \"2001:db8::1\"",
            "health_check[4].answer: 2001:db8::1 is no answer",
        ),
        (
            "query = \"www.example.com\"",
            "query = \"www..example\"",
            "health_check[4].query: \"www..example\" is not a name",
        ),
        (
            "send = \"ping\"\n",
            "",
            "health_check[5]: `send` is missing",
        ),
        (
            "script = \"check-db\"",
            "script = \"../check-db\"",
            "health_check[7].script: \"../check-db\" is not the name of a file",
        ),
        (
            "script_directory = \"/etc/sluice/checks\"\n",
            "",
            "health_check[7].script: scripts are off",
        ),
        (
            "health_check = \"banner\"",
            "health_check = \"baner\"",
            "pool[0].server[1].health_check: there is no health check \"baner\"; did you mean \"banner\"?",
        ),
        (
            "on_down = \"end\"",
            "on_down = \"reset\"",
            "pool[0].on_down: \"reset\" is unknown",
        ),
        (
            "percent = 80",
            "percent = 0",
            "pool[0].passive.percent: 0 is out of range",
        ),
        (
            "slow_start = \"30s\"",
            "slow_start = \"soon\"",
            "pool[0].slow_start: \"soon\" is not a length of time",
        ),
        (
            "[host]\nnamespace = \"sluice\"\n",
            "",
            "pool[0].health_check: health checks speak by the host interface, which is off; write [host]",
        ),
        (
            "port = 80\n",
            "port = \"any\"\n",
            "pool[0].server[3].port: health check \"banner\" has no port to go to",
        ),
        (
            "name = \"handshake\"",
            "name = \"page\"",
            "health_check[3].name: the name \"page\" is taken",
        ),
        (
            "tls = true",
            "ca_file = \"/x\"",
            "health_check[6].tls: a name or a certificate for TLS, and no TLS",
        ),
    ] {
        assert!(HEALTH.contains(from), "{from}");
        let found = problems(&HEALTH.replacen(from, to, 1));
        assert!(
            found.iter().any(|found| found.contains(wanted)),
            "{wanted}\n{found:#?}"
        );
    }
}

#[test]
fn no_more_is_checked_than_there_are_ports_to_check_from() {
    let with = |kind: &str, servers: usize| {
        let mut text = format!(
            "[system]\nworkers = [0]\n[host]\n[[port]]\nname = 'p'\ndevice = 'net_null0'\n\
             zone = 'z'\naddresses = ['10.0.0.1/8']\n[[health_check]]\nname = 'it'\n{kind}\n"
        );
        for server in 0..servers {
            let (pool, low) = (server / 1024, server % 1024);
            if low == 0 {
                text += &format!("[[pool]]\nname = 'p{pool}'\nhealth_check = 'it'\n");
            }
            text += &format!(
                "[[pool.server]]\nname = 's{low}'\naddress = '10.{pool}.{}.{}'\nport = 80\n",
                1 + low / 250,
                1 + low % 250
            );
        }
        problems(&text)
    };
    let ping = "type = 'icmp'";
    assert_eq!(with(ping, 4096), [""; 0]);
    let [found] = &with(ping, 4097)[..] else {
        panic!("one is too many");
    };
    assert!(
        found.contains("4097 checks of real servers by icmp; use 4096 at most"),
        "{found}"
    );
    assert_eq!(with("type = 'tcp'", 4097), [""; 0]);
}

#[test]
fn a_script_is_told_the_port_that_it_is_configured_with() {
    let text = HEALTH.replacen(
        "script = \"check-db\"",
        "script = \"check-db\"\nport = 5432",
        1,
    );
    let text = text.replacen(
        "health_check = [\"banner\", \"own\"]",
        "health_check = [\"own\"]",
        1,
    );
    let config = Config::read(Source::toml(&text)).unwrap_or_else(|why| panic!("{why}"));
    let targets = crate::health::Targets::of(&config);
    let mut own = targets.all.iter().filter(|(key, _)| key.check == "own");
    let (key, target) = own.next().expect("web4 has it");
    assert_eq!(
        (key.server.as_str(), target.address.port()),
        ("web/web4", 5432)
    );
}
