//! Listening, and connections with limits.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tower_service::Service;

use super::door::Peer;
use crate::security::{Tls, names};

/// Connections at once.
const MAX_CONNECTIONS: usize = 512;
/// Connections at once from one client: some are left for others, however slow it is.
const MAX_FROM_ONE: usize = 128;
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

/// Connections of each client.
#[derive(Debug, Clone, Default)]
struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection of a client.
#[derive(Debug)]
struct Place(Crowd, IpAddr);

impl Crowd {
    fn enter(&self, client: IpAddr) -> Option<Place> {
        let mut crowd = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = crowd.entry(client).or_default();
        if *count == MAX_FROM_ONE {
            return None;
        }
        *count += 1;
        Some(Place(self.clone(), client))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut crowd = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = crowd.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                crowd.remove(&self.1);
            }
        }
    }
}

/// Serves connections for ever, under TLS if it is given. Must run within a runtime.
///
/// # Errors
/// If the listener cannot be used.
pub async fn serve(listener: TcpListener, router: Router, tls: Option<Arc<Tls>>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let crowd = Crowd::default();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return Ok(());
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the client was gone already.
                tracing::warn!(%error, "cannot accept a connection to the API");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(among_others) = crowd.enter(peer.ip()) else {
            tracing::debug!(%peer, "too many connections of one client to the API");
            continue;
        };
        let (router, tls) = (router.clone(), tls.clone());
        tokio::spawn(async move {
            let _places = (place, among_others);
            let Some(tls) = tls else {
                return converse(stream, Peer::new(peer), router).await;
            };
            let handshake = tls.acceptor().accept(stream);
            match tokio::time::timeout(HEAD_TIME, handshake).await {
                Ok(Ok(stream)) => {
                    let mut peer = Peer::new(peer);
                    let shown = stream.get_ref().1.peer_certificates();
                    if let Some(certificate) = shown.and_then(<[_]>::first) {
                        peer.names = Some(names(certificate).into());
                    }
                    converse(stream, peer, router).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS with a client of the API"),
                Err(_) => tracing::debug!(%peer, "a client of the API is too slow for TLS"),
            }
        });
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
