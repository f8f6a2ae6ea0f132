//! `sluice ctl` is `sluicectl`.

use std::process::{Command, Output};

use sluice_tests::alone::Alone;
use sluice_tests::sluice::binary;

/// What comes of these arguments, by one name and by the other.
#[track_caller]
fn by_both(url: &str, arguments: &[&str]) -> Output {
    let run = |command: &mut Command| {
        let command = command.args(arguments).env("SLUICE_URL", url);
        command
            .output()
            .unwrap_or_else(|why| panic!("{command:?}: {why}"))
    };
    let own = run(Command::new(binary()).arg("ctl"));
    let other = run(&mut Command::new(binary().with_file_name("sluicectl")));
    assert_eq!(own, other, "{arguments:?}");
    own
}

#[test]
fn who_has_one_program_asks_the_api_by_it_as_by_the_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let alone = Alone::start(directory.path(), "");
    let url = format!("http://{}", alone.api());
    let listed = by_both(&url, &["--json", "show", "routes"]);
    assert!(listed.status.success(), "{listed:?}");
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert!(
        listed.as_array().is_some_and(|all| all.len() > 1),
        "{listed}"
    );
    let trial = ["set", "pool/web/server/web1", "weight=3", "--dry-run"];
    assert!(by_both(&url, &trial).status.success());
    // Nothing of it is the appliance's own to read: no option, and no exit code.
    for (code, arguments) in [
        (0, vec!["--help"]),
        (0, vec!["--version"]),
        (2, vec![]),
        (2, vec!["shwo"]),
        (3, vec!["show", "sessions", "--state", "odd"]),
        (4, vec!["show", "device", "none"]),
    ] {
        let ended = by_both(&url, &arguments);
        assert_eq!(ended.status.code(), Some(code), "{ended:?}");
    }
    assert_eq!(
        by_both("http://127.0.0.1:1", &["show", "status"])
            .status
            .code(),
        Some(7)
    );
}
