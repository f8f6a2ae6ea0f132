//! gRPC: `grpc.health.v1.Health/Check` answers that the service is serving
//! (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).

use std::net::SocketAddr;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use super::http::{Driver, of_hyper};
use super::probe::Tools;
use super::{Failure, Reason, checker, tcp, tls};
use crate::config::Grpc;

/// Bytes of an answer that are read.
const MOST: usize = 4096;

pub(super) async fn check(
    address: SocketAddr,
    asked: &Grpc,
    host: Option<&str>,
    tools: &Tools,
) -> Result<(), Failure> {
    let stream = tcp::connect(address).await?;
    match &asked.tls {
        None => call(stream, "http", address, asked, host).await,
        Some(tls) => {
            let name = host
                .or(tls.server_name.as_deref())
                .or(asked.host.as_deref());
            let stream = tls::handshake(stream, address, tls, name, tools, true).await?;
            call(stream, "https", address, asked, host).await
        }
    }
}

async fn call<S>(
    stream: S,
    scheme: &str,
    address: SocketAddr,
    asked: &Grpc,
    host: Option<&str>,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(stream);
    let connected = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
    let (mut sender, connection) = connected.map_err(of_hyper)?;
    let _driver = Driver(tokio::spawn(async {
        let _ = connection.await;
    }));
    let own = address.to_string();
    let authority = host.or(asked.host.as_deref()).unwrap_or(&own);
    let request = Request::post(format!(
        "{scheme}://{authority}/grpc.health.v1.Health/Check"
    ))
    .header("content-type", "application/grpc")
    .header("te", "trailers")
    .header("user-agent", "sluice-health")
    .body(Full::new(question(&asked.service)))
    .map_err(checker::unprepared)?;
    let response = sender.send_request(request).await.map_err(of_hyper)?;
    let (head, body) = response.into_parts();
    if head.status != 200 {
        return Err(Failure::new(
            Reason::Status,
            format_args!("HTTP status {}", head.status),
        ));
    }
    status(&head.headers)?;
    let body = Limited::new(body, MOST).collect().await;
    let body = body.map_err(|error| Failure::new(Reason::Protocol, error))?;
    match body.trailers() {
        Some(trailers) => status(trailers)?,
        None => {
            return Err(Failure::new(
                Reason::Protocol,
                "no trailers with a gRPC status",
            ));
        }
    }
    judge(&body.to_bytes())
}

/// A `HealthCheckRequest`, whose one field is the service's name, behind gRPC's prefix: not compressed,
/// and its length.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        // Field 1, a text.
        message.push(1 << 3 | LENGTH_DELIMITED);
        varint(service.len() as u64, &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let length = (message.len() as u32).to_be_bytes();
    [&[0][..], &length, &message].concat().into()
}

/// Wire types of protocol buffers.
const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const FIXED_32: u8 = 5;

fn varint(mut value: u64, to: &mut Vec<u8>) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// A varint, and what follows it.
fn take_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

/// `status` of a `HealthCheckResponse`: field 1, and 0 where it is absent. `None` if it is no message.
fn status_of(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let (key, rest) = take_varint(message)?;
        let skip = match key as u8 & 7 {
            VARINT => {
                let (value, rest) = take_varint(rest)?;
                if key >> 3 == 1 {
                    status = value;
                }
                message = rest;
                continue;
            }
            FIXED_64 => 8,
            FIXED_32 => 4,
            LENGTH_DELIMITED => {
                let (length, behind) = take_varint(rest)?;
                message = behind.get(usize::try_from(length).ok()?..)?;
                continue;
            }
            _ => return None,
        };
        message = rest.get(skip..)?;
    }
    Some(status)
}

/// What `grpc-status` says, if it is there.
fn status(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some(code) => {
            let message = text("grpc-message").unwrap_or_default();
            Err(Failure::new(
                Reason::Status,
                format_args!("gRPC status {code} {message}"),
            ))
        }
    }
}

fn judge(body: &[u8]) -> Result<(), Failure> {
    let wrong = |why: &str| Failure::new(Reason::Protocol, why);
    let (prefix, message) = body
        .split_at_checked(5)
        .ok_or_else(|| wrong("no message"))?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    if prefix[0] != 0 || length as usize != message.len() {
        return Err(wrong("a message of another length, or compressed"));
    }
    // `HealthCheckResponse.ServingStatus`
    let text = match status_of(message).ok_or_else(|| wrong("no HealthCheckResponse"))? {
        1 => return Ok(()),
        0 => "UNKNOWN",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "a status that there is not",
    };
    Err(Failure::new(Reason::Status, text))
}
