//! What the OpenAPI document says is what the API does: Schemathesis makes requests from it, right
//! and wrong ones, of every operation.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use sluice_tests::alone::Alone;

use crate::access::administrator;

/// Operations on these paths are asked by one process, and all others by another one beside it.
const HALF: &str = "^/api/v1/config/[a-r]";

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
            .args(["--report", "json", "--report-json-path", "report.json"])
            .args(which)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(said)
            .spawn()
            .expect("it can be run");
        Self { process, directory }
    }

    /// Waits for its end. How many operations it has asked, without a failure.
    fn tested(mut self) -> u64 {
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
        report["operations"]["tested"].as_u64().expect("a number")
    }
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

#[test]
fn every_operation_does_what_the_document_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let alone = Alone::start(directory.path(), "auth = \"users\"");
    let token = administrator(&alone);
    let over = AtomicBool::new(false);
    let tested = std::thread::scope(|scope| {
        scope.spawn(|| stop_captures(&alone, &token, &over));
        // A panic is a failure only when the other thread has ended.
        let tested = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let halves = ["--include-path-regex", "--exclude-path-regex"].map(|which| {
                let place = directory.path().join(&which[2..9]);
                Run::start(&alone, &token, [which, HALF], place)
            });
            halves.map(Run::tested)
        }));
        over.store(true, Ordering::Relaxed);
        tested
    });
    let tested = tested.unwrap_or_else(|why| std::panic::resume_unwind(why));
    let document = alone.json("/api/v1/openapi.json");
    let items = document["paths"].as_object().expect("paths").values();
    let methods = ["get", "put", "post", "patch", "delete"];
    let described: usize = items
        .map(|item| {
            methods
                .iter()
                .filter(|method| item.get(*method).is_some())
                .count()
        })
        .sum();
    assert!(described > 100, "{described}");
    assert_eq!(tested.iter().sum::<u64>(), described as u64);
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
