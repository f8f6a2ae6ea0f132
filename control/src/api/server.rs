//! Listening, and connections with limits.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tower_service::Service;

use super::crowd::{Crowd, Room};
use super::door::Peer;
use super::patience::Patient;
use crate::security::{Tls, names};

/// Connections at once. A few clients leave some for others, however slow they are.
const CONNECTIONS: Room = Room {
    all: 512,
    one: 128,
    kept: 128,
    few: 4,
};
/// How long a client may take nothing of what it asked for.
const TAKE_TIME: Duration = Duration::from_secs(30);
/// How long a client may take for the head of a request, and how long a connection may idle; and for
/// the handshake of TLS.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Largest head of a request.
const MAX_HEAD: usize = 64 << 10;

/// Begins to listen, so that an address that is taken is found before anything else starts.
///
/// # Errors
/// As the system says.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves connections for ever, under TLS if it is given. Must run within a runtime.
///
/// # Errors
/// If the listener cannot be used.
pub async fn serve(listener: TcpListener, router: Router, tls: Option<Arc<Tls>>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let crowd = Crowd::new(CONNECTIONS);
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the client was gone already.
                tracing::warn!(%error, "cannot accept a connection to the API");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(place) = crowd.enter(address.ip()) else {
            tracing::debug!(%address, "no place for one more connection of this client to the API");
            continue;
        };
        let peer = Peer::new(address, Some(Arc::new(place)));
        let stream = Patient::new(stream, TAKE_TIME);
        tokio::spawn(meet(stream, peer, router.clone(), tls.clone()));
    }
}

async fn meet(stream: Patient<TcpStream>, mut peer: Peer, router: Router, tls: Option<Arc<Tls>>) {
    let Some(tls) = tls else {
        return converse(stream, peer, router).await;
    };
    let address = peer.address;
    let handshake = tls.acceptor().accept(stream);
    match tokio::time::timeout(HEAD_TIME, handshake).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates();
            if let Some(certificate) = shown.and_then(<[_]>::first) {
                peer.names = Some(names(certificate).into());
            }
            converse(stream, peer, router).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, %address, "no TLS with a client of the API"),
        Err(_) => tracing::debug!(%address, "a client of the API is too slow for TLS"),
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, peer: Peer, router: Router) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        router.clone().call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection to the API ended");
    }
}
