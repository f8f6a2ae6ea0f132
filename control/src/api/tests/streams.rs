//! Streams: they end with the rights of those who read them, and nobody takes them all.

use socket2::{Domain, Socket, Type};

use super::access::guarded_with;
use super::*;
use crate::security::Role;

/// Asks for a stream, and reads its head.
fn open(lab: &Lab, secret: &str, request: &str, body: &str) -> TcpStream {
    let stream = TcpStream::connect(lab.address).expect("it listens");
    begin(lab, stream, secret, request, body).1
}

/// The status, and the stream behind its head.
pub(super) fn begin(
    lab: &Lab,
    mut stream: TcpStream,
    secret: &str,
    request: &str,
    body: &str,
) -> (u16, TcpStream) {
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).expect("a timeout");
    let request = format!(
        "{request} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {secret}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        lab.address,
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("it answers");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    (status.expect("a status"), stream)
}

/// Reads to the end. False if what came is whole.
fn is_cut_off(stream: &mut TcpStream) -> bool {
    let (mut last, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return !last.ends_with(b"0\r\n\r\n"),
            Ok(read) => {
                last.extend_from_slice(&piece[..read]);
                let old = last.len().saturating_sub(8);
                last.drain(..old);
            }
            Err(why) => {
                assert_eq!(why.kind(), std::io::ErrorKind::ConnectionReset, "{why}");
                return true;
            }
        }
    }
}

#[test]
fn a_stream_ends_with_the_rights_of_its_reader() {
    // A list of sessions that nobody reads to its end meanwhile.
    let guarded = guarded_with(WHOLE, |workers| workers[0].invented = 1_000_000);
    let lab = &guarded.lab;
    let admin = |method: &str, path: &str, body: Value| {
        let answer = lab.with(&guarded.admin, method, path, &body.to_string());
        assert!(answer.status < 300, "{path}: {}", answer.body);
        serde_json::from_str::<Value>(&answer.body).unwrap_or_default()
    };
    let token = |user: &str| {
        let wanted = json!({ "name": "t", "user": user, "role": Role::Operator, "seconds": 600 });
        let token = admin("POST", "/api/v1/tokens", wanted);
        let text = |key: &str| token[key].as_str().expect("text").to_owned();
        (text("token"), text("id"))
    };
    let long = json!({ "seconds": 3600 });
    admin("POST", "/api/v1/captures", long.clone());
    let (secret, id) = token("admin");
    let mut streams = Vec::new();
    for (request, body) in [
        ("GET /api/v1/events/stream", ""),
        ("GET /api/v1/logs/stream", ""),
        ("GET /api/v1/sessions/stream", ""),
        ("GET /api/v1/captures/1/packets?follow=true", ""),
        ("POST /api/v1/captures/stream", long.to_string().as_str()),
    ] {
        streams.push((request, open(lab, &secret, request, body)));
    }
    let events = "GET /api/v1/events/stream";
    let login = lab.login("admin", super::access::ADMIN);
    streams.push(("logout", open(lab, &login, events, "")));
    let (old, new) = ("another long password", "a third long password");
    let user = json!({ "role": "operator", "password": old });
    admin("PUT", "/api/v1/users/olga", user);
    let change = json!({ "old": old, "new": new }).to_string();
    let first = lab.login("olga", old);
    let changed = lab.with(&first, "PUT", "/api/v1/password", &change);
    assert_eq!(changed.status, 204, "{}", changed.body);
    let (olga, _) = token("olga");
    streams.push(("no user", open(lab, &olga, events, "")));
    let reading = guarded.token(Role::Viewer);
    let mut stays = open(lab, &reading, events, "");

    admin("DELETE", &format!("/api/v1/tokens/{id}"), Value::Null);
    let out = lab.with(&login, "POST", "/api/v1/logout", "");
    assert_eq!(out.status, 204, "{}", out.body);
    admin("DELETE", "/api/v1/users/olga", Value::Null);
    for (what, stream) in &mut streams {
        assert!(is_cut_off(stream), "{what}");
    }
    // Its capture is over with it.
    for _ in 0..600 {
        if lab
            .with(&guarded.admin, "GET", "/api/v1/captures/2", "")
            .status
            == 404
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let gone = lab.with(&guarded.admin, "GET", "/api/v1/captures/2", "");
    assert_eq!(gone.status, 404, "{}", gone.body);
    stays.set_nonblocking(true).expect("no reason why not");
    let mut piece = [0; 4096];
    loop {
        match stays.read(&mut piece) {
            Ok(read) => assert!(read > 0, "who may still read does"),
            Err(why) => {
                assert_eq!(why.kind(), std::io::ErrorKind::WouldBlock, "{why}");
                break;
            }
        }
    }
}

/// A connection from another address of the loopback.
fn connect_from(lab: &Lab, from: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let here: SocketAddr = from.parse().expect("an address");
    socket.bind(&here.into()).expect("it is free");
    socket.connect(&lab.address.into()).expect("it listens");
    socket.into()
}

#[test]
fn one_client_does_not_take_all_streams() {
    for path in ["events", "logs"] {
        let lab = lab();
        let request = format!("GET /api/v1/{path}/stream");
        let ask = |from| begin(&lab, connect_from(&lab, from), "", &request, "");
        let mut taken = Vec::new();
        let status = loop {
            let (status, stream) = ask("127.0.0.1:0");
            if status != 200 {
                break status;
            }
            taken.push(stream);
        };
        assert_eq!((taken.len(), status), (8, 503), "{path}");
        let (status, _other) = ask("127.0.0.2:0");
        assert_eq!(status, 200, "{path}");
        taken.pop();
        let again = (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            ask("127.0.0.1:0").0 == 200
        });
        assert!(again, "the place of who leaves is free");
    }
}
