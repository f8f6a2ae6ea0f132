//! One attempt at a target, whatever its kind.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::SemaphorePermit;
use tokio_rustls::rustls::ClientConfig;

use super::Failure;
use super::attempt::Attempt;
use super::script::Scripts;
use super::{dns, grpc, http, icmp, script, tcp, tls, udp};
use crate::config::{CheckKind, Tls};

/// A file of certificates, and whether HTTP/2 is asked for.
type TlsKey = (Option<String>, bool);

/// What all checks share.
#[derive(Debug, Default)]
pub(super) struct Tools {
    pub(super) scripts: Option<Scripts>,
    tls: Mutex<BTreeMap<TlsKey, Arc<ClientConfig>>>,
}

impl Tools {
    /// With the way to the process that runs scripts, if there is one.
    pub(super) fn new(scripts: Option<Scripts>) -> Self {
        Self {
            scripts,
            tls: Mutex::default(),
        }
    }

    /// Waits until a check of this kind may begin; it may go on as long as what is given lives.
    /// Scripts take turns, and one that waits for others says nothing of its server.
    pub(super) async fn turn(&self, kind: &CheckKind) -> Option<SemaphorePermit<'_>> {
        match (kind, &self.scripts) {
            (CheckKind::Script { .. }, Some(scripts)) => scripts.turns.acquire().await.ok(),
            _ => None,
        }
    }

    /// How TLS is spoken; a file of certificates is read once.
    pub(super) fn tls(&self, tls: &Tls, http2: bool) -> Result<Arc<ClientConfig>, Failure> {
        let mut known = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tls.ca_file.clone(), http2);
        if let Some(config) = known.get(&key) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(tls::client(tls, http2)?);
        known.insert(key, Arc::clone(&config));
        Ok(config)
    }
}

/// What checks one target again and again.
pub(super) struct Probe {
    address: SocketAddr,
    host: Option<String>,
    kind: CheckKind,
    tools: Arc<Tools>,
    ping: icmp::Pinger,
    datagrams: udp::Datagrams,
}

impl Probe {
    pub(super) fn new(attempt: Attempt, tools: &Arc<Tools>) -> Self {
        Self {
            address: attempt.address,
            host: attempt.host,
            kind: attempt.kind,
            tools: Arc::clone(tools),
            ping: icmp::Pinger::default(),
            datagrams: udp::Datagrams::default(),
        }
    }

    /// One attempt, when it has its [`turn`](Tools::turn). It may be dropped at any point.
    pub(super) async fn check(&mut self) -> Result<(), Failure> {
        let (address, tools) = (self.address, &self.tools);
        let host = self.host.as_deref();
        match &self.kind {
            CheckKind::Icmp => self.ping.check(address.ip()).await,
            CheckKind::Tcp(words) => tcp::check(address, words).await,
            CheckKind::Tls(tls) => tls::check(address, tls, host, tools).await,
            CheckKind::Http(asked) => http::check(address, asked, host, tools).await,
            CheckKind::Dns(asked) => dns::check(&mut self.datagrams, address, asked).await,
            CheckKind::Udp(words) => udp::check(&mut self.datagrams, address, words).await,
            CheckKind::Grpc(asked) => grpc::check(address, asked, host, tools).await,
            CheckKind::Script {
                script: name,
                arguments,
            } => script::check(address, name, arguments, tools).await,
        }
    }
}
