//! `make demo SECONDS=…`, without its build.

use std::process::Command;

#[test]
fn the_demo_ends_by_itself_with_everything_accounted_for() {
    // It takes its own turn among labs: this test must not hold one.
    let output = Command::new(env!("CARGO_BIN_EXE_demo"))
        .args(["--seconds", "10"])
        .env("SLUICE_BIN", sluice_tests::sluice::binary())
        .output()
        .expect("cannot run the demo");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{}\n{said}\n{complaints}",
        output.status
    );
    for word in ["requests", "failed", "accounted", "web1", "web2", "web3"] {
        assert!(said.contains(word), "no {word:?} in\n{said}");
    }
}
