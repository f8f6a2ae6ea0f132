//! The API over a loopback port, with the real server, the real control thread and workers that
//! answer their mailboxes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::bind;
use crate::config::{Api, Config, Source};
use crate::controller::ActionError;
use crate::logs::{Directives, Filter};
use crate::security::Security;
use crate::service::Service;
use crate::testing::{FakeWorker, Running, WHOLE, controller, session};

mod access;
mod audit;
mod configuration;
mod console;
mod door;
mod edits;
mod limits;
mod many;
mod pages;
mod parts;
mod query;
mod scopes;
mod secrets;
mod state;
mod streams;
mod tools;
mod users;

struct Lab {
    service: Service,
    address: SocketAddr,
    file: tempfile::NamedTempFile,
    _filter: Filter,
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
    let filter = controller.logs().filter(&Directives::default());
    Lab {
        service: Service::start(controller, listener, security, file.path()).expect("a thread"),
        address,
        file,
        _filter: filter,
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
            .set_read_timeout(Some(Duration::from_secs(300)))
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
    let wanted = json!({ "id": 1, "ended": 1, "going_on": false });
    assert_eq!((ended.status, ended.json()), (200, wanted));
    let ended = lab.ask("DELETE", "/api/v1/sessions?all=true", "", "");
    assert_eq!(ended.json()["ended"], 11);
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
            .replace("{index}", "0")
            .replace("{pool}", "web")
            .replace("{to}", "0.0.0.0%2F0")
            .replace("{network}", "192.0.2.0%2F25");
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
            // There is no other node, candidate, user, certificate, capture, ending or health check;
            // and a stream has no end.
            let absent = [
                "/config/ha",
                "/candidate",
                "/next",
                "/users",
                "/tokens",
                "/tls",
                "/stream",
                "/captures/",
                "/endings/",
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
