//! Nothing can be done by the API that cannot be done by the command line: every operation of the OpenAPI
//! document is reached by some command.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use clap::Parser;
use serde_json::Value;
use sluice_ctl::Ctl;

/// Commands, without the program's name. `FILE` is a file that is there.
const COMMANDS: &[&str] = &[
    "show status",
    "show stats",
    "show ha",
    "show health",
    "handover maintenance",
    "show workers",
    "show ports",
    "show device wan",
    "show drops",
    "show pools",
    "show neighbours",
    "show routes",
    "show tiers",
    "show events",
    "show logs --level warn",
    "show syslog",
    "show log-level",
    "log-level debug --seconds 60",
    "show sessions",
    "show config",
    "show config pool/web",
    "show config firewall/rule",
    "show config --candidate",
    "show config --revision 3",
    "show revisions",
    "show diff 3",
    "show diff",
    "show whoami",
    "show users",
    "show users olga",
    "show tokens",
    "show certificate",
    "show audit",
    "show openapi",
    "capture -w - udp port 53",
    "capture -w /dev/null --ha udp port 53",
    "captures list",
    "captures show 1",
    "captures read 1 -w -",
    "captures stop 1",
    "captures delete 1",
    "trace -i wan --source 192.0.2.7 --destination 192.0.2.9 --destination-port 80",
    "ping 192.0.2.7 --count 1",
    "traceroute 192.0.2.7",
    "connectivity",
    "connectivity web --zone outside",
    "support-bundle -w -",
    "sessions list --source 192.0.2.0/24",
    "sessions count --state established",
    "sessions top --by server",
    "sessions stream",
    "sessions end --all",
    "sessions ending 1",
    "watch events",
    "watch logs",
    "apply FILE --dry-run",
    "merge FILE",
    "begin",
    "discard",
    "commit --comment why",
    "confirm",
    "revert",
    "rollback 3",
    "login admin --password-file FILE",
    "logout",
    "password --old-file FILE --new-file FILE",
    "user put olga --role viewer",
    "user delete olga",
    "token make terraform --role operator",
    "token revoke 5",
    "certificate set FILE FILE",
    "certificate ask FILE",
    "certificate ignore",
    "show client-certificates",
];

/// What is the same for all parts of the configuration, with a part in place of `PART`.
const OF_PARTS: &[&str] = &[
    "show config PART",
    "set PART key=1",
    "put PART key=1",
    "delete PART",
];

/// A server that takes anything and remembers what it was asked.
struct Recorder {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Recorder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.expect("a connection"), &theirs);
            }
        });
        Self { address, asked }
    }

    /// Runs a command; what it asked for.
    fn run(&self, command: &str) -> Vec<(String, String)> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let url = format!("http://{}", self.address);
        let words = command
            .split(' ')
            .map(|word| if word == "FILE" { file } else { word });
        let words = ["sluicectl", "--url", &url].into_iter().chain(words);
        let asked = Ctl::try_parse_from(words).unwrap_or_else(|why| panic!("{command}: {why}"));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = sluice_ctl::run(&asked, &mut out, &mut err);
        assert_eq!(code, 0, "{command}: {}", String::from_utf8_lossy(&err));
        std::mem::take(&mut self.asked.lock().expect("no panic"))
    }
}

/// Remembers method and path of one request, and answers with an empty object.
fn serve(stream: TcpStream, asked: &Mutex<Vec<(String, String)>>) {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).expect("a request");
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
    }
    reader
        .read_exact(&mut vec![0; length])
        .expect("the body that was announced");
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (
        words.next().expect("a method"),
        words.next().expect("a path"),
    );
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    asked.lock().expect("no panic").push((method, path));
    let mut stream = reader.into_inner();
    stream.write_all(answer.as_bytes()).expect("it reads");
}

/// Whether a path is of a template with names in braces.
fn fits(template: &str, path: &str) -> bool {
    let (wanted, found): (Vec<&str>, Vec<&str>) =
        (template.split('/').collect(), path.split('/').collect());
    wanted.len() == found.len()
        && wanted
            .iter()
            .zip(found)
            .all(|(wanted, found)| wanted.starts_with('{') || *wanted == found)
}

#[test]
fn every_operation_of_the_api_has_a_command() {
    let document: Value = sluice_control::api::document();
    let paths = document["paths"].as_object().expect("paths");
    let mut operations: BTreeMap<(String, String), String> = BTreeMap::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("operations") {
            let id = operation["operationId"].as_str().unwrap_or_default();
            operations.insert((method.to_uppercase(), path.clone()), id.to_owned());
        }
    }
    assert!(operations.len() > 100, "{}", operations.len());
    let recorder = Recorder::start();
    let mut commands: BTreeSet<String> = COMMANDS.iter().map(|&it| it.to_owned()).collect();
    for path in paths.keys() {
        let Some(part) = path.strip_prefix("/api/v1/config/") else {
            continue;
        };
        let other = ["revisions", "confirm", "revert"];
        if other.contains(&part.split('/').next().unwrap_or_default()) {
            continue;
        }
        let part = part.replace(['{', '}'], "");
        commands.extend(OF_PARTS.iter().map(|it| it.replace("PART", &part)));
    }
    for command in &commands {
        for (method, path) in recorder.run(command) {
            operations.retain(|(known, template), _| *known != method || !fits(template, &path));
        }
    }
    assert_eq!(operations, BTreeMap::new(), "no command does these");
}
