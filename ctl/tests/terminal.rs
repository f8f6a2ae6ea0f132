//! The program itself: on a terminal, in a pipe, and what it exits with.

mod common;

use std::io::{Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::{Lab, POOLS};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sluicectl");

fn run(url: &str, command: &str) -> Output {
    let words = command.split(' ').filter(|word| !word.is_empty());
    let mut program = Command::new(PROGRAM);
    program.args(["--url", url]).args(words);
    program.output().expect("it is built")
}

#[track_caller]
fn ok(url: &str, command: &str) -> String {
    let output = run(url, command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// A program on a terminal of its own, made by script(1).
struct OnTerminal {
    child: Child,
    pieces: Receiver<Vec<u8>>,
    seen: String,
}

impl OnTerminal {
    fn start(command: &str) -> Self {
        let mut child = Command::new("script")
            .args([
                "-qec",
                &format!("stty cols 120 rows 40; exec {command}"),
                "/dev/null",
            ])
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script (package bsdutils)");
        let mut out = child.stdout.take().expect("a pipe");
        let (sender, pieces) = channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = out.read(&mut piece) {
                if sender.send(piece[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            pieces,
            seen: String::new(),
        }
    }

    /// Reads until this has been on the screen.
    #[track_caller]
    fn await_text(&mut self, wanted: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        while !self.seen.contains(wanted) {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(piece) = self.pieces.recv_timeout(left) else {
                panic!("no {wanted:?}: {:?}", self.seen);
            };
            self.seen += &String::from_utf8_lossy(&piece);
        }
    }

    fn press(&mut self, keys: &[u8]) {
        let terminal = self.child.stdin.as_mut().expect("a pipe");
        terminal.write_all(keys).expect("it is there");
        terminal.flush().expect("it is there");
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }
}

const BACK: &str = "\u{1b}[?1049l";

#[test]
fn the_live_screen_goes_on_through_trouble_and_gives_the_terminal_back() {
    let mut lab = Lab::start();
    let mut top = OnTerminal::start(&format!("{PROGRAM} --url {} top", lab.url));
    for text in ["\u{1b}[?1049h", "lab", "outside", "p0/s"] {
        top.await_text(text);
    }
    assert!(!top.seen.contains("Connection"), "{}", top.seen);
    // The appliance goes away; what was seen stays, with the reason below or above it.
    lab.service.take();
    top.await_text("efused");
    assert!(!top.seen.contains(BACK), "it stays");
    top.press(b"q");
    assert_eq!(top.exit_code(), Some(0));
    top.await_text(BACK);
}

#[test]
fn what_cannot_be_reached_is_said_before_the_terminal_is_taken() {
    let mut top = OnTerminal::start(&format!("{PROGRAM} --url http://127.0.0.1:9 top"));
    assert_eq!(top.exit_code(), Some(7));
    top.await_text("127.0.0.1:9");
    assert!(!top.seen.contains("\u{1b}[?1049h"), "{}", top.seen);
}

#[test]
fn every_answer_can_be_had_as_json() {
    let lab = Lab::start();
    ok(&lab.url, "begin");
    ok(&lab.url, "set pool/p0/server/s weight=2 --candidate");
    // What asks workers has nobody to answer it here.
    for command in [
        "status",
        "workers",
        "ports",
        "devices",
        "device outside",
        "services",
        "servers",
        "health",
        "drops",
        "ha",
        "stats",
        "events",
        "logs",
        "syslog",
        "whoami",
        "audit",
        "openapi",
        "routes",
        "tiers",
        "config",
        "config pool/p0",
        "config --candidate",
        "config --revision 1",
        "revisions",
        "diff",
        "diff 1",
    ] {
        let said = ok(&lab.url, &format!("--json show {command}"));
        let answer = serde_json::from_str::<Value>(&said);
        assert!(answer.is_ok(), "show {command}: {said}");
    }
    for command in [
        "set pool/p1/server/s weight=2 --dry-run",
        "put list/office networks=192.0.2.0/24 --dry-run",
        "delete pool/p9 --dry-run",
        "drain p1/s --dry-run",
        "commit --dry-run",
        "discard",
        "captures list",
    ] {
        let said = ok(&lab.url, &format!("--json {command}"));
        let answer = serde_json::from_str::<Value>(&said);
        assert!(answer.is_ok(), "{command}: {said}");
    }
}

#[test]
fn lists_of_many_pages_are_shown_whole() {
    let lab = Lab::start();
    let health = ok(&lab.url, "--json show health");
    let health: Value = serde_json::from_str(&health).expect("JSON");
    assert_eq!(health.as_array().map(Vec::len), Some(POOLS));
    let last = &health[POOLS - 1]["name"];
    assert_eq!(last, &format!("p{}/s", POOLS - 1));
    let table = ok(&lab.url, "show health");
    assert_eq!(table.lines().count(), POOLS + 1, "and a head");
}

#[test]
fn what_waits_for_the_next_start_is_told_by_status_and_history() {
    let lab = Lab::start();
    let shown = |what: &str| ok(&lab.url, &format!("show {what}"));
    for what in ["status", "revisions"] {
        assert!(!shown(what).contains("next start"), "{}", shown(what));
    }
    let said = ok(
        &lab.url,
        "set system sessions=300000 --at-restart --comment more",
    );
    assert!(said.contains("waits for the next start"), "{said}");
    for what in ["status", "revisions"] {
        let said = shown(what);
        let line = said
            .lines()
            .find(|line| line.starts_with("waits for the next start"));
        let line = line.unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains("local") && line.contains("(more)"), "{line}");
        assert!(line.contains("show diff --next"), "{line}");
    }
    ok(&lab.url, "discard --next");
    assert!(!shown("status").contains("next start"));
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let lab = Lab::start();
    for (command, code) in [
        ("show status", 0),
        ("delete pool/p5 --dry-run", 0),
        ("nonsense", 2),
        ("show", 2),
        ("drain web1", 2),
        ("set pool/p0 weight", 2),
        ("delete pool/p0 --dry-run", 3),
        ("show logs --level loud", 3),
        ("show config pool/nope", 4),
        ("show diff 99", 4),
        ("delete pool/p5 --if-match 0000 --dry-run", 5),
        ("set system sessions=400000 --dry-run", 5),
        ("confirm", 5),
    ] {
        let output = run(&lab.url, command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{command}: {said}");
        assert_eq!(said.is_empty(), code == 0, "{command}: {said}");
    }
    assert_eq!(
        run("http://127.0.0.1:9", "show status").status.code(),
        Some(7)
    );
    // Who has read enough has not failed.
    let line = format!(
        "{PROGRAM} --url {} show openapi | head -1; exit ${{PIPESTATUS[0]}}",
        lab.url
    );
    let piped = Command::new("bash")
        .args(["-c", &line])
        .output()
        .expect("bash");
    assert_eq!(piped.status.code(), Some(0), "{piped:?}");
}
