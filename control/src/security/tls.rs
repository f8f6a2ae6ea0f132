//! The certificate of the API: made at the first start, and replaced while it runs.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ring::digest::{SHA256, digest};
use serde::Serialize;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring as provider};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};
use utoipa::ToSchema;

use super::SecurityError;
use super::accounts::Run;
use super::clients::{Clients, verifier};
use super::expiry::expiry;
use crate::clock;
use crate::store::{Disk, replace};

/// Key and certificates in one file: a power cut never leaves two that do not fit.
const FILE: &str = "tls.pem";
/// Which certificates of clients are taken; absent if none is asked for.
const CLIENTS: &str = "clients.json";

/// Why a certificate cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// It is not PEM.
    #[error("no certificate in PEM form was found")]
    NoCertificate,
    /// The key is not PEM.
    #[error("no private key in PEM form was found")]
    NoKey,
    /// No authority is in the PEM.
    #[error("no certificate of an authority in PEM form was found")]
    NoAuthority,
    /// No list of revoked certificates is in the PEM.
    #[error("no list of revoked certificates (CRL) in PEM form was found")]
    NoList,
    /// The two do not fit, or are of a kind that is not known.
    #[error("{0}")]
    Unfit(String),
    /// None can be made.
    #[error("no certificate can be made: {0}")]
    NotMade(String),
    /// The disk refuses.
    #[error("the state directory cannot be written: {0}")]
    NotStored(String),
}

/// What everybody may see of the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Certificate {
    /// The chain as PEM.
    pub certificate: String,
    /// SHA-256 of the first certificate, as `curl` and browsers show it.
    pub sha256: String,
    /// When it ends (RFC 3339, UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

#[derive(Debug)]
struct Current {
    pem: String,
    key: Arc<CertifiedKey>,
}

/// Answers with the certificate of the moment.
#[derive(Debug)]
struct Resolver(RwLock<Current>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current.key))
    }
}

/// TLS of the API.
pub struct Tls {
    disk: Mutex<Box<dyn Disk>>,
    provider: Arc<CryptoProvider>,
    resolver: Arc<Resolver>,
    front: RwLock<Front>,
}

/// What new connections meet.
struct Front {
    acceptor: TlsAcceptor,
    clients: Option<Clients>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the certificate, or makes one for these names and addresses.
    ///
    /// # Errors
    /// If the disk refuses, or what is on it cannot be used.
    pub fn open(mut disk: Box<dyn Disk>, names: Vec<String>) -> Result<Self, SecurityError> {
        let pem = match disk.read(FILE) {
            Ok(content) => String::from_utf8_lossy(&content).into_owned(),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
                let made = rcgen::generate_simple_self_signed(names);
                let made = made.map_err(|why| TlsError::NotMade(why.to_string()))?;
                let pem = format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem());
                replace(disk.as_mut(), FILE, pem.as_bytes())?;
                pem
            }
            Err(why) => return Err(why.into()),
        };
        let clients =
            match disk.read(CLIENTS) {
                Ok(content) => Some(serde_json::from_slice(&content).map_err(|why| {
                    SecurityError::Damaged {
                        file: CLIENTS,
                        reason: why.to_string(),
                    }
                })?),
                Err(why) if why.kind() == std::io::ErrorKind::NotFound => None,
                Err(why) => return Err(why.into()),
            };
        let provider = Arc::new(provider::default_provider());
        let key = read(&pem, &pem, &provider)?;
        let certificate = public(&pem, &key);
        tracing::info!(sha256 = certificate.sha256, "certificate of the API");
        let resolver = Arc::new(Resolver(RwLock::new(Current { pem, key })));
        let front = front(&provider, &resolver, clients)?;
        Ok(Self {
            disk: Mutex::new(disk),
            provider,
            resolver,
            front: RwLock::new(front),
        })
    }

    /// For connections that come.
    pub fn acceptor(&self) -> TlsAcceptor {
        let front = self.front.read().unwrap_or_else(PoisonError::into_inner);
        front.acceptor.clone()
    }

    /// Which certificates of clients are taken; `None` if none is asked for.
    pub fn clients(&self) -> Option<Clients> {
        let front = self.front.read().unwrap_or_else(PoisonError::into_inner);
        front.clients.clone()
    }

    /// Asks all connections from now on for such certificates, or for none. Those of before are not
    /// resumed.
    ///
    /// # Errors
    /// [`TlsError`]; nothing has changed then.
    pub fn ask_clients(&self, clients: Option<Clients>, run: Run) -> Result<(), TlsError> {
        let new = front(&self.provider, &self.resolver, clients)?;
        if run == Run::Dry {
            return Ok(());
        }
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = match &new.clients {
            // Plain texts.
            Some(clients) => {
                let content = serde_json::to_vec_pretty(clients).unwrap_or_default();
                replace(disk.as_mut(), CLIENTS, &content)
            }
            None => match disk.remove(CLIENTS) {
                Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(()),
                done => done,
            },
        };
        kept.map_err(|why| TlsError::NotStored(why.to_string()))?;
        *self.front.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// The certificate of the moment.
    pub fn certificate(&self) -> Certificate {
        let current = self
            .resolver
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        public(&current.pem, &current.key)
    }

    /// When it ends, in seconds since 1970.
    pub fn expires(&self) -> Option<u64> {
        let current = self.resolver.0.read();
        let current = current.unwrap_or_else(PoisonError::into_inner);
        current.key.cert.first().and_then(expiry)
    }

    /// Uses another one for all connections from now on.
    ///
    /// # Errors
    /// [`TlsError`]; the one in use is kept then.
    pub fn replace(&self, certificate: &str, key: &str, run: Run) -> Result<Certificate, TlsError> {
        let certified = read(certificate, key, &self.provider)?;
        let pem = format!("{}\n{}\n", key.trim(), certificate.trim());
        if run == Run::Dry {
            return Ok(public(&pem, &certified));
        }
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        replace(disk.as_mut(), FILE, pem.as_bytes())
            .map_err(|why| TlsError::NotStored(why.to_string()))?;
        let public = public(&pem, &certified);
        let mut current = self
            .resolver
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Current {
            pem,
            key: certified,
        };
        Ok(public)
    }
}

fn front(
    provider: &Arc<CryptoProvider>,
    resolver: &Arc<Resolver>,
    clients: Option<Clients>,
) -> Result<Front, TlsError> {
    let verifier = verifier(clients.as_ref(), provider)?;
    let config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|why| TlsError::Unfit(why.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::<Resolver>::clone(resolver));
    Ok(Front {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        clients,
    })
}

fn read(
    certificate: &str,
    key: &str,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let chain = chain
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or(TlsError::NoCertificate)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| TlsError::NoKey)?;
    let unfit = |why: rustls::Error| TlsError::Unfit(why.to_string());
    CertifiedKey::from_der(chain, key, provider)
        .map(Arc::new)
        .map_err(unfit)
}

/// Without the key.
fn public(pem: &str, key: &CertifiedKey) -> Certificate {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut certificate = String::new();
    for part in pem.split(BEGIN).skip(1) {
        let body = part.split(END).next().unwrap_or_default();
        certificate += &format!("{BEGIN}{body}{END}\n");
    }
    let first = key.cert.first().map_or(&[][..], |first| first.as_ref());
    let hash = digest(&SHA256, first);
    let bytes: Vec<String> = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    Certificate {
        certificate,
        sha256: bytes.join(":"),
        expires: key
            .cert
            .first()
            .and_then(expiry)
            .map(|end| clock::text(end.saturating_mul(1000))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;

    #[test]
    fn a_certificate_is_made_once_and_replaced_only_by_one_that_fits() {
        let names = || vec!["localhost".to_owned(), "192.0.2.1".to_owned()];
        let tls = Tls::open(Box::new(Memory::default()), names()).expect("it is made");
        let first = tls.certificate();
        assert!(
            !first.certificate.contains("PRIVATE") && first.sha256.len() == 95,
            "{first:?}"
        );
        let other = rcgen::generate_simple_self_signed(names()).expect("it is made");
        let (pem, key) = (other.cert.pem(), other.signing_key.serialize_pem());
        let foreign = rcgen::generate_simple_self_signed(names()).expect("it is made");
        let foreign = foreign.signing_key.serialize_pem();
        assert_eq!(
            tls.replace("x", &key, Run::Real),
            Err(TlsError::NoCertificate)
        );
        assert_eq!(tls.replace(&pem, "x", Run::Real), Err(TlsError::NoKey));
        assert!(matches!(
            tls.replace(&pem, &foreign, Run::Real),
            Err(TlsError::Unfit(_))
        ));
        assert_eq!(tls.certificate(), first);
        let trial = tls.replace(&pem, &key, Run::Dry).expect("they fit");
        assert_eq!(tls.certificate(), first);
        let second = tls.replace(&pem, &key, Run::Real).expect("they fit");
        assert_eq!(trial, second);
        assert_eq!(tls.certificate(), second);
        assert_eq!(second.certificate.trim(), pem.trim());
    }
}
