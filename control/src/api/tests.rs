//! The API over a loopback port, with the real server, the real control thread and workers that
//! answer their mailboxes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::bind;
use crate::config::{Api, Config, Source};
use crate::controller::ActionError;
use crate::security::Security;
use crate::service::Service;
use crate::testing::{FakeWorker, Running, WHOLE, controller, session};

mod access;
mod console;
mod door;
mod many;
mod state;
mod tools;

struct Lab {
    service: Service,
    address: SocketAddr,
    file: tempfile::NamedTempFile,
    _workers: Vec<Running>,
}

/// Nobody is asked.
fn security() -> Security {
    let config = Config::read(Source::toml(WHOLE)).expect("a configuration");
    let api = Api {
        requests_per_second: 1_000_000,
        ..config.api
    };
    Security::open(&api, None, "lab").expect("nothing to fail")
}

fn lab() -> Lab {
    lab_with(security())
}

fn lab_with(security: Security) -> Lab {
    lab_of(WHOLE, security, |workers| {
        workers[0].sessions = (0..7).map(|n| Some(session(n, 2))).collect();
        workers[1].sessions = (7..12).map(|n| Some(session(n, 2))).collect();
    })
}

fn lab_of(text: &str, security: Security, prepare: impl FnOnce(&mut [FakeWorker])) -> Lab {
    let (controller, mut workers) = controller(text);
    prepare(&mut workers);
    let listener = bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = listener.local_addr().expect("its address");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), WHOLE).expect("room on the disk");
    Lab {
        service: Service::start(controller, listener, security, file.path()).expect("a thread"),
        address,
        file,
        _workers: workers.into_iter().map(|worker| worker.spawn()).collect(),
    }
}

struct Response {
    status: u16,
    head: String,
    body: String,
}

impl Response {
    /// Its `ETag`, with quotes.
    fn tag(&self) -> String {
        let tag = self
            .head
            .lines()
            .find_map(|line| line.strip_prefix("etag: "));
        tag.expect("an ETag").to_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.body))
    }
}

impl Lab {
    fn raw(&self, request: &str) -> Response {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Response {
            status: status.expect("a status"),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Response {
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        ))
    }

    fn get(&self, path: &str) -> Response {
        self.ask("GET", path, "", "")
    }
}

#[test]
fn status_and_stats_are_json() {
    let lab = lab();
    let status = lab.get("/api/v1/status");
    assert_eq!(status.status, 200);
    assert!(status.head.contains("content-type: application/json"));
    let status = status.json();
    assert_eq!(status["name"], "sluice-a");
    assert_eq!(
        (&status["epoch"], &status["version"]),
        (&json!(1), &json!("1.2.3"))
    );
    assert_eq!(status["ports"][0]["mac"], "02:00:00:00:00:01");
    let stats = lab.get("/api/v1/stats").json();
    assert_eq!(stats["workers"].as_array().map(Vec::len), Some(2));
    assert_eq!(stats["total"]["received"], 0);
}

#[test]
fn sessions_come_in_pages_and_by_filter() {
    let lab = lab();
    let mut ports = Vec::new();
    let mut path = "/api/v1/sessions?limit=5".to_owned();
    loop {
        let page = lab.get(&path).json();
        let sessions = page["sessions"].as_array().expect("a list");
        ports.extend(
            sessions
                .iter()
                .filter_map(|s| s["original"]["source_port"].as_u64()),
        );
        match page["next"].as_str() {
            Some(next) => path = format!("/api/v1/sessions?limit=5&cursor={next}"),
            None => break,
        }
    }
    ports.sort_unstable();
    assert_eq!(ports, (0..12).collect::<Vec<u64>>());

    let count = |query: &str| {
        let page = lab.get(&format!("/api/v1/sessions?{query}"));
        assert_eq!(page.status, 200, "{query}: {}", page.body);
        page.json()["sessions"].as_array().map(Vec::len)
    };
    assert_eq!(count("source_port=3"), Some(1));
    assert_eq!(
        count("protocol=tcp&state=established&source=198.51.100.0/24"),
        Some(12)
    );
    assert_eq!(
        count("reply_source=10.0.0.11&reply_source_port=8080"),
        Some(12)
    );
    assert_eq!(count("address=10.0.0.12"), Some(0));
    assert_eq!(count("protocol=udp"), Some(0));

    for (query, wanted) in [
        ("limit=0", "limit=0 is out of range"),
        ("limit=1001", "limit=1001 is out of range"),
        ("limit=x", "limit"),
        ("cursor=x", "cursor=x"),
        ("colour=red", "colour"),
        (
            "address=10.0.0.300",
            "address=10.0.0.300 is not an address or network",
        ),
        ("protocol=tpc", "protocol=tpc"),
        ("server=web1", "there is no real server \"web1\""),
    ] {
        let refused = lab.get(&format!("/api/v1/sessions?{query}"));
        assert_eq!(refused.status, 400, "{query}");
        assert!(
            refused.head.contains("application/problem+json"),
            "{}",
            refused.head
        );
        let detail = refused.json()["detail"].clone();
        assert!(
            detail
                .as_str()
                .is_some_and(|detail| detail.contains(wanted)),
            "{detail}"
        );
    }
}

#[test]
fn sessions_are_ended_by_filter_and_never_by_accident() {
    let lab = lab();
    let refused = lab.ask("DELETE", "/api/v1/sessions", "", "");
    assert_eq!(refused.status, 400);
    let ended = lab.ask("DELETE", "/api/v1/sessions?source_port=3", "", "");
    assert_eq!((ended.status, ended.json()), (200, json!({ "ended": 1 })));
    let ended = lab.ask("DELETE", "/api/v1/sessions?all=true", "", "");
    assert_eq!(ended.json(), json!({ "ended": 11 }));
}

#[test]
fn the_configuration_is_read_and_replaced() {
    let lab = lab();
    let given = lab.get("/api/v1/config");
    assert_eq!((given.status, given.body.as_str()), (200, WHOLE));
    assert!(given.head.contains("content-type: application/toml"));
    let tag = given.tag();

    let as_json = lab.ask("GET", "/api/v1/config", "Accept: application/json\r\n", "");
    let mut config = as_json.json();
    config["pool"][0]["server"][0]["weight"] = json!(9);
    let changed = config.to_string();
    let put = format!("Content-Type: application/json\r\nIf-Match: {tag}\r\n");
    let answer = lab.ask("PUT", "/api/v1/config?comment=more", &put, &changed);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let path = "pool[web].server[web1].weight";
    let nobody = json!({ "sessions_at_most": 0, "policy": false, "services": [], "servers": [] });
    assert_eq!(
        answer.json(),
        json!({ "result": "committed", "revision": 2, "epoch": 2, "in_force": true,
                "changes": [{ "op": "change", "path": path, "old": 3, "new": 9 }],
                "touched": nobody })
    );
    assert_eq!(lab.get("/api/v1/status").json()["epoch"], 2);

    // What was given as JSON comes back so, or as the TOML of before with other values.
    let json = lab.ask("GET", "/api/v1/config", "Accept: application/json\r\n", "");
    assert_eq!(json.json(), config);
    let toml = lab.get("/api/v1/config").body;
    assert_eq!(toml, WHOLE.replace("weight = 3", "weight = 9"));
    let answer = lab.ask(
        "PUT",
        "/api/v1/config",
        "Content-Type: application/toml\r\n",
        &toml,
    );
    assert_eq!(answer.json()["result"], "no_change");
    assert_eq!(answer.tag(), json.tag());

    let stale = format!("If-Match: {tag}\r\n");
    let stale = lab.ask("PUT", "/api/v1/config", &stale, WHOLE);
    assert_eq!(stale.status, 412, "{}", stale.body);
    let known = format!("If-None-Match: {}\r\n", json.tag());
    assert_eq!(lab.ask("GET", "/api/v1/config", &known, "").status, 304);
    let revisions = lab.get("/api/v1/config/revisions").json();
    assert_eq!(
        (&revisions["running"], &revisions["lasting"]),
        (&json!(2), &json!(false))
    );
    let latest = &revisions["revisions"][0];
    assert_eq!(
        (&latest["author"], &latest["comment"]),
        (&json!("local"), &json!("more"))
    );
}

#[test]
fn a_server_is_drained_by_one_small_request_and_comes_back() {
    let lab = lab();
    let server = "/api/v1/config/pool/web/server/web2";
    let patch = "Content-Type: application/merge-patch+json\r\n";
    let drained = lab.ask("PATCH", server, patch, "{\"state\":\"draining\"}");
    assert_eq!(drained.status, 200, "{}", drained.body);
    assert_eq!(drained.json()["touched"]["sessions_at_most"], 0);
    let value = json!({ "name": "web2", "address": "10.0.0.12", "state": "draining" });
    let now = lab.get(server);
    assert_eq!((now.json(), now.tag()), (value.clone(), drained.tag()));
    let again = lab.ask("PUT", server, "", &value.to_string());
    assert_eq!(again.json()["result"], "no_change");
    let back = lab.ask("PATCH", server, patch, "{\"state\":null}");
    assert_eq!(back.status, 200, "{}", back.body);
    assert_eq!(lab.get("/api/v1/config").body, WHOLE);

    let wrong = lab.ask("PATCH", server, patch, "{\"weight\":-1}");
    assert_eq!(
        (wrong.status, &wrong.json()["errors"][0]["pointer"]),
        (422, &json!("/weight"))
    );
    assert_eq!(lab.get("/api/v1/config/pool/web/server/web9").status, 404);
    let route = lab.get("/api/v1/config/route/0.0.0.0%2F0").json();
    assert_eq!(route["via"], "203.0.113.254");
    let exists = lab.ask("PUT", server, "If-None-Match: *\r\n", &value.to_string());
    assert_eq!(exists.status, 412);
}

#[test]
fn a_hundred_editors_lose_no_change() {
    let lab = lab();
    let editors = 100;
    std::thread::scope(|scope| {
        for n in 0..editors {
            let lab = &lab;
            scope.spawn(move || {
                // Half of them read, change and write the whole, and try again if they were late.
                let path = format!("/api/v1/config/pool/web/server/s{n}");
                let server =
                    json!({ "name": format!("s{n}"), "address": format!("10.0.2.{}", n + 1) });
                if n % 2 == 0 {
                    let made = lab.ask("PUT", &path, "", &server.to_string());
                    assert!([201, 202].contains(&made.status), "{}", made.body);
                    return;
                }
                loop {
                    let read = lab.get("/api/v1/config/pool/web");
                    let mut pool = read.json();
                    pool["server"]
                        .as_array_mut()
                        .expect("servers")
                        .push(server.clone());
                    let only = format!("If-Match: {}\r\n", read.tag());
                    let put = lab.ask("PUT", "/api/v1/config/pool/web", &only, &pool.to_string());
                    match put.status {
                        412 => {}
                        200 | 202 => return,
                        other => panic!("{other}: {}", put.body),
                    }
                }
            });
        }
    });
    let pool = lab.get("/api/v1/config/pool/web").json();
    assert_eq!(pool["server"].as_array().map(Vec::len), Some(2 + editors));
    assert_eq!(lab.get("/api/v1/status").json()["epoch"], 1 + editors);
}

#[test]
fn a_wrong_configuration_is_refused_with_pointers() {
    let lab = lab();
    let wrong = WHOLE
        .replace("mtu = 1500", "mtu = 15")
        .replace("pool = \"web\"", "pool = \"wbe\"");
    let refused = lab.ask("PUT", "/api/v1/config", "", &wrong);
    assert_eq!(refused.status, 422);
    assert!(refused.head.contains("application/problem+json"));
    let problem = refused.json();
    assert_eq!(problem["type"], "urn:sluice:problem:invalid-configuration");
    assert_eq!(
        problem["errors"],
        json!([
            { "pointer": "/port/0/mtu", "path": "port[0].mtu", "line": 20,
              "detail": "15 is out of range", "remedy": "write a number from 576 to 9600" },
            { "pointer": "/virtual_server/0/pool", "path": "virtual_server[0].pool", "line": 138,
              "detail": "there is no pool \"wbe\"", "remedy": "did you mean \"web\"?" },
        ])
    );
    let other_cores = WHOLE.replace("workers = [0, 1]", "workers = [1, 2]");
    let refused = lab.ask("PUT", "/api/v1/config", "", &other_cores);
    assert_eq!(refused.status, 409);
    assert_eq!(refused.json()["errors"][0]["pointer"], "/system/workers");

    let xml = lab.ask(
        "PUT",
        "/api/v1/config",
        "Content-Type: text/xml\r\n",
        "<a/>",
    );
    assert_eq!(xml.status, 415);
    assert_eq!(lab.get("/api/v1/status").json()["epoch"], 1);
}

#[test]
fn a_reload_does_what_put_does() {
    let lab = lab();
    let text = WHOLE.replace("weight = 3", "weight = 4");
    std::fs::write(lab.file.path(), &text).expect("room on the disk");
    let replaced = lab.service.reload().expect("a good configuration");
    assert_eq!((replaced.epoch, replaced.in_force), (2, true));
    assert_eq!(lab.get("/api/v1/config").body, text);

    std::fs::write(lab.file.path(), "[system]\n").expect("room on the disk");
    let refused = lab.service.reload();
    let Err(ActionError::Config(why)) = refused else {
        panic!("{refused:?}");
    };
    let start = format!(
        "{}: line 1: system: `workers` is missing",
        lab.file.path().display()
    );
    assert!(why.to_string().starts_with(&start), "{why}");
    assert_eq!(lab.get("/api/v1/config").body, text);
}

#[test]
fn what_is_not_there_or_not_allowed_is_a_problem_too() {
    let lab = lab();
    let missing = lab.get("/api/v1/nothing");
    assert_eq!(
        (missing.status, &missing.json()["status"]),
        (404, &json!(404))
    );
    let wrong_method = lab.ask("POST", "/api/v1/config", "", "");
    assert_eq!(wrong_method.status, 405);
    assert!(wrong_method.head.contains("application/problem+json"));
    let foreign =
        lab.raw("GET /api/v1/config HTTP/1.1\r\nHost: example.net\r\nConnection: close\r\n\r\n");
    assert_eq!(foreign.status, 421);
    let garbage = lab.raw("GARBAGE\r\n\r\n");
    assert_eq!(garbage.status, 400);
    let huge = format!(
        "PUT /api/v1/config HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        100 << 20
    );
    assert_eq!(lab.raw(&huge).status, 413);
    assert_eq!(lab.get("/api/v1/status").status, 200, "it lives");
}

#[test]
fn neighbours_and_routes_are_listed() {
    let lab = lab();
    assert_eq!(
        lab.get("/api/v1/neighbours").json(),
        json!({ "neighbours": [] })
    );
    let routes = lab.get("/api/v1/routes").json();
    assert_eq!(
        routes["routes"][0],
        json!({ "to": "0.0.0.0/0", "via": "203.0.113.254", "port": "outside" })
    );
    assert_eq!(
        routes["routes"][1],
        json!({ "to": "10.0.0.0/24", "port": "inside" })
    );
}

/// Calls `found` with every `$ref` below `value`.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                match value.as_str() {
                    Some(text) if key == "$ref" => found.push(text),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn the_document_is_whole_and_says_what_is_there() {
    let lab = lab();
    let document = lab.get("/api/v1/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut refs = Vec::new();
    references(&document, &mut refs);
    assert!(refs.len() > 100, "{refs:?}");
    for reference in refs {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut names = std::collections::HashSet::new();
    let paths = document["paths"].as_object().expect("paths");
    for (path, item) in paths {
        // Names of items that are there.
        let real = path
            .replace("{number}", "1")
            .replace("{pool}", "web")
            .replace("{to}", "0.0.0.0%2F0");
        let real = match path {
            path if path.contains("/server/") => real.replace("{name}", "web1"),
            path if path.contains("/list/") => real.replace("{name}", "office"),
            path if path.contains("/syslog/") => real.replace("{name}", "near"),
            path if path.contains("/port/") || path.contains("/devices/") => {
                real.replace("{name}", "inside")
            }
            path if path.contains("snat") => real.replace("{name}", "internet"),
            path if path.contains("static") => real.replace("{name}", "mail"),
            path if path.contains("virtual") => real.replace("{name}", "web"),
            _ => real.replace("{name}", "ssh"),
        };
        for (method, operation) in item.as_object().expect("operations") {
            let name = operation["operationId"].as_str().expect("a name");
            assert!(names.insert(name.to_owned()), "{name} twice");
            assert!(operation["summary"].is_string(), "{name}");
            // There is no other node, candidate, user, certificate, capture or health check; and a
            // stream has no end.
            let absent = [
                "/config/ha",
                "/candidate",
                "/users",
                "/tokens",
                "/tls",
                "/stream",
                "/captures/",
                "/health_check/",
            ];
            if method == "get" && !absent.iter().any(|part| path.contains(part)) {
                let real = real.replace("snat_pool/web", "snat_pool/internet");
                let answer = lab.get(&real);
                assert_eq!(answer.status, 200, "{real}: {}", answer.body);
            }
        }
    }
    assert!(names.len() > 90, "{}", names.len());
    let page = lab.get("/api/v1/docs/");
    assert_eq!(page.status, 200);
    assert!(
        !page.body.contains("//cdn") && page.body.contains("swagger-ui"),
        "{}",
        page.body
    );
}
