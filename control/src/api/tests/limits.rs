//! A body has a limit, whether or not it says how long it is.

use super::super::MAX_BODY;
use super::*;

/// How a body says how long it is.
#[derive(Clone, Copy, Debug)]
enum Framing {
    /// Before it comes, of which nothing is sent here if it is too long.
    Length,
    /// Not before it is over (RFC 9112, section 7.1).
    Chunks,
}

/// Sends so many bytes. Of chunks that are too many, what comes behind the last byte that is taken is not
/// sent: the server would not read it, and reset the connection under its own answer.
fn send(lab: &Lab, framing: Framing, request: (&str, &str), length: usize) -> Response {
    let (line, kind) = request;
    let mut text = format!(
        "{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {kind}\r\n",
        lab.address
    );
    let fits = length <= MAX_BODY;
    match framing {
        Framing::Length => {
            text += &format!("Content-Length: {length}\r\n\r\n");
            text += &" ".repeat(if fits { length } else { 0 });
        }
        Framing::Chunks => {
            text += "Transfer-Encoding: chunked\r\n\r\n";
            let most = length.min(MAX_BODY);
            text += &format!("{most:x}\r\n{}\r\n", " ".repeat(most));
            text += &match fits {
                true => "0\r\n\r\n".to_owned(),
                false => format!("{:x}\r\n{}", length - most, " ".repeat(length - most)),
            };
        }
    }
    lab.raw(&text)
}

#[test]
fn a_body_is_as_long_as_the_limit_and_no_longer() {
    let lab = lab();
    let before = lab.get("/api/v1/config").tag();
    for request in [
        ("PUT /api/v1/config", "application/toml"),
        ("PATCH /api/v1/config", "application/merge-patch+json"),
        ("PATCH /api/v1/config/pool/web", "application/json"),
        ("PUT /api/v1/candidate", "application/toml"),
        ("POST /api/v1/trace", "application/json"),
    ] {
        for framing in [Framing::Length, Framing::Chunks] {
            let about = format!("{} {framing:?}", request.0);
            let refused = send(&lab, framing, request, MAX_BODY + 1);
            assert_eq!(refused.status, 413, "{about}: {}", refused.body);
            let kind = "content-type: application/problem+json";
            assert!(refused.head.contains(kind), "{about}: {}", refused.head);
            let wanted = json!({
                "type": "urn:sluice:problem:too-large",
                "title": "The body is too large",
                "status": 413,
                "detail": "it may have 8388608 bytes",
            });
            assert_eq!(refused.json(), wanted, "{about}");
            // As long as may be: read, and found to be nothing but blanks.
            let read = send(&lab, framing, request, MAX_BODY);
            let wrong = [400, 422].contains(&read.status);
            let candidate =
                request.0 == "PUT /api/v1/candidate" && [200, 201].contains(&read.status);
            assert!(wrong || candidate, "{about}: {} {}", read.status, read.body);
        }
    }
    assert_eq!(lab.get("/api/v1/config").tag(), before);
}
