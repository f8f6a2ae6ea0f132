use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::sync::mpsc;
use std::time::Instant;

use tokio_rustls::rustls::crypto::ring as provider;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::config::{Config, Source};
use crate::testing::WHOLE;

/// As a configuration has it.
fn servers(section: &str) -> Log {
    let (before, _) = WHOLE.split_once("[log]").expect("a section");
    let text = format!("{before}\n{section}");
    let config = Config::read(Source::toml(text)).unwrap_or_else(|why| panic!("{why}"));
    config.log
}

fn syslog(server: impl ToString, transport: &str) -> Log {
    let server = server.to_string();
    servers(&format!(
        "[[log.syslog]]\nname = \"collector\"\nserver = \"{server}\"\n{transport}\nlevel = \"warn\"\n"
    ))
}

/// Runs with everything that this thread logs going to `logs`.
fn logging<T>(logs: &Logs, run: impl FnOnce() -> T) -> T {
    let subscriber = tracing_subscriber::registry().with(logs.layer());
    tracing::subscriber::with_default(subscriber, run)
}

#[track_caller]
fn until(logs: &Logs, wanted: impl Fn(&SyslogState) -> bool) -> SyslogState {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let state = logs.servers().remove(0);
        if wanted(&state) {
            return state;
        }
        assert!(Instant::now() < end, "{state:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// One message of a stream with octet counting.
fn frame(stream: &mut impl BufRead) -> String {
    let mut length = Vec::new();
    stream.read_until(b' ', &mut length).expect("a length");
    let length = String::from_utf8(length).expect("digits");
    let mut message = vec![0; length.trim().parse().expect("a number")];
    stream.read_exact(&mut message).expect("a message");
    String::from_utf8(message).expect("UTF-8")
}

#[test]
fn the_latest_lines_are_remembered_by_level() {
    let logs = Logs::default();
    logging(&logs, || {
        for n in 0..ring::REMEMBERED + 3 {
            tracing::info!(n, name = "x", "line {n}");
        }
        tracing::error!("bad");
    });
    let all = logs.lines().after(0, Level::Trace, usize::MAX);
    assert_eq!((all.len(), all[0].id), (ring::REMEMBERED, 5));
    assert_eq!(all[0].message, "line 4");
    assert_eq!(all[0].fields["n"], 4);
    assert_eq!(all[0].fields["name"], "x");
    let bad = logs.lines().latest_of(Level::Warn, 10);
    assert_eq!((bad.len(), bad[0].message.as_str()), (1, "bad"));
    let last: Vec<u64> = logs
        .lines()
        .latest_of(Level::Info, 2)
        .iter()
        .map(|l| l.id)
        .collect();
    assert_eq!(last, [2003, 2004]);
    logging(&logs, || tracing::info!("{}", "ä".repeat(9000)));
    let long = logs.lines().latest_of(Level::Info, 1);
    assert!(long[0].message.len() <= 4100);
}

#[test]
fn datagrams_arrive_and_what_is_less_bad_stays_here() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    let logs = Logs::default();
    logs.apply(&syslog(socket.local_addr().expect("it"), ""), "lab");
    logging(&logs, || {
        tracing::info!("not for syslog");
        tracing::warn!(port = "wan", "link is down");
    });
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).expect("a datagram");
    let message = String::from_utf8_lossy(&buffer[..length]);
    assert!(message.starts_with("<132>1 2"), "{message}");
    assert!(
        message.ends_with(" [fields@32473 port=\"wan\"] link is down"),
        "{message}"
    );
    let state = until(&logs, |state| state.counts.sent == 1);
    assert!(state.connected);
}

#[test]
fn a_server_that_is_away_gets_later_what_there_is_room_for_and_hears_of_the_rest() {
    // A port that nobody listens at.
    let place = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = place.local_addr().expect("its address");
    drop(place);
    let logs = Logs::default();
    logs.apply(&syslog(address, "transport = \"tcp\""), "lab");
    let began = Instant::now();
    logging(&logs, || {
        for n in 0..sender::WAITING + 100 {
            tracing::warn!("line {n}");
        }
    });
    // Nobody waited for the server.
    assert!(began.elapsed() < Duration::from_secs(20));
    let state = until(&logs, |state| state.error.is_some());
    assert!(!state.connected);
    let lost = state.counts.lost;
    assert!((99..=100).contains(&lost), "{lost}");
    let listener = TcpListener::bind(address).expect("the same port");
    let (stream, _) = listener.accept().expect("it comes back");
    let mut stream = BufReader::new(stream);
    let first = frame(&mut stream);
    assert!(first.contains(&format!("lost=\"{lost}\"")), "{first}");
    for n in 0..sender::WAITING {
        let message = frame(&mut stream);
        assert!(message.ends_with(&format!(" line {n}")), "{n}: {message}");
    }
    let sent = sender::WAITING as u64 + 100 - lost;
    until(&logs, |state| state.counts.sent == sent);
    // The server is restarted: the next line goes over another connection.
    drop(stream);
    until(&logs, |state| state.waiting == 0);
    let (got, next) = mpsc::channel();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("again");
        let mut stream = BufReader::new(stream);
        // Either is the first line that was written after the other connection was gone.
        while got.send(frame(&mut stream)).is_ok() {}
    });
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        logging(&logs, || tracing::warn!("after"));
        match next.recv_timeout(Duration::from_millis(50)) {
            Ok(message) => break assert!(message.ends_with(" after"), "{message}"),
            Err(_) => assert!(Instant::now() < end, "{:?}", logs.servers()),
        }
    }
}

#[test]
fn a_server_that_refuses_datagrams_is_left_alone_for_a_while() {
    // A port that nobody listens at: what was sent is refused when the next one is.
    let place = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = place.local_addr().expect("its address");
    drop(place);
    let logs = Logs::default();
    logs.apply(&syslog(address, ""), "lab");
    logging(&logs, || {
        for n in 0..200 {
            tracing::warn!("line {n}");
        }
    });
    let state = until(&logs, |state| state.error.is_some());
    assert!(!state.connected);
    // Opening and breaking at once, it would have sent them all by now, and its own words without end.
    std::thread::sleep(Duration::from_millis(300));
    let state = logs.servers().remove(0);
    assert!(state.waiting > 190, "{state:?}");
    // Once somebody listens, all that wait come.
    let _place = UdpSocket::bind(address).expect("the same port");
    let state = until(&logs, |state| state.waiting == 0);
    assert!(state.connected, "{state:?}");
}

#[test]
fn lines_go_under_tls_to_a_server_that_is_trusted_and_to_no_other() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("another");
    let directory = tempfile::tempdir().expect("a directory");
    let (ca, wrong) = (
        directory.path().join("ca.pem"),
        directory.path().join("wrong.pem"),
    );
    std::fs::write(&ca, made.cert.pem()).expect("room");
    std::fs::write(&wrong, other.cert.pem()).expect("room");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("they fit");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let config = Arc::new(config);
    let (got, next) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("good");
            let mut stream =
                BufReader::new(StreamOwned::new(connection, stream.expect("a connection")));
            // Whoever does not trust us leaves in the handshake.
            while stream.fill_buf().is_ok_and(|bytes| !bytes.is_empty()) {
                if got.send(frame(&mut stream)).is_err() {
                    return;
                }
            }
        }
    });
    let tls = |ca: &std::path::Path| {
        syslog(
            address,
            &format!("transport = \"tls\"\nca = \"{}\"", ca.display()),
        )
    };
    let logs = Logs::default();
    logs.apply(&tls(&wrong), "lab");
    logging(&logs, || tracing::error!("not to be told"));
    let state = until(&logs, |state| state.error.is_some());
    assert!(state.error.is_some_and(|why| why.contains("certificate")));
    logs.apply(&tls(&ca), "lab");
    logging(&logs, || tracing::error!(count = 7, "told"));
    let message = next
        .recv_timeout(Duration::from_secs(20))
        .expect("it comes");
    assert!(
        message.ends_with(" [fields@32473 count=\"7\"] told"),
        "{message}"
    );
    // Whatever waits is sent before the end.
    logging(&logs, || tracing::error!("last words"));
    logs.finish(Duration::from_secs(20));
    let message = next
        .recv_timeout(Duration::from_secs(20))
        .expect("it comes");
    assert!(message.ends_with(" - last words"), "{message}");
}

#[test]
fn the_level_follows_while_lines_come() {
    let logs = Logs::default();
    assert_eq!(logs.level(), None);
    let parsed = |text: &str| text.parse::<Directives>().expect("good");
    let subscriber = tracing_subscriber::registry()
        .with(logs.filter(&parsed("warn")))
        .with(logs.layer());
    let ours = "sluice_control::logs::tests";
    tracing::subscriber::with_default(subscriber, || {
        // One place in the code: what it was told before must not stick.
        let say = |text: &str| tracing::debug!("{text}");
        let set = |text: &str| logs.set_level(parsed(text), None).expect("a filter");
        say("1");
        set("debug");
        say("2");
        set(&format!("error,{ours}=trace"));
        say("3");
        tracing::info!(target: "sluice", "4");
        let (level, turn) = set(&format!("trace,{ours}=off"));
        assert_eq!(level.at_start, "warn");
        say("5");
        tracing::trace!(target: "sluice", "6");
        // Whoever carries lines must not make more of them.
        tracing::debug!(target: "h2::codec", "7");
        tracing::info!(target: "h2::codec", "8");
        let (_, later) = set("debug");
        assert!(!logs.end_level(turn), "it was set again");
        say("9");
        assert!(logs.end_level(later));
        say("10");
        tracing::warn!("11");
    });
    let lines = logs.lines().after(0, Level::Trace, 100);
    let said: Vec<&str> = lines.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(said, ["2", "3", "6", "8", "9", "11"]);
    let level = logs.level().expect("a filter");
    assert_eq!(
        (level.directives.as_str(), level.seconds_left),
        ("warn", None)
    );
    assert_eq!(
        logs.set_level(parsed("info"), None),
        Err(Fixed),
        "nobody logs"
    );
}
