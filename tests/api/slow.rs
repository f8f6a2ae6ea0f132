//! Clients that take their time.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use sluice_tests::alone::Alone;
use sluice_tests::wait;

/// More than one client may have.
const MANY: usize = 200;

fn connect(api: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(api).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_millis(1)))
        .expect("a timeout");
    stream
}

/// Sends one more byte; false if nobody is there any more.
fn drip(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    let open = match stream.read(&mut byte) {
        Ok(read) => read > 0,
        Err(why) => matches!(
            why.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ),
    };
    open && stream.write_all(b"x").is_ok()
}

#[test]
fn who_never_ends_a_request_is_cut_off_and_keeps_nobody_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut alone = Alone::start(directory.path(), "");
    let mut slow: Vec<TcpStream> = (0..MANY).map(|_| connect(alone.api())).collect();
    for stream in &mut slow {
        // Some are refused at once: one client has so many places.
        let _ = stream.write_all(b"GET /api/v1/status HTTP/1.1\r\nX-Slow: ");
    }
    // Another client finds a place. It speaks from another address of the loopback.
    let other = std::process::Command::new("curl")
        .args([
            "-sS",
            "--fail",
            "--max-time",
            "20",
            "--interface",
            "127.0.0.2",
        ])
        .arg(format!("http://{}/api/v1/status", alone.api()))
        .output()
        .expect("curl (package curl)");
    let said = String::from_utf8_lossy(&other.stderr);
    assert!(other.status.success(), "{said}");
    wait::expect("all of them to be cut off", || {
        slow.retain_mut(drip);
        slow.is_empty()
    });
    alone.json("/api/v1/status");
    alone.stop();
}
