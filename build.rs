//! Stamps the commit into the binary, and tells the linker where the system's DPDK is.

use std::process::Command;

fn main() {
    println!(
        "cargo::rustc-env=SLUICE_COMMIT={}",
        commit().unwrap_or_else(|| "unknown".into())
    );
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=.git/refs/heads");
    println!("cargo::rerun-if-env-changed=SLUICE_COMMIT");
}

/// Short hash of the commit, with a `+` for changes on top of it.
fn commit() -> Option<String> {
    if let Ok(given) = std::env::var("SLUICE_COMMIT") {
        return Some(given);
    }
    let hash = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() {
        hash
    } else {
        format!("{hash}+")
    })
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
