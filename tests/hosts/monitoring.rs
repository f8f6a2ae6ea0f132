//! What others see of a running appliance: Prometheus, its alerts and the dashboard's panels; a syslog
//! server under TLS; sessions, ports and pools over the API.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use sluice_tests::http;
use sluice_tests::lab::{Host, Lab};
use sluice_tests::load::Load;
use sluice_tests::process::Process;
use sluice_tests::servers::Nginx;
use sluice_tests::sluice::Sluice;
use sluice_tests::wait;

use crate::{NAT, VIP, get, pool, snat, virtual_server};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
/// Where Prometheus listens, within the appliance's namespace.
const PROMETHEUS: &str = "127.0.0.1:9090";

/// Prometheus beside the appliance, with our rules, whose alerts fire without waiting.
struct Prometheus {
    process: Process,
}

impl Prometheus {
    fn start(lab: &Lab) -> Self {
        let directory = lab.directory();
        let rules = std::fs::read_to_string(format!("{DEPLOY}/prometheus/sluice.rules.yml"));
        let rules = rules.expect("the rules");
        let lines = rules.lines().map(|line| match line.trim_start() {
            word if word.starts_with("for: ") => {
                line.split("for: ").next().unwrap_or_default().to_owned() + "for: 0s"
            }
            _ => line.to_owned(),
        });
        let rules = lines.collect::<Vec<_>>().join("\n");
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            std::fs::write(&path, text).expect("cannot write");
            path.display().to_string()
        };
        let rules = write("sluice.rules.yml", &rules);
        let config = write(
            "prometheus.yml",
            &format!(
                "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
                 rule_files: [\"{rules}\"]\n\
                 scrape_configs:\n\
                 - job_name: sluice\n  static_configs:\n  - targets: [\"127.0.0.1:8080\"]\n"
            ),
        );
        let data = directory.join("prometheus");
        let command = [
            "prometheus".to_owned(),
            format!("--config.file={config}"),
            format!("--storage.tsdb.path={}", data.display()),
            format!("--web.listen-address={PROMETHEUS}"),
        ];
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let process = Process::start(lab.appliance(), directory, "prometheus", &command);
        Self { process }
    }

    fn ask(&self, path: &str) -> Result<Value, String> {
        let server: SocketAddr = PROMETHEUS.parse().expect("an address");
        // Without HTTP/1.1 nothing is sent in chunks.
        let answer = self
            .process
            .namespace()
            .inside(|| http::request_1_0(server, path))?;
        let value: Value = serde_json::from_slice(&answer.body)
            .map_err(|why| format!("{path}: {why}: {}", answer.text()))?;
        match value["status"].as_str() {
            Some("success") => Ok(value["data"].clone()),
            _ => Err(format!("{path}: {value}")),
        }
    }

    /// Samples of an expression.
    fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let escaped: String = expression
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect();
        let data = self.ask(&format!("/api/v1/query?query={escaped}"))?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// Names of alerts that fire.
    fn firing(&self) -> Result<Vec<String>, String> {
        let data = self.ask("/api/v1/alerts")?;
        let alerts = data["alerts"].as_array().into_iter().flatten();
        let firing = alerts.filter(|alert| alert["state"] == "firing");
        Ok(firing
            .filter_map(|alert| alert["labels"]["alertname"].as_str().map(str::to_owned))
            .collect())
    }
}

/// All expressions of the dashboard, as Grafana would ask them.
fn panels() -> Vec<String> {
    fn expressions(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(expression)) = object.get("expr") {
                    into.push(expression.clone());
                }
                object.values().for_each(|value| expressions(value, into));
            }
            Value::Array(items) => items.iter().for_each(|item| expressions(item, into)),
            _ => {}
        }
    }
    let text = std::fs::read_to_string(format!("{DEPLOY}/grafana/sluice.json"));
    let dashboard = serde_json::from_str(&text.expect("the dashboard")).expect("JSON");
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    found
        .iter()
        .map(|it| {
            it.replace("$__rate_interval", "10s")
                .replace("$instance", ".*")
        })
        .collect()
}

#[test]
fn prometheus_reads_a_running_appliance_and_its_alerts_and_panels_work() {
    let mut lab = Lab::gateway("prometheus");
    let client = lab.outside(10);
    let (one, two) = (lab.inside(11), lab.inside(12));
    let _nginx = [&one, &two].map(Nginx::start);
    let rest = pool(&[(&one, 1), (&two, 1)]) + &virtual_server("") + &snat("");
    let sluice = lab.start(&rest);
    let prometheus = Prometheus::start(&lab);
    let vip: SocketAddr = format!("{VIP}:80").parse().expect("an address");
    let load = Load::start(client.namespace(), 2, vip, "/", Duration::from_millis(20));

    let shown = panels();
    assert!(shown.len() > 20, "{}", shown.len());
    // What there is nothing of where nothing is wrong.
    let may_be_empty = |expression: &str| expression.ends_with("> 0");
    for expression in &shown {
        let answered = wait::until(wait::PATIENCE, || match prometheus.query(expression) {
            Ok(samples) if samples.is_empty() && !may_be_empty(expression) => {
                Err(format!("{expression}: nothing"))
            }
            other => other.map(drop),
        });
        answered.unwrap_or_else(|why| panic!("{why}"));
    }
    // The numbers are the API's: sessions of the virtual server, packets, frames that balance.
    let opened = "sum(sluice_service_sessions_opened_total{service=\"web\"})";
    wait::expect("Prometheus to see sessions of the virtual server", || {
        let samples = prometheus.query(opened).unwrap_or_default();
        let value = |sample: &Value| sample["value"][1].as_str()?.parse::<f64>().ok();
        samples
            .first()
            .and_then(value)
            .is_some_and(|count| count > 10.0)
    });
    let ages = "histogram_quantile(0.5, sum by (le) (sluice_worker_session_age_seconds_bucket))";
    assert!(prometheus.query(ages).is_ok());

    // Every rule can be evaluated, and none cries wolf.
    let healthy = wait::until(wait::PATIENCE, || {
        let data = prometheus.ask("/api/v1/rules")?;
        let rules = data["groups"][0]["rules"].as_array().cloned();
        let rules = rules.ok_or("no rules yet")?;
        match rules.iter().find(|rule| rule["health"] != "ok") {
            Some(rule) => Err(rule.to_string()),
            None => Ok(rules.len()),
        }
    });
    assert!(healthy.unwrap_or_else(|why| panic!("{why}")) >= 14);
    assert_eq!(prometheus.firing(), Ok(Vec::new()));

    // A real server that is down is an alert, and none is when it is back.
    let server = format!("/api/v1/config/pool/web/server/{}", one.name());
    patch(&sluice, &server, r#"{"state":"down"}"#);
    wait::expect("the alert for a real server that is down", || {
        prometheus.firing() == Ok(vec!["SluiceServerDown".to_owned()])
    });
    patch(&sluice, &server, r#"{"state":"up"}"#);
    wait::expect("the alert to end", || prometheus.firing() == Ok(Vec::new()));
    load.finish();
}

#[track_caller]
fn patch(sluice: &Sluice, path: &str, body: &str) {
    let answer = sluice.ask("PATCH", path, body.as_bytes());
    let answer = answer.unwrap_or_else(|why| panic!("PATCH {path}: {why}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// rsyslog on a management network, taking TLS with octet counting.
fn rsyslog(lab: &Lab) -> (Process, String) {
    let directory = lab.directory();
    let file = |name: &str| directory.join(name).display().to_string();
    // By default it would be an authority's, which is no server's.
    let request = "[req]\ndistinguished_name = dn\nx509_extensions = ext\nprompt = no\n\
                   [dn]\nCN = collector\n\
                   [ext]\nsubjectAltName = IP:127.0.0.1\nbasicConstraints = CA:FALSE\n";
    std::fs::write(file("syslog.cnf"), request).expect("cannot write");
    let made = lab
        .appliance()
        .command("openssl")
        .args(["req", "-x509", "-newkey", "ec"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-config", &file("syslog.cnf")])
        .args(["-keyout", &file("syslog.key"), "-out", &file("syslog.pem")])
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{made:?}");
    let (log, work) = (file("received.log"), file("rsyslog"));
    std::fs::create_dir(&work).expect("cannot make a directory");
    let config = format!(
        "global(workDirectory=\"{work}\" defaultNetstreamDriver=\"ossl\"\n\
         \tdefaultNetstreamDriverCAFile=\"{ca}\" defaultNetstreamDriverCertFile=\"{ca}\"\n\
         \tdefaultNetstreamDriverKeyFile=\"{key}\")\n\
         module(load=\"imtcp\" streamDriver.name=\"ossl\" streamDriver.mode=\"1\"\n\
         \tstreamDriver.authMode=\"anon\")\n\
         input(type=\"imtcp\" port=\"6514\" address=\"127.0.0.1\")\n\
         template(name=\"parts\" type=\"string\"\n\
         \tstring=\"%syslogfacility-text% %syslogseverity-text% %hostname% %app-name% \
         %structured-data% %msg%\\n\")\n\
         action(type=\"omfile\" file=\"{log}\" template=\"parts\")\n",
        ca = file("syslog.pem"),
        key = file("syslog.key"),
    );
    std::fs::write(file("rsyslog.conf"), config).expect("cannot write");
    let (path, pid) = (file("rsyslog.conf"), file("rsyslog.pid"));
    let command = ["rsyslogd", "-n", "-f", &path, "-i", &pid];
    (
        Process::start(lab.appliance(), directory, "rsyslog", &command),
        log,
    )
}

#[test]
fn log_lines_reach_rsyslog_under_tls_also_after_it_was_away() {
    let mut lab = Lab::gateway("syslog");
    let server = lab.outside(10);
    let client = lab.inside(11);
    let _nginx = Nginx::start(&server);
    let (receiver, log) = rsyslog(&lab);
    let ca = lab.directory().join("syslog.pem").display().to_string();
    let section = format!(
        "[[log.syslog]]\nname = \"collector\"\nserver = \"127.0.0.1:6514\"\ntransport = \"tls\"\n\
         ca = \"{ca}\"\nfacility = \"local3\"\n"
    );
    let sluice = lab.start(&(section + &snat("")));
    let received = || std::fs::read_to_string(&log).unwrap_or_default();
    let commit = |n: u32| {
        let path = format!("/api/v1/config/timeouts?comment=commit+{n}");
        patch(&sluice, &path, &format!(r#"{{"udp":"{}s"}}"#, 60 + n));
    };
    wait::expect("the start to be in the log of rsyslog", || {
        let text = received();
        text.lines()
            .any(|line| line.starts_with("local3 info lab sluice "))
    });
    drop(receiver);
    // Nobody is there to hear of these, and traffic goes on.
    (0..50).for_each(commit);
    assert_eq!(
        get(&client, "198.51.100.10", "/").map(|answer| answer.status),
        Ok(200)
    );
    let (path, pid) = (
        lab.directory().join("rsyslog.conf").display().to_string(),
        lab.directory().join("again.pid").display().to_string(),
    );
    let command = ["rsyslogd", "-n", "-f", &path, "-i", &pid];
    let _receiver = Process::start(lab.appliance(), lab.directory(), "rsyslog", &command);
    wait::expect("what was logged meanwhile", || {
        let text = received();
        let said = |n: u32| text.contains(&format!("comment=\"commit {n}\""));
        // What was written to the connection as it broke may be lost.
        (2..50).all(said)
    });
    let state = sluice.json("/api/v1/logs/syslog");
    assert_eq!(state["servers"][0]["connected"], true, "{state}");
    assert_eq!(state["servers"][0]["lost"], 0, "{state}");
    let lines = sluice.json("/api/v1/logs?level=info&limit=1000");
    assert!(
        lines["lines"]
            .as_array()
            .is_some_and(|lines| lines.len() > 50)
    );
}

#[test]
fn sessions_ports_and_pools_are_told_as_they_are() {
    let mut lab = Lab::gateway("state");
    let server = lab.outside(10);
    let clients = [lab.inside(11), lab.inside(12)];
    let _nginx = Nginx::start(&server);
    let sluice = lab.start(&(snat("ports = \"20000-20127\"") + RULE));
    let target: SocketAddr = "198.51.100.10:80".parse().expect("an address");
    let open = |host: &Host| {
        let stream = host
            .namespace()
            .inside(|| std::net::TcpStream::connect(target));
        stream.expect("a connection")
    };
    let _open: Vec<_> = (0..5).map(|_| open(&clients[0])).collect();
    let _other = open(&clients[1]);
    let count = |query: &str| {
        let found = sluice.json(&format!("/api/v1/sessions/count?protocol=tcp&{query}"));
        found["sessions"].as_u64().expect("a number")
    };
    // A client's connect() returns before its ACK has passed.
    wait::expect("the last handshake to be over", || {
        count("state=established") == 6
    });
    assert_eq!(count("rule=web"), 6);
    assert_eq!(count("rule=other"), 0);
    assert_eq!(count("owner=this"), 6);
    assert_eq!(count("owner=peer"), 0);
    assert_eq!(count("older_than=1h"), 0);
    assert_eq!(count("younger_than=1h"), 6);
    assert_eq!(count("worker=0") + count("worker=1"), 6);
    let top = sluice.json("/api/v1/sessions/top?by=source&order=sessions&protocol=tcp");
    assert_eq!(top["groups"][0]["name"], clients[0].address().to_string());
    assert_eq!(top["groups"][0]["sessions"], 5);
    assert_eq!(
        (&top["groups"][1]["sessions"], &top["exact"]),
        (&1.into(), &true.into())
    );
    let all = sluice.get("/api/v1/sessions/stream").expect("an answer");
    let lines = all.text();
    let sessions = lines.lines().filter(|line| line.contains("established"));
    assert_eq!(sessions.count(), 6, "{lines}");

    let pools = sluice.json("/api/v1/snat_pools");
    let pool = &pools["snat_pools"][0];
    assert_eq!(pool["addresses"][0]["address"], NAT);
    assert_eq!(pool["addresses"][0]["ports"]["tcp"], 6, "{pool}");
    assert_eq!(
        pool["sessions"].as_u64(),
        pool["addresses"][0]["sessions"].as_u64()
    );

    let ports = sluice.json("/api/v1/ports");
    let port = &ports["ports"][0];
    assert!(port["counters"]["rx_frames"].as_u64() > Some(0), "{port}");
    assert!(port["nic"]["rx_frames"].as_u64() > Some(0), "{port}");
    let name = port["name"].as_str().expect("a name");
    let device = sluice.json(&format!("/api/v1/devices/{name}"));
    let counted = device["extended"]["rx_good_packets"].as_u64();
    assert!(counted > Some(0), "{device}");

    let drops = sluice.json("/api/v1/drops");
    let denied = drops["drops"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["reason"] == "denied").cloned());
    let denied = denied.expect("it is listed");
    assert!(
        denied["meaning"]
            .as_str()
            .is_some_and(|text| text.ends_with('.'))
    );
    let workers = sluice.json("/api/v1/workers");
    let means = workers["workers"].as_array().into_iter().flatten();
    let mut means = means.filter_map(|worker| worker["burst_mean"].as_f64());
    assert!(means.any(|mean| mean >= 1.0), "{workers}");
    let busy = workers["workers"].as_array().into_iter().flatten();
    let busy: Vec<_> = busy.filter(|one| one["received"] != 0).collect();
    assert!(!busy.is_empty(), "{workers}");
    for worker in busy {
        let number = |key: &str| worker[key].as_f64().expect(key);
        let share = number("busy_share");
        assert!(share > 0.0 && share <= 1.0, "{worker}");
        // Not free, and not a second.
        let ns = number("ns_per_frame");
        assert!(ns > 10.0 && ns < 1e9, "{worker}");
        let cycles = number("cycles_per_frame");
        assert!(cycles > 10.0, "{worker}");
        // Some GHz.
        assert!((0.2..10.0).contains(&(cycles / ns)), "{worker}");
    }

    // By rule they are ended, too.
    let ended = sluice
        .ask(
            "DELETE",
            "/api/v1/sessions?rule=web&protocol=tcp&worker=0",
            &[],
        )
        .and_then(|_| {
            sluice.ask(
                "DELETE",
                "/api/v1/sessions?rule=web&protocol=tcp&worker=1",
                &[],
            )
        });
    assert_eq!(ended.map(|answer| answer.status), Ok(200));
    assert_eq!(count(""), 0);
}

/// A list, and rules that use it.
const RULE: &str = r#"
[[list]]
name = "clients"
networks = ["10.1.0.11", "10.1.0.12/32", "192.0.2.0/24"]
[[firewall.rule]]
name = "other"
from = "inside"
to = "outside"
source = "192.0.2.0/24"
action = "deny"
[[firewall.rule]]
name = "web"
from = "inside"
to = "outside"
source = "@clients"
protocol = "tcp"
ports = 80
action = "allow"
"#;
