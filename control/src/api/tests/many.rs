//! A million sessions are listed in the memory of a page.

use std::process::Command;

use super::*;

const CHILD: &str = "SLUICE_TEST_MILLION";
const SESSIONS: u32 = 1_000_000;
/// What listing may take of memory at most, beyond what is taken before.
const MIB: u64 = 32;

/// The most memory that this process has had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix("kB"));
    number.expect("a size").trim().parse().expect("a number")
}

/// Walks all pages, and says what it took; only as a child of the test below, whose memory nobody
/// else uses.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let lab = lab_of(WHOLE, security(), |workers| {
        for worker in workers {
            worker.invented = SESSIONS / 2;
        }
    });
    let walk = |pages: usize| {
        let (mut path, mut seen) = ("/api/v1/sessions?limit=1000".to_owned(), 0);
        for _ in 0..pages {
            let page = lab.get(&path).json();
            seen += page["sessions"].as_array().expect("a list").len();
            match page["next"].as_str() {
                Some(next) => path = format!("/api/v1/sessions?limit=1000&cursor={next}"),
                None => break,
            }
        }
        seen
    };
    // What the first pages take is taken for good.
    assert_eq!(walk(10), 10_000);
    let before = peak();
    assert_eq!(walk(usize::MAX), SESSIONS as usize);
    println!("took {} KiB", peak() - before);
}

#[test]
fn a_million_sessions_are_listed_in_the_memory_of_a_page() {
    let myself = std::env::current_exe().expect("a test");
    let output = Command::new(myself)
        .args(["--exact", "api::tests::many::child", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("a process");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let took = said
        .split_once("took ")
        .and_then(|(_, rest)| rest.split_once(" KiB"));
    let took: u64 = took.expect("it walked").0.parse().expect("a number");
    assert!(took < MIB << 10, "{took} KiB for a million sessions");
}
