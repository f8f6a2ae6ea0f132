//! DPDK's telemetry socket, with commands of ours beside its own.

mod common;

use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::Command as Program;

use sluice_dpdk::{Command, serve_telemetry};

const NUMBERS: Command = Command {
    path: "/sluice/numbers",
    help: "Two numbers.",
};

fn socket() -> PathBuf {
    let prefix = format!("dpdk/sluice-{}/dpdk_telemetry.v2", std::process::id());
    let user = std::env::var("XDG_RUNTIME_DIR").unwrap_or_else(|_| "/tmp".to_owned());
    let places = [format!("/var/run/{prefix}"), format!("{user}/{prefix}")];
    let found = places.iter().map(PathBuf::from).find(|place| {
        place
            .metadata()
            .is_ok_and(|meta| meta.file_type().is_socket())
    });
    found.unwrap_or_else(|| panic!("no socket at {places:?}"))
}

/// Asks as `dpdk-telemetry.py` does, one command a connection.
fn ask(command: &str) -> String {
    let script = "import socket,sys\n\
                  s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET)\n\
                  s.connect(sys.argv[1]); s.recv(16384)\n\
                  s.send(sys.argv[2].encode()); print(s.recv(16384).decode())";
    let output = Program::new("python3")
        .args(["-c", script])
        .arg(socket())
        .arg(command)
        .output();
    let output = output.expect("cannot run python3");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_telemetry_socket_answers_our_commands_and_its_own() {
    let eal = common::eal();
    serve_telemetry(eal, &[NUMBERS], |command| {
        assert_eq!(command, "/sluice/numbers");
        vec![("one", 1), ("large", u64::MAX)]
    })
    .expect("it is served once");
    let answer = ask("/sluice/numbers");
    assert!(answer.contains("\"one\":1"), "{answer}");
    assert!(
        answer.contains(&format!("\"large\":{}", u64::MAX)),
        "{answer}"
    );
    let _one = common::one_at_a_time();
    let pool = common::pool(1500);
    let started = common::loopback(&pool);
    assert!(
        ask("/ethdev/list").contains("/ethdev/list"),
        "DPDK's own commands are there"
    );
    drop(started);
    let again = serve_telemetry(eal, &[NUMBERS], |_| vec![]);
    assert!(
        again
            .expect_err("twice")
            .to_string()
            .contains("served already")
    );
}
