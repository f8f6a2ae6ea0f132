//! Starts that must fail: one clear line each, an exit code, and nothing left running.

use sluice_tests::lab::Lab;
use sluice_tests::sluice::{Sluice, binary};
use sluice_tests::wait;

/// Starts with a configuration that cannot work; gives the exit code and all that was printed.
fn fails(lab: &Lab, config: &str) -> (i32, String) {
    let path = lab.directory().join("wrong.toml");
    std::fs::write(&path, config).expect("cannot write");
    let mut process = Sluice::launch(lab.appliance(), lab.directory(), &path);
    let status = process.wait(wait::PATIENCE);
    let log = process.log();
    let status = status.unwrap_or_else(|| panic!("it started:\n{config}\n{log}"));
    (
        status.code().unwrap_or_else(|| panic!("{status}\n{log}")),
        log,
    )
}

/// Checks that a start fails and that one line says why, with all of `words` in it.
#[track_caller]
fn fails_with(lab: &Lab, config: &str, words: &[&str]) {
    let (code, log) = fails(lab, config);
    assert!((1..128).contains(&code), "exit code {code}\n{log}");
    let clear = log
        .lines()
        .any(|line| words.iter().all(|word| line.contains(word)));
    assert!(clear, "no line with {words:?} in\n{log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn a_wrong_core_list_says_which_core() {
    let mut lab = Lab::gateway("cores");
    lab.system("workers = [0, 4000]\nidle = \"backoff\"\nsessions = 1024\n");
    fails_with(&lab, &lab.config(""), &["4000", "core"]);
}

#[test]
fn too_little_memory_says_what_to_do() {
    let mut lab = Lab::gateway("memory");
    lab.system(
        "workers = [0, 1]\nidle = \"backoff\"\nsessions = 50000000\nmemory_mb = 64\n\
         packet_buffers = 16384\n",
    );
    fails_with(&lab, &lab.config(""), &["memory"]);
}

#[test]
fn a_missing_device_says_which() {
    let lab = Lab::gateway("device");
    let config = lab.config("").replace("iface=outside", "iface=nothere");
    fails_with(&lab, &config, &["outside", "nothere"]);
}

#[test]
fn missing_rights_say_what_is_needed() {
    let lab = Lab::gateway("rights");
    let path = lab.directory().join("sluice.toml");
    std::fs::write(&path, lab.config("")).expect("cannot write");
    // A place that anybody can read: the build directory may be in someone's home.
    let place = tempfile_in_tmp();
    let copy = place.path().join("sluice");
    std::fs::copy(binary(), &copy).expect("cannot copy the binary");
    std::fs::copy(&path, place.path().join("sluice.toml")).expect("cannot copy");
    let open = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    };
    open(place.path());
    open(&copy);
    let output = lab
        .appliance()
        .command("setpriv")
        .args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "--inh-caps=-all",
        ])
        .arg("--bounding-set=-all")
        .arg(&copy)
        .args([
            "run",
            &place.path().join("sluice.toml").display().to_string(),
        ])
        .current_dir("/")
        .output()
        .expect("cannot run setpriv");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(
        output
            .status
            .code()
            .is_some_and(|code| (1..128).contains(&code)),
        "{said}"
    );
    assert!(said.contains("root") || said.contains("CAP_NET"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

fn tempfile_in_tmp() -> tempfile::TempDir {
    tempfile::tempdir_in("/tmp").expect("a temporary directory")
}

#[test]
fn a_typo_in_the_configuration_says_line_key_and_what_would_do() {
    let lab = Lab::gateway("typo");
    let good = lab.config("");
    let line = good
        .lines()
        .position(|line| line.starts_with("idle"))
        .expect("idle")
        + 1;
    let wrong = good.replace("idle = \"backoff\"", "idle = \"sleepy\"");
    let (code, log) = fails(&lab, &wrong);
    assert!((1..128).contains(&code), "exit code {code}\n{log}");
    for word in ["idle", "sleepy", "backoff", &line.to_string()] {
        assert!(log.contains(word), "no {word:?} in\n{log}");
    }
    fails_with(&lab, &good.replace("idle =", "idel ="), &["idel"]);

    // `sluice check` says the same without touching a device.
    let path = lab.directory().join("wrong.toml");
    let check = |text: &str| {
        std::fs::write(&path, text).expect("cannot write");
        std::process::Command::new(binary())
            .arg("check")
            .arg(&path)
            .output()
            .expect("cannot run")
    };
    let refused = check(&wrong);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("sleepy"));
    assert!(check(&good).status.success());
}
