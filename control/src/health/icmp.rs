//! ICMP: an echo request is answered (RFC 792, RFC 4443), by the kernel's sockets for it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sluice_dataplane::host::HOST_PORTS;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::Failure;
use super::checker::random;

/// Header and payload, in bytes.
pub(crate) const LENGTH: usize = 8 + 24;
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// Asks one host. The socket stays, so that the data plane has one connection to remember.
#[derive(Debug, Default)]
pub(super) struct Pinger {
    socket: Option<UdpSocket>,
    sequence: u16,
}

impl Pinger {
    pub(super) async fn check(&mut self, host: IpAddr) -> Result<(), Failure> {
        if self.socket.is_none() {
            self.socket = Some(open(host)?);
        }
        let Some(socket) = &self.socket else {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        };
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(host, self.sequence);
        let exchanged = exchange(socket, host, &request).await;
        if exchanged.is_err() {
            self.socket = None;
        }
        Ok(exchanged?)
    }
}

/// An echo request; identifier and checksum are the kernel's to fill in.
pub(crate) fn request(host: IpAddr, sequence: u16) -> [u8; LENGTH] {
    let mut request = [0; LENGTH];
    request[0] = match host {
        IpAddr::V4(_) => ECHO_REQUEST,
        IpAddr::V6(_) => ECHO_REQUEST_V6,
    };
    request[6..8].copy_from_slice(&sequence.to_be_bytes());
    // So that a late answer to a former socket with the same identifier is not taken for this one.
    request[8..12].copy_from_slice(&random().to_be_bytes());
    request[12..].copy_from_slice(b"sluice health check.");
    request
}

async fn exchange(socket: &UdpSocket, host: IpAddr, request: &[u8; LENGTH]) -> io::Result<()> {
    socket.send(request).await?;
    let mut buffer = [0; 2 * LENGTH];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if answers(host, request, &buffer[..length]) {
            return Ok(());
        }
    }
}

/// Whether a message is the reply to a request.
pub(crate) fn answers(host: IpAddr, request: &[u8; LENGTH], message: &[u8]) -> bool {
    let reply = match host {
        IpAddr::V4(_) => ECHO_REPLY,
        IpAddr::V6(_) => ECHO_REPLY_V6,
    };
    message.first() == Some(&reply) && message.get(6..) == Some(&request[6..])
}

fn open(host: IpAddr) -> io::Result<UdpSocket> {
    UdpSocket::from_std(socket(host)?.into())
}

/// A socket for echo requests to a host. It does not block.
///
/// # Errors
/// As the system says: there may be no route.
pub(crate) fn socket(host: IpAddr) -> io::Result<Socket> {
    let (domain, protocol) = match host {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
    socket.set_nonblocking(true)?;
    bind(&socket, host)?;
    socket.connect(&SocketAddr::new(host, 0).into())?;
    Ok(socket)
}

/// Takes an identifier that no session is translated to.
fn bind(socket: &Socket, host: IpAddr) -> io::Result<()> {
    let any: IpAddr = match host {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let (first, last) = HOST_PORTS;
    let room = u32::from(last - first) + 1;
    let start = random() % room;
    let mut result = Ok(());
    for step in 0..room {
        let identifier = first + ((start + step) % room) as u16;
        result = socket.bind(&SocketAddr::new(any, identifier).into());
        match &result {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            _ => return result,
        }
    }
    result
}
