//! Ten thousand requests a second on the API, and what passes through the appliance meanwhile.
//!
//! What is asserted is what was *offered* at that rate: requests are sent when they are due, whether or not
//! those before them have been answered, and every one is answered in the end. How fast they are answered
//! depends on what else the machine does, the test itself included, and is told, not asserted.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sluice_tests::lab::Lab;
use sluice_tests::load::Load;
use sluice_tests::servers::Nginx;
use sluice_tests::sluice::{API, Sluice};
use sluice_tests::wait;
use socket2::{Domain, Socket, Type};

use crate::{VIP, get, pool, snat, virtual_server};

/// Requests a second that there are to be, at least.
const RATE: u64 = 10_000;
/// So many are sent, so that a tick that comes late does not make them fewer.
const PACE: u64 = 12_000;
/// For so long, at least.
const TIME: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 8;
/// How long the machine may take to keep the pace, and to answer when it has all requests.
const BUSY: Duration = Duration::from_secs(120);

/// One of them asks the controller, the other one is answered by the API itself.
const PATHS: [&str; 2] = ["/api/v1/ha", "/api/v1/whoami"];

/// With room for all its requests: what is not read yet must not keep the next from being sent.
fn connect() -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .set_send_buffer_size(1 << 20)
        .expect("a large buffer");
    socket.set_tcp_nodelay(true).expect("no reason why not");
    socket.connect(&API.into()).expect("it listens");
    // So that a test that fails ends.
    socket.set_read_timeout(Some(BUSY)).expect("a timeout");
    TcpStream::from(socket)
}

/// Sends requests at [`PACE`] until they have come at [`RATE`] for [`TIME`]: how many, and how long that took.
fn offer(mut streams: Vec<TcpStream>, sent: &AtomicU64) -> (u64, Duration) {
    let request = |n: u64| {
        let path = PATHS[(n % 2) as usize];
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    };
    let begun = Instant::now();
    let (mut count, mut turn) = (0, 0);
    loop {
        let due = begun.elapsed().as_micros() as u64 * PACE / 1_000_000;
        let batch: String = (count..due).map(request).collect();
        streams[turn]
            .write_all(batch.as_bytes())
            .expect("it takes them");
        turn = (turn + 1) % CONNECTIONS;
        count = due.max(count);
        sent.store(count, Ordering::Relaxed);
        let took = begun.elapsed();
        let kept = count as u128 * 1_000_000 >= u128::from(RATE) * took.as_micros();
        if took >= TIME && kept {
            return (count, took);
        }
        assert!(
            took < BUSY,
            "{count} requests in {took:?}: this machine keeps no pace"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Counts the answers on a connection by status, until the other side has no more.
fn count(stream: TcpStream, answers: &Mutex<BTreeMap<u16, u64>>) {
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        line.clear();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let status = line.get(9..12).and_then(|status| status.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("not an answer: {line:?}"));
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).expect("a whole head");
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().expect("a number");
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body).expect("a whole body");
        *answers
            .lock()
            .expect("nobody fails")
            .entry(status)
            .or_default() += 1;
    }
}

#[test]
fn ten_thousand_requests_a_second_on_the_api_leave_packet_loss_at_zero() {
    let mut lab = Lab::gateway("apirate");
    let client = lab.outside(10);
    let web = lab.inside(11);
    let _nginx = Nginx::start(&web);
    let config = lab.config(
        &(snat("")
            + &pool(&[(&web, 1)])
            + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"")),
    );
    // All of them come from one client.
    let limit = "[api]\nrequests_per_second = 1000000\n";
    let config = config.replace("[api]\n", limit);
    assert!(config.contains(limit));
    let sluice = Sluice::start(lab.appliance(), lab.directory(), &config);
    assert!(get(&client, VIP, "/").is_ok());
    web.ok(&["ping", "-c", "1", "-W", "5", "198.51.100.10"]);
    let before = sluice.assert_accounted().total();
    let (sent, answers) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
    let answered = || answers.lock().expect("nobody fails").values().sum::<u64>();
    let streams: Vec<TcpStream> = lab.appliance().inside(|| {
        let streams = (0..CONNECTIONS).map(|_| connect());
        streams.collect()
    });
    let ends: Vec<TcpStream> = streams
        .iter()
        .map(|stream| stream.try_clone().expect("another handle"))
        .collect();
    let begun = Instant::now();
    let ((count, took), ping, failures, all) = std::thread::scope(|scope| {
        for stream in &ends {
            let stream = stream.try_clone().expect("another handle");
            scope.spawn(|| count(stream, &answers));
        }
        let offered = scope.spawn(|| offer(streams, &sent));
        wait::expect("the flood to begin", || sent.load(Ordering::Relaxed) > 0);
        let ping = scope.spawn(|| {
            let ping = [
                "ping",
                "-i",
                "0.01",
                "-c",
                "400",
                "-W",
                "5",
                "198.51.100.10",
            ];
            web.ok(&ping)
        });
        let vip = SocketAddr::new(VIP.parse().expect("an address"), 80);
        let load = Load::start(client.namespace(), 2, vip, "/", Duration::from_millis(20));
        let offered = offered.join().expect("the requests are sent");
        let ping = ping.join().expect("ping");
        load.run_for(10);
        let failures = load.finish().failures;
        let all = wait::until(BUSY, || match answered() {
            all if all == offered.0 => Ok(()),
            some => Err(some),
        });
        let answered_in = begun.elapsed();
        for stream in &ends {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        let per_second = |took: Duration| offered.0 as f64 / took.as_secs_f64();
        println!(
            "{:.0} requests/s offered for {:.1} s, and answered within {:.1} s: {:.0}/s",
            per_second(offered.1),
            offered.1.as_secs_f64(),
            answered_in.as_secs_f64(),
            per_second(answered_in)
        );
        (offered, ping, failures, all)
    });
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!(all, Ok(()), "of {count} requests");
    assert!(count as u128 * 1_000_000 >= u128::from(RATE) * took.as_micros());
    let answers = answers.into_inner().expect("nobody fails");
    assert_eq!(answers, BTreeMap::from([(200, count)]));
    assert!(ping.contains("400 received, 0% packet loss"), "{ping}");
    let mut dropped = sluice.assert_accounted().total().dropped;
    for (reason, count) in before.dropped {
        *dropped.entry(reason).or_default() -= count;
    }
    dropped.retain(|why, count| why != "multicast" && *count > 0);
    assert!(dropped.is_empty(), "{dropped:?}");
}
