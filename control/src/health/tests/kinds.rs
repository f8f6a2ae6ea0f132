//! Each kind of check: who is up, and why others are not.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::tempdir;

use tokio::sync::Semaphore;

use super::super::checker::watch;
use super::super::script::Scripts;
use super::programs::*;
use super::*;

#[test]
fn http_and_tls_are_checked_against_nginx() {
    let home = tempdir().expect("a directory");
    let (plain, secure) = (free_port(), free_port());
    let _nginx = nginx(home.path(), plain, secure);
    let ca = format!("ca_file = '{}'\n", home.path().join("cert.pem").display());
    let good = "path = '/health'\nhost = 'www.example.com'\nbody = 'is ready'\nstatus = 200\n";
    let http = |keys: &str| check(&format!("type = 'http'\n{keys}"), plain);
    assert_eq!(http(good), Ok(()));
    assert_eq!(
        http("path = '/health'"),
        Err(Reason::Status),
        "another host"
    );
    assert_eq!(http("path = '/broken'"), Err(Reason::Status));
    assert_eq!(http("path = '/broken'\nstatus = '500-599'"), Ok(()));
    assert_eq!(http("path = '/moved'"), Ok(()), "200 to 399");
    assert_eq!(
        http("path = '/moved'\nstatus = [200, 204]"),
        Err(Reason::Status)
    );
    assert_eq!(
        http(&good.replace("is ready", "is lost")),
        Err(Reason::Content)
    );
    assert_eq!(
        http("method = 'HEAD'\npath = '/health'\nhost = 'www.example.com'"),
        Ok(())
    );

    let https = |keys: &str| check(&format!("type = 'https'\n{keys}"), secure);
    assert_eq!(https(good), Ok(()), "any certificate will do");
    assert_eq!(
        https(&format!("{good}{ca}")),
        Ok(()),
        "signed, and for this name"
    );
    assert_eq!(
        https(&format!("{good}{ca}server_name = 'www.example.net'")),
        Err(Reason::Tls)
    );
    let other = "ca_file = '/etc/ssl/certs/no-such-file.pem'";
    assert_eq!(https(&format!("{good}{other}")), Err(Reason::Local));
    assert_eq!(
        check(&format!("type = 'https'\n{good}"), plain),
        Err(Reason::Tls),
        "no TLS there"
    );
    assert_eq!(
        check(&format!("type = 'http'\n{good}"), secure),
        Err(Reason::Status),
        "nginx's 400"
    );

    let tls = |keys: &str, port| check(&format!("type = 'tls'\n{keys}"), port);
    assert_eq!(tls("", secure), Ok(()));
    assert_eq!(
        tls(&format!("{ca}server_name = 'www.example.com'"), secure),
        Ok(())
    );
    assert_eq!(
        tls(&ca, secure),
        Err(Reason::Tls),
        "the certificate has no address"
    );
    assert_eq!(tls("", plain), Err(Reason::Tls));
}

#[test]
fn tls_is_checked_against_openssl_with_an_older_version() {
    let home = tempdir().expect("a directory");
    let port = free_port();
    let _server = openssl(home.path(), port);
    assert_eq!(check("type = 'tls'", port), Ok(()));
}

#[test]
fn names_are_asked_of_dnsmasq() {
    let port = free_port();
    let _dnsmasq = dnsmasq(port);
    let dns = |keys: &str| check(&format!("type = 'dns'\n{keys}"), port);
    assert_eq!(dns("query = 'www.example.com'"), Ok(()));
    assert_eq!(
        dns("query = 'www.example.com.'\nanswer = '192.0.2.1'"),
        Ok(())
    );
    assert_eq!(
        dns("query = 'www.example.com'\nanswer = '192.0.2.2'"),
        Err(Reason::Content)
    );
    assert_eq!(
        dns("query = 'www.example.net'"),
        Err(Reason::Status),
        "REFUSED"
    );
    // A server of something else.
    let asked = "type = 'dns'\nquery = 'a.example'";
    assert_eq!(
        check(asked, echo(|_| ())),
        Err(Reason::Protocol),
        "the question itself"
    );
    let answered = echo(|datagram| datagram[2] |= 0x80);
    assert_eq!(
        check(asked, answered),
        Ok(()),
        "an answer without records, and without error"
    );
    let other = echo(|datagram| {
        datagram[2] |= 0x80;
        datagram[13] = b'b';
    });
    assert_eq!(
        check(asked, other),
        Err(Reason::Protocol),
        "to another question"
    );
    let garbage = echo(|datagram| datagram[4..].fill(0xff));
    assert_eq!(check(asked, garbage), Err(Reason::Protocol));
}

#[test]
fn datagrams_are_answered_or_not() {
    let echo = shouting_echo();
    let udp = |keys: &str, port| check(&format!("type = 'udp'\nsend = 'ping'\n{keys}"), port);
    assert_eq!(udp("", echo), Ok(()));
    assert_eq!(udp("expect = 'PING'", echo), Ok(()));
    assert_eq!(udp("expect = 'hex:50494e47'", echo), Ok(()));
    assert_eq!(udp("expect = 'ping'", echo), Err(Reason::Content));
    assert_eq!(udp("", free_port()), Err(Reason::Refused));
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    assert_eq!(udp("", port), Err(Reason::Timeout), "silence");
}

/// What comes too late for one check must not pass for the answer to the next.
#[test]
fn a_late_answer_is_none() {
    late_answers("type = 'dns'\nquery = 'www.example.com'");
    late_answers("type = 'udp'\nsend = 'ping'");
}

fn late_answers(keys: &str) {
    let late = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = late.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        let mut askers = Vec::new();
        // The first question is answered when the second comes, and only with the first's answer.
        while let Ok((length, from)) = late.recv_from(&mut buffer) {
            askers.push((buffer[..length].to_vec(), from));
            if let [(first, to), _] = &askers[..] {
                let _ = late.send_to(first, to);
            }
        }
    });
    let keys = format!("{keys}\ntimeout = '300ms'");
    let tools = Arc::new(Tools::default());
    let results = checks(&target(&keys, at(port)), &tools, 2);
    let reasons: Vec<_> = results
        .into_iter()
        .map(|it| it.map_err(|it| it.reason))
        .collect();
    assert_eq!(reasons, [Err(Reason::Timeout), Err(Reason::Timeout)]);
}

#[test]
fn connections_are_taken_and_bring_what_they_should() {
    let banner = answers(b"220 mail.example.com ESMTP\r\n");
    let tcp = |keys: &str, port| check(&format!("type = 'tcp'\n{keys}"), port);
    assert_eq!(tcp("", banner), Ok(()));
    assert_eq!(tcp("send = \"QUIT\\r\\n\"", banner), Ok(()));
    assert_eq!(tcp("send = 'x'\nexpect = 'ESMTP'", banner), Ok(()));
    assert_eq!(
        tcp("send = 'x'\nexpect = 'IMAP'", banner),
        Err(Reason::Content)
    );
    assert_eq!(tcp("", free_port()), Err(Reason::Refused));
}

#[test]
fn who_hangs_resets_or_lies_is_down() {
    let (hangs, resets) = (hangs(), resets());
    for kind in ["http", "https", "tls", "grpc"] {
        let keys = format!("type = '{kind}'");
        assert_eq!(check(&keys, hangs), Err(Reason::Timeout), "{kind} hangs");
        let reset = check(&keys, resets);
        assert!(
            matches!(reset, Err(Reason::Closed)),
            "{kind} is reset: {reset:?}"
        );
        let lies = check(&keys, answers(b"I speak something else\r\n\r\n"));
        assert!(
            matches!(lies, Err(Reason::Protocol | Reason::Tls | Reason::Closed)),
            "{kind} lies: {lies:?}"
        );
        assert_eq!(
            check(&keys, free_port()),
            Err(Reason::Refused),
            "{kind} is not there"
        );
    }
    let expect = "type = 'tcp'\nsend = 'x'\nexpect = 'y'";
    assert_eq!(check(expect, hangs), Err(Reason::Timeout));
    assert_eq!(check(expect, resets), Err(Reason::Closed));
    let cut = answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort");
    assert_eq!(
        check("type = 'http'\nbody = 'end'", cut),
        Err(Reason::Closed),
        "a body cut short"
    );
    let endless = listener(|mut stream| {
        use std::io::{Read, Write};
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'.'; 4096]).is_ok() {}
    });
    assert_eq!(
        check("type = 'http'\nbody = 'end'", endless),
        Err(Reason::Content)
    );
}

/// A gRPC health service on HTTP/2: each service has a status; others are unknown (gRPC status 5).
fn grpc_server() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    listener.set_nonblocking(true).expect("a socket");
    std::thread::spawn(move || {
        runtime().block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let service = service_fn(answer);
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
    });
    port
}

async fn answer(
    request: Request<hyper::body::Incoming>,
) -> hyper::Result<Response<http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>>>
{
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    assert_eq!(request.headers()["te"], "trailers");
    let body = request.into_body().collect().await?.to_bytes();
    let service = body.get(7..).unwrap_or_default();
    // A message of the field `status`, as a varint.
    let message: Option<&[u8]> = match service {
        b"" | b"shop.Cart" => Some(&[0, 0, 0, 0, 2, 8, 1]),
        b"shop.Closed" => Some(&[0, 0, 0, 0, 2, 8, 2]),
        b"shop.Silent" => Some(&[0, 0, 0, 0, 0]),
        b"shop.Torn" => Some(&[0, 0, 0, 0, 9, 8]),
        _ => None,
    };
    let mut trailers = HeaderMap::new();
    let code = if message.is_some() { "0" } else { "5" };
    trailers.insert("grpc-status", code.parse().expect("a value"));
    let body = Full::new(Bytes::from_static(message.unwrap_or_default()));
    let body = body.with_trailers(async { Some(Ok(trailers)) }).boxed();
    let response = Response::builder().header("content-type", "application/grpc");
    Ok(response.body(body).expect("a response"))
}

#[test]
fn grpc_services_are_asked_how_they_are() {
    let port = grpc_server();
    let grpc = |service: &str| check(&format!("type = 'grpc'\nservice = '{service}'"), port);
    assert_eq!(grpc(""), Ok(()));
    assert_eq!(grpc("shop.Cart"), Ok(()));
    assert_eq!(grpc("shop.Closed"), Err(Reason::Status), "NOT_SERVING");
    assert_eq!(grpc("shop.Silent"), Err(Reason::Status), "UNKNOWN");
    assert_eq!(grpc("shop.Nobody"), Err(Reason::Status), "NOT_FOUND");
    assert_eq!(grpc("shop.Torn"), Err(Reason::Protocol));
}

/// Checks with scripts in a directory of their own: name and text.
fn script(name: &str, text: &str, keys: &str) -> Result<(), Failure> {
    let home = tempdir().expect("a directory");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(home.path(), open.clone()).expect("it is ours");
    let path = home.path().join("check");
    std::fs::write(&path, text).expect("room");
    std::fs::set_permissions(&path, open).expect("it is ours");
    let keys = format!("type = 'script'\nscript = '{name}'\ninterval = '5s'\n{keys}");
    let target = target(&keys, at(4711));
    let (ours, theirs) = UnixStream::pair().expect("two sockets");
    let directory = home.path().to_owned();
    let runner = std::thread::spawn(move || run_scripts(theirs, directory, "nobody".to_owned()));
    let result = runtime().block_on(async {
        let scripts = Scripts::new(ours, None).expect("a socket");
        let tools = Arc::new(Tools::new(Some(scripts)));
        within(
            target.check.timeout_ms,
            Probe::new(Attempt::of(&target), &tools).check(),
        )
        .await?;
        // What runs a script can run the next.
        within(
            target.check.timeout_ms,
            Probe::new(Attempt::of(&target), &tools).check(),
        )
        .await
    });
    // It ends when nobody is there to ask it any more.
    runner.join().expect("no panic").expect("an event queue");
    result
}

#[test]
fn scripts_say_by_their_exit_code() {
    let shell = "#!/bin/sh\n";
    let run = |text: &str, keys: &str| script("check", &format!("{shell}{text}"), keys);
    let timeout = "timeout = '5s'\n";
    assert_eq!(run("exit 0", timeout), Ok(()));
    let failed = run("echo 'no disk' >&2; echo noise; exit 3", timeout).expect_err("it says 3");
    assert_eq!(
        (failed.reason, failed.detail.as_str()),
        (Reason::Script, "exit status: 3: no disk")
    );
    let environment =
        "[ $SLUICE_ADDRESS:$SLUICE_PORT = 127.0.0.1:4711 ] && [ -z \"$CARGO_PKG_NAME$HOME\" ]";
    assert_eq!(run(environment, timeout), Ok(()));
    // Arguments go through no shell.
    let arguments = format!("{timeout}arguments = ['a b', '$HOME; exit 1']");
    assert_eq!(
        run(
            "[ \"$1\" = 'a b' ] && [ \"$2\" = '$HOME; exit 1' ]",
            &arguments
        ),
        Ok(())
    );
    let reason = |result: Result<(), Failure>| result.map_err(|it| it.reason);
    assert_eq!(
        reason(script("other", "", timeout)),
        Err(Reason::Local),
        "no such file"
    );
    // Much output neither fills memory nor holds it up.
    assert_eq!(
        run("head -c 1000000 /dev/zero >&2; exit 0", timeout),
        Ok(())
    );
    if nix::unistd::geteuid().is_root() {
        assert_eq!(run("[ $(id -un) = nobody ]", timeout), Ok(()));
    }
}

#[test]
fn a_script_that_hangs_is_killed_with_its_children() {
    let home = tempdir().expect("a directory");
    let note = home.path().join("pids");
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(home.path(), open).expect("it is ours");
    let text = format!(
        "#!/bin/sh\nsleep 600 &\necho $$ $! > {}\nwait\n",
        note.display()
    );
    let failed = script("check", &text, "timeout = '1s'");
    assert_eq!(failed.map_err(|it| it.reason), Err(Reason::Timeout));
    let pids = std::fs::read_to_string(&note).expect("it has run");
    for pid in pids.split_whitespace() {
        wait_for("the end of the script", || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            status.map_or(true, |status| status.contains(") Z "))
        });
    }
}

/// A script that waits for others to end has not hung, and its server is not to blame.
#[test]
fn a_script_that_waits_for_its_turn_is_not_late() {
    let (ours, theirs) = UnixStream::pair().expect("two sockets");
    theirs.set_nonblocking(true).expect("a socket");
    let target = target(
        "type = 'script'\nscript = 'check'\ninterval = '100ms'\ntimeout = '100ms'",
        at(4711),
    );
    let key = Key {
        server: "web/web1".to_owned(),
        check: "it".to_owned(),
    };
    let board = Arc::new(Board::default());
    board.set_rows(std::iter::once((&key, &target)));
    runtime().block_on(async {
        let scripts = Scripts::new(ours, None).expect("a socket");
        let tools = Arc::new(Tools::new(Some(scripts)));
        let turns = &tools.scripts.as_ref().expect("scripts").turns;
        let all = turns.available_permits() as u32;
        let others = turns.acquire_many(all).await.expect("turns");
        let permits = Arc::new(Semaphore::new(1));
        let watched = watch(
            key.clone(),
            target,
            Duration::ZERO,
            Arc::clone(&board),
            Arc::clone(&permits),
            Arc::clone(&tools),
        );
        let watched = tokio::spawn(watched);
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(board.rows()[&key].checks, 0);
        assert_eq!(
            permits.available_permits(),
            1,
            "nor keeps it others waiting"
        );
        drop(others);
        let theirs = tokio::net::UnixStream::from_std(theirs).expect("a socket");
        theirs.readable().await.expect("an order");
        watched.abort();
    });
}
