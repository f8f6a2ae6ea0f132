//! What the OpenAPI document says is what the API does: Schemathesis makes requests from it, right
//! and wrong ones, of every operation.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use sluice_tests::alone::Alone;

use crate::access::{PASSWORD, administrator};

/// Operations on these paths are asked by one process, and all others by another one beside it.
const HALF: &str = "^/api/v1/config/[a-r]";

/// What need not be answered 2xx here, and why; where it is.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "POST /api/v1/ha/handover",
        "there is no other appliance: tests/console/ha.rs",
    ),
    (
        "POST /api/v1/ping",
        "there need be no host interface: tests/hosts/ping.rs",
    ),
    (
        "POST /api/v1/traceroute",
        "there need be no host interface: tests/hosts/ping.rs",
    ),
    (
        "GET /api/v1/sessions/endings/{number}",
        "nothing takes that long to end: control/src/controller/tests/questions.rs",
    ),
    (
        "PUT /api/v1/password",
        "no token may, and `administrator` does it before",
    ),
    (
        "GET /api/v1/tls",
        "without TLS there is none: tests/api/access.rs",
    ),
    ("PUT /api/v1/tls", "the same"),
    ("GET /api/v1/tls/clients", "the same"),
    ("PUT /api/v1/tls/clients", "the same"),
    ("DELETE /api/v1/tls/clients", "the same"),
];

/// As `scripts/venv` made it.
fn schemathesis() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let program = target.join("venv/bin/schemathesis");
    assert!(
        program.is_file(),
        "no {}: scripts/venv makes it (`make test-api` does all)",
        program.display()
    );
    program
}

/// A running Schemathesis, and where it writes to.
struct Run {
    process: Child,
    directory: PathBuf,
}

impl Run {
    /// Asks the operations that `which` selects.
    fn start(alone: &Alone, token: &str, which: [&str; 2], directory: PathBuf) -> Self {
        std::fs::create_dir(&directory).expect("a directory");
        let said = std::fs::File::create(directory.join("said")).expect("a file");
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/api/schemathesis.toml");
        let process = Command::new(schemathesis())
            .args(["--config-file", config, "run"])
            .arg(format!("http://{}/api/v1/openapi.json", alone.api()))
            .args(["--header", &format!("Authorization: Bearer {token}")])
            .env(
                "SCHEMATHESIS_HOOKS",
                concat!(env!("CARGO_MANIFEST_DIR"), "/api/occasions.py"),
            )
            .env("SLUICE_URL", format!("http://{}", alone.api()))
            .env("SLUICE_TOKEN", token)
            .env("SLUICE_PASSWORD", PASSWORD)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args([
                "--report",
                "json,ndjson",
                "--report-json-path",
                "report.json",
            ])
            .args(["--report-ndjson-path", "events.ndjson"])
            .args(which)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(said)
            .spawn()
            .expect("it can be run");
        Self { process, directory }
    }

    /// Waits for its end. How many operations it has asked, without a failure, and which of them
    /// (`GET /api/v1/status`) were answered 2xx at least once.
    fn tested(mut self) -> (u64, BTreeSet<String>) {
        let status = self.process.wait().expect("its end");
        let said = std::fs::read(self.directory.join("said")).expect("what it said");
        let said = String::from_utf8_lossy(&said);
        let report = std::fs::read_to_string(self.directory.join("report.json"));
        let report = report.unwrap_or_else(|why| panic!("{why}: {said}"));
        let report: Value = serde_json::from_str(&report).expect("JSON");
        let none = Value::Array(Vec::new());
        assert_eq!(report["failures"], none, "{said}");
        assert_eq!(report["errors"], none, "{said}");
        assert_eq!(report["complete"], true, "{said}");
        assert!(status.success(), "{said}");
        let tested = report["operations"]["tested"].as_u64().expect("a number");
        let events = std::fs::read_to_string(self.directory.join("events.ndjson"));
        let events = events.expect("its events");
        (tested, events.lines().filter_map(done).collect())
    }
}

/// The operation of a scenario, if one of its requests was answered 2xx.
fn done(event: &str) -> Option<String> {
    let event: Value = serde_json::from_str(event).expect("JSON");
    let recorder = event.get("ScenarioFinished")?.get("recorder")?;
    let mut answers = recorder.get("interactions")?.as_object()?.values();
    let good = |one: &Value| {
        let status = one["response"]["status_code"].as_u64();
        status.is_some_and(|status| (200..300).contains(&status))
    };
    let label = recorder.get("label")?.as_str()?;
    answers.any(good).then(|| label.to_owned())
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Stops captures as long as it lives: who reads one to its end would wait for it.
fn stop_captures(alone: &Alone, token: &str, over: &AtomicBool) {
    let bearer = format!("Authorization: Bearer {token}\r\n");
    while !over.load(Ordering::Relaxed) {
        let listed = alone.ask("GET", "/api/v1/captures", &bearer, "");
        let listed = listed.ok().filter(|answer| answer.status == 200);
        let listed: Value = listed
            .and_then(|answer| serde_json::from_slice(&answer.body).ok())
            .unwrap_or_default();
        let captures = listed["captures"].as_array().into_iter().flatten();
        for capture in captures.filter(|capture| capture["running"] == true) {
            let path = format!("/api/v1/captures/{}/stop", capture["id"]);
            let _ = alone.ask("POST", &path, &bearer, "");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// All operations of an OpenAPI document, as `GET /api/v1/status`.
fn operations(document: &Value) -> BTreeSet<String> {
    let methods = ["get", "put", "post", "patch", "delete"];
    let items = document["paths"].as_object().expect("paths").iter();
    let of = |(path, item): (&String, &Value)| {
        let there = methods.iter().filter(|method| item.get(**method).is_some());
        let there = there.map(|method| format!("{} {path}", method.to_uppercase()));
        there.collect::<Vec<_>>()
    };
    items.flat_map(of).collect()
}

#[test]
fn every_operation_does_what_the_document_says() {
    let directory = tempfile::tempdir().expect("a directory");
    // An appliance for each half, since neither is to be in the other's way.
    let halves = ["--include-path-regex", "--exclude-path-regex"].map(|which| {
        let place = directory.path().join(&which[2..9]);
        std::fs::create_dir(&place).expect("a directory");
        let alone = Alone::start(&place, "auth = \"users\"");
        let token = administrator(&alone);
        (which, place, alone, token)
    });
    let over = AtomicBool::new(false);
    let tested = std::thread::scope(|scope| {
        for (_, _, alone, token) in &halves {
            scope.spawn(|| stop_captures(alone, token, &over));
        }
        // A panic is a failure only when the other threads have ended.
        let tested = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let runs = halves.each_ref().map(|(which, place, alone, token)| {
                Run::start(alone, token, [which, HALF], place.join("run"))
            });
            runs.map(Run::tested)
        }));
        over.store(true, Ordering::Relaxed);
        tested
    });
    let tested = tested.unwrap_or_else(|why| std::panic::resume_unwind(why));
    let [(_, _, alone, token), _] = &halves;
    let document = alone.json("/api/v1/openapi.json");
    let described = operations(&document);
    assert!(described.len() > 100, "{described:?}");
    let asked: u64 = tested.iter().map(|(asked, _)| asked).sum();
    assert_eq!(asked, described.len() as u64);
    let done: BTreeSet<String> = tested.into_iter().flat_map(|(_, done)| done).collect();
    for (known, why) in ELSEWHERE {
        assert!(
            described.contains(*known),
            "{known} ({why}) is no operation"
        );
    }
    let undone: Vec<&String> = described
        .difference(&done)
        .filter(|one| !ELSEWHERE.iter().any(|(known, _)| known == one))
        .collect();
    assert_eq!(undone, [""; 0], "never answered 2xx");
    // It was not all refused at the door.
    let history = alone.ask(
        "GET",
        "/api/v1/config/revisions",
        &format!("Authorization: Bearer {token}\r\n"),
        "",
    );
    let history: Value = serde_json::from_slice(&history.expect("it lives").body).expect("JSON");
    assert!(history["running"].as_u64() > Some(1), "{history}");
}
