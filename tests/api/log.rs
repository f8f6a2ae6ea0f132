//! Log lines for machines.

use serde_json::{Value, json};
use sluice_tests::alone::Alone;

#[test]
fn every_line_of_a_json_log_is_an_object_with_its_values_from_start_to_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut alone = Alone::start_with(directory.path(), "", &["--log-format", "json"]);
    let comment = "/api/v1/config/timeouts?comment=a+%22b%22%0Ac";
    let changed = alone.ask("PATCH", comment, "", "{\"udp\":\"90s\"}");
    assert_eq!(changed.expect("an answer").status, 200);
    alone.stop();
    let log = alone.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}")))
        .collect();
    for line in &lines {
        for key in ["timestamp", "level", "target"] {
            assert!(line[key].is_string(), "{key}: {line}");
        }
        assert!(line["fields"]["message"].is_string(), "{line}");
    }
    let commit = lines
        .iter()
        .find(|line| line["fields"]["comment"] == "a \"b\"\nc");
    let commit = commit.unwrap_or_else(|| panic!("{log}"));
    assert_eq!(
        (&commit["level"], &commit["fields"]["author"]),
        (&json!("INFO"), &json!("local"))
    );
    let last = lines.last().expect("lines");
    assert_eq!(last["fields"]["message"], "packet buffers missing: 0");
}
