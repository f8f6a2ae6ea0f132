//! TLS: a handshake succeeds, and the certificate is right where there is something to say so.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::checker::unprepared;
use super::probe::Tools;
use super::{Failure, Reason, tcp};
use crate::config::Tls;

pub(super) async fn check(
    address: SocketAddr,
    tls: &Tls,
    host: Option<&str>,
    tools: &Tools,
) -> Result<(), Failure> {
    let stream = tcp::connect(address).await?;
    handshake(stream, address, tls, host, tools, false).await?;
    Ok(())
}

/// Speaks TLS over a connection.
pub(super) async fn handshake(
    stream: TcpStream,
    address: SocketAddr,
    tls: &Tls,
    host: Option<&str>,
    tools: &Tools,
    http2: bool,
) -> Result<TlsStream<TcpStream>, Failure> {
    let config = tools.tls(tls, http2)?;
    let name = host.or(tls.server_name.as_deref()).map(without_port);
    let name = match name {
        Some(name) => ServerName::try_from(name.to_owned()).map_err(unprepared)?,
        None => ServerName::IpAddress(address.ip().into()),
    };
    let connected = TlsConnector::from(config).connect(name, stream).await;
    connected.map_err(|error| match error.get_ref() {
        // rustls wraps what it finds itself; all else is the connection's.
        Some(inner) if inner.is::<Error>() => Failure::new(Reason::Tls, error),
        _ => error.into(),
    })
}

/// `www.example.com:8443` without its port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            name.trim_start_matches('[').trim_end_matches(']')
        }
        _ => host,
    }
}

/// A client that takes what `tls` says.
pub(super) fn client(tls: &Tls, http2: bool) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(unprepared)?;
    let mut config = match &tls.ca_file {
        Some(file) => {
            let mut roots = RootCertStore::empty();
            let failed = |why: &dyn std::fmt::Display| unprepared(format_args!("{file}: {why}"));
            let certificates = CertificateDer::pem_file_iter(file).map_err(|why| failed(&why))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|why| failed(&why))?;
                roots.add(certificate).map_err(|why| failed(&why))?;
            }
            if roots.is_empty() {
                return Err(failed(&"there is no certificate in it"));
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth(),
    };
    // Every check is a whole handshake, or it would not find a broken key.
    config.resumption = tokio_rustls::rustls::client::Resumption::disabled();
    if http2 {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    Ok(config)
}

/// Takes any certificate, whoever signed it; that the server has its key is still verified.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
