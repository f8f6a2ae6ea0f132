//! As much of an HTTP client as asking nginx and Sluice's API needs: one request a connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 200 is good.
    pub status: u16,
    /// Exactly as long as the server said.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// How long each of connecting, writing and reading may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends one request on a connection of its own.
///
/// # Errors
/// Says what failed: connecting, sending, receiving, or an answer that is not HTTP or cut short.
pub fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    body: &[u8],
) -> Result<Response, String> {
    send(server, method, path, "", body)
}

/// [`request`] with more headers: whole lines, each with its end.
///
/// # Errors
/// As [`request`].
pub fn send(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> Result<Response, String> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    exchange(server, &[head.as_bytes(), body].concat())
}

/// GET by HTTP/1.0, for servers that else would send in chunks.
///
/// # Errors
/// As [`request`].
pub fn request_1_0(server: SocketAddr, path: &str) -> Result<Response, String> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n");
    exchange(server, request.as_bytes())
}

fn exchange(server: SocketAddr, request: &[u8]) -> Result<Response, String> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)
        .map_err(|why| format!("connect to {server}: {why}"))?;
    let told = |what: &str| {
        let what = what.to_owned();
        move |why: std::io::Error| format!("{what}: {why}")
    };
    stream
        .set_read_timeout(Some(PATIENCE))
        .map_err(told("timeout"))?;
    stream
        .set_write_timeout(Some(PATIENCE))
        .map_err(told("timeout"))?;
    let local = stream.local_addr().map_err(told("local address"))?;
    stream.write_all(request).map_err(told("send"))?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => parse(&answer),
        Err(why) if why.kind() == ErrorKind::WouldBlock => Err(format!(
            "{local}: no end of the answer within {PATIENCE:?}, {} bytes in",
            answer.len()
        )),
        Err(why) => Err(format!("receive, {} bytes in: {why}", answer.len())),
    }
}

/// GET.
///
/// # Errors
/// As [`request`].
pub fn get(server: SocketAddr, path: &str) -> Result<Response, String> {
    request(server, "GET", path, &[])
}

fn parse(answer: &[u8]) -> Result<Response, String> {
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or_else(|| format!("{} bytes without an HTTP header", answer.len()))?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let body = &answer[end + 4..];
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| format!("no status in {head:?}"))?;
    let announced = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    match announced {
        Some(length) if length != body.len() => {
            Err(format!("{} bytes of a body of {length}", body.len()))
        }
        _ => Ok(Response {
            status,
            body: body.to_vec(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Response, parse};

    #[test]
    fn an_answer_cut_short_is_an_error_not_a_shorter_answer() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nweb1";
        assert_eq!(
            parse(whole),
            Ok(Response {
                status: 200,
                body: b"web1".to_vec()
            })
        );
        assert_eq!(
            parse(&whole[..whole.len() - 1]),
            Err("3 bytes of a body of 4".to_owned())
        );
        assert!(parse(&whole[..20]).is_err());
    }
}
