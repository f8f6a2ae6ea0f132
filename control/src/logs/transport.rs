//! A way to a syslog server: datagrams, a connection, or one under TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring as provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::syslog::{datagram, framed};
use crate::config::{Syslog, Transport};

/// How long a server may take for a connection, and for what is written.
const PATIENCE: Duration = Duration::from_secs(5);

/// A way that is open.
pub(super) enum Way {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

fn invalid(why: impl ToString) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, why.to_string())
}

impl Way {
    /// Opens a way to a server.
    ///
    /// # Errors
    /// If its name is not known, it does not answer, or what it shows is not trusted.
    pub(super) fn open(server: &Syslog) -> io::Result<Self> {
        let addresses: Vec<SocketAddr> = server.server.to_socket_addrs()?.collect();
        let address = addresses.first().ok_or_else(|| invalid("no address"))?;
        let stream = || {
            let mut last = invalid("no address");
            for address in &addresses {
                match TcpStream::connect_timeout(address, PATIENCE) {
                    Ok(stream) => {
                        stream.set_write_timeout(Some(PATIENCE))?;
                        stream.set_read_timeout(Some(PATIENCE))?;
                        return Ok(stream);
                    }
                    Err(why) => last = why,
                }
            }
            Err(last)
        };
        match &server.transport {
            Transport::Udp => {
                let any = match address {
                    SocketAddr::V4(_) => "0.0.0.0:0",
                    SocketAddr::V6(_) => "[::]:0",
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                Ok(Self::Udp(socket))
            }
            Transport::Tcp => Ok(Self::Tcp(stream()?)),
            Transport::Tls { ca, identity } => {
                let config = tls(ca, identity.as_ref())?;
                let host = server.server.rsplit_once(':').map_or("", |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let name = ServerName::try_from(host.to_owned()).map_err(invalid)?;
                let connection = ClientConnection::new(Arc::new(config), name).map_err(invalid)?;
                let mut stream = StreamOwned::new(connection, stream()?);
                while stream.conn.is_handshaking() {
                    stream.conn.complete_io(&mut stream.sock)?;
                }
                Ok(Self::Tls(Box::new(stream)))
            }
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// If the way is not there any more; whether the message arrived is then not known.
    pub(super) fn send(&mut self, message: &str) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(datagram(message)).map(drop),
            Self::Tcp(stream) => {
                if hung_up(stream, |stream| stream.read(&mut [0; 256]))? {
                    return Err(ErrorKind::ConnectionReset.into());
                }
                stream.write_all(&framed(message))
            }
            Self::Tls(stream) => {
                let StreamOwned { conn, sock } = &mut **stream;
                if hung_up(sock, |sock| conn.read_tls(sock))? {
                    return Err(ErrorKind::ConnectionReset.into());
                }
                let state = conn.process_new_packets().map_err(invalid)?;
                if state.peer_has_closed() {
                    return Err(ErrorKind::ConnectionReset.into());
                }
                // A syslog server has nothing to say.
                io::copy(
                    &mut conn.reader().take(state.plaintext_bytes_to_read() as u64),
                    &mut io::sink(),
                )?;
                stream.write_all(&framed(message))?;
                stream.flush()
            }
        }
    }
}

/// Whether the other side has ended the connection. What it says meanwhile is read by `read`; a server
/// that went away is so found before a message is written to nobody, as far as that can be found.
fn hung_up(
    stream: &mut TcpStream,
    mut read: impl FnMut(&mut TcpStream) -> io::Result<usize>,
) -> io::Result<bool> {
    stream.set_nonblocking(true)?;
    let found = match read(stream) {
        Ok(0) => Ok(true),
        Ok(_) => Ok(false),
        Err(why) if why.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(why) => Err(why),
    };
    stream.set_nonblocking(false)?;
    found
}

fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let named = |why: String| invalid(format!("{}: {why}", file.display()));
    let found = CertificateDer::pem_file_iter(file).map_err(|why| named(why.to_string()))?;
    let found: Result<Vec<_>, _> = found.collect();
    let found = found.map_err(|why| named(why.to_string()))?;
    match found.is_empty() {
        true => Err(named("no certificate in there".to_owned())),
        false => Ok(found),
    }
}

fn tls(
    ca: &Path,
    identity: Option<&(std::path::PathBuf, std::path::PathBuf)>,
) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(invalid)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(invalid)?
        .with_root_certificates(roots);
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let named = |why: String| invalid(format!("{}: {why}", key.display()));
            let key = PrivateKeyDer::from_pem_file(key).map_err(|why| named(why.to_string()))?;
            builder.with_client_auth_cert(chain, key).map_err(invalid)
        }
    }
}
