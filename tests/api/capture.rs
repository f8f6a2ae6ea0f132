//! `sluicectl capture` leaves nothing behind.

use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use sluice_tests::alone::Alone;
use sluice_tests::machine::build_directory;
use sluice_tests::wait;

#[test]
fn a_capture_that_is_interrupted_ends_over_there_as_well() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut alone = Alone::start(directory.path(), "");
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let file = directory.path().join("it.pcapng");
        let child = Command::new(build_directory().join("sluicectl"))
            .args(["--url", &format!("http://{}", alone.api())])
            .args(["capture", "--seconds", "600", "-w"])
            .arg(&file)
            .arg("udp port 53")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("cargo build -p sluice-ctl makes it");
        let running = || {
            let captures = alone.json("/api/v1/captures");
            captures["captures"][0]["running"] == true
        };
        wait::expect("the capture to begin", || running() && file.exists());
        // It has its head: whoever reads is there.
        wait::expect("the file to begin", || {
            std::fs::metadata(&file).is_ok_and(|file| file.len() > 0)
        });
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        kill(pid, signal).expect("it runs");
        let output = child.wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{signal}: {said}{:?}",
            output.stderr
        );
        assert!(
            said.contains("0 packets") && said.contains("ended by stopped"),
            "{said}"
        );
        let left = alone.json("/api/v1/captures");
        assert_eq!(left, json!({ "captures": [] }), "{signal}");
    }
    alone.stop();
}
