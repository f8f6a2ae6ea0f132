//! What the OpenAPI document says is what the API does: Schemathesis makes requests from it, right
//! and wrong ones, of every operation.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sluice_tests::alone::Alone;

use crate::access::administrator;

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

#[test]
fn every_operation_does_what_the_document_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let alone = Alone::start(directory.path(), "auth = \"users\"");
    let token = administrator(&alone);
    let report = directory.path().join("report.json");
    let output = Command::new(schemathesis())
        .arg("--config-file")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/api/schemathesis.toml"
        ))
        .arg("run")
        .arg(format!("http://{}/api/v1/openapi.json", alone.api()))
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--report", "json", "--report-json-path"])
        .arg(&report)
        .current_dir(directory.path())
        .output()
        .expect("it can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    let text = std::fs::read_to_string(&report).unwrap_or_else(|why| panic!("{why}: {said}"));
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let none = Value::Array(Vec::new());
    assert_eq!(report["failures"], none, "{said}");
    assert_eq!(report["errors"], none, "{said}");
    assert_eq!(report["complete"], true, "{said}");
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
    let tested = &report["operations"]["tested"];
    assert!(described > 100, "{described}");
    assert_eq!(tested.as_u64(), Some(described as u64), "{said}");
    assert!(output.status.success(), "{said}");
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
