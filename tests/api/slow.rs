//! Clients that take their time.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use sluice_tests::alone::Alone;
use sluice_tests::wait;
use socket2::{Domain, Socket, Type};

/// More than one client may have.
const MANY: usize = 200;
/// More than a client has to take at a time before the appliance gives it up, with time for a busy machine.
const GIVEN_UP: Duration = Duration::from_secs(120);

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

/// It speaks from another address of the loopback.
fn another_client_is_served(alone: &Alone) {
    let other = std::process::Command::new("curl")
        .args(["-sS", "--fail", "--max-time", "20"])
        .args(["--interface", "127.0.0.2"])
        .arg(format!("http://{}/api/v1/status", alone.api()))
        .output()
        .expect("curl (package curl)");
    let said = String::from_utf8_lossy(&other.stderr);
    assert!(other.status.success(), "{said}");
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
    another_client_is_served(&alone);
    wait::expect("all of them to be cut off", || {
        slow.retain_mut(drip);
        slow.is_empty()
    });
    alone.json("/api/v1/status");
    alone.stop();
}

/// Asks for much, from this address of the loopback, and has room for little.
fn ask_for_much(from: u8, api: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let here = SocketAddr::from(([127, 0, 0, from], 0));
    socket.bind(&here.into()).expect("an address");
    socket.connect(&api.into()).expect("it listens");
    let mut stream = TcpStream::from(socket);
    let request = "GET /api/v1/openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    // Some are refused at once.
    let _ = stream.write_all(request.repeat(60).as_bytes());
    stream.set_nonblocking(true).expect("no reason why not");
    stream
}

#[test]
fn who_reads_nothing_is_cut_off_and_keeps_nobody_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut alone = Alone::start(directory.path(), "");
    let clients = (11..=16).flat_map(|from| std::iter::repeat_n(from, 128));
    let mut slow: Vec<TcpStream> = clients
        .map(|from| ask_for_much(from, alone.api()))
        .collect();
    another_client_is_served(&alone);
    let open = |stream: &mut TcpStream| match stream.write(b"x") {
        Ok(_) => true,
        Err(why) => why.kind() == std::io::ErrorKind::WouldBlock,
    };
    // Refused ones are gone, and those that wait are not, yet.
    slow.retain_mut(open);
    assert!(slow.len() > 256, "{}", slow.len());
    let all_gone = wait::until(GIVEN_UP, || {
        slow.retain_mut(open);
        if slow.is_empty() {
            Ok(())
        } else {
            Err(slow.len())
        }
    });
    all_gone.expect("all of them to be cut off");
    alone.json("/api/v1/status");
    alone.stop();
}
