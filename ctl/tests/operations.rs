//! Nothing can be done by the API that cannot be done by the command line: every operation of the OpenAPI
//! document is reached by some command. docs/operations.md has all of both.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use clap::{CommandFactory, Parser};
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
    "show neighbours --port wan --address 192.0.2.0/24 --state failed",
    "show routes",
    "show tiers",
    "show events",
    "show events --after 3 --limit 10",
    "show logs --level warn",
    "show syslog",
    "show log-level",
    "log-level debug --seconds 60",
    "show sessions",
    "show config",
    "show config pool/web",
    "show config firewall/rule",
    "show config --candidate",
    "show config --next",
    "show diff --next",
    "discard --next",
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
    "show audit --user olga --method PUT --path /api/v1/config --since 2h --after 0 --before 9 --limit 5",
    "show openapi",
    "capture -w - udp port 53",
    "capture -w /dev/null --ha udp port 53",
    "captures start -i wan udp port 53",
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
    "sessions list --wide",
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
    "user delete olga --dry-run",
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
    /// Of the requests since the start: first line and headers.
    heads: Arc<Mutex<String>>,
}

impl Recorder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heads: Arc<Mutex<String>> = Arc::default();
        let theirs = (Arc::clone(&asked), Arc::clone(&heads));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.expect("a connection"), &theirs.0, &theirs.1);
            }
        });
        Self {
            address,
            asked,
            heads,
        }
    }

    /// Runs a command; first lines and headers of what it asked for, in lower case.
    fn heads(&self, command: &str) -> String {
        self.heads.lock().expect("no panic").clear();
        self.run(command);
        self.heads.lock().expect("no panic").clone()
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
fn serve(stream: TcpStream, asked: &Mutex<Vec<(String, String)>>, heads: &Mutex<String>) {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).expect("a request");
    heads.lock().expect("no panic").push_str(&first);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        *heads.lock().expect("no panic") += &format!("{line}\n");
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
    let answer =
        "HTTP/1.1 200 OK\r\netag: \"t1\"\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
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

/// All operations: method and path, and their `operationId`.
fn operations() -> BTreeMap<(String, String), String> {
    let document: Value = sluice_control::api::document();
    let mut operations = BTreeMap::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let id = operation["operationId"].as_str().unwrap_or_default();
            operations.insert((method.to_uppercase(), path.clone()), id.to_owned());
        }
    }
    assert!(operations.len() > 100, "{}", operations.len());
    operations
}

/// The part of the configuration that a path is of, below `/api/v1/config`.
fn part(path: &str) -> Option<&str> {
    let part = path.strip_prefix("/api/v1/config/")?;
    let first = part.split('/').next().unwrap_or_default();
    (!["revisions", "confirm", "revert"].contains(&first)).then_some(part)
}

#[test]
fn every_operation_of_the_api_has_a_command() {
    let mut operations = operations();
    let recorder = Recorder::start();
    let mut commands: BTreeSet<String> = COMMANDS.iter().map(|&it| it.to_owned()).collect();
    for part in operations.keys().filter_map(|(_, path)| part(path)) {
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

#[test]
fn conditions_and_trials_are_sent() {
    let recorder = Recorder::start();
    for (command, wanted) in [
        ("set pool/web mode=1 --if-match t1", "if-match: \"t1\""),
        ("delete pool/web --if-match \"t1\"", "if-match: \"t1\""),
        ("apply FILE --if-match *", "if-match: *"),
        ("put pool/web --if-absent", "if-none-match: *"),
        ("drain web/web1 --if-match t1", "if-match: \"t1\""),
        ("user put olga --role viewer --dry-run", "?dry_run=true"),
        ("token revoke 5 --dry-run", "?dry_run=true"),
        ("certificate set FILE FILE --dry-run", "?dry_run=true"),
        ("show events --after 3 --limit 10", "?after=3&limit=10"),
        (
            "show neighbours --port wan --address 192.0.2.7 --state stale",
            "?port=wan&address=192.0.2.7&state=stale&limit=1000",
        ),
        (
            "show routes --port wan --to 192.0.2.7 --via 198.51.100.1",
            "?port=wan&to=192.0.2.7&via=198.51.100.1&limit=1000",
        ),
        ("show users", "/users?limit=1000"),
        ("show tokens", "/tokens?limit=1000"),
        ("show ports", "/ports?limit=1000"),
        ("show pools", "/snat_pools?limit=1000"),
    ] {
        let heads = recorder.heads(command);
        assert!(heads.contains(wanted), "{command}: {heads}");
    }
    let plain = recorder.heads("set pool/web mode=1");
    assert!(!plain.contains("if-"), "{plain}");
}

/// Each task by command line and by `curl`.
const PAGE: &str = include_str!("../../docs/operations.md");

/// What stands behind a program's name on the page, with lines that go on made one.
fn calls(program: &str) -> Vec<String> {
    let text = PAGE.replace("\\\n", " ");
    let calls = text.lines().flat_map(|line| line.split(program).skip(1));
    calls.map(str::to_owned).collect()
}

/// The words of a call, as a shell has them, up to a comment, a pipe, a file to write to or the end of `code`.
fn words(call: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for letter in call.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '"' | '\'') => quote = Some(letter),
            (None, '#' | '|' | '>') if word.is_empty() => break,
            (None, '`' | ')') => break,
            (None, ' ') => {
                words.extend(Some(std::mem::take(&mut word)).filter(|it| !it.is_empty()))
            }
            _ => word.push(letter),
        }
    }
    words.extend(Some(word).filter(|it| !it.is_empty() && it != "\\"));
    words
}

/// The names of commands that have none below them, `show status`.
fn leaves(command: &clap::Command, name: &str, found: &mut BTreeSet<String>) {
    if !command.has_subcommands() {
        found.insert(name.to_owned());
    }
    for below in command.get_subcommands() {
        let name = format!("{name} {}", below.get_name());
        leaves(below, name.trim_start(), found);
    }
}

#[test]
fn every_command_is_on_the_page_and_can_be_typed_as_it_stands_there() {
    let mut absent = BTreeSet::new();
    leaves(&Ctl::command(), "", &mut absent);
    assert!(absent.len() > 60, "{absent:?}");
    let typed: Vec<Vec<String>> = calls("sluicectl ").iter().map(|it| words(it)).collect();
    for words in typed
        .iter()
        .filter(|words| !words.is_empty() && words[0] != "--help")
    {
        let all = ["sluicectl"]
            .into_iter()
            .chain(words.iter().map(String::as_str));
        if let Err(why) = Ctl::try_parse_from(all) {
            panic!("sluicectl {}: {why}", words.join(" "));
        }
        absent.retain(|name| !format!("{} ", words.join(" ")).starts_with(&format!("{name} ")));
    }
    assert_eq!(absent, BTreeSet::new(), "not in docs/operations.md");
}

#[test]
fn every_operation_is_on_the_page_by_curl() {
    let known = operations();
    let mut absent = known.clone();
    absent.retain(|(_, path), _| part(path).is_none());
    for call in calls("curl ") {
        let words = words(&call);
        let Some(path) = words.iter().find_map(|word| word.strip_prefix("$API")) else {
            continue;
        };
        let path = format!("/api/v1{}", path.split('?').next().unwrap_or_default());
        let has = |option: &str| words.iter().position(|word| word == option);
        let method = match (has("-X"), has("-T"), has("-d")) {
            (Some(at), ..) => words[at + 1].as_str(),
            (_, Some(_), _) => "PUT",
            (.., Some(_)) => "POST",
            _ => "GET",
        };
        let is = |one: &(String, String)| one.0 == method && fits(&one.1, &path);
        let itself = path == "/api/v1/openapi.json";
        assert!(
            itself || known.keys().any(is),
            "there is no {method} {path}: {call}"
        );
        absent.retain(|one, _| !is(one));
    }
    assert_eq!(absent, BTreeMap::new(), "not in docs/operations.md");
}
