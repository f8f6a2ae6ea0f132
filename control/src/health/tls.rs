//! TLS: a handshake succeeds, and the certificate is right where there is something to say so.

use std::fs::File;
use std::io::{self, Read};
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

/// Bytes of a file of certificates, at most. All authorities that systems trust are a quarter of it.
const MOST: u64 = 1 << 20;

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
    let name = host.or(tls.server_name.as_deref()).map(name_of);
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

/// The name of `www.example.com:8443`, `[2001:db8::1]:8443` or either without a port.
fn name_of(host: &str) -> &str {
    if let Some((name, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return name;
    }
    match host.split_once(':') {
        // An IPv6 address has more colons than one.
        Some((name, port)) if !port.contains(':') => name,
        _ => host,
    }
}

/// The certificates of a file. Whoever writes the configuration names it: what is no plain file, or is
/// larger than certificates are, is not read.
fn certificates(file: &str) -> io::Result<Vec<u8>> {
    let about = std::fs::metadata(file)?;
    if !about.is_file() || about.len() > MOST {
        let why = format!("not a file of {} KiB at most", MOST >> 10);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let mut text = Vec::new();
    File::open(file)?.take(MOST).read_to_end(&mut text)?;
    Ok(text)
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
            let text = certificates(file).map_err(|why| failed(&why))?;
            for certificate in CertificateDer::pem_slice_iter(&text) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_names_with_ports_and_without() {
        for (host, name) in [
            ("www.example.com", "www.example.com"),
            ("www.example.com:8443", "www.example.com"),
            ("192.0.2.1:443", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:8443", "2001:db8::1"),
        ] {
            assert_eq!(name_of(host), name);
            assert!(ServerName::try_from(name_of(host)).is_ok(), "{host}");
        }
    }

    #[test]
    fn what_is_no_file_of_certificates_is_not_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let large = directory.path().join("large");
        let file = File::create(&large).expect("room");
        file.set_len(MOST + 1).expect("room");
        for path in ["/dev/zero".into(), "/".into(), pipe, large] {
            let why = certificates(path.to_str().expect("text")).expect_err("it is none");
            assert!(why.to_string().contains("1024 KiB"), "{why}");
        }
    }
}
