//! A million sessions are listed, and streamed, in the memory of a page.

use std::io::{BufRead, BufReader};
use std::process::Command;

use super::*;

const CHILD: &str = "SLUICE_TEST_MILLION";
const SESSIONS: u32 = 1_000_000;
/// Where the reader of the stream is slow.
const PAUSE: usize = 20_000;
/// What listing may take of memory at most, beyond what is taken before.
const MIB: u64 = 32;

/// Has [`peak`] begin anew, and says what it begins with.
fn anew() -> u64 {
    // proc(5): 5 resets the peak to what is in use now.
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux");
    peak()
}

/// The most memory that this process has had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix("kB"));
    number.expect("a size").trim().parse().expect("a number")
}

/// By how much the peak is beyond what it began with, in KiB. The kernel keeps what is in use by thread and adds it up
/// in batches: what a thread gave back before may be taken off only now, and the peak be the smaller of the two.
fn more_than(before: u64) -> u64 {
    peak().saturating_sub(before)
}

/// Reads so many sessions of the stream, or all of them, and keeps none; how many came. By HTTP/1.0, whose
/// answers have no chunks: it is over when the connection is.
fn read_stream(lab: &Lab, most: usize) -> usize {
    let mut stream = TcpStream::connect(lab.address).expect("it listens");
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).expect("a timeout");
    let request = "GET /api/v1/sessions/stream HTTP/1.0\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it reads");
    let (mut reader, mut line, mut seen) = (BufReader::new(stream), String::new(), 0);
    while seen < most && reader.read_line(&mut line).expect("it answers") > 0 {
        if seen == PAUSE {
            // What is not taken must not be made.
            std::thread::sleep(Duration::from_secs(2));
        }
        seen += usize::from(line.starts_with("{\"") && line.contains("\"original\":{"));
        assert!(!line.contains("\"error\""), "{line}");
        line.clear();
    }
    seen
}

/// Walks all pages and the stream, and says what it took; only as a child of the test below, whose memory nobody
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
    assert_eq!(read_stream(&lab, 10_000), 10_000);
    let before = anew();
    assert_eq!(walk(usize::MAX), SESSIONS as usize);
    println!("list took {} KiB", more_than(before));
    let before = anew();
    assert_eq!(read_stream(&lab, usize::MAX), SESSIONS as usize);
    println!("stream took {} KiB", more_than(before));
}

#[test]
fn a_million_sessions_are_listed_and_streamed_in_the_memory_of_a_page() {
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
    for what in ["list", "stream"] {
        let took = said
            .split_once(&format!("{what} took "))
            .and_then(|(_, rest)| rest.split_once(" KiB"));
        let took: u64 = took.expect("it walked").0.parse().expect("a number");
        assert!(
            took < MIB << 10,
            "{what}: {took} KiB for a million sessions"
        );
    }
}
