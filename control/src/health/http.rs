//! HTTP/1.1: a request is answered with the right status, and what the body has to contain.

use std::net::SocketAddr;

use axum::body::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use super::probe::Tools;
use super::{Failure, Reason, tcp, tls};
use crate::config::Http;

/// Bytes of a body that are searched.
const MOST: usize = 65_536;

/// A task that ends with what it serves.
pub(super) struct Driver(pub(super) JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) async fn check(
    address: SocketAddr,
    asked: &Http,
    host: Option<&str>,
    tools: &Tools,
) -> Result<(), Failure> {
    let stream = tcp::connect(address).await?;
    match &asked.tls {
        None => exchange(stream, address, asked, host).await,
        Some(tls) => {
            let name = host
                .or(tls.server_name.as_deref())
                .or(asked.host.as_deref());
            let stream = tls::handshake(stream, address, tls, name, tools, false).await?;
            exchange(stream, address, asked, host).await
        }
    }
}

async fn exchange<S>(
    stream: S,
    address: SocketAddr,
    asked: &Http,
    host: Option<&str>,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connected = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = connected.map_err(of_hyper)?;
    let _driver = Driver(tokio::spawn(async {
        let _ = connection.await;
    }));
    let own = address.to_string();
    let request = Request::builder()
        .method(asked.method)
        .uri(&asked.path)
        .header("host", host.or(asked.host.as_deref()).unwrap_or(&own))
        .header("user-agent", "sluice-health")
        .header("accept", "*/*")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(super::checker::unprepared)?;
    let response = sender.send_request(request).await.map_err(of_hyper)?;
    let status = response.status();
    let right = |&(first, last): &(u16, u16)| (first..=last).contains(&status.as_u16());
    if !asked.status.iter().any(right) {
        return Err(Failure::new(
            Reason::Status,
            format_args!("status {status}"),
        ));
    }
    match &asked.body {
        Some(wanted) => search(response, wanted.as_bytes()).await,
        None => Ok(()),
    }
}

async fn search(response: Response<Incoming>, wanted: &[u8]) -> Result<(), Failure> {
    let mut body = response.into_body();
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.map_err(of_hyper)?.data_ref() {
            read.extend_from_slice(&data[..data.len().min(MOST - read.len())]);
        }
        if tcp::contains(&read, wanted) {
            return Ok(());
        }
        if read.len() >= MOST {
            break;
        }
    }
    Err(tcp::unexpected(&read))
}

/// The connection's error, or what hyper makes of what came.
pub(super) fn of_hyper(error: hyper::Error) -> Failure {
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return match io.raw_os_error() {
                Some(code) => std::io::Error::from_raw_os_error(code).into(),
                None => std::io::Error::new(io.kind(), io.to_string()).into(),
            };
        }
        source = inner.source();
    }
    let reason = match error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        true => Reason::Closed,
        false => Reason::Protocol,
    };
    let detail = match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    Failure::new(reason, detail)
}
